import pytest
import torch
from torch import nn

from signalprop import stream
from signalprop.measure import signal_profile
from signalprop.nets import MLP, Elementwise


@pytest.fixture
def net():
    return MLP([5, 7, 6, 3], torch.tanh, bias=True, scheme="lecun", gain=1.5, generator=stream("tests", "net")).double()


@pytest.fixture
def x():
    return torch.randn(4, 5, dtype=torch.float64, generator=stream("tests", "x"))


def loss_fn(output):
    return output.pow(3).mean()


def by_hand(net, x):
    """Signals and errors by the formulas of backpropagation; widths differ, so that a transpose would show."""
    w1, w2, w3 = (layer.weight.detach() for layer in (net.layer1, net.layer2, net.layer3))
    z1 = x @ w1.T
    h1 = z1.tanh()
    z2 = h1 @ w2.T
    h2 = z2.tanh()
    z3 = h2 @ w3.T
    d3 = 3 * z3.square() / z3.numel()
    e2 = d3 @ w3
    d2 = e2 * (1 - h2.square())
    e1 = d2 @ w2
    d1 = e1 * (1 - h1.square())
    return {
        "second_moment": [z1, h1, z2, h2, z3],
        "gradient": [d1, e1, d2, e2, d3],
        "slope": [None, 1 - h1.square(), None, 1 - h2.square(), None],
        "weight": [w1, None, w2, None, w3],
        "weight_gradient": [d1.T @ x, None, d2.T @ h1, None, d3.T @ h2],
    }


def test_every_column_by_hand(net, x):
    profile = signal_profile(net, x, loss_fn)
    assert list(profile.index) == ["layer1", "act1", "layer2", "act2", "layer3"]
    for column, values in by_hand(net, x).items():
        expected = [torch.nan if v is None else v.square().mean().item() for v in values]
        assert profile[column].tolist() == pytest.approx(expected, rel=1e-12, nan_ok=True), column


def test_the_module_is_left_as_it_was(net, x):
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    signal_profile(net, x, loss_fn)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert not any(layer._forward_hooks for layer in net.modules())


def test_hooks_are_removed_after_an_exception(net):
    with pytest.raises(ValueError, match="takes inputs of shapes"):
        signal_profile(net, torch.zeros(2, 4, dtype=torch.float64), loss_fn)
    assert not any(layer._forward_hooks for layer in net.modules())


def test_it_works_within_no_grad(net, x):
    with torch.no_grad():
        profile = signal_profile(net, x, loss_fn)
    assert profile["gradient"].notna().all()


def test_it_sees_gradients_whose_squares_underflow():
    net = MLP([4, 4, 4], torch.tanh, bias=False, scheme="lecun", gain=1.0, generator=stream("tests", "tiny"))
    x = torch.ones(1, 4)
    profile = signal_profile(net, x, lambda output: 1e-30 * output.sum())
    assert profile.loc["layer2", "gradient"] == pytest.approx(1e-60, rel=1e-6)


def test_any_module_of_torch():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
    profile = signal_profile(net, torch.ones(3, 1, 4, 4), torch.mean)
    assert list(profile.index) == ["0", "1", "2", "3"]
    assert profile["weight_gradient"].notna().tolist() == [True, False, False, True]


@pytest.mark.parametrize(
    ("loss", "message"),
    [(lambda o: o.sum(1), r"shape \[4\]; it must return one number"), (lambda o: o.detach().sum(), "without detach")],
)
def test_losses_that_cannot_be_used(net, x, loss, message):
    with pytest.raises(ValueError, match=message):
        signal_profile(net, x, loss)


def test_slopes_of_a_kinked_activation():
    net = nn.Sequential(Elementwise(torch.relu), nn.Linear(4, 1))
    profile = signal_profile(net, torch.tensor([[-1.0, 2.0, 3.0, -4.0]]), torch.sum)
    assert profile.loc["0", "slope"] == 0.5


def test_an_activation_may_be_a_module(x):
    nets = [
        MLP([5, 7, 3], act, bias=False, scheme="lecun", gain=1.0, generator=stream("tests", "module")).double()
        for act in (nn.Tanh(), torch.tanh)
    ]
    a, b = (signal_profile(net, x, loss_fn) for net in nets)
    assert a.equals(b)


def test_an_output_changed_in_place_is_refused(x):
    net = nn.Sequential(nn.Linear(5, 4), nn.ReLU(inplace=True), nn.Linear(4, 2)).double()
    with pytest.raises(ValueError, match="output of 0 was changed in place"):
        signal_profile(net, x, loss_fn)


def test_frozen_weights_have_no_gradient(net, x):
    net.layer2.weight.requires_grad_(False)
    profile = signal_profile(net, x, loss_fn)
    assert profile["weight_gradient"].notna().tolist() == [True, False, False, False, True]
    assert profile["gradient"].notna().all()


def test_the_input_is_not_touched():
    net = nn.Sequential(nn.Hardtanh(inplace=True), nn.Linear(3, 2))
    x = torch.tensor([[2.0, 0.5, -3.0]])
    with pytest.raises((ValueError, RuntimeError)):
        signal_profile(net, x, torch.sum)
    assert x.tolist() == [[2.0, 0.5, -3.0]]
