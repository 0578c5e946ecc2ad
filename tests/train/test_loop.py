from dataclasses import replace
from itertools import chain

import pytest
import torch
from torch import nn
from torch.nn import functional

from signalprop import load_data, stream
from signalprop.train import evaluate, fit


@pytest.fixture
def data():
    return load_data("digits").standardized().flat()


def linear():
    layer = nn.Linear(64, 10)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def run(layer, data, steps=5, batch=32, lr=0.1, **options):
    optimizer = torch.optim.SGD(layer.parameters(), lr=lr)
    return fit(layer, data, optimizer, steps=steps, batch=batch, generator=stream("tests", "fit"), **options)


def test_softmax_regression_by_hand(data):
    """Whole-batch descent with the gradient (p − y) xᵀ, written out."""
    data = replace(data, train_x=data.train_x[:50], train_y=data.train_y[:50])
    layer = linear()
    history = run(layer, data, steps=4, batch=50)
    weight, bias, losses = torch.zeros(10, 64), torch.zeros(10), []
    labels = functional.one_hot(data.train_y, 10).float()
    for _ in range(4):
        scores = data.train_x @ weight.T + bias
        losses.append((scores.logsumexp(1) - (scores * labels).sum(1)).mean())
        error = (scores.softmax(1) - labels) / 50
        weight, bias = weight - 0.1 * error.T @ data.train_x, bias - 0.1 * error.sum(0)
    torch.testing.assert_close(layer.weight.detach(), weight)
    torch.testing.assert_close(history.loss.float(), torch.stack(losses))


def test_each_round_takes_every_example_once(data):
    numbers, labels = torch.arange(10.0).view(10, 1), torch.zeros(10, dtype=torch.int64)
    small = replace(data, train_x=numbers, train_y=labels, test_x=numbers, test_y=labels)
    seen = []

    class Spy(nn.Linear):
        def forward(self, x):
            seen.append(x.flatten().tolist())
            return super().forward(x)

    run(Spy(1, 2), small, steps=6, batch=3)
    rounds = [[*chain(*seen[:3])], [*chain(*seen[3:])]]
    assert all(len(examples) == len(set(examples)) == 9 for examples in rounds)
    assert rounds[0] != rounds[1]


def test_batches_of_one_class(data):
    """Trained on such batches alone, a step of one class raises its score."""
    seen = []

    def loss_fn(scores, labels):
        seen.append(labels.unique().tolist())
        return functional.cross_entropy(scores, labels)

    run(linear(), data, steps=30, groups=data.train_y, loss_fn=loss_fn)
    assert all(len(classes) == 1 for classes in seen)
    assert len({classes[0] for classes in seen}) > 3


def test_divergence_is_a_result(data):
    history = run(linear(), data, steps=200, lr=1e38)
    assert history.diverged
    assert len(history.loss) < 200
    assert history.loss.isfinite().all()


def test_divergence_in_the_last_step_is_noticed(data):
    assert run(linear(), data, steps=1, lr=float("inf")).diverged


def test_the_loss_must_be_one_number(data):
    with pytest.raises(ValueError, match=r"shape \[32\]; it must return one number"):
        run(linear(), data, loss_fn=lambda scores, labels: scores.sum(1))


def test_evaluation_keeps_the_modes_of_the_parts():
    net = nn.Sequential(nn.BatchNorm1d(3).eval(), nn.Identity())
    with pytest.raises(RuntimeError):
        evaluate(net, torch.zeros(2, 4), torch.tensor([0, 1]))
    assert [part.training for part in net.modules()] == [True, False, True]


def test_what_the_optimizer_does_not_hold_stays(data):
    net = nn.Sequential(nn.Linear(64, 8), nn.Linear(8, 10))
    frozen = net[0].weight.detach().clone()
    optimizer = torch.optim.SGD(net[1].parameters(), lr=0.1)
    fit(net, data, optimizer, steps=3, batch=32, generator=stream("tests", "frozen"))
    assert torch.equal(net[0].weight, frozen)
    once = net[0].weight.grad.clone()
    fit(net, data, torch.optim.SGD(net[1].parameters(), lr=0.0), steps=1, batch=32, generator=stream("tests", "frozen"))
    assert net[0].weight.grad.norm() < 3 * once.norm()  # gradients of earlier steps are not added up


def test_one_stream_gives_one_run(data):
    assert torch.equal(run(linear(), data).loss, run(linear(), data).loss)


@pytest.mark.parametrize("batch", [0, 1416])
def test_a_batch_must_fit(data, batch):
    with pytest.raises(ValueError, match="between 1 and the 1415 training examples"):
        run(linear(), data, batch=batch)


def test_evaluation_leaves_the_mode_and_asks_in_evaluation_mode():
    net = nn.Sequential(nn.Dropout(0.999), nn.Identity())
    x = torch.tensor([[3.0, 1.0], [0.0, 5.0], [2.0, 1.0]])
    loss, accuracy = evaluate(net, x, torch.tensor([0, 1, 1]))
    assert net.training
    assert accuracy == pytest.approx(2 / 3)
    assert loss == pytest.approx(functional.cross_entropy(x, torch.tensor([0, 1, 1])).item())


def test_another_loss(data):
    history = run(linear(), data, steps=1, loss_fn=lambda scores, labels: scores.sum() + 7)
    assert history.loss.tolist() == [7.0]
