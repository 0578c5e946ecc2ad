import math

import pytest
import torch

from signalprop import load_data, stream
from signalprop.train import (
    fit_deep,
    gradient_ratio,
    residual_classifiers,
    tanh_classifiers,
    tenths_of_depth,
    with_constant,
)
from signalprop.train.deep import rate

DATA = with_constant(load_data("digits").standardized().flat())


def sources(name, networks=2):
    return [stream("tests", f"deep {name}", r) for r in range(networks)]


def tanh(networks=2, depth=40, scheme="orthogonal", gain=None):
    options = {"width": 24, "q": depth**-0.5, "gain": gain, "scheme": scheme}
    return tanh_classifiers(DATA, depth, **options, generators=sources("tanh", networks))


def run(nets, lr=0.1 / 40, **options):
    rates = torch.full((nets.networks,), lr)
    usual = {"steps": 60, "batch": 32, "generators": sources("order", nets.networks)}
    return fit_deep(nets, DATA, lr=rates, **(usual | options))


def test_trained_learns_more_than_frozen():
    trained, frozen = run(tanh()), run(tanh(), frozen=True)
    assert (trained.test_loss < frozen.test_loss - 0.1).all()
    assert (trained.weight_change > 0).all()
    assert (frozen.weight_change == 0).all()
    assert trained.loss.shape == (2, 60)
    torch.testing.assert_close(trained.loss[:, 0], torch.full((2,), math.log(10)).double())


def test_frozen_features_once_are_those_of_every_step():
    still = run(tanh(), lr=0.0)
    frozen = run(tanh(), frozen=True)
    torch.testing.assert_close(still.loss, frozen.loss, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(still.test_loss, frozen.test_loss, rtol=1e-4, atol=1e-5)


def test_networks_side_by_side_do_not_touch():
    both, alone = run(tanh(2)), run(tanh(1))
    torch.testing.assert_close(both.loss[:1], alone.loss, rtol=1e-4, atol=1e-4)


def test_divergence_counts_as_a_guess():
    nets = tanh()
    nets.stacks.weights[0][:, 1] *= math.nan
    result = run(nets)
    assert result.test_loss[0] < math.log(10)
    assert result.test_loss[1] == math.log(10)
    assert result.weight_change[1].isinf().all()


def test_rate_is_a_trapezoid():
    rates = [rate(step, 100, 20) for step in range(100)]
    assert rates[0] == 0.05
    assert rates[19:61] == [1.0] * 42
    assert rates[-1] == pytest.approx(1 / 40)


def test_tenths_put_weights_back():
    nets = tanh()
    result = run(nets)
    before = nets.stacks.weights[0].clone()
    change, reset, all_reset = tenths_of_depth(nets, tanh(), result, DATA)
    assert (nets.stacks.weights[0] == before).all()
    assert change.shape == reset.shape == (2, 10)
    assert (all_reset > result.test_loss).all()
    assert (reset.mean(1) < all_reset).all()


def test_gradient_ratio_of_isometry_is_one():
    nets = tanh(gain=1.0)
    nets.projections *= 1e-3  # so short that tanh is linear
    before = nets.stacks.weights[0].clone()
    ratio = gradient_ratio(nets, DATA.test_x[:16], stream("tests", "ratio"))
    torch.testing.assert_close(ratio, torch.ones(2).double(), rtol=1e-4, atol=0)
    assert (nets.stacks.weights[0] == before).all()


def test_fixup_starts_as_its_first_layer():
    nets = residual_classifiers(DATA, 50, width=24, scheme="fixup", generators=sources("fixup"))
    torch.testing.assert_close(nets.features(DATA.test_x[:7]), nets.project(DATA.test_x[:7]) / nets.scale)
    assert (run(nets, lr=0.05).test_loss < run(nets, lr=0.05, frozen=True).test_loss + 1).all()


def test_one_rate_a_network():
    with pytest.raises(ValueError, match="2 networks, 1 learning rates"):
        fit_deep(tanh(), DATA, steps=1, batch=8, lr=torch.tensor([0.1]), generators=sources("order"))
