"""How tables of artificial stars say that a star was not recovered, and signs that are wrong."""

import warnings

import numpy as np

__all__ = [
    "SHIFT_SIGNS",
    "is_no_input",
    "is_no_recovery",
    "sign_of_lost_rows",
    "warn_if_faint_shifts",
]

SHIFT_SIGNS = ("out - in", "in - out")

_SENTINEL = 90.0  # mag; as in `StarCatalog`, 99 and the like are no magnitudes
_LARGEST_SHIFT = 30.0  # mag; no photometry reaches over so much
# A star may be taken for one that is 9 mag brighter, but not many for one and the same number.
_LARGE_SHIFT, _MANY = 9.0, 10
# A number shared by this many stars, by so many times more than are those next to it (mag), and of
# inputs that differ by more than this (mag), is none either: 30 where the faintest input is 27.
_OFTEN, _MORE_OFTEN, _NEXT_TO, _SPREAD = 30, 10.0, 0.3, 1.0
# Both may be rounded, to 0.01 in the coarsest files, or have single precision.
_ROUNDED = 0.011  # mag
# What MATCH writes for the magnitude of a star that it did not find.
_LOST = (99.999, 99.99)
_FEW_LOST = 0.9  # part of the lost rows that must agree on the sign

# Stars near the limit: those put in where this part of all or less is recovered. They are found
# where noise or a neighbor made them brighter, and a mean that is fainter by this much is none.
_NEAR_LIMIT = 0.5
_FAINTER, _FAINTER_SIGMA = 0.1, 4.0  # mag; standard errors of the mean
_STARS_PER_BIN = 100


def is_no_input(mag: np.ndarray) -> np.ndarray:
    """Return where input magnitudes are no magnitudes; shape of `mag`."""
    return ~(np.abs(mag) < _SENTINEL)


def is_no_recovery(mag: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Return where output magnitudes (N, B) cannot be those of stars of these input magnitudes."""
    shift = out - mag
    with np.errstate(invalid="ignore"):
        lost = ~((np.abs(out) < _SENTINEL) & (np.abs(shift) < _LARGEST_SHIFT))
        far = np.abs(shift) > _LARGE_SHIFT
    values = np.round(out, 6)
    shared: list[float] = []
    for band in range(mag.shape[1]):
        number, count = np.unique(values[far[:, band] & ~lost[:, band], band], return_counts=True)
        lost[:, band] |= np.isin(values[:, band], number[count >= _MANY])
        shared += _repeated(values[~lost[:, band], band], mag[~lost[:, band], band])
    # In whichever band a file has such a number.
    lost |= np.isin(values, shared)
    for band in range(mag.shape[1]):
        at = np.flatnonzero(far[:, band] & ~lost[:, band])
        lost[at[_in_a_crowd(shift[at, band])], band] = True
    return lost


def _repeated(values: np.ndarray, mag: np.ndarray) -> list[float]:
    """Numbers that stars of very different input share, many more than share those next to them."""
    number, index, count = np.unique(values, return_inverse=True, return_counts=True)
    found = []
    for k in np.flatnonzero(count >= _OFTEN):
        first, last = np.searchsorted(number, [number[k] - _NEXT_TO, number[k] + _NEXT_TO])
        others = np.delete(count[first:last], k - first)
        typical = float(np.median(others)) if others.size else 0.0
        if count[k] < _MORE_OFTEN * max(typical, 1.0):
            continue
        low, high = np.quantile(mag[index == k], (0.05, 0.95))
        if high - low > _SPREAD:
            found.append(float(number[k]))
    return found


def _in_a_crowd(values: np.ndarray) -> np.ndarray:
    """Whether many others are as near to a value as rounding of input and output leaves them."""
    order = np.sort(values)
    first = np.searchsorted(order, values - _ROUNDED, side="left")
    last = np.searchsorted(order, values + _ROUNDED, side="right")
    return last - first >= _MANY


def sign_of_lost_rows(mag: np.ndarray, shift: np.ndarray) -> str | None:
    """Return the sign of shifts (N, B) by rows that hold 99.999 less the input, or the reverse.

    None where there are no such rows, or they do not agree.
    """
    lost = np.abs(shift) >= _LARGEST_SHIFT
    if not lost.any():
        return None
    near = [
        np.min([np.abs(s * shift[lost] - (number - mag[lost])) for number in _LOST], axis=0)
        < _ROUNDED
        for s in (1.0, -1.0)
    ]
    share = [float(n.mean()) for n in near]
    best = int(np.argmax(share))
    return SHIFT_SIGNS[best] if share[best] >= _FEW_LOST else None


def warn_if_faint_shifts(
    bands: tuple[str, ...],
    mag: np.ndarray,
    shift: np.ndarray,
    recovered: np.ndarray,
    package: str,
) -> None:
    """Warn where recovered stars near the limit are much fainter than they were put in.

    Parameters
    ----------
    bands : tuple of str
        B bands.
    mag, shift, recovered : ndarray (N, B)
        Input magnitudes, out - in (NaN where not recovered), mag, and whether recovered.
    package : str
        Folder of the code at which the warning does not point.
    """
    for index, band in enumerate(bands):
        order = np.argsort(mag[:, index], kind="stable")
        n_bin = max(len(mag) // _STARS_PER_BIN, 1)
        bins = np.array_split(order, n_bin)
        found = [recovered[b, index].mean() for b in bins]
        brightest = int(np.argmax(found))
        faint = [b for b, f in zip(bins, found, strict=True) if f <= _NEAR_LIMIT][-n_bin:]
        faint = [b for b in faint if mag[b, index].min() >= mag[bins[brightest], index].max()]
        near = np.concatenate(faint) if faint else np.empty(0, dtype=int)
        values = shift[near[recovered[near, index]], index]
        if values.size < _STARS_PER_BIN // 5:
            continue
        mean, error = float(values.mean()), float(values.std(ddof=1) / np.sqrt(values.size))
        if mean > max(_FAINTER, _FAINTER_SIGMA * error):
            warnings.warn(
                f"artificial stars in {band}: the {values.size} that were recovered where at most "
                f"half are found were measured {mean:.2f} mag fainter, on average, than they were "
                f"put in. Near the limit stars are found where they came out brighter: the shifts "
                f"may have the wrong sign (out - in or in - out).",
                skip_file_prefixes=(package,),
            )
