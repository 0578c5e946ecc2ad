import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional

from signalprop import stream
from signalprop.nets import initialize_
from signalprop.nets.weight_layers import fans

DENSE = ["lecun", "xavier", "kaiming", "kaiming_fan_out", "geometric_mean"]
# fan-in, fan-out and their two means differ by more than the gates
LAYERS = {
    "linear": (lambda: nn.Linear(90, 30), (90,), 90, 30),
    "conv1d": (lambda: nn.Conv1d(8, 40, 5, padding=2, padding_mode="circular"), (8, 13), 40, 200),
    "conv2d": (lambda: nn.Conv2d(24, 6, (3, 1), padding=(1, 0), padding_mode="circular"), (24, 5, 4), 72, 18),
    "groups": (lambda: nn.Conv1d(8, 48, 3, padding=1, padding_mode="circular", groups=4), (8, 7), 6, 36),
}


def variance(scheme, fan_in, fan_out, rows):
    """Variance of a weight at gain 1, as the papers have it (see also the note on orthogonal matrices)."""
    return {
        "lecun": 1 / fan_in,
        "xavier": 2 / (fan_in + fan_out),
        "kaiming": 1 / fan_in,
        "kaiming_fan_out": 1 / fan_out,
        "geometric_mean": (fan_in * fan_out) ** -0.5,
        "normal": 1.0,
        "constant": 1.0,
        "sparse": 5 / fan_in,
        "zero": 0.0,
        "orthogonal": 1 / max(rows, fan_in),  # [rows, fan-in] has min(rows, fan-in) singular values of 1
    }[scheme]


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("scheme", [*DENSE, "normal", "constant", "sparse", "zero", "orthogonal"])
def test_forward_and_backward_factors_are_those_of_the_fans(scheme, kind):
    """White signals grow by Var(w) · fan-in on their way through a layer, white gradients by Var(w) · fan-out."""
    build, shape, fan_in, fan_out = LAYERS[kind]
    layer = build().double()
    options = {"nonzero": 5} if scheme == "sparse" else {}
    forward, backward = [], []
    for replicate in range(30):
        source = stream("tests", f"factors.{scheme}.{kind}", replicate)
        initialize_(layer, scheme, generator=source, gain=1.7, **options)
        x = torch.randn(64, *shape, generator=source, dtype=torch.float64, requires_grad=True)
        y = layer(x)
        (gradient,) = torch.autograd.grad(y, x, torch.randn(y.shape, generator=source, dtype=torch.float64))
        forward.append(y.square().mean())
        backward.append(gradient.square().mean())
    groups = getattr(layer, "groups", 1)
    expected = 1.7**2 * variance(scheme, fan_in, fan_out, layer.weight.shape[0] // groups)
    for measured, predicted in ((torch.stack(forward), expected * fan_in), (torch.stack(backward), expected * fan_out)):
        error = measured.std() / 30**0.5
        assert abs(measured.mean() - predicted) <= 7.5 * error + 1e-12  # t with 29 degrees of freedom: 1e-8 each way
        assert error <= 0.07 * predicted  # so that the other fan, off by a factor of three or more, is rejected


@pytest.mark.parametrize("scheme", [*DENSE, "sparse", "orthogonal", "looks_linear"])
def test_usual_gains(scheme):
    """He's schemes are for ReLU unless told otherwise; the others take 1."""
    with_usual, with_given = nn.Linear(40, 30), nn.Linear(40, 30)
    initialize_(with_usual, scheme, generator=stream("tests", "usual"))
    initialize_(with_given, scheme, generator=stream("tests", "usual"), gain=1.0)
    factor = 2**0.5 if scheme.startswith("kaiming") else 1
    torch.testing.assert_close(with_usual.weight, factor * with_given.weight)


def test_dense_weights_are_gaussian():
    layer = nn.Linear(400, 400)
    initialize_(layer, "xavier", generator=stream("tests", "normal"))
    standardized = layer.weight.detach().flatten() * 20
    assert abs(standardized.mean()) < 5 / 400
    assert standardized.pow(4).mean().item() == pytest.approx(3, abs=5 * (96 / 160_000) ** 0.5)


def test_lecun_draws_what_it_drew_when_there_was_nothing_else():
    """The book's first networks: one draw a layer, in the dtype of the weights."""
    layer = nn.Linear(30, 20)
    initialize_(layer, "lecun", generator=stream("tests", "first"), gain=1.3)
    expected = torch.empty(20, 30).normal_(0, 1.3 / 30**0.5, generator=stream("tests", "first"))
    assert torch.equal(layer.weight, expected)


@pytest.mark.parametrize("scheme", ["geometric_mean", "lecun", "kaiming_fan_out", "xavier"])
def test_gradient_to_weight_ratios_of_the_layers(scheme):
    """E‖∇W_l‖² / E‖W_l‖² = n_0 n_L ∏_{k<l} v_k n_k ∏_{k>l} v_k n_{k−1} / (v_l n_l n_{l−1}) for weights of variance v.

    It is alike in all layers for the geometric mean alone. The network is linear, so that signals and gradients are
    independent and the law is exact at any width.
    """
    widths, networks = [80, 8, 8, 80, 80, 8], 600
    net = nn.Sequential(*(nn.Linear(a, b, bias=False, dtype=torch.float64) for a, b in pairwise(widths)))
    gradients, weights = torch.empty(networks, 5, dtype=torch.float64), torch.empty(networks, 5, dtype=torch.float64)
    for replicate in range(networks):
        source = stream("tests", f"ratio.{scheme}", replicate)
        initialize_(net, scheme, generator=source, gain=1.0)
        x = torch.randn(1, 80, generator=source, dtype=torch.float64)
        y = net(x)
        found = torch.autograd.grad(y, list(net.parameters()), torch.randn(y.shape, generator=source).double())
        gradients[replicate] = torch.stack([g.square().sum() for g in found])
        weights[replicate] = torch.stack([w.square().sum() for w in net.parameters()]).detach()
    v = [variance(scheme, a, b, b) for a, b in pairwise(widths)]
    ends = widths[0] * widths[-1]
    predicted = torch.tensor(
        [
            ends
            * math.prod(v[k] * widths[k + 1] for k in range(i))
            * math.prod(v[k] * widths[k] for k in range(i + 1, 5))
            / (v[i] * widths[i] * widths[i + 1])
            for i in range(5)
        ],
        dtype=torch.float64,
    )
    ratios = gradients / weights.mean(0)
    error = ratios.std(0) / networks**0.5
    assert ((ratios.mean(0) - predicted).abs() < 5 * error).all()
    spread = (predicted.max() / predicted.min()).item()
    assert spread == pytest.approx(1) if scheme == "geometric_mean" else spread > 2
    assert (error < 0.1 * predicted).all()


def test_zero_weights_have_zero_gradients():
    """Nothing but the last bias can move."""
    net = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 6), nn.Tanh(), nn.Linear(6, 3))
    initialize_(net, "zero", generator=stream("tests", "zero"))
    x = torch.randn(11, 5, generator=stream("tests", "zero.x"))
    functional.cross_entropy(net(x), torch.arange(11) % 3).backward()
    moving = [name for name, parameter in net.named_parameters() if (parameter.grad != 0).any()]
    assert moving == ["4.bias"]


def test_constant_weights_keep_all_units_of_a_layer_equal():
    net = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    initialize_(net, "constant", generator=stream("tests", "constant"), gain=0.1)
    assert all((weight == 0.1).all() for weight in net.parameters() if weight.ndim == 2)
    x = torch.randn(11, 5, generator=stream("tests", "constant.x"), dtype=torch.float64)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    for _ in range(20):
        optimizer.zero_grad()
        functional.cross_entropy(net(x), torch.arange(11) % 3).backward()
        optimizer.step()
    assert (net[0].weight - 0.1).abs().max() > 1e-3
    assert (net[0].weight - net[0].weight[0]).abs().max() < 1e-12
    assert (net[2].weight - net[2].weight[0, 0]).abs().max() < 1e-12


@pytest.mark.parametrize("layer", [nn.Linear(40, 300), nn.Conv2d(6, 200, (1, 5), groups=2)], ids=str)
def test_sparse_units_have_so_many_inputs(layer):
    initialize_(layer, "sparse", generator=stream("tests", "sparse"), nonzero=4, gain=0.5)
    rows = layer.weight.detach().flatten(1)
    assert ((rows != 0).sum(1) == 4).all()
    used = (rows != 0).sum(0).double()
    share = 4 / rows.shape[1]
    assert (used - len(rows) * share).abs().max() < 5.5 * (len(rows) * share * (1 - share)) ** 0.5
    values = rows[rows != 0]
    assert values.square().mean().item() == pytest.approx(0.25, rel=5 * (2 / len(values)) ** 0.5)


def test_sparse_takes_fifteen_inputs_of_unit_variance():
    layer = nn.Linear(100, 400)
    initialize_(layer, "sparse", generator=stream("tests", "fifteen"))
    assert ((layer.weight != 0).sum(1) == 15).all()
    assert layer.weight.square().sum().item() / 6000 == pytest.approx(1, rel=5 * (2 / 6000) ** 0.5)


def test_all_layers_are_filled_biases_are_zero_and_normalizers_left_alone():
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.Flatten(),
        nn.Sequential(nn.Linear(16, 4), nn.LayerNorm(4), nn.Linear(4, 2, bias=False)),
    )
    for name, parameter in net.named_parameters():
        nn.init.constant_(parameter, 3.0 if name[:3] in ("1.w", "1.b", "3.1") else torch.nan)
    initialize_(net, "lecun", generator=stream("tests", "all"))
    for name, parameter in net.named_parameters():
        if name[:3] in ("1.w", "1.b", "3.1"):
            assert (parameter == 3).all(), name
        else:
            assert parameter.isfinite().all(), name
            assert name.endswith("weight") or (parameter == 0).all()


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    for scheme in (*DENSE, "sparse", "orthogonal", "looks_linear"):
        initialize_(nn.utils.skip_init(nn.Linear, 20, 20), scheme, generator=stream("tests", "global"))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("scheme", ["zero", "constant", "normal", "sparse", *DENSE, "orthogonal", "looks_linear"])
def test_numbers_are_drawn_where_the_generator_is(scheme):
    """A forgotten device= would land on the default device."""
    layer = nn.Linear(20, 20, device="cpu")
    with torch.device("meta"):
        initialize_(layer, scheme, generator=stream("tests", "device"), gain=1.0)
    assert layer.weight.device.type == "cpu"


def linears():
    return nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))


@pytest.mark.parametrize(
    ("scheme", "options", "message"),
    [
        ("glorot", {}, "no scheme 'glorot'; known: zero, constant"),
        ("lecun", {"gain": 0.0}, "gain must be positive"),
        ("lecun", {"gain": float("inf")}, "gain must be positive and finite"),
        ("lecun", {"gain": float("nan")}, "gain must be positive and finite"),
        ("normal", {}, "normal has no usual gain"),
        ("constant", {}, "constant has no usual gain"),
        ("lecun", {"fan": "in"}, "lecun has no option 'fan'; known: none"),
        ("sparse", {"zeros": 3}, "sparse has no option 'zeros'; known: nonzero"),
        ("sparse", {}, "connects a unit to 15 inputs, and .* has 4"),
        ("sparse", {"nonzero": 0}, "nonzero must be at least 1"),
        ("lsuv", {"x": torch.ones(2, 4)}, "lsuv needs tolerance=, max_iterations="),
        ("fixup", {}, "Sequential has no residual block"),
        ("rezero", {}, "Sequential has no residual block"),
        ("branch_scale", {}, "Sequential has no residual block"),
    ],
)
def test_it_says_what_is_wrong_and_changes_nothing(scheme, options, message):
    net = linears()
    before = [parameter.clone() for parameter in net.parameters()]
    with pytest.raises(ValueError, match=message):
        initialize_(net, scheme, generator=stream("tests", "wrong"), **options)
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_the_layers_of_the_tests_have_the_fans_typed_in():
    for build, _, fan_in, fan_out in LAYERS.values():
        assert fans(build()) == (fan_in, fan_out)
