"""Axes of new figures and scales of colors, the same for every plot."""

import math
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

__all__ = ["add_colorbar", "axes_or_new", "panels"]

# Panels in a row, and width and height of each (inches).
_PANELS_A_ROW = 4
_PANEL = (3.6, 3.9)


def axes_or_new(ax: Axes | None, figsize: tuple[float, float]) -> Axes:
    """Return the axes that were given, or those of a new figure of this size (inches)."""
    return plt.subplots(figsize=figsize, layout="constrained")[1] if ax is None else ax


def panels(n: int) -> np.ndarray:
    """Return the axes (n,) of a new figure of n panels."""
    columns = min(n, _PANELS_A_ROW)
    rows = math.ceil(n / columns)
    size = (_PANEL[0] * columns, _PANEL[1] * rows)
    _, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    for ax in axes.flat[n:]:
        ax.remove()
    return np.asarray(axes.flat[:n])


def add_colorbar(ax: Axes, shown: Any, label: str, **options: Any) -> None:
    """Add a slim scale of colors beside axes; options are those of Matplotlib's `colorbar`."""
    options = {"fraction": 0.05, "pad": 0.02, "aspect": 30, **options}
    ax.get_figure(root=True).colorbar(shown, ax=ax, label=label, **options)  # type: ignore[union-attr]
