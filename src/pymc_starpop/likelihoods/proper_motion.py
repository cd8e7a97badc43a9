"""The log density of the proper motions of members."""

from typing import Any

import numpy as np
from pytensor import tensor as pt
from pytensor.graph.basic import Variable
from pytensor.tensor import TensorVariable

from pymc_starpop.cluster.checks import number_of
from pymc_starpop.field.given import without_constant
from pymc_starpop.field.motions import motions_of
from pymc_starpop.kernels.proper_motion import motion_logp
from pymc_starpop.likelihoods.axes import resolved
from pymc_starpop.likelihoods.labels import dims_of
from pymc_starpop.ops._tables import shared_input
from pymc_starpop.ops.namespace import TENSOR
from pymc_starpop.stars.catalog import StarCatalog
from pymc_starpop.stars.stacked import StackedCatalog

__all__ = ["proper_motion_logp"]


def proper_motion_logp(
    catalog: StarCatalog | StackedCatalog, pmra: Any, pmdec: Any, dispersion: Any = 0.0
) -> TensorVariable:
    r"""Log density of the proper motion of each star as a member, for ``member_logp``.

    .. math:: \ln N\!\left( (\mu_{\alpha*}, \mu_\delta)_i \,\middle|\,
       (\bar\mu_{\alpha*}, \bar\mu_\delta),\; C_i + \sigma^2 I \right)

    with the covariance C_i of the star's errors. It goes with the density of field stars of
    `ProperMotionField.logp`, in ``field_logp``; both are per (mas/yr)^2.

    Parameters
    ----------
    catalog : StarCatalog or StackedCatalog
        N stars with proper motions.
    pmra, pmdec : number, vector or PyTensor expression
        Mean motion of the members, mas/yr, ``pmra`` with the cosine of the declination: one for
        all stars, one for each cluster of a stack, or one for each star, for clusters so near that
        it changes over the sky.
    dispersion : number, vector or PyTensor expression
        Intrinsic standard deviation of each component, mas/yr, not negative, likewise.

    Returns
    -------
    TensorVariable (N,)
        0 for stars without a proper motion, -inf for a negative dispersion.

    Raises
    ------
    ValueError
        For a catalog without proper motions, a negative dispersion or a mean that is not finite
        among numbers, and for vectors whose length fits nothing.

    Examples
    --------
    >>> import pymc_starpop as psp
    >>> cat = psp.StarCatalog(
    ...     [[12.1], [15.0]], [[0.01], [0.01]], ["TESS"], pmra=[-0.8, float("nan")],
    ...     pmra_err=[0.1, 0.1], pmdec=[-26.5, float("nan")], pmdec_err=[0.1, 0.1],
    ... )
    >>> psp.proper_motion_logp(cat, -0.9, -26.6, dispersion=0.2).eval().round(2).tolist()
    [0.96, 0.0]
    """
    motions = motions_of(catalog)
    data = [shared_input(f"pm_{i}", array) for i, array in enumerate(motions.arrays())]
    x, y, ex, ey, corr, measured = (pt.specify_shape(array, catalog.n_star) for array in data)
    mean_x, mean_y = (_by_star(n, v, catalog) for n, v in (("pmra", pmra), ("pmdec", pmdec)))
    sigma = _by_star("dispersion", dispersion, catalog)
    variance = sigma**2
    logp = motion_logp(
        (x - mean_x, y - mean_y), (ex, ey), corr, (variance, 0.0, variance), xp=TENSOR
    )
    logp = pt.switch(pt.ge(sigma, 0.0), logp, -np.inf)
    return pt.switch(pt.gt(measured, 0.0), logp, 0.0)


def _by_star(name: str, value: Any, catalog: StarCatalog | StackedCatalog) -> Any:
    """Return a value that broadcasts over the stars, after a look at it."""
    if isinstance(catalog, StackedCatalog):
        found = resolved(name, value, catalog, ("star",))
        value = found.value
        if found.axes == ("cluster",):
            value = pt.as_tensor(value)[catalog.cluster_of_star]
    else:
        value, _ = dims_of(name, value, catalog)
    value = without_constant(value)
    if not isinstance(value, Variable):
        value = number_of(name, value)
        _check_numbers(name, value)
    length = value.type.shape if isinstance(value, Variable) else np.shape(value)
    if len(length) > 1 or (length and length[0] not in (None, catalog.n_star)):
        raise ValueError(
            f"{name} has the shape {tuple(length)} for {catalog.n_star} stars; give one number "
            "(mas/yr), or one for each star"
        )
    return value


def _check_numbers(name: str, value: np.ndarray) -> None:
    is_dispersion = name == "dispersion"
    bad = ~np.isfinite(value) | (is_dispersion & (value < 0.0))
    if bad.any():
        wanted = "finite and not negative" if is_dispersion else "finite"
        raise ValueError(f"{name} must be {wanted} (mas/yr), got {value[bad][0]}; give a number")
