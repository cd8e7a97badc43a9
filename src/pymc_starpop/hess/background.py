"""Stars in a Hess diagram that are not the galaxy's: templates with amplitudes that are fitted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from pymc_starpop.hess.axes import HessAxes, on_axes
from pymc_starpop.hess.binaries import is_number

__all__ = [
    "BROAD", "OF_FIT", "Background", "Component", "background_components", "first_amplitudes",
    "unique_names",
]  # fmt: skip

#: Width in ln of the amplitude of a template that is the same in every bin: its number is invented,
#: so a factor of 100 either way is one standard deviation. The prior then is worth
#: ln(ratio) / BROAD^2 stars: 16 numbers of magnitude between two guesses move the fit by 1.7 stars.
BROAD = float(np.log(100.0))
# That of a diagram: a model whose normalization is known to a factor of 2.7.
_OF_DIAGRAM = 1.0
#: Attribute of a diagram of expected counts that came out of a fit.
OF_FIT = "expected_of_a_fit"
# First guess of an amplitude from the stars: iterations, its width in ln, and the least number of
# stars that are guessed.
_N_GUESS, _GUESS_SIGMA, _LEAST_GUESS = 50, 1.0, 0.1


@dataclass(frozen=True, eq=False)
class Background:
    """Stars of another origin than the galaxy: a template, and a prior on its amplitude.

    Expected are amplitude x template stars in each bin, as observed. The amplitude is fitted with a
    log-normal prior, ln a ~ N(ln amplitude, sigma^2), unless the background is known.

    Parameters
    ----------
    template : float, or array-like (N_mag, N_color)
        Expected stars in each bin at an amplitude of 1; one number stands for all bins.
    amplitude : float
        Median of the prior, or the amplitude itself of a known background.
    sigma : float, optional
        Standard deviation of ln a. By default ln 100 = 4.6 for a template that is the same in every
        bin, since such a number is a guess: the stars decide. For other diagrams 1, a factor of 2.7
        either way; give less where a normalization is known better.
    fixed : bool
        Whether the background is known, so that its amplitude is not fitted.

    Raises
    ------
    ValueError
        For a template that is not a number or a diagram of numbers, an amplitude that is not
        positive, a sigma that is not positive or was given for a known background, and a fixed that
        is not True or False.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> psp.Background(0.01)
    Background(amplitude=1.0, sigma=4.605170185988092, fixed=False)
    >>> psp.Background([[3.0, 1.0], [2.0, 2.0]], sigma=0.1)
    Background(amplitude=1.0, sigma=0.1, fixed=False)
    >>> psp.Background(0.01, fixed=True)
    Background(amplitude=1.0, sigma=None, fixed=True)
    """

    template: Any = field(repr=False)
    amplitude: float = 1.0
    sigma: float | None = None
    fixed: bool = False

    def __post_init__(self) -> None:
        values = _numbers(self.template)
        if not isinstance(self.template, xr.DataArray):
            object.__setattr__(self, "template", values)
        if not (is_number(self.amplitude) and 0.0 < self.amplitude < np.inf):
            raise ValueError(
                f"background: amplitude must be positive, the median of its prior, got "
                f"{self.amplitude!r}."
            )
        if not isinstance(self.fixed, bool | np.bool_):
            raise ValueError(
                f"background: fixed must be True, for a background that is known, or False, got "
                f"{self.fixed!r}."
            )
        if self.fixed:
            if self.sigma is not None:
                raise ValueError(
                    "background: one with fixed=True is known and has no sigma; leave out one of "
                    "the two."
                )
            return
        if self.sigma is None:
            uniform = values.size > 0 and bool(np.all(values == values.flat[0]))
            object.__setattr__(self, "sigma", BROAD if uniform else _OF_DIAGRAM)
        elif not (is_number(self.sigma) and 0.0 < self.sigma < np.inf):
            raise ValueError(
                f"background: sigma must be positive, the standard deviation of the logarithm of "
                f"the amplitude, got {self.sigma!r}; fixed=True stands for a background that is "
                f"known."
            )


@dataclass(frozen=True, eq=False)
class Component:
    """One background of one diagram, checked.

    Attributes
    ----------
    name : str
    template : ndarray (N_mag, N_color), expected stars at an amplitude of 1; any in masked bins
    amplitude : float, median of the prior, or the amplitude where it is known
    sigma : float or None, standard deviation of its logarithm, None where it is known
    """

    name: str
    template: np.ndarray
    amplitude: float
    sigma: float | None

    @property
    def fixed(self) -> bool:
        """Whether the amplitude is known."""
        return self.sigma is None


def background_components(
    background: Any, axes: HessAxes, counted: np.ndarray
) -> tuple[Component, ...]:
    """Return the backgrounds of one diagram.

    Parameters
    ----------
    background : None, float, array-like (N_mag, N_color), Background, or a mapping of names to them
    axes : HessAxes
    counted : ndarray of bool (N_mag, N_color)
        Bins that count.

    Raises
    ------
    ValueError
        For names that are no text, numbers that are negative or not finite in a bin that counts,
        templates of another shape, templates that are zero wherever bins count, and expected counts
        taken from a fit.
    """
    if background is None:
        return ()
    named = background if isinstance(background, Mapping) else {"background": background}
    wrong = [name for name in named if not isinstance(name, str) or not name]
    if wrong:
        raise ValueError(f"background: names must be text, got {wrong[0]!r}.")
    return tuple(_component(name, value, axes, counted) for name, value in named.items())


def _component(name: str, value: Any, axes: HessAxes, counted: np.ndarray) -> Component:
    if not isinstance(value, Background):
        if isinstance(value, xr.DataArray) and value.attrs.get(OF_FIT):
            raise ValueError(
                f"{_where(name)}: these are the expected counts of a fit, whose amplitudes were "
                f"fitted already; give the background of psp.StarFormationHistory, or hold them "
                f"with psp.Background(..., fixed=True)."
            )
        value = Background(value)
    template = value.template
    if np.ndim(template) == 0:
        template = np.full(axes.shape, float(template))
    template = np.array(on_axes(_where(name), template, axes), dtype=float)
    inside = template[counted]
    _check_counts(name, inside)
    if not inside.any():
        raise ValueError(
            f"{_where(name)}: no stars are expected in any bin that counts; leave it out."
        )
    template[~counted & ~(np.isfinite(template) & (template >= 0))] = 0.0
    return Component(name, template, float(value.amplitude), value.sigma)


def _check_counts(name: str, inside: np.ndarray) -> None:
    """Expected counts in the bins that count are numbers from 0 up."""
    found = (("nan", np.isnan(inside)), ("infinite", np.isinf(inside)), ("negative", inside < 0.0))
    bad = [f"{what} in {np.sum(where)}" for what, where in found if where.any()]
    if bad:
        raise ValueError(
            f"{_where(name)}: expected counts must be finite and not negative, got "
            f"{', '.join(bad)} of {inside.size} bins that count; leave bins out with mask=."
        )


def _where(name: str) -> str:
    return "background" if name == "background" else f"background: {name}"


def _numbers(template: Any) -> np.ndarray:
    try:
        values = np.asarray(template)
    except (TypeError, ValueError):
        values = np.asarray(None)
    if values.dtype.kind == "b":
        got = str(values) if values.ndim == 0 else "truth values"
        raise ValueError(
            f"background: expected stars in each bin, got {got}; bins are left out with mask=."
        )
    if values.dtype.kind not in "iuf" or values.ndim not in (0, 2):
        what = (
            f"shape {values.shape}" if values.dtype.kind in "iuf" else f"{type(template).__name__}"
        )
        raise ValueError(
            f"background: expected shape (N_mag, N_color), the stars in each bin, or one number "
            f"for all of them, got {what}."
        )
    return values.astype(float)


def unique_names(diagrams: Sequence[tuple[Component, ...]]) -> list[list[str]]:
    """Return names that differ: with the number of the diagram where several have the same."""
    every = [c.name for d in diagrams for c in d]
    return [
        [c.name if every.count(c.name) == 1 else f"{c.name}_{i}" for c in d]
        for i, d in enumerate(diagrams)
    ]


def first_amplitudes(
    shape: np.ndarray,
    templates: np.ndarray,
    observed: np.ndarray,
    totals: np.ndarray,
    median: np.ndarray,
    sigma: np.ndarray,
) -> np.ndarray:
    """Return where to begin with amplitudes: between what stars and priors say.

    The stars are shared out between the backgrounds and one population of all ages and
    metallicities, by the iteration for mixtures with known components (Dempster et al. 1977).

    Parameters
    ----------
    shape : (N_row,)
        Stars of the population in the bins that hold stars, over its sum in all bins that count.
    templates : (K, N_row)
        Backgrounds there.
    observed : (N_row,)
        Stars.
    totals, median, sigma : (K,)
        Sums of the backgrounds over the bins that count, and their priors.
    """
    parts = np.vstack([shape, templates / totals[:, None]])
    shares = np.full(len(parts), 1.0 / len(parts))
    for _ in range(_N_GUESS):
        mixed = shares @ parts
        ratio = np.divide(observed, mixed, out=np.zeros_like(mixed), where=mixed > 0.0)
        shares = shares * (parts @ ratio) / observed.sum()
    stars = np.maximum(shares[1:] * observed.sum(), _LEAST_GUESS)
    weight = _GUESS_SIGMA**-2 / (_GUESS_SIGMA**-2 + sigma**-2.0)
    return np.exp(weight * np.log(stars / totals) + (1.0 - weight) * np.log(median))
