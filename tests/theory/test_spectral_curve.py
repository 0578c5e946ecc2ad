import math

import mpmath
import numpy as np
import pytest
import torch
from scipy import optimize

from signalprop.theory import (
    bernoulli_mask,
    discrete_slopes,
    gaussian_weights,
    jacobian_cdf,
    jacobian_density,
    jacobian_edges,
    orthogonal_weights,
    residual_blocks,
)

RELU = bernoulli_mask(0.5)
LEAKY = ((0.01, 0.5), (1.0, 0.5))


def float64(*values):
    return torch.tensor(values, dtype=torch.float64)


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


def test_edges_between_two_atoms():
    """The compression of a two-valued diagonal: λ = y − (1 − p)/G(y), G = E 1/(y − d), turns twice between them."""
    p, d, masses = 0.75, np.array([0.0625, 1.0]), np.array([0.4, 0.6])

    def turning(y):
        return (1 - p) * (masses / (y - d) ** 2).sum() - (masses / (y - d)).sum() ** 2

    turns = [optimize.brentq(turning, *bracket, xtol=1e-15) for bracket in [(0.0626, 0.4), (0.4, 0.9999)]]
    law = bernoulli_mask(p) * discrete_slopes(zip(d.tolist(), masses.tolist(), strict=True))
    assert jacobian_edges(law) == pytest.approx([y - (1 - p) / (masses / (y - d)).sum() for y in turns], rel=1e-12)
    assert dict(law.atoms) == pytest.approx({0.0: 0.25, 0.0625: 0.15, 1.0: 0.35})


def test_pole_of_the_density():
    """Atoms of masses .4 and .6: that of the product just vanishes, and leaves a density that is infinite there."""
    law = discrete_slopes([(0.25, 0.4), (1.0, 0.6)]) * discrete_slopes([(0.01, 0.4), (1.0, 0.6)])
    assert jacobian_density(law, float64(0.01)).item() > 1e4
    assert jacobian_cdf(law, float64(0.01, 0.01 + 1e-9)).tolist() == pytest.approx([0.4, 0.4], abs=1e-5)
