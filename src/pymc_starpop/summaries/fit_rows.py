"""The rows of the table that judges a fit, and how they are told."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import pandas as pd

__all__ = ["DOUBT", "FINE", "NOTE", "UNKNOWN", "CheckRow", "as_text", "verdict_table"]

# What a row says: nothing to see; nothing wrong, but good to know; reason to doubt the answer; not
# known, because something is missing.
FINE, NOTE, DOUBT, UNKNOWN = "fine", "note", "doubt", "not known"
_ORDER = (DOUBT, UNKNOWN, NOTE, FINE)
_COLUMNS = ("check", "of", "value", "limit", "verdict", "advice")


@dataclass(frozen=True)
class CheckRow:
    """One thing that was looked at.

    Attributes
    ----------
    check : str
        What is checked, such as "grid edge".
    of : str
        Of what: a parameter, a range of magnitudes.
    value, limit : float
        What was found, and beyond what it is a reason to doubt; NaN where there is none.
    verdict : {"fine", "note", "doubt", "not known"}
    advice : str
        What it means and what to do.
    """

    check: str
    of: str
    value: float
    limit: float
    verdict: str
    advice: str = ""


def verdict_table(rows: Sequence[CheckRow]) -> pd.DataFrame:
    """Return the rows as a table, in their order."""
    return pd.DataFrame([asdict(row) for row in rows], columns=list(_COLUMNS))


def as_text(table: pd.DataFrame) -> str:
    """Return the table, doubts first, and below it the advice of rows that have any."""
    place = table["verdict"].map(_ORDER.index)
    table = table.iloc[place.argsort(kind="stable")]
    shown = table[["verdict", "check", "of", "value", "limit"]]
    cells = [list(shown.columns)] + [
        [*row[:3], _number(row[3]), _number(row[4])]
        for row in shown.itertuples(index=False, name=None)
    ]
    widths = [max(len(row[k]) for row in cells) for k in range(len(cells[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if k < 3 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    told = table[(table["advice"] != "") & (table["verdict"] != FINE)]
    said = [
        f"{row.verdict}: {row.check}, {row.of}: {row.advice}"
        for row in told.itertuples(index=False)
    ]
    return "\n".join([*lines, "", *said] if said else lines)


def _number(value: float) -> str:
    return "" if value != value else f"{value:.3g}"
