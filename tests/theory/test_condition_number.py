import math

import numpy as np
import pytest
import torch
from scipy import integrate

from signalprop import stream, theory


@pytest.mark.parametrize("kappa", [1.5, 10.0, 1234.0])
def test_quadratic_steps_by_counting(kappa):
    error, steps = 1.0, 0
    while error > 1e-4:
        error, steps = error * (1 - 1 / kappa), steps + 1
    assert steps - 1 < theory.quadratic_steps(kappa, 1e-4) <= steps


@pytest.mark.parametrize(("kappa", "tolerance"), [(1.0, 0.1), (math.nan, 0.1), (10.0, 0.0), (10.0, 1.0)])
def test_quadratic_steps_refuses(kappa, tolerance):
    with pytest.raises(ValueError, match="must"):
        theory.quadratic_steps(kappa, tolerance)


@pytest.mark.parametrize("depth", [2, 3, 7])
@pytest.mark.parametrize("w", [-0.9, 0.5, 1.0, 1.3])
def test_balanced_eigenvalues_are_those_of_the_hessian(w, depth):
    weights = torch.full((depth,), w, dtype=torch.float64)
    hessian = torch.autograd.functional.hessian(lambda v: (v.prod() - 1) ** 2 / 2, weights)
    single, repeated = theory.balanced_chain_eigenvalues(w, depth)
    expected = sorted([single] + [repeated] * (depth - 1))
    assert torch.linalg.eigvalsh(hessian).tolist() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_balanced_eigenvalues_need_two_layers():
    with pytest.raises(ValueError, match="at least 2"):
        theory.balanced_chain_eigenvalues(1.0, 1)


def test_gaussian_condition_number_approaches_its_limit():
    """The exact law of 2×2 matrices is .66 below the limit; 24×24 ones are within a tenth of it."""
    exact, _ = integrate.quad(lambda x: math.log(x) * 2 * (x * x - 1) / (x * x + 1) ** 2, 1, math.inf)
    assert 0.6 < theory.gaussian_log_condition(2) - exact < 0.7
    matrices = torch.randn(4000, 24, 24, generator=stream("tests", "condition")).numpy()
    logs = np.log(np.linalg.cond(matrices))
    assert abs(logs.mean() - theory.gaussian_log_condition(24)) < 0.1 + 5 * logs.std() / 4000**0.5


def test_gaussian_condition_number_needs_a_matrix():
    with pytest.raises(ValueError, match="at least 2"):
        theory.gaussian_log_condition(1)


def test_descent_on_a_quadratic_loss_turns_at_the_edge():
    edge, w = theory.quadratic_edge(5.0), 1.0
    for factor, falls in ((0.999, True), (1.001, False)):
        assert (abs(w - factor * edge * 5.0 * w) < abs(w)) == falls


@pytest.mark.parametrize("curvature", [0.0, -1.0])
def test_a_loss_that_is_not_convex_has_no_edge(curvature):
    with pytest.raises(ValueError, match="curvature must be positive"):
        theory.quadratic_edge(curvature)
