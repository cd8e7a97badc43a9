"""Draws of the stars of backgrounds, out of a posterior or a fit."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

__all__ = ["BackgroundDraws", "background_quantities", "read_backgrounds"]

# How fits and `StarFormationHistory` name them; `HessDiagram` puts its own name before, and names
# each amplitude by itself.
_STARS, _AMPLITUDE, _DIM = "background_stars", "background_amplitude", "background"
# Its dimension where the model has another ``background``, and in `HessDiagram`.
_DIM_NAME = "background_name"


@dataclass(frozen=True, eq=False)
class BackgroundDraws:
    """Backgrounds whose amplitudes were fitted.

    Attributes
    ----------
    names : list of str (K,)
    stars, amplitude : (N_sample, K)
    """

    names: list[str]
    stars: np.ndarray
    amplitude: np.ndarray


def read_backgrounds(draws: xr.Dataset, mass_name: str) -> BackgroundDraws | None:
    """Gather backgrounds from draws along ``sample``; None where there are none.

    Where the masses are those of a named model, such as ``one::mass_formed``, only its backgrounds
    are read.
    """
    prefix = mass_name[: mass_name.rfind("::") + 2] if "::" in mass_name else ""
    names: list[str] = []
    stars, amplitudes = [], []
    for variable in map(str, draws.data_vars):
        if not (variable.startswith(prefix) and variable.endswith(_STARS)):
            continue
        dims = [str(d) for d in draws[variable].dims if d != "sample"]
        # Others of that ending are the user's own.
        if len(dims) != 1 or not dims[0].endswith((_DIM, _DIM_NAME)):
            continue
        (dim,) = dims
        labels = [str(n) for n in draws[dim].values]
        together = variable.removesuffix(_STARS) + _AMPLITUDE
        if together in draws:
            amplitudes.append(draws[together].transpose("sample", dim).values)
        else:
            amplitudes.append(np.stack([draws[n].values for n in labels], axis=-1))
        names += [label.removeprefix(prefix) for label in labels]
        stars.append(draws[variable].transpose("sample", dim).values)
    if not names:
        return None
    return BackgroundDraws(
        names, np.concatenate(stars, axis=-1), np.concatenate(amplitudes, axis=-1)
    )


def background_quantities(backgrounds: BackgroundDraws | None) -> dict[str, Any]:
    """Return the variables of `sfh_draws`."""
    if backgrounds is None:
        return {}
    dims = ("sample", _DIM)
    return {
        _STARS: (dims, backgrounds.stars, {"units": "stars in the bins that count"}),
        _AMPLITUDE: (dims, backgrounds.amplitude, {"units": "1"}),
        _DIM: (_DIM, backgrounds.names),
    }
