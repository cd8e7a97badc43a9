"""The mass of a cluster in stars."""

from typing import Any

import numpy as np
import pymc as pm
import xarray as xr

from pymc_starpop.summaries.chosen import ChosenCluster, chosen_clusters, joined
from pymc_starpop.summaries.cluster_draws import ClusterDraw, ClusterDraws
from pymc_starpop.summaries.tracks import draw_on_tracks, segment_mean

__all__ = ["cluster_mass"]

_ATTRIBUTES = {
    "n_member": {"long_name": "members in the catalog"},
    "n_system": {"long_name": "living systems, seen or not"},
    "mass_member": {"units": "Msun", "long_name": "mass of the members in the catalog"},
    "mass": {"units": "Msun", "long_name": "mass of the living systems, seen or not"},
    "n_born": {"long_name": "systems born"},
    "mass_born": {"units": "Msun", "long_name": "mass of the systems born"},
    "detection": {"long_name": "share of the living systems that the catalog can hold"},
}


def cluster_mass(
    idata: Any,
    model: pm.Model | None = None,
    *,
    name: str | None = None,
    cluster: str | None = None,
    thin: int = 1,
    random_seed: np.random.Generator | int | None = None,
    progressbar: bool = True,
) -> xr.Dataset:
    """Mass of a cluster in stars, with those that the catalog does not hold, for every draw.

    Members n and their masses are drawn star by star, as `pymc_starpop.star_posterior` does. With
    Z the share of the living systems that the catalog can hold, and a prior ~ 1/N on their
    expected number N,

        N ~ Gamma(n) / Z,    n_unseen ~ Poisson[N (1 - Z)],

    so that the number of living systems n + n_unseen has the mean n / Z. The unseen ones add their
    mean mass, and the scatter of as many masses. Masses are initial masses, of both stars of a
    binary, above ``mass_min``; systems born include the dead, up to the ``mass_max`` of the mass
    function.

    Parameters
    ----------
    idata : xarray.DataTree or xarray.Dataset
        Result of `pm.sample`, or its posterior.
    model : pm.Model, optional
        The model that was sampled; by default the one of the surrounding ``with``.
    name : str, optional
        Name of the `ClusterPhotometry` variable, where the model has several.
    cluster : str, optional
        Name of a cluster, where the variable has several; by default all of them.
    thin : int
        Every how many draws of each chain to use.
    random_seed : numpy.random.Generator or int, optional
        Source of randomness or a seed.
    progressbar : bool
        Whether to show progress.

    Returns
    -------
    xarray.Dataset
        Dimensions (chain, draw), and cluster where the variable has several: ``n_member``,
        ``n_system``, ``n_born``; ``mass_member``, ``mass``, ``mass_born`` (Msun); ``detection``,
        the share Z.

    Raises
    ------
    ValueError
        As `pymc_starpop.star_posterior`.
    """
    chosen = chosen_clusters(model, name, cluster)
    rng = np.random.default_rng(random_seed)
    variables = {variable: ((), attributes) for variable, attributes in _ATTRIBUTES.items()}

    def mass_of(of: ChosenCluster) -> xr.Dataset:
        return ClusterDraws(idata, of, thin=thin).collect(
            lambda draw: weigh(draw, rng), variables, {}, {}, "Weighing the cluster", progressbar
        )

    return joined([mass_of(of) for of in chosen], chosen, "cluster")


def weigh(draw: ClusterDraw, rng: np.random.Generator) -> dict[str, float]:
    """Numbers and masses of one posterior draw."""
    system = draw.mass * (1.0 + draw.ratio) + draw.dark_mass
    _, masses = draw_on_tracks(draw, draw.mass, system, rng)
    membership = draw.membership
    is_member = rng.random(membership.size) < membership
    n, seen = int(is_member.sum()), draw.detection
    expected = rng.gamma(n) / seen if n and seen > 0.0 else 0.0
    n_unseen = int(rng.poisson(expected * max(1.0 - seen, 0.0)))
    n_dead = int(rng.poisson(expected * draw.dead[0]))
    mass_member = float(masses[is_member].sum())
    mass = mass_member + _total_mass(n_unseen, *_unseen_moments(draw, system), rng)
    mean, square = draw.dead[1:] / draw.dead[0] if draw.dead[0] > 0.0 else (0.0, 0.0)
    return {
        "n_member": n,
        "n_system": n + n_unseen,
        "mass_member": mass_member,
        "mass": mass,
        "n_born": n + n_unseen + n_dead,
        "mass_born": mass + _total_mass(n_dead, mean, square, rng),
        "detection": seen,
    }


def _total_mass(n: int, mean: float, square: float, rng: np.random.Generator) -> float:
    """Draw the mass of n systems from the mean of their masses and of the squares."""
    spread = np.sqrt(n * max(square - mean**2, 0.0))
    return max(float(n * mean + spread * rng.normal()), 0.0)


def _unseen_moments(draw: ClusterDraw, system: np.ndarray) -> tuple[float, float]:
    """Mean mass of a living system that the catalog does not hold (Msun), and mean square."""
    weight = draw.living - draw.weights * draw.detected
    total = weight.sum()
    if total <= 1e-12 * draw.living.sum():
        return 0.0, 0.0
    mass = segment_mean(system, draw.living_tilts)
    square = segment_mean(system**2, draw.living_tilts)
    return float((weight * mass).sum() / total), float((weight * square).sum() / total)
