import math

import mpmath
import pytest
import torch
from scipy import integrate, stats

from signalprop import stream
from signalprop.theory import batch_norm_residual_profile, residual_profile, residual_relative_second_moment


def assert_mean(samples, predicted, alpha=2e-6):
    """The mean over independent networks is the predicted one, by Student's t."""
    count = samples.numel()
    gate = stats.t.isf(alpha / 2, count - 1) * samples.std() / count**0.5
    assert abs(samples.mean() - predicted) < gate


def randn(generator, *shape):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


# Closed forms


@pytest.mark.parametrize(("block", "base"), [("pre_activation", 2), ("two_layer", 3)])
def test_unscaled_blocks_double_or_triple(block, base):
    assert residual_profile(60, block).tolist() == [float(base) ** layer for layer in range(61)]


@pytest.mark.parametrize(("block", "limit"), [("pre_activation", math.e), ("two_layer", math.e**2)])
def test_branches_scaled_by_the_root_of_the_depth_stay_bounded(block, limit):
    growth = [residual_profile(depth, block, depth**-0.5)[-1].item() for depth in (1000, 2000)]
    assert growth[0] < growth[1] < limit
    assert 2 * growth[1] - growth[0] == pytest.approx(limit, rel=1e-5)
    exact = mpmath.mpf(1 + mpmath.mpf(1 if block == "pre_activation" else 2) / 1000) ** 1000
    assert growth[0] == pytest.approx(float(exact), rel=1e-12)


def test_beyond_float64_it_is_infinite():
    assert residual_profile(2000)[-1] == math.inf
    assert residual_profile(2000, "post_activation")[-1] == math.inf


@pytest.mark.parametrize("alpha", [0.01, 0.1, 0.5, 1.0, 4.0])
def test_first_post_activation_block_in_closed_form(alpha):
    """x₀ = φ(z), s = α: of z > 0 and z + s g > 0 by the angle between them, of z < 0 and g > 0 a quarter each."""
    angle = math.atan(alpha)
    both = (1 + alpha**2) * (math.pi - angle + math.sin(angle) * math.cos(angle)) / (2 * math.pi)
    assert residual_profile(1, "post_activation", alpha)[1] == pytest.approx(2 * (both + alpha**2 / 4), rel=1e-12)


@pytest.mark.parametrize("alpha", [0.05, 1.0])
def test_second_post_activation_block_from_the_density_after_the_first(alpha):
    """The density of φ(φ(z) + s g) at y > 0 is half that of s g, and the half-line convolution of two Gaussians."""
    total = math.sqrt(1 + alpha**2)

    def density(y):
        return stats.norm.pdf(y, scale=alpha) / 2 + stats.norm.pdf(y, scale=total) * stats.norm.cdf(y / (alpha * total))

    def quad(f):
        return integrate.quad(f, 0, 12 * total, epsabs=1e-13, epsrel=1e-13, limit=200, points=[alpha, 4 * alpha])[0]

    atom = 1 - quad(density)
    square = quad(lambda y: density(y) * y * y)
    spread = alpha * math.sqrt(2 * square)

    def kept(x):
        t = x / spread
        return spread**2 * ((1 + t * t) * stats.norm.cdf(t) + t * stats.norm.pdf(t))

    after = atom * kept(0) + quad(lambda y: density(y) * kept(y))
    profile = residual_profile(2, "post_activation", alpha)
    assert profile[1:].tolist() == pytest.approx([2 * square, 2 * after], rel=1e-9)


def test_post_activation_factor_settles():
    profile = residual_profile(40, "post_activation")
    factors = profile[1:] / profile[:-1]
    assert f"{factors[0]:.9f}" == f"{2 + 1 / math.pi:.9f}"
    assert (factors[1:15] > factors[:14]).all()
    assert factors[30:].tolist() == pytest.approx([2.3988907674708] * 10, rel=1e-12)


@pytest.mark.parametrize("alpha", [1.0, 0.3])
def test_normalized_branches_add(alpha):
    layers = torch.arange(101)
    square, variance = batch_norm_residual_profile(100, "last", alpha)
    torch.testing.assert_close(square, 1 + alpha**2 * layers.double(), rtol=1e-14, atol=0)
    assert square.equal(variance)
    square_first, variance = batch_norm_residual_profile(100, "first", alpha)
    assert square_first.equal(square)
    slopes = variance.diff() / alpha**2
    assert {f"{s:.3f}" for s in slopes} == {"0.682"}
    torch.testing.assert_close(slopes, torch.full_like(slopes, 1 - 1 / math.pi), rtol=1e-12, atol=0)


def test_no_block_is_the_identity():
    for block in ("pre_activation", "two_layer", "post_activation"):
        assert residual_profile(0, block).tolist() == [1.0]
    assert residual_profile(5, alpha=0.0).tolist() == [1.0] * 6


@pytest.mark.parametrize("alpha", [-0.1, math.inf, math.nan])
def test_scale_out_of_range_is_refused(alpha):
    for profile in (residual_profile, batch_norm_residual_profile):
        with pytest.raises(ValueError, match="alpha must be finite"):
            profile(3, alpha=alpha)


def test_wrong_requests_are_refused():
    with pytest.raises(ValueError, match=r"at least 0\.01 for this block, got 0"):
        residual_profile(3, "post_activation", 0.0)
    with pytest.raises(ValueError, match="unknown block 'bottleneck'; known: pre_activation, two_layer"):
        residual_profile(3, "bottleneck")
    with pytest.raises(ValueError, match="unknown order 'middle'; known: last, first"):
        batch_norm_residual_profile(3, "middle")
    for profile in (residual_profile, batch_norm_residual_profile):
        with pytest.raises(ValueError, match="depth must not be negative"):
            profile(-1)


# Real layers


BLOCKS = {
    "pre_activation": lambda x, w1, w2: x + w2 @ (w1 @ x.relu()).relu(),
    "two_layer": lambda x, w1, w2: x + w2 @ (w1 @ x).relu(),
    "post_activation": lambda x, w1, w2: (x + w2 @ (w1 @ x).relu()).relu(),
}


def mean_block_growth(name, n, networks, depth, alpha):
    """The mean over blocks of ‖x_l‖²/‖x_{l−1}‖², in independent networks of width n."""
    generator = stream("tests", f"residual.{name}", n)
    x = randn(generator, networks, n, 1)
    if name == "post_activation":
        x = x.relu()
    growth = torch.zeros(networks, dtype=torch.float64)
    for _ in range(depth):
        w1, w2 = (randn(generator, networks, n, n) * (2 / n) ** 0.5 for _ in range(2))
        before, x = x, BLOCKS[name](x, w1, alpha * w2)
        growth += x.square().sum((1, 2)) / before.square().sum((1, 2)) / depth
    return growth


@pytest.mark.parametrize("name", list(BLOCKS))
def test_growth_in_drawn_networks(name):
    """Three blocks, at widths 32 (a dead start is one in 2³²) and 64 extrapolated in 1/n."""
    narrow, wide = (mean_block_growth(name, n, 4000, 3, 0.8) for n in (32, 64))
    profile = residual_profile(3, name, 0.8)
    assert_mean(2 * wide - narrow, (profile[1:] / profile[:-1]).mean().item())


def batch_norm(y):
    y = y - y.mean(-1, keepdim=True)
    return y / y.square().mean(-1, keepdim=True).sqrt()


def normalized_network(order, n, networks, depth):
    """Mean square and batch variance after the last block, width n and batch n."""
    generator = stream("tests", f"residual.batch_norm.{order}", n)
    x = batch_norm(randn(generator, networks, n, n))
    for _ in range(depth):
        w = randn(generator, networks, n, n) * (2 / n) ** 0.5
        x = x + (batch_norm(w @ x.relu()) if order == "last" else w @ batch_norm(x).relu())
    return x.square().mean((1, 2)), x.var(-1, correction=0).mean(-1)


@pytest.mark.parametrize("order", ["last", "first"])
def test_normalized_growth_in_drawn_networks(order):
    """Eight blocks, batch as large as width, extrapolated in 1/n."""
    narrow, wide = (normalized_network(order, n, 200, 8) for n in (32, 64))
    predicted = batch_norm_residual_profile(8, order)
    for small, large, limit in zip(narrow, wide, predicted, strict=True):
        assert_mean(2 * large - small, limit[-1].item())


# Fluctuations at a finite width


@pytest.mark.parametrize(("width", "alpha"), [(1, 1.0), (3, 0.5), (8, 1.0)])
def test_second_moment_of_a_two_layer_block_by_sums_over_the_units_that_are_on(width, alpha):
    """E r² from the moments of ζ and of χ² given K, written out."""
    mean = second = 0.0
    for on in range(width + 1):
        share = math.comb(width, on) / 2**width
        s2, s4 = 4 / width**2 * on, 16 / width**4 * on * (on + 2)
        mean += share * (1 + alpha**2 * s2 * width)
        second += share * (1 + 4 * alpha**2 * s2 + 2 * alpha**2 * s2 * width + alpha**4 * s4 * width * (width + 2))
    assert mean == pytest.approx(1 + 2 * alpha**2)
    assert residual_relative_second_moment(4, width, alpha) == pytest.approx((second / mean**2) ** 4)


def test_dense_two_layer_blocks_fluctuate_so():
    networks, width, depth, alpha = 40_000, 6, 3, 0.4
    generator = stream("tests", "residual fluctuations")
    x = torch.ones(networks, width, 1, dtype=torch.float64)
    for _ in range(depth):
        inner, outer = ((2 / width) ** 0.5 * randn(generator, networks, width, width) for _ in range(2))
        x = x + alpha * outer @ (inner @ x).relu()
    growth = x.square().mean((1, 2)) / residual_profile(depth, "two_layer", alpha)[-1]
    assert_mean(growth, 1.0)
    assert_mean(growth**2, residual_relative_second_moment(depth, width, alpha))


def test_with_branches_scaled_by_depth_the_spread_stays():
    spread = [residual_relative_second_moment(depth, 32, depth**-0.5) for depth in (10, 100, 10_000)]
    assert spread[0] < spread[1] < spread[2] < math.exp(8 / 32)
    assert spread[2] == pytest.approx(math.exp(8 / 32), rel=1e-3)


@pytest.mark.parametrize("arguments", [(-1, 4, 1.0), (2, 0, 1.0), (2, 4, -1.0), (2, 4, math.inf)])
def test_fluctuations_refuse(arguments):
    with pytest.raises(ValueError, match="must"):
        residual_relative_second_moment(*arguments)
