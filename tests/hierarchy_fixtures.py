"""Discs of simulated clusters as in examples/hierarchy.py, each with hyperparameters of its own."""

import numpy as np

from example_files import load

EXAMPLE = load("hierarchy")
# Ranges of what is drawn, narrower than wide priors; scatters are drawn from their priors.
_RANGES = {
    "feh_sun": (-0.1, 0.1), "feh_gradient": (-0.08, -0.02), "feh_age": (-0.25, 0.05),
    "binary_mean": (0.25, 0.6), "mass_ratio_slope": (-0.5, 0.5),
}  # fmt: skip
_SCATTERS = {
    "feh_scatter": (0.06, 0.5), "binary_scatter": (0.5, 0.5), "intrinsic_scatter": (0.015, 0.5),
}  # fmt: skip
_HIGHEST_FEH = 0.4


def draw_disc(seed, n_cluster=30, **options):
    """A disc whose hyperparameters are drawn, too, with all clusters well inside the isochrones.

    Their [Fe/H] ends at 0.5: a population that reaches there is not the normal one of the model.
    """
    rng = np.random.default_rng([seed, 11])
    while True:
        hyper = {name: rng.uniform(*ends) for name, ends in _RANGES.items()}
        hyper |= {
            name: median * np.exp(width * rng.normal())
            for name, (median, width) in _SCATTERS.items()
        }
        disc = EXAMPLE.simulate(n_cluster, seed, hyper, **options)
        if disc.truth["feh"].max() < _HIGHEST_FEH:
            return disc
