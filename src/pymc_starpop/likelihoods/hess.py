"""The likelihood of the stars in a Hess diagram, given expected counts or templates."""

import hashlib
import warnings
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import xarray as xr
from pytensor import tensor as pt
from pytensor.graph.basic import Variable
from pytensor.tensor import TensorVariable
from scipy.special import gammaln, rel_entr

from pymc_starpop.hess import TemplateSet
from pymc_starpop.hess.axes import check_hess, check_mask, on_axes
from pymc_starpop.hess.rows import hess_rows
from pymc_starpop.kernels.plr import pack_rows
from pymc_starpop.ops._arguments import number_of, short, values_of
from pymc_starpop.ops._tables import shared_tables
from pymc_starpop.ops.hess_bins import HessInputs, sum_of_bins
from pymc_starpop.sfh.metallicity import is_from_weights

__all__ = ["hess_logp", "plr"]

# At most so many bins are named in a warning.
_N_NAMED = 5
_DIGESTS: WeakKeyDictionary[TemplateSet, str] = WeakKeyDictionary()


def hess_logp(
    tmpl: TemplateSet, r: Any, hess: Any, background: Any = None, mask: Any = None
) -> TensorVariable:
    """Logarithm of the Poisson likelihood ratio of a Hess diagram, differentiable twice.

    ln PLR = sum over bins of [n - m + n ln(m/n)] with m = sum_jk r_jk T_jk + background the
    expected and n the observed counts (Garling et al. 2025, eq. 6). It is 0 where m = n, and
    differs from the Poisson log-likelihood by a constant of the data. Only bins with stars are
    evaluated, which is exact.

    Parameters
    ----------
    tmpl : TemplateSet
        Expected stars per bin and Msun formed, T.
    r : array-like or tensor, shape (N_age, N_mh) or (N_part, N_mh)
        Mass formed at each age and metallicity, Msun, for example from `metallicity_weights`; also
        in the parts of the age bins, see `TemplateSet.split`.
    hess : DataArray or array, shape (N_mag, N_color)
        Stars in each bin, from `bin_cmd`; weighted counts too.
    background : array-like or tensor, shape (N_mag, N_color) or (), optional
        Expected stars of other origin, for example a fitted amplitude times a template. Numbers
        are taken as they stand here, since a function has no amplitudes to fit.
    mask : DataArray or array of bool, shape (N_mag, N_color), optional
        True where a bin counts; all by default.

    Returns
    -------
    TensorVariable, shape ()
        ln PLR, never above 0. It is -inf where a coefficient is negative, NaN or infinite, where
        the background is negative in a bin that counts, and where a bin holds stars and m = 0.

    Raises
    ------
    ValueError
        For an `r`, `background`, `hess` or `mask` of another shape than that of the templates, and
        numbers that are NaN, infinite or negative.

    Warns
    -----
    UserWarning
        Where the model can expect no star in a bin that holds some; the bins are named.

    Examples
    --------
    >>> import numpy as np, pymc_starpop as psp
    >>> axes = psp.HessAxes(("V", "I"), "I", color_edges=[0, 1, 2], mag_edges=[18, 20, 22])
    >>> tmpl = psp.TemplateSet.from_arrays(np.full((1, 1, 2, 2), 0.5), axes, [9.0], [-1.0])
    >>> psp.hess_logp(tmpl, [[4.0]], [[2, 0], [3, 2]]).eval()
    array(-2.21639532)
    """
    check_templates(tmpl)
    tmpl, r = with_coefficients(tmpl, r)
    background = as_background(tmpl, background, mask)
    warn_of_impossible(tmpl, r, hess, background, mask)
    flat = None if background is None else background.ravel()
    data = hess_inputs(tmpl, hess, mask)
    return sum_of_bins(r, flat, data, windowed=is_from_weights(r))


def plr(model_counts: Any, observed_counts: Any) -> Any:
    """Minus the logarithm of the Poisson likelihood ratio of two arrays of counts.

    -ln PLR = sum of [m - n + n ln(n/m)]; Garling et al. (2025, eq. 6). A bin with n = 0 adds m.

    Parameters
    ----------
    model_counts : array-like, DataArray or tensor
        Expected counts m.
    observed_counts : array-like, DataArray or tensor, same shape
        Observed counts n.

    Returns
    -------
    float, or TensorVariable () if one of the two is a PyTensor variable
        Not negative; infinite where n > 0 and m = 0. Symbolic counts that are negative or NaN give
        infinity too.

    Raises
    ------
    ValueError
        For shapes or labels that differ, and numbers that are NaN, infinite or negative.

    Warns
    -----
    UserWarning
        For numbers with n > 0 and m = 0 in some bins, which are named.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> psp.plr([2.0, 2.0, 1.0], [2, 3, 0])
    1.2163953243244932
    """
    observed_counts = _aligned(model_counts, observed_counts)
    m, n = _counts("model_counts", model_counts), _counts("observed_counts", observed_counts)
    symbolic = isinstance(m, Variable) or isinstance(n, Variable)
    shapes = [x.type.shape if isinstance(x, Variable) else x.shape for x in (m, n)]
    if len(shapes[0]) != len(shapes[1]) or any(
        a != b for a, b in zip(*shapes, strict=True) if a is not None and b is not None
    ):
        raise ValueError(
            f"model_counts and observed_counts: expected the same shape, got {shapes[0]} and "
            f"{shapes[1]}."
        )
    if not symbolic:
        impossible = (n > 0) & (m == 0)
        if impossible.any():
            _warn_of_bins(_labels(observed_counts, model_counts, impossible), stacklevel=3)
            return float("inf")
        return float(np.sum(m - n + rel_entr(n, m)))
    m, n = pt.as_tensor(m).astype("float64"), pt.as_tensor(n).astype("float64")
    empty = pt.eq(n, 0.0)
    inside = (m > 0.0) & (n > 0.0)
    logarithm = pt.log(pt.switch(inside, n, 1.0) / pt.switch(inside, m, 1.0))
    terms = pt.switch(empty & (m >= 0.0), m, m - n + n * logarithm)
    valid = inside | (empty & (m >= 0.0))
    return pt.sum(pt.switch(valid, terms, np.inf))


def check_templates(tmpl: Any) -> None:
    """Refuse what is not a `TemplateSet`."""
    if not isinstance(tmpl, TemplateSet):
        raise ValueError(
            f"tmpl must be a TemplateSet, got {type(tmpl).__name__}; make one with "
            f"psp.build_templates or psp.TemplateSet.from_arrays."
        )


def with_coefficients(tmpl: TemplateSet, r: Any) -> tuple[TemplateSet, TensorVariable]:
    """Return the templates that r belongs to, and r as a float64 variable, after checks.

    They are those of the parts of age bins where r has as many rows as there are parts.
    """
    value = values_of(r)
    variable = value if isinstance(value, Variable) else pt.as_tensor(np.asarray(value, float))
    given = variable.type.shape
    expected, tmpl = tmpl.shapes_of_weights(), tmpl.for_weights(given)
    shape = (tmpl.n_age, tmpl.n_mh)
    if len(given) != 2 or any(a != b for a, b in zip(given, shape, strict=True) if a is not None):
        raise ValueError(
            f"r: expected shape {expected} of the templates, the mass in Msun formed at each age "
            f"and metallicity, got {given}; see psp.metallicity_weights and TemplateSet.split."
        )
    _check_not_negative("r", number_of(variable))
    if given == shape and variable.type.dtype == "float64":
        return tmpl, variable
    # The kernel trusts the shape, so that one which is known only later is checked then.
    checked = pt.specify_shape(variable.astype("float64"), shape)
    checked.tag.from_metallicity_weights = is_from_weights(variable)
    return tmpl, checked


def as_background(tmpl: TemplateSet, background: Any, mask: Any) -> TensorVariable | None:
    """Return the background (N_mag, N_color) as a float64 variable after checks, None for none."""
    if background is None:
        return None
    shape = tmpl.axes.shape
    if not isinstance(background, Variable) and np.ndim(background) > 0:
        background = on_axes("background", background, tmpl.axes)
    value = values_of(background)
    if not isinstance(value, Variable) and np.asarray(value).dtype.kind not in "biuf":
        raise ValueError(
            f"background: expected numbers or a tensor, got {value!r}; give amplitude times "
            f"template."
        )
    variable = pt.as_tensor(value).astype("float64")
    given = variable.type.shape
    if given != () and (
        len(given) != 2 or any(a != b for a, b in zip(given, shape, strict=True) if a is not None)
    ):
        raise ValueError(
            f"background: expected shape (N_mag, N_color) = {shape} of the templates, or one "
            f"number for all bins, got {given}."
        )
    number = number_of(value)
    if number is not None:
        _check_not_negative("background", number[check_mask(mask, tmpl.axes)] if given else number)
    if given == ():
        return pt.alloc(variable, *shape)
    return pt.specify_shape(variable, shape)


def warn_of_impossible(
    tmpl: TemplateSet, r: TensorVariable, hess: Any, background: Any, mask: Any
) -> None:
    """Name the bins that hold stars and where the model can expect none."""
    known = number_of(r)
    other = 0.0 if background is None else number_of(background)
    if other is None:
        return
    counted = check_mask(mask, tmpl.axes)
    observed = check_hess(hess, tmpl.axes, counted)
    weights = np.ones((tmpl.n_age, tmpl.n_mh)) if known is None else known
    expected = tmpl.composite(weights).values + other
    impossible = counted & (observed > 0) & (expected == 0)
    if impossible.any():
        _warn_of_bins(_labels(tmpl.axes.wrap(observed), None, impossible), stacklevel=4)


def hess_inputs(tmpl: TemplateSet, hess: Any, mask: Any) -> HessInputs:
    """Templates and stars as shared variables, the same ones for the same content."""
    counted = check_mask(mask, tmpl.axes)
    observed = check_hess(hess, tmpl.axes, counted).ravel()
    n_bin = observed.size

    def arrays() -> list[np.ndarray]:
        rows = hess_rows(tmpl, observed.reshape(tmpl.axes.shape), mask)
        factorial = gammaln(observed + 1.0)
        in_rows = observed[rows.bins]
        # The rows' own n - n ln n is in ln PLR, not in the Poisson log-likelihood.
        constant = -rows.constant - np.sum(factorial[rows.bins])
        return [
            tmpl.counts.reshape(-1, n_bin), observed, counted.ravel(), factorial,
            pack_rows(rows.counts), in_rows, rows.totals.reshape(rows.shape),
            rows.bins.astype(np.int64), np.asarray(constant),
        ]  # fmt: skip

    key = (_digest_of(tmpl), _digest(observed), _digest(counted))
    names = [f"hess_{name}" for name in HessInputs._fields]
    return HessInputs(*shared_tables(key, names, arrays))


def _digest(array: np.ndarray) -> str:
    return hashlib.blake2b(np.ascontiguousarray(array), digest_size=16).hexdigest()


def _digest_of(tmpl: TemplateSet) -> str:
    """Digest of the templates, kept for as long as they live."""
    if tmpl not in _DIGESTS:
        _DIGESTS[tmpl] = _digest(tmpl.counts) + repr(tmpl.counts.shape)
    return _DIGESTS[tmpl]


def _check_not_negative(name: str, number: np.ndarray | None) -> None:
    if number is None or number.size == 0:
        return
    if not np.isfinite(number).all() or (number < 0).any():
        raise ValueError(f"{name}: must be finite and not negative, got {short(number)}.")


def _aligned(model_counts: Any, observed_counts: Any) -> Any:
    """Return labeled counts in the order of the dimensions of the others, with the same labels."""
    if not (isinstance(model_counts, xr.DataArray) and isinstance(observed_counts, xr.DataArray)):
        return observed_counts
    if set(model_counts.dims) != set(observed_counts.dims):
        raise ValueError(
            f"model_counts and observed_counts: expected the same dimensions, got "
            f"{model_counts.dims} and {observed_counts.dims}."
        )
    observed_counts = observed_counts.transpose(*model_counts.dims)
    for dim in model_counts.dims:
        if dim not in model_counts.coords or dim not in observed_counts.coords:
            continue
        mine, its = model_counts[dim].values, observed_counts[dim].values
        if mine.shape == its.shape and not np.allclose(mine, its, rtol=0.0, atol=1e-9):
            raise ValueError(
                f"model_counts and observed_counts: their bins in {dim} differ; bin both with the "
                f"same HessAxes."
            )
    return observed_counts


def _counts(name: str, values: Any) -> Any:
    """Counts as an array, after checks, or as the variable they are."""
    values = values_of(values)
    if isinstance(values, Variable):
        return values
    array = np.asarray(values, dtype=float)
    _check_not_negative(name, array)
    return array


def _labels(first: Any, second: Any, chosen: np.ndarray) -> list[str]:
    """How to call the chosen bins: by their centers if labeled, else by their indices."""
    labeled = next((x for x in (first, second) if hasattr(x, "coords")), None)
    names = []
    for index in zip(*np.nonzero(chosen), strict=True):
        if labeled is None or not set(labeled.dims) <= set(labeled.coords):
            names.append(str(tuple(int(i) for i in index)))
            continue
        parts = [
            f"{dim} {float(labeled[dim].values[i]):.4g}"
            for dim, i in zip(labeled.dims, index, strict=True)
        ]
        names.append(f"({', '.join(parts)})")
    return names


def _warn_of_bins(names: list[str], stacklevel: int) -> None:
    more = "" if len(names) <= _N_NAMED else f" and {len(names) - _N_NAMED} more"
    bins = "1 bin holds" if len(names) == 1 else f"{len(names)} bins hold"
    warnings.warn(
        f"{bins} stars where the model expects none, so that the log-likelihood is -inf: "
        f"{', '.join(names[:_N_NAMED])}{more}. Add a background template (background=), or leave "
        f"such bins out (mask=).",
        UserWarning,
        stacklevel=stacklevel,
    )
