"""Smooth functions along the sequence of a cluster, by their values at knots."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline

from pymc_starpop._namespace import NUMPY, Namespace
from pymc_starpop.isochrones.corrections import ModelNodes

__all__ = ["SequenceKnots"]

# Where the end of the main sequence is passed, in units of the EEP that counts as its end, and over
# what width (MIST: 456 +- 14, the turn-off being 454).
_TURN_OFF, _TURN_OFF_WIDTH = 0.95, 0.03
# Giants are those with lower gravity (log10 cgs).
_GIANT_LOG_G, _GIANT_WIDTH = 3.7, 0.15


@dataclass(frozen=True)
class SequenceKnots:
    """Knots in log10 T_eff on the main sequence, around the turn-off, and among giants.

    A function along the sequence is given by its values at the K knots: dwarfs first, then turn-off
    and subgiants, then giants. In each of the three it is a cubic spline through the values, with
    slope 0 at the outermost knots and constant beyond them. The main sequence fades into the
    turn-off around 0.95 times the last EEP of the main sequence (MIST: 456, within 14), and the
    turn-off into the giants around log g = 3.7 (within 0.15 dex); stars before the main sequence
    count as dwarfs.

    Parameters
    ----------
    dwarfs, turn_off, giants : tuple of float
        Ascending log10(T_eff / K); at least one on the main sequence. Where a part has none, those
        of the part before reach over it.

    Raises
    ------
    ValueError
        For knots that do not ascend, are not finite, or lie outside 3 to 5.5.

    Examples
    --------
    >>> knots = SequenceKnots()
    >>> len(knots)
    12
    >>> knots.labels[0], knots.labels[-1]
    ('dwarf 3.44', 'giant 3.68')
    """

    dwarfs: tuple[float, ...] = (3.44, 3.50, 3.55, 3.60, 3.66, 3.74, 3.86, 4.10)
    turn_off: tuple[float, ...] = (3.75, 3.95)
    giants: tuple[float, ...] = (3.56, 3.68)

    def __post_init__(self) -> None:
        """Check the knots."""
        for name in ("dwarfs", "turn_off", "giants"):
            values = np.asarray(getattr(self, name), dtype=float)
            ascend = values.ndim == 1 and bool(np.all(np.diff(values) > 0.0))
            enough = values.size > 0 or name != "dwarfs"
            if not (ascend and enough and np.all((values > 3.0) & (values < 5.5))):
                raise ValueError(
                    f"{name} must be ascending values of log10(T_eff / K) between 3 and 5.5, got "
                    f"{getattr(self, name)!r}; give such as (3.5, 3.6, 3.7, 3.8)"
                )
            object.__setattr__(self, name, tuple(map(float, values)))

    def __len__(self) -> int:
        """Return the number K of knots."""
        return len(self.dwarfs) + len(self.turn_off) + len(self.giants)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the K knots, for a coordinate."""
        parts = {"dwarf": self.dwarfs, "turn-off": self.turn_off, "giant": self.giants}
        return tuple(f"{name} {x:.4g}" for name, knots in parts.items() for x in knots)

    @property
    def log_teff(self) -> np.ndarray:
        """log10(T_eff / K) of the K knots."""
        return np.array(self.dwarfs + self.turn_off + self.giants)

    def basis(self, at: ModelNodes, xp: Namespace = NUMPY) -> Any:
        """Return what each value at a knot contributes at the nodes, (E, K).

        Parameters
        ----------
        at : ModelNodes
            With T_eff and gravity.
        xp : Namespace
            The functions to use.

        Raises
        ------
        ValueError
            Where the isochrones have no temperatures or gravities.
        """
        if at.log_teff is None or at.log_g is None:
            raise ValueError(
                "the isochrones have no temperatures or gravities, along which corrections of "
                "magnitudes run; read files with both, or leave the corrections out"
            )
        evolved = _sigmoid((at.eep / at.main_sequence_eep - _TURN_OFF) / _TURN_OFF_WIDTH, NUMPY)
        if not (self.turn_off or self.giants):
            evolved = np.zeros(at.eep.shape)
        giant: Any = np.full(at.eep.shape, float(not self.turn_off))
        if self.turn_off and self.giants:
            giant = _sigmoid((_GIANT_LOG_G - at.log_g) / _GIANT_WIDTH, xp)
        shares = (1.0 - evolved, evolved * (1.0 - giant), evolved * giant)
        parts = zip((self.dwarfs, self.turn_off, self.giants), shares, strict=True)
        found = [_spline(k, at.log_teff, xp) * share[:, None] for k, share in parts if k]
        return found[0] if len(found) == 1 else xp.concatenate(found, axis=1)


def _sigmoid(x: Any, xp: Namespace) -> Any:
    """1 / (1 + exp(-x)); beyond 30 it stays as it is."""
    return 1.0 / (1.0 + xp.exp(-xp.clip(x, -30.0, 30.0)))


def _spline(knots: tuple[float, ...], x: Any, xp: Namespace) -> Any:
    """Cubic splines (E, K) that are 1 at one knot and 0 at the others, at places x (E,)."""
    if len(knots) == 1:
        return 1.0 + 0.0 * x[:, None]
    matrix = _spline_matrix(knots)
    above = xp.maximum(xp.clip(x, knots[0], knots[-1])[:, None] - np.array(knots[:-1]), 0.0)
    first = above[:, :1]
    return matrix[0] + first * first * matrix[1] + (above * above * above) @ matrix[2:]


@lru_cache(maxsize=64)
def _spline_matrix(knots: tuple[float, ...]) -> np.ndarray:
    """Coefficients (K + 1, K) of 1, (x - x_1)^2 and (x - x_k)^3 above x_k, of each spline."""
    spline = CubicSpline(knots, np.eye(len(knots)), bc_type="clamped")
    cubic, square, _, constant = spline.c
    jumps = np.diff(cubic, axis=0, prepend=np.zeros_like(cubic[:1]))
    return np.concatenate([constant[:1], square[:1], jumps])
