import math

import pytest
import torch
from torch import nn

from signalprop import stream
from signalprop.nets import MLP, normal_biases_


def test_biases_have_the_variance_at_any_width_and_weights_stay():
    net = nn.Sequential(nn.Linear(3, 20_000), nn.Conv1d(2, 20_000, 1)).double()
    before = [layer.weight.clone() for layer in net]
    normal_biases_(net, 0.25, stream("tests", "biases"))
    for layer, weight in zip(net, before, strict=True):
        assert torch.equal(layer.weight, weight)
        # fifth standard error of a mean and of a mean square of 20,000 normal numbers
        assert abs(layer.bias.mean()) < 5 * 0.5 / math.sqrt(20_000)
        assert abs(layer.bias.square().mean() - 0.25) < 5 * 0.25 * math.sqrt(2 / 20_000)
        assert layer.bias.requires_grad


def test_layers_without_bias_stay_without():
    net = MLP([2, 3, 1], "tanh", bias=False, scheme="lecun", gain=1.0, generator=stream("tests", "no bias"))
    normal_biases_(net, 1.0, stream("tests", "no bias", 1))
    assert all(layer.bias is None for layer in (net.layer1, net.layer2))


def test_zero_variance_sets_them_to_zero():
    layer = nn.Linear(2, 5)
    normal_biases_(layer, 0.0, stream("tests", "zero"))
    assert (layer.bias == 0).all()


def test_single_precision_biases_are_those_of_the_stream():
    one, other = nn.Linear(2, 5), nn.Linear(7, 5)
    for layer in (one, other):
        normal_biases_(layer, 0.5, stream("tests", "same"))
    assert torch.equal(one.bias, other.bias)


@pytest.mark.parametrize("variance", [-0.1, math.inf, math.nan])
def test_bad_variance_changes_nothing(variance):
    layer = nn.Linear(2, 5)
    before = layer.bias.clone()
    with pytest.raises(ValueError, match="sigma_b2 is a variance"):
        normal_biases_(layer, variance, stream("tests", "bad"))
    assert torch.equal(layer.bias, before)
