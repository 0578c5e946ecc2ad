import math

import pytest
import torch
from scipy import optimize

from signalprop import stream
from signalprop.theory import correlation_map, dropout_correlation_map, dropout_depth_scales, dropout_fixed_point

close = pytest.approx


def kernel(c, q):
    return 2 / math.pi * math.asin(2 * q * c / (1 + 2 * q))


def test_fixed_points_of_tanh():
    """With a tenth dropped, at σ_b² = .05: c* = .719 at σ_w² = 1 and .357 at 1.76."""
    assert f"{dropout_fixed_point('tanh', 1.0, 0.05, keep=0.9)[1]:.3f}" == "0.719"
    assert f"{dropout_fixed_point('tanh', 1.76, 0.05, keep=0.9)[1]:.3f}" == "0.357"


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_erf_in_closed_form(keep):
    sigma_w2, sigma_b2 = 1.4, 0.1
    q = optimize.brentq(lambda q: sigma_w2 / keep * kernel(1, q) + sigma_b2 - q, 0.01, 30, xtol=1e-15, rtol=1e-15)
    c = optimize.brentq(lambda c: (sigma_w2 * kernel(c, q) + sigma_b2) / q - c, 0, 1, xtol=1e-15, rtol=1e-15)
    assert dropout_fixed_point("erf", sigma_w2, sigma_b2, keep) == close((q, c), rel=1e-10)
    slopes = [
        sigma_w2 / keep * 4 / math.pi / (1 + 2 * q) / math.sqrt(1 + 4 * q),
        sigma_w2 * 4 / math.pi / math.sqrt((1 + 2 * q) ** 2 - (2 * q * c) ** 2),
    ]
    assert dropout_depth_scales("erf", sigma_w2, sigma_b2, keep) == close([-1 / math.log(s) for s in slopes], rel=1e-9)


def test_without_dropout_the_map_is_the_correlation_map():
    assert dropout_correlation_map("tanh", 0.4, 1.2, 2.0, 0.1, keep=1.0) == correlation_map("tanh", 0.4, 1.2, 2.0, 0.1)


def test_a_drawn_layer_with_independent_masks():
    """One layer of 300,000 sums of masked units in law; five standard errors over 30 replicates."""
    keep, q, c = 0.8, 1.5, 0.6
    products = []
    for replicate in range(30):
        generator = stream("tests", "dropout.layer", replicate)
        z = torch.randn(2, 20_000, generator=generator, dtype=torch.float64)
        u1, u2 = q**0.5 * z[0], q**0.5 * (c * z[0] + math.sqrt(1 - c * c) * z[1])
        masks = (torch.rand(2, 20_000, generator=generator, dtype=torch.float64) < keep) / keep
        first, second = masks * torch.erf(torch.stack([u1, u2]))
        products.append((first * second).mean() / ((first**2).mean() * (second**2).mean()).sqrt())
    sample = torch.stack(products)
    wanted = dropout_correlation_map("erf", c, q, 1.0, keep=keep)
    assert abs(sample.mean() - wanted) < 5.9 * sample.std() / 30**0.5


def test_an_odd_activation_without_biases_forgets_altogether():
    assert dropout_fixed_point("erf", 2.0, 0.0, 0.9)[1] == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dropout_fixed_point("tanh", 1.0, 0.1, 0.0), "probability"),
        (lambda: dropout_correlation_map("tanh", 0.5, 1.0, 1.0, 0.1, 1.2), "probability"),
        (lambda: dropout_fixed_point("tanh", 1.0, 0.1, 1.0), "no dropout"),
        (lambda: dropout_fixed_point("tanh", 0.5, 0.0, 0.9), "goes to 0"),
        (lambda: dropout_fixed_point("relu", 2.0, 0.1, 0.9), "goes to inf"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
