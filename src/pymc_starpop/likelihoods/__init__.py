"""Symbolic log-likelihoods: parameters in, PyTensor expressions out."""
