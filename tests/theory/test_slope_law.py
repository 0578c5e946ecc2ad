import math

import mpmath
import numpy as np
import pytest
import torch
from scipy import optimize

from signalprop.theory import (
    activation_slopes,
    bernoulli_mask,
    free_product,
    gaussian_weights,
    jacobian_cdf,
    jacobian_density,
    jacobian_edges,
    jacobian_moments,
    orthogonal_weights,
    s_transform,
)

RELU = bernoulli_mask(0.5)


def float64(*values):
    return torch.tensor(values, dtype=torch.float64)


def critical(weights, act, q, depth):
    """Depth layers of mean squared singular value 1."""
    slopes = activation_slopes(act, q)
    return (weights(1 / jacobian_moments(slopes, 1).item()) * slopes) ** depth


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


@pytest.mark.parametrize("act", ["tanh", "erf", "gelu", "selu", "sigmoid"])
def test_spectrum_of_slopes_near_zero_begins_at_zero(act):
    assert jacobian_edges(critical(orthogonal_weights, act, 0.5, 3))[0] == 0


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


def test_rare_singular_values_of_a_deep_tanh_net_are_resolved():
    """Below its bulk the density of 64 layers is thin, and still the same on a finer path of integration."""
    x = float64(0.05, 0.2, 0.5, 1.0, 1.5)
    weights = orthogonal_weights(1.03)
    coarse, fine = (jacobian_cdf((weights * activation_slopes("tanh", 1 / 64, n)) ** 64, x) for n in (12, 18))
    assert coarse.tolist() == pytest.approx(fine.tolist(), abs=1e-9)


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


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: activation_slopes("tanh", -1.0), "q must be finite"),
        (lambda: activation_slopes("relu", 0.0), "sits on the kink"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("act", "q", "squared"),
    [("tanh", 1.0, lambda x: np.cosh(x) ** -4), ("softplus", 30.0, lambda x: (1 + np.exp(-x)) ** -2)],
)
def test_edge_of_one_gaussian_layer_of_a_saturating_activation(act, q, squared):
    """λ = u + E[d u/(u − d)] is least, above all d, where E[d²/(u − d)²] = 1; by the trapezoidal rule."""
    z = np.linspace(-9, 9, 6001)
    weight, d = np.exp(-z * z / 2) * (z[1] - z[0]) / math.sqrt(2 * math.pi), squared(math.sqrt(q) * z)
    u = optimize.brentq(lambda u: (weight * d**2 / (u - d) ** 2).sum() - 1, 1.05, 9, xtol=1e-14)
    edge = u + (weight * d * u / (u - d)).sum()
    assert jacobian_edges(gaussian_weights(1.0) * activation_slopes(act, q)) == (0, pytest.approx(edge, rel=1e-11))
