import math
from itertools import pairwise

import pytest
import torch
from scipy import integrate, stats

from signalprop import stream
from signalprop.theory import log_norm_law, mean_norm_growth, scalar_log_law


def log_chi2_moments(degrees):
    """Mean and variance of ln χ² by quadrature over its density."""

    def expect(f):
        return integrate.quad(
            lambda t: f(t) * stats.chi2.pdf(math.exp(t), degrees) * math.exp(t), -90, 8, limit=500, epsabs=1e-12
        )[0]

    mean = expect(lambda t: t)
    return mean, expect(lambda t: (t - mean) ** 2)


@pytest.mark.parametrize("widths", [[5, 5], [1, 1, 1], [3, 8, 2, 4], [100, 10, 64]])
@pytest.mark.parametrize("sigma_w2", [1.0, 0.4])
def test_each_layer_multiplies_by_a_scaled_chi_square(widths, sigma_w2):
    mean = variance = 0.0
    for fan_in, fan_out in pairwise(widths):
        layer = log_chi2_moments(fan_out)
        mean += layer[0] + math.log(sigma_w2 / fan_in)
        variance += layer[1]
    assert log_norm_law(widths, sigma_w2=sigma_w2) == pytest.approx((mean, variance), rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("sigma_w2", [0.5, 1.0, 2.0])
def test_width_one_is_the_scalar_chain_squared(sigma_w2):
    """Of ln h² = 2 ln|h| the mean doubles and the variance is four times as large."""
    mean, variance = scalar_log_law(10, sigma_w2)
    assert log_norm_law([1] * 11, sigma_w2=sigma_w2) == pytest.approx((2 * mean, 4 * variance), rel=1e-12)


def test_weight_variance_shifts_the_mean_once_a_layer():
    mean, variance = log_norm_law([6, 4, 9, 5])
    assert log_norm_law([6, 4, 9, 5], sigma_w2=3.0) == pytest.approx((mean + 3 * math.log(3), variance))


def test_order_of_the_hidden_widths_does_not_matter():
    assert log_norm_law([5, 2, 9, 3]) == pytest.approx(log_norm_law([5, 9, 2, 3]))


def test_wide_layers_lose_one_over_n_and_spread_by_two_over_n():
    mean, variance = log_norm_law([10_000] * 2)
    assert mean == pytest.approx(-1e-4, rel=1e-3)
    assert variance == pytest.approx(2e-4, rel=1e-3)


def test_law_holds_for_dense_products_of_drawn_matrices():
    """Mean and variance over 4,000 networks, at five standard errors; whatever the base seed."""
    widths, sigma_w2, networks = [4, 6, 3, 5], 1.7, 4000
    generator = stream("tests", "log_norm_law.dense")
    h = torch.ones(networks, widths[0], 1, dtype=torch.float64)
    for fan_in, fan_out in pairwise(widths):
        weight = torch.randn(networks, fan_out, fan_in, generator=generator, dtype=torch.float64)
        h = (sigma_w2 / fan_in) ** 0.5 * weight @ h
    growth = (h.square().sum((1, 2)) / widths[0]).log()
    mean, variance = log_norm_law(widths, sigma_w2=sigma_w2)
    assert abs(growth.mean() - mean) < 5 * (variance / networks) ** 0.5
    fourth = (growth - mean).pow(4).mean()
    assert abs(growth.var() - variance) < 5 * ((fourth - variance**2) / networks) ** 0.5


def test_other_activation_is_refused():
    with pytest.raises(ValueError, match="no exact law for activation 'tanh'; known: linear"):
        log_norm_law([3, 3], "tanh")


@pytest.mark.parametrize("widths", [[5, 5], [3, 8, 2, 4], [100, 10, 64]])
@pytest.mark.parametrize("sigma_w2", [1.0, 0.4])
def test_mean_growth_is_the_product_of_the_mean_layer_ratios(widths, sigma_w2):
    ratios = [sigma_w2 / fan_in * stats.chi2.mean(fan_out) for fan_in, fan_out in pairwise(widths)]
    assert mean_norm_growth(widths, sigma_w2) == pytest.approx(math.prod(ratios), rel=1e-12)


def test_typical_growth_stays_below_the_mean():
    """Jensen: E ln ‖h‖² < ln E ‖h‖², by more with every layer."""
    gaps = [math.log(mean_norm_growth([4] * n)) - log_norm_law([4] * n)[0] for n in (2, 3, 9)]
    assert 0 < gaps[0] < gaps[1] < gaps[2]


@pytest.mark.parametrize("law", [log_norm_law, mean_norm_growth])
@pytest.mark.parametrize("widths", [[], [3], [3, 0], [3, -1, 3]])
def test_widths_must_be_two_or_more_and_positive(law, widths):
    with pytest.raises(ValueError, match="at least two positive numbers"):
        law(widths)
