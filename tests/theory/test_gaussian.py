import math
from itertools import pairwise

import mpmath as mp
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import legendre
from scipy import special

from signalprop import stream
from signalprop.theory import ACTIVATIONS, QuadratureError, correlated_expectation, gaussian_expectation
from signalprop.theory.gaussian import _kronrod, expectation_at_angle, expectation_or_zero

mp.mp.dps = 30
VARIANCES = st.floats(-12, 6).map(lambda e: 10**e)
CORRELATIONS = st.one_of(
    st.floats(-1, 1),
    st.sampled_from([-1.0, 0.0, 1.0]),
    st.tuples(st.sampled_from([-1.0, 1.0]), st.floats(-15, -1)).map(lambda p: p[0] * (1 - 10 ** p[1])),
)
close = pytest.approx


def step(x):
    return (x > 0).to(x.dtype)


# E|f| is the scale to which errors compare; these are E f for f ≥ 0, so the same
@given(VARIANCES)
@settings(max_examples=30)
def test_even_powers(q):
    for k, moment in ((2, 1), (4, 3), (8, 105)):
        assert gaussian_expectation(lambda x, k=k: x**k, q).item() == close(moment * q ** (k // 2), rel=1e-12)


@given(VARIANCES)
@settings(max_examples=30)
def test_erf_squared_and_its_slope(q):
    squared = 2 / math.pi * math.asin(2 * q / (1 + 2 * q))
    assert gaussian_expectation(lambda x: torch.erf(x) ** 2, q).item() == close(squared, rel=1e-12)
    slope = ACTIVATIONS["erf"].slope
    assert gaussian_expectation(lambda x: slope(x) ** 2, q).item() == close(
        4 / math.pi / math.sqrt(1 + 4 * q), rel=1e-12
    )


@given(VARIANCES, st.floats(0.01, 100), st.floats(-8, 8))
def test_bumps_scaled_and_shifted_without_declared_features(q, a, b):
    """E exp(−a²(u − b)²) in closed form; where it lies beyond the Gaussian's reach both are tiny."""
    wanted = math.exp(-((a * b) ** 2) / (1 + 2 * a * a * q)) / math.sqrt(1 + 2 * a * a * q)
    got = expectation_or_zero(lambda x: torch.exp(-((a * (x - b)) ** 2)), torch.tensor(q, dtype=torch.float64), ())
    assert got.item() == close(wanted, rel=1e-10, abs=1e-200)


@given(VARIANCES, st.floats(0.1, 100), st.floats(-5, 5))
def test_sigmoids_scaled_and_shifted(q, a, b):
    """E Φ(a(u − b)) = Φ(−ab/√(1 + a²q))."""
    f = lambda x: torch.special.erfc(-a * (x - b) / math.sqrt(2)) / 2  # noqa: E731
    got = expectation_or_zero(f, torch.tensor(q, dtype=torch.float64), ()).item()
    assert got == close(special.ndtr(-a * b / math.sqrt(1 + a * a * q)), rel=1e-10, abs=1e-200)


@given(VARIANCES, st.floats(-3, 3), st.booleans())
def test_a_shifted_relu_with_its_kink_declared_or_not(q, b, declared):
    root = mp.sqrt(q)
    wanted = root * mp.npdf(b / root) - b * mp.ncdf(-b / root)
    if wanted < 1e-150:
        return
    got = gaussian_expectation(lambda x: torch.relu(x - b), q, (b,) if declared else ()).item()
    assert got == close(float(wanted), rel=1e-10)


@pytest.mark.parametrize("beside", [-1e-4, -1e-6, 1e-12, 1e-5, 1e-3])
@pytest.mark.parametrize("panel", [3, 12, 15, 17, 21])
def test_no_kink_hides_beside_the_end_of_a_panel(panel, beside):
    """The first panels divide the range of t in z = sinh(t) into 32."""
    b = math.sinh((panel / 16 - 1) * math.asinh(38)) * (1 + beside)
    wanted = math.exp(-b * b / 2) / math.sqrt(2 * math.pi) - b * special.ndtr(-b)
    assert gaussian_expectation(lambda x: torch.relu(x - b), 1.0).item() == close(wanted, rel=1e-10, abs=1e-15)


@pytest.mark.parametrize("q", [0.3, 1.0, 50.0, 1e4])
def test_steep_tanh_that_nobody_declared(q):
    """tanh(30(x − 2))² against mpmath: the quadrature has to find it."""
    root = mp.sqrt(q)
    f = lambda z: mp.tanh(30 * (root * z - 2)) ** 2 * mp.npdf(z)  # noqa: E731
    centre = 2 / root
    near = [centre + side * w / root for w in (1, 0.3, 0.1, 0.03) for side in (-1, 1)] + [centre]
    wanted = mp.quad(f, sorted([z for z in near if abs(z) < 14] + [-14, -5, -1, 1, 5, 14]))
    got = gaussian_expectation(lambda x: torch.tanh(30 * (x - 2)) ** 2, q).item()
    assert got == close(float(wanted), rel=1e-12)


@pytest.mark.parametrize("edges", [(0.3,), (-0.7, 0.1, 2.0)])
def test_undeclared_jumps_are_found_by_bisection(edges):
    f = lambda x: sum((x > e).to(x.dtype) for e in edges)  # noqa: E731
    wanted = sum(special.ndtr(-e / math.sqrt(2)) for e in edges)
    assert gaussian_expectation(f, 2.0).item() == close(wanted, rel=1e-11)


def test_any_shape_of_q_and_its_elements_one_by_one():
    q = torch.logspace(-12, 6, 12, dtype=torch.float64).reshape(3, 4)
    together = gaussian_expectation(torch.tanh, q * 0 + q, ()) * 0 + gaussian_expectation(
        lambda x: torch.tanh(x) ** 2, q
    )
    alone = torch.stack([gaussian_expectation(lambda x: torch.tanh(x) ** 2, v) for v in q.reshape(-1)]).reshape(3, 4)
    torch.testing.assert_close(together, alone, rtol=1e-13, atol=0)
    assert gaussian_expectation(torch.cos, 0.0).shape == ()
    assert gaussian_expectation(torch.cos, 0.0).item() == close(1, rel=1e-14)


def test_odd_functions_cancel_exactly_enough():
    assert gaussian_expectation(lambda x: x**3, 4.0).item() == close(0, abs=1e-13)


@given(CORRELATIONS, VARIANCES, VARIANCES)
@settings(max_examples=30)
def test_erf_arcsine_law(c, q1, q2):
    law = lambda c, a, b: 2 / mp.pi * mp.asin(2 * mp.mpf(c) * mp.sqrt(a * b) / mp.sqrt((1 + 2 * a) * (1 + 2 * b)))  # noqa: E731
    scale = float(mp.sqrt(law(1, mp.mpf(q1), mp.mpf(q1)) * law(1, mp.mpf(q2), mp.mpf(q2))))
    got = correlated_expectation(torch.erf, torch.erf, c, q1, q2).item()
    assert got == close(float(law(c, mp.mpf(q1), mp.mpf(q2))), rel=1e-10, abs=1e-12 * scale)


@given(CORRELATIONS, VARIANCES)
@settings(max_examples=30)
def test_relu_arc_cosine_kernels(c, q):
    angle = mp.acos(mp.mpf(c))
    signal = q * (mp.sin(angle) + (mp.pi - angle) * mp.mpf(c)) / (2 * mp.pi)
    slope = (mp.pi - angle) / (2 * mp.pi)
    got = correlated_expectation(torch.relu, torch.relu, c, q, kinks=(0.0,)).item()
    assert got == close(float(signal), rel=1e-10, abs=1e-13 * q)
    assert correlated_expectation(step, step, c, q, kinks=(0.0,)).item() == close(float(slope), rel=1e-10, abs=1e-13)


@given(st.floats(-16, 0).map(lambda e: 10**e), st.floats(-3, 6).map(lambda e: 10**e), st.sampled_from([0.0, 0.5, -1.0]))
@settings(max_examples=40)
def test_steps_at_small_angles_keep_their_digits(angle, q, at):
    """P(u1 > k, u2 ≤ k) by one integral over the angle, at c so close to 1 that the float c would say nothing."""
    k = mp.mpf(at)
    f = lambda t: mp.exp(-(k**2) / (q * (1 + mp.cos(t)))) / (2 * mp.pi)  # noqa: E731
    apart = mp.quad(f, [0, angle])
    theta, variance = (torch.tensor(v, dtype=torch.float64) for v in (angle, q))
    above = lambda x: (x > at).to(x.dtype)  # noqa: E731
    below = lambda x: (x <= at).to(x.dtype)  # noqa: E731
    got = expectation_at_angle(above, below, theta.cos(), theta.sin(), variance, variance, (at,)).item()
    assert got == close(float(apart), rel=1e-9, abs=2e-15)


@given(CORRELATIONS, st.floats(-6, 0.5).map(lambda e: 10**e))
@settings(max_examples=30)
def test_waves_and_exponentials(c, q):
    sine = mp.exp(-q) * mp.sinh(q * mp.mpf(c))
    assert correlated_expectation(torch.sin, torch.sin, c, q).item() == close(float(sine), rel=1e-10, abs=1e-13 * q)
    exponential = mp.exp(q * (1 + mp.mpf(c)))
    assert correlated_expectation(torch.exp, torch.exp, c, q).item() == close(float(exponential), rel=1e-10)


@pytest.mark.parametrize("name", ["tanh", "hardtanh", "elu", "gelu", "sigmoid", "mish"])
def test_against_the_hermite_series(name):
    """E φ(u1)φ(u2) = Σ a_n² c^n, with coefficients by Gauss-Legendre quadrature between the kinks."""
    phi, q = ACTIVATIONS[name], 1.7
    edges = sorted({-14.0, -7.0, -3.0, -1.0, 0.0, 1.0, 3.0, 7.0, 14.0, *(k / math.sqrt(q) for k in phi.kinks)})
    nodes, weights = special.roots_legendre(60)
    z = torch.cat([(a + b) / 2 + (b - a) / 2 * torch.from_numpy(nodes) for a, b in pairwise(edges)])
    w = torch.cat([(b - a) / 2 * torch.from_numpy(weights) for a, b in pairwise(edges)])
    mass = w * torch.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    f = phi.function(math.sqrt(q) * z)
    polynomial, previous, total = torch.ones_like(z), torch.zeros_like(z), dict.fromkeys((-0.6, 0.3, 0.6), 0.0)
    for n in range(60):
        a = (mass * f * polynomial).sum().item()
        for c in total:
            total[c] += a * a * c**n
        polynomial, previous = (z * polynomial - math.sqrt(n) * previous) / math.sqrt(n + 1), polynomial
    for c, wanted in total.items():
        got = correlated_expectation(phi.function, phi.function, c, q, kinks=phi.kinks).item()
        assert got == close(wanted, rel=1e-11)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("q", [1e-12, 1e-3, 1.0, 40.0, 1e6])
def test_the_ends_are_the_one_dimensional_integrals(name, q):
    phi = ACTIVATIONS[name]
    for f in (phi.function, phi.slope):
        square = gaussian_expectation(lambda x, f=f: f(x) ** 2, q, phi.kinks).item()
        mean = gaussian_expectation(f, q, phi.kinks).item()
        mirrored = (
            gaussian_expectation(lambda x, f=f: f(x) * f(-x), q, phi.kinks) if name != "relu" else torch.zeros(())
        )
        ends = correlated_expectation(f, f, torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64), q, kinks=phi.kinks)
        assert ends.tolist() == close([square, mean**2, mirrored.item()], rel=1e-12, abs=1e-13 * square)


@given(st.floats(-1, 1), st.floats(5, 40), st.floats(-2, 2))
@settings(max_examples=20)
def test_steep_undeclared_functions_of_two_correlated_variables(c, a, b):
    """E Φ(a(u1 − b)) Φ(a(u2 − b)) is the chance that two correlated normals stay below one threshold: Owen's T."""
    f = lambda x: torch.special.erfc(-a * (x - b) / math.sqrt(2)) / 2  # noqa: E731
    rho, h = a * a * c / (1 + a * a), -a * b / math.sqrt(1 + a * a)
    wanted = special.ndtr(h) - 2 * special.owens_t(h, math.sqrt((1 - rho) / (1 + rho)))
    assert correlated_expectation(f, f, c, 1.0).item() == close(wanted, rel=1e-10, abs=1e-13)


def test_shapes_broadcast():
    c, q = torch.tensor([[0.1], [0.9]], dtype=torch.float64), torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    got = correlated_expectation(torch.erf, torch.tanh, c, q)
    assert got.shape == (2, 3)
    assert got[1, 2].item() == close(correlated_expectation(torch.erf, torch.tanh, 0.9, 2.0).item(), rel=1e-13)
    # the roles of the two may be swapped
    torch.testing.assert_close(correlated_expectation(torch.tanh, torch.erf, c, q), got, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gaussian_expectation(torch.tanh, -1.0), "not negative, got -1"),
        (lambda: gaussian_expectation(torch.tanh, math.nan), "not negative, got nan"),
        (lambda: gaussian_expectation(torch.tanh, math.inf), "finite"),
        (lambda: gaussian_expectation(torch.log, 1.0), "not finite"),
        (lambda: gaussian_expectation(lambda x: 1 / (x * 0), 1.0), "not finite"),
        (lambda: gaussian_expectation(torch.zeros_like, 1.0), "dead.*variance 1 reaches"),
        (lambda: gaussian_expectation(lambda x: torch.relu(x - 1e3), torch.tensor([1e6, 2.0])), "dead.*variance 2 "),
        (lambda: correlated_expectation(torch.tanh, torch.zeros_like, 0.5, 1.0), "dead"),
        (lambda: correlated_expectation(torch.tanh, torch.tanh, 1.5, 1.0), r"\[-1, 1\], got 1.5"),
        (lambda: correlated_expectation(torch.tanh, torch.tanh, math.nan, 1.0), "got nan"),
    ],
)
def test_what_has_no_expectation_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_noise_does_not_converge():
    generator = stream("tests", "gaussian.noise")
    with pytest.raises(QuadratureError, match="does not converge"):
        gaussian_expectation(lambda x: 1 + 1e-6 * torch.randn(x.shape, generator=generator, dtype=x.dtype), 1.0)


def test_relu_of_opposite_inputs_is_zero_and_not_dead():
    assert correlated_expectation(torch.relu, torch.relu, -1.0, 1.0, kinks=(0.0,)).item() < 1e-60


def test_the_rule_is_real_where_roots_are_typed_complex(monkeypatch):
    roots = legendre.legroots
    monkeypatch.setattr(legendre, "legroots", lambda c: roots(c).astype(complex))  # as NumPy 2.5 and later do
    nodes, weights = _kronrod.__wrapped__()
    assert (nodes.dtype, weights.dtype) == (torch.float64, torch.float64)
    assert torch.equal(weights, _kronrod()[1])
