import math

import pytest
import torch

from signalprop import load_data, stream
from signalprop.nets import MLP
from signalprop.train import fit_twin

DATA = load_data("digits").standardized().flat()


def net():
    return MLP([64, 16, 16, 10], "tanh", bias=True, scheme="lecun", gain=1.0, generator=stream("tests", "twin"))


def run(module, **options):
    usual = {"frozen": False, "steps": 30, "batch": 32, "lr": 0.05, "readout_lr": 0.05, "momentum": 0.9}
    return fit_twin(module, ["layer3"], DATA, generator=stream("tests", "order"), **(usual | options))


def test_frozen_twin_moves_its_readout_alone():
    module, start = net(), net()
    run(module, frozen=True)
    moved = {
        name: bool((p != q).any()) for (name, p), q in zip(module.named_parameters(), start.parameters(), strict=True)
    }
    assert {name for name, any_ in moved.items() if any_} == {"layer3.weight", "layer3.bias"}


def test_each_part_has_its_rate():
    module, start = net(), net()
    run(module, readout_lr=0.0)
    assert (module.layer3.weight == start.layer3.weight).all()
    assert (module.layer1.weight != start.layer1.weight).any()


def test_divergence_is_a_guess():
    module = net()
    with torch.no_grad():
        module.layer1.weight.fill_(math.nan)
    assert run(module) == (math.log(10), 0.1)


def test_unknown_readout_is_refused():
    options = {"steps": 1, "batch": 2, "lr": 1.0, "readout_lr": 1.0, "momentum": 0.0, "generator": stream("tests", "x")}
    with pytest.raises(AttributeError, match="layer9"):
        fit_twin(net(), ["layer9"], DATA, frozen=True, **options)
