import math

import mpmath as mp
import pytest
import torch

from signalprop.theory import (
    ACTIVATIONS,
    correlated_expectation,
    correlation_fixed_point,
    correlation_map,
    critical_point,
    critical_rate,
    depth_scales,
    fixed_point,
    gradient_correlation,
    gradient_depth_scale,
)
from signalprop.theory.correlation import decay_length
from signalprop.theory.gaussian import expectation_at_angle
from signalprop.theory.slope_correlation import angle_position, resolution, series_at, slope_series

mp.mp.dps = 30
close = pytest.approx


def erf_kernel(c, q):
    return 2 / mp.pi * mp.asin(2 * q * c / (1 + 2 * q))


def relu_kernel(c):
    return (math.sqrt(1 - c * c) + c * (math.pi - math.acos(c))) / math.pi


def test_all_inputs_look_alike_to_a_deep_relu_network():
    c, path = 0.0, []
    for _ in range(100):
        c = correlation_map("relu", c, 1.0, 2.0).item()
        path.append(c)
    assert [f"{v:.4f}" for v in (*path[:3], path[4], path[9])] == ["0.3183", "0.4937", "0.6048", "0.7359", "0.8715"]
    assert (f"{path[49]:.5f}", f"{path[99]:.6f}") == ("0.98786", "0.996423")


def test_the_map_is_normalized_by_the_new_variance():
    c = torch.tensor([-1.0, 0.3, 1.0], dtype=torch.float64)
    out = correlation_map("erf", c, 2.0, 1.5, 0.2)
    wanted = [(1.5 * erf_kernel(v, 2.0) + 0.2) / (1.5 * erf_kernel(1, 2.0) + 0.2) for v in c.tolist()]
    assert out.tolist() == close([float(v) for v in wanted], rel=1e-12)
    assert correlation_map("tanh", 1.0, 0.7, 2.0, 0.1).item() == close(1, rel=1e-14)


# σ_w², ξ_q, ξ_c of tanh at σ_b² = .05
SCALES = [
    (1.0, "1.74763", "3.62698"),
    (1.5, "1.68283", "15.7910"),
    (1.75, "1.52770", "426.198"),
    (2.0, "1.38798", "25.2134"),
    (2.5, "1.17987", "11.7956"),
    (3.0, "1.04146", "9.05146"),
    (4.0, ".873293", "6.98027"),
]


@pytest.mark.parametrize(("sigma_w2", "xi_q", "xi_c"), SCALES)
def test_depth_scales_of_tanh(sigma_w2, xi_q, xi_c):
    got = depth_scales("tanh", sigma_w2, 0.05)
    assert [f"{v:.6g}" for v in got] == [f"{float(v):.6g}" for v in (xi_q, xi_c)]


@pytest.mark.parametrize("excess", [1.0, 1e-2, 1e-4, 1e-6])
def test_the_chaotic_fixed_point_of_erf_next_to_the_critical_line(excess):
    """1 − c* to 1e-9 of itself at thirty digits: the float sigma_w2 is taken as it is."""
    line, _ = critical_point("erf", 0.05)
    sigma_w2 = line * (1 + excess)
    q = mp.findroot(lambda q: sigma_w2 * erf_kernel(1, q) + mp.mpf(0.05) - q, fixed_point("erf", sigma_w2, 0.05))
    gap = lambda e: (1 - (sigma_w2 * erf_kernel(1 - e, q) + mp.mpf(0.05)) / q) / e - 1  # noqa: E731
    got = correlation_fixed_point("erf", sigma_w2, 0.05)
    wanted = mp.findroot(gap, (mp.mpf(1 - got) * 0.9, mp.mpf(1 - got) * 1.1), solver="anderson")
    assert 1 - got == close(float(wanted), rel=1e-12 / excess + 1e-10)
    slope = sigma_w2 * 4 / mp.pi / mp.sqrt((1 + 2 * q) ** 2 - (2 * q * (1 - wanted)) ** 2)
    assert depth_scales("erf", sigma_w2, 0.05)[1] == close(float(-1 / mp.log(slope)), rel=1e-12 / excess + 1e-10)


@pytest.mark.parametrize("name", ["hardtanh", "lecun_tanh", "selu"])
def test_the_fixed_point_is_where_the_map_ends(name):
    sigma_w2, sigma_b2 = (1.6, 0.1) if name == "selu" else (3.0, 0.1)
    q, c = fixed_point(name, sigma_w2, sigma_b2), correlation_fixed_point(name, sigma_w2, sigma_b2)
    assert 0 < c < 1
    assert correlation_map(name, c, q, sigma_w2, sigma_b2).item() == close(c, rel=1e-12)
    step = 1e-4
    slope = correlation_map(name, c + step, q, sigma_w2, sigma_b2) - correlation_map(
        name, c - step, q, sigma_w2, sigma_b2
    )
    assert depth_scales(name, sigma_w2, sigma_b2)[1] == close(-1 / math.log(slope.item() / (2 * step)), rel=1e-5)


def test_odd_activations_without_biases_forget_altogether():
    assert correlation_fixed_point("tanh", 2.5) == close(0, abs=1e-12)
    # E sin u1 sin u2 = e^{−q} sinh(qc), so that the slope at c = 0 is that of q e^{−q} c
    q = fixed_point(torch.sin, 3.0)
    assert depth_scales(torch.sin, 3.0)[1] == close(-1 / math.log(3 * math.exp(-q)), rel=1e-10)


def test_scales_at_the_edges():
    sigma_w2, _ = critical_point("tanh", 0.05)
    assert depth_scales("tanh", sigma_w2, 0.05)[1] == math.inf
    assert gradient_depth_scale("tanh", sigma_w2, 0.05) == math.inf
    assert depth_scales("relu", 2.0) == (math.inf, math.inf)
    assert correlation_fixed_point("relu", 2.0) == 1
    assert depth_scales("tanh", 0.5) == close((1 / math.log(2),) * 2, rel=1e-12)
    assert gradient_depth_scale("tanh", 1.5, 0.05) == close(depth_scales("tanh", 1.5, 0.05)[1], rel=1e-12)
    assert gradient_depth_scale("tanh", 2.5, 0.05) < 0
    assert decay_length(-0.5) == close(1 / math.log(2))


def test_critical_rates_against_the_iterated_map():
    """κ/l against 200,000 layers of the closed-form maps, at l large enough for the next term (ln l / l)."""
    kappa, power = critical_rate("erf", 0.05)
    sigma_w2, q = critical_point("erf", 0.05)
    a, gap = 2 * q / (1 + 2 * q), 0.1
    for _ in range(200_000):
        # sin(arcsin a − arcsin ac), without cancellation
        here, there = math.sqrt(1 - a * a), math.sqrt(1 - (a * (1 - gap)) ** 2)
        sine = a * gap * (here + a * a * (2 - gap) / (here + there))
        gap = sigma_w2 * 2 / math.pi * math.asin(sine) / q
    assert power == 1
    assert gap * 200_000 == close(kappa, rel=3e-4)
    kappa, power = critical_rate("relu", 0.0)
    assert (power, kappa) == (2, close(4.5 * math.pi**2, rel=1e-10))
    c = 0.0
    for _ in range(10_000):
        c = relu_kernel(c)
    assert f"{1e8 * (1 - c):.2f}" == "44.25"  # still 0.4 % from 9π²/2


def test_the_rate_of_tanh_and_of_kinked_slopes():
    assert f"{critical_rate('tanh', 0.05)[0]:.5f}" == "6.17113"
    assert critical_rate("elu", 0.1)[1] == 1
    assert critical_rate("selu", 0.1)[1] == 2
    # the fall of the slope correlation by the angle, measured next to 0
    kappa, _ = critical_rate("hardtanh", 0.2)
    sigma_w2, q = critical_point("hardtanh", 0.2)
    angle, variance = torch.tensor([1e-5, 2e-5], dtype=torch.float64), torch.full((2,), q, dtype=torch.float64)
    slope = ACTIVATIONS["hardtanh"].slope
    near = expectation_at_angle(slope, slope, angle.cos(), angle.sin(), variance, variance, (-1.0, 1.0))
    assert 4.5 / (sigma_w2 * (near[0] - near[1]).item() / 1e-5) ** 2 == close(kappa, rel=1e-4)


def test_gradients_of_relu_shatter_by_a_power_of_depth():
    got = gradient_correlation("relu", 30, 0.0, 1.0, 2.0)
    assert got.shape == (30,)
    c, product, wanted = 0.0, 1.0, []
    for _ in range(1000):
        product *= 1 - math.acos(c) / math.pi
        wanted.append(product)
        c = relu_kernel(c)
    assert got.tolist() == close(wanted[:30], rel=1e-9)
    assert [f"{wanted[k - 1]:.4g}" for k in (1, 5, 10)] == ["0.5", "0.1046", "0.03365"]
    assert [f"{wanted[k - 1]:.2e}" for k in (50, 100, 1000)] == ["9.12e-04", "1.44e-04", "1.88e-07"]
    assert gradient_correlation("tanh", 0, 0.5, 1.0, 1.0).shape == (0,)


@pytest.mark.parametrize("name", ["tanh", "relu", "hardtanh", "gelu"])
def test_series_of_the_slope_correlation(name):
    phi, q = ACTIVATIONS[name], torch.tensor([0.3, 20.0], dtype=torch.float64)
    slopes, means = slope_series(phi, q, resolution(phi, q))
    for theta in (1e-7, 0.1, 0.8, 1.5):
        angle = torch.full_like(q, theta)
        c = math.cos(theta)
        direct = expectation_at_angle(phi.slope, phi.slope, angle.cos(), angle.sin(), q, q, phi.kinks)
        torch.testing.assert_close(series_at(slopes, q, angle_position(q, angle)), direct, rtol=1e-11, atol=0)
        if theta > 0.01:
            signal = correlated_expectation(phi.function, phi.function, c, q, kinks=phi.kinks)
            ends = correlated_expectation(phi.function, phi.function, 1.0, q, kinks=phi.kinks)
            mean = (ends - signal) / q / (1 - c)
            torch.testing.assert_close(series_at(means, q, angle_position(q, angle)), mean, rtol=1e-9, atol=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: correlation_map("tanh", 1.1, 1.0, 1.0), "correlation lies in"),
        (lambda: correlation_map("tanh", 0.5, 1.0, -1.0), "not negative"),
        (lambda: depth_scales("relu", 3.0), "diverges at sigma_w2 = 3"),
        (lambda: correlation_fixed_point("relu", 2.0, 0.1), "diverges"),
        (lambda: gradient_depth_scale("relu", 3.0), "diverges"),
        (lambda: critical_rate("tanh", 0.0), "no variance is left"),
        (lambda: critical_rate("gelu", 0.0), "half_stable_point"),
    ],
)
def test_what_is_not_stationary_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
