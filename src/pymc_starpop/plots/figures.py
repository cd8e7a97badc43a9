"""Axes of new figures and scales of colors, the same for every plot."""

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

__all__ = ["add_colorbar", "axes_or_new"]


def axes_or_new(ax: Axes | None, figsize: tuple[float, float]) -> Axes:
    """Return the axes that were given, or those of a new figure of this size (inches)."""
    return plt.subplots(figsize=figsize, layout="constrained")[1] if ax is None else ax


def add_colorbar(ax: Axes, shown: Any, label: str, **options: Any) -> None:
    """Add a slim scale of colors beside axes; options are those of Matplotlib's `colorbar`."""
    options = {"fraction": 0.05, "pad": 0.02, "aspect": 30, **options}
    ax.get_figure(root=True).colorbar(shown, ax=ax, label=label, **options)  # type: ignore[union-attr]
