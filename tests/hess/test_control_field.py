"""background_template: totals, smoothing, masks, errors, and a galaxy fitted with one."""

import numpy as np
import pytest

import pymc_starpop as psp
from sfh_fixtures import galaxy, toy_templates
from tolerances import assert_close

AXES = psp.HessAxes(("V", "I"), "V", np.linspace(-0.5, 2.5, 31), np.linspace(19.0, 28.0, 41))
UNEQUAL = psp.HessAxes(("V", "I"), "V", [-0.5, 0.0, 0.2, 1.0, 2.5], [19.0, 24.0, 26.0, 26.5, 28.0])


def plume(n, rng):
    """Stars of a foreground: a vertical sequence, more of them at faint magnitudes."""
    v = 28.0 - rng.exponential(3.0, n)
    return {"V": v, "I": v - rng.normal(1.6, 0.3, n)}


def truth(axes):
    """Part of the plume's stars in each bin, of those inside."""
    counts = psp.bin_cmd(plume(2_000_000, np.random.default_rng(99)), axes)
    return counts.values / counts.values.sum()


@pytest.mark.parametrize("axes", [AXES, UNEQUAL], ids=["equal", "unequal"])
def test_stars_are_preserved_and_no_bin_is_impossible(axes, rng):
    stars = plume(500, rng)
    n = psp.bin_cmd(stars, axes).sum().item()
    sky = psp.background_template(stars, axes, area_ratio=0.3, area_ratio_error=0.03)
    assert_close(sky.template.sum(), 0.3 * n, "same_formula")
    assert (sky.template > 0).all()
    assert sky.sigma == pytest.approx(np.hypot(n**-0.5, 0.1))
    assert not sky.fixed


def test_one_wide_star_a_bin_is_a_gaussian_cut_at_the_edges(rng):
    """Ten stars at one point, and ten far away: each is as wide as the distance between them."""
    stars = {"V": np.repeat([20.0, 24.0], 10), "I": np.repeat([19.0, 23.0], 10)}
    sky = psp.background_template(stars, AXES, area_ratio=1.0, n_neighbors=10)
    width = 4.0
    centers = AXES.coords()["mag"]
    weight = sum(np.exp(-0.5 * ((centers - v) / width) ** 2) for v in (20.0, 24.0))
    profile = sky.template.sum("color").values
    np.testing.assert_allclose(profile / profile.sum(), weight / weight.sum(), atol=2e-3)


@pytest.mark.parametrize("n_star", [150, 1500, 15000])
def test_smoothing_is_nearer_to_the_truth_than_counts(n_star):
    """With a quarter or four times the neighbors it gets no better than by a quarter."""
    rng, expected = np.random.default_rng(3), truth(AXES)
    stars = plume(n_star, rng)

    def distance(shape):
        """Kullback-Leibler divergence of the truth from a template."""
        lit = expected > 0
        return float(np.sum(expected[lit] * np.log(expected[lit] / (shape / shape.sum())[lit])))

    found = distance(psp.background_template(stars, AXES, area_ratio=1.0).template.values)
    raw = distance(psp.bin_cmd(stars, AXES).values + 0.5)
    assert found < 0.7 * raw
    k = max(3, round(0.25 * n_star**0.5))
    for others in (max(1, k // 4), 4 * k):
        other = psp.background_template(stars, AXES, area_ratio=1.0, n_neighbors=others)
        assert found < 1.25 * distance(other.template.values)


def test_masked_bins_and_stars_are_left_out(rng):
    mask = np.ones(AXES.shape, dtype=bool)
    mask[30:] = False
    stars = plume(800, rng)
    n = psp.bin_cmd(stars, AXES).values[mask].sum()
    sky = psp.background_template(stars, AXES, area_ratio=2.0, mask=mask)
    assert_close(sky.template.sum(), 2.0 * n, "same_formula")
    assert (sky.template.values[~mask] == 0).all()
    assert (sky.template.values[mask] > 0).all()


def test_stars_are_taken_as_bin_cmd_takes_them(rng):
    """Stars on the last edges count; those not measured do not; a catalog is as good."""
    stars = plume(300, rng)
    stars["V"][:3], stars["I"][:3] = 28.0, 25.5
    stars["I"][3:6] = np.nan
    n = psp.bin_cmd(stars, AXES).sum().item()
    catalog = psp.StarCatalog(
        np.stack([stars["V"], stars["I"]], -1), np.full((300, 2), 0.1), bands=["V", "I"]
    )
    for given in (stars, catalog):
        sky = psp.background_template(given, AXES, area_ratio=1.0)
        assert_close(sky.template.sum(), n, "same_formula")


def test_a_galaxy_with_its_control_field():
    """Twice the area, with a uniform background of galaxies that the control field lacks."""
    rng = np.random.default_rng(8)
    tmpl = toy_templates()
    _, _, n = galaxy(tmpl, psp.LinearAMR(), [0.1, -1.8], total=1e6)
    field, control = plume(1500, rng), plume(3000, rng)
    inside = psp.bin_cmd(field, AXES)
    observed = n + inside.values + rng.poisson(0.2, AXES.shape)
    sky = psp.background_template(control, tmpl.axes, area_ratio=0.5)
    fit = psp.fit_sfh(tmpl, observed, background={"control": sky, "uniform": 0.001})
    assert fit.converged
    errors = fit.errors["background_stars"]
    for name, value in (("control", inside.sum().item()), ("uniform", 0.2 * n.size)):
        assert abs(fit.background_stars[name] - value) < 3.0 * errors[name]
    alone = psp.fit_sfh(tmpl, n)
    for name in ("alpha", "beta"):
        assert abs(fit.parameters[name] - alone.parameters[name]) < 2.0 * fit.errors[name]
    assert fit.mass_formed.sum() == pytest.approx(alone.mass_formed.sum(), rel=0.02)


def test_all_reasons_to_refuse(rng):
    stars = plume(300, rng)
    bad = {
        "area_ratio must be positive": {"area_ratio": 0.0},
        "area_ratio_error must not be negative": {"area_ratio_error": -0.1},
        r"n_neighbors must be a whole number, 1 to \d+ for .* got 300": {"n_neighbors": 300},
        "n_neighbors must be a whole number.*got 2.5": {"n_neighbors": 2.5},
        "n_neighbors must be a whole number.*got True": {"n_neighbors": True},
        "n_neighbors must be a whole number.*got '3'": {"n_neighbors": "3"},
        "0 of 300 are in the bins that count": {"stars": {k: v + 20 for k, v in stars.items()}},
        r"5 of 5 are.*psp\.Background": {
            "stars": {"V": np.full(5, 22.0), "I": np.full(5, 21.0)}
        },
        "no band 'V'": {"stars": {"I": stars["I"]}},
        "mask: expected booleans": {"mask": np.ones(AXES.shape)},
    }  # fmt: skip
    for match, change in bad.items():
        arguments = {"stars": stars, "axes": AXES, "area_ratio": 0.5} | change
        with pytest.raises(ValueError, match=match):
            psp.background_template(**arguments)
