"""Attacks against closed forms on linear classifiers; and what they must leave alone."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from signalprop import load_data, stream
from signalprop.nets import MLP
from signalprop.train import evaluate, fgsm, fit, pgd

EPSILON = 0.25


def random(*shape, replicate=0):
    return torch.randn(shape, dtype=torch.float64, generator=stream("tests", "attacks", replicate))


@pytest.fixture
def two_classes():
    """Scores 0 and w·x + b, so that the cross-entropy is the logistic loss."""
    layer = nn.Linear(6, 2, dtype=torch.float64)
    with torch.no_grad():
        layer.weight[0], layer.bias[0] = 0.0, 0.0
        layer.weight[1], layer.bias[1] = random(6), 0.3
    return layer


@pytest.fixture
def network():
    return MLP([6, 9, 4], "tanh", bias=True, scheme="lecun", gain=1.5, generator=stream("tests", "attacked")).double()


def batch(examples=7, classes=2):
    labels = torch.randint(classes, (examples,), generator=stream("tests", "labels"))
    return random(examples, 6, replicate=1), labels


def losses(module, x, y):
    return functional.cross_entropy(module(x), y, reduction="none").detach()


def worst_logistic_loss(layer, x, y, dual_norm):
    """ln(1 + exp(−margin + ε‖w‖*)), what no point of the ball exceeds."""
    w = layer.weight[1].detach()
    margin = (2 * y - 1) * (x @ w + layer.bias[1].detach())
    return functional.softplus(-margin + EPSILON * torch.linalg.vector_norm(w, dual_norm))


def attacks():
    """Every attack with a random start and without, as functions of module, x and y."""
    options = {"epsilon": EPSILON, "step_size": 0.1, "steps": 3}
    found = {"fgsm": lambda *args, **more: fgsm(*args, epsilon=EPSILON, **more)}
    for norm in ("inf", 2):
        found[f"pgd-{norm}"] = lambda *args, norm=norm, **more: pgd(*args, norm=norm, **options, **more)
        found[f"pgd-{norm}-random"] = lambda *args, norm=norm, **more: pgd(
            *args, norm=norm, generator=stream("tests", "start"), **options, **more
        )
    return found


@pytest.fixture(params=attacks())
def attack(request):
    return attacks()[request.param]


def test_fgsm_finds_the_worst_point_of_a_logistic_classifier(two_classes):
    x, y = batch()
    found = fgsm(two_classes, x, y, epsilon=EPSILON)
    torch.testing.assert_close(losses(two_classes, found, y), worst_logistic_loss(two_classes, x, y, 1))
    w = two_classes.weight[1].detach()
    torch.testing.assert_close(found, x - EPSILON * (2 * y - 1).view(-1, 1) * w.sign())


def test_fgsm_finds_the_least_margin_to_another_class():
    """s_y − s_k falls by ε‖w_y − w_k‖₁, for each example its own amount."""
    layer = nn.Linear(6, 5, dtype=torch.float64)
    layer.weight.data.copy_(random(5, 6))
    x, y = batch(classes=5)
    other = (y + 2) % 5

    def margin(scores, pair):
        return (scores.gather(1, pair[:, 1:]) - scores.gather(1, pair[:, :1])).mean()

    found = fgsm(layer, x, torch.stack([y, other], 1), epsilon=EPSILON, loss_fn=margin)
    w = layer.weight.detach()
    fall = [(w[a] - w[b]) @ (before - after) for a, b, before, after in zip(y, other, x, found, strict=True)]
    torch.testing.assert_close(torch.stack(fall), EPSILON * (w[y] - w[other]).abs().sum(1))


@pytest.mark.parametrize("generator", [None, stream("tests", "start")])
def test_pgd_reaches_the_corner(two_classes, generator):
    x, y = batch()
    options = {"epsilon": EPSILON, "step_size": 0.06, "generator": generator}
    found = pgd(two_classes, x, y, steps=9, **options)  # 0.54 leads across the whole ball
    torch.testing.assert_close(found, fgsm(two_classes, x, y, epsilon=EPSILON))
    early = pgd(two_classes, x, y, steps=1, **options)
    assert losses(two_classes, early, y).sum() < losses(two_classes, found, y).sum()


def test_euclidean_pgd_goes_along_the_weights(two_classes):
    x, y = batch()
    found = pgd(two_classes, x, y, epsilon=EPSILON, step_size=0.06, steps=6, norm=2)
    w = two_classes.weight[1].detach()
    torch.testing.assert_close(found, x - EPSILON * (2 * y - 1).view(-1, 1) * w / w.norm())
    torch.testing.assert_close(losses(two_classes, found, y), worst_logistic_loss(two_classes, x, y, 2))


def test_euclidean_pgd_finds_it_from_a_random_start_too(two_classes):
    """Each step across and each projection shrinks what is orthogonal to w."""
    x, y = batch()
    found = pgd(two_classes, x, y, epsilon=EPSILON, step_size=0.2, steps=60, norm=2, generator=stream("tests", "start"))
    torch.testing.assert_close(losses(two_classes, found, y), worst_logistic_loss(two_classes, x, y, 2))


def test_a_step_has_the_size_it_is_given(network):
    x, y = batch(classes=4)
    far = {"epsilon": 100.0, "step_size": 0.125, "steps": 1}
    assert ((pgd(network, x, y, **far) - x).abs() - 0.125).abs().max() < 1e-14
    lengths = (pgd(network, x, y, norm=2, **far) - x).norm(dim=1)
    torch.testing.assert_close(lengths, torch.full_like(lengths, 0.125))


@pytest.mark.parametrize("start", [None, stream("tests", "start")])
def test_projections_hold(network, start):
    """With steps that overshoot by far; x ± ε is rounded once."""
    x, y = batch(200, classes=4)
    options = {"epsilon": EPSILON, "step_size": 3.0, "generator": start}
    box = pgd(network, x, y, steps=4, **options)
    assert ((x - EPSILON <= box) & (box <= x + EPSILON)).all()
    sphere = pgd(network, x, y, steps=4, norm=2, **options)
    assert ((sphere - x).norm(dim=1) <= EPSILON * (1 + 1e-14)).all()
    assert ((sphere - x).norm(dim=1) > 0.99 * EPSILON).all()


def test_projection_of_known_points():
    """A constant gradient (3, 4)/5 and two steps of 2 from the centre of a ball of radius 3: 2, then 3, not 4."""
    layer = nn.Linear(2, 1, bias=False, dtype=torch.float64)
    layer.weight.data.copy_(torch.tensor([[3.0, 4.0]]))
    x, y = torch.zeros(1, 2, dtype=torch.float64), torch.zeros(1)
    for steps, length in ((1, 2.0), (2, 3.0)):
        found = pgd(layer, x, y, epsilon=3.0, step_size=2.0, steps=steps, norm=2, loss_fn=lambda s, y: s.sum())
        torch.testing.assert_close(found, length * torch.tensor([[0.6, 0.8]], dtype=torch.float64))


def test_bounds_hold_and_so_does_the_ball(network, attack):
    x, y = batch(50, classes=4)
    x = x.clamp(-0.5, 0.5)
    found = attack(network, x, y, bounds=(-0.5, 0.5))
    assert found.min() == -0.5
    assert found.max() == 0.5
    assert ((found - x).abs() <= EPSILON * (1 + 1e-14)).all()
    assert attack(network, x, y).abs().max() > 0.5


@pytest.mark.parametrize("norm", ["inf", 2])
def test_no_radius_no_change(network, norm):
    x, y = batch(classes=4)
    start = stream("tests", "start")
    assert torch.equal(fgsm(network, x, y, epsilon=0.0), x)
    assert torch.equal(pgd(network, x, y, epsilon=0.0, step_size=0.1, steps=2, norm=norm, generator=start), x)
    assert torch.equal(pgd(network, x, y, epsilon=0.1, step_size=0.0, steps=2, norm=norm), x)


def test_where_the_gradient_is_zero_the_example_stays(attack):
    """A dead ReLU: one example has no gradient, the other has."""
    net = nn.Sequential(nn.Linear(3, 1), nn.ReLU())
    net[0].weight.data.copy_(torch.tensor([[1.0, -2.0, 0.0]]))
    net[0].bias.data.zero_()
    x, y = torch.tensor([[-5.0, 1.0, 1.0], [5.0, 1.0, 1.0]]), torch.zeros(2)
    found = attack(net, x, y, loss_fn=lambda score, label: score.sum())
    start = attack(net, x, y, loss_fn=lambda score, label: 0 * score.sum())
    assert torch.equal(found[0], start[0])
    assert found[1, 0] > start[1, 0]


def test_the_smallest_gradients_have_a_direction():
    layer = nn.Linear(2, 1, bias=False)
    layer.weight.data.copy_(torch.tensor([[3e-30, 4e-30]]))
    found = pgd(
        layer,
        torch.zeros(1, 2),
        torch.zeros(1),
        epsilon=1.0,
        step_size=1.0,
        steps=1,
        norm=2,
        loss_fn=lambda s, y: s.sum(),
    )
    torch.testing.assert_close(found, torch.tensor([[0.6, 0.8]]))


def test_examples_do_not_feel_each_other(network, attack):
    """Neither through the batch nor through a loss that would couple them."""
    x, y = batch(9, classes=4)

    def coupled(scores, labels):
        return (functional.cross_entropy(scores, labels) - 1.5) ** 2

    for loss_fn in (functional.cross_entropy, coupled):
        together = attack(network, x, y, loss_fn=loss_fn)
        fewer = attack(network, x[:4], y[:4], loss_fn=loss_fn)
        torch.testing.assert_close(together[:4], fewer, rtol=0, atol=1e-12)


def test_mean_and_sum_are_one_loss(network, attack):
    x, y = batch(classes=4)
    sums = attack(network, x, y, loss_fn=lambda s, y: functional.cross_entropy(s, y, reduction="sum"))
    assert torch.equal(attack(network, x, y), sums)


def test_gradients_are_those_of_the_single_losses(network):
    """One Euclidean step against autograd, example by example."""
    x, y = batch(classes=4)
    found = pgd(network, x, y, epsilon=1.0, step_size=0.5, steps=1, norm=2)
    for example, label, moved in zip(x, y, found, strict=True):
        leaf = example.clone().requires_grad_()
        functional.cross_entropy(network(leaf), label).backward()
        torch.testing.assert_close(moved - example, 0.5 * leaf.grad / leaf.grad.norm())


@pytest.mark.parametrize(("norm", "shape"), [("inf", (3, 2)), (2, (3, 2))])
def test_random_starts_fill_the_ball(norm, shape):
    """With no steps to go, radii of uniform points: P(radius < ε/2) = 2⁻⁶, of the largest entry and of the norm."""
    x, y = torch.zeros(20_000, *shape), torch.zeros(20_000)
    found = pgd(
        nn.Flatten(),
        x,
        y,
        epsilon=2.0,
        step_size=0.0,
        steps=1,
        norm=norm,
        generator=stream("tests", "ball"),
        loss_fn=lambda scores, y: scores.sum(),
    ).flatten(1)
    radius = torch.linalg.vector_norm(found, math.inf if norm == "inf" else 2, dim=1)
    assert radius.max() <= 2 * (1 + 1e-6)
    for share in (0.5, 0.8, 0.95):
        expected = share**6
        error = math.sqrt(expected * (1 - expected) / len(x))
        assert (radius < 2 * share).double().mean().item() == pytest.approx(expected, abs=5.5 * error)
    assert (found.mean(0).abs() < 5.5 * 2 / math.sqrt(len(x))).all()


def test_one_stream_gives_one_attack(network):
    x, y = batch(classes=4)
    options = {"epsilon": EPSILON, "step_size": 0.01, "steps": 2}
    runs = [pgd(network, x, y, generator=stream("tests", "start", r), **options) for r in (0, 0, 1)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def snapshot(net):
    return (
        {name: tensor.clone() for name, tensor in net.state_dict().items()},
        [part.training for part in net.modules()],
        [None if weight.grad is None else weight.grad.clone() for weight in net.parameters()],
    )


def test_everything_is_left_as_it_was(attack):
    net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3).eval())
    net[0](torch.ones(1, 6)).sum().backward()
    net[3].weight.requires_grad_(False)
    x, y = batch(classes=3)
    x = x.float().requires_grad_()
    copy, before, state = x.detach().clone(), snapshot(net), torch.get_rng_state()
    with torch.no_grad():
        found = attack(net, x, y)
        assert not torch.is_grad_enabled()
    after = snapshot(net)
    assert all(torch.equal(before[0][name], after[0][name]) for name in before[0])
    assert before[1] == after[1]
    for old, new in zip(before[2], after[2], strict=True):
        assert (old is None and new is None) or torch.equal(old, new)
    assert torch.equal(torch.get_rng_state(), state)
    assert x.grad is None
    assert torch.equal(x, copy)
    assert not found.requires_grad
    assert (found.dtype, found.shape) == (x.dtype, x.shape)


def test_also_after_an_exception(network):
    net = nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(5, 2))
    before, state = snapshot(net), torch.get_rng_state()
    with pytest.raises(RuntimeError):
        fgsm(net, *batch(), epsilon=0.1)
    assert all(torch.equal(before[0][name], tensor) for name, tensor in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_the_mode_of_the_caller_is_used():
    """Batch statistics in training mode, running ones in evaluation mode, where they are still 0 and 1."""
    norm = nn.BatchNorm1d(6, dtype=torch.float64)
    net = nn.Sequential(norm, nn.Linear(6, 4, dtype=torch.float64))
    x, y = batch(classes=4)
    x = 5 + 3 * x
    options = {"epsilon": 1.0, "step_size": 0.5, "steps": 1, "norm": 2}
    for training in (True, False):
        net.train(training)
        leaf = x.clone().requires_grad_()
        mean, variance = (leaf.mean(0), leaf.var(0, correction=0)) if training else (0.0, torch.ones(6))
        scores = net[1]((leaf - mean) / (variance + norm.eps).sqrt())
        functional.cross_entropy(scores, y, reduction="sum").backward()
        expected = x + 0.5 * leaf.grad / leaf.grad.norm(dim=1, keepdim=True)
        torch.testing.assert_close(pgd(net, x, y, **options), expected)


def test_robust_accuracy_falls_on_digits():
    data = load_data("digits").flat()
    net = MLP([64, 32, 10], "relu", bias=True, scheme="kaiming", gain=None, generator=stream("tests", "robust"))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.3)
    fit(net, data, optimizer, steps=400, batch=64, generator=stream("tests", "robust", 1))
    x, y = data.test_x, data.test_y
    options = {"loss_fn": functional.cross_entropy, "bounds": (0.0, 1.0)}
    accuracies = [evaluate(net, fgsm(net, x, y, epsilon=e, **options), y)[1] for e in (0.0, 0.05, 0.1, 0.2)]
    strongest = pgd(net, x, y, epsilon=0.2, step_size=0.05, steps=10, **options)
    assert accuracies[0] == evaluate(net, x, y)[1] > 0.8
    assert accuracies == sorted(accuracies, reverse=True)
    assert evaluate(net, strongest, y)[1] <= accuracies[-1] < 0.3
    noise = 0.2 * torch.empty_like(x).uniform_(-1, 1, generator=stream("tests", "noise")).sign()
    assert evaluate(net, (x + noise).clamp(0, 1), y)[1] > accuracies[-1] + 0.3  # as large, without a direction


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epsilon": -0.1}, "epsilon must be finite and not negative"),
        ({"epsilon": math.nan}, "epsilon must be finite"),
        ({"step_size": math.inf}, "step_size must be finite"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"norm": 1}, 'norm must be "inf" or 2, got 1'),
        ({"norm": "2"}, "norm must be"),
        ({"bounds": (0.0, 1.0)}, "outside the bounds"),
        ({"bounds": (1.0, 0.0)}, "outside the bounds"),
        ({"loss_fn": lambda s, y: s}, r"shape \[1, 4\] for one example"),
        ({"loss_fn": lambda s, y: s.detach().sum()}, "does not depend on x"),
        ({"loss_fn": lambda s, y: (s * math.nan).sum()}, "gradient of the loss of example 0 is NaN"),
    ],
)
def test_what_cannot_be_done_is_said(network, change, message):
    options = {"epsilon": 0.1, "step_size": 0.1, "steps": 1}
    with pytest.raises(ValueError, match=message):
        pgd(network, *batch(classes=4), **(options | change))


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.zeros(0, 6), torch.zeros(0), "at least one entry"),
        (torch.tensor([[math.nan]]), torch.zeros(1), "all finite"),
        (torch.zeros(3, 6), torch.zeros(2), r"3 inputs and labels of shape \[2\]"),
        (torch.zeros(3, 6), torch.tensor(1), "give one label an input"),
    ],
)
def test_inputs_and_labels_must_fit(x, y, message):
    with pytest.raises(ValueError, match=message):
        fgsm(nn.Identity(), x, y, epsilon=0.1)


def test_outputs_must_be_one_an_example():
    with pytest.raises(ValueError, match=r"outputs \[6\] of 3 inputs"):
        fgsm(nn.Flatten(0), torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64), epsilon=0.1)
