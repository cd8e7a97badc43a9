"""The uniform field density."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import integrate

from pymc_starpop.field import UniformField
from pymc_starpop.hess import LogisticCompleteness
from pymc_starpop.stars.catalog import StarCatalog
from pymc_starpop.stars.fluxes import asinh_mag, flux_of_asinh_mag, flux_of_mag
from pymc_starpop.stars.selection import MagnitudeLimits
from tolerances import assert_close

NAN = np.nan
BANDS = ("G", "BP", "J")
MAG = np.array(
    [
        [10.0, 10.5, 9.0],  # BP - G 0.5, J - G -1
        [14.0, 15.5, 11.0],  # BP - G 1.5, J - G -3
        [12.0, NAN, 10.0],  # J - G -2
        [NAN, 13.0, 11.5],  # no G: BP is the first, J - BP -1.5
        [13.0, NAN, NAN],
    ]
)
PARALLAX = np.array([3.0, 5.0, NAN, 4.0, 4.0])


def catalog(mag=MAG, parallax=None, bands=BANDS):
    """Return a catalog with errors of 0.01 mag and 0.1 mas."""
    error = None if parallax is None else np.full(len(mag), 0.1)
    return StarCatalog(mag, np.full(np.shape(mag), 0.01), bands, parallax, error)


def test_ranges_from_the_catalog():
    # ranges: G 4, BP - G 1, J - G 2, BP 5, J - BP 3 (from -4.5 to -1.5)
    expected = -np.log([4 * 1 * 2, 4 * 1 * 2, 4 * 2, 5 * 3, 4])
    assert_close(UniformField().log_density(catalog()), expected, "same_formula")


def test_parallax_adds_its_range_where_measured():
    plain = UniformField().log_density(catalog())
    with_parallax = UniformField().log_density(catalog(parallax=PARALLAX))
    assert_close(plain - with_parallax, np.log([2, 2, 1, 2, 2]), "same_formula")
    given_range = UniformField(parallax_range=(0, 10)).log_density(catalog(parallax=PARALLAX))
    assert_close(plain - given_range, np.log([10, 10, 1, 10, 10]), "same_formula")


def test_selection_sets_the_range_and_the_reference_band():
    limits = MagnitudeLimits("J", 8.0, 18.0)
    # J 10; G - J 2, BP - J 3; the last star has no J: G 4
    expected = -np.log([10 * 2 * 3, 10 * 2 * 3, 10 * 2, 10 * 3, 4])
    assert_close(UniformField().log_density(catalog(), limits), expected, "same_formula")
    open_end = MagnitudeLimits("G", 6.0, np.inf)
    assert_close(UniformField().log_density(catalog(), open_end)[4], -np.log(8.0), "same_formula")


def test_given_ranges_win():
    field = UniformField(mag_range={"G": (0, 20)}, color_ranges={("G", "BP"): (-3, 4)})
    assert_close(field.log_density(catalog())[[0, 4]], -np.log([20 * 7 * 2, 20]), "same_formula")
    one = UniformField(mag_range=(0, 20)).log_density(catalog())
    assert_close(one[[3, 4]], -np.log([20 * 3, 20]), "same_formula")


def test_a_given_range_counts_where_the_selection_lets_stars_pass():
    limits = MagnitudeLimits("G", 5.0, 15.0)
    for mag_range, width in [((0, 20), 10), ((8, 20), 7), ((0, 12), 7), ((9, 14), 5)]:
        for field in (UniformField(mag_range=mag_range), UniformField(mag_range={"G": mag_range})):
            frozen = field.frozen(catalog(), limits)
            for density in (
                field.log_density(catalog(), limits),
                frozen.log_density(catalog(), limits),
                frozen.log_density(catalog()),
            ):
                # BP - G 1, J - G 2 mag wide; the last star has G alone.
                assert_close(density[[0, 4]], -np.log([width * 1 * 2, width]), "same_formula")
    open_end = UniformField(mag_range=(0, 20)).log_density(
        catalog(), MagnitudeLimits("G", -np.inf, 15.0)
    )
    assert_close(open_end[4], -np.log(15.0), "same_formula")
    # In another band than that of the selection a range is what it is.
    other = UniformField(mag_range={"BP": (0, 30)}).log_density(catalog(), limits)
    assert_close(other[3], -np.log(30.0 * 3.0), "same_formula")


RANGES = st.tuples(st.floats(0, 14), st.floats(1, 12)).map(lambda r: (r[0], r[0] + r[1]))


@given(mag_range=RANGES, limits=RANGES, seed=st.integers(0, 99))
def test_density_is_that_of_the_draws_and_both_stay_in_the_selection(mag_range, limits, seed):
    """The density integrates to one over the magnitudes of the range that pass the selection."""
    low, high = max(mag_range[0], limits[0]), min(mag_range[1], limits[1])
    assume(abs(high - low) > 1e-3)
    field = UniformField(mag_range=mag_range, color_ranges={("J", "G"): (-3, -1)})
    selection = MagnitudeLimits("G", *limits)
    some = catalog(np.array([[10.0, 9.0], [12.0, 10.0]]), bands=("G", "J"))
    if low >= high:
        for call in (
            lambda: field.log_density(some, selection),
            lambda: field.frozen(some, selection),
            lambda: field.draw(3, ("G", "J"), np.random.default_rng(seed), selection),
        ):
            with pytest.raises(ValueError, match=r"mag_range .* expected .* overlap.*; widen"):
                call()
        return
    n = 2000
    drawn = field.draw(n, ("G", "J"), np.random.default_rng(seed), selection)
    assert np.all((drawn[:, 0] >= limits[0]) & (drawn[:, 0] <= limits[1]))
    assert np.all((drawn[:, 0] >= mag_range[0]) & (drawn[:, 0] <= mag_range[1]))
    # No draw in an edge of this width: a chance of 1e-13.
    edge = 0.015 * (high - low)
    assert drawn[:, 0].min() < low + edge
    assert drawn[:, 0].max() > high - edge
    inside = catalog(drawn, bands=("G", "J"))
    volume = (high - low) * 2.0
    assert_close(np.exp(field.log_density(inside, selection)) * volume, np.ones(n), "kernel")


@given(
    shift=st.floats(-5, 5),
    mags=st.lists(st.floats(8, 18), min_size=4, max_size=12, unique=True),
)
def test_density_integrates_to_one_over_its_box(shift, mags):
    """The box has as volume the inverse of the density, wherever it lies."""
    g = np.round(np.array(mags), 3) + shift
    j = g - np.linspace(0.5, 1.5, g.size)
    cat = catalog(np.column_stack([g, j]), bands=("G", "J"))
    if np.ptp(g) == 0:
        return
    volume = np.ptp(g) * np.ptp(j - g)
    assert_close(np.exp(UniformField().log_density(cat)) * volume, np.ones(g.size), "kernel")


@pytest.mark.parametrize("selection", [None, MagnitudeLimits("J", 8.0, 18.0)])
def test_frozen_gives_the_same_density_for_other_catalogs(selection):
    cat = catalog(parallax=PARALLAX)
    frozen = UniformField().frozen(cat, selection)
    expected = UniformField().log_density(cat, selection)
    assert_close(frozen.log_density(cat, selection), expected, "same_formula")
    assert_close(frozen.log_density(cat), expected, "same_formula")
    moved = catalog(MAG * 1.5 + 3.0, PARALLAX + 20.0)
    assert_close(frozen.log_density(moved), expected, "same_formula")
    for row in range(len(MAG)):  # one star alone has no range of its own
        alone = cat.select([row])
        assert_close(frozen.log_density(alone), expected[[row]], "same_formula")


def test_a_range_without_width_asks_for_it():
    with pytest.raises(ValueError, match=r"mag_range\['G'\].*give mag_range\['G'\] as"):
        UniformField().log_density(catalog(MAG[:1]))
    with pytest.raises(ValueError, match=r"color_ranges\['J', 'G'\]"):
        UniformField().log_density(catalog([[10.0, 9.0], [12.0, 11.0]], bands=("G", "J")))
    with pytest.raises(ValueError, match="parallax_range"):
        UniformField().log_density(catalog(parallax=[3.0, 3.0, NAN, 3.0, 3.0]))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"mag_range": (12, 10)}, "mag_range must ascend"),
        ({"mag_range": (10, 10)}, "mag_range must ascend"),
        ({"mag_range": (10, NAN)}, "mag_range must be two finite numbers"),
        ({"mag_range": 10}, "mag_range must be two finite numbers"),
        ({"mag_range": {"G": (3,)}}, r"mag_range\['G'\] must be two finite"),
        ({"color_ranges": {"G": (0, 1)}}, "pairs of different bands"),
        ({"color_ranges": {("G", "G"): (0, 1)}}, "pairs of different bands"),
        ({"color_ranges": {("G", "J"): (1, 0)}}, "must ascend"),
        ({"parallax_range": (1, np.inf)}, "parallax_range must be two finite"),
    ],
)
def test_bad_ranges(arguments, words):
    with pytest.raises(ValueError, match=words):
        UniformField(**arguments)


def test_teff_and_feh_add_their_ranges_where_measured():
    columns = {
        "teff": [4000.0, 6000.0, NAN, 5000.0, 5000.0], "teff_err": np.full(5, 80.0),
        "feh": [0.0, NAN, 0.1, -0.3, 0.0], "feh_err": np.full(5, 0.1),
    }  # fmt: skip
    cat = StarCatalog(MAG, np.full(MAG.shape, 0.01), BANDS, **columns)
    plain = UniformField().log_density(catalog())
    expected = np.log([2000 * 0.4, 2000, 0.4, 2000 * 0.4, 2000 * 0.4])
    assert_close(plain - UniformField().log_density(cat), expected, "same_formula")
    given_range = UniformField(teff_range=(3000, 8000), feh_range=(-1, 1))
    expected = np.log([5000 * 2, 5000, 2, 5000 * 2, 5000 * 2])
    assert_close(plain - given_range.log_density(cat), expected, "same_formula")
    frozen = UniformField().frozen(cat)
    assert (frozen.teff_range, frozen.feh_range) == ((4000.0, 6000.0), (-0.3, 0.1))
    rng = np.random.default_rng(1)
    for drawn, (low, high) in (
        (frozen.draw_teff(100, rng), frozen.teff_range),
        (frozen.draw_feh(100, rng), frozen.feh_range),
    ):
        assert drawn.shape == (100,)
        assert np.all((drawn >= low) & (drawn <= high))
        assert np.ptp(drawn) > 0.8 * (high - low)
    with pytest.raises(ValueError, match="feh_range of UniformField is needed"):
        UniformField().draw_feh(3, rng)
    same = StarCatalog(MAG, np.full(MAG.shape, 0.01), BANDS, teff=[5000.0] * 5, teff_err=[1.0] * 5)
    with pytest.raises(ValueError, match="teff_range of UniformField cannot be taken"):
        UniformField().log_density(same)


FAINT = LogisticCompleteness(0.9, 13.0, 0.4)


@pytest.mark.parametrize(
    "limits",
    [
        MagnitudeLimits("G", 8.0, 15.0, completeness=FAINT),
        MagnitudeLimits("G", faint=15.0, completeness=FAINT),
        MagnitudeLimits("G", completeness=FAINT),
    ],
)
def test_completeness_integrates_to_one_and_shapes_the_draws(limits):
    cat = catalog(
        np.column_stack([np.linspace(10.0, 14.5, 9), np.linspace(8, 14, 9)]), bands=("G", "J")
    )
    low = 10.0 if np.isinf(limits.bright) else 8.0
    high = 14.5 if np.isinf(limits.faint) else 15.0
    field = UniformField().frozen(cat, limits)
    width = np.ptp(cat.mag[:, 1] - cat.mag[:, 0])

    def density(g):
        rows = catalog(np.column_stack([g, np.subtract(g, 1.5)]), bands=("G", "J"))
        return np.exp(field.log_density(rows, limits)) * width

    grid = np.linspace(low, high, 2001)
    total = integrate.cumulative_simpson(density(grid), x=grid, initial=0.0)
    assert_close(total[-1], 1.0, "quadrature")
    one, two = density([12.0, 13.5])
    assert_close(one / two, FAINT(12.0) / FAINT(13.5), "same_formula")
    drawn = field.draw(4000, ("G", "J"), np.random.default_rng(4), limits)[:, 0]
    # Kolmogorov's distance, at a chance of 1e-6 of being larger.
    distance = np.interp(np.sort(drawn), grid, total) - np.arange(0.5, 4000) / 4000
    assert np.abs(distance).max() < 2.7 / np.sqrt(4000)


def test_completeness_counts_in_its_band_alone():
    limits = MagnitudeLimits("G", 8.0, 15.0, completeness=FAINT)
    without = MagnitudeLimits("G", 8.0, 15.0)
    ratio = UniformField().log_density(catalog(), limits) - UniformField().log_density(
        catalog(), without
    )
    mean = integrate.quad(FAINT, 8.0, 15.0)[0] / 7.0
    assert_close(ratio[[0, 1, 2, 4]], np.log(FAINT(MAG[[0, 1, 2, 4], 0]) / mean), "quadrature")
    assert ratio[3] == 0.0  # no G


def test_completeness_of_zero_at_a_star():
    limits = MagnitudeLimits("G", 8.0, 15.0, completeness=lambda m: np.where(m < 12.5, 1.0, 0.0))
    with pytest.raises(ValueError, match=r"completeness is 0 at the magnitudes of 1 stars, rows 1"):
        UniformField().log_density(catalog(MAG[:3]), limits)


FLUX_ERR = np.array([3.0, 1.0, 0.5])


def flux_catalog(n=60, seed=1):
    """Return fluxes in three bands, some negative, some missing."""
    rng = np.random.default_rng(seed)
    flux = rng.exponential(20.0, size=(n, 1)) * [1.0, 2.0, 0.5] + FLUX_ERR * rng.normal(size=(n, 3))
    flux[:5, 1] = NAN
    return StarCatalog.from_flux(flux, np.broadcast_to(FLUX_ERR, flux.shape), bands=BANDS)


@pytest.mark.parametrize(
    "limits",
    [
        None,
        MagnitudeLimits("G", faint=21.0),
        MagnitudeLimits("G", bright=19.0, faint=22.0),
        MagnitudeLimits("G", bright=19.0),
        MagnitudeLimits("G", 17.0, 22.0, completeness=LogisticCompleteness(1.0, 20.0, 0.5)),
    ],
)
def test_fluxes_integrate_to_one_over_the_selected_region(limits):
    """In two bands by quadrature, over the fluxes of the box in asinh magnitude and colors."""
    cat = flux_catalog()
    if limits is not None:
        cat = cat.select(limits.mask(cat))
    field = UniformField().frozen(cat, limits)
    two = StarCatalog.from_flux(cat.flux[:, :2], cat.flux_err[:, :2], bands=BANDS[:2])
    mu = asinh_mag(two.flux, FLUX_ERR[:2])
    low, high = np.nanmin(mu[:, 0]), np.nanmax(mu[:, 0])
    if limits is not None and np.isfinite(limits.bright):
        low = asinh_mag(flux_of_mag(limits.bright), FLUX_ERR[0])
    if limits is not None and np.isfinite(limits.faint):
        high = asinh_mag(flux_of_mag(limits.faint), FLUX_ERR[0])
    color = field.color_ranges[BANDS[1], BANDS[0]]

    def density(log_f, log_g):
        # Both fluxes through sinh, for the wings; the error is the unit.
        flux = FLUX_ERR[:2] * np.sinh([log_f, log_g])
        mu = asinh_mag(flux, FLUX_ERR[:2])
        row = StarCatalog.from_flux([flux], [FLUX_ERR[:2]], bands=BANDS[:2])
        jacobian = np.prod(FLUX_ERR[:2] * np.cosh([log_f, log_g]))
        inside = color[0] <= mu[1] - mu[0] <= color[1]
        return inside * float(np.exp(field.log_density(row, limits))[0]) * jacobian

    def of_mag(mag, band):
        return np.arcsinh(flux_of_asinh_mag(mag, FLUX_ERR[band]) / FLUX_ERR[band])

    # The edges of the box are lines in asinh magnitude: the inner integral runs between them.
    def inner(log_f):
        mag = asinh_mag(FLUX_ERR[0] * np.sinh(log_f), FLUX_ERR[0])
        ends = sorted(of_mag(mag + c, 1) for c in color)
        return integrate.fixed_quad(
            lambda x: [density(log_f, v) for v in x], ends[0], ends[1], n=12
        )[0]

    ends = sorted((of_mag(low, 0), of_mag(high, 0)))
    total = integrate.fixed_quad(lambda x: [inner(v) for v in x], *ends, n=24)[0]
    assert_close(total, 1.0, "grid_sum")


@pytest.mark.parametrize("error", [0.05, 1.0, 20.0])
def test_one_band_of_flux_integrates_to_one_for_every_error(error):
    """A faint limit is another asinh magnitude for every error; the density follows."""
    limits = MagnitudeLimits("G", bright=17.0, faint=21.5)
    field = UniformField()
    low, high = flux_of_mag(21.5), flux_of_mag(17.0)

    def density(flux):
        row = StarCatalog.from_flux([[flux]], [[error]], bands=["G"])
        return float(np.exp(field.log_density(row, limits))[0])

    total = integrate.quad(density, low, high, limit=200, epsrel=1e-10)[0]
    assert_close(total, 1.0, "quadrature")


def test_bright_fluxes_are_as_magnitudes():
    """At 10,000 sigma the density in flux is that in magnitude times |dm/df|."""
    mag = np.array([[15.0, 14.0], [17.0, 16.5], [16.0, 14.5]])
    flux = flux_of_mag(mag)
    for limits in (None, MagnitudeLimits("G", 14.0, 18.0)):
        fluxes = StarCatalog.from_flux(flux, 1e-4 * flux, bands=("G", "J"))
        expected = UniformField().log_density(catalog(mag, bands=("G", "J")), limits)
        expected = expected + np.log(2.5 / np.log(10.0) / flux).sum(axis=1)
        assert_close(UniformField().log_density(fluxes, limits), expected, "asinh")


def test_drawn_fluxes_have_the_density():
    """Draws are uniform in the asinh magnitude of their own error, within the limits in flux."""
    limits = MagnitudeLimits("G", bright=17.0, faint=22.5)
    cat = flux_catalog().select([10, 11, 12])
    field = UniformField(
        color_ranges={("BP", "G"): (-1, 1), ("J", "G"): (0, 1), ("J", "BP"): (0, 1)}
    ).frozen(cat, limits)
    err = np.random.default_rng(1).uniform(0.1, 9.0, size=(4000, 3))
    flux = field.draw_flux(err, BANDS, np.random.default_rng(2), limits)
    assert limits.mask(StarCatalog.from_flux(flux, err, bands=BANDS)).all()
    mu = asinh_mag(flux, err)
    low, high = (asinh_mag(flux_of_mag(m), err[:, 0]) for m in (17.0, 22.5))
    for share in (
        (mu[:, 0] - low) / (high - low),
        (mu[:, 1] - mu[:, 0] + 1) / 2,
        mu[:, 2] - mu[:, 0],
    ):
        distance = np.abs(np.sort(share) - np.arange(0.5, 4000) / 4000).max()
        assert distance < 2.7 / np.sqrt(4000)


def test_frozen_fluxes_give_the_same_density_alone():
    cat = flux_catalog()
    for limits in (None, MagnitudeLimits("G", bright=17.0), MagnitudeLimits("G", faint=23.0)):
        chosen = cat if limits is None else cat.select(limits.mask(cat))
        frozen = UniformField().frozen(chosen, limits)
        expected = UniformField().log_density(chosen, limits)
        assert_close(frozen.log_density(chosen, limits), expected, "same_formula")
        for row in (0, 7, 20):
            alone = frozen.log_density(chosen.select([row]), limits)
            assert_close(alone, expected[[row]], "same_formula")
