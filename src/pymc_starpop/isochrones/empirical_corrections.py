"""Empirical corrections of models of low-mass stars."""

import math
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np

from pymc_starpop._namespace import NUMPY, Namespace
from pymc_starpop.isochrones.corrections import Corrections, ModelNodes, number_of

__all__ = ["EmpiricalCorrections"]

_MSTO_EEP = 454.0  # turn-off of the main sequence in MIST's numbering (Dotter 2016, Table 1)
_LOWEST_MASS = 0.1  # Msun, of the isochrones
_LARGEST_SLOPE = 1.0 / (1.0 - _LOWEST_MASS)


@dataclass(frozen=True)
class EmpiricalCorrections(Corrections):
    """Shifts of T_eff and radius of main-sequence stars below 1 Msun, as brutus applies them.

    Raw models of low-mass stars are too blue and too small. For M < 1 Msun

        d log T = log10(1 + dtdm (M - 1)) s,    d log R = log10(1 + drdm (M - 1)) s,
        s = [1 - 1 / (1 + exp(-(EEP - 454) / msto_smooth))] exp(feh_scale [Fe/H]),

    with log T_eff += d log T, log L += 2 d log R, log g -= 2 d log R. The luminosity follows the
    radius alone, as in astro-brutus 1.2.0 (Speagle et al. 2025), whose defaults these are.

    Parameters
    ----------
    dtdm, drdm : float or PyTensor scalar (with several clusters also a vector, in all four)
        Relative change of T_eff and of the radius per Msun below 1 Msun.
    msto_smooth : float or PyTensor scalar
        Width in EEP over which the corrections vanish towards the turn-off, positive.
    feh_scale : float or PyTensor scalar
        Exponent of their growth with [Fe/H], 1/dex.

    Raises
    ------
    ValueError
        For numbers that are not finite, dtdm or drdm so large that a temperature or radius would
        be negative at 0.1 Msun, and msto_smooth that is not positive.

    Examples
    --------
    >>> EmpiricalCorrections().dtdm
    0.09
    """

    dtdm: Any = 0.09
    drdm: Any = -0.09
    msto_smooth: Any = 30.0
    feh_scale: Any = 0.5
    positive: ClassVar[tuple[str, ...]] = ("msto_smooth",)

    def __post_init__(self) -> None:
        """Check the parameters that are numbers."""
        for f in fields(self):
            given = getattr(self, f.name)
            if isinstance(given, np.ndarray | list | tuple) and np.ndim(given):
                raise ValueError(
                    f"{f.name} must be a number, a scalar tensor, or for several clusters a tensor "
                    f"with one value for each, got {given!r}; give one value."
                )
        numbers = {f.name: number_of(getattr(self, f.name)) for f in fields(self)}
        for name, value in numbers.items():
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{name} must be a finite number, got {value}.")
        for name in ("dtdm", "drdm"):
            value = numbers[name]
            if value is not None and value >= _LARGEST_SLOPE:
                raise ValueError(
                    f"{name} must be below {_LARGEST_SLOPE:.3g} per Msun, got {value}: with it the "
                    f"value at {_LOWEST_MASS} Msun would be negative."
                )
        smooth = numbers["msto_smooth"]
        if smooth is not None and not smooth > 0:
            raise ValueError(f"msto_smooth must be positive (EEP), got {smooth}.")

    def theory(self, at: ModelNodes, xp: Namespace = NUMPY) -> ModelNodes:
        """Return nodes with corrected log T_eff, log g and log L."""
        below = xp.minimum(at.initial_mass - 1.0, 0.0)
        fade = 1.0 / (1.0 + xp.exp((at.eep - _MSTO_EEP) / self.msto_smooth))
        scale = fade * xp.exp(self.feh_scale * at.feh) / math.log(10.0)
        dlog_t = xp.log1p(self.dtdm * below) * scale
        dlog_r = xp.log1p(self.drdm * below) * scale
        return replace(
            at,
            log_teff=at.log_teff + dlog_t,
            log_g=at.log_g - 2.0 * dlog_r,
            log_l=at.log_l + 2.0 * dlog_r,
        )
