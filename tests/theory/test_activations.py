from itertools import pairwise

import mpmath as mp
import pytest
import torch
from numpy.polynomial import legendre

from signalprop import stream
from signalprop.theory import ACTIVATIONS, Activation, activation, leaky_relu

POINTS = [-20.0, -12.0, -7.3, -2.9, -1.3, -0.61, -1e-3, 2e-3, 0.37, 0.88, 1.7, 4.4, 11.0, 28.0]


def close(got, wanted, rel=1e-13):
    """Relative to the value, though in float64's own subnormal tail nothing is."""
    return all(abs(a - b) <= rel * abs(b) + 1e-250 for a, b in zip(got.tolist(), map(float, wanted), strict=True))


def test_every_name_has_a_reference(reference):
    assert set(reference) == set(ACTIVATIONS)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values_and_derivatives_against_thirty_digits(name, reference):
    phi, x = ACTIVATIONS[name], torch.tensor(POINTS, dtype=torch.float64)
    f = reference[name]
    exact = [mp.mpf(p) for p in POINTS]
    with mp.workdps(250):  # 1 + tanh and numerical differences lose digits in the tails
        assert close(phi.function(x), [f(p) for p in exact])
        first = [mp.diff(f, p, h=mp.mpf(10) ** -20) for p in exact]
        second = [mp.diff(f, p, 2, h=mp.mpf(10) ** -14) for p in exact]
    assert phi.slope(x).tolist() == pytest.approx([float(d) for d in first], rel=1e-12, abs=1e-15)
    assert phi.curvature(x).tolist() == pytest.approx([float(d) for d in second], rel=1e-11, abs=1e-13)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_closed_forms_agree_with_autograd(name):
    phi = ACTIVATIONS[name]
    by_autograd = activation(lambda x: phi.function(x), phi.kinks)
    x = 4 * torch.randn(400, dtype=torch.float64, generator=stream("tests", "activations.autograd"))
    torch.testing.assert_close(by_autograd.function(x), phi.function(x), rtol=0, atol=0)
    torch.testing.assert_close(by_autograd.slope(x), phi.slope(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(by_autograd.curvature(x), phi.curvature(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_slope_jumps_only_at_declared_kinks(name):
    """∫φ″ over the pieces and the jumps at the kinks make up the difference of φ′."""
    phi = ACTIVATIONS[name]
    ends = [-6.0, *phi.kinks, 7.0]
    nodes, weights = (torch.from_numpy(a) for a in legendre.leggauss(80))
    inside = 0.0
    for a, b in pairwise(ends):
        inside += (b - a) / 2 * (weights @ phi.curvature((a + b) / 2 + (b - a) / 2 * nodes)).item()
    beside = torch.tensor([[k - 1e-9, k + 1e-9] for k in phi.kinks], dtype=torch.float64).reshape(-1, 2)
    jumps = (phi.slope(beside[:, 1]) - phi.slope(beside[:, 0])).sum().item()
    low, high = phi.slope(torch.tensor([-6.0, 7.0], dtype=torch.float64)).tolist()
    assert inside + jumps == pytest.approx(high - low, abs=1e-7)


def test_extreme_arguments_stay_finite():
    x = torch.tensor([-1e8, -800.0, 800.0, 1e8], dtype=torch.float64)
    for phi in ACTIVATIONS.values():
        assert phi.function(x).isfinite().all()
        assert phi.slope(x).isfinite().all()
        assert phi.curvature(x).isfinite().all()


def test_activation_takes_names_activations_and_modules():
    tanh = activation("tanh")
    assert activation(tanh) is tanh
    module = activation(torch.nn.Hardtanh(), (-1.0, 1.0))
    x = torch.linspace(-3, 3, 8, dtype=torch.float64)
    assert torch.equal(module.slope(x), ACTIVATIONS["hardtanh"].slope(x))
    assert module.kinks == (-1.0, 1.0)
    assert isinstance(module, Activation)


def test_leaky_relu_of_any_slope():
    x = torch.tensor([-2.0, 3.0], dtype=torch.float64)
    assert leaky_relu(-0.5).function(x).tolist() == [1.0, 3.0]
    assert leaky_relu(0.3).slope(x).tolist() == [0.3, 1.0]


def constant_part(x):
    return torch.full_like(x, 2.0)


def test_the_slope_of_a_constant_is_zero():
    assert activation(constant_part).slope(torch.ones(3, dtype=torch.float64)).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x.sum(), "keeps both"),
        (lambda x: x.float(), "keeps both"),
        (lambda x: 3.0, "keeps both"),
        (lambda x: x - x.mean(), "not elementwise"),
        (lambda x: x.flip(0), "not elementwise"),
        (lambda x: x * torch.rand(x.shape), "not elementwise"),
        (torch.log, "not finite at -3.1"),
        ("tahn", "unknown activation 'tahn'; known: linear, tanh"),
    ],
)
def test_what_is_no_activation_is_refused(function, message):
    with pytest.raises(ValueError, match=message):
        activation(function)


def test_a_registered_activation_brings_its_own_kinks():
    with pytest.raises(ValueError, match="brings its own kinks"):
        activation("relu", (0.0,))
