import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from signalprop import stream
from signalprop.nets import initialize_
from signalprop.nets.weight_normalizers import SpectralNorm, spectral_norm_, weight_norm_

SETTINGS = {"iterations": 1, "start_iterations": 15, "eps": 1e-12}


def layers():
    """Layers with weights of all shapes."""
    found = [nn.Linear(5, 7), nn.Conv1d(4, 6, 3), nn.Conv2d(4, 6, (3, 1), groups=2)]
    net = nn.ModuleList(found).double()
    initialize_(net, "lecun", generator=stream("tests", "layers"), gain=3.0)
    return list(net)


def inputs(layer):
    shape = {2: (5,), 3: (4, 8), 4: (4, 6, 5)}[layer.weight.ndim]
    return torch.randn(9, *shape, generator=stream("tests", "inputs"), dtype=torch.float64)


def train(layer, steps):
    """Outputs of a few steps of SGD."""
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    x, found = inputs(layer), []
    for _ in range(steps):
        optimizer.zero_grad()
        y = layer(x)
        (y**2).mean().add(y.mean()).backward()
        optimizer.step()
        found.append(y.detach())
    return found


@pytest.mark.parametrize("k", [0, 1, 2])
def test_weight_norm_equals_torch_while_it_trains(k):
    ours = layers()[k]
    theirs = parametrizations.weight_norm(copy.deepcopy(ours), dim=0)
    before = ours.weight.detach().clone()
    weight_norm_(ours)
    torch.testing.assert_close(ours.weight, before, rtol=1e-14, atol=0)
    assert [p.shape for p in ours.parameters()] == [p.shape for p in theirs.parameters()]
    for found, expected in zip(train(ours, 4), train(theirs, 4), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert (ours.weight - before).abs().max() > 0.01


def test_weight_norm_has_no_scale_in_v():
    layer = layers()[1]
    weight_norm_(layer)
    before, v = layer.weight.detach().clone(), layer.parametrizations["weight"].original1
    with torch.no_grad():
        v.mul_(torch.arange(1.0, 7.0).view(6, 1, 1))
    torch.testing.assert_close(layer.weight, before, rtol=1e-14, atol=0)
    (gradient,) = torch.autograd.grad(layer(inputs(layer)).square().sum(), v)
    assert ((gradient * v).sum((1, 2)).abs() < 1e-12 * gradient.norm() * v.norm()).all()


def singular_vectors(ours, theirs):
    """Give ours torch's vectors."""
    norm, reference = ours.parametrizations["weight"][0], theirs.parametrizations["weight"][0]
    norm.u, norm.v = reference._u.clone(), reference._v.clone()


@pytest.mark.parametrize("iterations", [1, 3])
@pytest.mark.parametrize("k", [0, 1, 2])
def test_spectral_norm_equals_torch_while_it_trains(k, iterations):
    ours, theirs = layers()[k], layers()[k]
    parametrizations.spectral_norm(theirs, n_power_iterations=iterations)
    spectral_norm_(ours, **(SETTINGS | {"iterations": iterations}), generator=stream("tests", "start"))
    singular_vectors(ours, theirs)
    for found, expected in zip(train(ours, 5), train(theirs, 5), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    x = inputs(layers()[k])  # looking at the weights of ours would iterate once more
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours(x), ours(x), rtol=0, atol=0)


def test_persistent_iterations_find_the_largest_singular_value():
    """With a gap of 0.9 the error of σ² falls by 0.9⁴ an iteration, from one call to the next."""
    layer = nn.Linear(8, 12, bias=False, dtype=torch.float64)
    initialize_(layer, "orthogonal", generator=stream("tests", "gap"))
    with torch.no_grad():
        layer.weight.mul_(3 * 0.9 ** torch.arange(8.0, dtype=torch.float64))
    spectral_norm_(layer, **(SETTINGS | {"start_iterations": 1}), generator=stream("tests", "gap.start"))
    errors = [torch.linalg.matrix_norm(layer.weight, 2).item() - 1 for _ in range(150)]
    assert errors[0] > 0.01  # σ is too small at first, as every uᵀWv is
    assert all(error > -1e-14 for error in errors)
    assert errors[149] < 1e-9
    assert errors[60] / errors[50] == pytest.approx(0.9**40, rel=0.1)


def test_spectral_norm_does_not_see_the_scale():
    one, ten = layers()[1], layers()[1]
    with torch.no_grad():
        ten.weight.mul_(10)
    for layer in (one, ten):
        spectral_norm_(layer, **SETTINGS, generator=stream("tests", "scale"))
    torch.testing.assert_close(one.weight, ten.weight, rtol=1e-12, atol=0)


def test_start_vectors_come_from_the_generator():
    nets = [nn.Sequential(*layers()[:1], nn.Linear(7, 3, dtype=torch.float64)) for _ in range(3)]
    for net, name in zip(nets, ("a", "a", "b"), strict=True):
        initialize_(net, "lecun", generator=stream("tests", "same"))
        before = torch.get_rng_state()
        spectral_norm_(net, **SETTINGS, generator=stream("tests", name))
        assert torch.equal(before, torch.get_rng_state())
    a, b, c = (net[0].parametrizations["weight"][0].start for net in nets)
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_new_weights_start_anew():
    """Also after training ended in NaN."""
    layer, again = layers()[0], layers()[0]
    for one in (layer, again):
        spectral_norm_(one, **SETTINGS, generator=stream("tests", "anew"))
    with torch.no_grad():
        layer.parametrizations["weight"].original.fill_(torch.nan)
    layer(inputs(layer))
    for one in (layer, again):
        initialize_(one, "lecun", generator=stream("tests", "weights"))
    torch.testing.assert_close(layer.eval().weight, again.eval().weight, rtol=0, atol=0)
    assert layer.weight.isfinite().all()


def test_two_passes_before_one_backward():
    layer = layers()[0]
    spectral_norm_(layer, **SETTINGS, generator=stream("tests", "two"))
    x = inputs(layer)
    (layer(x).sum() - 2 * layer(x + 1).sum()).backward()
    assert layer.parametrizations["weight"].original.grad.isfinite().all()


@pytest.mark.parametrize(
    "normalize", [weight_norm_, lambda m: spectral_norm_(m, **SETTINGS, generator=stream("t", "a"))]
)
def test_all_layers_of_a_network(normalize):
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3))
    normalize(net)
    assert [parametrize.is_parametrized(part) for part in net] == [True, False, False, True]
    initialize_(net, "kaiming", generator=stream("tests", "parametrized"))
    assert net(torch.ones(2, 2, 4, 4)).shape == (2, 3)


@pytest.mark.parametrize("value", [0.0, torch.nan])
def test_weights_need_a_size(value):
    layer = nn.Linear(3, 2)
    nn.init.constant_(layer.weight, value)
    with pytest.raises(ValueError, match="largest singular value, and the weights are zero or not finite"):
        spectral_norm_(layer, **SETTINGS, generator=stream("tests", "size"))
    with pytest.raises(ValueError, match="a unit's are all zero or NaN"):
        weight_norm_(layer)


@pytest.mark.parametrize("setting", [{"iterations": 0}, {"start_iterations": 0}, {"eps": -1.0}])
def test_settings_out_of_range(setting):
    with pytest.raises(ValueError, match="iterations and start_iterations must be at least 1 and eps not negative"):
        SpectralNorm(torch.ones(3), **(SETTINGS | setting))
