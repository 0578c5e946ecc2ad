import pytest
import torch
from torch import nn
from torch.nn import functional

from signalprop import stream
from signalprop.nets import MLP


def mlp(widths, act=torch.tanh, bias=False, gain=1.0, **options):
    return MLP(widths, act, bias=bias, scheme="lecun", gain=gain, generator=stream("tests", "mlp"), **options)


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


def test_a_normalizer_stands_between_layer_and_activation():
    net = mlp([5, 7, 6, 3], normalizer=nn.BatchNorm1d)
    assert [name for name, _ in net.named_children()] == [
        *("layer1", "norm1", "act1"),
        *("layer2", "norm2", "act2"),
        "layer3",
    ]
    x = torch.randn(4, 5, generator=stream("tests", "x"))
    h = x
    for layer in (net.layer1, net.layer2):
        h = torch.tanh(functional.batch_norm(h @ layer.weight.T, None, None, training=True))
    torch.testing.assert_close(net(x), h @ net.layer3.weight.T)


@pytest.mark.parametrize("bias", [False, True])
def test_biases_are_there_if_asked_for(bias):
    assert len(list(mlp([5, 7, 3], bias=bias).parameters())) == (4 if bias else 2)


def test_number_of_parameters():
    widths = [5, 7, 6, 3]
    weights = 5 * 7 + 7 * 6 + 6 * 3
    assert sum(p.numel() for p in mlp(widths).parameters()) == weights
    assert sum(p.numel() for p in mlp(widths, bias=True).parameters()) == weights + 7 + 6 + 3


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


@pytest.mark.parametrize("shape", [(4, 6), (5, 4), (6,)])
def test_inputs_must_be_as_wide_as_the_first_layer(shape):
    with pytest.raises(ValueError, match=r"MLP takes inputs of shapes \[\.\.\., 5\], got \["):
        mlp([5, 7, 3])(torch.zeros(shape))


def test_an_example_may_come_alone_and_a_batch_have_two_axes():
    net, x = mlp([5, 7, 3]), torch.randn(2, 3, 5, generator=stream("tests", "x"))
    assert net(x).shape == (2, 3, 3)
    torch.testing.assert_close(net(x[1, 2]), net(x)[1, 2])
