import math
from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from scipy import special

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


def test_atoms_of_products():
    """Masses add up to 1 + that of the product, at 0 the larger one wins, and a Gaussian layer leaves only that."""
    mask = bernoulli_mask(0.9) * orthogonal_weights(2.0)
    assert [a for a, _ in (mask**5).atoms] == [0, 32]
    assert [m for _, m in (mask**5).atoms] == pytest.approx([0.1, 0.5])
    assert (mask**10).atoms == ((0.0, pytest.approx(0.1)),)
    assert (mask * gaussian_weights(1.0)).atoms == ((0.0, pytest.approx(0.1)),)
    assert dict((mask * discrete_slopes(LEAKY)).atoms) == pytest.approx({0.0: 0.1, 0.02: 0.4, 2.0: 0.4})
    assert activation_slopes("elu", 1.0).atoms == ((1.0, 0.5),)


def test_s_transforms_in_closed_form():
    s = float64(-0.4, -0.1, 0.0, 0.3)
    law = orthogonal_weights(3.0) * gaussian_weights(0.5) ** 2 * bernoulli_mask(0.6) * residual_blocks(0.7)
    expected = (-0.7 * (1 + 2 * s)).exp() / (3 * 0.25 * (1 + s) * (0.6 + s))
    assert torch.allclose(s_transform(law, s), expected, rtol=1e-13, atol=0)


def test_an_atom_that_is_gone_does_not_overflow():
    assert ((orthogonal_weights(2.0) * RELU) ** 5_000).atoms == ((0.0, 0.5),)


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_power_is_the_repeated_product(depth):
    law = gaussian_weights(0.7) * discrete_slopes(LEAKY) * residual_blocks(0.1)
    power, repeated = law**depth, free_product([law] * depth)
    assert jacobian_moments(power).tolist() == pytest.approx(jacobian_moments(repeated).tolist(), rel=1e-13)
    assert power.atoms == repeated.atoms


def test_laws_of_atoms_alone():
    """No depth at all, and orthogonal linear layers: every singular value is σ_w^L."""
    assert gaussian_weights(1.0) ** 0 == free_product([])
    law = orthogonal_weights(0.5) ** 4
    assert law.atoms == ((0.0625, 1.0),)
    assert jacobian_density(law, float64(0.0625, 1.0)).tolist() == [0, 0]
    assert jacobian_cdf(law, float64(0.06, 0.0625)).tolist() == [0, 1]


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
        (lambda: RELU**-1, "must not be negative"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError, match=message):
        make()
