"""Whether the field takes up stars that the isochrone misses, and which stars decide the answer."""

import numpy as np
import xarray as xr

from pymc_starpop.summaries.fit_draws import FitDraws, Simulated, known_moments
from pymc_starpop.summaries.fit_rows import DOUBT, FINE, UNKNOWN, CheckRow

__all__ = ["field_rows", "field_shares"]

# The faintest stars that are looked at, as a share of all.
_FAINT = 0.25
# More field stars than expected by more than both: a share, and standard errors.
_LEAST_EXCESS, _LEAST_ERRORS = 0.1, 3.0


def field_shares(fit: FitDraws, mag: str, catalogs: Simulated) -> xr.Dataset | None:
    """Share of field stars among the faintest quarter and the rest, found and expected.

    Found is the mean of 1 - membership; expected is the share in catalogs simulated from the same
    draws, in the same range of magnitudes.

    Returns
    -------
    xarray.Dataset or None
        By ``part`` ("faintest quarter", "the rest"): ``found``, ``expected``, ``error`` of their
        difference, ``mag_low`` and ``mag_high``. None without field stars.
    """
    if not fit.has_field:
        return None
    column = fit.columns.index(mag)
    stars = fit.mag[:, column]
    edge = np.nanquantile(stars, 1.0 - _FAINT)
    shares = np.full((2, 2, len(fit.tracks)), np.nan)
    for k, (drawn, is_field) in enumerate(catalogs):
        simulated = drawn[:, column]
        for part, side in enumerate((np.greater, np.less_equal)):
            own, other = side(stars, edge), side(simulated, edge)
            shares[0, part, k] = 1.0 - fit.membership[k, own].mean()
            if other.any():
                shares[1, part, k] = is_field[other].mean()
    found, expected = shares
    ends = np.nanmin(stars), edge, np.nanmax(stars)
    columns = {
        "found": found.mean(axis=1),
        "expected": known_moments(expected.T)[0],
        "error": known_moments((found - expected).T)[1],
        "mag_low": [ends[1], ends[0]],
        "mag_high": [ends[2], ends[1]],
    }
    return xr.Dataset(
        {name: ("part", np.asarray(values)) for name, values in columns.items()},
        coords={"part": ["faintest quarter", "the rest"]},
    )


def field_rows(shares: xr.Dataset | None, fit: FitDraws, mag: str) -> list[CheckRow]:
    """What the shares of field stars say."""
    if not fit.has_field:
        return []
    if shares is None:
        advice = (
            f"no field stars can be drawn from {fit.parameters(0)[1].field!r}; give "
            "psp.UniformField, psp.ControlField or psp.InflatedScatterField to know"
        )
        return [CheckRow("field at faint end", mag, np.nan, np.nan, UNKNOWN, advice)]
    faint, rest = (shares.isel(part=part) for part in (0, 1))
    value, expected = float(faint["found"]), float(faint["expected"])
    limit = expected + max(_LEAST_EXCESS, _LEAST_ERRORS * float(faint["error"]))
    fraction = fit.scalars("field_fraction")
    fitted = "" if fraction is None else f" (fitted field fraction {fraction.mean():.2f})"
    of = f"{mag} fainter than {float(faint['mag_low']):.1f}"
    if not value > limit:
        return [CheckRow("field at faint end", of, value, limit, FINE)]
    advice = (
        f"{value:.0%} of the faintest quarter are called field stars, where the fitted field "
        f"explains {expected:.0%}, and {float(rest['found']):.0%} of the rest{fitted}: the field "
        "takes up stars that the isochrone misses, or is denser there than its model; raise the "
        "faint limit, fit corrections (MagnitudeCorrections), or give a ControlField"
    )
    return [CheckRow("field at faint end", of, value, limit, DOUBT, advice)]
