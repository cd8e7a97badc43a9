"""The bins of a Hess diagram in a comparison of models."""

import xarray as xr

__all__ = ["drop_constant_bins"]


def drop_constant_bins(idata: xr.DataTree, name: str = "hess") -> xr.DataTree:
    """Leave out bins whose log-likelihood is the same in all draws, which `arviz.loo` refuses.

    Those are bins that are masked, and bins that no template and no background reaches. They tell
    nothing about the parameters and add the same to every model of the data.

    Parameters
    ----------
    idata : xarray.DataTree
        Results with a group ``log_likelihood``, from `pymc.compute_log_likelihood`.
    name : str
        Name of a `HessDiagram`.

    Returns
    -------
    xarray.DataTree
        The same results, but in ``log_likelihood`` the variable has one dimension,
        ``{name}_bin``, in place of magnitude and color.

    Raises
    ------
    ValueError
        Without that group or that variable, and where no bin is left.

    Examples
    --------
    >>> import numpy as np, pymc_starpop as psp, xarray as xr
    >>> each = xr.DataArray(np.ones((1, 3, 2, 2)), dims=("chain", "draw", "mag", "color"))
    >>> each[0, :, 0, 1] = [-1.0, -1.2, -0.9]
    >>> idata = xr.DataTree.from_dict({"log_likelihood": each.to_dataset(name="hess")})
    >>> dict(psp.drop_constant_bins(idata)["log_likelihood"]["hess"].sizes)
    {'chain': 1, 'draw': 3, 'hess_bin': 1}
    """
    known = list(idata["log_likelihood"].data_vars) if "log_likelihood" in idata.children else []
    if name not in known:
        raise ValueError(
            f"idata: no log-likelihood of {name!r}, there are {known}; run "
            f"pymc.compute_log_likelihood(idata) in the model first."
        )
    each = idata["log_likelihood"][name]
    bins = [dim for dim in each.dims if dim not in ("chain", "draw")]
    flat = each.drop_vars(bins, errors="ignore").stack({f"{name}_bin": bins}, create_index=False)
    varying = (flat.max(["chain", "draw"]) > flat.min(["chain", "draw"])).values
    if not varying.any():
        raise ValueError(f"idata: the log-likelihood of {name!r} is the same in all draws.")
    result = idata.copy()
    others = idata["log_likelihood"].to_dataset().drop_vars(name)
    result["log_likelihood"] = xr.DataTree(others.assign({name: flat[..., varying]}))
    return result
