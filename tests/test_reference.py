"""The slow likelihood against integrals that share none of its code."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import integrate
from scipy.special import logsumexp

import pymc_starpop as psp
from pymc_starpop.kernels.reference.segment import log_segment_integral
from tolerances import NATS_SINGLE_MEDIAN, NATS_SINGLE_WORST, assert_close

BANDS = ("Gaia_G_EDR3", "Gaia_BP_EDR3", "Gaia_RP_EDR3", "2MASS_Ks")
CLUSTERS = {
    "young": {"feh": 0.02, "log_age": 7.83, "distance_modulus": 8.1},
    "middle": {"feh": -0.31, "log_age": 9.12, "distance_modulus": 10.4},
    "old and metal-poor": {"feh": -1.62, "log_age": 10.07, "distance_modulus": 12.9},
}


def kroupa(mass):
    """Kroupa (2001), eq. 2, from 0.08 Msun on, not normalized."""
    return np.where(mass < 0.5, (mass / 0.5) ** -1.3, (mass / 0.5) ** -2.3)


def kroupa_integral(low, high):
    pieces = [(low, min(high, 0.5)), (max(low, 0.5), high)]
    return sum(integrate.quad(kroupa, a, b, epsrel=1e-12)[0] for a, b in pieces if b > a)


def integral_over_mass(one, catalog, distance_modulus, mass_min, eep_max):
    """log int pi(M) N(x | y(M)) dM with y linear in mass between the points of the isochrone."""
    keep = one.eep <= eep_max
    mass, mag = one.initial_mass[keep], one.abs_mag[keep] + distance_modulus
    nodes, share = np.polynomial.legendre.leggauss(30)
    logs = []
    for m0, m1, y0, y1 in zip(mass[:-1], mass[1:], mag[:-1], mag[1:], strict=True):
        low = max(m0, mass_min)
        if m1 <= low:
            continue
        # The track jumps over many standard deviations in one segment: cut it into pieces.
        edges = np.linspace(low, m1, 21)
        m = 0.5 * (edges[:-1] + edges[1:])[:, None] + 0.5 * np.diff(edges)[:, None] * nodes
        weight = kroupa(m) * 0.5 * np.diff(edges)[:, None] * share
        y = y0 + ((m - m0) / (m1 - m0))[..., None] * (y1 - y0)
        z = (catalog.mag[:, None, None] - y) / catalog.mag_err[:, None, None]
        log_norm = -np.log(catalog.mag_err * np.sqrt(2.0 * np.pi))
        log_gauss = np.nansum(-0.5 * z**2, axis=-1) + np.nansum(log_norm, axis=1)[:, None, None]
        logs.append(logsumexp(log_gauss, b=weight, axis=(1, 2)))
    return logsumexp(logs, axis=0) - np.log(kroupa_integral(mass_min, mass[-1]))


def stars_of(iso, cluster, n_star=40, **options):
    errors = np.random.default_rng(2).uniform(0.005, 0.03, (n_star, len(BANDS)))
    cat = psp.simulate_cluster(
        iso, n_star=n_star, bands=BANDS, mag_err=errors, rng=3, **cluster, **options
    )
    mag = cat.mag.copy()
    mag[0] += 50.0 * errors.max()
    mag[1, 1:] = np.nan
    mag[2, 0] = np.nan
    return psp.StarCatalog(mag, cat.mag_err, bands=BANDS)


@pytest.mark.parametrize("cluster", CLUSTERS.values(), ids=CLUSTERS.keys())
def test_likelihood_is_the_integral_over_mass_through_the_isochrone(iso, cluster):
    catalog = stars_of(iso, cluster)
    one = iso.at(cluster["feh"], cluster["log_age"], BANDS)
    expected = integral_over_mass(one, catalog, cluster["distance_modulus"], 0.1, 808)
    error = np.abs(psp.reference.cluster_logp(iso, catalog, **cluster) - expected)
    assert error.max() < NATS_SINGLE_WORST
    assert np.median(error) < NATS_SINGLE_MEDIAN


def test_limits_in_mass_and_eep(iso):
    """The lowest mass cuts a segment in two; the last EEP ends the mass function."""
    cluster = CLUSTERS["middle"]
    limits = {"mass_min": 0.237, "eep_max": 605}
    iso = iso.with_nodes(np.union1d(iso.eep, [605]))
    catalog = stars_of(iso, cluster, **limits)
    one = iso.at(cluster["feh"], cluster["log_age"], BANDS)
    expected = integral_over_mass(one, catalog, cluster["distance_modulus"], **limits)
    error = np.abs(psp.reference.cluster_logp(iso, catalog, **cluster, **limits) - expected)
    assert error.max() < NATS_SINGLE_WORST
    assert np.median(error) < NATS_SINGLE_MEDIAN


def test_the_density_of_single_stars_integrates_to_one(iso):
    """One band: int L dx = 1, where the mass grows all along the isochrone."""
    cluster = CLUSTERS["middle"] | {"feh": -0.02, "log_age": 8.61}
    x = np.linspace(5.0, 28.0, 3001)[:, None]
    catalog = psp.StarCatalog(x, np.full_like(x, 0.1), bands=["Gaia_G_EDR3"])
    density = np.exp(psp.reference.cluster_logp(iso, catalog, **cluster))
    assert_allclose(integrate.trapezoid(density, x[:, 0]), 1.0, rtol=1e-6)


@pytest.mark.parametrize("slope", [0.0, 1.5])
def test_the_density_of_binaries_and_field_integrates_to_one_within_the_selection(iso, slope):
    """The member part is divided by the share that passes the limits, the field is not."""
    limits = psp.MagnitudeLimits("Gaia_G_EDR3", 14.0, 18.0, error=0.03)
    x = np.linspace(14.0, 18.0, 4001)[:, None]
    catalog = psp.StarCatalog(x, np.full_like(x, 0.03), bands=["Gaia_G_EDR3"])
    logp = psp.reference.cluster_logp(
        iso.with_nodes(120), catalog, **CLUSTERS["middle"], binary_fraction=0.6,
        mass_ratio_slope=slope, mass_ratio_nodes=9, field_fraction=0.3, intrinsic_scatter=0.02,
        av_scatter=0.05, selection=limits,
    )  # fmt: skip
    assert_allclose(integrate.trapezoid(np.exp(logp), x[:, 0]), 1.0, rtol=1e-4)


def test_mixing_inside_and_outside_the_integral_is_the_same_for_a_uniform_field(iso):
    cluster = CLUSTERS["middle"]
    catalog = stars_of(iso, cluster)
    field = psp.UniformField()
    alone = psp.reference.cluster_logp(iso, catalog, **cluster)
    mixed = psp.reference.cluster_logp(iso, catalog, **cluster, field_fraction=0.25)
    expected = np.log(0.75 * np.exp(alone) + 0.25 * np.exp(field.log_density(catalog)))
    assert_close(mixed, expected, "same_formula")


def test_single_stars_are_binaries_with_a_fraction_of_zero(iso):
    cluster, iso = CLUSTERS["middle"], iso.with_nodes(120)
    catalog = stars_of(iso, cluster, n_star=12)
    single = psp.reference.cluster_logp(iso, catalog, **cluster)
    # An array is not the number 0: this takes the way of binaries.
    both = psp.reference.cluster_logp(
        iso, catalog, **cluster, binary_fraction=np.zeros(1), mass_ratio_nodes=5
    )
    assert_close(single, both, "kernel")


def test_segment_integral_far_beyond_a_short_segment():
    """Without tilt and to first order in the square, of exp(b t) with b of 25 to 10,000."""
    b = np.repeat([25.0, 1e2, 1e3, 1e4], 3)
    a = np.tile([1e-10, 1e-8, 1e-6], 4)
    mean = 1.0 / b - 1.0 / np.expm1(np.minimum(b, 700.0))
    for sign in (1.0, -1.0):
        tilt = np.full(a.size, sign * 1.5)
        got = log_segment_integral(a, sign * b, np.zeros(a.size), tilt)
        expected = np.log1p(-np.exp(-b)) - np.log(b) + np.log1p(1.5 * (0.5 - mean))
        expected += b - 0.5 * a if sign > 0.0 else 0.0
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-7)


def test_segment_integral_against_quadrature(rng):
    a = np.concatenate([[0.0, 1e-6, 0.9, 1.1], 10.0 ** rng.uniform(-3.0, 4.0, 40)])
    b = a * rng.uniform(-1.0, 2.0, a.size) + 0.01 * rng.normal(size=a.size)
    b[0] = 0.0
    c = b * b / np.where(a > 0.0, a, 1.0) + rng.uniform(0.0, 50.0, a.size)
    tilt = rng.uniform(-1.9, 1.9, a.size)
    got = log_segment_integral(a, b, c, tilt)
    for i in range(a.size):
        # As in the kernel's own test, relative to the largest value, in pieces around it.
        peak = np.clip(b[i] / max(a[i], 1e-300), 0.0, 1.0)
        top = -0.5 * (a[i] * peak**2 - 2.0 * b[i] * peak + c[i])
        edges = np.unique(
            np.clip(peak + np.linspace(-10.0, 10.0, 41) / np.sqrt(a[i] + 1.0), 0.0, 1.0)
        )

        def integrand(t, i=i, top=top):
            exponent = -0.5 * (a[i] * t * t - 2.0 * b[i] * t + c[i])
            return (1.0 + tilt[i] * (t - 0.5)) * np.exp(exponent - top)

        pieces = itertools.pairwise(edges)
        value = sum(integrate.quad(integrand, *piece, epsrel=1e-11)[0] for piece in pieces)
        assert_close(got[i], top + np.log(value), "quadrature")
