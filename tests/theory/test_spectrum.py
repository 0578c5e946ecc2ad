import math
from fractions import Fraction
from itertools import pairwise

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from signalprop import stream
from signalprop.theory import (
    activation_slopes,
    bernoulli_mask,
    discrete_slopes,
    free_product,
    gaussian_weights,
    jacobian_cdf,
    jacobian_density,
    jacobian_edges,
    jacobian_moments,
    orthogonal_weights,
    residual_blocks,
    s_transform,
)

RELU = bernoulli_mask(0.5)
LEAKY = ((0.01, 0.5), (1.0, 0.5))


def float64(*values):
    return torch.tensor(values, dtype=torch.float64)


def critical(weights, act, q, depth):
    """Depth layers of mean squared singular value 1."""
    slopes = activation_slopes(act, q)
    return (weights(1 / jacobian_moments(slopes, 1).item()) * slopes) ** depth


def integrate(law, breaks, power):
    """∫ x^k ρ(x) dx for k = 0 … 4 plus the atoms, by Gauss's rule; x^(1/power) is smooth at the first break."""
    u, w = np.polynomial.legendre.leggauss(80)
    theta, w = torch.from_numpy(u + 1) * math.pi / 4, torch.from_numpy(w) * math.pi / 4
    total = float64(*(sum(mass * atom**k for atom, mass in law.atoms) for k in range(5)))
    for (low, high), p in zip(pairwise(breaks), [power] + [1] * len(breaks), strict=False):
        x = low + (high - low) * theta.sin() ** (2 * p)
        dx = (high - low) * 2 * p * theta.sin() ** (2 * p - 1) * theta.cos()
        mass = w * dx * jacobian_density(law, x)
        total += torch.stack([(mass * x**k).sum() for k in range(5)])
    return total


# --- moments -------------------------------------------------------------------------------------------------------


def noncrossing(points):
    """All non-crossing partitions of a list of points."""
    if not points:
        yield []
        return
    first, rest = points[0], points[1:]
    for mask in range(2 ** len(rest)):
        block = [first] + [p for i, p in enumerate(rest) if mask >> i & 1]
        gaps = [[p for p in rest if a < p < b] for a, b in pairwise([*block, math.inf])]
        parts = [[]]
        for gap in gaps:
            parts = [done + new for done in parts for new in noncrossing(gap)]
        for part in parts:
            yield [block, *part]


def kreweras(partition, k):
    """The complement π⁻¹ ∘ (1 2 … k), as lists of points."""
    previous = {b: a for block in partition for a, b in zip(block, block[1:] + block[:1], strict=True)}
    step = {i: previous[(i + 1) % k] for i in range(k)}
    blocks, seen = [], set()
    for start in range(k):
        block, i = [], start
        while i not in seen:
            seen.add(i)
            block.append(i)
            i = step[i]
        if block:
            blocks.append(block)
    return blocks


def free_cumulants(moments):
    """From m_k = Σ over non-crossing partitions of the products of cumulants."""
    cumulants = []
    for k in range(1, len(moments) + 1):
        others = sum(
            math.prod(cumulants[len(block) - 1] for block in part)
            for part in noncrossing(list(range(k)))
            if len(part) > 1
        )
        cumulants.append(moments[k - 1] - others)
    return cumulants


def free_product_moments(one, other):
    """m_k(ab) = Σ_π κ_π(a) m_K(π)(b): combinatorics, without any S-transform."""
    cumulants = free_cumulants(one)
    return [
        sum(
            math.prod(cumulants[len(block) - 1] for block in part)
            * math.prod(other[len(block) - 1] for block in kreweras(part, k))
            for part in noncrossing(list(range(k)))
        )
        for k in range(1, len(one) + 1)
    ]


def exact(law, k=5):
    half = Fraction(1, 2)
    return {
        "gaussian": [Fraction(math.comb(2 * j, j), j + 1) for j in range(1, k + 1)],
        "orthogonal 2": [Fraction(2) ** j for j in range(1, k + 1)],
        "relu": [half] * k,
        "mask 3/4": [Fraction(3, 4)] * k,
        "leaky": [half * (1 + Fraction(1, 100) ** j) for j in range(1, k + 1)],
    }[law]


FACTORS = {
    "gaussian": gaussian_weights(1.0),
    "orthogonal 2": orthogonal_weights(2.0),
    "relu": RELU,
    "mask 3/4": bernoulli_mask(0.75),
    "leaky": discrete_slopes(LEAKY),
}


@pytest.mark.parametrize(
    "names",
    [
        ["gaussian"] * 3,
        ["orthogonal 2", "relu"] * 3,
        ["gaussian", "leaky"],
        ["leaky"] * 3,
        ["gaussian", "relu", "orthogonal 2", "mask 3/4", "leaky"],
    ],
    ids="-".join,
)
def test_moments_of_free_products_are_sums_over_noncrossing_partitions(names):
    expected = exact(names[0])
    for name in names[1:]:
        expected = free_product_moments(expected, exact(name))
    law = free_product(FACTORS[name] for name in names)
    assert jacobian_moments(law, 5).tolist() == pytest.approx([float(m) for m in expected], rel=1e-12)


@pytest.mark.parametrize("depth", [1, 2, 5, 10, 100])
def test_linear_gaussian_moments_are_fuss_catalan_numbers(depth):
    expected = [math.comb((depth + 1) * k, k) / (depth * k + 1) for k in range(1, 7)]
    assert jacobian_moments(gaussian_weights(1.0) ** depth, 6).tolist() == pytest.approx(expected, rel=1e-11)


def test_relu_moments_at_depth_two():
    orthogonal, gaussian = ((weights(2.0) * RELU) ** 2 for weights in (orthogonal_weights, gaussian_weights))
    expected = [math.comb(2 * k - 1, k) for k in range(1, 6)]
    assert jacobian_moments(orthogonal, 5).tolist() == pytest.approx(expected, rel=1e-13)
    assert jacobian_moments(gaussian).tolist() == pytest.approx([1, 5, 33, 249], rel=1e-13)


@pytest.mark.parametrize(
    ("law", "per_layer"),
    [
        (gaussian_weights(1.0), 1.0),
        (orthogonal_weights(2.0) * RELU, 1.0),
        (gaussian_weights(2.0) * RELU, 2.0),
        (orthogonal_weights(1 / 0.99) * bernoulli_mask(0.99), 0.01 / 0.99),
        (gaussian_weights(1 / 0.99) * bernoulli_mask(0.99), 1 / 0.99),
    ],
)
def test_variance_grows_by_the_layer(law, per_layer):
    """σ² = L (μ₂/μ₁² − 1 − s₁), with s₁ = 0 for orthogonal and −1 for Gaussian weights."""
    mean, second = jacobian_moments(law**100, 2).tolist()
    assert mean == pytest.approx(1, rel=1e-12)
    assert second - mean**2 == pytest.approx(100 * per_layer, rel=1e-11)


def test_tanh_variance_by_the_layer_at_one_over_64():
    mean, second = jacobian_moments(critical(orthogonal_weights, "tanh", 1 / 64, 64), 2).tolist()
    assert (second - mean**2) / 64 == pytest.approx(0.00168937, abs=5e-9)


@pytest.mark.parametrize("q", [1e-12, 1 / 64, 2.0, 1e6])
@pytest.mark.parametrize("act", ["tanh", "gelu", "elu"])
def test_moments_of_slopes_by_quadrature_at_thirty_digits(act, q):
    root = math.sqrt(q)
    slope = {
        "tanh": lambda x: mpmath.sech(x) ** 2,
        "gelu": lambda x: mpmath.ncdf(x) + x * mpmath.npdf(x),
        "elu": lambda x: mpmath.exp(min(x, 0)),
    }[act]
    with mpmath.workdps(30):
        marks = sorted({side * 10.0**k / root for k in range(-3, 5) for side in (-1, 1) if 10.0**k < 12 * root})
        marks = [-12, *marks, *([0] if act == "elu" else []), 12]
        expected = [
            mpmath.quad(lambda z, k=k: slope(root * z) ** (2 * k) * mpmath.npdf(z), sorted(marks)) for k in (1, 2)
        ]
    assert jacobian_moments(activation_slopes(act, q), 2).tolist() == pytest.approx(
        [float(m) for m in expected], rel=1e-11
    )


@pytest.mark.parametrize("c", [0.25, 1.0, 3.0])
def test_residual_moments_and_edges_are_those_of_tarnowski(c):
    law, r = residual_blocks(c), math.sqrt(1 + 2 / c)
    expected = [math.exp(c * k) / k * special.eval_genlaguerre(k - 1, 1, -2 * c * k) for k in range(1, 7)]
    assert jacobian_moments(law, 6).tolist() == pytest.approx(expected, rel=1e-12)
    highest = (r + 1) / (r - 1) * math.exp(c * r)
    assert jacobian_edges(law) == pytest.approx((1 / highest, highest), rel=1e-12)


def test_residual_figures_of_the_claims():
    assert jacobian_moments(residual_blocks(0.25), 2).tolist() == pytest.approx([1.28403, 2.47308], abs=5e-6)
    assert jacobian_moments(residual_blocks(1.0), 2).tolist() == pytest.approx([2.71828, 22.1672], abs=5e-5)
    assert jacobian_edges(residual_blocks(0.25)) == pytest.approx((0.23618, 4.23400), abs=5e-6)
    assert jacobian_edges(residual_blocks(1.0)) == pytest.approx((0.04741, 21.0944), abs=5e-5)


# --- edges ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2, 3, 10, 100])
def test_edges_of_deep_linear_and_relu_nets(depth):
    """The edge of L orthogonal ReLU layers is that of L − 1 linear Gaussian ones."""
    highest = math.exp((depth + 1) * math.log(depth + 1) - depth * math.log(depth))
    assert jacobian_edges(gaussian_weights(1.0) ** depth) == pytest.approx((0, highest), rel=1e-12)
    assert jacobian_edges((orthogonal_weights(2.0) * RELU) ** (depth + 1)) == pytest.approx((0, highest), rel=1e-12)


def test_edge_figures_of_the_claims():
    linear = [jacobian_edges(gaussian_weights(1.0) ** depth)[1] for depth in (1, 2, 3, 4, 5, 10, 100)]
    expected = [4, 6.75, 9.481481, 12.20703, 14.92992, 28.53117, 273.1862]
    assert linear == pytest.approx(expected, rel=5e-7)
    assert [math.sqrt(edge) for edge in linear[-2:]] == pytest.approx([5.341457, 16.52835], rel=5e-7)
    assert jacobian_edges((gaussian_weights(2.0) * RELU) ** 2)[1] == pytest.approx(11.09017, abs=5e-6)
    hard_tanh = (orthogonal_weights(1 / 0.99) * bernoulli_mask(0.99)) ** 100
    assert jacobian_edges(hard_tanh)[1] == pytest.approx(2.73200, abs=5e-6)


def test_gaussian_relu_edge_is_the_golden_one():
    """Of λ = (1+s)(1+2s)²/s: the golden ratio to the fifth power."""
    golden = (1 + math.sqrt(5)) / 2
    assert jacobian_edges((gaussian_weights(2.0) * RELU) ** 2)[1] == pytest.approx(golden**5, rel=1e-13)


def test_edge_of_one_gaussian_layer_with_a_leaky_relu():
    """There λ = u + E[d u/(u − d)], which is least, above all d, where E[d²/(u − d)²] = 1; at 30 digits."""
    with mpmath.workdps(30):
        d = [mpmath.mpf("0.01"), mpmath.mpf(1)]
        u = mpmath.findroot(lambda u: sum(x**2 / (u - x) ** 2 for x in d) / 2 - 1, (1.5, 2), solver="anderson")
        edge = u + sum(x * u / (u - x) for x in d) / 2
    assert jacobian_edges(gaussian_weights(1.0) * discrete_slopes(LEAKY))[1] == pytest.approx(float(edge), rel=1e-13)


def test_a_gap_between_zero_and_the_rest():
    """A projection between residual blocks: a simple zero of λ(s), thus a gap above the eigenvalue 0."""
    law = RELU * residual_blocks(0.25)
    s = [(-1 + root * math.sqrt(17)) / 4 for root in (1, -1)]  # of λ = (1/2 + s)/s · e^(c(1+2s))
    turns = sorted((0.5 + x) / x * math.exp(0.25 * (1 + 2 * x)) for x in s)
    assert jacobian_edges(law) == pytest.approx(turns, rel=1e-12)


@pytest.mark.parametrize("act", ["tanh", "erf", "gelu", "selu", "sigmoid"])
def test_spectrum_of_slopes_near_zero_begins_at_zero(act):
    assert jacobian_edges(critical(orthogonal_weights, act, 0.5, 3))[0] == 0


# --- density and distribution function -----------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2, 5, 10])
def test_density_of_deep_linear_nets_by_its_angle(depth):
    """x = sin^(L+1)((L+1)t) / (sin t sin^L(Lt)), density sin²t sin^(L−1)(Lt) / (π sin^L((L+1)t))."""
    t = torch.linspace(0.01, 0.99, 25, dtype=torch.float64) * math.pi / (depth + 1)
    all_, inner = ((depth + 1) * t).sin(), (depth * t).sin()
    x = all_ ** (depth + 1) / (t.sin() * inner**depth)
    expected = t.sin() ** 2 * inner ** (depth - 1) / (math.pi * all_**depth)
    assert torch.allclose(jacobian_density(gaussian_weights(1.0) ** depth, x), expected, rtol=1e-10, atol=0)


def test_marchenko_pastur():
    x = torch.linspace(1e-6, 4 - 1e-6, 30, dtype=torch.float64)
    law = gaussian_weights(1.0)
    assert torch.allclose(jacobian_density(law, x), ((4 - x) / x).sqrt() / (2 * math.pi), rtol=1e-9, atol=0)
    expected = ((x * (4 - x)).sqrt() / 2 + 2 * (x.sqrt() / 2).asin()) / math.pi
    assert torch.allclose(jacobian_cdf(law, x), expected, rtol=1e-11, atol=1e-14)


def test_two_orthogonal_relu_layers_follow_the_arcsine_law():
    x = torch.linspace(0.01, 3.99, 30, dtype=torch.float64)
    law = (orthogonal_weights(2.0) * RELU) ** 2
    assert torch.allclose(jacobian_density(law, x), 0.5 / (math.pi * (x * (4 - x)).sqrt()), rtol=1e-11, atol=0)
    assert torch.allclose(jacobian_cdf(law, x), 0.5 + (x.sqrt() / 2).asin() / math.pi, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("p", "q"), [(0.9, 0.9), (0.7, 0.4), (0.5, 0.8)])
def test_two_free_projections(p, q):
    """Density √((b−x)(x−a)) / (2πx(1−x)), an atom at 1 if p + q > 1."""
    law = bernoulli_mask(p) * bernoulli_mask(q)
    middle, half = p + q - 2 * p * q, 2 * math.sqrt(p * q * (1 - p) * (1 - q))
    x = torch.linspace(middle - 0.99 * half, middle + 0.99 * half, 20, dtype=torch.float64)
    expected = (half**2 - (x - middle) ** 2).sqrt() / (2 * math.pi * x * (1 - x))
    assert torch.allclose(jacobian_density(law, x), expected, rtol=1e-10, atol=0)
    assert jacobian_edges(law) == pytest.approx((middle - half, middle + half), rel=1e-10, abs=1e-15)
    atoms = {0.0: 1 - min(p, q)} | ({1.0: p + q - 1} if p + q > 1 else {})
    assert dict(law.atoms) == pytest.approx(atoms)


def test_two_gaussian_relu_layers_by_the_roots_of_a_cubic():
    """(1+s)(1+2s)² = λs has one pair of complex roots inside of the spectrum; at 30 digits."""
    x = [1e-8, 1e-3, 0.5, 3.0, 11.0]
    with mpmath.workdps(30):
        expected = []
        for value in x:
            roots = mpmath.polyroots([4, 8, 5 - mpmath.mpf(value), 1], maxsteps=500, extraprec=200)
            expected.append(float(max(abs(root.imag) for root in roots) / (mpmath.pi * value)))
    density = jacobian_density((gaussian_weights(2.0) * RELU) ** 2, float64(*x))
    assert density.tolist() == pytest.approx(expected, rel=1e-10)


def test_one_gaussian_tanh_layer_by_its_stieltjes_transform():
    """1/g = λ − E[d/(1 − dg)] for W D² Wᵀ, from far above the real axis down to it, by Newton's method."""
    z = torch.arange(-4500, 4501, dtype=torch.float64) / 500  # the trapezoidal rule is exact to rounding
    weight, inverse = (-z.square() / 2).exp() / (500 * math.sqrt(2 * math.pi)), z.cosh() ** 4
    x = [0.05, 0.7, 2.0]
    expected = []
    for value in x:
        g = 1 / complex(value, 30)
        for height in [30, 10, 3, 1, 0.3, 0.1, 0.03, 0]:
            for _ in range(50):
                r = 1 / (inverse - g)
                error = 1 / g + complex((weight * r).sum()) - complex(value, height)
                g -= error / (complex((weight * r**2).sum()) - 1 / g**2)
        expected.append(-g.imag / math.pi)
    density = jacobian_density(gaussian_weights(1.0) * activation_slopes("tanh", 1.0), float64(*x))
    assert density.tolist() == pytest.approx(expected, rel=1e-10)


LAWS = {
    "linear": (gaussian_weights(1.0) ** 3, (), 4),
    "relu, orthogonal": ((orthogonal_weights(2.0) * RELU) ** 5, (), 5),
    "relu, gaussian": ((gaussian_weights(2.0) * RELU) ** 2, (), 5),
    "hard-tanh": (critical(orthogonal_weights, "hardtanh", 0.5, 4), (1.0,), 8),
    "leaky relu": ((orthogonal_weights(1.6) * discrete_slopes([(0.25, 0.5), (1.0, 0.5)])) ** 3, (), 1),
    "tanh, orthogonal": (critical(orthogonal_weights, "tanh", 0.25, 8), (0.01, 0.1, 0.5), 8),
    "tanh, gaussian": (critical(gaussian_weights, "tanh", 1.0, 2), (1e-6, 1e-3, 0.1), 6),
    "gelu": (critical(orthogonal_weights, "gelu", 1.0, 2), (1e-5, 1e-2), 6),
    "elu": (critical(orthogonal_weights, "elu", 1.0, 3), (0.01, 0.5), 6),
    "residual": (residual_blocks(1.0), (), 1),
    "residual with a mask": (residual_blocks(0.5) * bernoulli_mask(0.8), (), 1),
}


@pytest.mark.parametrize("name", LAWS)
def test_density_integrates_to_one_and_to_the_moments(name):
    law, breaks, power = LAWS[name]
    lower, upper = jacobian_edges(law)
    expected = [1.0, *jacobian_moments(law).tolist()]
    assert integrate(law, [lower, *breaks, upper], power).tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", LAWS)
def test_distribution_function_is_the_integral_of_the_density(name):
    law, _, _ = LAWS[name]
    lower, upper = jacobian_edges(law)
    ends = lower + (upper - lower) * float64(0.21, 0.23)
    u, w = np.polynomial.legendre.leggauss(24)
    density = jacobian_density(law, ends[0] + ends.diff() * torch.from_numpy(u + 1) / 2)
    mass = (density @ torch.from_numpy(w)) * ends.diff() / 2
    assert jacobian_cdf(law, ends).diff().item() == pytest.approx(mass.item(), rel=1e-9)


def test_rare_singular_values_of_a_deep_tanh_net_are_resolved():
    """Below its bulk the density of 64 layers is thin, and still the same on a finer path of integration."""
    x = float64(0.05, 0.2, 0.5, 1.0, 1.5)
    weights = orthogonal_weights(1.03)
    coarse, fine = (jacobian_cdf((weights * activation_slopes("tanh", 1 / 64, n)) ** 64, x) for n in (12, 18))
    assert coarse.tolist() == pytest.approx(fine.tolist(), abs=1e-9)


def test_outside_of_the_spectrum():
    law = (orthogonal_weights(2.0) * RELU) ** 3
    outside = float64(-math.inf, -1.0, 0.0, 6.76, math.inf)
    assert jacobian_density(law, outside).tolist() == [0] * 5
    assert jacobian_cdf(law, outside).tolist() == [0, 0, 0.5, 1, 1]


def test_gap_carries_no_mass():
    """Two slopes far apart: the spectrum of one Gaussian layer has a gap."""
    law = gaussian_weights(1.0) * discrete_slopes([(1e-4, 0.9), (1.0, 0.1)])
    x = float64(0.01, 0.05, 0.2)
    assert jacobian_density(law, x).tolist() == pytest.approx([0, 0, 0], abs=1e-12)
    assert jacobian_cdf(law, x).tolist() == pytest.approx([0.9] * 3, abs=1e-12)


def test_shapes_are_kept():
    law = gaussian_weights(1.0) ** 2
    for x in (torch.tensor(1.0), torch.ones(2, 3), torch.ones(0)):
        assert jacobian_density(law, x).shape == jacobian_cdf(law, x).shape == s_transform(law, x).shape == x.shape


# --- atoms and S-transform -----------------------------------------------------------------------------------------


def test_atoms_of_products():
    """Masses add up to 1 + that of the product, at 0 the larger one wins, and a Gaussian layer leaves only that."""
    mask = bernoulli_mask(0.9) * orthogonal_weights(2.0)
    assert [a for a, _ in (mask**5).atoms] == [0, 32]
    assert [m for _, m in (mask**5).atoms] == pytest.approx([0.1, 0.5])
    assert (mask**10).atoms == ((0.0, pytest.approx(0.1)),)
    assert (mask * gaussian_weights(1.0)).atoms == ((0.0, pytest.approx(0.1)),)
    assert dict((mask * discrete_slopes(LEAKY)).atoms) == pytest.approx({0.0: 0.1, 0.02: 0.4, 2.0: 0.4})
    assert activation_slopes("elu", 1.0).atoms == ((1.0, 0.5),)


def test_piecewise_linear_slopes_are_in_closed_form():
    p = math.erf(1 / math.sqrt(2 * 0.3))
    assert activation_slopes("hardtanh", 0.3).roots == bernoulli_mask(p).roots
    assert activation_slopes("relu", 7.0) == RELU
    assert activation_slopes("linear", 1.0) == free_product([])


def test_s_transform_of_tanh_by_inverting_psi_at_thirty_digits():
    law = activation_slopes("tanh", 0.5)
    points = [-0.9, 0.25]
    with mpmath.workdps(30):
        root, expected = mpmath.sqrt(0.5), []
        for s, start in zip(points, [-50.0, 0.2], strict=True):
            psi = lambda w: mpmath.quad(  # noqa: E731
                lambda z: mpmath.npdf(z) * w / (mpmath.cosh(root * z) ** 4 - w), [-12, -3, -1, 0, 1, 3, 12]
            )
            omega = mpmath.findroot(lambda w, s=s, psi=psi: psi(w) - s, start, tol=1e-20)
            expected.append(float(omega * (1 + s) / s))
    assert s_transform(law, float64(*points)).tolist() == pytest.approx(expected, rel=1e-10)


def test_s_transforms_in_closed_form():
    s = float64(-0.4, -0.1, 0.0, 0.3)
    law = orthogonal_weights(3.0) * gaussian_weights(0.5) ** 2 * bernoulli_mask(0.6) * residual_blocks(0.7)
    expected = (-0.7 * (1 + 2 * s)).exp() / (3 * 0.25 * (1 + s) * (0.6 + s))
    assert torch.allclose(s_transform(law, s), expected, rtol=1e-13, atol=0)


# --- random matrices -----------------------------------------------------------------------------------------------


def drawn_spectrum(name, n, replicate):
    """Eigenvalues of JJᵀ at width n; masks keep exactly their share, which only removes fluctuations of their own."""
    generator = stream("tests", f"spectrum.{name}", replicate)

    def gaussian(variance):
        return math.sqrt(variance / n) * torch.randn(n, n, generator=generator, dtype=torch.float64)

    def orthogonal(variance):
        q, r = torch.linalg.qr(gaussian(1.0))
        return math.sqrt(variance) * q * r.diagonal().sign()

    def mask():
        return (torch.randperm(n, generator=generator) < n // 2).double()[:, None]

    def sech2():  # of normal quantiles, in random order
        z = torch.special.ndtri((torch.randperm(n, generator=generator).double() + 0.5) / n)
        return z.cosh().pow(-2)[:, None]

    jacobian = torch.eye(n, dtype=torch.float64)
    for _ in range({"linear": 2, "residual": 100}.get(name, 3)):
        if name == "linear":
            jacobian = gaussian(1.0) @ jacobian
        elif name == "relu":
            jacobian = mask() * (orthogonal(2.0) @ jacobian)
        elif name == "tanh":
            jacobian = sech2() * (gaussian(1.5) @ jacobian)
        else:
            jacobian = jacobian + gaussian(0.25 / 100) @ jacobian
    return torch.linalg.eigvalsh(jacobian @ jacobian.T)


DRAWN = {
    "linear": gaussian_weights(1.0) ** 2,
    "relu": (orthogonal_weights(2.0) * RELU) ** 3,
    "tanh": (gaussian_weights(1.5) * activation_slopes("tanh", 1.0)) ** 3,
}


@pytest.mark.parametrize("name", DRAWN)
def test_random_matrices_of_width_800_have_the_moments_and_the_distribution(name):
    """Linear statistics fluctuate, and are biased, by O(1/N): both are read off 24 draws of width 100."""
    law, small, large, draws = DRAWN[name], 100, 800, 24
    expected = torch.cat([jacobian_moments(law, 3), jacobian_cdf(law, float64(0.5))])

    def deviation(n, replicate):
        spectrum = drawn_spectrum(name, n, replicate)
        powers = [(spectrum**k).mean() for k in range(1, 4)]
        return torch.stack([*powers, (spectrum <= 0.5).double().mean()]) - expected, spectrum.sort().values

    pilot = torch.stack([deviation(small, replicate)[0] for replicate in range(draws)]) * small / large
    gate = stats.t.ppf(1 - 1e-6, draws - 1) * pilot.std(0) * math.sqrt(1 + 1 / draws)
    found, spectrum = deviation(large, draws)
    assert ((found - pilot.mean(0)).abs() < gate).all()
    assert (gate < 0.12 * expected).all()
    some = torch.arange(0, large, 8)[spectrum[::8] > 1e-9]
    assert (jacobian_cdf(law, spectrum[some]) - (some + 1) / large).abs().max() < 0.01


def test_residual_matrices_of_width_400_reach_the_edges():
    """100 blocks: m₁ is (1 + c/L)^L; the extreme eigenvalues are within a few per cent of the limit's edges."""
    spectrum = drawn_spectrum("residual", 400, 0)
    lower, upper = jacobian_edges(residual_blocks(0.25))
    assert spectrum.mean().item() == pytest.approx((1 + 0.25 / 100) ** 100, rel=0.02)
    assert spectrum.min().item() == pytest.approx(lower, rel=0.08)
    assert spectrum.max().item() == pytest.approx(upper, rel=0.08)


# --- properties ----------------------------------------------------------------------------------------------------

MAKERS = {
    "gaussian": (gaussian_weights, st.floats(0.1, 10)),
    "orthogonal": (orthogonal_weights, st.floats(0.1, 10)),
    "mask": (bernoulli_mask, st.floats(0.05, 1)),
    "residual": (residual_blocks, st.floats(0, 2)),
    "leaky": (lambda a: discrete_slopes([(a * a, 0.4), (1.0, 0.6)]), st.floats(0.1, 0.9)),
}
factors = st.lists(
    st.one_of(*(st.tuples(st.just(name), values) for name, (_, values) in MAKERS.items())), min_size=1, max_size=4
)


def product(drawn):
    return free_product([MAKERS[name][0](value) for name, value in drawn])


@settings(max_examples=15, deadline=None)
@given(factors, st.floats(1e-3, 1e3))
def test_weight_variance_scales_the_spectrum(drawn, scale):
    law = gaussian_weights(1.0) * product(drawn)
    scaled = law * orthogonal_weights(scale)
    x = jacobian_edges(law)[1] * float64(1e-4, 0.1, 0.5, 0.9)
    assert jacobian_edges(scaled) == pytest.approx([scale * edge for edge in jacobian_edges(law)], rel=1e-9)
    assert torch.allclose(scale * jacobian_density(scaled, scale * x), jacobian_density(law, x), rtol=1e-6, atol=1e-9)
    powers = scale ** torch.arange(1, 5, dtype=torch.float64)
    assert torch.allclose(jacobian_moments(scaled), powers * jacobian_moments(law), rtol=1e-9, atol=0)


@settings(max_examples=15, deadline=None)
@given(factors, st.integers(1, 20))
def test_distribution_function_rises_from_the_atom_at_zero_to_one(drawn, depth):
    law = product(drawn) ** depth
    ends = [atom for atom, _ in law.atoms] + ([jacobian_edges(law)[1]] if law.continuous_mass else [])
    x = torch.cat([float64(0.0), max(ends) * torch.logspace(-6, 0, 25, dtype=torch.float64) * (1 + 1e-9)])
    cdf = jacobian_cdf(law, x)
    assert cdf[0].item() == pytest.approx(law.zero_mass, abs=1e-15)
    assert cdf[-1].item() == pytest.approx(1, abs=1e-9)
    assert (cdf.diff() > -1e-9).all()


@settings(max_examples=15, deadline=None)
@given(factors.flatmap(lambda drawn: st.tuples(st.just(drawn), st.permutations(drawn))))
def test_order_of_the_factors_does_not_matter(pair):
    one, other = (product(drawn) for drawn in pair)
    assert jacobian_moments(one).tolist() == pytest.approx(jacobian_moments(other).tolist(), rel=1e-10)
    assert [v for atom in one.atoms for v in atom] == pytest.approx([v for atom in other.atoms for v in atom])
    x = float64(0.01, 0.7, 3.3)
    assert torch.allclose(jacobian_cdf(one, x), jacobian_cdf(other, x), rtol=0, atol=1e-8)


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_power_is_the_repeated_product(depth):
    law = gaussian_weights(0.7) * discrete_slopes(LEAKY) * residual_blocks(0.1)
    power, repeated = law**depth, free_product([law] * depth)
    assert jacobian_moments(power).tolist() == pytest.approx(jacobian_moments(repeated).tolist(), rel=1e-13)
    assert power.atoms == repeated.atoms


# --- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gaussian_weights(0.0), "sigma_w2 must be positive"),
        (lambda: orthogonal_weights(math.inf), "sigma_w2 must be positive"),
        (lambda: bernoulli_mask(0.0), r"p must lie in \(0, 1\]"),
        (lambda: bernoulli_mask(1.1), r"p must lie in \(0, 1\]"),
        (lambda: residual_blocks(-0.1), "c must be finite and not negative"),
        (lambda: discrete_slopes([(1.0, 0.5)]), "add up to 1"),
        (lambda: discrete_slopes([(-1.0, 1.0)]), "must not be negative"),
        (lambda: discrete_slopes([]), "add up to 1"),
        (lambda: discrete_slopes([(0.0, 1.0)]), "no signal passes"),
        (lambda: activation_slopes("tanh", -1.0), "q must be finite"),
        (lambda: activation_slopes("relu", 0.0), "sits on the kink"),
        (lambda: RELU**-1, "must not be negative"),
        (lambda: jacobian_moments(RELU, 0), "k must be at least 1"),
        (lambda: jacobian_edges(RELU), "only the atoms"),
        (lambda: jacobian_edges(activation_slopes("tanh", 1.0)), "another random layer"),
        (lambda: jacobian_density(activation_slopes("elu", 1.0), torch.ones(1)), "another random layer"),
        (lambda: jacobian_cdf(RELU, torch.tensor([math.nan])), "must be numbers"),
        (lambda: s_transform(RELU, torch.tensor([-0.5])), "above -0.5"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_laws_of_atoms_alone():
    """No depth at all, and orthogonal linear layers: every singular value is σ_w^L."""
    assert gaussian_weights(1.0) ** 0 == free_product([])
    law = orthogonal_weights(0.5) ** 4
    assert law.atoms == ((0.0625, 1.0),)
    assert jacobian_density(law, float64(0.0625, 1.0)).tolist() == [0, 0]
    assert jacobian_cdf(law, float64(0.06, 0.0625)).tolist() == [0, 1]
