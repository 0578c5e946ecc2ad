import pytest
import torch

from signalprop.theory import decay_as_rate, rescaled_rate, scale_invariant_square

TARGET = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)


def loss(w):
    """Depends on the direction of w alone."""
    return (w / w.norm() - TARGET).square().sum()


def step(w, lr, decay=0.0):
    w = w.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(w), w)
    return (w - lr * (slope + decay * w)).detach(), slope


START = torch.tensor([0.3, 0.7, -1.1, 0.2], dtype=torch.float64)


@pytest.mark.parametrize(("lr", "decay"), [(0.1, 0.0), (50.0, 0.0), (0.3, 0.2)])
def test_squared_length_after_a_step(lr, decay):
    after, slope = step(START, lr, decay)
    predicted = scale_invariant_square(START.square().sum(), slope.square().sum(), lr, decay)
    torch.testing.assert_close(after.square().sum(), predicted, rtol=1e-12, atol=0)


@pytest.mark.parametrize("scale", [0.1, 7.0])
def test_rescaled_weights_go_the_same_way(scale):
    w, scaled = START, scale * START
    for _ in range(10):
        w, _ = step(w, 0.4)
        scaled, _ = step(scaled, rescaled_rate(0.4, scale))
    torch.testing.assert_close(scaled, scale * w, rtol=1e-11, atol=0)


def test_a_large_rate_ends_as_a_small_effective_one():
    """η / ‖w‖² after a step is at most 1 / (2 ‖w‖ ‖∇F‖)."""
    rates = torch.logspace(-4, 4, 200, dtype=torch.float64)
    effective = rates / scale_invariant_square(torch.tensor(1.0), torch.tensor(9.0), rates)
    assert effective.max() <= 1 / 6
    assert effective.max() > 0.99 / 6


def test_decay_goes_the_way_of_a_growing_rate():
    decayed, plain = START, START
    for rate in decay_as_rate(0.3, 0.2, 15):
        decayed, _ = step(decayed, 0.3, 0.2)
        plain, _ = step(plain, rate)
    torch.testing.assert_close(decayed / decayed.norm(), plain / plain.norm(), rtol=1e-11, atol=0)


def test_decay_must_leave_something():
    with pytest.raises(ValueError, match="lr · decay is 1, at least 1"):
        decay_as_rate(2.0, 0.5, 3)
