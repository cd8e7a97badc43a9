"""The log-likelihood of one cluster as a graph whose stars, cuts and parameters are inputs.

So the compiled code depends on the kind of the cluster alone: another catalog, with other stars,
runs what is compiled already.
"""

from typing import Any

import numpy as np
from pytensor import tensor as pt
from pytensor.graph.basic import Constant, Variable
from pytensor.tensor import TensorVariable

from pymc_starpop.cluster.parameters import ClusterOptions, ClusterParameters, is_zero
from pymc_starpop.isochrones import IsochroneGrid
from pymc_starpop.likelihoods.kinds import STARS, LimitsKind, kind_of, limit_numbers
from pymc_starpop.likelihoods.slots import Slot
from pymc_starpop.likelihoods.stars import STAR_ARRAYS, StarTerms
from pymc_starpop.ops._tables import shared_input
from pymc_starpop.ops.each_cluster import each_cluster

__all__ = ["single_logp"]


def single_logp(
    grid: IsochroneGrid, p: ClusterParameters, options: ClusterOptions, terms: StarTerms,
    membership: bool = False,
) -> TensorVariable:  # fmt: skip
    """Log-likelihood of each star (N,), or its probability of membership.

    It is that of `pymc_starpop.likelihoods.cluster.cluster_parts`, whose arguments these are;
    numbers become inputs.
    """
    values: dict[str, Any] = {}
    axes = p.axes()

    def take(name: str, value: Any) -> Any:
        is_symbolic = isinstance(value, Variable) and not isinstance(value, Constant)
        number = value.data if isinstance(value, Constant) else value
        ndim = value.ndim if is_symbolic else np.ndim(number)
        if not ndim and not is_symbolic:
            return np.float64(number)
        if not is_symbolic and not np.any(number):
            return np.float64(0.0)
        values[name] = value if is_symbolic else shared_input(name, number)
        axis = "star" if ndim and axes.get(name) == ("star",) else "none"
        return Slot(name, ndim, axis, is_symbolic)

    template = p.map_values(take)
    stars = {name: getattr(terms, name) for name in STAR_ARRAYS if getattr(terms, name) is not None}
    kind = kind_of(
        grid, template, options, take,
        not is_zero(p.field_fraction) or terms.membership_prior is not None, stars,
        layout=terms.layout, limits=LimitsKind.of(terms.limits), is_flux=terms.is_flux,
    )  # fmt: skip
    given = {f"{STARS}{name}": shared_input(name, array) for name, array in stars.items()}
    given |= {
        name: shared_input(name, n[None], n_any=2)
        for name, n in limit_numbers(terms.limits).items()
    }
    given |= values
    n_star = given[f"{STARS}variance"].shape[0]
    inputs = [given[name] for name in kind.input_names]
    return each_cluster(kind.graph, pt.stack([np.int64(0), n_star]), inputs, membership)
