"""Greedy pre-training against the singular value decomposition, and what it must leave alone."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from signalprop import load_data, stream
from signalprop.nets import MLP, ResidualMLP, weight_norm_
from signalprop.nets.normalizers import normalizer
from signalprop.train import evaluate, fit, pretrain_


@pytest.fixture
def digits():
    return load_data("digits").flat()


def random(*shape, replicate=0):
    return torch.randn(shape, generator=stream("tests", "pretraining", replicate))


def gaussian_data(digits, spread):
    """Inputs with standard deviations `spread`, in a random basis, with a mean."""
    basis = torch.linalg.qr(random(len(spread), len(spread)))[0]
    x = random(200, len(spread), replicate=1) * torch.tensor(spread) @ basis + 0.5
    return replace(
        digits, train_x=x, train_y=torch.zeros(200, dtype=torch.int64), test_x=x[:382], test_y=digits.test_y[:200]
    )


def network(widths, act="sigmoid", **options):
    usual = {"bias": True, "scheme": "xavier", "gain": 1.0, "generator": stream("tests", "pretrained")}
    return MLP(widths, act, **(usual | options))


def run(net, data, **options):
    usual = {"steps": 5, "batch": 32, "lr": 0.1, "generator": stream("tests", "pretrain")}
    return pretrain_(net, data, **(usual | options))


def under_weight_norm():
    net = network([64, 12, 10])
    weight_norm_(net)
    return net


def state(net):
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def test_a_linear_layer_finds_the_principal_components(digits):
    """No k-dimensional description leaves less than the variance of the others (Baldi and Hornik 1989)."""
    data = gaussian_data(digits, [1.0, 0.8, 0.6, 0.2, 0.1, 0.1])
    net = network([6, 3, 2], "linear")
    (history,) = run(net, data, steps=1500, batch=200, lr=0.1)
    centred = data.train_x - data.train_x.mean(0)
    _, values, right = torch.linalg.svd(centred, full_matrices=False)
    residual = values[3:].square().sum().item() / 200
    assert history.loss[-1].item() == pytest.approx(residual, rel=1e-3)
    assert history.loss[-1] > residual * (1 - 1e-4)
    weight = net.layer1.weight.detach()
    torch.testing.assert_close(weight.T @ weight, right[:3].T @ right[:3], atol=5e-3, rtol=0)


def test_the_second_linear_layer_describes_the_first(digits):
    """The best two directions of the best three are the best two."""
    data = gaussian_data(digits, [1.0, 0.7, 0.4, 0.2, 0.1, 0.1])
    net = network([6, 3, 2, 2], "linear")
    _, second = run(net, data, steps=1500, batch=200, lr=0.1)
    codes = net.act1(net.layer1(data.train_x)).detach()
    values = torch.linalg.svdvals(codes - codes.mean(0))
    assert second.loss[-1].item() == pytest.approx(values[2].square().item() / 200, rel=1e-2)


@pytest.mark.parametrize(("act", "logistic"), [("sigmoid", True), ("tanh", False)])
@pytest.mark.parametrize("bias", [True, False])
def test_first_steps_by_hand(digits, act, logistic, bias):
    """Whole-batch descent with the tied decoder written out, for two layers."""
    data = digits if logistic else digits.standardized()
    data = replace(data, train_x=data.train_x[:40], train_y=data.train_y[:40])
    net = network([64, 9, 5, 3], act, bias=bias)
    if bias:
        nn.init.normal_(net.layer1.bias, generator=stream("tests", "bias"))
    function = {"sigmoid": torch.sigmoid, "tanh": torch.tanh}[act]
    x, expected, weights = data.train_x, [], []
    for layer in (net.layer1, net.layer2):
        w, b, c = layer.weight.detach().clone(), torch.zeros(len(layer.weight)), torch.zeros(x.shape[1])
        b = layer.bias.detach().clone() if bias else b
        losses = []
        for _ in range(3):
            w, b, c = (tensor.requires_grad_() for tensor in (w, b, c))
            z = function(x @ w.T + b) @ w + c
            p = torch.sigmoid(z)
            loss = -(x * p.log() + (1 - x) * (1 - p).log()) if logistic else (z - x) ** 2
            loss = loss.sum(1).mean()
            slopes = torch.autograd.grad(loss, (w, b, c))
            w, b, c = (
                (t - 0.01 * g * (bias or i != 1)).detach()
                for i, (t, g) in enumerate(zip((w, b, c), slopes, strict=True))
            )
            losses.append(loss.detach())
        expected.append(torch.stack(losses))
        weights.append((w, b))
        x = function(x @ w.T + b)
    histories = run(net, data, steps=3, batch=40, lr=0.01)
    for history, losses, layer, (w, b) in zip(histories, expected, (net.layer1, net.layer2), weights, strict=True):
        torch.testing.assert_close(history.loss.float(), losses)
        torch.testing.assert_close(layer.weight.detach(), w, atol=1e-5, rtol=1e-4)
        if bias:
            torch.testing.assert_close(layer.bias.detach(), b, atol=1e-5, rtol=1e-4)


def test_the_output_layer_stays_and_the_hidden_layers_move(digits):
    net = network([64, 12, 8, 10])
    before = state(net)
    histories = run(net, digits)
    after = net.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"layer1.weight", "layer1.bias", "layer2.weight", "layer2.bias"}
    assert [len(history.loss) for history in histories] == [5, 5]
    assert not any(history.diverged for history in histories)


def test_layers_above_do_not_change_layers_below(digits):
    """A layer is trained once, and left alone when the next ones are: the shorter network has the same first layer."""
    short, long = network([64, 12, 10]), network([64, 12, 8, 8, 10])
    with torch.no_grad():
        long.layer1.weight.copy_(short.layer1.weight)
    (alone,), (first, *_) = run(short, digits), run(long, digits)
    assert torch.equal(alone.loss, first.loss)
    assert torch.equal(short.layer1.weight, long.layer1.weight)


def test_one_stream_gives_one_result(digits):
    nets = [network([64, 12, 8, 10]) for _ in range(3)]
    runs = [run(net, digits, generator=stream("tests", "order", r)) for net, r in zip(nets, (0, 0, 1), strict=True)]
    assert all(torch.equal(a.loss, b.loss) for a, b in zip(*runs[:2], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True))
    assert not torch.equal(nets[0].layer1.weight, nets[2].layer1.weight)


def test_modes_gradients_and_the_global_generator_stay(digits):
    net = network([64, 12, 10]).eval()
    net(digits.train_x[:3]).sum().backward()
    gradients = [weight.grad.clone() for weight in net.parameters()]
    generator, x, places = torch.get_rng_state(), digits.train_x.clone(), [id(weight) for weight in net.parameters()]
    run(net, digits)
    assert not any(part.training for part in net.modules())
    assert all(torch.equal(a, weight.grad) for a, weight in zip(gradients, net.parameters(), strict=True))
    assert torch.equal(torch.get_rng_state(), generator)
    assert torch.equal(digits.train_x, x)
    assert [id(weight) for weight in net.parameters()] == places  # an optimizer made before holds them still
    assert all(weight.requires_grad for weight in net.parameters())


def test_labels_are_not_looked_at(digits):
    nets = [network([64, 12, 10]) for _ in range(2)]
    run(nets[0], digits)
    run(nets[1], replace(digits, train_y=digits.train_y.flip(0)))
    assert torch.equal(nets[0].layer1.weight, nets[1].layer1.weight)


def test_a_deep_logistic_network_learns_after_it_and_not_before(digits):
    losses = []
    for pretrained in (False, True):
        net = network([64, *[32] * 6, 10])
        if pretrained:
            run(net, digits, steps=300, batch=64, lr=1.0)
        optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
        fit(net, digits, optimizer, steps=300, batch=64, generator=stream("tests", "after"))
        losses.append(evaluate(net, digits.test_x, digits.test_y, functional.cross_entropy)[0])
    assert losses[0] > 2.2
    assert losses[1] < 1.3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch": 0}, "between 1 and the 1415 training examples"),
        ({"batch": 1416}, "between 1 and the 1415 training examples"),
        ({"lr": 1e30}, r"layer1 diverged in step \d+ at lr=1e\+30; take a smaller lr"),
    ],
)
def test_a_run_that_fails_leaves_the_network(digits, change, message):
    net = network([64, 12, 8, 10], "relu")
    before = state(net)
    with pytest.raises(ValueError, match=message):
        run(net, digits, **change)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_a_layer_that_diverges_later_undoes_the_first(digits):
    """Layers that multiply by thousands: the first sees tiny inputs, the second large ones."""
    net = network([64, 12, 8, 10], lambda z: 1e4 * z, bias=False)
    before = state(net)
    with pytest.raises(ValueError, match="layer2 diverged"):
        run(net, replace(digits, train_x=-1e-6 * digits.train_x), lr=0.01, steps=50)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Linear(64, 10), "for an MLP, got a Linear"),
        (
            lambda: ResidualMLP(
                64, 10, depth=4, width=6, branch_layers=2, block="pre_activation", scale=1.0, act="relu",
                normalizer=None, bias=True, scheme="kaiming", gain=None, generator=stream("tests", "other"),
            ),
            "for an MLP, got a ResidualMLP",
        ),
        (lambda: network([64, 10]), "no hidden layer"),
        (lambda: network([63, 12, 10]), r"shape \[examples, 63\] and be finite, got shape \[1415, 64\]"),
        (
            lambda: network([64, 12, 10], normalizer=normalizer("batch", eps=1e-5, momentum=0.1, affine=True)),
            "without normalizers",
        ),
        (under_weight_norm, "without normalizers of signals or weights, got ParametrizedLinear"),
    ],
)  # fmt: skip
def test_what_cannot_be_pretrained_is_said(digits, make, message):
    with pytest.raises(ValueError, match=message):
        run(make(), digits)


def test_inputs_must_be_flat_and_finite(digits):
    with pytest.raises(ValueError, match=r"got shape \[1415, 1, 8, 8\]"):
        run(network([8, 12, 10]), load_data("digits"))
    broken = digits.train_x.clone()
    broken[3, 5] = torch.nan
    with pytest.raises(ValueError, match="be finite"):
        run(network([64, 12, 10]), replace(digits, train_x=broken))
