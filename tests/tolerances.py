"""One table of tolerances: what a comparison is for decides how close it must be.

A test names the purpose, never a number, so that loosening a check shows up here.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Tolerance:
    """Relative and absolute tolerance, as `numpy.testing.assert_allclose` takes them."""

    rtol: float
    atol: float


TOLERANCE = {
    # the same formula twice in float64, in another order or another language
    "same_formula": Tolerance(rtol=1e-12, atol=1e-12),
    # a fast kernel against its slow twin: cancellation in the recurrences costs some digits
    "kernel": Tolerance(rtol=1e-9, atol=1e-9),
    # moments along a segment, relative to the integral: the window ends at exp(-25) of the maximum
    "segment": Tolerance(rtol=4e-9, atol=4e-9),
    # several clusters in one likelihood against one by one
    "stacked": Tolerance(rtol=1e-9, atol=1e-9),
    "stacked_gradient": Tolerance(rtol=1e-8, atol=1e-8),
    # the pruned kernel against a sum over everything, in nats
    "pruned": Tolerance(rtol=0.0, atol=1e-7),
    # a closed form against adaptive quadrature
    "quadrature": Tolerance(rtol=1e-8, atol=1e-10),
    # a density summed on a grid of points: the trapezoidal rule, and what lies outside
    "grid_sum": Tolerance(rtol=5e-4, atol=5e-4),
    # completeness between nodes 0.01 mag apart
    "completeness_table": Tolerance(rtol=0.0, atol=1e-6),
    # asinh magnitudes of fluxes at 10,000 sigma against magnitudes: (sigma/flux)^2
    "asinh": Tolerance(rtol=0.0, atol=1e-6),
    # a density normalized by 10,000 draws
    "importance_sample": Tolerance(rtol=0.03, atol=0.0),
    # two published implementations of the same conventions
    "other_code": Tolerance(rtol=1e-10, atol=1e-10),
    # exact gradient against central differences, relative to max(1, |gradient|)
    "gradient": Tolerance(rtol=1e-5, atol=1e-5),
    # where a search ended that stops once a step promises less than 1e-6 nats
    "optimum": Tolerance(rtol=1e-4, atol=1e-4),
    # the normal distribution function of the kernel of Hess diagrams
    "normal_cdf": Tolerance(rtol=0.0, atol=1e-11),
    # templates against brute force: all bins together, and any bin that counts
    "template": Tolerance(rtol=2e-4, atol=0.0),
    "template_bin": Tolerance(rtol=5e-3, atol=0.0),
    # what a Gaussian loses outside of its last slice
    "template_flux": Tolerance(rtol=1e-5, atol=0.0),
    # moments of binaries: quadrature on both sides
    "pair_moments": Tolerance(rtol=1e-4, atol=1e-4),
    # moments of draws at 1,000 x 30 equally spaced numbers against quadrature
    "draws": Tolerance(rtol=0.0, atol=5e-3),
    # what float32 storage of a bundled table leaves
    "float32": Tolerance(rtol=2e-6, atol=2e-6),
}

# Per-star log-likelihood, in nats.
NATS_SINGLE_WORST = 0.05
NATS_SINGLE_MEDIAN = 0.005
NATS_BINARY_DEFAULT = 0.25
NATS_BINARY_FINE = 0.05
NATS_CONVERGED = 0.005
# Segments against a sum over points, with errors of 0.05 mag or more.
NATS_STAGED_WORST = 0.05

# Two searches for the same maximum of the likelihood of a Hess diagram, in nats.
NATS_AT_OPTIMUM = 1e-3

# Maxima of the likelihood of a simulated cluster.
LOG_AGE_FROM_TRUTH = 0.01
FEH_FROM_TRUTH = 0.02
NATS_RIVAL_MAXIMUM = 80.0


def assert_close(actual: ArrayLike, expected: ArrayLike, purpose: str) -> None:
    """Raise where `actual` is not within the tolerance of that purpose of `expected`."""
    tolerance = TOLERANCE[purpose]
    np.testing.assert_allclose(actual, expected, rtol=tolerance.rtol, atol=tolerance.atol)


def assert_gradient_close(gradient: ArrayLike, differences: ArrayLike) -> None:
    """Raise where an exact gradient is off by more than 1e-5 of max(1, |gradient|)."""
    gradient, differences = np.asarray(gradient), np.asarray(differences)
    scale = np.maximum(1.0, np.abs(differences))
    np.testing.assert_allclose(
        gradient / scale, differences / scale, rtol=0.0, atol=TOLERANCE["gradient"].atol
    )
