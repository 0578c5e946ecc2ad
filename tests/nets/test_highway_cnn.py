import pytest
import torch
from torch import nn

from signalprop import stream
from signalprop.nets import HighwayCNN, PlainCNN


def network(**options):
    usual = {"depth": 10, "stages": 2, "width": 4, "act": "relu", "normalizer": None, "bias": True, "gate_bias": -2.0}
    usual |= {"scheme": "kaiming", "gain": None, "generator": stream("tests", "highway cnn"), "dtype": torch.float64}
    return HighwayCNN(1, 3, **(usual | options))


@pytest.fixture
def x():
    return torch.randn(2, 1, 7, 7, dtype=torch.float64, generator=stream("tests", "x"))


def test_open_gates_make_the_plain_network(x):
    net = network(gate_bias=torch.inf)
    options = {"padding_mode": "zeros", "scheme": "zero", "gain": 1.0, "generator": stream("tests", "plain")}
    plain = PlainCNN(
        1, 3, depth=10, stages=2, width=4, act="relu", normalizer=None, bias=True, dtype=torch.float64, **options
    )
    plain.layer1.load_state_dict(net.layer1.state_dict())
    plain.layer10.load_state_dict(net.layer10.state_dict())
    for number in range(2, 10):
        name = f"highway{number}.transform" if hasattr(net, f"highway{number}") else f"down{number}"
        plain.get_submodule(f"layer{number}").load_state_dict(net.get_submodule(f"{name}.layer").state_dict())
    torch.testing.assert_close(net(x), plain(x), rtol=0, atol=0)


def test_closed_gates_carry_between_the_strided_layers(x):
    net = network(gate_bias=-torch.inf)
    expected = net.layer10(net.pool(net.down6(net.layer1(x).relu())))
    assert torch.equal(net(x), expected)


def test_gates_have_biases_even_where_convolutions_have_none():
    net = network(bias=False, normalizer=nn.BatchNorm2d)
    assert net.highway2.gate.bias is not None
    assert net.highway2.transform.layer.bias is None


def test_refuses_a_depth_that_is_none():
    with pytest.raises(ValueError, match="depth must be"):
        network(depth=9)
