import pytest
import torch
from torch import nn
from torch.nn import functional

from signalprop import stream
from signalprop.nets import MLP, Highway, initialize_


def highway(inputs=5, outputs=3, **options):
    usual = {"depth": 5, "width": 6, "act": "tanh", "normalizer": None, "bias": True, "gate_bias": -1.5}
    usual |= {"scheme": "lecun", "gain": 1.5, "generator": stream("tests", "highway"), "dtype": torch.float64}
    return Highway(inputs, outputs, **(usual | options))


@pytest.fixture
def x():
    return torch.randn(4, 5, dtype=torch.float64, generator=stream("tests", "x"))


@pytest.mark.parametrize("normalized", [False, True])
def test_every_layer_mixes_its_input_with_its_transform(x, normalized):
    net = highway(normalizer=nn.BatchNorm1d if normalized else None)
    with torch.no_grad():
        for number, parameter in enumerate(net.parameters()):
            if parameter.ndim < 2:
                parameter.normal_(generator=stream("tests", "randomize", number))
    values = {name: value.detach() for name, value in net.named_parameters()}

    def layer(name, h):
        return h @ values[f"{name}.weight"].T + values[f"{name}.bias"]

    def norm(name, h):
        if not normalized:
            return h
        return functional.batch_norm(h, None, None, values[f"{name}.weight"], values[f"{name}.bias"], training=True)

    h = norm("norm1", layer("layer1", x)).tanh()
    for number in (2, 3, 4):
        t = 1 / (1 + torch.exp(-(layer(f"highway{number}.gate", h) - 1.5)))
        new = norm(f"highway{number}.transform.norm", layer(f"highway{number}.transform.layer", h)).tanh()
        h = torch.stack([new, h]).mul(torch.stack([t, 1 - t])).sum(0)
    torch.testing.assert_close(net(x), layer("layer5", h))


def test_closed_gates_carry_everything(x):
    net = highway(gate_bias=-torch.inf, depth=50)
    assert torch.equal(net(x), net.layer50(net.layer1(x).tanh()))


def test_open_gates_make_the_plain_network(x):
    net = highway(gate_bias=torch.inf)
    plain = MLP([5, 6, 6, 6, 6, 3], "tanh", bias=True, scheme="zero", gain=1.0, generator=stream("tests", "plain"))
    plain = plain.double()
    plain.layer1.load_state_dict(net.layer1.state_dict())
    plain.layer5.load_state_dict(net.layer5.state_dict())
    for number in (2, 3, 4):
        layer = net.get_submodule(f"highway{number}.transform.layer")
        plain.get_submodule(f"layer{number}").load_state_dict(layer.state_dict())
    torch.testing.assert_close(net(x), plain(x), rtol=0, atol=0)


def test_the_gate_of_a_fresh_layer_has_the_opening_asked_for():
    """Sigmoid(−1.5) where the input is zero: also after the weights were drawn anew, which sets biases to zero."""
    net = highway()
    initialize_(net, "lecun", generator=stream("tests", "anew"), gain=1.0)
    layer, zero = net.highway3, torch.zeros(1, 6, dtype=torch.float64)
    nn.init.ones_(layer.transform.layer.bias)
    torch.testing.assert_close(
        layer(zero), torch.full_like(zero, torch.tensor(1.0).double().tanh() / (1 + 2.718281828459045**1.5))
    )


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("depth", [2, 5])
def test_number_of_parameters_and_of_layers(depth, bias):
    net = highway(depth=depth, bias=bias)
    inner = depth - 2
    assert sum(p.numel() for p in net.parameters()) == 30 + 18 + inner * 72 + bias * (6 + 3 + inner * 12)
    assert sum("highway" in name for name, _ in net.named_children()) == inner


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 1}, "depth must be at least 2, the layers at the two ends, got 1"),
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"inputs": 0}, "inputs must be at least 1"),
    ],
)
def test_it_says_what_is_wrong(options, message):
    with pytest.raises(ValueError, match=message):
        highway(**options)
