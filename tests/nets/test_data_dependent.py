import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from signalprop import stream
from signalprop.nets import initialize_

SETTINGS = {"tolerance": 1e-6, "max_iterations": 3}


def outputs(net, x):
    """What every weight layer returns, by name, in the order they run."""
    found = {}
    hooks = [
        part.register_forward_hook(lambda _, __, y, name=name: found.__setitem__(name, y.detach()))
        for name, part in net.named_modules()
        if isinstance(part, nn.Linear | nn.Conv1d | nn.Conv2d)
    ]
    net(x)
    for hook in hooks:
        hook.remove()
    return found


def batch(*shape):
    return torch.randn(*shape, generator=stream("tests", "lsuv.x"), dtype=torch.float64) * 3 + 1


class Exponential(nn.Module):
    def forward(self, z):
        return z.clamp(max=3).exp()


@pytest.mark.parametrize("act", [nn.Tanh(), nn.ReLU(), nn.GELU(), Exponential()], ids=str)
def test_every_layer_has_unit_variance_whatever_the_activation(act):
    net = nn.Sequential(
        nn.Linear(9, 20), act, nn.Linear(20, 12), act, nn.Linear(12, 12), act, nn.Linear(12, 4)
    ).double()
    x = batch(30, 9)
    initialize_(net, "lsuv", generator=stream("tests", "lsuv"), x=x, **SETTINGS)
    found = outputs(net, x)
    assert len(found) == 4
    for y in found.values():
        assert y.var(correction=0).item() == pytest.approx(1, abs=1e-12)


def test_weights_are_orthogonal_up_to_a_factor():
    net = nn.Sequential(nn.Linear(9, 20), nn.Tanh(), nn.Linear(20, 4)).double()
    initialize_(net, "lsuv", generator=stream("tests", "lsuv"), x=batch(30, 9), **SETTINGS)
    for layer in (net[0], net[2]):
        singular_values = torch.linalg.svdvals(layer.weight)
        assert (singular_values / singular_values[0] - 1).abs().max() < 1e-12


def test_the_gain_is_the_standard_deviation():
    net = nn.Sequential(nn.Conv2d(2, 5, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 4 * 3, 4)).double()
    x = batch(8, 2, 6, 5)
    initialize_(net, "lsuv", generator=stream("tests", "lsuv"), gain=1.5, x=x, **SETTINGS)
    for y in outputs(net, x).values():
        assert y.std(correction=0).item() == pytest.approx(1.5, abs=1e-12)


class Backwards(nn.Module):
    """Its layers run in the opposite order of their definition."""

    def __init__(self):
        super().__init__()
        self.last, self.first = nn.Linear(6, 3), nn.Linear(4, 6)

    def forward(self, x):
        return self.last(torch.tanh(self.first(x)))


def test_layers_are_scaled_in_the_order_they_run():
    net, x = Backwards().double(), batch(20, 4)
    initialize_(net, "lsuv", generator=stream("tests", "lsuv"), x=x, **SETTINGS)
    for y in outputs(net, x).values():
        assert y.var(correction=0).item() == pytest.approx(1, abs=1e-12)


def test_another_batch_has_unit_variance_too():
    """On a second batch it is 1 up to sampling."""
    net = nn.Sequential(nn.Linear(50, 200), nn.Tanh(), nn.Linear(200, 200), nn.Tanh(), nn.Linear(200, 100)).double()
    first, second = torch.randn(2, 400, 50, generator=stream("tests", "second"), dtype=torch.float64)
    initialize_(net, "lsuv", generator=stream("tests", "lsuv"), x=first, **SETTINGS)
    for y in outputs(net, second).values():
        squares = y.square().mean(1)
        error = 2**0.5 * squares.std() / 400**0.5  # both batches vary
        assert abs(squares.mean() - 1) < 5 * error + (y.mean() ** 2)


def test_hooks_are_gone_and_no_gradient_is_recorded():
    net, x = Backwards().double(), batch(20, 4)
    initialize_(net, "lsuv", generator=stream("tests", "lsuv"), x=x, **SETTINGS)
    with pytest.raises(ValueError, match="all 20 examples"):
        initialize_(net, "lsuv", generator=stream("tests", "lsuv"), x=torch.ones_like(x), **SETTINGS)
    with pytest.raises(ValueError, match="is constant"):
        initialize_(Dead().double(), "lsuv", generator=stream("tests", "lsuv"), x=x, **SETTINGS)
    assert not net.first._forward_hooks
    assert not net.last._forward_hooks
    assert all(parameter.is_leaf and parameter.grad is None for parameter in net.parameters())


class Dead(Backwards):
    def forward(self, x):
        return self.last(torch.relu(-self.first(x).square()))


class Twice(Backwards):
    def forward(self, x):
        return super().forward(x) + super().forward(2 * x)


class Unused(Backwards):
    def forward(self, x):
        return self.first(x)


class Overflowing(Backwards):
    def forward(self, x):
        return self.last(1 / (0 * self.first(x)))


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (Dead(), "the output of last is constant"),
        (Twice(), "first runs more than once"),
        (Unused(), "last did not run"),
        (Overflowing(), "output of last has entries that are NaN"),
    ],
)
def test_it_says_which_layer_cannot_be_scaled(net, message):
    with pytest.raises(ValueError, match=message):
        initialize_(net.double(), "lsuv", generator=stream("tests", "lsuv"), x=batch(20, 4), **SETTINGS)
    assert not net.first._forward_hooks
    assert not net.last._forward_hooks


def test_weights_that_do_not_scale_do_not_converge():
    """Spectral normalization takes every factor out again."""
    net = Backwards().double()
    parametrizations.spectral_norm(net.last)
    with pytest.raises(ValueError, match=r"last has variance .* after 3 scalings"):
        initialize_(net.eval(), "lsuv", generator=stream("tests", "lsuv"), x=batch(20, 4), **SETTINGS)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.full((7, 4), 2.0), "all 7 examples of x are the same"),
        (torch.ones(1, 4), "all 1 examples"),
        (torch.tensor([[0.0, 1, 2, torch.nan], [1, 2, 3, 4]]), "x has entries that are NaN"),
    ],
)
def test_it_says_what_is_wrong_with_the_data(x, message):
    net = Backwards()
    before = net.first.weight.clone()
    with pytest.raises(ValueError, match=message):
        initialize_(net, "lsuv", generator=stream("tests", "lsuv"), x=x, **SETTINGS)
    assert torch.equal(net.first.weight, before)


@pytest.mark.parametrize("settings", [{"tolerance": 0.0, "max_iterations": 3}, {"tolerance": 0.1, "max_iterations": 0}])
def test_settings_must_be_positive(settings):
    with pytest.raises(ValueError, match="tolerance must be positive and max_iterations at least 1"):
        initialize_(Backwards(), "lsuv", generator=stream("tests", "lsuv"), x=batch(20, 4), **settings)
