import pytest
import torch
from torch import nn

from signalprop.measure import count_parameters, multiply_adds


def test_counts_are_the_products_that_a_naive_loop_makes():
    net = nn.Sequential(nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(24, 5))
    counts = multiply_adds(net, torch.ones(3, 4, 4, 4))
    assert counts == {"0": 6 * 2 * 2 * (4 // 2) * 9, "3": 24 * 5}


def test_a_layer_that_is_called_twice_counts_twice():
    layer = nn.Linear(3, 3)
    assert sum(multiply_adds(nn.Sequential(layer, layer), torch.ones(1, 3)).values()) == 18


def test_the_module_stays_as_it_was():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    multiply_adds(net, torch.randn(2, 1, 5, 5))
    assert net.training
    assert net[1].training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_refuses_an_empty_batch():
    with pytest.raises(ValueError, match="empty"):
        multiply_adds(nn.Linear(3, 2), torch.ones(0, 3))


def test_a_shared_parameter_counts_once():
    layer = nn.Linear(3, 3)
    assert count_parameters(nn.Sequential(layer, layer)) == 12
