import math
from itertools import pairwise

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

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


def float64(*values):
    return torch.tensor(values, dtype=torch.float64)


def critical(weights, act, q, depth):
    """Depth layers of mean squared singular value 1."""
    slopes = activation_slopes(act, q)
    return (weights(1 / jacobian_moments(slopes, 1).item()) * slopes) ** depth


def integrate(law, breaks, power):
    """∫ x^k ρ(x) dx for k = 0 … 4 plus the atoms, by Gauss's rule; x^(1/power) is smooth at the first break."""
    u, w = np.polynomial.legendre.leggauss(64)
    theta, w = torch.from_numpy(u + 1) * math.pi / 4, torch.from_numpy(w) * math.pi / 4
    total = float64(*(sum(mass * atom**k for atom, mass in law.atoms) for k in range(5)))
    for (low, high), p in zip(pairwise(breaks), [power] + [1] * len(breaks), strict=False):
        x = low + (high - low) * theta.sin() ** (2 * p)
        dx = (high - low) * 2 * p * theta.sin() ** (2 * p - 1) * theta.cos()
        mass = w * dx * jacobian_density(law, x)
        total += torch.stack([(mass * x**k).sum() for k in range(5)])
    return total


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


@pytest.mark.parametrize(("p", "q"), [(0.9, 0.9), (0.7, 0.4), (0.5, 0.8), (0.99999, 0.125)])
def test_two_free_projections(p, q):
    """Density √((b−x)(x−a)) / (2πx(1−x)), an atom at 1 if p + q > 1."""
    law = bernoulli_mask(p) * bernoulli_mask(q)
    middle, half = p + q - 2 * p * q, 2 * math.sqrt(p * q * (1 - p) * (1 - q))
    x = torch.linspace(middle - 0.99 * half, middle + 0.99 * half, 20, dtype=torch.float64)
    expected = (half**2 - (x - middle) ** 2).sqrt() / (2 * math.pi * x * (1 - x))
    assert torch.allclose(jacobian_density(law, x), expected, rtol=1e-9, atol=0)
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
    """Linear statistics fluctuate, and are biased, by O(1/N): both are read off 60 draws of width 100."""
    law, small, large, draws = DRAWN[name], 100, 800, 60
    expected = torch.cat([jacobian_moments(law, 3), jacobian_cdf(law, float64(0.5))])

    def deviation(n, replicate):
        spectrum = drawn_spectrum(name, n, replicate)
        powers = [(spectrum**k).mean() for k in range(1, 4)]
        return torch.stack([*powers, (spectrum <= 0.5).double().mean()]) - expected, spectrum.sort().values

    pilot = torch.stack([deviation(small, replicate)[0] for replicate in range(draws)]) * small / large
    gate = stats.t.ppf(1 - 1e-6, draws - 1) * pilot.std(0) * math.sqrt(1 + 1 / draws)
    found, spectrum = deviation(large, draws)
    assert ((found - pilot.mean(0)).abs() < gate).all()
    assert (gate / expected < float64(0.06, 0.15, 0.3, 0.03)).all()  # what the comparison resolves
    some = torch.arange(0, large, 8)[spectrum[::8] > 1e-9]
    assert (jacobian_cdf(law, spectrum[some]) - (some + 1) / large).abs().max() < 0.01


def test_residual_matrices_of_width_400_reach_the_edges():
    """100 blocks: m₁ is (1 + c/L)^L; the extreme eigenvalues are within a few per cent of the limit's edges."""
    spectrum = drawn_spectrum("residual", 400, 0)
    lower, upper = jacobian_edges(residual_blocks(0.25))
    assert spectrum.mean().item() == pytest.approx((1 + 0.25 / 100) ** 100, rel=0.02)
    assert spectrum.min().item() == pytest.approx(lower, rel=0.08)
    assert spectrum.max().item() == pytest.approx(upper, rel=0.08)


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


@settings(max_examples=10, deadline=None)
@given(factors, st.floats(1e-3, 1e3))
def test_weight_variance_scales_the_spectrum(drawn, scale):
    law = gaussian_weights(1.0) * product(drawn)
    scaled = law * orthogonal_weights(scale)
    x = jacobian_edges(law)[1] * float64(1e-4, 0.1, 0.5, 0.9)
    assert jacobian_edges(scaled) == pytest.approx([scale * edge for edge in jacobian_edges(law)], rel=1e-9)
    assert torch.allclose(scale * jacobian_density(scaled, scale * x), jacobian_density(law, x), rtol=1e-6, atol=1e-9)
    powers = scale ** torch.arange(1, 5, dtype=torch.float64)
    assert torch.allclose(jacobian_moments(scaled), powers * jacobian_moments(law), rtol=1e-9, atol=0)


@settings(max_examples=10, deadline=None)
@given(factors, st.integers(1, 20))
def test_distribution_function_rises_from_the_atom_at_zero_to_one(drawn, depth):
    law = product(drawn) ** depth
    ends = [atom for atom, _ in law.atoms] + ([jacobian_edges(law)[1]] if law.continuous_mass else [])
    x = torch.cat([float64(0.0), max(ends) * torch.logspace(-6, 0, 25, dtype=torch.float64) * (1 + 1e-9)])
    cdf = jacobian_cdf(law, x)
    assert cdf[0].item() == pytest.approx(law.zero_mass, abs=1e-15)
    assert cdf[-1].item() == pytest.approx(1, abs=1e-9)
    assert (cdf.diff() > -1e-9).all()


@settings(max_examples=10, deadline=None)
@given(factors.flatmap(lambda drawn: st.tuples(st.just(drawn), st.permutations(drawn))))
def test_order_of_the_factors_does_not_matter(pair):
    one, other = (product(drawn) for drawn in pair)
    assert jacobian_moments(one).tolist() == pytest.approx(jacobian_moments(other).tolist(), rel=1e-10)
    assert [v for atom in one.atoms for v in atom] == pytest.approx([v for atom in other.atoms for v in atom])
    x = float64(0.0123, 0.7, 3.3)
    assert torch.allclose(jacobian_cdf(one, x), jacobian_cdf(other, x), rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("make", "message"),
    [
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
