"""Templates and stars as a fit needs them: the bins with stars of one diagram or several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy import special

from pymc_starpop.hess.axes import check_hess, check_mask
from pymc_starpop.hess.background import (
    OF_FIT,
    Component,
    background_components,
    first_amplitudes,
    unique_names,
)
from pymc_starpop.hess.template_set import TemplateSet
from pymc_starpop.kernels.plr_fisher import free_counts, gather_templates

__all__ = ["Backgrounds", "Diagram", "FitData", "fit_data", "root_curvature"]

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
        As they were given; their `parts` are what is fitted.
    observed : (N_bin,) stars
    counted : (N_bin,) bool, which bins count
    backgrounds : tuple of Component, by names that no other diagram has
    divided : bool
        Whether age bins are divided into their parts.
    """

    templates: TemplateSet
    observed: np.ndarray
    counted: np.ndarray
    backgrounds: tuple[Component, ...] = ()
    divided: bool = True

    @property
    def parts(self) -> TemplateSet:
        """Templates of the parts of the age bins, or of the bins where they stay whole."""
        return self.templates.parts if self.divided else self.templates

    @property
    def bins(self) -> np.ndarray:
        """Indices of the bins that count and hold stars."""
        return np.flatnonzero(self.counted & (self.observed > 0))

    @property
    def known(self) -> np.ndarray:
        """Expected stars (N_bin,) of the backgrounds whose amplitudes are known."""
        fixed = {b.name: b.amplitude if b.fixed else 0.0 for b in self.backgrounds}
        return self.background(fixed)

    def background(self, amplitudes: Mapping[str, float]) -> np.ndarray:
        """Return the expected stars (N_bin,) of all backgrounds, for amplitudes by name."""
        out = np.zeros(self.observed.size)
        for b in self.backgrounds:
            out += amplitudes[b.name] * b.template.ravel()
        return out

    def model(self, coefficients: np.ndarray, amplitudes: Mapping[str, float]) -> np.ndarray:
        """Return the expected counts (N_bin,) for masses (N_part, N_mh)."""
        matrix = self.parts.counts.reshape(coefficients.size, -1)
        return coefficients.ravel() @ matrix + self.background(amplitudes)


@dataclass(frozen=True, eq=False)
class Backgrounds:
    """Backgrounds whose amplitudes are fitted.

    Attributes
    ----------
    names : tuple of str (K,)
    rows : (K, N_row) expected stars in the bins with stars, at an amplitude of 1
    totals : (K,) sums over all bins that count
    median, sigma : (K,) of the log-normal priors
    """

    names: tuple[str, ...]
    rows: np.ndarray
    totals: np.ndarray
    median: np.ndarray
    sigma: np.ndarray

    @property
    def n(self) -> int:
        """Number of amplitudes K."""
        return len(self.names)


@dataclass(frozen=True, eq=False)
class FitData:
    """Bins with stars, and the sums over all bins that count.

    Age bins may be divided into parts in which the same rate holds, see `TemplateSet.parts`.

    Attributes
    ----------
    rows : (N_part * N_mh, N_row) float32
        Templates in the bins with stars, ages one after another, stars per Msun.
    observed, background : (N_row,)
        Stars, all positive, and expected counts that are known.
    totals : (N_part, N_mh)
        Sum of each template over all bins that count.
    constant : float
        n ln n - n, summed over the rows, plus the known counts of all bins that count.
    log_age, mh : (N_age,), (N_mh,)
        Age bins, by their young edges, and metallicities.
    part_bins, part_shares : (N_part,)
        Age bin of each part, ascending, and its share in the time of its bin.
    diagrams : tuple of Diagram
        What was given.
    backgrounds : Backgrounds
        Those with amplitudes to be fitted.
    """

    rows: np.ndarray
    observed: np.ndarray
    background: np.ndarray
    totals: np.ndarray
    constant: float
    log_age: np.ndarray
    mh: np.ndarray
    part_bins: np.ndarray
    part_shares: np.ndarray
    diagrams: tuple[Diagram, ...]
    backgrounds: Backgrounds

    @property
    def shape(self) -> tuple[int, int]:
        """Number of parts of age bins and of metallicities."""
        return self.totals.shape[0], self.totals.shape[1]

    @property
    def age_gyr(self) -> np.ndarray:
        """Mean ages (N_part,) of the stars of the templates, Gyr."""
        return self.diagrams[0].parts.age_gyr

    def split(self, mass: Any) -> Any:
        """Divide masses (N_age,) or tensors among the parts of their bins."""
        if self.part_bins.size == self.log_age.size:
            return mass
        return mass[self.part_bins] * self.part_shares

    def sum_over_bins(self, values: np.ndarray) -> np.ndarray:
        """Add up values (N_part, ...) of the parts of each bin."""
        if self.part_bins.size == self.log_age.size:
            return values
        return np.add.reduceat(values, self._first_parts, axis=0)

    def mean_over_bins(self, values: np.ndarray) -> np.ndarray:
        """Average values (N_part, ...) over the time of each bin."""
        if self.part_bins.size == self.log_age.size:
            return values
        shares = self.part_shares.reshape(-1, *[1] * (values.ndim - 1))
        return np.add.reduceat(shares * values, self._first_parts, axis=0)

    @cached_property
    def averaging(self) -> np.ndarray:
        """Matrix (N_age, N_part) of `mean_over_bins`; its transpose is that of `split`."""
        return np.where(
            self.part_bins == np.arange(self.log_age.size)[:, None], self.part_shares, 0.0
        )

    @cached_property
    def _first_parts(self) -> np.ndarray:
        return np.searchsorted(self.part_bins, np.arange(self.log_age.size))

    def negative_log_ratio(self, expected: np.ndarray, total: float) -> float:
        """Return -ln PLR from the counts (N_row,) in the rows and the total of the templates.

        Infinite where a bin that holds stars expects none.
        """
        if not (expected > 0.0).all():
            return np.inf
        return total + self.constant - float(self.observed @ np.log(expected))

    def amplitudes(self, fitted: np.ndarray) -> dict[str, float]:
        """Return the amplitudes of all backgrounds by name, from those that are fitted (K,)."""
        by_name = dict(zip(self.backgrounds.names, map(float, fitted), strict=True))
        every = [b for d in self.diagrams for b in d.backgrounds]
        return {b.name: b.amplitude if b.fixed else by_name[b.name] for b in every}

    def first_amplitudes(self) -> np.ndarray:
        """Return where to begin with the amplitudes that are fitted (K,)."""
        b = self.backgrounds
        if b.n == 0:
            return np.zeros(0)
        totals = self.totals.ravel()
        lit = totals > 0.0
        per_star = np.divide(1.0 / lit.sum(), totals, out=np.zeros_like(totals), where=lit)
        shape = free_counts(self.rows, np.zeros_like(self.observed), per_star)
        return first_amplitudes(shape, b.rows, self.observed, b.totals, b.median, b.sigma)

    def exact_nll(self, coefficients: np.ndarray, amplitudes: Mapping[str, float]) -> float:
        """Return -ln PLR for masses (N_part, N_mh), from the templates in double precision."""
        total = 0.0
        for diagram in self.diagrams:
            model = diagram.model(coefficients, amplitudes)[diagram.counted]
            stars = diagram.observed[diagram.counted]
            total += float(np.sum(special.kl_div(stars, model)))
        return total

    def model(self, coefficients: np.ndarray, amplitudes: Mapping[str, float]) -> list[Any]:
        """Return the expected counts in every bin of each diagram, for masses (N_part, N_mh)."""
        return [_wrap(d, d.model(coefficients, amplitudes)) for d in self.diagrams]

    def background_counts(self, amplitudes: Mapping[str, float]) -> list[Any]:
        """Return the expected counts of all backgrounds in every bin of each diagram."""
        counts = [_wrap(d, d.background(amplitudes)) for d in self.diagrams]
        return [c.assign_attrs({OF_FIT: 1}) for c in counts]

    def background_stars(self, amplitudes: Mapping[str, float]) -> dict[str, float]:
        """Return the expected stars of each background in the bins that count."""
        return {
            b.name: amplitudes[b.name] * float(b.template.ravel()[d.counted].sum())
            for d in self.diagrams
            for b in d.backgrounds
        }


def _wrap(diagram: Diagram, counts: np.ndarray) -> Any:
    axes = diagram.templates.axes
    return axes.wrap(counts.reshape(axes.shape), "stars")


def root_curvature(observed: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return the square root of the curvature n/m^2 of -n ln m, less where m is far below n.

    There a Newton step merely doubles m. With the curvature c/m it goes to about n/c at once.
    """
    far = np.minimum(1.0, expected / (_FAR_BELOW * observed))
    return np.sqrt(observed * far) / expected


def fit_data(
    tmpl: Any, hess: Any, background: Any = None, mask: Any = None, divided: bool = False
) -> FitData:
    """Gather what a fit needs from the arguments of `fit_sfh`.

    Parameters
    ----------
    tmpl, hess, background, mask
        As for `fit_sfh`.
    divided : bool
        Whether age bins are divided into their parts.

    Raises
    ------
    ValueError
        For numbers of diagrams or grids that differ, data that do not fit the axes, no stars at
        all, templates that are zero in every bin that counts, and stars in bins where every
        template and the background are zero.
    """
    diagrams = _diagrams(tmpl, hess, background, mask, divided)
    whole, first = diagrams[0].templates, diagrams[0].parts
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
        matrix = d.parts.counts.reshape(totals.size, -1)
        gather_templates(matrix, d.bins, empty, part, totals)
        _check_lit(part, d)
    stars = np.concatenate([d.observed[d.bins] for d in diagrams])
    other = sum(float(d.known[d.counted].sum()) for d in diagrams)
    data = FitData(
        rows=rows,
        observed=stars,
        background=np.concatenate([d.known[d.bins] for d in diagrams]),
        totals=totals.reshape(first.n_age, first.n_mh),
        constant=other + float(np.sum(stars * np.log(stars) - stars)),
        log_age=whole.log_age,
        mh=whole.mh,
        part_bins=whole.part_bins if divided else np.arange(whole.n_age),
        part_shares=whole.part_shares if divided else np.ones(whole.n_age),
        diagrams=diagrams,
        backgrounds=_backgrounds(diagrams, n_row),
    )
    _check_totals(data)
    return data


def _backgrounds(diagrams: tuple[Diagram, ...], n_row: int) -> Backgrounds:
    """Gather the backgrounds with amplitudes; each has stars in the bins of its diagram only."""
    names, rows, totals, priors = [], [], [], []
    n_before = 0
    for d in diagrams:
        n_after = n_before + d.bins.size
        for b in d.backgrounds:
            if b.sigma is None:
                continue
            row = np.zeros(n_row)
            row[n_before:n_after] = b.template.ravel()[d.bins]
            names.append(b.name)
            rows.append(row)
            totals.append(float(b.template.ravel()[d.counted].sum()))
            priors.append((b.amplitude, b.sigma))
        n_before = n_after
    prior = np.array(priors).reshape(-1, 2)
    return Backgrounds(
        tuple(names), np.array(rows).reshape(-1, n_row), np.array(totals), prior[:, 0], prior[:, 1]
    )


def _diagrams(
    tmpl: Any, hess: Any, background: Any, mask: Any, divided: bool
) -> tuple[Diagram, ...]:
    """Check and pair what was given for each diagram."""
    templates = _as_list("tmpl", tmpl, None)
    _check_templates(templates)
    lists = [
        _as_list(name, value, len(templates))
        for name, value in (("hess", hess), ("mask", mask), ("background", background))
    ]
    hess, mask, background = lists
    counted = [check_mask(m, t.axes) for m, t in zip(mask, templates, strict=True)]
    others = [
        background_components(b, t.axes, c)
        for b, t, c in zip(background, templates, counted, strict=True)
    ]
    return tuple(
        Diagram(
            templates=t,
            observed=check_hess(h, t.axes).ravel(),
            counted=c.ravel(),
            backgrounds=tuple(replace(b, name=n) for b, n in zip(o, names, strict=True)),
            divided=divided,
        )
        for t, h, c, o, names in zip(
            templates, hess, counted, others, unique_names(others), strict=True
        )
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
        if first.t_max_gyr != other.t_max_gyr:
            raise ValueError(
                f"tmpl: the oldest bin of set {i} ends at t_max_gyr={other.t_max_gyr}, that of set "
                f"0 at {first.t_max_gyr}; diagrams that are fitted jointly need the same bins."
            )
        mine, its = first.parts.log_age, other.parts.log_age
        if mine.shape != its.shape or not np.allclose(mine, its, rtol=0.0, atol=1e-9):
            raise ValueError(
                f"tmpl: the age bins of set {i} have {its.size} parts, those of set 0 {mine.size}; "
                f"build templates of diagrams that are fitted jointly with the same part_gyr."
            )


def _check_lit(rows: np.ndarray, diagram: Diagram) -> None:
    """Refuse stars where the model can have none."""
    every = diagram.background({b.name: 1.0 for b in diagram.backgrounds})
    dark = (rows.max(axis=0) <= 0.0) & (every[diagram.bins] <= 0.0)
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
        f"{', '.join(named)}{more}. Give background= for stars that are not the galaxy's: one "
        f"number, such as background=0.001, will do, since its amplitude is fitted. Or leave these "
        f"bins out with mask=."
    )


def _check_totals(data: FitData) -> None:
    unlit = data.sum_over_bins(data.totals.max(axis=1)) <= 0.0
    if unlit.all():
        raise ValueError("tmpl: every template is zero in the bins that count.")
    if unlit.any():
        raise ValueError(
            f"tmpl: the templates of log_age {', '.join(f'{a:g}' for a in data.log_age[unlit])} "
            f"are zero in every bin that counts, so that the mass formed then cannot be known; "
            f"leave these ages out."
        )
