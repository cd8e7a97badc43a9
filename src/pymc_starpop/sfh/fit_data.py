"""Templates and stars as a fit needs them: the bins with stars of one diagram or several."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from pymc_starpop.hess.axes import HessAxes, check_hess, check_mask
from pymc_starpop.hess.template_set import TemplateSet
from pymc_starpop.kernels.plr_fisher import gather_templates

__all__ = ["FitData", "fit_data", "root_curvature"]

# Bins named in a message.
_MAX_NAMED = 5
# Below this part of the stars, an expected count is raised in one step, not doubled at each.
_FAR_BELOW = 0.01


@dataclass(frozen=True, eq=False)
class Diagram:
    """One Hess diagram with its templates.

    Attributes
    ----------
    templates : TemplateSet
    observed : (N_bin,) stars
    counted : (N_bin,) bool, which bins count
    background : (N_bin,) expected stars that are not the galaxy's
    """

    templates: TemplateSet
    observed: np.ndarray
    counted: np.ndarray
    background: np.ndarray

    @property
    def bins(self) -> np.ndarray:
        """Indices of the bins that count and hold stars."""
        return np.flatnonzero(self.counted & (self.observed > 0))

    def model(self, coefficients: np.ndarray) -> np.ndarray:
        """Return the expected counts (N_bin,) for masses (N_age, N_mh)."""
        matrix = self.templates.counts.reshape(coefficients.size, -1)
        return coefficients.ravel() @ matrix + self.background


@dataclass(frozen=True, eq=False)
class FitData:
    """Bins with stars, and the sums over all bins that count.

    Attributes
    ----------
    rows : (N_age * N_mh, N_row) float32
        Templates in the bins with stars, ages one after another, stars per Msun.
    observed, background : (N_row,)
        Stars, all positive, and expected counts that belong to no template.
    totals : (N_age, N_mh)
        Sum of each template over all bins that count.
    constant : float
        n ln n - n, summed over the rows, plus the background of all bins that count.
    log_age, mh : (N_age,), (N_mh,)
        Grid of the templates.
    diagrams : tuple of Diagram
        What was given.
    """

    rows: np.ndarray
    observed: np.ndarray
    background: np.ndarray
    totals: np.ndarray
    constant: float
    log_age: np.ndarray
    mh: np.ndarray
    diagrams: tuple[Diagram, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Number of ages and of metallicities."""
        return self.totals.shape[0], self.totals.shape[1]

    @property
    def age_gyr(self) -> np.ndarray:
        """Ages (N_age,), Gyr."""
        return 10.0 ** (self.log_age - 9.0)

    def negative_log_ratio(self, expected: np.ndarray, total: float) -> float:
        """Return -ln PLR from the counts (N_row,) in the rows and the total of the templates.

        Infinite where a bin that holds stars expects none.
        """
        if not (expected > 0.0).all():
            return np.inf
        return total + self.constant - float(self.observed @ np.log(expected))

    def exact_nll(self, coefficients: np.ndarray) -> float:
        """Return -ln PLR for masses (N_age, N_mh), from the templates in double precision."""
        total = 0.0
        for diagram in self.diagrams:
            model = diagram.model(coefficients)[diagram.counted]
            stars = diagram.observed[diagram.counted]
            total += float(np.sum(special.kl_div(stars, model)))
        return total

    def model(self, coefficients: np.ndarray) -> list[Any]:
        """Return the expected counts in every bin of each diagram, for masses (N_age, N_mh)."""
        return [
            d.templates.axes.wrap(d.model(coefficients).reshape(d.templates.axes.shape), "stars")
            for d in self.diagrams
        ]


def root_curvature(observed: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return the square root of the curvature n/m^2 of -n ln m, less where m is far below n.

    There a Newton step merely doubles m. With the curvature c/m it goes to about n/c at once.
    """
    far = np.minimum(1.0, expected / (_FAR_BELOW * observed))
    return np.sqrt(observed * far) / expected


def fit_data(tmpl: Any, hess: Any, background: Any = None, mask: Any = None) -> FitData:
    """Gather what a fit needs from the arguments of `fit_sfh`.

    Raises
    ------
    ValueError
        For numbers of diagrams or grids that differ, data that do not fit the axes, no stars at
        all, templates that are zero in every bin that counts, and stars in bins where every
        template and the background are zero.
    """
    diagrams = _diagrams(tmpl, hess, background, mask)
    first = diagrams[0].templates
    n_row = sum(d.bins.size for d in diagrams)
    if n_row == 0:
        raise ValueError(
            "hess: no bin that counts holds a star, so there is nothing to fit; check the axes "
            "and the mask."
        )
    rows = np.empty((first.n_age * first.n_mh, n_row), dtype=np.float32)
    totals = np.zeros(first.n_age * first.n_mh)
    n_before = 0
    for d in diagrams:
        part = rows[:, n_before : n_before + d.bins.size]
        n_before += d.bins.size
        empty = np.flatnonzero(d.counted & (d.observed == 0))
        matrix = d.templates.counts.reshape(totals.size, -1)
        gather_templates(matrix, d.bins, empty, part, totals)
        _check_lit(part, d)
    stars = np.concatenate([d.observed[d.bins] for d in diagrams])
    other = sum(float(d.background[d.counted].sum()) for d in diagrams)
    data = FitData(
        rows=rows,
        observed=stars,
        background=np.concatenate([d.background[d.bins] for d in diagrams]),
        totals=totals.reshape(first.n_age, first.n_mh),
        constant=other + float(np.sum(stars * np.log(stars) - stars)),
        log_age=first.log_age,
        mh=first.mh,
        diagrams=diagrams,
    )
    _check_totals(data)
    return data


def _diagrams(tmpl: Any, hess: Any, background: Any, mask: Any) -> tuple[Diagram, ...]:
    """Check and pair what was given for each diagram."""
    templates = _as_list("tmpl", tmpl, None)
    _check_templates(templates)
    lists = [
        _as_list(name, value, len(templates))
        for name, value in (("hess", hess), ("mask", mask), ("background", background))
    ]
    return tuple(
        Diagram(
            templates=t,
            observed=check_hess(h, t.axes).ravel(),
            counted=check_mask(m, t.axes).ravel(),
            background=_check_background(b, t.axes).ravel(),
        )
        for t, h, m, b in zip(templates, *lists, strict=True)
    )


def _as_list(name: str, value: Any, n: int | None) -> list[Any]:
    """One entry for each diagram."""
    if n is None:
        many = isinstance(value, list | tuple)
        values = list(value) if many else [value]
        wrong = [type(v).__name__ for v in values if not isinstance(v, TemplateSet)]
        if not values or wrong:
            raise ValueError(
                f"{name} must be a TemplateSet or a list of them, got "
                f"{', '.join(wrong) if wrong else 'an empty list'}."
            )
        return values
    if value is None:
        return [None] * n
    values = list(value) if isinstance(value, list | tuple) else [value]
    if len(values) != n:
        raise ValueError(
            f"{name}: {len(values)} for {n} template set(s); give a list with one for each."
        )
    return values


def _check_templates(templates: Sequence[TemplateSet]) -> None:
    first = templates[0]
    for i, other in enumerate(templates[1:], start=1):
        for name in ("log_age", "mh"):
            mine, its = getattr(first, name), getattr(other, name)
            if mine.shape != its.shape or not np.allclose(mine, its, rtol=0.0, atol=1e-9):
                raise ValueError(
                    f"tmpl: {name} of set {i} differs from that of set 0; diagrams that are fitted "
                    f"jointly need templates of the same ages and metallicities."
                )


def _check_background(background: Any, axes: HessAxes) -> np.ndarray:
    if background is None:
        return np.zeros(axes.shape)
    values = np.array(getattr(background, "values", background), dtype=float)
    if values.shape != axes.shape:
        raise ValueError(
            f"background: expected shape (N_mag, N_color) = {axes.shape} of the axes, got "
            f"{values.shape}."
        )
    if not np.isfinite(values).all() or (values < 0).any():
        raise ValueError(
            "background: expected counts must be finite and not negative; leave bins out with "
            "mask=."
        )
    return values


def _check_lit(rows: np.ndarray, diagram: Diagram) -> None:
    """Refuse stars where the model can have none."""
    dark = (rows.max(axis=0) <= 0.0) & (diagram.background[diagram.bins] <= 0.0)
    if not dark.any():
        return
    axes = diagram.templates.axes
    where, centers = np.unravel_index(diagram.bins[dark], axes.shape), axes.coords()
    named = [
        f"({centers['mag'][i]:g}, {centers['color'][j]:g})"
        for i, j in zip(where[0][:_MAX_NAMED], where[1][:_MAX_NAMED], strict=True)
    ]
    more = ", ..." if dark.sum() > _MAX_NAMED else ""
    raise ValueError(
        f"hess: {int(dark.sum())} bins hold stars where every template is zero, at (mag, color) "
        f"{', '.join(named)}{more}. Give background= (expected counts of stars that are not the "
        f"galaxy's) or leave these bins out with mask=."
    )


def _check_totals(data: FitData) -> None:
    unlit = data.totals.max(axis=1) <= 0.0
    if unlit.all():
        raise ValueError("tmpl: every template is zero in the bins that count.")
    if unlit.any():
        raise ValueError(
            f"tmpl: the templates of log_age {', '.join(f'{a:g}' for a in data.log_age[unlit])} "
            f"are zero in every bin that counts, so that the mass formed then cannot be known; "
            f"leave these ages out."
        )
