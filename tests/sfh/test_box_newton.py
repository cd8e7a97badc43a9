"""Steps within bounds against brute force and SciPy."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import optimize

from pymc_starpop.sfh.box_newton import minimize_in_box, solve_box_quadratic
from tolerances import assert_close


def quadratic(rng, size, condition=1e6):
    """A positive definite matrix whose columns nearly repeat each other, and a gradient."""
    basis = np.linalg.qr(rng.normal(size=(size, size)))[0]
    values = np.geomspace(1.0, 1.0 / condition, size)
    return (basis * values) @ basis.T, rng.normal(size=size)


@pytest.mark.parametrize("size", [1, 2, 8, 40])
def test_solution_fulfills_the_conditions_of_a_minimum(rng, size):
    for _ in range(20):
        hessian, gradient = quadratic(rng, size)
        lowest = np.where(rng.random(size) < 0.3, -np.inf, -rng.random(size))
        lowest[rng.random(size) < 0.3] = 0.0
        step = solve_box_quadratic(hessian, gradient, lowest, rng.random(size) < 0.5)
        slope = gradient + hessian @ step
        assert (step >= lowest).all()
        free = step > lowest
        scale = np.abs(gradient).max()
        np.testing.assert_allclose(slope[free] / scale, 0.0, atol=1e-8)
        assert (slope[~free] >= -1e-8 * scale).all()


def test_solution_is_that_of_nnls(rng):
    matrix, target = rng.random((60, 25)), rng.random(60)
    expected, _ = optimize.nnls(matrix, target)
    found = solve_box_quadratic(
        matrix.T @ matrix, -matrix.T @ target, np.zeros(25), np.zeros(25, dtype=bool)
    )
    np.testing.assert_allclose(found, expected, atol=1e-10)
    assert (expected == 0).any()


@dataclass
class Rosenbrock:
    x: np.ndarray

    @property
    def value(self):
        return np.inf if self.x[1] > 3.0 else float(optimize.rosen(self.x))

    def gradient(self):
        return optimize.rosen_der(self.x)

    def hessian(self):
        residuals = np.array([[20.0 * -self.x[0], 10.0], [-1.0, 0.0]])
        return 2.0 * residuals.T @ residuals


def test_curved_valley_is_followed_to_its_end():
    found = minimize_in_box(Rosenbrock, np.array([-1.2, 1.0]), np.full(2, -np.inf), tolerance=1e-14)
    assert found.converged
    assert_close(found.point, np.ones(2), "quadrature")


def test_bound_holds_the_optimum():
    found = minimize_in_box(Rosenbrock, np.array([2.0, 2.9]), np.array([1.5, -np.inf]))
    assert found.converged
    assert found.point[0] == 1.5
    assert found.point[1] == pytest.approx(2.25, abs=1e-4)


def test_iterations_that_run_out_are_reported():
    found = minimize_in_box(
        Rosenbrock, np.array([-1.2, 1.0]), np.full(2, -np.inf), max_iterations=2
    )
    assert not found.converged
    assert found.n_iterations == 2


@dataclass(frozen=True)
class Barrier:
    """x - 3 ln x, whose minimum is at 3."""

    x: np.ndarray

    @property
    def value(self):
        return float(np.sum(self.x - 3.0 * np.log(self.x))) if (self.x > 0.0).all() else np.inf

    def gradient(self):
        return 1.0 - 3.0 / self.x

    def hessian(self):
        return np.diag(3.0 / self.x**2)


def test_steps_that_leave_the_domain_are_shortened():
    found = minimize_in_box(Barrier, np.array([50.0]), np.array([0.0]))
    assert found.converged
    assert_close(found.point, 3.0, "optimum")


def test_steps_that_are_not_allowed_are_not_taken():
    seen = []

    def allowed(state, trial):
        seen.append((float(state.x[0]), float(trial.x[0])))
        return trial.x[0] > 0.5 * state.x[0]

    found = minimize_in_box(Barrier, np.array([50.0]), np.array([1e-3]), allowed=allowed)
    assert found.converged
    assert_close(found.point, 3.0, "optimum")
    assert any(after <= 0.5 * before for before, after in seen)
    assert found.n_iterations < 20
