"""What corrections of models are: functions of the theory at the nodes of an isochrone."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from numbers import Number
from typing import Any, ClassVar, Self

import numpy as np

from pymc_starpop._namespace import NUMPY, Namespace

__all__ = ["Corrections", "ModelNodes", "number_of", "parts_of"]


def number_of(value: Any) -> float | None:
    """Return the value of a number or of a constant tensor, None for an expression."""
    data = getattr(value, "data", value) if hasattr(value, "owner") else value
    if isinstance(data, Number) or (isinstance(data, np.ndarray) and data.ndim == 0):
        return float(data)  # type: ignore[arg-type]
    return None


@dataclass(frozen=True)
class ModelNodes:
    """Theory at the E nodes of an isochrone; NumPy arrays or tensors.

    Attributes
    ----------
    initial_mass : (E,)
        Msun.
    eep : ndarray (E,)
        Equivalent evolutionary points, as the isochrones number them.
    feh : scalar
        [Fe/H], dex.
    log_teff, log_g, log_l : (E,) or None
        log10 of T_eff (K), gravity (cgs) and luminosity (Lsun); None where the isochrones have
        none.
    main_sequence_eep : int
        EEP near the end of the main sequence.
    """

    initial_mass: Any
    eep: np.ndarray
    feh: Any
    log_teff: Any
    log_g: Any
    log_l: Any
    main_sequence_eep: int = 480


class Corrections:
    """Base of the corrections of models; a subclass is a frozen dataclass of its parameters.

    It overrides `theory`, `magnitudes`, or both. Whatever it computes, it computes with the
    functions of ``xp`` and with arithmetic, on NumPy arrays where draws are made and on tensors
    where the likelihood is built.

    Attributes
    ----------
    axes : mapping of str to tuple
        For each parameter that is no scalar what its dimensions run along: ``"band"``, or a number
        of entries.
    positive : tuple of str
        Parameters that must be positive.

    Examples
    --------
    Cool stars fainter in all bands, with a slope that may have a prior:

    >>> @dataclass(frozen=True)
    ... class Tilt(Corrections):
    ...     slope: Any = 0.0
    ...     def magnitudes(self, at, mag, bands, xp):
    ...         return mag + (self.slope * (3.76 - at.log_teff))[:, None]
    >>> Tilt(0.5).parameters()
    {'slope': 0.5}
    """

    axes: ClassVar[dict[str, tuple[str | int, ...]]] = {}
    positive: ClassVar[tuple[str, ...]] = ()
    _parameters: ClassVar[tuple[str, ...]] = ()  # all fields unless named here

    def parameters(self) -> dict[str, Any]:
        """Return the parameters by name."""
        names = self._parameters or tuple(f.name for f in fields(self))  # type: ignore[arg-type]
        return {name: getattr(self, name) for name in names}

    def with_parameters(self, function: Callable[[str, Any], Any]) -> Self:
        """Return a copy with `function(name, value)` in place of every parameter."""
        changes = {name: function(name, value) for name, value in self.parameters().items()}
        return replace(self, **changes)  # type: ignore[type-var]

    def theory(self, at: ModelNodes, xp: Namespace = NUMPY) -> ModelNodes:
        """Return nodes with T_eff, gravity and luminosity changed.

        Magnitudes that come from bolometric corrections follow; isochrones with magnitudes of their
        own refuse such corrections.

        Parameters
        ----------
        at : ModelNodes
        xp : Namespace
            The functions to use.
        """
        return at

    def magnitudes(
        self, at: ModelNodes, mag: Any, bands: tuple[str, ...], xp: Namespace = NUMPY
    ) -> Any:
        """Return changed absolute magnitudes (E, B).

        Parameters
        ----------
        at : ModelNodes
        mag : (E, B)
            Absolute magnitudes with extinction.
        bands : tuple of str
            Names of the B bands.
        xp : Namespace
            The functions to use.
        """
        return mag

    @property
    def changes_theory(self) -> bool:
        """Whether `theory` is overridden."""
        return type(self).theory is not Corrections.theory

    @property
    def changes_magnitudes(self) -> bool:
        """Whether `magnitudes` is overridden."""
        return type(self).magnitudes is not Corrections.magnitudes


def parts_of(corrections: Any) -> tuple[Corrections, ...]:
    """Return the corrections, which may be None, one or several that follow each other."""
    if corrections is None:
        return ()
    return tuple(corrections) if isinstance(corrections, tuple | list) else (corrections,)
