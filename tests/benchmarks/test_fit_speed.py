"""Time of the fast fits of star formation histories, next to SciPy on dense products.

Run with ``pytest -m benchmark -s``. Only the objectives are asserted: a clock must not fail a test.
"""

import time

import numpy as np
import pytest
from scipy import optimize

import pymc_starpop as psp

pytestmark = pytest.mark.benchmark

T_MAX, SIGMA = 13.7, 0.1
BANDS = ("Bessell_V", "Bessell_I")
# The paper's errors and completeness, moved to the limits of these bands.
NOISE = {
    "Bessell_V": psp.ExponentialError(1.03, 15, 36, 0.02, 0.4),
    "Bessell_I": psp.ExponentialError(1.03, 15, 35, 0.02, 0.4),
}
COMPLETENESS = {
    "Bessell_V": psp.LogisticCompleteness(1.0, 28.5, 0.7),
    "Bessell_I": psp.LogisticCompleteness(1.0, 27.5, 0.7),
}
N_REPEAT = 5


def build(iso, shape, log_age, mh):
    color, mag = (np.linspace(-0.8, 2.8, shape[1] + 1), np.linspace(18.5, 28.5, shape[0] + 1))
    axes = psp.HessAxes(BANDS, "Bessell_I", color, mag)
    return psp.build_templates(
        iso, axes, log_age=log_age, mh=mh, distance_modulus=25.0, noise=NOISE,
        completeness=COMPLETENESS, progress=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def tmpl(iso):
    """71 ages x 29 metallicities on 15,000 bins."""
    return build(iso, (200, 75), np.arange(6.6, 10.101, 0.05), np.linspace(-2.5, 0.3, 29))


def simulate(tmpl, total=1e7):
    widths = np.diff(tmpl.age_edges(T_MAX))
    mean = 0.1 * (T_MAX - tmpl.age_gyr) - 1.87
    share = np.exp(-0.5 * ((tmpl.mh - mean[:, None]) / SIGMA) ** 2)
    mass = total * widths / widths.sum()
    weights = mass[:, None] * share / share.sum(axis=1, keepdims=True)
    return mass, np.random.default_rng(1).poisson(tmpl.composite(weights).values)


def shortest(function, n=N_REPEAT):
    """Shortest of several runs, s, and the last result."""
    times = []
    for _ in range(n):
        start = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - start)
    return min(times), result


def dense_objective(tmpl, observed, unit):
    """-ln PLR with its gradient in (ln R / unit, alpha, beta, ln sigma): two matrix products."""
    matrix, n = tmpl.counts.reshape(tmpl.n_age * tmpl.n_mh, -1), observed.ravel()
    filled, time_gyr = n > 0, T_MAX - tmpl.age_gyr

    def evaluate(u):
        mass, (alpha, beta, log_sigma) = unit * np.exp(u[: tmpl.n_age]), u[tmpl.n_age :]
        sigma = np.exp(log_sigma)
        z = (tmpl.mh - (beta + alpha * time_gyr)[:, None]) / sigma
        w = np.exp(-0.5 * (z**2 - np.min(z**2, axis=1, keepdims=True)))
        w /= w.sum(axis=1, keepdims=True)
        m = (mass[:, None] * w).ravel() @ matrix
        ratio = np.divide(n, m, out=np.zeros_like(m), where=filled)
        value = m.sum() - n.sum() + np.sum(n[filled] * np.log(ratio[filled]))
        slope = (matrix @ (1.0 - ratio)).reshape(w.shape) * mass[:, None]
        pull = np.sum(slope * w * (z - np.sum(w * z, axis=1, keepdims=True)), axis=1) / sigma
        of_sigma = np.sum(slope * w * (z**2 - np.sum(w * z**2, axis=1, keepdims=True)))
        return value, np.concatenate(
            [np.sum(slope * w, axis=1), [pull @ time_gyr, pull.sum(), of_sigma]]
        )

    return evaluate


def test_hierarchical_fit(tmpl):
    _, observed = simulate(tmpl)
    psp.fit_sfh(tmpl, observed)
    seconds, fit = shortest(lambda: psp.fit_sfh(tmpl, observed))
    widths = np.diff(tmpl.age_edges(T_MAX))
    unit = fit.mass_formed.sum() * widths / widths.sum()
    evaluate = dense_objective(tmpl, observed, unit)
    start = np.concatenate([np.zeros(tmpl.n_age), [0.1, -1.5, np.log(0.2)]])
    each, _ = shortest(lambda: evaluate(start), 3)
    began = time.perf_counter()
    peer = optimize.minimize(
        evaluate, start, jac=True, method="L-BFGS-B",
        options={"maxiter": 3000, "maxfun": 10_000, "ftol": 1e-11, "gtol": 1e-3},
    )  # fmt: skip
    dense = time.perf_counter() - began
    print(
        f"\n{observed.sum()} stars in {np.count_nonzero(observed)} of {observed.size} bins, "
        f"{tmpl.n_age} x {tmpl.n_mh} templates\n"
        f"fit_sfh:  {seconds:8.3f} s, -ln PLR {fit.nll:.4f}, {fit.n_iterations} steps\n"
        f"L-BFGS-B: {dense:8.3f} s, -ln PLR {peer.fun:.4f}, {peer.nfev} evaluations of "
        f"{1e3 * each:.0f} ms\nratio:    {dense / seconds:8.0f}"
    )
    assert fit.nll <= peer.fun + 1e-3
    began = time.perf_counter()
    mode = fit.map
    print(f"mode and covariance in ln R: {time.perf_counter() - began:.3f} s more")
    assert mode.converged


def test_free_coefficients(iso):
    tmpl = build(iso, (100, 100), np.linspace(8.0, 10.1, 20), np.linspace(-2.3, 0.4, 10))
    print()
    for total in (1e5, 1e6, 1e7, 1e8):
        _, observed = simulate(tmpl, total)
        psp.fit_sfh(tmpl, observed, metallicity="free")
        seconds, fit = shortest(lambda n=observed: psp.fit_sfh(tmpl, n, metallicity="free"))
        print(
            f"free coefficients of {tmpl.n_age * tmpl.n_mh} templates on 100 x 100 bins, "
            f"{observed.sum()} stars in {np.count_nonzero(observed)} bins: {1e3 * seconds:.1f} ms, "
            f"{np.count_nonzero(fit.weights)} not 0, {fit.n_iterations} steps"
        )
        assert fit.converged
