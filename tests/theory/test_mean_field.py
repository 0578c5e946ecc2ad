from itertools import pairwise

import mpmath as mp
import pytest
import torch
from scipy import special

from signalprop import stream
from signalprop.theory import (
    ACTIVATIONS,
    activation,
    chi1,
    chi_q,
    mean_activation,
    second_moment,
    slope_second_moment,
    variance_map,
)
from signalprop.theory.mean_field import layer_moments

mp.mp.dps = 30
close = pytest.approx
SMALL, LARGE = 1e-12, 1e6


def by_mpmath(f, q, kinks):
    """E f(√q z), panels ending at the kinks and at a few units of both scales."""
    root = mp.sqrt(q)
    inner = [sign * u / root for u in (1, 3, 12) for sign in (-1, 1)] + [k / root for k in kinks]
    ends = {mp.mpf(0), *(mp.mpf(e) for e in (-14, -6, -2, 2, 6, 14)), *(e for e in inner if abs(e) < 14)}
    return mp.quad(lambda z: f(root * z) * mp.npdf(z), sorted(ends), maxdegree=7)


@pytest.mark.parametrize("q", [1e-6, 1.0, 300.0])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_moments_against_thirty_digits(name, q, reference):
    f, kinks = reference[name], ACTIVATIONS[name].kinks
    with mp.workdps(25):
        assert second_moment(name, q).item() == close(float(by_mpmath(lambda u: f(u) ** 2, q, kinks)), rel=1e-11)
        if name not in ("linear", "tanh", "lecun_tanh", "erf", "hardtanh"):  # odd
            assert mean_activation(name, q).item() == close(float(by_mpmath(f, q, kinks)), rel=1e-11)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_slopes_against_thirty_digits(name, reference):
    f, kinks = reference[name], ACTIVATIONS[name].kinks
    with mp.workdps(35):
        wanted = by_mpmath(lambda u: mp.diff(f, u, h=mp.mpf(10) ** -14) ** 2, mp.mpf(1), kinks)
    assert slope_second_moment(name, 1.0).item() == close(float(wanted), rel=1e-10)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_chi_q_is_the_slope_of_the_variance_map(name):
    q = torch.logspace(-12, 6, 19, dtype=torch.float64)
    step = 2e-3 * q
    far, near = (
        (second_moment(name, q + k * step) - second_moment(name, q - k * step)) / (2 * k * step) for k in (2, 1)
    )
    differences = (4 * near - far) / 3
    noise = 1e-13 * second_moment(name, q) / step
    assert ((chi_q(name, q, 1.0) - differences).abs() < 1e-9 * differences.abs() + noise).all()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_chi_q_by_the_second_derivative(name):
    """σ_w² E[φ′² + φφ″], with the point masses of φ″ at the kinks."""
    phi, q = activation(name), 0.7
    nodes, weights = (torch.from_numpy(a) for a in special.roots_legendre(400))
    total = 0.0
    ends = [-12.0, *phi.kinks, 12.0]
    for a, b in pairwise(ends):
        u = (a + b) / 2 + (b - a) / 2 * nodes
        density = torch.exp(-u * u / (2 * q)) / (2 * torch.pi * q) ** 0.5
        total += (
            (b - a) / 2 * (weights * density * (phi.slope(u) ** 2 + phi.function(u) * phi.curvature(u))).sum().item()
        )
    for kink in phi.kinks:
        u = torch.tensor([kink - 1e-12, kink, kink + 1e-12], dtype=torch.float64)
        below, _, above = phi.slope(u).tolist()
        at = phi.function(u)[1].item()
        total += (above - below) * at * torch.exp(-(u[1] ** 2) / (2 * q)).item() / (2 * torch.pi * q) ** 0.5
    assert chi_q(phi, q, 3.0).item() == close(3 * total, rel=1e-10)


def test_closed_forms_over_all_variances():
    q = torch.logspace(-12, 6, 37, dtype=torch.float64)
    torch.testing.assert_close(second_moment("relu", q), q / 2, rtol=1e-13, atol=0)
    torch.testing.assert_close(mean_activation("relu", q), (q / (2 * torch.pi)).sqrt(), rtol=1e-13, atol=0)
    torch.testing.assert_close(slope_second_moment("hardtanh", q), torch.erf((2 * q).rsqrt()), rtol=1e-13, atol=0)
    torch.testing.assert_close(chi_q("leaky_relu", q, 2.0), torch.full_like(q, 1.0001), rtol=1e-13, atol=0)
    erf = 4 / torch.pi / (1 + 2 * q) / (1 + 4 * q).sqrt()
    torch.testing.assert_close(chi_q("erf", q, 1.0), erf, rtol=1e-11, atol=0)


def test_the_limits_at_zero():
    assert second_moment("tanh", 0.0).item() == 0
    assert second_moment("sigmoid", 0.0).item() == 0.25
    assert mean_activation("softplus", 0.0).item() == close(torch.tensor(2.0, dtype=torch.float64).log().item())
    assert slope_second_moment("relu", 0.0).item() == close(0.5, rel=1e-14)
    assert slope_second_moment("gelu", 0.0).item() == close(0.25, rel=1e-14)
    assert chi_q("tanh", 0.0, 2.0).item() == close(2, rel=1e-14)
    assert chi_q("sigmoid", 0.0, 1.0).item() == close(1 / 16, rel=1e-12)
    softplus = torch.tensor(2.0).log().item() / 4 + 1 / 4
    assert chi_q("softplus", 0.0, 1.0).item() == close(softplus, rel=1e-7)


def test_tanh_at_unit_weights_is_marginal():
    """1 → .39429 → .23645 → .16666 → … → .0050690 after a hundred layers; squared gradients shrink to .00713425."""
    q, variances, growth = 1.0, [], 1.0
    for _ in range(100):
        growth *= chi1("tanh", q, 1.0).item()
        q = variance_map("tanh", q, 1.0).item()
        variances.append(q)
    assert [f"{v:.5f}" for v in variances[:3]] == ["0.39429", "0.23645", "0.16666"]
    assert f"{q:.7f}" == "0.0050690"
    assert f"{growth:.8f}" == "0.00713425"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tanh", 1.1778),
        ("erf", 1.2257),
        ("gelu", 1.0720),
        ("silu", 1.0666),
        ("selu", 1.0716),
        ("elu", 1.0359),
        ("relu", 1),
    ],
)
def test_chi1_where_every_layer_is_scaled_to_unit_variance(name, value):
    assert round(chi1(name, 1.0, 1 / second_moment(name, 1.0)).item(), 4) == value


def test_figures_of_lecuns_tanh_and_of_the_logistic():
    assert f"{second_moment('lecun_tanh', 1.0).item():.10f}" == "0.7504302763"
    assert f"{chi1('lecun_tanh', 0.3824408013, 1.0).item():.7f}" == "1.0192495"
    assert f"{chi1('sigmoid', 0.2646868752, 1.0).item():.7f}" == "0.0557207"


def test_a_drawn_layer_has_the_predicted_moments():
    """Four thousand wide layers of erf and GELU; five standard errors."""
    generator = stream("tests", "mean_field.layer")
    u = 1.3**0.5 * torch.randn(400_000, generator=generator, dtype=torch.float64)
    for name in ("erf", "gelu"):
        phi = ACTIVATIONS[name]
        for samples, wanted in (
            (phi.function(u) ** 2, second_moment(name, 1.3)),
            (phi.function(u), mean_activation(name, 1.3)),
            (phi.slope(u) ** 2, slope_second_moment(name, 1.3)),
        ):
            assert abs(samples.mean() - wanted) < 5 * samples.std() / len(u) ** 0.5


def test_shapes_and_broadcasting():
    q, weights = torch.tensor([0.5, 2.0], dtype=torch.float64), torch.tensor([[1.0], [3.0]], dtype=torch.float64)
    out = variance_map("tanh", q, weights, 0.1)
    assert out.shape == (2, 2)
    assert out[1, 0].item() == close(3 * second_moment("tanh", 0.5).item() + 0.1)
    assert all(moment.shape == (2,) for moment in layer_moments(activation("tanh"), q))


def test_a_callable_of_ones_own():
    shifted = activation(lambda x: torch.tanh(30 * (x - 2)))
    assert second_moment(shifted, 1e-6).item() == close(1, rel=1e-12)
    assert second_moment(torch.sin, 0.7).item() == close((1 - float(mp.exp(-1.4))) / 2, rel=1e-12)
    assert slope_second_moment(torch.sin, 0.7).item() == close((1 + float(mp.exp(-1.4))) / 2, rel=1e-12)
    assert chi_q(torch.cos, 1e-9, 1.0).item() == close(-float(mp.exp(-2e-9)), rel=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: second_moment("tanh", -1.0), "not negative"),
        (lambda: variance_map("tanh", 1.0, -1.0), "variances and not negative"),
        (lambda: variance_map("tanh", 1.0, 1.0, -0.1), "variances and not negative"),
        (lambda: chi1("tanh", 1.0, float("nan")), "not negative"),
        (lambda: second_moment(torch.zeros_like, 1.0), "dead"),
        (lambda: slope_second_moment(torch.ones_like, 1.0), "dead"),
        (lambda: chi_q(lambda x: torch.relu(x - 100), 1.0, 1.0), "dead"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("name", "growth", "limit"), [("lecun_tanh", "2.985", "6.7306"), ("sigmoid", "3.18e-126", "4e-126")]
)
def test_squared_gradients_through_a_hundred_layers(name, growth, limit):
    """The product of χ1 from q = 1 on, transient included, and the power of its value at the fixed point."""
    q, product = 1.0, 1.0
    for _ in range(100):
        product *= chi1(name, q, 1.0).item()
        q = variance_map(name, q, 1.0).item()
    assert f"{product:.{len(growth.split('e')[0].replace('.', ''))}g}" == growth
    assert f"{chi1(name, q, 1.0).item() ** 100:.{len(limit.split('e')[0].replace('.', ''))}g}" == limit
