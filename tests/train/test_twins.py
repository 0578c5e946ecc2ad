import copy
import math

import pytest
import torch
from torch import nn

from signalprop import load_data, stream
from signalprop.nets import MLP
from signalprop.train import evaluate, fit_twin, fit_twins
from signalprop.train.twins import NUMBERS

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


def deep(layers=20, normalizer=None):
    widths, source = [64, *layers * [16], 10], stream("tests", "twins")
    return MLP(widths, "tanh", bias=True, scheme="orthogonal", gain=1.1, generator=source, normalizer=normalizer)


def both(module, **options):
    usual = {"steps": 90, "batch": 32, "lr": 0.05, "readout_lr": 0.05, "momentum": 0.9, "few": 400}
    readout = list(dict(module.named_children()))[-1]
    return fit_twins(module, [readout], DATA, generator=stream("tests", "order"), **(usual | options))


def test_twins_are_what_two_single_runs_give():
    module, twins = deep(), both(deep())
    alone = copy.deepcopy(module)
    assert twins.trained == run_deep(module, frozen=False)
    assert twins.frozen == run_deep(alone, frozen=True)


def run_deep(module, frozen):
    options = {"steps": 90, "batch": 32, "lr": 0.05, "readout_lr": 0.05, "momentum": 0.9}
    return fit_twin(module, ["layer21"], DATA, frozen=frozen, generator=stream("tests", "order"), **options)


def test_reset_weights_are_those_of_the_start():
    module, start = deep(), deep()
    twins = both(module, few=len(DATA.test_x))
    for name in (f"layer{number}" for number in range(3, 5)):  # the second tenth of 20 layers
        module.get_submodule(name).load_state_dict(start.get_submodule(name).state_dict())
    assert twins.kept == twins.trained[0]
    assert twins.reset_tenths[1].item() == min(evaluate(module, DATA.test_x, DATA.test_y)[0], math.log(10))
    start.layer21 = module.layer21
    assert twins.reset == min(evaluate(start, DATA.test_x, DATA.test_y)[0], math.log(10))


def test_change_is_relative_to_the_start_and_zero_at_rate_zero():
    module, start = deep(), deep()
    twins = both(module)
    ratios = [
        (
            (getattr(module, name).weight - getattr(start, name).weight).norm() / getattr(start, name).weight.norm()
        ).item()
        for name in ("layer1", "layer2")
    ]
    torch.testing.assert_close(twins.change[0].item(), min(ratios), rtol=1e-5, atol=0.0)  # the lower of two medians
    still = both(deep(), lr=0.0)
    assert (still.change == 0).all()
    assert still.trained == still.frozen
    assert set(still.reset_tenths.tolist()) == {still.reset} == {still.kept}


def test_statistics_of_normalizers_are_those_of_the_weights_at_the_end():
    module = deep(normalizer=nn.BatchNorm1d)
    loss, _ = both(module, momentum=0.0).trained
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d):
            part.reset_running_stats()
            part.momentum = None
    module.train()
    with torch.no_grad():
        for x in DATA.train_x[:1024].split(256):
            module(x)
    assert evaluate(module, DATA.test_x, DATA.test_y)[0] == pytest.approx(loss, rel=1e-4)


def test_probe_knows_less_of_networks_that_forget():
    near, far = both(deep(layers=10), lr=0.0), both(deep(layers=400), lr=0.0)
    assert near.probe[0] < far.probe[0]
    assert near.probe[1] > 0.7


def test_numbers_come_in_their_order():
    twins = both(deep())
    numbers = dict(zip(NUMBERS, twins.numbers().tolist(), strict=True))
    assert numbers["trained loss"] == twins.trained[0]
    assert numbers["probe accuracy"] == twins.probe[1]
    assert numbers["loss as trained"] == twins.kept
    assert numbers["loss, all hidden weights reset"] == twins.reset
    assert numbers["loss, reset tenth 3"] == twins.reset_tenths[2]
    assert numbers["change of tenth 10"] == twins.change[9]


def test_a_shallow_network_has_no_tenths():
    with pytest.raises(ValueError, match=r"ten hidden children with weights, got 2: \['layer1', 'layer2'\]"):
        both(net())
