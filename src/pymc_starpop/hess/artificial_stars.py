"""Artificial stars: stars put into the images with known magnitudes and measured like the others.

Whatever way a table says that a star was not recovered, it is dealt with here and nowhere else.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pymc_starpop.hess.lost_rows import (
    SHIFT_SIGNS,
    is_no_input,
    is_no_recovery,
    sign_of_lost_rows,
    warn_if_faint_shifts,
)
from pymc_starpop.hess.rounding import rounding_step
from pymc_starpop.hess.tables import check_bands, detected_table, magnitude_table

__all__ = ["MIN_RECOVERED", "MIN_STARS", "ArtificialStars", "as_artificial_stars"]

MIN_STARS = 100  # with fewer, neither a scatter nor a completeness is known to 10 %
MIN_RECOVERED = 10  # for a median and its deviation

_PACKAGE = str(Path(__file__).parents[1])  # warnings point at the code that calls this package


class ArtificialStars:
    """Artificial stars: input magnitudes, and what was measured where they were recovered.

    Not recovered in a band is what `detected` says, and a measured magnitude that is NaN,
    infinite, 90 mag or more (99.999, -99), more than 30 mag from the input magnitude (MATCH
    writes the input plus or minus 99.999), or a number that comes back in ten or more stars
    though it is more than 9 mag from their input. Stars without an input magnitude in every band
    are left out. A warning tells what was found.

    Parameters
    ----------
    mag_in : array-like (N, B), mapping, or table
        Input magnitudes, mag. They are taken to be exact as they stand.
    mag_out : array-like (N, B), mapping, or table
        Measured magnitudes, mag.
    detected : array-like of bool, shape (N,) or (N, B), optional
        Whether a star was recovered, in each band or in all of them. One value a star is the
        recovery in all bands together.
    bands : sequence of str
        The B bands: the columns of arrays, or the names of columns.
    shift : array-like (N, B), mapping, or table, optional
        In place of `mag_out`: the differences of output and input, mag.
    shift_sign : str
        With `shift`: ``"out - in"`` or ``"in - out"``. Files of MATCH are written both ways.

    Attributes
    ----------
    bands : tuple of str
        B bands.
    mag, shift : ndarray (N, B)
        Input magnitude and out - in, mag; the shift is NaN where not recovered.
    recovered : ndarray of bool (N, B)
        Whether a star was recovered in a band.
    together : bool
        Whether the recovery was said for all bands at once.
    step : ndarray (B,)
        What the measured magnitudes are rounded to, mag; 0 where nothing is seen of it.

    Raises
    ------
    ValueError
        For fewer than 100 stars, shapes that differ, no recovered star in a band, and `shift`
        without its sign or beside `mag_out`.

    Examples
    --------
    >>> import numpy as np, pymc_starpop as psp
    >>> rng = np.random.default_rng(1)
    >>> mag_in = rng.uniform(20, 28, (5000, 2))
    >>> shift = 0.03 * rng.normal(size=mag_in.shape)
    >>> lost = rng.random(5000) > psp.LogisticCompleteness(1, 26, 0.3)(mag_in[:, 0])
    >>> shift[lost] = np.nan
    >>> psp.ArtificialStars(mag_in, shift=shift, shift_sign="out - in", bands=["V", "I"])
    <ArtificialStars: 5000 stars in V, I, 76 % recovered in all bands>
    """

    def __init__(
        self,
        mag_in: Any,
        mag_out: Any = None,
        detected: Any = None,
        *,
        bands: Sequence[str],
        shift: Any = None,
        shift_sign: str | None = None,
    ):
        self.bands = check_bands(bands)
        mag = magnitude_table("mag_in", mag_in, self.bands)
        sign = _check_shift(mag_out, shift, shift_sign)
        name, given = ("mag_out", mag_out) if shift is None else ("shift", shift)
        values = given_values = magnitude_table(name, given, self.bands)
        if mag.shape != values.shape:
            raise ValueError(
                f"mag_in and {name} must hold the same stars, got shapes {mag.shape} and "
                f"{values.shape}."
            )
        said, self.together = _said(detected, mag.shape, self.bands)
        known = ~is_no_input(mag).any(axis=1)
        if known.sum() < MIN_STARS:
            raise ValueError(
                f"mag_in holds {int(known.sum())} artificial stars; at least {MIN_STARS} are "
                f"needed{'' if known.all() else ' beside those without an input magnitude'}."
            )
        mag, values, said = mag[known], values[known], said[known]
        if shift is not None:
            _warn_if_other_sign(mag, values, str(shift_sign))
            values = mag + sign * values
        no_number, as_given = is_no_recovery(mag, values), given_values[known]
        self.mag, self.recovered = mag, said & ~no_number
        self.shift = np.where(self.recovered, values, np.nan) - mag
        self.step = np.array([self._step(values, index) for index in range(len(self.bands))])
        for band, some in zip(self.bands, self.recovered.any(axis=0), strict=True):
            if not some:
                raise ValueError(
                    f"detected: no artificial star was recovered in {band}; a recovered one has a "
                    f"measured magnitude, and True where detected is given."
                )
        for array in (self.mag, self.shift, self.recovered, self.step):
            array.flags.writeable = False
        self._tell(no_number & said & np.isfinite(values), int((~known).sum()), as_given)
        warn_if_faint_shifts(self.bands, self.mag, self.shift, self.recovered, _PACKAGE)

    def _step(self, out: np.ndarray, index: int) -> float:
        seen = self.recovered[:, index]
        return max(rounding_step(out[seen, index]), rounding_step(self.shift[seen, index]))

    def _tell(self, replaced: np.ndarray, n_unknown: int, given: np.ndarray) -> None:
        """Say once what was taken for a star that was lost, and what was left out."""
        said = []
        if replaced.any():
            counts = (
                f"{int(n)} of {len(replaced)} in {band}"
                for band, n in zip(self.bands, replaced.sum(axis=0), strict=True)
            )
            said.append(
                f"numbers that stand for 'not recovered', such as {given[replaced][0]:g}, are "
                f"taken as lost stars: {', '.join(counts)}"
            )
        if n_unknown:
            said.append(f"{n_unknown} stars without an input magnitude are left out")
        if said:
            warnings.warn(f"artificial stars: {'; '.join(said)}.", skip_file_prefixes=(_PACKAGE,))

    def __len__(self) -> int:
        return len(self.mag)

    def __repr__(self) -> str:
        share = 100.0 * self.recovered.all(axis=1).mean()
        return (
            f"<ArtificialStars: {len(self)} stars in {', '.join(self.bands)}, {share:.0f} % "
            f"recovered in all bands>"
        )

    def select_bands(self, bands: Sequence[str]) -> "ArtificialStars":
        """Return the artificial stars in some of the bands, in that order.

        Parameters
        ----------
        bands : sequence of str
            Distinct names from `bands`.

        Raises
        ------
        ValueError
            For a band that is not there.
        """
        bands = check_bands(bands)
        missing = [band for band in bands if band not in self.bands]
        if missing:
            raise ValueError(
                f"artificial stars: no band {missing[0]!r}, there are {', '.join(self.bands)}."
            )
        if bands == self.bands:
            return self
        columns = [self.bands.index(band) for band in bands]
        chosen = object.__new__(ArtificialStars)
        chosen.bands, chosen.together = bands, self.together
        chosen.mag, chosen.shift = self.mag[:, columns], self.shift[:, columns]
        chosen.recovered, chosen.step = self.recovered[:, columns], self.step[columns]
        return chosen

    def select(self, which: Any) -> "ArtificialStars":
        """Return some of the artificial stars.

        Parameters
        ----------
        which : array-like
            Bool of shape (N,), or indices.

        Raises
        ------
        ValueError
            For what is neither, and where fewer than 100 are left.
        """
        chosen_rows = np.asarray(which)
        of_rows = chosen_rows.dtype == bool and chosen_rows.shape == (len(self),)
        if not of_rows:
            whole = chosen_rows.ndim == 1 and chosen_rows.dtype.kind in "iu"
            if not whole or not ((chosen_rows >= 0) & (chosen_rows < len(self))).all():
                raise ValueError(
                    f"which must be booleans of shape ({len(self)},), one a star, or indices from "
                    f"0 to {len(self) - 1}, got {chosen_rows.dtype} of shape {chosen_rows.shape}."
                )
        rows = np.arange(len(self))[chosen_rows]
        if rows.size < MIN_STARS:
            raise ValueError(
                f"which leaves {rows.size} artificial stars; at least {MIN_STARS} are needed."
            )
        chosen = object.__new__(ArtificialStars)
        chosen.bands, chosen.together, chosen.step = self.bands, self.together, self.step
        for name in ("mag", "shift", "recovered"):
            setattr(chosen, name, getattr(self, name)[rows])
        return chosen


def as_artificial_stars(
    mag_in: Any, mag_out: Any, detected: Any, bands: Any, shift: Any, shift_sign: Any
) -> ArtificialStars:
    """Return artificial stars, given as such or as tables; arguments as of `ArtificialStars`."""
    if not isinstance(mag_in, ArtificialStars):
        if bands is None:
            raise ValueError("bands is missing; name the columns of mag_in.")
        return ArtificialStars(
            mag_in, mag_out, detected, bands=bands, shift=shift, shift_sign=shift_sign
        )
    others = {"mag_out": mag_out, "detected": detected, "shift": shift, "shift_sign": shift_sign}
    beside = [name for name, value in others.items() if value is not None]
    if beside:
        raise ValueError(
            f"{beside[0]} is given beside ArtificialStars, which hold what was measured; give one."
        )
    return mag_in if bands is None else mag_in.select_bands(bands)


def _check_shift(mag_out: Any, shift: Any, shift_sign: Any) -> float:
    """Return +1 for out - in, -1 for in - out."""
    if (mag_out is None) == (shift is None):
        raise ValueError(
            "give either mag_out or shift, with shift_sign, of the artificial stars, got "
            f"{'neither' if shift is None else 'both'}."
        )
    if shift is None and shift_sign is not None:
        raise ValueError(f"shift_sign={shift_sign!r} belongs to shift, but mag_out is given.")
    if shift is not None and shift_sign not in SHIFT_SIGNS:
        raise ValueError(
            f"shift_sign must be 'out - in' or 'in - out', got {shift_sign!r}; near the limit "
            f"recovered stars are brighter than they were put in."
        )
    return -1.0 if shift_sign == "in - out" else 1.0


def _said(detected: Any, shape: tuple[int, ...], bands: tuple[str, ...]) -> tuple[np.ndarray, bool]:
    """Recovery (N, B) by the word of the caller, and whether it was said for all bands at once."""
    if detected is None:
        return np.ones(shape, dtype=bool), False
    given = detected_table(detected, shape, bands)
    together = given.ndim == 1 and len(bands) > 1
    return np.broadcast_to(given if given.ndim == 2 else given[:, None], shape), together


def _warn_if_other_sign(mag: np.ndarray, shift: np.ndarray, shift_sign: str) -> None:
    found = sign_of_lost_rows(mag, shift)
    if found is not None and found != shift_sign:
        warnings.warn(
            f"shift_sign={shift_sign!r}, but lost stars hold {found.replace('out', '99.999')}: the "
            f"shifts are {found}.",
            skip_file_prefixes=(_PACKAGE,),
        )
