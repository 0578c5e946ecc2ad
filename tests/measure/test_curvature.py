import math

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy, mse_loss

from signalprop import stream
from signalprop.measure import hessian_density, hessian_extremes


def linear(inputs, outputs, replicate):
    layer = nn.Linear(inputs, outputs).double()
    with torch.no_grad():
        for weight in layer.parameters():
            weight.copy_(torch.randn(weight.shape, generator=stream("tests", "curvature", replicate)).double())
    return layer


def plain():
    return nn.Sequential(linear(5, 7, 0), nn.Tanh(), linear(7, 3, 1))


def normalized():
    return nn.Sequential(linear(5, 7, 0), nn.BatchNorm1d(7).double(), nn.Tanh(), linear(7, 3, 1)).train()


def frozen():
    net = plain()
    net[0].weight.requires_grad_(False)
    return net


def single():
    """One linear layer: its Hessian is positive semidefinite and, shifts of all logits being free, singular."""
    return linear(5, 3, 0)


NETS = {"plain": plain, "BatchNorm": normalized, "frozen": frozen, "singular": single}


@pytest.fixture(params=NETS)
def net(request):
    return NETS[request.param]()


@pytest.fixture
def data():
    x = torch.randn(11, 5, generator=stream("tests", "curvature", 2), dtype=torch.float64)
    return x, torch.arange(11) % 3


@pytest.fixture
def loss_fn(data):
    x, y = data
    return lambda net: cross_entropy(net(x), y)


@pytest.fixture
def generator():
    return stream("tests", "curvature", 3)


def dense_hessian(net, loss_fn):
    """By torch, written out over the flat vector of trainable parameters."""
    names, weights = zip(*((n, w) for n, w in net.named_parameters() if w.requires_grad), strict=True)

    class Called(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, flat):
            parts = flat.split([w.numel() for w in weights])
            values = {n: p.view_as(w) for n, p, w in zip(names, parts, weights, strict=True)}
            values |= {n: b.clone() for n, b in net.named_buffers()}
            return loss_fn(lambda x: functional_call(net, values, (x,)))

    flat = torch.cat([w.detach().flatten() for w in weights])
    return torch.autograd.functional.hessian(Called(), flat)


def assert_extremes(extremes, hessian, tolerance):
    eigenvalues = torch.linalg.eigvalsh(hessian)
    error = tolerance * eigenvalues.abs().max().item()
    assert extremes == pytest.approx((eigenvalues[0].item(), eigenvalues[-1].item()), abs=error, rel=0)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-8])
def test_extremes_are_those_of_the_dense_hessian(net, loss_fn, generator, tolerance):
    extremes = hessian_extremes(net, loss_fn, generator=generator, tolerance=tolerance)
    assert_extremes(extremes, dense_hessian(net, loss_fn), tolerance)


def test_the_nets_have_indefinite_and_semidefinite_hessians(loss_fn):
    lowest = {kind: torch.linalg.eigvalsh(dense_hessian(make(), loss_fn))[0].item() for kind, make in NETS.items()}
    assert lowest["plain"] < -0.01
    assert lowest["BatchNorm"] < -0.01
    assert lowest["singular"] == pytest.approx(0, abs=1e-12)


def test_batch_statistics_are_part_of_the_function(loss_fn, generator):
    """In evaluation mode, with running statistics, the Hessian is another one."""
    net = normalized()
    training = hessian_extremes(net, loss_fn, generator=generator)
    evaluation = hessian_extremes(net.eval(), loss_fn, generator=generator)
    assert_extremes(evaluation, dense_hessian(net, loss_fn), 1e-4)
    assert training != pytest.approx(evaluation, rel=0.1)


@pytest.mark.parametrize("largest_magnitude_first", [-1, 1])
def test_either_end_may_be_the_larger_one(data, generator, largest_magnitude_first):
    """The loss of a minimum turned round has a maximum there."""
    x, _ = data
    net = plain()

    def loss_fn(net):
        return largest_magnitude_first * mse_loss(net(x), torch.zeros_like(x[:, :3]))

    assert_extremes(hessian_extremes(net, loss_fn, generator=generator), dense_hessian(net, loss_fn), 1e-4)


def quadratic(curvatures):
    curvatures = torch.as_tensor(curvatures, dtype=torch.float64)
    return nn.Linear(len(curvatures), 1, bias=False).double(), lambda net: (curvatures * net.weight**2).sum() / 2


@pytest.mark.parametrize(
    "curvatures",
    [[1.0, 4.0, -3.0], [-1.0, -4.0, -3.0, -2.0], [3.0] * 6, [0.0] * 5, [-2.0, 2.0, 0.0, 1.0], [1.0, -1.0] * 20],
    ids=["indefinite", "negative", "equal", "zero", "symmetric", "two values"],
)
def test_known_spectra(curvatures, generator):
    extremes = hessian_extremes(*quadratic(curvatures), generator=generator)
    assert extremes == pytest.approx((min(curvatures), max(curvatures)), abs=4e-4)


def test_a_loss_linear_in_the_parameters_has_no_curvature(generator):
    net = nn.Linear(3, 2)
    assert hessian_extremes(net, lambda net: net(torch.ones(4, 3)).sum(), generator=generator) == (0.0, 0.0)


def test_single_precision(data, generator):
    x, y = data
    net = normalized()
    hessian = dense_hessian(net, lambda net: cross_entropy(net(x), y))
    extremes = hessian_extremes(net.float(), lambda net: cross_entropy(net(x.float()), y), generator=generator)
    assert_extremes(extremes, hessian, 2e-4)


def test_parameters_that_the_loss_does_not_use_have_zero_rows(generator):
    net = nn.ModuleDict({"used": linear(3, 2, 0), "unused": linear(2, 2, 1)})
    x = torch.eye(3, dtype=torch.float64)
    extremes = hessian_extremes(net, lambda net: net["used"](x).square().sum() / 2, generator=generator)
    # per output, X'X for inputs with a one for the bias: 1, 1 and the two of [[1, √3], [√3, 3]]
    assert extremes == pytest.approx((0, 4), abs=4e-4)


def test_dropout_is_drawn_once(data, generator):
    """One mask for all products; the global generator does not move."""
    x, y = data
    net = nn.Sequential(linear(5, 7, 0), nn.Dropout(0.5), nn.Tanh(), linear(7, 3, 1))
    state = torch.get_rng_state()
    extremes = hessian_extremes(net, lambda net: cross_entropy(net(x), y), generator=generator)
    assert torch.equal(torch.get_rng_state(), state)
    with torch.random.fork_rng([]):
        hidden = net[1](net[0](x).detach()) / net[0](x).detach()
    masked = nn.Sequential(net[0], net[2], net[3])

    def same_mask(called):
        return cross_entropy(called(x), y)

    masked[0].register_forward_hook(lambda layer, inputs, output: output * hidden)
    assert_extremes(extremes, dense_hessian(masked, same_mask), 1e-4)


def test_density_is_that_of_the_eigenvalues_as_bumps(net, loss_fn, generator):
    steps, draws = 15, 250
    grid, density = hessian_density(net, loss_fn, steps=steps, draws=draws, generator=generator, points=500)
    hessian = dense_hessian(net, loss_fn)
    n, eigenvalues = len(hessian), torch.linalg.eigvalsh(hessian)
    width = (grid[-1] - grid[0]).item() / (steps - 1) / math.sqrt(8 * math.log(3))
    assert grid.shape == density.shape == (500,)
    assert grid[0].item() == pytest.approx(eigenvalues[0].item() - 5 * width, abs=0.01 * width)
    assert grid[-1].item() == pytest.approx(eigenvalues[-1].item() + 5 * width, abs=0.01 * width)
    assert torch.trapezoid(density, grid).item() == pytest.approx(1, abs=1e-5)
    for power in (1, 2):
        values = eigenvalues**power
        measured = torch.trapezoid(density * grid**power, grid).item()
        # of vᵀAv for a random unit vector v, over the draws: 2 Var(values) / (n + 2)
        error = math.sqrt(2 * values.var(correction=0).item() / (n + 2) / draws)
        bump = width**2 if power == 2 else 0
        assert measured == pytest.approx(values.mean().item() + bump, abs=5 * error + 1e-4 * values.abs().max().item())
        assert 5 * error < 0.25 * values.abs().mean()


def test_more_steps_than_different_eigenvalues_find_their_shares(generator):
    """The whole density, not its moments alone: two thirds at −1 and a sixth each at 1 and 3."""
    grid, density = hessian_density(
        *quadratic([-1.0] * 40 + [1.0] * 10 + [3.0] * 10), steps=40, draws=100, generator=generator
    )
    for low, high, share in [(-2, 0, 4 / 6), (0, 2, 1 / 6), (2, 4, 1 / 6)]:
        inside = (grid > low) & (grid < high)
        error = math.sqrt(2 * share * (1 - share) / 62 / 100)
        assert torch.trapezoid(density[inside], grid[inside]).item() == pytest.approx(share, abs=5 * error + 1e-3)


def test_results_repeat_with_the_stream_and_the_global_generator_rests(loss_fn):
    net = plain()

    def measure(replicate):
        generator = stream("tests", "repeats", replicate)
        extremes = hessian_extremes(net, loss_fn, generator=generator)
        return extremes, hessian_density(net, loss_fn, steps=9, draws=2, generator=generator)[1]

    state = torch.get_rng_state()
    (first, density), (again, same), (_, other) = measure(0), measure(0), measure(1)
    assert torch.equal(torch.get_rng_state(), state)
    assert first == again
    assert torch.equal(density, same)
    assert not torch.equal(density, other)


def test_every_draw_and_call_has_its_own_start_vector(loss_fn, generator):
    first, second = (hessian_density(plain(), loss_fn, steps=9, draws=1, generator=generator)[1] for _ in range(2))
    assert not torch.equal(first, second)


def measure_extremes(net, loss_fn, generator):
    return hessian_extremes(net, loss_fn, generator=generator)


def measure_density(net, loss_fn, generator):
    return hessian_density(net, loss_fn, steps=6, draws=2, generator=generator)


both = pytest.mark.parametrize("measure", [measure_extremes, measure_density])


@both
@pytest.mark.parametrize("fails", [False, True])
def test_the_module_is_left_as_it_was(loss_fn, generator, measure, fails):
    net = normalized()
    net[0].eval()
    for weight in net.parameters():
        weight.grad = torch.full_like(weight, 2.0)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}

    def loss_of(given):
        loss = loss_fn(given)
        given.eval()
        if fails:
            raise ZeroDivisionError
        return loss

    if fails:
        with pytest.raises(ZeroDivisionError):
            measure(net, loss_of, generator)
    else:
        measure(net, loss_of, generator)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert all(torch.equal(w.grad, torch.full_like(w, 2.0)) and w.requires_grad for w in net.parameters())
    assert [layer.training for layer in net] == [False, True, True, True]
    assert net.training


@both
def test_it_works_within_no_grad(loss_fn, generator, measure):
    with torch.no_grad():
        measure(plain(), loss_fn, generator)


@both
def test_bad_losses(data, generator, measure):
    x, y = data
    net = plain()
    bad = {
        r"returned shape \[11, 3\]": lambda net: net(x),
        "returned a float": lambda net: cross_entropy(net(x), y).item(),
        "loss_fn returned nan": lambda net: cross_entropy(net(x), y) * torch.nan,
        "does not depend on the trainable parameters of the Sequential": lambda _: cross_entropy(net(x), y),
        "loss does not depend": lambda net: cross_entropy(net(x).detach(), y),
        "Hessian holds NaN": lambda net: (net(x) * 0).square().sum().sqrt(),
    }
    for message, loss_fn in bad.items():
        with pytest.raises(ValueError, match=message):
            measure(net, loss_fn, generator)


@both
def test_bad_modules(loss_fn, generator, measure):
    fed = normalized()
    fed[0].bias.data[1] = torch.nan
    spoiled = normalized()
    spoiled[1].running_mean[2] = torch.inf
    bad = {
        "0.bias of Sequential holds NaN": fed,
        "1.running_mean of Sequential holds NaN": spoiled,
        "Sequential has no parameter": plain().requires_grad_(False),
        "Tanh has no parameter": nn.Tanh(),
        "Linear has 2 trainable parameters": nn.Linear(2, 1, bias=False),
    }
    for message, net in bad.items():
        with pytest.raises(ValueError, match=message):
            measure(net, loss_fn, generator)


def test_bad_settings(loss_fn, generator):
    with pytest.raises(ValueError, match="tolerance must be positive, got 0"):
        hessian_extremes(plain(), loss_fn, generator=generator, tolerance=0.0)
    for settings, message in {
        (4, 1, 99): "steps must be from 5 to the 66 parameters, got 4",
        (67, 1, 999): "got 67",
        (9, 0, 99): "draws must be at least 1",
        (9, 1, 26): "points at least 3 . steps = 27",
    }.items():
        steps, draws, points = settings
        with pytest.raises(ValueError, match=message):
            hessian_density(plain(), loss_fn, steps=steps, draws=draws, points=points, generator=generator)
    with pytest.raises(ValueError, match="all eigenvalues of the Hessian are 3"):
        hessian_density(*quadratic([3.0] * 6), steps=5, draws=1, generator=generator)
