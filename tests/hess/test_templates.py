import json
import multiprocessing

import numpy as np
import pytest

import pymc_starpop as psp
from finer_cells import finer_cells
from pymc_starpop.hess import template_grid
from pymc_starpop.hess.age_means import LARGEST_ERROR
from pymc_starpop.kernels.reference import hess as reference_hess
from template_fixtures import (
    brute_mass_ratios,
    brute_random_pairs,
    errors_of,
    paper_case,
    small_case,
)
from tolerances import TOLERANCE, assert_close

MODELS = {
    "single": psp.NoBinaries(),
    "random": psp.RandomBinaryPairs(0.7),
    "ratio": psp.MassRatioBinaries(0.7, slope=-0.5),
}


def assert_template(counts, truth):
    # The mass at which an average bin has as many stars as one of the paper's diagram at 1e7 Msun.
    total, worst = errors_of(counts, truth, mass=1e7 * counts.size / 14_726)
    assert total < TOLERANCE["template"].rtol
    assert worst < TOLERANCE["template_bin"].rtol


@pytest.mark.parametrize("near", [False, True])
def test_single_stars_of_the_paper_against_brute_force(shared_data, near):
    case = paper_case(shared_data, near)
    # Points a third of the smallest error apart.
    truth = case.brute_singles(0.007) * psp.NoBinaries().systems_per_mass(case.imf)
    assert_template(case.template(), truth)


@pytest.mark.slow
def test_random_pairs_of_the_paper_against_brute_force(shared_data):
    case = paper_case(shared_data, near=True)
    truth = brute_random_pairs(case, 0.7, 0.012)
    assert_template(case.template(psp.RandomBinaryPairs(0.7)), truth)


@pytest.mark.slow
def test_mass_ratios_of_the_paper_against_brute_force(shared_data):
    case, law = paper_case(shared_data, near=True), psp.MassRatioBinaries(0.7)
    truth = brute_mass_ratios(case, law, 0.012)
    assert_template(case.template(law), truth)


@pytest.mark.parametrize("binaries", [psp.MassRatioBinaries(0.5), psp.RandomBinaryPairs(0.6)])
@pytest.mark.parametrize(("mh", "log_age"), [(-2.0, 9.2), (0.0, 10.0)])
def test_binaries_against_finer_cells(iso, binaries, mh, log_age):
    bands = ("Bessell_V", "Bessell_I")
    axes = psp.HessAxes(bands, bands[1], np.linspace(-0.5, 2.5, 101), np.linspace(20, 29, 101))
    noise = {band: psp.ExponentialError(1.03, 15, 35.5, 0.01, 0.4) for band in bands}
    one = iso.at(mh, log_age, bands)

    def template():
        return psp.build_template(
            one.initial_mass, one.abs_mag, bands, axes, distance_modulus=25.0, noise=noise,
            binaries=binaries,
        ).values  # fmt: skip

    with finer_cells():
        truth = template()
    total, _ = errors_of(template(), truth)
    assert 1e-6 < total < TOLERANCE["template"].rtol


@pytest.mark.parametrize("model", ["random", "ratio"])
@pytest.mark.parametrize("imf", [psp.Kroupa(), psp.Chabrier(mass_min=0.4)], ids=["broken", "high"])
def test_binaries_against_brute_force(model, imf):
    case = small_case(imf=imf, mass=small_case().mass[1:], mag=small_case().mag[1:])
    if model == "random":
        truth = brute_random_pairs(case, 0.7, 0.05)
    else:
        truth = brute_mass_ratios(case, MODELS["ratio"], 0.05)
    assert_template(case.template(MODELS[model]), truth)


@pytest.mark.parametrize("mag_band", ["V", "I", "K"])
def test_any_magnitude_against_brute_force(mag_band):
    """Two-filter diagrams with either band, and a third one as the magnitude."""
    case = small_case()
    axes = psp.HessAxes(("V", "I"), mag_band, case.axes.color_edges, case.axes.mag_edges)
    third = (case.mag[:, :1] - 2.1 * (case.mag[:, :1] - case.mag[:, 1:])) + 0.3
    mag = case.mag if mag_band in "VI" else np.hstack([case.mag, third])
    noise = case.noise | {"K": psp.ExponentialError(1.05, 14, 32, 0.1, 0.3)}
    bias = {"V": lambda m: 0.05 * (m - 25.0), "I": -0.03, "K": 0.1}
    case = small_case(axes=axes, mag=mag, noise=noise, bias=bias, completeness=None)
    truth = case.brute_singles(0.02) * psp.NoBinaries().systems_per_mass(case.imf)
    assert_template(case.template(), truth)


def test_reversed_color_mirrors_the_diagram():
    case = small_case()
    edges = -case.axes.color_edges[::-1]
    mirrored = psp.HessAxes(("I", "V"), "I", edges, case.axes.mag_edges)
    other = small_case(axes=mirrored, mag=case.mag[:, ::-1])
    np.testing.assert_allclose(other.template()[:, ::-1], case.template(), rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("name", MODELS)
def test_all_light_is_counted(name):
    """Without completeness and in bins that miss nothing: systems with a star that shines."""
    axes = psp.HessAxes(("V", "I"), "I", np.linspace(-10, 12, 23), np.linspace(5, 45, 41))
    case, model = small_case(axes=axes, completeness=None), MODELS[name]
    imf = case.imf
    formed = imf.integral(imf.mass_min, imf.mass_max)
    lit = imf.integral(case.mass[0], case.mass[-1]) / formed
    expected = model.systems_per_mass(imf)
    f = model.fraction
    if name == "ratio":
        # A plain sum over systems of mass M and ratios q.
        edges = np.geomspace(imf.mass_min, imf.mass_max, 20_001)
        share = imf.integral(edges[:-1], edges[1:]) / formed
        mass = np.sqrt(edges[1:] * edges[:-1])[:, None]
        q = model.mass_ratio_quantile((np.arange(400) + 0.5) / 400)
        primary = mass / (1.0 + q)
        shines = [(m >= case.mass[0]) & (m <= case.mass[-1]) for m in (primary, q * primary)]
        expected *= (1.0 - f) * lit + f * (share @ (shines[0] | shines[1])).mean()
    else:
        expected *= (1.0 - f) * lit + f * (1.0 - (1.0 - lit) ** 2)
    assert case.template(model).sum() == pytest.approx(expected, rel=TOLERANCE["template"].rtol)


def test_a_jump_holds_no_stars():
    case = small_case(noise={"V": 0.02, "I": 0.02})
    axes = case.axes
    color, mag = axes.coords()["color"], axes.coords()["mag"]
    jump = case.mag[6:8] + case.distance_modulus
    middle = jump.mean(axis=0)
    row, column = np.abs(mag - middle[1]).argmin(), np.abs(color - middle[0] + middle[1]).argmin()
    counts = case.template()
    assert counts[row - 1 : row + 2, column - 1 : column + 2].max() < 1e-12
    without = small_case(noise=case.noise, mass=case.mass[:7], mag=case.mag[:7]).template()
    branch = small_case(noise=case.noise, mass=case.mass[7:], mag=case.mag[7:]).template()
    np.testing.assert_allclose(counts, without + branch, rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("name", MODELS)
def test_bins_do_not_depend_on_how_far_the_axes_go(name):
    """What is left out because it is far from the axes must not matter in them."""
    case, model = small_case(noise={"V": 0.05, "I": 0.05}), MODELS[name]
    color, mag = case.axes.color_edges, case.axes.mag_edges
    part = psp.HessAxes(("V", "I"), "I", color[12:20], mag[15:30])
    whole = case.template(model)[15:29, 12:19]
    np.testing.assert_allclose(
        small_case(noise=case.noise, axes=part).template(model), whole,
        rtol=TOLERANCE["template_bin"].rtol, atol=1e-8,
    )  # fmt: skip


def test_more_points_on_the_same_line_change_nothing():
    case = small_case()
    t = np.arange(0.0, case.mass.size - 1 + 1e-9, 0.125)
    index = np.arange(case.mass.size)
    finer = small_case(
        mass=np.interp(t, index, case.mass),
        mag=np.stack([np.interp(t, index, column) for column in case.mag.T], axis=1),
    )
    for model in MODELS.values():
        assert_template(finer.template(model), case.template(model))


def test_extinction_and_distance_shift_the_isochrone():
    case = small_case()
    law = {"V": 1.0, "I": 0.6}
    shifted = small_case(mag=case.mag + np.array([0.3, 0.18]) + 0.5)
    assert_close(
        case.template(av=0.3, extinction=law, distance_modulus=20.5), shifted.template(), "kernel"
    )


def test_errors_far_below_a_bin_sort_stars_into_bins():
    case = small_case(noise={"V": 1e-5, "I": 1e-5}, completeness=None)
    number, mag = reference_hess.single_points(*case.cut_isochrone(), case.density, 3e-4)
    truth = psp.bin_cmd({"V": mag[:, 0], "I": mag[:, 1]}, case.axes, weights=number).values
    truth *= psp.NoBinaries().systems_per_mass(case.imf)
    counts = case.template()
    assert counts.sum() == pytest.approx(truth.sum(), rel=TOLERANCE["template"].rtol)
    assert np.abs(counts - truth).sum() < TOLERANCE["template_bin"].rtol * truth.sum()


def test_nothing_in_the_axes_gives_zeros():
    for model in MODELS.values():
        assert not small_case(distance_modulus=60.0).template(model).any()
        assert not small_case(distance_modulus=-60.0).template(model).any()
    dead = small_case(imf=psp.Salpeter(mass_min=2.0))
    assert not dead.template().any()


def test_unbounded_errors_stay_finite():
    steep = psp.ExponentialError(1.03, 400, 22, 0.02)
    counts = small_case(noise={"V": steep, "I": steep}).template(MODELS["random"])
    assert np.isfinite(counts).all()
    assert (counts >= 0.0).all()
    assert counts.sum() > 0.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"initial_mass": [0.5]}, "initial_mass must hold two or more"),
        ({"initial_mass": [0.5, np.nan, 0.9]}, "initial_mass must be finite and positive"),
        ({"initial_mass": [0.9, 0.8, 0.5]}, "initial_mass never increases"),
        ({"abs_mag": np.zeros((2, 2))}, r"abs_mag must have shape \(E, B\) = \(3, 2\)"),
        ({"abs_mag": [[5.0, 4.0], [np.nan, 3.0], [2.0, 1.0]]}, "first at index 1"),
        ({"bands": ("V", "K")}, "bands must hold 'I' of the axes once"),
        ({"axes": None}, "axes must be a HessAxes"),
        ({"distance_modulus": np.nan}, "distance_modulus must be one finite number"),
        ({"av": 0.2}, "av=0.2 needs extinction="),
        ({"av": 0.2, "extinction": {"V": 1.0}}, "extinction lacks I"),
        ({"av": 0.2, "extinction": {"V": 1.0, "I": np.inf}}, "extinction must be finite"),
        ({"noise": {"V": 0.1}}, "noise lacks the band 'I'"),
        ({"noise": {"V": 0.1, "I": lambda m: 0.0 * m}}, "noise.*must be positive and finite"),
        ({"noise": {"V": 0.1, "I": lambda m: m - 24.0}}, "noise.*must be positive and finite"),
        ({"completeness": {"V": 1.0, "I": lambda m: m}}, "completeness.*between 0 and 1"),
        ({"bias": {"V": np.nan, "I": 0.0}}, "bias.*must be finite"),
        ({"imf": "Kroupa"}, "imf must be a mass function"),
        ({"binaries": 0.5}, "binaries must be NoBinaries"),
    ],
)
def test_clear_errors(change, message):
    case = small_case()
    arguments = {
        "initial_mass": [0.5, 0.7, 0.9], "abs_mag": [[5.0, 4.0], [4.0, 3.0], [2.0, 1.0]],
        "bands": ("V", "I"), "axes": case.axes, "distance_modulus": 20.0, "noise": case.noise,
    }  # fmt: skip
    arguments |= change
    first = [arguments.pop(name) for name in ("initial_mass", "abs_mag", "bands", "axes")]
    with pytest.raises(ValueError, match=message):
        psp.build_template(*first, **arguments)


def test_mass_functions_with_tensors_are_refused():
    import pytensor.tensor as pt

    imf = psp.Kroupa(high_slope=pt.dscalar("slope"))
    with pytest.raises(ValueError, match="mass function of numbers"):
        small_case().template(imf=imf)


BANDS = ("Bessell_V", "Bessell_I")
AXES = psp.HessAxes(BANDS, "Bessell_I", np.linspace(-0.5, 2.5, 31), np.linspace(20, 28, 41))
GRID = {
    "log_age": [8.5, 9.5, 10.0],
    "mh": [-1.5, -0.4],
    "distance_modulus": 24.5,
    "noise": {"Bessell_V": lambda m: 0.03 + 0.0 * m, "Bessell_I": 0.03},
    "completeness": dict.fromkeys(BANDS, psp.LogisticCompleteness(1, 27.0, 0.4)),
    "progress": False,
}


def test_a_grid_holds_the_template_of_each_isochrone(iso):
    tmpl = psp.build_templates(iso, AXES, av=0.3, rv=2.9, ages_per_bin=1, **GRID)
    assert tmpl.counts.shape == (3, 2, 40, 30)
    for i, log_age in enumerate(GRID["log_age"]):
        for j, mh in enumerate(GRID["mh"]):
            one = iso.at(mh, log_age, BANDS, av=0.3, rv=2.9)
            options = {k: GRID[k] for k in ("distance_modulus", "noise", "completeness")}
            single = psp.build_template(one.initial_mass, one.abs_mag, BANDS, AXES, **options)
            assert_close(tmpl.counts[i, j], single.values, "same_formula")


def test_metadata_says_what_made_them(iso):
    binaries = psp.RandomBinaryPairs(0.3)
    options = GRID | {"log_age": [10.0], "mh": [-1.0]}
    tmpl = psp.build_templates(iso, AXES, av=0.1, binaries=binaries, **options)
    stored = json.loads(json.dumps(tmpl.metadata))
    assert stored == tmpl.metadata
    assert stored["distance_modulus"] == 24.5
    assert (stored["av"], stored["rv"]) == (0.1, 3.1)
    assert stored["binaries"] == "RandomBinaryPairs(fraction=0.3)"
    assert stored["imf"] == repr(psp.Kroupa())
    assert stored["isochrones_fingerprint"] == iso.fingerprint
    assert "MIST" in stored["isochrones"]
    assert "LogisticCompleteness" in stored["errors"]
    assert stored["version"]
    assert 3 <= stored["n_ages"][0] <= stored["n_ages"][1]
    assert 0.0 < stored["age_error"] <= LARGEST_ERROR
    single = psp.build_templates(iso, AXES, ages_per_bin=1, **options).metadata
    assert (single["n_ages"], single["age_error"]) == ([1, 1], None)


def test_several_processes_give_the_same(iso):
    alone = psp.build_templates(iso, AXES, **GRID)
    together = psp.build_templates(iso, AXES, n_jobs=2, **GRID)
    np.testing.assert_array_equal(together.counts, alone.counts)
    assert not multiprocessing.active_children()


def test_an_interrupt_leaves_no_processes(iso, monkeypatch):
    def interrupted(*args, **kwargs):
        assert multiprocessing.active_children()
        raise KeyboardInterrupt

    monkeypatch.setattr(template_grid, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        psp.build_templates(iso, AXES, n_jobs=2, **GRID)
    assert not multiprocessing.active_children()


def test_an_error_in_a_process_arrives(iso):
    noise = {"Bessell_V": 0.1, "Bessell_I": lambda m: -m}
    with pytest.raises(ValueError, match="noise"):
        psp.build_templates(iso, AXES, n_jobs=2, **(GRID | {"noise": noise}))


def test_progress_is_shown(iso, capsys):
    tmpl = psp.build_templates(iso, AXES, **(GRID | {"progress": True}))
    n = tmpl.parts.n_age * tmpl.n_mh
    assert f"{n}/{n}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"log_age": [9.0, 11.0]}, "log_age=11 is outside the isochrones: expected 6.5 to 10.3"),
        ({"mh": [-3.0, 0.0]}, "mh=-3 is outside the isochrones: expected -2.5 to 0.5 dex"),
        ({"mh": [0.0, -1.0]}, "mh must ascend"),
        ({"log_age": []}, "log_age must ascend"),
        ({"log_age": [np.nan]}, "log_age=nan is outside"),
        ({"av": -1.0}, "av=-1 is outside"),
        ({"n_jobs": 0}, "n_jobs must be a whole number"),
        ({"noise": {"Bessell_V": 0.1}}, "noise lacks the band 'Bessell_I'"),
    ],
)
def test_clear_errors_for_grids(iso, change, message):
    with pytest.raises(ValueError, match=message):
        psp.build_templates(iso, AXES, **(GRID | change))


def test_bands_that_the_isochrones_lack(iso):
    axes = psp.HessAxes(("V", "I"), "I", AXES.color_edges, AXES.mag_edges)
    options = GRID | {"noise": {"V": 0.1, "I": 0.1}, "completeness": None}
    with pytest.raises(ValueError, match="unknown band 'V'"):
        psp.build_templates(iso, axes, **options)


def systems_that_shine(iso, binaries):
    """Systems with a star on the isochrone, per Msun formed, as a sum over masses and ratios."""
    imf = psp.Kroupa()
    edges = np.geomspace(imf.mass_min, imf.mass_max, 20_001)
    share = imf.integral(edges[:-1], edges[1:]) / imf.integral(imf.mass_min, imf.mass_max)
    ratio = binaries.mass_ratio_quantile((np.arange(300) + 0.5) / 300)
    primary = np.sqrt(edges[1:] * edges[:-1])[:, None] / (1.0 + ratio)
    low, high = iso.initial_mass.min(), iso.initial_mass.max()
    shines = [(m >= low) & (m <= high) for m in (primary, ratio * primary)]
    number = share @ (shines[0] | shines[1]).mean(axis=1)
    return number * binaries.systems_per_mass(imf)


@pytest.mark.parametrize(
    ("least", "slope"),
    [(0.1, 0.0), (0.01, -2.0), (0.01, -5.0), (0.02, -5.0), (0.1, 10.0), (0.1, 20.0), (0.5, -20.0),
     (0.9, 0.0), (0.99, 0.0)],
)  # fmt: skip
def test_steep_laws_of_mass_ratios_count_all_systems(iso, least, slope):
    bands = ("Bessell_V", "Bessell_I")
    axes = psp.HessAxes(bands, bands[1], np.arange(-10.0, 15.1, 0.25), np.arange(0.0, 60.1, 0.5))
    one, binaries = iso.at(-0.5, 9.5, bands), psp.MassRatioBinaries(1.0, least, slope)
    template = psp.build_template(
        one.initial_mass, one.abs_mag, bands, axes, distance_modulus=20.0,
        noise=dict.fromkeys(bands, 0.05), binaries=binaries,
    )  # fmt: skip
    # The sum has steps of its own.
    assert float(template.sum()) == pytest.approx(systems_that_shine(one, binaries), rel=3e-4)
