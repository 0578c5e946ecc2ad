import pytest
import torch

from signalprop import theory


def test_linear_share_by_monte_carlo():
    u = 0.7**0.5 * torch.randn(4_000_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = torch.tanh(u)
    expected = (u * y).mean() ** 2 / (u.square().mean() * y.square().mean())
    assert theory.linear_share("tanh", 0.7) == pytest.approx(expected.item(), abs=2e-4)


def test_linear_share_of_what_is_linear_and_of_relu():
    assert theory.linear_share("linear", 0.3) == pytest.approx(1.0, abs=1e-12)
    assert theory.linear_share("relu", 5.0) == pytest.approx(0.5, abs=1e-12)


def test_linear_share_is_the_slope_of_the_correlation_map_at_zero():
    q = theory.variance_map("tanh", 0.5, 1.3).item()
    mapped = theory.correlation_map("tanh", 1e-5, 0.5, 1.3).item()
    assert mapped == pytest.approx(1e-5 * theory.linear_share("tanh", 0.5).item(), rel=1e-4)
    assert q > 0


def test_squared_gradient_sum_against_a_loop():
    growth = theory.chi1("tanh", 0.2, 1.5).item()
    slope = theory.slope_second_moment("tanh", 0.2).item()
    expected = slope * sum(growth**l for l in range(7))  # noqa: E741
    assert theory.squared_gradient_sum("tanh", 0.2, 1.5, 7).item() == pytest.approx(expected, rel=1e-12)


def test_squared_gradient_sum_broadcasts():
    assert theory.squared_gradient_sum("tanh", torch.tensor([0.1, 0.2]).double(), 1.2, 3).shape == (2,)
