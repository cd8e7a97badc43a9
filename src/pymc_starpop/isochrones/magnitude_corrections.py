"""Offsets of the models in each band, smooth along the sequence of a cluster."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from pymc_starpop._namespace import NUMPY, Namespace
from pymc_starpop.isochrones.corrections import Corrections, ModelNodes
from pymc_starpop.isochrones.sequence_knots import SequenceKnots

__all__ = ["MagnitudeCorrections"]


@dataclass(frozen=True)
class MagnitudeCorrections(Corrections):
    """Add to the magnitudes of models, in each band, a smooth function along the sequence.

    Isochrones miss real stars by some hundredths of a magnitude, and cool dwarfs by some tenths,
    all stars of one temperature by the same amount. Where no parameter stands for that, age,
    extinction and [Fe/H] move to make up for it, with errors that know nothing of it.

    A value for all bands and knots is a change of distance modulus; values in proportion to the
    extinction A_b / A_V are one of A_V; a value for all knots of a band is a zero point. The
    prior decides between them: with one that is centered on 0 the errors of distance and A_V hold
    what it allows.

    Parameters
    ----------
    coefficients : array or PyTensor variable (band, knot)
        Magnitudes added at the knots, positive where stars are fainter than the models. With
        several clusters also (cluster, band, knot). The number 0 for none.
    bands : sequence of str
        Names of the bands of the coefficients, such as ``cat.model_bands``. A likelihood may have
        fewer, in any order.
    knots : SequenceKnots
        Where they are added.

    Raises
    ------
    ValueError
        For coefficients without two or three dimensions, or of another number of bands or knots;
        and where a model is asked for a band that is not among them.

    Examples
    --------
    >>> import numpy as np
    >>> knots = SequenceKnots((3.5, 3.6, 3.7), (), ())
    >>> bands = ("Gaia_G_EDR3", "2MASS_Ks")
    >>> MagnitudeCorrections(np.full((2, 3), 0.05), bands, knots).coefficients.shape
    (2, 3)
    """

    coefficients: Any
    bands: tuple[str, ...]
    knots: SequenceKnots = field(default_factory=SequenceKnots)
    _parameters: ClassVar[tuple[str, ...]] = ("coefficients",)

    @property
    def axes(self) -> dict[str, tuple[str | int, ...]]:  # type: ignore[override]
        """What the dimensions of the coefficients run along."""
        return {"coefficients": (len(self.bands), len(self.knots))}

    def __post_init__(self) -> None:
        """Check what is given."""
        if not isinstance(self.knots, SequenceKnots):
            raise ValueError(
                f"knots must be a SequenceKnots, got {self.knots!r}; give psp.SequenceKnots(), or "
                "one with your own knots"
            )
        bands = (self.bands,) if isinstance(self.bands, str) else tuple(self.bands)
        if not bands or len(set(bands)) < len(bands) or not all(isinstance(b, str) for b in bands):
            raise ValueError(
                f"bands must be names of bands, each once, got {self.bands!r}; give such as "
                "cat.model_bands"
            )
        object.__setattr__(self, "bands", bands)
        given = self.coefficients
        if isinstance(given, int | float | np.number) and given == 0:
            return
        if isinstance(given, list | tuple):
            given = np.asarray(given)
            object.__setattr__(self, "coefficients", given)
        ndim = given.ndim if hasattr(given, "ndim") else np.ndim(given)
        shape = getattr(getattr(given, "type", given), "shape", (None,) * ndim)
        expected = (len(bands), len(self.knots))
        fits = zip(shape[-2:], expected, strict=True) if ndim in (2, 3) else [(0, 1)]
        if not all(length in (None, n) for length, n in fits):
            raise ValueError(
                f"coefficients of MagnitudeCorrections have the shape {shape}, expected {expected} "
                "(band, knot), or (cluster, band, knot); give one value for each band and knot"
            )
        if isinstance(given, np.ndarray) and not (
            given.dtype.kind in "iuf" and np.all(np.isfinite(given))
        ):
            raise ValueError(
                f"coefficients of MagnitudeCorrections must be finite numbers (mag), got {given!r}"
            )

    def magnitudes(
        self, at: ModelNodes, mag: Any, bands: tuple[str, ...], xp: Namespace = NUMPY
    ) -> Any:
        """Return magnitudes (E, B) with the offsets added."""
        if isinstance(self.coefficients, int | float | np.number):
            return mag
        missing = [band for band in bands if band not in self.bands]
        if missing:
            raise ValueError(
                f"corrections: there are no MagnitudeCorrections for {', '.join(missing)}, only "
                f"for {', '.join(self.bands)}; give coefficients for all bands of the catalog"
            )
        rows = [self.bands.index(band) for band in bands]
        given = self.coefficients
        values = given if hasattr(given, "owner") else np.asarray(given)
        return mag + self.knots.basis(at, xp) @ values[rows].T
