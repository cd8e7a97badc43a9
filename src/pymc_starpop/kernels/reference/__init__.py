"""The slow twins of the kernels, in plain NumPy, which tests compare with."""
