import pytest
import torch
from torch import nn

from signalprop import stream
from signalprop.nets import MLP, Elementwise


def mlp(widths, act=torch.tanh, bias=False, gain=1.0):
    return MLP(widths, act, bias=bias, scheme="lecun", gain=gain, generator=stream("tests", "mlp"))


def test_it_is_the_composition_of_its_layers():
    net = mlp([5, 7, 6, 3], bias=True)
    nn.init.normal_(net.layer2.bias)
    x = torch.randn(4, 5, generator=stream("tests", "x"))
    h = torch.tanh(x @ net.layer1.weight.T + net.layer1.bias)
    h = torch.tanh(h @ net.layer2.weight.T + net.layer2.bias)
    torch.testing.assert_close(net(x), h @ net.layer3.weight.T + net.layer3.bias)


def test_modules_are_numbered_like_the_layers_of_the_book():
    names = [name for name, _ in mlp([5, 7, 6, 3]).named_children()]
    assert names == ["layer1", "act1", "layer2", "act2", "layer3"]


@pytest.mark.parametrize("bias", [False, True])
def test_biases_are_there_if_asked_for(bias):
    assert len(list(mlp([5, 7, 3], bias=bias).parameters())) == (4 if bias else 2)


def test_gain_and_fan_in_of_each_layer():
    net = mlp([900, 400, 1600], gain=2.0)
    assert net.layer1.weight.var().item() * 900 == pytest.approx(4, rel=0.02)
    assert net.layer2.weight.var().item() * 400 == pytest.approx(4, rel=0.02)


def test_one_stream_gives_one_network():
    assert torch.equal(mlp([3, 4, 2]).layer2.weight, mlp([3, 4, 2]).layer2.weight)


@pytest.mark.parametrize("widths", [[], [3], [3, 0, 2]])
def test_widths_must_make_a_network(widths):
    with pytest.raises(ValueError, match="at least two positive numbers"):
        mlp(widths)


def test_elementwise_takes_any_function():
    assert torch.equal(Elementwise(lambda z: z.square())(torch.tensor([[2.0, -3.0]])), torch.tensor([[4.0, 9.0]]))
