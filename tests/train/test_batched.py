import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from signalprop import load_data, stream
from signalprop.nets import MLP, PlainCNN, normalizer
from signalprop.train import fit, fit_many

RATES = (0.3, 0.01, 0.1)


@pytest.fixture
def images():
    data = load_data("digits").standardized()
    return replace(data, train_x=data.train_x[:200], train_y=data.train_y[:200])


@pytest.fixture
def data(images):
    return images.flat()


def networks(dtype=torch.float64, **options):
    usual = {"bias": True, "scheme": "lecun", "gain": 1.3, "normalizer": None} | options
    return [MLP([64, 20, 12, 10], "tanh", generator=stream("tests", "many", r), dtype=dtype, **usual) for r in range(3)]


def orders():
    return [stream("tests", "many order", r) for r in range(3)]


def one_by_one(nets, data, *, rates=RATES, momentum=0.0, **options):
    optimizers = [torch.optim.SGD(n.parameters(), lr=lr, momentum=momentum) for n, lr in zip(nets, rates, strict=True)]
    triples = zip(nets, optimizers, orders(), strict=True)
    return [fit(net, data, optimizer, generator=order, **options) for net, optimizer, order in triples]


class Double(nn.Module):
    """A network in double precision that takes inputs in single precision."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x.double())


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize(("steps", "bound"), [(1, 1e-12), (20, 1e-9)])
def test_each_network_goes_its_own_way(data, momentum, steps, bound):
    together = [Double(net) for net in networks()]
    alone = copy.deepcopy(together)
    options = {"momentum": momentum, "steps": steps, "batch": 32}
    many = fit_many(together, data, lr=torch.tensor(RATES, dtype=torch.float64), generators=orders(), **options)
    single = one_by_one(alone, data, **options)
    start = [Double(net) for net in networks()]
    for r in range(3):
        torch.testing.assert_close(many[r].loss, single[r].loss, rtol=bound, atol=0)
        for first, ours, theirs in zip(*(n[r].parameters() for n in (start, together, alone)), strict=True):
            assert (ours - theirs).norm() <= bound * theirs.norm()
            assert (theirs - first).norm() > 1e3 * bound * first.norm()  # it has moved


def test_a_common_learning_rate(data):
    together, alone = networks(torch.float32), networks(torch.float32)
    fit_many(together, data, lr=0.1, steps=5, batch=32, generators=orders())
    one_by_one(alone, data, rates=(0.1,) * 3, steps=5, batch=32)
    for ours, theirs in zip(together, alone, strict=True):
        torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["batch", "layer", "group"])
def test_normalizers_and_their_buffers(images, kind):
    def nets():
        make = {"groups": 2} if kind == "group" else {}
        extra = {"momentum": 0.1} if kind == "batch" else {}
        norm = normalizer(kind, eps=1e-5, affine=True, **make, **extra)
        options = {"depth": 4, "stages": 1, "width": 4, "act": "relu", "normalizer": norm, "bias": False}
        options |= {"padding_mode": "zeros", "scheme": "kaiming", "gain": None}
        return [PlainCNN(1, 10, generator=stream("tests", "conv", r), **options) for r in range(3)]

    together, alone = nets(), nets()
    fit_many(together, images, lr=torch.tensor(RATES), steps=3, batch=32, generators=orders())
    one_by_one(alone, images, steps=3, batch=32)
    for ours, theirs in zip(together, alone, strict=True):
        torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=1e-3, atol=1e-4)


def test_batches_of_one_class(data):
    """The same orders as in `fit`, so the same batches."""
    together, alone = ([Double(net) for net in networks()] for _ in range(2))
    options = {"steps": 5, "batch": 8, "groups": data.train_y}
    many = fit_many(together, data, lr=torch.tensor(RATES, dtype=torch.float64), generators=orders(), **options)
    for ours, theirs in zip(many, one_by_one(alone, data, **options), strict=True):
        torch.testing.assert_close(ours.loss, theirs.loss, rtol=1e-10, atol=0)


def test_one_that_diverges_leaves_the_others_alone(data):
    together, alone = networks(torch.float32), networks(torch.float32)
    rates = (0.3, 1e38, 0.1)
    many = fit_many(together, data, lr=torch.tensor(rates), momentum=0.5, steps=30, batch=32, generators=orders())
    single = one_by_one(alone, data, rates=rates, momentum=0.5, steps=30, batch=32)
    assert [run.diverged for run in many] == [run.diverged for run in single] == [False, True, False]
    assert [len(run.loss) for run in many] == [len(run.loss) for run in single]
    assert 1 <= len(many[1].loss) < 30
    for r in (0, 2):
        torch.testing.assert_close(many[r].loss, single[r].loss, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(together[r].state_dict(), alone[r].state_dict(), rtol=1e-4, atol=1e-5)


def test_all_may_diverge(data):
    many = fit_many(networks(torch.float32), data, lr=1e38, steps=30, batch=32, generators=orders())
    assert all(run.diverged for run in many)


def test_divergence_in_the_last_step_is_noticed(data):
    assert fit_many(networks(torch.float32)[:1], data, lr=float("inf"), steps=1, batch=9, generators=orders()[:1])[
        0
    ].diverged


def test_frozen_parameters_stay(data):
    nets = networks(torch.float32)
    for net in nets:
        net.layer1.requires_grad_(False)
    before = copy.deepcopy(nets)
    fit_many(nets, data, lr=0.1, momentum=0.9, steps=3, batch=32, generators=orders())
    for net, old in zip(nets, before, strict=True):
        assert torch.equal(net.layer1.weight, old.layer1.weight)
        assert not torch.equal(net.layer2.weight, old.layer2.weight)


def test_an_interruption_keeps_what_was_learned(data):
    nets, calls = networks(torch.float32), []

    def interrupted(scores, labels):
        calls.append(1)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return functional.cross_entropy(scores, labels)

    with pytest.raises(KeyboardInterrupt):
        fit_many(nets, data, lr=0.1, steps=30, batch=32, generators=orders(), loss_fn=interrupted)
    alone = networks(torch.float32)
    one_by_one(alone, data, rates=(0.1,) * 3, steps=3, batch=32)
    torch.testing.assert_close(nets[0].state_dict(), alone[0].state_dict(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("first", "odd", "message"),
    [
        (nn.Dropout(0.1), nn.Dropout(0.5), r"0.p: 0.5 instead of 0.1; .* separate"),
        (nn.Tanh(), nn.Sigmoid(), r"0.type: 'Sigmoid' instead of 'Tanh'"),
        (nn.AvgPool1d(2), nn.AvgPool1d(2, stride=1), r"0.stride: \(1,\) instead of \(2,\)"),
    ],
)
def test_networks_must_have_the_same_settings(data, first, odd, message):
    nets = [nn.Sequential(copy.deepcopy(part), nn.Linear(64, 10)) for part in (first, first, odd)]
    with pytest.raises(ValueError, match=f"network 2 differs from network 0 in {message}"):
        fit_many(nets, data, lr=0.1, steps=1, batch=2, generators=orders())


def test_networks_must_be_alike(data):
    odd = MLP([64, 20, 13, 10], "tanh", bias=True, scheme="lecun", gain=1.0, generator=stream("tests", "odd"))
    with pytest.raises(ValueError, match=r"network 2 differs from network 0 in layer2.weight: .* \[13, 20\] instead"):
        fit_many([*networks(torch.float32)[:2], odd], data, lr=0.1, steps=1, batch=9, generators=orders())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modules": []}, "no network"),
        ({"lr": torch.tensor([0.1, 0.2])}, "got 3 networks, 2 learning rates and 3 generators"),
        ({"generators": []}, "got 3 networks, 3 learning rates and 0 generators"),
        ({"batch": 0}, "between 1 and the 200 training examples"),
        ({"loss_fn": lambda scores, labels: scores.sum(1)}, r"shape \[32\]; it must return one number"),
    ],
)
def test_bad_input_is_named(data, change, message):
    usual = {"modules": networks(torch.float32), "lr": 0.1, "batch": 32, "generators": orders()}
    with pytest.raises(ValueError, match=message):
        fit_many(data=data, steps=1, **(usual | change))


def test_a_network_given_twice(data):
    net = networks(torch.float32)[0]
    with pytest.raises(ValueError, match="given twice"):
        fit_many([net, net], data, lr=0.1, steps=1, batch=9, generators=orders()[:2])
