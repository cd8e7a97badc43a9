"""Templates in cells several times smaller, as a measure of the error of those that are built."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

from pymc_starpop.hess import cell_grid, pairs, systems, template_counts, template_grid

__all__ = ["finer_cells"]

FINER = {
    cell_grid: {"CELL_LENGTH": 0.18, "LEAST_OF_BIN": 0.2},
    pairs: {
        "_PRIMARY_LENGTH": 0.35,
        "_COMPANION_LENGTH": 0.35,
        "_COMPANION_BEFORE_SCATTER": 0.5,
        "_LEAST_OF_BIN": 0.07,
        "_GROWTH": 0.05,
        "_LEAST_PAIRS": 1e-12,
        "_LEAST_PAIRS_BEFORE_SCATTER": 1e-12,
    },
    systems: {"_LENGTH": 0.35},
    template_counts: {"_WIDER_FOR_PAIRS": 1.0},
    template_grid: {"_LONGER_CELLS": 1.0},
}


@contextmanager
def finer_cells() -> Iterator[None]:
    """Build templates in cells, groups and runs a third as long, and with all pairs.

    Their errors fall with the square of these lengths or faster, so that what is left is a small
    part of those of the usual ones.
    """
    with ExitStack() as stack:
        for module, values in FINER.items():
            stack.enter_context(mock.patch.multiple(module, **values))
        yield
