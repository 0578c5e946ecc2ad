import math

import pytest
import torch
from scipy import stats

from signalprop import stream
from signalprop.theory import power_iteration_norm


@pytest.mark.parametrize("t", [1, 2, 7])
def test_it_is_a_ratio_of_catalan_numbers(t):
    catalan = [math.comb(2 * k, k) // (k + 1) for k in range(2 * t + 1)]
    assert power_iteration_norm(t) == pytest.approx((catalan[2 * t] / catalan[2 * t - 1]) ** 0.5)


def test_the_error_falls_as_one_over_t():
    assert (2 - power_iteration_norm(1000)) * 1000 == pytest.approx(0.75, rel=1e-3)


@pytest.mark.parametrize("t", [1, 4])
def test_iterations_on_matrices_of_two_sizes_extrapolated(t):
    sizes = []
    for n in (100, 200):
        generator = stream("tests", f"power iteration {t}", n)
        w = torch.randn(300, n, n, generator=generator, dtype=torch.float64) / n**0.5
        v = torch.randn(300, n, 1, generator=generator, dtype=torch.float64)
        for _ in range(t):
            u = torch.nn.functional.normalize(w @ v, dim=1)
            v = torch.nn.functional.normalize(w.mT @ u, dim=1)
        sizes.append((u * (w @ v)).sum((1, 2)))
    limit = 2 * sizes[1] - sizes[0]
    gate = stats.t.isf(1e-6, 299) * limit.std() / 300**0.5
    assert abs(limit.mean() - power_iteration_norm(t)) < gate


def test_no_iteration_is_refused():
    with pytest.raises(ValueError, match="at least one iteration, got 0"):
        power_iteration_norm(0)
