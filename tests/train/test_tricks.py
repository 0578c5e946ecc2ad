import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from signalprop import load_data, stream
from signalprop.nets import MLP, add_dropout_
from signalprop.train import Tricks, fit, fit_with_tricks, pgd, rate_schedule


@pytest.fixture(scope="module")
def data():
    return load_data("digits").standardized().flat()


def network(replicate=0):
    source = stream("test tricks", "net", replicate)
    return MLP([64, 12, 10], "tanh", bias=True, scheme="lecun", gain=1.0, generator=source)


def order(replicate=0):
    return stream("test tricks", "order", replicate)


def train(nets, data, tricks, steps=20, **options):
    options = {"generators": [order() for _ in nets], "noise": stream("test tricks", "noise"), **options}
    return fit_with_tricks(nets, data, tricks, steps=steps, batch=16, **options)


def same(a, b, tolerance=2e-5):
    return all(torch.allclose(p, q, atol=tolerance) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_each_network_goes_as_with_an_optimizer_of_torch(data):
    tricks = [Tricks(0.05), Tricks(0.01, "adam"), Tricks(0.02), Tricks(0.003, "adam")]
    nets, twins = [network(r) for r in range(4)], [network(r) for r in range(4)]
    losses = train(nets, data, tricks, generators=[order(r) for r in range(4)])
    for r, (twin, t) in enumerate(zip(twins, tricks, strict=True)):
        optimizer = (
            torch.optim.Adam(twin.parameters(), lr=t.lr)
            if t.optimizer == "adam"
            else torch.optim.SGD(twin.parameters(), lr=t.lr, momentum=0.9)
        )
        history = fit(twin, data, optimizer, steps=20, batch=16, generator=order(r))
        assert same(nets[r], twin)
        assert torch.allclose(losses[r].double(), history.loss, atol=1e-4)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_decay_is_that_of_torch_on_matrices_alone(data, optimizer):
    net, twin = network(), network()
    train([net], data, [Tricks(0.01, optimizer, decay=0.1)])
    groups = [
        {"params": [p for p in twin.parameters() if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in twin.parameters() if p.ndim == 1]},
    ]
    kind = torch.optim.Adam(groups, lr=0.01) if optimizer == "adam" else torch.optim.SGD(groups, lr=0.01, momentum=0.9)
    fit(twin, data, kind, steps=20, batch=16, generator=order())
    assert same(net, twin)


def test_schedule_is_followed(data):
    net, twin = network(), network()
    train([net], data, [Tricks(0.1, warmup=5, cosine=True)])
    optimizer = torch.optim.SGD(twin.parameters(), lr=1.0, momentum=0.9)
    rates = iter(rate_schedule(0.1, 20, warmup=5, cosine=True).tolist())

    def next_rate(*_):
        optimizer.param_groups[0]["lr"] = next(rates)

    optimizer.register_step_pre_hook(next_rate)
    fit(twin, data, optimizer, steps=20, batch=16, generator=order())
    assert same(net, twin)


def test_cosine_starts_high_and_ends_near_zero():
    rates = rate_schedule(2.0, 100, cosine=True)
    assert rates[0] == 2.0
    assert rates[50].item() == pytest.approx(1.0)
    assert 0 < rates[-1] < 1e-3


@pytest.mark.parametrize("steps", [1, 3])
def test_adversarial_training_is_training_on_attacked_batches(data, steps):
    net, twin = network(), network()
    train([network(1), net], data, [Tricks(0.05), Tricks(0.05, attack_steps=steps)], epsilon=0.2)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.05, momentum=0.9)
    generator = order()
    numbers = torch.randperm(len(data.train_x), generator=generator)
    for k in range(20):
        chosen = numbers[16 * k : 16 * (k + 1)]
        x, y = data.train_x[chosen], data.train_y[chosen]
        size = 0.2 if steps == 1 else 2.5 * 0.2 / steps
        attacked = pgd(twin, x, y, epsilon=0.2, step_size=size, steps=steps)
        optimizer.zero_grad()
        functional.cross_entropy(twin(attacked), y).backward()
        optimizer.step()
    assert same(net, twin, 1e-4)


def test_only_networks_with_augmentation_see_it(data):
    nets, twins = [network(), network()], [network(), network()]
    both = [Tricks(0.05), Tricks(0.05, augment=True)]
    train(nets, data, both, augment=lambda x, generator: -x)
    train(twins, data, both, augment=lambda x, generator: x)
    assert same(nets[0], twins[0])
    assert not same(nets[1], twins[1], 1e-2)


def test_dropout_is_the_networks_own_and_can_be_repeated(data):
    def run():
        nets = [add_dropout_(network(), keep) for keep in (1.0, 0.5)]
        train(nets, data, [Tricks(0.05)] * 2)
        return nets

    before = torch.get_rng_state()
    (whole, dropped), (_, again) = run(), run()
    assert torch.equal(torch.get_rng_state(), before)
    plain = network()
    train([plain], data, [Tricks(0.05)])
    assert same(whole, plain)
    assert same(dropped, again, 0.0)
    assert not same(dropped, whole, 1e-2)


def test_a_network_that_diverges_stays_and_the_others_go_on(data):
    nets, alone = [network(), network()], network()
    losses = train(nets, data, [Tricks(1e38), Tricks(0.05)])
    train([alone], data, [Tricks(0.05)])
    assert same(nets[1], alone)
    assert losses[1].isfinite().all()
    assert not losses[0].isfinite().all()


def test_watch_sees_the_weights_of_that_moment(data):
    net, seen = network(), {}

    def look():
        seen["weight"] = net.layer1.weight.detach().clone()

    train([net], data, [Tricks(0.05)], watch={7: look})
    twin = network()
    train([twin], data, [Tricks(0.05)], steps=7)
    assert torch.equal(seen["weight"], twin.layer1.weight)
    assert not torch.equal(seen["weight"], net.layer1.weight)


@pytest.mark.parametrize(
    ("tricks", "message"),
    [
        ([Tricks(0.1, "lion")], "unknown optimizer 'lion'"),
        ([Tricks(0.1, augment=True)], "give the augmentation"),
        ([Tricks(0.1)] * 2, "got 1 networks, 2 tricks and 1 generators"),
    ],
)
def test_wrong_arguments(data, tricks, message):
    with pytest.raises(ValueError, match=message):
        train([network()], data, tricks)


def test_loss_starts_at_that_of_a_guess_for_a_zero_network(data):
    net = nn.Linear(64, 10)
    nn.init.zeros_(net.weight)
    nn.init.zeros_(net.bias)
    assert train([net], data, [Tricks(0.1)])[0, 0].item() == pytest.approx(math.log(10), rel=1e-5)
