"""Numba kernels (arrays in, arrays out) and their slow NumPy twins (``reference_*``)."""
