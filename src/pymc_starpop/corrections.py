"""Empirical corrections of models of low-mass stars."""

import math
from dataclasses import dataclass, fields
from typing import Any

from pymc_starpop._namespace import NUMPY, Namespace

__all__ = ["EmpiricalCorrections"]

_MSTO_EEP = 454.0  # turn-off of the main sequence in MIST's numbering (Dotter 2016, Table 1)


@dataclass(frozen=True)
class EmpiricalCorrections:
    """Shifts of T_eff and radius of main-sequence stars below 1 Msun, as brutus applies them.

    Raw models of low-mass stars are too blue and too small. For M < 1 Msun

        d log T = log10(1 + dtdm (M - 1)) s,    d log R = log10(1 + drdm (M - 1)) s,
        s = [1 - 1 / (1 + exp(-(EEP - 454) / msto_smooth))] exp(feh_scale [Fe/H]),

    with log T_eff += d log T, log L += 2 d log R, log g -= 2 d log R. The luminosity follows the
    radius alone, as in astro-brutus 1.2.0 (Speagle et al. 2025), whose defaults these are.

    Parameters
    ----------
    dtdm, drdm : float or PyTensor scalar
        Relative change of T_eff and of the radius per Msun below 1 Msun.
    msto_smooth : float or PyTensor scalar
        Width in EEP over which the corrections vanish towards the turn-off, positive.
    feh_scale : float or PyTensor scalar
        Exponent of their growth with [Fe/H], 1/dex.

    Raises
    ------
    ValueError
        For numbers that are not finite, and msto_smooth that is not positive.

    Examples
    --------
    >>> EmpiricalCorrections().dtdm
    0.09
    """

    dtdm: Any = 0.09
    drdm: Any = -0.09
    msto_smooth: Any = 30.0
    feh_scale: Any = 0.5

    def __post_init__(self) -> None:
        """Check the parameters that are numbers."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float) and not math.isfinite(value):
                raise ValueError(f"{field.name} must be a finite number, got {value}.")
        if isinstance(self.msto_smooth, int | float) and not self.msto_smooth > 0:
            raise ValueError(f"msto_smooth must be positive (EEP), got {self.msto_smooth}.")

    def apply(
        self,
        mass: Any,
        eep: Any,
        feh: Any,
        log_teff: Any,
        log_g: Any,
        log_l: Any,
        xp: Namespace = NUMPY,
    ) -> tuple[Any, Any, Any]:
        """Return corrected log T_eff, log g and log L.

        Parameters
        ----------
        mass : array (E,)
            Initial mass, Msun.
        eep : array (E,)
        feh : scalar
            [Fe/H], dex.
        log_teff, log_g, log_l : array (E,)
            log10 of K, cgs and Lsun.
        xp : Namespace
            The functions to use.
        """
        below = xp.minimum(mass - 1.0, 0.0)
        fade = 1.0 / (1.0 + xp.exp((eep - _MSTO_EEP) / self.msto_smooth))
        scale = fade * xp.exp(self.feh_scale * feh) / math.log(10.0)
        dlog_t = xp.log1p(self.dtdm * below) * scale
        dlog_r = xp.log1p(self.drdm * below) * scale
        return log_teff + dlog_t, log_g - 2.0 * dlog_r, log_l + 2.0 * dlog_r
