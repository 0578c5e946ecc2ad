import math

import numpy as np
import pandas as pd
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


def test_frozen_weights_have_no_gradient(net, x):
    net.layer2.weight.requires_grad_(False)
    profile = signal_profile(net, x, loss_fn)
    assert profile["weight_gradient"].notna().tolist() == [True, False, False, False, True]
    assert profile["gradient"].notna().all()


def test_the_input_is_not_touched():
    net = nn.Sequential(nn.Hardtanh(inplace=True), nn.Linear(3, 2))
    x = torch.tensor([[2.0, 0.5, -3.0]])
    assert signal_profile(net, x, torch.sum).loc["0", "slope"] == pytest.approx(1 / 3)
    assert x.tolist() == [[2.0, 0.5, -3.0]]


def test_mean_and_ratio_by_hand(net, x):
    profile, expected = signal_profile(net, x, loss_fn), by_hand(net, x)
    means = [values.mean().item() for values in (x @ net.layer1.weight.T, (x @ net.layer1.weight.T).tanh())]
    assert profile["mean"][:2].tolist() == pytest.approx(means, rel=1e-12)
    ratios = [
        (gradient.norm() / weight.norm()).item()
        for gradient, weight in zip(expected["weight_gradient"], expected["weight"], strict=True)
        if weight is not None
    ]
    assert profile["gradient_to_weight"].dropna().tolist() == pytest.approx(ratios, rel=1e-12)


@pytest.mark.parametrize("examples", [2, 5, 6])
def test_correlation_is_the_mean_cosine_of_neighbours(examples):
    """Pairs (0, 1), (2, 3), …; an odd last example has no partner."""
    x = torch.randn(examples, 3, 4, generator=stream("tests", "pairs"))
    profile = signal_profile(nn.Sequential(nn.Identity()), x, torch.sum)
    flat = x.double().flatten(1).numpy()
    pairs = [(flat[i], flat[i + 1]) for i in range(0, examples - 1, 2)]
    cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairs]
    assert profile.loc["0", "correlation"] == pytest.approx(np.mean(cosines), rel=1e-6)


def test_pairs_with_a_zero_have_no_correlation():
    net = nn.Sequential(nn.ReLU())
    x = torch.tensor([[-1.0, -1.0], [1.0, 2.0], [1.0, 0.0], [1.0, 1.0]])
    assert signal_profile(net, x, torch.sum).loc["0", "correlation"] == pytest.approx(2**-0.5)
    assert math.isnan(signal_profile(net, x[:2], torch.sum).loc["0", "correlation"])
    assert math.isnan(signal_profile(net, x[2:3], torch.sum).loc["0", "correlation"])


def test_dead_units_are_those_without_slope_in_the_whole_batch():
    z = torch.tensor([[-1.5, 2.0, -3.0, 0.5, 9.0], [-2.0, -1.5, -0.1, 0.5, 7.0]])
    dead = {
        act: signal_profile(nn.Sequential(act, nn.Linear(5, 1)), z, torch.sum).loc["0", "dead"]
        for act in (Elementwise(torch.relu), nn.Hardtanh(), nn.LeakyReLU(), Elementwise("gelu"), nn.Identity())
    }
    assert list(dead.values()) == pytest.approx([2 / 5, 3 / 5, 0, 0, math.nan], nan_ok=True)


@pytest.mark.parametrize("act", [nn.Tanh(), nn.GELU(), nn.SiLU(), nn.ELU(), nn.Softplus(), nn.LeakyReLU(0.1)])
def test_slopes_of_torchs_own_activations(act):
    z = torch.randn(4, 3, dtype=torch.float64, generator=stream("tests", "slopes"))
    slopes = torch.func.vmap(torch.func.vmap(torch.func.grad(act)))(z)
    profile = signal_profile(nn.Sequential(act), z, torch.sum)
    assert profile.loc["0", "slope"] == pytest.approx(slopes.square().mean().item(), rel=1e-12)


def test_slopes_of_an_activation_made_of_many_operations():
    """`node(ones)` would be the slope of the last one only."""
    act = Elementwise(lambda z: 1.7159 * torch.tanh(2 * z / 3) + 0.1 * z)
    z = torch.tensor([[0.3, -1.0]], dtype=torch.float64)
    slopes = 1.7159 * 2 / 3 / torch.cosh(2 * z / 3) ** 2 + 0.1
    profile = signal_profile(nn.Sequential(nn.Linear(2, 2).double(), nn.Softmax(1), act), z, torch.sum)
    assert math.isnan(profile.loc["1", "slope"])
    profile = signal_profile(nn.Sequential(act), z, torch.sum)
    assert profile.loc["0", "slope"] == pytest.approx(slopes.square().mean().item(), rel=1e-12)


class AddInPlace(nn.Module):
    """What torchvision's residual networks do: `out += identity` on a module's output."""

    def __init__(self, inplace):
        super().__init__()
        self.layer, self.act, self.last, self.inplace = nn.Linear(4, 4), nn.ReLU(inplace), nn.Linear(4, 2), inplace

    def forward(self, x):
        out = self.layer(x)
        if self.inplace:
            out += x
        else:
            out = out + x
        return self.last(self.act(out))


def copies(build):
    """Two modules with the same weights, one of which works in place."""
    nets = [build(inplace).double() for inplace in (False, True)]
    nets[1].load_state_dict(nets[0].state_dict())
    return nets


@pytest.mark.parametrize(
    "build",
    [
        AddInPlace,
        lambda inplace: nn.Sequential(nn.Linear(4, 3), nn.ReLU(inplace), nn.Linear(3, 4), nn.ELU(inplace=inplace)),
        lambda inplace: nn.Sequential(nn.Unflatten(1, (2, 2)), nn.Flatten(), nn.Hardtanh(inplace=inplace)),
        lambda inplace: nn.Sequential(nn.Linear(4, 3), nn.Flatten(), nn.LeakyReLU(0.2, inplace), nn.Linear(3, 1)),
    ],
)
def test_modules_that_work_in_place_give_the_same_numbers(build):
    x = torch.randn(6, 4, dtype=torch.float64, generator=stream("tests", "inplace"))
    plain, inplace = (signal_profile(net, x, loss_fn) for net in copies(build))
    pd.testing.assert_frame_equal(inplace, plain, rtol=1e-12)


def test_a_module_called_twice_has_two_rows_and_its_weights_once():
    layer, act = nn.Linear(3, 3, bias=False).double(), Elementwise(torch.tanh)
    x = torch.randn(4, 3, dtype=torch.float64, generator=stream("tests", "twice"))
    profile = signal_profile(nn.Sequential(layer, act, layer, act), x, torch.sum)
    assert list(profile.index) == ["0", "1", "0 (2)", "1 (2)"]
    assert profile["slope"].notna().tolist() == [False, True, False, True]
    weight = layer.weight.detach().requires_grad_()
    ((x @ weight.T).tanh() @ weight.T).tanh().sum().backward()
    expected = [weight.grad.square().mean().item(), math.nan, math.nan, math.nan]
    assert profile["weight_gradient"].tolist() == pytest.approx(expected, rel=1e-12, nan_ok=True)


def test_running_statistics_and_modes_stay():
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.5))
    net[3].eval()
    net.track = net[1].register_buffer("mine", torch.zeros(1))
    before = {name: (tensor, tensor.clone()) for name, tensor in net.state_dict(keep_vars=True).items()}
    signal_profile(net, torch.randn(5, 3, generator=stream("tests", "buffers")), torch.sum)
    for name, tensor in net.state_dict(keep_vars=True).items():
        assert tensor is before[name][0]
        assert torch.equal(tensor, before[name][1])
    assert [layer.training for layer in net] == [True, True, True, False]


def test_random_layers_leave_the_global_generator_alone():
    net = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 2))
    state = torch.get_rng_state()
    profiles = [signal_profile(net, torch.ones(3, 8), torch.sum) for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), state)
    assert profiles[0].equals(profiles[1])


def test_a_parametrized_layer_is_one_row_with_its_effective_weight():
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh()).double()
    x = torch.randn(2, 3, dtype=torch.float64, generator=stream("tests", "weight norm"))
    plain = signal_profile(net, x, loss_fn)
    nn.utils.parametrizations.weight_norm(net[0])
    normed = signal_profile(net, x, loss_fn)
    pd.testing.assert_frame_equal(normed, plain, rtol=1e-12)


def test_spectral_norm_does_not_move():
    layer = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 4))
    before = {name: tensor.clone() for name, tensor in layer.named_buffers()}
    signal_profile(layer, torch.ones(2, 3), torch.sum)
    assert before
    assert all(torch.equal(before[name], tensor) for name, tensor in layer.named_buffers())


@pytest.mark.parametrize("frozen", [False, True])
def test_inputs_may_be_integers(frozen):
    net = nn.Sequential(nn.Embedding(7, 3), nn.Flatten(), nn.Linear(6, 2), nn.Tanh())
    net[0].weight.requires_grad_(not frozen)
    profile = signal_profile(net, torch.tensor([[1, 2], [3, 6], [0, 0]]), torch.sum)
    assert profile["gradient"].notna().all()
    assert profile["weight_gradient"].notna().tolist() == [not frozen, False, True, False]


@pytest.mark.parametrize(
    "layer",
    [nn.GRU(3, 4, batch_first=True), nn.LSTM(3, 4, batch_first=True), nn.RNN(3, 4, batch_first=True)],
)
def test_the_first_tensor_of_a_tuple_counts(layer):
    x = torch.randn(2, 5, 3, generator=stream("tests", "tuples"))
    profile = signal_profile(layer, x, lambda output: output[0].sum())
    assert list(profile.index) == [type(layer).__name__]
    assert profile["second_moment"].item() == pytest.approx(layer(x)[0].square().mean().item(), rel=1e-5)
    assert profile["gradient"].item() == 1


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attend = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x):
        return self.attend(x, x, x, need_weights=False)[0]


def test_a_module_that_calls_none_of_its_children_is_innermost():
    profile = signal_profile(Attention(), torch.ones(2, 5, 4), torch.sum)
    assert list(profile.index) == ["attend"]
    assert profile["gradient"].tolist() == [1.0]


class Argmax(nn.Module):
    def forward(self, x):
        return x.argmax(1)


def test_a_module_without_a_tensor_to_measure_is_named():
    with pytest.raises(ValueError, match="1 returned no floating-point tensor to measure, but a Tensor"):
        signal_profile(nn.Sequential(nn.Linear(3, 3), Argmax()), torch.ones(2, 3), torch.sum)


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(3, 1), nn.Linear(3, 2)

    def forward(self, x):
        return self.used(x), self.unused(x)


def test_what_the_loss_does_not_see_has_no_gradient():
    profile = signal_profile(TwoHeads(), torch.ones(2, 3), lambda output: output[0].sum())
    assert profile["gradient"].notna().tolist() == [True, False]
    assert profile["weight_gradient"].notna().tolist() == [True, False]
    assert profile["weight"].notna().all()


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_signals_whose_squares_underflow_or_overflow(scale):
    """In single precision the squares are 1e-50 and 1e50."""
    net = nn.Sequential(nn.Linear(3, 2, bias=False), Elementwise("linear"))
    x = torch.tensor([[1.0, 2.0, 3.0], [3.0, 0.0, 1.0]])
    small, large = (signal_profile(net, x * factor, torch.sum) for factor in (1.0, scale))
    assert large["second_moment"].tolist() == pytest.approx((small["second_moment"] * scale**2).tolist(), rel=1e-5)
    assert large["correlation"].tolist() == pytest.approx(small["correlation"].tolist(), rel=1e-5)
    assert large.loc["0", "weight_gradient"] == pytest.approx(small.loc["0", "weight_gradient"] * scale**2, rel=1e-5)


def test_many_layers_of_several_shapes_keep_their_rows():
    """More calls of one shape than are reduced at once."""
    widths = [64, *[64, 96] * 60, 3]
    net = MLP(widths, "tanh", bias=False, scheme="lecun", gain=1.3, generator=stream("tests", "many"))
    x = torch.randn(48, 64, generator=stream("tests", "many", 1))
    profile, h = signal_profile(net, x, torch.sum), x
    for name, layer in net.named_children():
        h = layer(h)
        assert profile.loc[name, "second_moment"] == pytest.approx(h.square().mean().item(), rel=1e-4), name


def test_a_loss_that_is_no_tensor(net, x):
    with pytest.raises(ValueError, match=r"loss_fn returned a float; .* without .item"):
        signal_profile(net, x, lambda output: output.sum().item())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda net, x: net.layer2.bias.data.fill_(torch.nan), r"layer2.bias of MLP holds NaN"),
        (lambda net, x: x.data[0].fill_(torch.inf), "x holds NaN or infinity"),
        (lambda net, x: net.layer2.to("meta"), r"layer2.weight of MLP is on meta and x on cpu; move"),
    ],
)
def test_what_makes_the_loss_nan_or_fails_is_named(net, x, spoil, message):
    spoil(net, x)
    with pytest.raises(ValueError, match=message):
        signal_profile(net, x, loss_fn)


def test_a_signal_that_overflows_is_a_result():
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    for layer in net:
        nn.init.constant_(layer.weight, 1e30)
    profile = signal_profile(net, torch.ones(2, 2), torch.sum)
    assert profile.loc["0", "second_moment"] == pytest.approx(4e60, rel=1e-5)
    assert profile.loc["1", "second_moment"] == math.inf


def test_an_error_says_in_which_module():
    net = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.Tanh(), nn.Linear(5, 2)))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied") as raised:
        signal_profile(net, torch.ones(2, 3), torch.sum)
    assert raised.value.__notes__ == ["raised in the module 1.1"]
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in net.modules())


def test_an_empty_batch(net):
    with pytest.raises(ValueError, match=r"x has shape \[0, 5\]: there is no example in it"):
        signal_profile(net, torch.zeros(0, 5, dtype=torch.float64), loss_fn)
