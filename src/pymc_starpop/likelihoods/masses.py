"""Masses and mass ratios along the tracks of a cluster, symbolically, for what comes after the fit.

They follow the rules by which `pymc_starpop.ops.binaries.population_tracks` lays out its points.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from pytensor import tensor as pt

from pymc_starpop._namespace import expm1_ratio
from pymc_starpop.cluster.parameters import ClusterOptions, ClusterParameters, is_zero
from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.likelihoods.track import Layout, directions_of, isochrone_nodes
from pymc_starpop.ops.namespace import TENSOR
from pymc_starpop.population import track_weights

__all__ = ["TrackMasses", "track_masses"]

# Points of the integral over dead stars; a mass function bends at few places above the turn-off.
_N_DEAD = 40


@dataclass(frozen=True)
class TrackMasses:
    """Masses of the systems along the tracks.

    Attributes
    ----------
    mass : (P,) initial mass of the primary, Msun
    ratio : (P,) mass ratio; 0 for single stars, and for systems with a dark secondary
    dark_mass : (P,) mean mass of dark secondaries for each system of the single track, Msun
    dead : (3,) of the systems that died: their number, mass (Msun) and sum of squared masses
        (Msun^2) for each living one
    """

    mass: Any
    ratio: Any
    dark_mass: Any
    dead: Any


def track_masses(
    grid: IsochroneGrid, layout: Layout, p: ClusterParameters, options: ClusterOptions, starts: Any
) -> TrackMasses:
    """Masses at the points of `pymc_starpop.likelihoods.track.model_tracks`.

    Parameters
    ----------
    grid : IsochroneGrid
    layout : Layout
    p : ClusterParameters
    options : ClusterOptions
    starts : (T + 1,)
        First point of each track, from the `ModelTracks`.
    """
    directions = directions_of(p, options)
    columns: list[tuple[Any, ...]] = []
    track = 0
    dead: Any = 0.0
    for share, member in p.populations():
        mass = isochrone_nodes(grid, layout, member, options, directions).mass
        weights = member.ages(options)[0].weight
        for j, weight in enumerate(weights):
            # All tracks of binaries are of one length.
            has_binaries = not is_zero(member.binary_fraction)
            n_main = starts[track + 2] - starts[track + 1] if has_binaries else 0
            track += 1 + has_binaries * options.mass_ratio_nodes
            columns.append(_points(grid, member, options, mass[j], n_main))
            dead = dead + share * weight * _dead(member, options, mass[j, -1])
    mass, ratio, dark_mass = (pt.concatenate(list(c)) for c in zip(*columns, strict=True))
    return TrackMasses(mass, ratio, dark_mass, dead)


def _dead(p: ClusterParameters, options: ClusterOptions, top: Any) -> Any:
    """Number, mass and squared mass (3,) of dead systems for each living one.

    The dead were more massive than the last point of the isochrone, `top` (Msun); their secondaries
    are counted with them.
    """
    top = pt.minimum(top, p.imf.mass_max)
    t, rule = np.polynomial.legendre.leggauss(_N_DEAD)
    log_span = pt.log(p.imf.mass_max / top)
    mass = top * pt.exp(0.5 * (t + 1.0) * log_span)
    weight = 0.5 * rule * log_span * mass * p.imf.density(mass, TENSOR)
    mean, square = (mean_ratio(p, options, 1.0, power) for power in (1, 2))
    first = 1.0 + p.binary_fraction * mean
    second = 1.0 + p.binary_fraction * (2.0 * mean + square)
    sums = [weight.sum(), (weight * mass).sum() * first, (weight * mass**2).sum() * second]
    return pt.stack(sums) / p.imf.integral(options.mass_min, top, TENSOR)


def mean_ratio(p: ClusterParameters, options: ClusterOptions, upper: Any, power: int = 1) -> Any:
    """Mean of q^power for q from q^slope on [mass_ratio_min, upper], also where these meet."""
    span = pt.log(upper / options.mass_ratio_min)
    exponent = 1.0 + pt.as_tensor(p.mass_ratio_slope, dtype="float64")
    above = expm1_ratio((exponent + power) * span, TENSOR)
    return options.mass_ratio_min**power * above / expm1_ratio(exponent * span, TENSOR)


def _points(
    grid: IsochroneGrid, p: ClusterParameters, options: ClusterOptions, mass: Any, n_main: Any
) -> tuple[Any, Any, Any]:
    """Mass, ratio and mass of dark secondaries at the points of one isochrone, from masses (E,)."""
    eep = grid.eep[grid.eep <= options.eep_max].astype(np.float64)
    if is_zero(p.binary_fraction):
        return mass, pt.zeros_like(mass), pt.zeros_like(mass)
    eep = track_weights.subdivide(eep, options.node_pieces)
    last = int(np.searchsorted(eep, options.binary_eep_max, side="right")) - 1
    first = last + 1 - n_main
    lowest, dark = track_weights.lit_ratios(
        mass, p.mass_ratio_slope, options.mass_ratio_min, options.mass_min, TENSOR
    )
    dark_binaries = p.binary_fraction * dark
    share = dark_binaries / (1.0 - p.binary_fraction + dark_binaries)
    dark_mass = pt.switch(
        np.arange(eep.size) <= last, share * mass * mean_ratio(p, options, lowest), 0.0
    )
    main = mass[first : last + 1]
    u = np.linspace(0.0, 1.0, options.mass_ratio_nodes)[:, None]
    curve = track_weights.ratio_spacing(main, TENSOR)
    least = lowest[first : last + 1]
    ratio = least + (1.0 - least) * (u + curve * u * (1.0 - u))
    masses = (pt.ones_like(ratio) * main).ravel()
    nothing = pt.zeros_like(masses)
    return (
        pt.concatenate([mass, masses]),
        pt.concatenate([pt.zeros_like(mass), ratio.ravel()]),
        pt.concatenate([dark_mass, nothing]),
    )
