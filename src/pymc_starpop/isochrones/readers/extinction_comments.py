"""What the comments of a file say of extinction: a likelihood has one of its own."""

import re

from pymc_starpop.isochrones.readers.text import TextFile, number

__all__ = ["speaks_of_extinction"]

_TAG = re.compile(r"<[^<>]*>")
_TOPIC = re.compile(r"extinction|redden", re.IGNORECASE)
# Av, A_V, A(V), A_{V}, and what comes after it.
_NAME = r"(?<![A-Za-z])A\s?_?\s?[({]?\s?V\s?[)}]?(?![A-Za-z])\s*"
_STATED = re.compile(_NAME + r"[=:]\s*(\S*)", re.IGNORECASE)
_LOOSE = re.compile(_NAME + r"(?:of|is|~)?\s*(\S+)", re.IGNORECASE)
_NONE = re.compile(
    r"\b(no|without|zero)\s+(\w+\s+)?(extinction|reddening)"
    r"|(extinction|reddening)\W+((is|was|has|been)\s+)*(not|none|no|zero|ignored)\b",
    re.IGNORECASE,
)
_REMEDY = "download them with Av = 0, and give the extinction to the likelihood"


def speaks_of_extinction(file: TextFile, k: int) -> bool:
    """Whether a comment is about extinction, after checking that it says there is none.

    Parameters
    ----------
    file : TextFile
    k : int
        Index of the line.

    Raises
    ------
    IsochroneFileError
        For an A_V that is not zero or cannot be read, and where the comment does not say how much.
    """
    text = _TAG.sub("", file.lines[k])
    stated = _STATED.findall(text)
    if not stated and not _TOPIC.search(text):
        return False
    if not stated and _NONE.search(text):
        return True
    stated = stated or _LOOSE.findall(text)
    if not stated:
        raise file.error(
            k,
            f"the comment {text.strip(' #')[:60]!r} does not say how much extinction the "
            "magnitudes have; if they have none, let it say Av = 0 or take the line out",
        )
    for value in stated:
        _check_zero(file, k, value)
    return True


def _check_zero(file: TextFile, k: int, text: str) -> None:
    text = text.rstrip(".,;:)")
    try:
        av = number(text)
    except ValueError:
        raise file.error(k, f"Av is {text!r}, expected a number; {_REMEDY}") from None
    if av != 0.0:
        raise file.error(k, f"the magnitudes have an extinction Av = {av:g}; {_REMEDY}")
