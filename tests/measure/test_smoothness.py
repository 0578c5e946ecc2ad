import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from signalprop import stream
from signalprop.measure import smoothness_along_gradient


def random(*shape):
    return torch.randn(shape, dtype=torch.float64, generator=stream("tests", "smoothness"))


class Quadratic(nn.Module):
    """F = ½ wᵀAw, with the weights in two parameters of different shape, and one that is frozen."""

    def __init__(self, a):
        super().__init__()
        w = random(len(a))
        self.matrix = nn.Parameter(w[:6].reshape(2, 3).clone())
        self.vector = nn.Parameter(w[6:].clone())
        self.frozen = nn.Parameter(torch.ones(2, dtype=torch.float64), requires_grad=False)
        self.register_buffer("a", a)

    def w(self):
        return torch.cat([self.matrix.flatten(), self.vector])

    def forward(self):
        return self.w() @ self.a @ self.w() / 2


@pytest.mark.parametrize("scale", [1.0, 1e-200])
def test_a_quadratic_loss_in_closed_form(scale):
    """∇F = Aw, F(w − ηAw) = ½ w(1−ηA)A(1−ηA)w, ‖Δ∇F‖ = η‖A²w‖, β = ‖A²w‖/‖Aw‖; A is not definite."""
    half = random(10, 10)
    a = (half + half.T) * scale
    net = Quadratic(a)
    w, steps = net.w().detach(), [0.3 / scale, 0.01 / scale, 2.0 / scale]
    found = smoothness_along_gradient(net, lambda net: net(), steps)
    g = a @ w / scale
    assert found.loss == pytest.approx((w @ g / 2 * scale).item(), rel=1e-12)
    assert found.gradient_norm == pytest.approx(math.sqrt(g @ g) * scale, rel=1e-12)
    ends = [w - step * scale * g for step in steps]
    assert found.losses.tolist() == pytest.approx([(v @ a @ v / 2).item() for v in ends], rel=1e-11)
    change = (a / scale @ g).norm().item()
    assert found.gradient_changes.tolist() == pytest.approx([s * scale * change * scale for s in steps], rel=1e-11)
    assert found.effective_beta == pytest.approx(change / math.sqrt(g @ g) * scale, rel=1e-10)


def test_beta_is_the_largest_ratio():
    """F = w⁴/4 at w = 1: Δg/Δw = 1 + v + v² at v = 1 − η."""
    net = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.ones_(net.weight)
    found = smoothness_along_gradient(net, lambda net: net.weight.pow(4).sum() / 4, [0.1, 0.5, 1.9])
    assert found.effective_beta == pytest.approx(1 + 0.9 + 0.81)
    assert found.losses.tolist() == pytest.approx([v**4 / 4 for v in (0.9, 0.5, -0.9)])


@pytest.fixture
def batch_net():
    net = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.ReLU(), nn.Linear(5, 2)).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(random(*parameter.shape))
    return net


def snapshot(net):
    return [*(tensor.clone() for tensor in net.state_dict().values()), torch.get_rng_state()]


@pytest.mark.parametrize("fails", [False, True])
def test_the_module_is_left_as_it_was(batch_net, fails):
    x, y, calls = random(7, 3), torch.arange(7) % 2, []

    def loss_fn(net):
        calls.append(net(x))
        if fails and len(calls) == 3:
            raise ZeroDivisionError
        return functional.cross_entropy(calls[-1], y)

    before, tensors = snapshot(batch_net), [*batch_net.parameters(), *batch_net.buffers()]
    if fails:
        with pytest.raises(ZeroDivisionError):
            smoothness_along_gradient(batch_net, loss_fn, [0.1, 0.2])
    else:
        smoothness_along_gradient(batch_net, loss_fn, [0.1, 0.2])
    assert len(calls) == 3
    assert all(torch.equal(a, b) for a, b in zip(before, snapshot(batch_net), strict=True))
    assert all(a is b for a, b in zip(tensors, [*batch_net.parameters(), *batch_net.buffers()], strict=True))
    assert all(parameter.grad is None for parameter in batch_net.parameters())


def test_dropout_draws_alike_at_every_step(batch_net):
    x = random(7, 3)
    found = smoothness_along_gradient(batch_net, lambda net: net(x).square().mean(), [1e-9])
    assert found.losses.item() == pytest.approx(found.loss, rel=1e-3)


def test_a_loss_that_overflows_is_no_error():
    net = nn.Linear(1, 1, bias=False)
    nn.init.ones_(net.weight)
    found = smoothness_along_gradient(net, lambda net: net.weight.pow(4).sum(), [0.1, 1e30])
    assert found.losses[1] == torch.inf
    assert net.weight.item() == 1


@pytest.mark.parametrize("steps", [[], [0.1, 0.0], [-1.0], [math.inf], [math.nan]])
def test_step_sizes_that_cannot_be_used(batch_net, steps):
    with pytest.raises(ValueError, match="steps must be"):
        smoothness_along_gradient(batch_net, lambda net: net[0].weight.sum(), steps)


@pytest.mark.parametrize(
    ("loss_fn", "message"),
    [
        (lambda net: net[0].weight, r"returned shape \[5, 3\]"),
        (lambda net: 3.0, "returned a float"),
        (lambda net: net[0].weight.detach().sum(), "does not depend"),
        (lambda net: net[0].weight.sum() * 0, "gradient at the present weights is zero"),
        (lambda net: net[0].weight.sum() * torch.nan, "loss at the present weights is nan"),
    ],
)
def test_losses_that_cannot_be_used(batch_net, loss_fn, message):
    with pytest.raises(ValueError, match=message):
        smoothness_along_gradient(batch_net, loss_fn, [0.1])


def test_modules_and_steps_that_cannot_be_used(batch_net):
    with pytest.raises(ValueError, match="no parameter that requires a gradient"):
        smoothness_along_gradient(nn.ReLU(), lambda net: torch.ones(()), [0.1])
    with pytest.raises(ValueError, match="lost in rounding"):
        smoothness_along_gradient(batch_net, lambda net: net[0].weight.sum(), [1e-30])
    with torch.no_grad():
        batch_net[4].weight[1, 2] = torch.nan
    with pytest.raises(ValueError, match=r"4\.weight of Sequential holds NaN"):
        smoothness_along_gradient(batch_net, lambda net: net[4].weight.sum(), [0.1])
