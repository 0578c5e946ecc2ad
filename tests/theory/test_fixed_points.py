import math
from itertools import cycle, pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from signalprop.theory import (
    ACTIVATIONS,
    activation,
    chi1,
    critical_point,
    fixed_point,
    fixed_points,
    half_stable_point,
    second_moment,
    variance_map,
)

close = pytest.approx


def erf_moment(q):
    return 2 / math.pi * math.asin(2 * q / (1 + 2 * q))


@pytest.mark.parametrize(("sigma_w", "q"), [(1.3, "0.6070467919"), (2.5, "4.0791238753"), (4.0, "12.6041494978")])
def test_variances_of_tanh_with_small_biases(sigma_w, q):
    assert f"{fixed_point('tanh', sigma_w**2, 0.3**2):.10f}" == q


def test_lecuns_tanh_and_the_logistic():
    assert f"{fixed_point('lecun_tanh', 1.0):.10f}" == "0.3824408013"
    assert f"{fixed_point('sigmoid', 1.0):.10f}" == "0.2646868752"


@given(st.floats(0.05, 20), st.floats(1e-6, 3))
@settings(max_examples=6)
def test_erf_against_its_closed_form(sigma_w2, sigma_b2):
    wanted = optimize.brentq(lambda q: sigma_w2 * erf_moment(q) + sigma_b2 - q, 1e-7, 100, xtol=1e-15, rtol=1e-15)
    (point,) = fixed_points("erf", sigma_w2, sigma_b2)
    slope = sigma_w2 * 4 / math.pi / (1 + 2 * point.q) / math.sqrt(1 + 4 * point.q)
    assert point.q == close(wanted, rel=1e-13 / (1 - slope))
    assert point.chi_q == close(slope, rel=1e-10)
    assert point.chi1 == close(sigma_w2 * 4 / math.pi / math.sqrt(1 + 4 * point.q), rel=1e-10)
    assert point.stability == "stable"


SETTINGS = [*zip(ACTIVATIONS, cycle([(0.7, 0.0), (1.4, 0.1), (2.5, 0.3)]), strict=False)]


@pytest.mark.parametrize(("name", "setting"), SETTINGS)
def test_every_point_is_fixed_and_iteration_ends_in_the_one_reached(name, setting):
    points = fixed_points(name, *setting)
    for point in points:
        if 0 < point.q < math.inf:
            assert variance_map(name, point.q, *setting).item() == close(point.q, rel=1e-13)
    assert all((a.stability == "stable") != (b.stability == "stable") for a, b in pairwise(points))
    q = torch.tensor(1.0, dtype=torch.float64)
    for _ in range(60):
        q = variance_map(name, q, *setting)
    reached = fixed_point(name, *setting)
    assert q > 100 if math.isinf(reached) else q.item() == close(reached, rel=1e-3, abs=1e-3)


def test_zero_and_infinity():
    assert [(p.q, p.stability) for p in fixed_points("relu", 1.9)] == [(0, "stable")]
    assert [(p.q, p.stability) for p in fixed_points("relu", 2.1)] == [(0, "unstable"), (math.inf, "stable")]
    (diverging,) = fixed_points("relu", 2.0, 0.1)
    assert (diverging.q, diverging.chi_q) == (math.inf, close(1))
    (homogeneous,) = fixed_points("leaky_relu", 2 / 1.0001)
    assert homogeneous.stability == "neutral"
    assert fixed_point("linear", 1.0) == 1
    assert fixed_points("elu", 3.0)[-1].chi1 == close(1.5, rel=1e-10)


def test_zero_attracts_algebraically_at_the_critical_tanh_and_repels_beyond():
    assert [(p.q, p.stability) for p in fixed_points("tanh", 1.0)] == [(0, "stable")]
    zero, near = fixed_points("tanh", 1 + 1e-6)
    assert zero.stability == "unstable"
    # q* = (σ_w² − 1)/2 to leading order: E tanh² = q − 2q² + …
    assert near.q == close(0.5e-6, rel=1e-5)


def test_gelu_dies_under_the_gain_of_relu():
    """E φ² ≈ q/4 for small q: from q = 1 the variance falls by nearly 2 a layer, to 2.6e-29 after a hundred."""
    assert fixed_point("gelu", 2.0) == 0
    q = 1.0
    for _ in range(100):
        q = variance_map("gelu", q, 2.0).item()
    assert f"{q:.1e}" == "2.6e-29"


def test_a_half_stable_point_and_what_it_breaks_into():
    q, sigma_w2, sigma_b2 = half_stable_point("gelu")
    lower, upper = fixed_points("gelu", sigma_w2, sigma_b2)
    assert (lower.stability, upper.stability) == ("stable", "half-stable")
    assert upper.q == close(q, rel=1e-5)
    assert [p.stability for p in fixed_points("gelu", sigma_w2 * (1 + 1e-6), sigma_b2)] == [
        "stable",
        "unstable",
        "stable",
    ]
    assert [p.stability for p in fixed_points("gelu", sigma_w2 * (1 - 1e-6), sigma_b2)] == ["stable"]


@pytest.mark.parametrize(
    ("name", "sigma_w"),
    [
        ("tanh", "1 1.12253900477 1.19340072502 1.30414584006 1.39558397515 1.54967391251 1.85558910114"),
        ("erf", "0.886226925453 0.993686290354 1.05559464919 1.15279541349 1.23367250584 1.37133047032 1.64875145257"),
        ("hardtanh", "1 1.00885348517 1.02570035069 1.06860884367 1.11614499966 1.2131478472 1.43969045451"),
    ],
)
def test_the_critical_lines(name, sigma_w):
    line = [critical_point(name, sigma_b**2)[0] for sigma_b in (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)]
    assert [f"{math.sqrt(sigma_w2):.12g}" for sigma_w2 in line] == sigma_w.split()


def test_critical_points():
    sigma_w2, q = critical_point("tanh", 0.05)
    assert (f"{sigma_w2:.10f}", f"{q:.10f}") == ("1.7609546396", "0.5700478816")
    assert critical_point("relu") == close((2, 1), rel=1e-13)
    assert critical_point("leaky_relu") == close((2 / 1.0001, 1), rel=1e-13)
    assert critical_point("erf") == close((math.pi / 4, 0), rel=1e-13)
    sigma_w2, q = critical_point("sigmoid")
    assert (f"{math.sqrt(sigma_w2):.3f}", f"{q:.2f}") == ("10.149", "45.62")
    sigma_w2, q = critical_point("sigmoid", 7.037)
    assert math.sqrt(sigma_w2) == close(10.851, abs=5e-4)
    assert q == close(60, abs=2e-3)


@given(st.floats(-6, 1).map(lambda e: 10**e))
@settings(max_examples=6)
def test_the_critical_line_of_erf_in_closed_form(sigma_b2):
    """σ_w² = π√(1 + 4q)/4 and q follows from σ_b² = q − σ_w² (2/π) arcsin(2q/(1 + 2q))."""
    line = lambda q: math.pi / 4 * math.sqrt(1 + 4 * q)  # noqa: E731
    wanted = optimize.brentq(lambda q: q - line(q) * erf_moment(q) - sigma_b2, 1e-4, 100, xtol=1e-16, rtol=1e-15)
    sigma_w2, q = critical_point("erf", sigma_b2)
    assert q == close(wanted, rel=1e-9)
    assert sigma_w2 == close(line(wanted), rel=1e-9)


@pytest.mark.parametrize("name", ["tanh", "lecun_tanh", "hardtanh", "selu", "elu", "mish", "silu"])
def test_critical_points_are_fixed_and_attract(name):
    sigma_w2, q = critical_point(name, 1.0)
    assert variance_map(name, q, sigma_w2, 1.0).item() == close(q, rel=1e-11)
    assert chi1(name, q, sigma_w2).item() == close(1, rel=1e-12)
    assert fixed_point(name, sigma_w2, 1.0) == close(q, rel=1e-8)


def test_half_stable_points():
    q, sigma_w2, sigma_b2 = half_stable_point("gelu")
    assert q == close((3 + math.sqrt(17)) / 2, rel=1e-11)
    assert (f"{sigma_w2:.10f}", f"{sigma_b2:.10f}") == ("1.9830582574", "0.1729223908")
    q, sigma_w2, sigma_b2 = half_stable_point("silu")
    assert (f"{q:.9f}", f"{sigma_w2:.10f}", f"{sigma_b2:.10f}") == ("14.320173618", "1.9880046783", "0.5551431707")


def test_oscillating_activations_are_followed_as_far_as_quadrature_goes():
    """E sin² = (1 − e^{−2q})/2."""
    zero, point = fixed_points(torch.sin, 3.0)
    assert zero.stability == "unstable"
    assert point.q == close(optimize.brentq(lambda q: 1.5 * (1 - math.exp(-2 * q)) - q, 0.1, 3), rel=1e-12)
    (even,) = fixed_points(torch.cos, 2.0)
    assert even.q == close(optimize.brentq(lambda q: 1 + math.exp(-2 * q) - q, 0.1, 3), rel=1e-12)
    assert even.chi_q < 0


def test_variances_below_the_range_count_as_zero():
    assert fixed_point("tanh", 0.5, 1e-40) == 0


def test_a_falling_map_settles():
    """E exp(−2u²) = 1/√(1 + 4q) falls as steeply as any map can, χ_q → −½."""
    (point,) = fixed_points(lambda x: torch.exp(-x * x), 1e4)
    assert point.q == close(optimize.brentq(lambda q: 1e4 / math.sqrt(1 + 4 * q) - q, 1, 1e4), rel=1e-12)
    assert -0.5 < point.chi_q < -0.49
    assert point.stability == "stable"


def test_an_activation_that_is_dead_around_zero():
    shrink = activation(torch.nn.Softshrink(0.5), (-0.5, 0.5))
    zero, threshold, infinity = fixed_points(shrink, 3.0)
    assert (zero.q, zero.chi_q, zero.stability) == (0, 0, "stable")
    assert 3 * second_moment(shrink, threshold.q).item() == close(threshold.q, rel=1e-12)
    assert (threshold.stability, infinity.q) == ("unstable", math.inf)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: critical_point("gelu"), "none with q. > 0; see half_stable_point"),
        (lambda: critical_point("silu"), "none with q. > 0; see half_stable_point"),
        (lambda: critical_point("gelu", 0.1), "only the repelling q. = 1.6324"),
        (lambda: critical_point("relu", 0.1), "no attracting critical point"),
        (lambda: critical_point("softplus"), "no attracting critical point"),
        (lambda: half_stable_point("tanh"), "no half-stable point"),
        (lambda: fixed_points("tanh", 0.0), "must be positive"),
        (lambda: fixed_points("tanh", math.inf), "finite"),
        (lambda: fixed_points("tanh", 1.0, -1.0), "not negative"),
    ],
)
def test_what_does_not_exist_is_said(call, message):
    with pytest.raises(ValueError, match=message):
        call()
