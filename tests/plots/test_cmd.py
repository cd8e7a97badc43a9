"""plot_cmd: what is on the axes, and the errors."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import LineCollection, PathCollection
from numpy.testing import assert_allclose, assert_array_equal

from pymc_starpop.isochrones.empirical_corrections import EmpiricalCorrections
from pymc_starpop.plots.cmd import EQUAL_MASS_OFFSET, plot_cmd
from pymc_starpop.stars.catalog import StarCatalog

G, BP, RP, KS = "Gaia_G_EDR3", "Gaia_BP_EDR3", "Gaia_RP_EDR3", "2MASS_Ks"
COLOR = (BP, RP)
CLUSTER = {"feh": 0.1, "log_age": 9.4, "distance_pc": 305.0, "av": 0.3}


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def catalog(rng):
    g = rng.uniform(9.0, 18.0, 30)
    mag = np.column_stack([g, g + 0.3, g - 0.6, g - 1.5])
    mag[0, 1] = np.nan
    mag[1:4, 3] = np.nan
    err = np.full(mag.shape, 0.02)
    return StarCatalog(mag, err, bands=[G, BP, RP, KS])


@pytest.fixture
def posterior(rng):
    """Two chains of 40 draws."""
    return xr.Dataset(
        {
            name: (("chain", "draw"), rng.normal(value, 0.005 * value, (2, 40)))
            for name, value in CLUSTER.items()
        }
    )


def points(ax):
    return next(c for c in ax.collections if isinstance(c, PathCollection))


def lines(ax):
    return [c for c in ax.collections if isinstance(c, LineCollection)]


def segments(collection):
    """Vertices of each line, also the NaN that `get_segments` would drop."""
    return [path.vertices for path in collection.get_paths()]


def test_stars_with_both_bands_and_an_inverted_axis(catalog):
    ax = plot_cmd(catalog, COLOR, G)

    assert ax.yaxis_inverted()
    assert not ax.xaxis_inverted()
    expected = np.column_stack([catalog.mag[:, 1] - catalog.mag[:, 2], catalog.mag[:, 0]])[1:]
    assert_array_equal(points(ax).get_offsets(), expected)
    assert not lines(ax)
    assert ax.figure.axes == [ax]


def test_a_second_plot_on_the_same_axes_keeps_them_inverted(catalog):
    _, ax = plt.subplots()
    assert plot_cmd(catalog, COLOR, G, ax=ax) is ax
    assert plot_cmd(catalog, COLOR, G, ax=ax) is ax
    assert ax.yaxis_inverted()


def test_labels_are_readable(catalog):
    ax = plot_cmd(catalog, COLOR, G)
    assert ax.get_xlabel() == r"$G_\mathrm{BP}$ $-$ $G_\mathrm{RP}$ (mag)"
    assert ax.get_ylabel() == "Gaia $G$ (mag)"

    ax = plot_cmd(catalog, (G, KS), KS)
    assert ax.get_xlabel() == r"Gaia $G$ $-$ 2MASS $K_\mathrm{s}$ (mag)"

    own = StarCatalog(catalog.mag[:, :2], catalog.mag_err[:, :2], bands=["WISE_W1", "my_band"])
    ax = plot_cmd(own, ("WISE_W1", "my_band"), "my_band")
    assert ax.get_xlabel() == r"WISE $\mathrm{W1}$ $-$ my band (mag)"
    # Text that Matplotlib cannot set would only fail here.
    ax.figure.canvas.draw()


def test_membership_is_the_color_of_the_stars(catalog, rng):
    membership = rng.uniform(size=len(catalog))

    ax = plot_cmd(catalog, COLOR, G, membership=membership)

    shown = points(ax)
    assert_array_equal(shown.get_array(), np.sort(membership[1:]))
    row = np.flatnonzero(membership == shown.get_array()[-1])[0]
    assert shown.get_offsets()[-1, 1] == catalog.mag[row, 0]
    assert shown.get_clim() == (0.0, 1.0)
    (colorbar,) = [other for other in ax.figure.axes if other is not ax]
    assert colorbar.get_ylabel() == "membership probability"


def test_error_bars_are_optional(catalog):
    assert not plot_cmd(catalog, COLOR, G).containers
    ax = plot_cmd(catalog, COLOR, G, error_bars=True)
    (container,) = ax.containers
    (horizontal, vertical) = container.lines[2]
    widths = [np.ptp(s[:, 0]) for s in horizontal.get_segments()]
    heights = [np.ptp(s[:, 1]) for s in vertical.get_segments()]
    assert_allclose(widths, 2 * 0.02 * np.sqrt(2))
    assert_allclose(heights, 2 * 0.02)


def test_one_isochrone_from_numbers(iso, catalog):
    plain = plot_cmd(catalog, COLOR, G)
    ax = plot_cmd(catalog, COLOR, G, iso=iso, parameters=CLUSTER)

    (collection,) = lines(ax)
    (line,) = segments(collection)
    one = iso.at(0.1, 9.4, [BP, RP, G], av=0.3)
    apparent = one.abs_mag + 5.0 * np.log10(305.0) - 5.0
    dwarfs = (one.initial_mass > 0.101) & (one.eep <= 605)
    expected = np.column_stack([apparent[:, 0] - apparent[:, 1], apparent[:, 2]])[dwarfs]
    gap = np.flatnonzero(np.isnan(line).any(axis=1))
    assert gap.size == 1
    assert_allclose(line[gap[0] - len(expected) : gap[0]], expected, atol=1e-12)
    # Before the first of these nodes is the one at 0.1 Msun, and some within 1 % of it.
    assert gap[0] - len(expected) <= 1 + np.sum((one.initial_mass > 0.1) & ~dwarfs & (one.eep < 99))
    # The limits are those of the stars.
    assert (ax.get_xlim(), ax.get_ylim()) == (plain.get_xlim(), plain.get_ylim())


def test_the_line_is_broken_where_helium_ignites_in_a_flash(iso, catalog):
    def largest_step(log_age):
        parameters = {"feh": 0.0, "log_age": log_age, "distance_modulus": 7.0}
        ax = plot_cmd(catalog, COLOR, G, iso=iso, parameters=parameters)
        line = segments(lines(ax)[0])[0]
        return np.isnan(line).any(), np.nanmax(np.abs(np.diff(line[:, 1])))

    broken, step = largest_step(9.6)
    assert broken
    # The red giant branch ends 3 mag above the red clump.
    assert step < 1.5
    broken, _ = largest_step(7.5)
    assert not broken


def test_an_isochrone_is_broken_without_nodes_in_the_gap(iso, catalog):
    coarse = iso.with_nodes([*range(202, 606), *range(631, 809)])
    ax = plot_cmd(catalog, COLOR, G, iso=coarse, parameters=CLUSTER)
    assert np.isnan(segments(lines(ax)[0])[0]).any()


@pytest.mark.parametrize("as_tree", [True, False])
def test_posterior_draws_are_lines(iso, catalog, posterior, as_tree):
    samples = xr.DataTree.from_dict({"posterior": posterior}) if as_tree else posterior

    ax = plot_cmd(catalog, COLOR, G, iso=iso, samples=samples, n_samples=7, rng=1)

    (collection,) = lines(ax)
    assert len(segments(collection)) == 7
    assert collection.get_alpha() < 1.0
    assert "7 posterior draws" in ax.get_legend().get_texts()[0].get_text()


def test_no_more_draws_than_there_are(iso, catalog, posterior):
    few = posterior.isel(draw=slice(0, 2))
    ax = plot_cmd(catalog, COLOR, G, iso=iso, samples=few)
    assert len(segments(lines(ax)[0])) == 4


def test_draws_belong_together(iso, catalog, posterior):
    # Dimensions in another order must not mix draws of one parameter with those of another.
    mixed = posterior.assign(feh=posterior["feh"].transpose("draw", "chain"))
    first = plot_cmd(catalog, COLOR, G, iso=iso, samples=posterior, rng=3)
    second = plot_cmd(catalog, COLOR, G, iso=iso, samples=mixed, rng=3)
    for a, b in zip(segments(lines(first)[0]), segments(lines(second)[0]), strict=True):
        assert_array_equal(a, b)


def test_parameters_complete_the_samples(iso, catalog, posterior):
    ax = plot_cmd(
        catalog, COLOR, G, iso=iso, samples=posterior.drop_vars(["feh", "av"]),
        parameters={"feh": 0.1, "av": 0.3}, n_samples=3,
    )  # fmt: skip
    assert len(segments(lines(ax)[0])) == 3


def test_the_modulus_wins_over_the_distance_that_follows_from_it(iso, catalog, posterior):
    modulus = 5.0 * np.log10(posterior["distance_pc"]) - 5.0
    both = posterior.assign(distance_modulus=modulus)
    first = plot_cmd(catalog, COLOR, G, iso=iso, samples=posterior, n_samples=2, rng=5)
    second = plot_cmd(catalog, COLOR, G, iso=iso, samples=both, n_samples=2, rng=5)
    for a, b in zip(segments(lines(first)[0]), segments(lines(second)[0]), strict=True):
        assert_allclose(a, b, atol=1e-12)


def test_binaries_of_equal_mass_are_dashed(iso, catalog, posterior):
    ax = plot_cmd(catalog, COLOR, G, iso=iso, parameters=CLUSTER, binary_sequence=True)
    single, binary = lines(ax)
    (line,), (brighter,) = segments(single), segments(binary)
    assert_allclose(brighter, line[: len(brighter)] - [0.0, EQUAL_MASS_OFFSET], atol=1e-12)
    assert_allclose(EQUAL_MASS_OFFSET, 0.753, atol=5e-4)
    assert len(brighter) < len(line)
    assert binary.get_linestyle()[0][1] is not None

    ax = plot_cmd(catalog, COLOR, G, iso=iso, samples=posterior, binary_sequence=True)
    assert [len(segments(c)) for c in lines(ax)] == [50, 1]


def test_corrections_move_the_lower_main_sequence(iso, catalog):
    def line(corrections):
        ax = plot_cmd(catalog, COLOR, G, iso=iso, parameters=CLUSTER, corrections=corrections)
        return segments(lines(ax)[0])[0]

    difference = line(EmpiricalCorrections()) - line(None)
    assert np.nanmax(np.abs(difference[:20])) > 0.05
    # Above the turn-off they have faded.
    assert np.nanmax(np.abs(difference[-50:])) < 1e-3
    assert_array_equal(line(EmpiricalCorrections(dtdm=0.0, drdm=0.0)), line(None))


def test_corrections_of_a_model_are_looked_up_in_the_samples(iso, catalog, posterior):
    variable = SimpleNamespace(name="slope")
    samples = posterior.assign(slope=xr.full_like(posterior["feh"], 0.05))
    drawn = plot_cmd(
        catalog, COLOR, G, iso=iso, samples=samples, n_samples=2, rng=1,
        corrections=EmpiricalCorrections(dtdm=variable),
    )  # fmt: skip
    fixed = plot_cmd(
        catalog, COLOR, G, iso=iso, samples=posterior, n_samples=2, rng=1,
        corrections=EmpiricalCorrections(dtdm=0.05),
    )  # fmt: skip
    for a, b in zip(segments(lines(drawn)[0]), segments(lines(fixed)[0]), strict=True):
        assert_array_equal(a, b)
    with pytest.raises(ValueError, match="samples and parameters lack slope"):
        plot_cmd(
            catalog, COLOR, G, iso=iso, samples=posterior,
            corrections=EmpiricalCorrections(dtdm=variable),
        )  # fmt: skip
    nameless = EmpiricalCorrections(dtdm=SimpleNamespace(name=None))
    with pytest.raises(ValueError, match=r"dtdm is .* no name"):
        plot_cmd(catalog, COLOR, G, iso=iso, samples=posterior, corrections=nameless)


@pytest.mark.parametrize(
    ("color", "mag", "message"),
    [
        ((BP, "Gaia_X"), G, "color names 'Gaia_X'.*Gaia_G_EDR3, Gaia_BP_EDR3"),
        (COLOR, "Gaia_X", "mag names 'Gaia_X'"),
        (BP, G, "color must be two band names"),
        ((BP, RP, G), G, "color must be two band names"),
    ],
)
def test_unknown_bands(catalog, color, mag, message):
    with pytest.raises(ValueError, match=message):
        plot_cmd(catalog, color, mag)


def test_a_band_without_isochrones(iso, catalog):
    own = StarCatalog(catalog.mag[:, [0, 2]], catalog.mag_err[:, [0, 2]], bands=[G, "my_band"])
    with pytest.raises(ValueError, match="my_band"):
        plot_cmd(own, (G, "my_band"), G, iso=iso, parameters=CLUSTER)


def test_no_star_with_all_bands():
    catalog = StarCatalog([[10.0, np.nan], [np.nan, 11.0]], [[0.1, 0.1], [0.1, 0.1]], bands=[G, RP])
    with pytest.raises(ValueError, match="no star of the catalog has all of"):
        plot_cmd(catalog, (G, RP), G)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"feh": 0.1, "av": 0.3}, "lack log_age, distance_modulus or distance_pc"),
        (CLUSTER | {"age": 9.4}, "'age' moves no isochrone; expected some of feh, log_age"),
        (CLUSTER | {"distance_modulus": 7.4}, "both distance_modulus and distance_pc"),
        (CLUSTER | {"feh": np.nan}, "feh must be one finite number"),
        (CLUSTER | {"feh": [0.1, 0.2]}, "feh must be one finite number"),
        (CLUSTER | {"feh": 2.0}, "feh=2 is out of range: expected -2.5 to 0.5"),
        (CLUSTER | {"av": -0.1}, "av=-0.1 is out of range"),
        (CLUSTER | {"distance_pc": 0.0}, "distance_pc=0 is out of range"),
    ],
)
def test_parameters_that_make_no_isochrone(iso, catalog, parameters, message):
    with pytest.raises(ValueError, match=message):
        plot_cmd(catalog, COLOR, G, iso=iso, parameters=parameters)
    assert not plt.get_fignums()


def test_samples_that_make_no_isochrone(iso, catalog, posterior):
    def plot(samples, **arguments):
        plot_cmd(catalog, COLOR, G, iso=iso, samples=samples, **arguments)

    with pytest.raises(ValueError, match="lack log_age"):
        plot(posterior.drop_vars("log_age"))
    with pytest.raises(ValueError, match="lack feh, log_age, distance_modulus"):
        plot(xr.Dataset())
    with pytest.raises(ValueError, match="av is in samples and in parameters"):
        plot(posterior, parameters={"av": 0.1})
    with pytest.raises(ValueError, match="distance is in samples and in parameters"):
        plot(posterior, parameters={"distance_modulus": 7.4})
    with pytest.raises(ValueError, match=r"feh in samples has dimensions .*isel\(cluster=0\)"):
        plot(posterior.assign(feh=posterior["feh"].expand_dims(cluster=2)))
    with pytest.raises(ValueError, match=r"samples must be an xarray.*got dict"):
        plot({"feh": [0.1]})
    with pytest.raises(ValueError, match="n_samples must be a whole number"):
        plot(posterior, n_samples=0)


def test_isochrones_need_both_a_grid_and_parameters(iso, catalog):
    with pytest.raises(ValueError, match="iso is needed"):
        plot_cmd(catalog, COLOR, G, parameters=CLUSTER)
    with pytest.raises(ValueError, match="iso was given without samples or parameters"):
        plot_cmd(catalog, COLOR, G, iso=iso)


@pytest.mark.parametrize(
    ("membership", "message"),
    [
        (np.ones(3), r"each of the 30 stars, got shape \(3,\)"),
        (np.full(30, 1.5), "membership must be 0 to 1, got 1.5 in row 0"),
        (np.full(30, np.nan), "membership must be 0 to 1, got nan"),
    ],
)
def test_membership_that_is_no_probability(catalog, membership, message):
    with pytest.raises(ValueError, match=message):
        plot_cmd(catalog, COLOR, G, membership=membership)


@pytest.fixture
def cats(catalog):
    return StarCatalog.stack({"rup 147": catalog, "faint": catalog.select(np.arange(5, 30))})


def test_a_stack_has_a_panel_for_each_cluster(cats, iso, rng):
    shift = {"log_age": [9.4, 9.0], "distance_pc": [305.0, 800.0]}
    samples = xr.Dataset(
        {
            name: (("chain", "draw", "cluster"), at + rng.normal(0.0, 0.01, (2, 10, 2)))
            for name, at in shift.items()
        }
        | {"feh": (("chain", "draw"), rng.normal(0.1, 0.01, (2, 10)))},
        coords={"cluster": list(cats)},
    )
    membership = np.linspace(0.0, 1.0, cats.n_star)
    axes = plot_cmd(
        cats, COLOR, G, iso=iso, samples=samples, parameters={"av": [0.3, 0.1]},
        membership=membership, n_samples=8,
    )  # fmt: skip
    assert [ax.get_title(loc="left") for ax in axes] == ["rup 147", "faint"]
    for ax, name, place in zip(axes, cats, range(2), strict=True):
        own = {
            key: samples[key].isel(cluster=place) if key in shift else samples[key]
            for key in ("feh", "log_age", "distance_pc")
        }
        alone = plot_cmd(
            cats[name], COLOR, G, iso=iso, samples=xr.Dataset(own), n_samples=8,
            parameters={"av": [0.3, 0.1][place]}, membership=membership[cats.rows(name)], rng=None,
        )  # fmt: skip
        assert_array_equal(points(ax).get_offsets(), points(alone).get_offsets())
        assert_array_equal(points(ax).get_array(), points(alone).get_array())
        assert len(lines(ax)) == len(lines(alone)) == 1
        assert len(segments(lines(ax)[0])) == 8


def test_one_cluster_of_a_stack(cats, catalog):
    ax = plot_cmd(cats, COLOR, G, cluster="faint")
    alone = plot_cmd(catalog.select(np.arange(5, 30)), COLOR, G)
    assert ax.get_title(loc="left") == "faint"
    assert_array_equal(points(ax).get_offsets(), points(alone).get_offsets())
    with pytest.raises(ValueError, match=r"cluster='m67' is none of the clusters of the catalog"):
        plot_cmd(cats, COLOR, G, cluster="m67")
    with pytest.raises(ValueError, match=r"ax holds 1 axes for 2 clusters"):
        plot_cmd(cats, COLOR, G, ax=ax)
    with pytest.raises(ValueError, match=r"the stars of one cluster, without a name"):
        plot_cmd(catalog, COLOR, G, cluster="faint")


def test_isochrones_by_cluster(cats, iso):
    with pytest.raises(ValueError, match=r"iso lacks faint; as a mapping it needs one value"):
        plot_cmd(cats, COLOR, G, iso={"rup 147": iso}, parameters=CLUSTER)


def test_clusters_with_other_bands(catalog):
    other = StarCatalog(catalog.mag[:, [0, 2]], catalog.mag_err[:, [0, 2]], bands=[G, "2MASS_Ks"])
    cats = StarCatalog.stack({"optical": catalog, "infrared": other})
    plt.close("all")
    with pytest.raises(
        ValueError, match=r"cluster 'infrared': color names .* or choose one with cl"
    ):
        plot_cmd(cats, COLOR, G)
    with pytest.raises(ValueError, match=r"color lacks infrared; as a mapping it needs"):
        plot_cmd(cats, {"optical": COLOR}, G)
    assert not plt.get_fignums()
    axes = plot_cmd(cats, {"optical": COLOR, "infrared": (G, "2MASS_Ks")}, G)
    for ax, alone in zip(axes, (catalog, other), strict=True):
        color = COLOR if alone is catalog else (G, "2MASS_Ks")
        expected = points(plot_cmd(alone, color, G)).get_offsets()
        assert_array_equal(points(ax).get_offsets(), expected)


def test_membership_of_one_cluster_of_a_stack(cats):
    membership = np.linspace(0.0, 1.0, cats.n_star)
    own = membership[cats.rows("faint")]
    shown = [plot_cmd(cats, COLOR, G, cluster="faint", membership=p) for p in (membership, own)]
    assert_array_equal(*(points(ax).get_array() for ax in shown))
