import math

import mpmath
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from signalprop import stream
from signalprop.theory import (
    ACTIVATIONS,
    Activation,
    activation,
    batch_norm_gradient_growth,
    batch_norm_gradient_square,
)


def test_relu_in_large_batches():
    growth = batch_norm_gradient_growth("relu")
    assert f"{growth:.11f}" == "1.46694220692"
    assert growth == pytest.approx(math.pi / (math.pi - 1), rel=1e-12)
    assert f"{growth**100:.2e}" == "4.38e+16"


@pytest.mark.parametrize("batch", [4, 5, 8, 1000])
def test_linear_at_a_finite_batch(batch):
    assert batch_norm_gradient_growth("linear", batch) == (batch - 2) / (batch - 3)


def test_linear_gradients_are_left_alone_by_large_batches():
    assert batch_norm_gradient_growth("linear") == pytest.approx(1, rel=1e-12)
    assert batch_norm_gradient_growth("linear", 10**9) == pytest.approx(1, rel=1e-8)


@pytest.mark.parametrize(
    ("name", "phi"),
    [
        ("tanh", mpmath.tanh),
        ("softplus", lambda x: mpmath.log1p(mpmath.exp(x))),
        ("gelu", lambda x: x * mpmath.ncdf(x)),
    ],
)
def test_smooth_activations_at_thirty_digits(name, phi):
    with mpmath.workdps(30):
        pieces = [-16, -8, -4, -2, 0, 2, 4, 8, 16]

        def expect(f):
            return mpmath.quad(lambda z: f(z) * mpmath.npdf(z), pieces)

        variance = expect(lambda z: phi(z) ** 2) - expect(phi) ** 2
        slope = expect(lambda z: mpmath.diff(phi, z) ** 2)
        assert batch_norm_gradient_growth(name) == pytest.approx(float(slope / variance), rel=1e-10)


@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - {"linear"}))
def test_every_other_activation_explodes(name):
    """Poincaré: Var φ ≤ E φ′² with equality for affine functions alone."""
    assert batch_norm_gradient_growth(name) > 1


@given(st.sampled_from(["relu", "tanh", "gelu"]), st.floats(0.1, 10), st.booleans(), st.floats(-5, 5))
def test_scaling_and_shifting_the_activation_changes_nothing(name, scale, negative, shift):
    """BN after the next matrix removes both."""
    phi, a = activation(name), -scale if negative else scale
    moved = Activation(
        "moved", lambda x: a * phi.function(x) + shift, lambda x: a * phi.slope(x), phi.curvature, phi.kinks
    )
    assert batch_norm_gradient_growth(moved) == pytest.approx(batch_norm_gradient_growth(name), rel=1e-8)


def test_a_function_of_the_reader():
    """φ = z²: φ′ = 2z, so E φ′² = 4 over Var φ = 2."""
    assert batch_norm_gradient_growth(lambda x: x * x) == pytest.approx(2, rel=1e-12)


@pytest.mark.parametrize("batch", [3, 1, 0, -5])
def test_small_batches_are_refused(batch):
    with pytest.raises(ValueError, match="batch must exceed 3"):
        batch_norm_gradient_growth("linear", batch)


def test_other_activations_need_the_limit():
    with pytest.raises(ValueError, match="no law at a finite batch for relu; leave batch out"):
        batch_norm_gradient_growth("relu", 64)


def test_constant_activation_is_refused():
    with pytest.raises(ValueError, match=r"constant|dead"):
        batch_norm_gradient_growth(lambda x: 0 * x + 1)


# Real layers


def assert_mean(samples, predicted, alpha=2e-6):
    """The mean over independent networks is the predicted one, by Student's t."""
    count = samples.numel()
    gate = stats.t.isf(alpha / 2, count - 1) * samples.std() / count**0.5
    assert abs(samples.mean() - predicted) < gate


def gradient_growth(act, n, batch, networks, below, between, above):
    """Growth of ‖gradient‖² over `between` inner layers φ(BN(W x)), by autograd through real batch normalization."""
    generator = stream("tests", f"batch_norm.{act}.{batch}", n)
    phi = torch.relu if act == "relu" else torch.clone

    def normalize(y):
        y = y - y.mean(-1, keepdim=True)
        return y / y.square().mean(-1, keepdim=True).sqrt()

    def randn(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    z = normalize(randn(networks, n, batch)).requires_grad_()
    signals = [z]
    for _ in range(below + between + above):
        signals.append(normalize(randn(networks, n, n) / n**0.5 @ phi(signals[-1])))
    ends = signals[below], signals[below + between]
    gradients = torch.autograd.grad(signals[-1], ends, randn(networks, n, batch))
    lower, upper = (g.square().sum((1, 2)) for g in gradients)
    return lower / upper


@pytest.mark.parametrize("batch", [6, 12])
def test_linear_layers_explode_in_small_batches(batch):
    """One layer between two others, at widths 48 and 96 extrapolated in 1/n."""
    narrow, wide = (gradient_growth("linear", n, batch, 2000, 1, 1, 1) for n in (48, 96))
    assert_mean(2 * wide - narrow, batch_norm_gradient_growth("linear", batch))


def test_relu_layers_explode_in_large_batches():
    """Four layers inside, batch as large as width, extrapolated in 1/n; the growth a layer."""
    narrow, wide = (gradient_growth("relu", n, n, 100, 3, 4, 3) ** 0.25 for n in (48, 96))
    growth = 2 * wide - narrow
    assert_mean(growth, batch_norm_gradient_growth("relu"))


# What one normalizer leaves of a gradient


@pytest.mark.parametrize("eps", [0.0, 1e-3, 2.0])
def test_square_of_the_gradient_behind_a_normalizer(eps):
    source = stream("tests", "batch_norm.gradient", 0)
    y, g = torch.randn(2, 9, 4, generator=source, dtype=torch.float64)
    weight = torch.rand(4, generator=source, dtype=torch.float64)
    y.requires_grad_()
    variance = y.var(0, correction=0)
    normalized = (y - y.mean(0)) / (variance + eps).sqrt()
    (back,) = torch.autograd.grad(weight * normalized, y, g)
    predicted = batch_norm_gradient_square(g, normalized.detach(), variance.detach(), weight, eps)
    torch.testing.assert_close(back.square().sum(0), predicted, rtol=1e-12, atol=0)
