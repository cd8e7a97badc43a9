"""The functions of `pymc_starpop._namespace` for PyTensor tensors."""

from pytensor import tensor as pt

from pymc_starpop._namespace import Namespace

__all__ = ["TENSOR"]

TENSOR = Namespace(
    exp=pt.exp,
    log=pt.log,
    expm1=pt.expm1,
    log1p=pt.log1p,
    sqrt=pt.sqrt,
    erf=pt.erf,
    where=pt.switch,
    minimum=pt.minimum,
    maximum=pt.maximum,
    abs=pt.abs,
    clip=pt.clip,
    stack=pt.stack,
    concatenate=pt.concatenate,
    sum=pt.sum,
    cumsum=pt.cumsum,
    softmax=pt.special.softmax,
)
