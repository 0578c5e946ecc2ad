import pytest
import torch
from torch import nn
from torch.nn import functional

from signalprop import stream
from signalprop.measure import filter_normalized_direction, loss_surface


def random(*shape):
    return torch.randn(shape, dtype=torch.float64, generator=stream("tests", "landscape"))


def small_net():
    net = nn.Sequential(
        nn.Conv2d(2, 6, (3, 1), groups=2), nn.BatchNorm2d(6, eps=1e-13), nn.Dropout(0.5), nn.Tanh(), nn.Flatten(),
        nn.Linear(6 * 2 * 3, 2),
    ).double()  # fmt: skip
    numbers = stream("tests", "landscape", 1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=numbers, dtype=torch.float64))
    return net


@pytest.fixture
def net():
    return small_net()


X, Y = random(7, 2, 4, 3), torch.arange(7) % 2


def loss_fn(net):
    return functional.cross_entropy(net(X), Y)


def grids(*sizes):
    return [torch.linspace(-1, 1.5, size, dtype=torch.float64) for size in sizes]


def test_every_filter_has_the_length_of_the_modules_own(net):
    with torch.no_grad():
        net[0].weight[1] = 0
    direction = filter_normalized_direction(net, stream("tests", "direction"))
    assert list(direction) == [name for name, _ in net.named_parameters()]
    for name, weight in net.named_parameters():
        assert direction[name].shape == weight.shape
        if weight.ndim == 1:
            assert not direction[name].any()
        for row, own in zip(direction[name], weight, strict=True):
            if weight.ndim > 1:
                assert row.square().sum().item() == pytest.approx(own.square().sum().item(), rel=1e-12)


def test_directions_are_isotropic():
    """Of a row of n entries as long as √n: mean 0, and the mean of d_j² is 1 with variance 2(n−1)/(n+2)."""
    layer = nn.Linear(5, 4000, bias=False)
    nn.init.ones_(layer.weight)
    drawn = filter_normalized_direction(layer, stream("tests", "isotropic"))["weight"]
    assert (drawn.mean(0).abs() < 5 * 4000**-0.5).all()
    assert ((drawn.square().mean(0) - 1).abs() < 5 * (8 / 7 / 4000) ** 0.5).all()


def test_a_quadratic_loss_in_closed_form():
    layer = nn.Linear(3, 2, dtype=torch.float64)
    half, w = random(8, 8), torch.cat([layer.weight.flatten(), layer.bias]).detach()
    a = half + half.T
    one, other = random(2, 8)

    def quadratic(net):
        v = torch.cat([net.weight.flatten(), net.bias])
        return v @ a @ v / 2

    named = [{"weight": d[:6].reshape(2, 3), "bias": d[6:]} for d in (one, other)]
    grid = grids(3, 4)
    found = loss_surface(layer, quadratic, named, grid)
    ends = [[w + s * one + t * other for t in grid[1]] for s in grid[0]]
    torch.testing.assert_close(found, torch.tensor([[v @ a @ v / 2 for v in row] for row in ends], dtype=torch.float64))
    torch.testing.assert_close(
        loss_surface(layer, quadratic, named[:1], grid[:1]),
        torch.stack([w @ a @ w / 2 + s * (w @ a @ one) + s * s / 2 * (one @ a @ one) for s in grid[0]]),
    )


def surface(net, seed):
    return loss_surface(net, loss_fn, [filter_normalized_direction(net, stream("tests", "scale", seed))], grids(5))


def test_the_scale_of_normalized_filters_leaves_no_trace(net):
    """Batch normalization divides it out; a direction of fixed length would see it."""
    scaled = small_net()
    scales = torch.linspace(0.1, 10, 6, dtype=torch.float64).reshape(6, 1, 1, 1)
    with torch.no_grad():
        scaled[0].weight.mul_(scales)
        scaled[0].bias.mul_(scales.flatten())
        net[0].bias.zero_()
        scaled[0].bias.zero_()
    torch.testing.assert_close(surface(net, 0), surface(scaled, 0), rtol=1e-9, atol=0)
    fixed = [filter_normalized_direction(net, stream("tests", "scale", 0))]
    assert not torch.allclose(
        loss_surface(net, loss_fn, fixed, grids(5)), loss_surface(scaled, loss_fn, fixed, grids(5))
    )
    assert not torch.allclose(surface(net, 0), surface(net, 1))


@pytest.mark.parametrize("fails", [False, True])
def test_the_module_is_left_as_it_was(net, fails):
    calls = []

    def counted(net):
        calls.append(loss_fn(net))
        if fails and len(calls) == 4:
            raise ZeroDivisionError
        return calls[-1]

    before, state = {k: v.clone() for k, v in net.state_dict().items()}, torch.get_rng_state()
    directions = [filter_normalized_direction(net, stream("tests", "left", r)) for r in range(2)]
    if fails:
        with pytest.raises(ZeroDivisionError):
            loss_surface(net, counted, directions, grids(2, 3))
    else:
        assert loss_surface(net, counted, directions, grids(2, 3)).shape == (2, 3)
    assert len(calls) == (4 if fails else 7)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_bad_input(net):
    direction = filter_normalized_direction(net, stream("tests", "bad"))
    for directions, sizes in [([], ()), ([direction] * 3, (2, 2, 2)), ([direction], (2, 2))]:
        with pytest.raises(ValueError, match="one or two directions"):
            loss_surface(net, loss_fn, directions, grids(*sizes))
    with pytest.raises(ValueError, match=r"displacement of 5\.weight is \[36, 2\] on cpu, and the parameter \[2, 36\]"):
        loss_surface(net, loss_fn, [{"5.weight": direction["5.weight"].T}], grids(2))
    with pytest.raises(ValueError, match="no parameter last that requires"):
        loss_surface(net, loss_fn, [{"last": torch.ones(1)}], grids(2))
    with pytest.raises(ValueError, match=r"returned shape \[7, 2\]"):
        loss_surface(net, lambda net: net(X), [direction], grids(2))
    with torch.no_grad():
        net[5].weight[1, 2] = torch.nan
    with pytest.raises(ValueError, match=r"5\.weight of Sequential holds NaN"):
        loss_surface(net, loss_fn, [direction], grids(2))
    with pytest.raises(ValueError, match="no parameter that requires a gradient"):
        filter_normalized_direction(nn.ReLU(), stream("tests", "bad"))
