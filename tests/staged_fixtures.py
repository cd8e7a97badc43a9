"""The staged form on grids so fine that its sums are integrals, as a check of the likelihood.

The stages subtract a grid from what was observed and know no units: with the grid in magnitudes
(`psp.staged.in_magnitudes`) and ``dim_prior=False`` they are densities in magnitudes, those of
`psp.cluster_logp`. Sums over points stand for integrals where points lie closer than the errors:
use errors of 0.05 mag or more.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

import pymc_starpop as psp

BANDS = ("Gaia_G_EDR3", "Gaia_BP_EDR3", "2MASS_Ks")
CLUSTERS = {
    "young": {"feh": 0.05, "log_age": 8.21, "distance_modulus": 8.3, "av": 0.6},
    "middle": {"feh": -0.12, "log_age": 9.27, "distance_modulus": 10.1, "av": 0.2},
    "old": {"feh": -1.4, "log_age": 10.04, "distance_modulus": 13.2, "av": 0.05},
}

# Largest step between neighboring points of a track in any band, mag, and steps in mass ratio.
STEP = 0.02
N_RATIO = 80


@dataclass(frozen=True)
class FinePopulation:
    """Points of one population.

    Attributes
    ----------
    grid : mapping
        As from `psp.staged.population_grid`, ``photometry`` (G, B) in magnitudes.
    weight : ndarray (G,)
        Share of the systems at each point; sums to 1.
    directions : ndarray (K, G, B)
        Derivatives of the magnitudes along which stars scatter.
    """

    grid: dict
    weight: np.ndarray
    directions: np.ndarray


def fine_population(
    iso, bands, *, binary_fraction=0.0, mass_ratio_slope=0.0, mass_ratio_min=0.1, mass_min=0.1,
    eep_max=808, imf=None, directions=(), step=STEP, n_ratio=N_RATIO, **parameters,
):  # fmt: skip
    """Make a `FinePopulation` from numbers under the names of `psp.cluster_logp`.

    `directions`: any of "av" (differential extinction) and "distance_modulus" (depth).
    """
    arguments = {"av": 0.0, "rv": 3.1, "imf": psp.Kroupa() if imf is None else imf} | parameters
    arguments |= {
        "eep_grid": fine_eep(iso, bands, parameters, mass_min, eep_max, step),
        "smf_grid": [0.0],
        "mass_min": mass_min,
        "bands": bands,
    }
    if binary_fraction > 0.0:
        ratios = np.linspace(mass_ratio_min, 1.0, n_ratio)
        arguments["smf_grid"] = np.concatenate([[0.0], ratios])
    grid = magnitude_grid(iso, arguments)
    weight = grid["mass_jacobians"] * grid["smf_jacobians"]
    if binary_fraction > 0.0:
        prior = psp.staged.BinaryPrior(binary_fraction, mass_ratio_slope, mass_ratio_min)
        weight = weight * psp.staged.mass_ratio_prior(grid, prior)
    slopes = [slope(iso, arguments, grid, name) for name in directions]
    shape = (0, *grid["photometry"].shape)
    return FinePopulation(grid, weight / weight.sum(), np.array(slopes).reshape(-1, *shape[1:]))


def magnitude_grid(iso, arguments):
    return psp.staged.in_magnitudes(psp.staged.population_grid(iso, **arguments))


def slope(iso, arguments, grid, name, h=1e-3):
    """Derivative (G, B) of the magnitudes, of second order from one side: A_V has an end at 0."""
    if name == "distance_modulus":
        return np.ones_like(grid["photometry"])
    near, far = (
        magnitude_grid(iso, arguments | {name: arguments[name] + k * h})["photometry"]
        for k in (1, 2)
    )
    return (4.0 * near - far - 3.0 * grid["photometry"]) / (2.0 * h)


def fine_eep(iso, bands, parameters, mass_min, eep_max, step):
    """EEPs between the nodes, no further apart than `step` in any band."""
    one = iso.at(parameters["feh"], parameters["log_age"], bands)
    # The first node stays below the lowest mass, so that the track can start there.
    first = max(int(np.argmax(one.initial_mass > mass_min)) - 1, 0)
    keep = slice(first, int(np.searchsorted(one.eep, eep_max, side="right")))
    eep = iso.eep_at(parameters["feh"], parameters["log_age"])[keep]
    mag = one.abs_mag[keep]
    counts = np.maximum(np.ceil(np.abs(np.diff(mag, axis=0)).max(axis=1) / step), 1).astype(int)
    inner = [np.linspace(a, b, n, endpoint=False) for a, b, n in zip(eep, eep[1:], counts)]  # noqa: B905
    return np.concatenate([*inner, eep[-1:]])


def mixed(*shares):
    """One population of several: pairs of a share of the systems born and a `FinePopulation`."""
    populations = [population for _, population in shares]
    columns = ("photometry", "masses", "smf_values")
    return FinePopulation(
        {name: np.concatenate([p.grid[name] for p in populations]) for name in columns},
        np.concatenate([share * p.weight for share, p in shares]),
        np.concatenate([p.directions for p in populations], axis=1),
    )


def scattered(population, sigma, n=9):
    """The population with a Gaussian scatter along its first direction, as a sum over points."""
    places, weights = np.polynomial.hermite_e.hermegauss(n)

    def moved(distance):
        photometry = population.grid["photometry"] + distance * population.directions[0]
        grid = population.grid | {"photometry": photometry}
        return FinePopulation(grid, population.weight, population.directions)

    return mixed(
        *((w, moved(sigma * x)) for x, w in zip(places, weights / weights.sum(), strict=True))
    )


def in_flux(population, zero_point=22.5, spread=()):
    """The same population in fluxes that are 1 at a magnitude `zero_point`.

    With a `spread` along the directions, mean fluxes of what is log-normal then.
    """
    flux = 10.0 ** (-0.4 * (population.grid["photometry"] - zero_point))
    for s, along in zip(spread, population.directions):  # noqa: B905
        flux = flux * np.exp(0.5 * (0.4 * np.log(10.0) * s * along) ** 2)
    return FinePopulation(
        population.grid | {"photometry": flux},
        population.weight,
        -0.4 * np.log(10.0) * flux * population.directions,
    )


def magnitude_detection(index, bright, faint, error, spread=()):
    """Probability that a point passes limits on the observed magnitude of one band."""

    def probability(population):
        extra = sum((s * d[:, index]) ** 2 for s, d in zip(spread, population.directions))  # noqa: B905
        tau = np.sqrt(error**2 + extra)
        mag = population.grid["photometry"][:, index]
        return special.ndtr((faint - mag) / tau) - special.ndtr((bright - mag) / tau)

    return probability


def uniform_field(catalog, selection=None):
    """Field model of `psp.UniformField`: (N,) whatever the point of the grid."""
    return lambda population: psp.UniformField().log_density(catalog, selection)


def inflated_field(values, errors, scale, spread=(), variance=0.0):
    """Field model that is the member's density with a covariance 1 + scale^2 times as large."""
    return lambda population: correlated_loglike(
        values, errors, population, spread, variance, 1.0 + scale**2
    )


def staged_logp(
    values, errors, population, *, field=None, field_fraction=0.0, membership_prior=1.0,
    detection=None, inside=None, spread=(), variance=0.0, log_member=0.0,
):  # fmt: skip
    """Log-likelihood (N,) of each star, mixed at every point and then summed over the points.

    Parameters
    ----------
    values, errors : array (N, B)
        Magnitudes with all errors that are independent between bands, NaN where not measured; or
        fluxes with a population whose grid holds fluxes.
    population : FinePopulation
    field : callable, optional
        Takes the population, returns the log density of field stars (N,) or (G, N).
    field_fraction, membership_prior : float or array (N,)
    detection : callable, optional
        Takes the population, returns the probability (G,) that a member is cataloged: divides the
        member part by its mean.
    inside : callable, optional
        As `detection`, for the part that stays within the integral.
    spread : sequence of float (K,)
        Standard deviations along the directions of the population.
    variance : array (G, B)
        Further variance at each point, as that of a scatter in magnitudes has it in fluxes.
    log_member : float or array (N,)
        Added to the log density of members, as that of a parallax.
    """
    if len(spread) or np.ndim(variance):
        cluster = correlated_loglike(values, errors, population, spread, variance)
    else:
        cluster = psp.staged.cluster_loglike(values, errors, population.grid, dim_prior=False)
    cluster = cluster + log_member
    if detection is not None:
        cluster -= np.log(population.weight @ detection(population))
    if inside is not None:
        with np.errstate(divide="ignore"):
            cluster += np.log(inside(population))[:, None]
    log_field = np.zeros(len(values)) if field is None else field(population)
    outlier = psp.staged.outlier_loglike(
        values, errors, population.grid, model=lambda *_, **__: log_field
    )
    together = psp.staged.mixture(cluster, outlier, membership_prior, field_fraction)
    return psp.staged.marginalize(together, population.weight, np.ones(len(together)))


def correlated_loglike(values, errors, population, spread=(), variance=0.0, factor=1.0):
    """Gaussian (G, N) whose covariance differs between the points.

    factor [diag(errors^2 + variance) + sum_k spread_k^2 u_k u_k'], u_k the directions.
    """
    model = population.grid["photometry"]
    variance = np.broadcast_to(variance, model.shape)
    columns = []
    for value, error in zip(values, errors, strict=True):
        b = np.isfinite(value)
        covariance = np.eye(b.sum()) * (error[b] ** 2 + variance[:, b])[:, None, :]
        directions = population.directions[:, :, b] if len(spread) else ()
        for s, u in zip(spread, directions, strict=True):
            covariance += s**2 * u[:, :, None] * u[:, None, :]
        covariance *= factor
        residual = value[b] - model[:, b]
        chi2 = (residual * np.linalg.solve(covariance, residual[..., None])[..., 0]).sum(axis=1)
        log_det = np.linalg.slogdet(2.0 * np.pi * covariance)[1]
        columns.append(-0.5 * (chi2 + log_det))
    return np.stack(columns, axis=1)


def make_catalog(iso, cluster, n_star=25):
    """Members with companions, a star off the sequence, missing bands, and membership priors."""
    rng = np.random.default_rng(9)
    errors = rng.uniform(0.05, 0.15, (n_star, len(BANDS)))
    cat = psp.simulate_cluster(
        iso, n_star=n_star, bands=BANDS, mag_err=errors, parallax_err=0.2, rng=7,
        binary_fraction=0.5, **cluster,
    )  # fmt: skip
    mag = cat.mag.copy()
    mag[0] += [0.7, -0.4, 1.1]
    mag[1, 2], mag[2, 0], mag[3, 1:] = np.nan, np.nan, np.nan
    return psp.StarCatalog(
        mag, cat.mag_err, bands=BANDS, parallax=cat.parallax, parallax_err=cat.parallax_err,
        membership_prior=rng.uniform(0.2, 1.0, n_star),
    )  # fmt: skip


def log_parallax(catalog, cluster):
    expected = 100.0 * 10.0 ** (-0.2 * cluster["distance_modulus"])
    variance = catalog.parallax_err**2
    return -0.5 * ((catalog.parallax - expected) ** 2 / variance + np.log(2 * np.pi * variance))
