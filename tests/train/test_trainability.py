import math

import pytest
import torch

from signalprop import load_data, stream
from signalprop.nets import MLP, normal_biases_
from signalprop.train import evaluate, fit, trainability

SETTING = {"act": "tanh", "sigma_b2": 0.05, "width": 12, "steps": 20, "batch": 16, "lr": 0.05, "momentum": 0.9}


@pytest.fixture(scope="module")
def digits():
    return load_data("digits").standardized().flat()


def source(replicate):
    return stream("tests", "trainability", replicate)


def test_equals_networks_trained_one_by_one(digits):
    losses = trainability(digits, 3, [0.5, 1.5], replicates=2, source=source, **SETTING)
    for r in range(2):
        for s, sigma_w in enumerate([0.5, 1.5]):
            generator = source(r)
            net = MLP([64, 12, 12, 10], "tanh", bias=True, scheme="lecun", gain=sigma_w, generator=generator)
            normal_biases_(net, 0.05, generator)
            optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
            fit(net, digits, optimizer, steps=20, batch=16, generator=generator)
            alone = evaluate(net, digits.test_x, digits.test_y)[0]
            assert losses[r, s].item() == pytest.approx(alone, rel=1e-4)


def test_result_does_not_depend_on_the_others(digits):
    both = trainability(digits, 2, [0.5, 1.5], replicates=2, source=source, **SETTING)
    one = trainability(digits, 2, [1.5], replicates=1, source=source, **SETTING)
    assert both[0, 1].item() == pytest.approx(one.item(), rel=1e-4)


def test_divergence_counts_as_guessing(digits):
    losses = trainability(digits, 2, [1.0, 2.0], replicates=1, source=source, **(SETTING | {"lr": 1e30}))
    assert losses.tolist() == [[pytest.approx(math.log(10))] * 2]


def test_worse_than_guessing_counts_as_guessing(digits):
    losses = trainability(digits, 2, [30.0], replicates=1, source=source, **(SETTING | {"steps": 1, "lr": 0.0}))
    assert losses.item() == pytest.approx(math.log(10))
