"""Other parameters of a metallicity model from which a search may start."""

import numpy as np
from scipy import optimize

from pymc_starpop.sfh.hierarchy import Hierarchy

__all__ = ["other_starts"]

# Mean [M/H] at the end and at the beginning of star formation, in parts of the templates' range.
_TARGETS = ((0.2, 0.2), (0.5, 0.5), (0.8, 0.8), (0.8, 0.2))
# Residuals in units of this, dex, beside parameters in widths of their default priors times the
# second: what the targets leave open stays near the default.
_WIDTH, _WIDENED = 0.1, 10.0
_LARGE = 1e3


def other_starts(problem: Hierarchy, start: np.ndarray) -> list[np.ndarray]:
    """Return vectors (P,) whose mean [M/H] are flat or rise with time, at several levels.

    Parameters
    ----------
    problem : Hierarchy
    start : (P,)
        Where the masses and everything but the metallicity's parameters come from.
    """
    mass, _, _ = problem.split(start)
    epochs, mh = problem.epochs(mass), problem.data.mh
    age = epochs.age_gyr / epochs.t_max_gyr
    parameters = problem.model.parameters
    sizes = np.cumsum([p.n for p in parameters])[:-1]
    default = np.concatenate([np.full(p.n, p.unbounded_start) for p in parameters])
    widths = _WIDENED * np.concatenate([np.full(p.n, p.scale) for p in parameters])

    def natural(u: np.ndarray) -> np.ndarray:
        split = np.split(u, sizes)
        return np.concatenate([p.natural(v) for p, v in zip(parameters, split, strict=True)])

    points = []
    for young, old in _TARGETS:
        target = mh[0] + (mh[-1] - mh[0]) * (young + (old - young) * age)

        def residuals(u: np.ndarray, target: np.ndarray = target) -> np.ndarray:
            with np.errstate(all="ignore"):
                mean = problem.model.mean(problem.model.split(natural(u)), epochs)
            off = np.broadcast_to((mean - target) / _WIDTH, target.shape)
            off = np.clip(np.where(np.isfinite(off), off, _LARGE), -_LARGE, _LARGE)
            return np.append(off, (u - default) / widths)

        point = start.copy()
        first = problem.n_age
        point[first : first + default.size] = natural(optimize.least_squares(residuals, default).x)
        if np.isfinite(problem.evaluate(point).value):
            points.append(point)
    return points
