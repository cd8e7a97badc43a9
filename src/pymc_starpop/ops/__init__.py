"""PyTensor Ops over the numba kernels, and thin functions that hide them."""
