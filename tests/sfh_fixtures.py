"""Toy templates that move with age and metallicity as isochrones do, and galaxies made of them."""

from functools import cache

import numpy as np

import pymc_starpop as psp
from tolerances import assert_gradient_close

T_MAX = 13.7


@cache
def toy_templates(n_age=10, n_mh=16, shape=(40, 30), color_shift=0.0):
    """Templates of a main sequence with its turn-off, a giant branch and a clump."""
    axes = psp.HessAxes(
        ("V", "I"), "V", np.linspace(-0.5, 2.5, shape[1] + 1), np.linspace(19.0, 28.0, shape[0] + 1)
    )
    log_age = np.linspace(8.6, 10.1, n_age)
    mh = np.linspace(-2.5, 0.5, n_mh)
    centers = axes.coords()
    mag, color = centers["mag"][:, None], centers["color"][None, :]
    counts = np.empty((n_age, n_mh, *shape))
    for j, age in enumerate(log_age):
        for k, z in enumerate(mh):
            turn_off = 23.0 + 2.4 * (age - 8.6) + 0.35 * z
            tip = 0.1 + 0.25 * (age - 8.6) + 0.15 * z + color_shift
            sequence = np.where(mag > turn_off, tip + 0.12 * (mag - turn_off), 9.0)
            dwarfs = np.exp(0.45 * (mag - 28.0)) * _ridge(color, sequence, 0.09)
            branch = 0.75 + 0.1 * (age - 9.0) + 0.3 * z + 0.012 * (25.0 - mag) ** 2 + color_shift
            giants = 0.03 * np.exp(0.3 * (mag - turn_off)) * (mag < turn_off)
            giants = giants * _ridge(color, branch, 0.08)
            clump = 0.04 * np.exp(-0.5 * ((mag - 24.4 - 0.3 * z) / 0.2) ** 2)
            clump = clump * _ridge(color, 0.65 + 0.25 * z + 0.05 * age - 0.5 + color_shift, 0.08)
            counts[j, k] = 10.0 ** (-0.5 * (age - 8.6)) * (dwarfs + giants + clump)
    # A floor, as blends leave it: no bin is impossible.
    counts += 1e-9 * counts.max()
    counts *= 0.03 / counts.sum(axis=(2, 3)).max()
    return psp.TemplateSet.from_arrays(counts, axes, log_age, mh)


def _ridge(color, center, width):
    return np.exp(-0.5 * ((color - center) / width) ** 2)


def assert_derivatives_close(problem, x, scale):
    """Raise where gradient or exact Hessian are not central differences, of steps 1e-5 scale."""
    state = problem.evaluate(x)
    hessian = state.exact_hessian()
    for i in range(x.size):
        step = np.zeros_like(x)
        step[i] = 1e-5 * scale[i]
        ahead, behind = problem.evaluate(x + step), problem.evaluate(x - step)
        slope = (ahead.value - behind.value) / 2e-5
        assert_gradient_close(state.gradient()[i] * scale[i], slope)
        row = (ahead.gradient() - behind.gradient()) * scale / 2e-5
        exact = hessian[i] * scale[i] * scale
        # Relative to the largest element: the others are differences of large numbers.
        np.testing.assert_allclose(exact / np.abs(row).max(), row / np.abs(row).max(), atol=1e-5)


def constant_rate(tmpl, total=1e7):
    """Masses (N_age,) of a constant star formation rate, Msun."""
    widths = np.diff(tmpl.age_edges(T_MAX))
    return total * widths / widths.sum()


def galaxy(tmpl, model, values, sigma=0.25, total=1e7, seed=1):
    """Return masses, coefficients and Poisson counts of a galaxy with a metallicity model."""
    mass = constant_rate(tmpl, total)
    epochs = psp.Epochs(tmpl.age_gyr, T_MAX, mass)
    mean = model.evaluate(np.asarray(values, dtype=float), epochs)[0]
    share = np.exp(-0.5 * ((tmpl.mh - mean[:, None]) / sigma) ** 2)
    weights = mass[:, None] * share / share.sum(axis=1, keepdims=True)
    expected = tmpl.composite(weights)
    stars = expected.copy(data=np.random.default_rng(seed).poisson(expected.values))
    return mass, weights, stars
