import math

import pytest
import torch
from scipy import integrate, stats

from signalprop import stream
from signalprop.theory import (
    activation,
    chi1,
    chi_q,
    fixed_point,
    log_gradient_correction,
    log_width_corrections,
    variance_map,
    width_corrections,
)

DEPTH = 6
SETTINGS = [("tanh", 0.1, 1.69, 0.09), ("tanh", 10.0, 16.0, 0.09), ("gelu", 1.0, 2.0, 0.1), ("relu", 0.5, 2.0, 0.0)]


def lengths(act, q0, sigma_w2, sigma_b2, depth):
    """q_1, …, q_L."""
    path = [sigma_w2 * q0 + sigma_b2]
    while len(path) < depth:
        path.append(variance_map(act, path[-1], sigma_w2, sigma_b2).item())
    return path


def dense(act, q0, sigma_w2, sigma_b2, width, networks, name, tied=True):
    """⟨z_l²⟩ and ‖g_l‖², [networks, layers], of networks with explicit weights; a normal error at z_L."""
    phi, generator = activation(act), stream("tests", f"fluctuations {name}", width)

    def normal(*shape):
        return torch.randn(networks, *shape, generator=generator, dtype=torch.float64)

    h, weights, zs = torch.full((networks, 2, 1), q0**0.5, dtype=torch.float64), [], []
    for _ in range(DEPTH):
        fan_in = h.shape[1]
        weights.append(normal(width, fan_in) * (sigma_w2 / fan_in) ** 0.5)
        zs.append(weights[-1] @ h + sigma_b2**0.5 * normal(width, 1))
        h = phi.function(zs[-1])
    if not tied:
        weights = [normal(*weight.shape[1:]) * (sigma_w2 / weight.shape[2]) ** 0.5 for weight in weights]
    g, errors = normal(width, 1), []
    for before, weight in zip(zs[-2::-1], weights[:0:-1], strict=True):
        errors.append(g.square().sum((1, 2)))
        g = phi.slope(before) * (weight.mT @ g)
    errors.append(g.square().sum((1, 2)))
    return torch.stack([z.square().mean((1, 2)) for z in zs], 1), torch.stack(errors[::-1], 1)


@pytest.mark.parametrize(("act", "q0", "sigma_w2", "sigma_b2"), SETTINGS[:2] + SETTINGS[3:])
def test_explicit_networks_have_these_corrections(act, q0, sigma_w2, sigma_b2):
    """At widths 16 and 32 without what is left in 1/n, at five standard errors."""
    q = torch.tensor(lengths(act, q0, sigma_w2, sigma_b2, DEPTH), dtype=torch.float64)
    growth = torch.stack([chi1(act, x, sigma_w2).log() for x in q[:-1]])
    found, errors = [], []
    for width, networks in ((16, 6_000), (32, 6_000)):
        length, error = dense(act, q0, sigma_w2, sigma_b2, width, networks, act)
        logs, gradient = (length / q).log(), error[:, :-1].log() - error[:, 1:].log() - growth
        samples = torch.cat([length - q, logs, gradient, (logs - logs.mean(0)).square()], 1) * width
        found.append(samples.mean(0))
        errors.append(samples.std(0) / networks**0.5)
    variance, bias = width_corrections(act, q0, sigma_w2, sigma_b2, DEPTH)
    log_variance, log_bias = log_width_corrections(act, q0, sigma_w2, sigma_b2, DEPTH)
    gradient = log_gradient_correction(act, q0, sigma_w2, sigma_b2, DEPTH)
    predicted = torch.cat([bias, log_bias, gradient, log_variance])
    extrapolated = 2 * found[1] - found[0]
    spread = (4 * errors[1] ** 2 + errors[0] ** 2).sqrt()
    # of order 1/n² there is about 10/n² in ReLU's variance, and a sixteenth and a thirty-second leave 1/512 of it
    assert ((extrapolated - predicted).abs() < 5 * spread + 0.02 * predicted.abs()).all()
    assert torch.allclose(variance / q**2, log_variance, rtol=1e-10)


@pytest.mark.parametrize(("act", "q0", "sigma_w2", "sigma_b2"), SETTINGS)
def test_derivatives_of_the_map_are_those_of_its_values(act, q0, sigma_w2, sigma_b2):
    """The recursion with V′ and V″ from differences of V, and Var φ² from the definition of a moment."""
    phi = activation(act)
    q = lengths(act, q0, sigma_w2, sigma_b2, DEPTH)
    variance = bias = 0.0
    expected = [(2 * q[0] ** 2, 0.0)]
    for at in q[:-1]:
        step = 1e-3 * at
        low, middle, high = (variance_map(act, at + k * step, sigma_w2, sigma_b2).item() for k in (-1, 0, 1))
        first, second = (high - low) / (2 * step), (high - 2 * middle + low) / step**2

        def moment(power, at=at):
            def integrand(u):
                x = torch.tensor(math.sqrt(at) * u, dtype=torch.float64)
                return phi.function(x).item() ** power * stats.norm.pdf(u)

            return integrate.quad(integrand, -12, 12, points=[0.0], limit=200, epsabs=1e-9)[0]

        variance, bias = (
            first**2 * variance + sigma_w2**2 * (moment(4) - moment(2) ** 2),
            first * bias + second * variance / 2,
        )
        expected.append((variance + 2 * q[len(expected)] ** 2, bias))
    found = torch.stack(width_corrections(act, q0, sigma_w2, sigma_b2, DEPTH), 1)
    assert torch.allclose(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("sigma_w2", "sigma_b2"), [(1.69, 0.09), (16.0, 0.09), (1.7631, 0.05)])
def test_the_spread_at_a_fixed_point(sigma_w2, sigma_b2):
    q = fixed_point("tanh", sigma_w2, sigma_b2)
    q0 = (q - sigma_b2) / sigma_w2
    variance, _ = log_width_corrections("tanh", q0, sigma_w2, sigma_b2, 60)
    a = variance[1] - 2
    assert variance[-1].item() == pytest.approx(2 + (a / (1 - chi_q("tanh", q, sigma_w2) ** 2)).item(), rel=1e-8)


@pytest.mark.parametrize("tied", [True, False])
def test_it_matters_whether_the_weights_of_the_way_back_are_those_of_the_way_forward(tied):
    """Over all layers, at five standard errors, which the other law misses by more."""
    act, q0, sigma_w2, sigma_b2 = SETTINGS[0]
    q = torch.tensor(lengths(act, q0, sigma_w2, sigma_b2, DEPTH), dtype=torch.float64)
    growth, networks = chi1(act, q[:-1], sigma_w2).log().sum(), 40_000
    _, error = dense(act, q0, sigma_w2, sigma_b2, 16, networks, f"tied {tied}", tied)
    change = 16 * (error[:, 0].log() - error[:, -1].log() - growth)
    gate = 5 * change.std().item() / networks**0.5 + 0.35  # of order 1/n: 3/16 with tied weights
    right, wrong = (log_gradient_correction(*SETTINGS[0], DEPTH, tied=t).sum() for t in (tied, not tied))
    assert abs(change.mean() - right) < gate < abs(change.mean() - wrong)


def test_relu_gains_five_a_layer_for_ever():
    variance, bias = log_width_corrections("relu", 3.0, 2.0, 0.0, 50)
    assert torch.allclose(variance, 2 + 5 * torch.arange(50.0, dtype=torch.float64))
    assert torch.allclose(bias, -variance / 2)


def test_a_linear_network_gains_two_and_its_gradient_loses_one():
    """χ²_n/n a layer, forward and backward."""
    variance, _ = log_width_corrections("linear", 1.0, 1.0, 0.0, 10)
    assert torch.allclose(variance, 2 * torch.arange(1.0, 11.0, dtype=torch.float64))
    gradient = log_gradient_correction("linear", 1.0, 1.0, 0.0, 10)
    assert torch.allclose(gradient, torch.full((9,), -1.0, dtype=torch.float64))


def test_scale_of_relu_does_not_matter():
    small, large = (log_gradient_correction("relu", q0, 2.0, 0.0, 5) for q0 in (1e-4, 1e4))
    assert torch.allclose(small, large)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("tanh", 0.0, 1.0, 0.0, 3), "q0 and sigma_w2 must be positive"),
        (("tanh", 1.0, 0.0, 0.0, 3), "q0 and sigma_w2 must be positive"),
        (("tanh", 1.0, 1.0, -1.0, 3), "not negative"),
        (("tanh", math.nan, 1.0, 0.0, 3), "must be positive"),
    ],
)
def test_what_is_refused(arguments, complaint):
    for function in (width_corrections, log_width_corrections, log_gradient_correction):
        with pytest.raises(ValueError, match=complaint):
            function(*arguments)


def test_too_few_layers():
    with pytest.raises(ValueError, match="at least 1"):
        width_corrections("tanh", 1.0, 1.0, 0.0, 0)
    with pytest.raises(ValueError, match="at least 2"):
        log_gradient_correction("tanh", 1.0, 1.0, 0.0, 1)
