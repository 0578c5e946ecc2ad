import math
from itertools import pairwise

import mpmath
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from signalprop import stream
from signalprop.theory import (
    dead_probability,
    jacobian_entry_kurtosis,
    log_norm_asymptote,
    log_norm_law,
    mean_norm_growth,
    relative_second_moment,
    scalar_log_law,
)

widths_lists = st.lists(st.integers(1, 300), min_size=2, max_size=8)
acts = st.sampled_from(["linear", "relu"])


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
    with pytest.raises(ValueError, match="no exact law for activation 'tanh'; known: linear, relu"):
        log_norm_law([3, 3], "tanh")


@pytest.mark.parametrize("widths", [[5, 5], [3, 8, 2, 4], [100, 10, 64]])
@pytest.mark.parametrize("sigma_w2", [1.0, 0.4])
def test_mean_growth_is_the_product_of_the_mean_layer_ratios(widths, sigma_w2):
    ratios = [sigma_w2 / fan_in * stats.chi2.mean(fan_out) for fan_in, fan_out in pairwise(widths)]
    assert mean_norm_growth(widths, sigma_w2=sigma_w2) == pytest.approx(math.prod(ratios), rel=1e-12)


def test_typical_growth_stays_below_the_mean():
    """Jensen: E ln ‖h‖² < ln E ‖h‖², by more with every layer."""
    gaps = [math.log(mean_norm_growth([4] * n)) - log_norm_law([4] * n)[0] for n in (2, 3, 9)]
    assert 0 < gaps[0] < gaps[1] < gaps[2]


@pytest.mark.parametrize(
    "law",
    [
        log_norm_law,
        log_norm_asymptote,
        mean_norm_growth,
        relative_second_moment,
        jacobian_entry_kurtosis,
        dead_probability,
    ],
)
@pytest.mark.parametrize("widths", [[], [3], [3, 0], [3, -1, 3]])
def test_widths_must_be_two_or_more_and_positive(law, widths):
    with pytest.raises(ValueError, match="at least two positive numbers"):
        law(widths)


@pytest.mark.parametrize("law", [log_norm_law, log_norm_asymptote, mean_norm_growth])
@pytest.mark.parametrize("sigma_w2", [0.0, -1.0, math.nan])
def test_weight_variance_must_be_positive(law, sigma_w2):
    with pytest.raises(ValueError, match="sigma_w2 must be positive"):
        law([3, 3], sigma_w2=sigma_w2)


# ReLU: the law of one layer


def relu_log_law(n):
    """Mean and variance of ln((2/n) χ²_K) given K ≥ 1 at 40 digits, term by term from the definition."""
    with mpmath.workdps(40):
        weights = [mpmath.binomial(n, k) for k in range(1, n + 1)]
        total = mpmath.fsum(weights)
        means = [mpmath.digamma(mpmath.mpf(k) / 2) + mpmath.log(mpmath.mpf(4) / n) for k in range(1, n + 1)]
        squares = [m**2 + mpmath.psi(1, mpmath.mpf(k) / 2) for k, m in enumerate(means, 1)]
        mean = mpmath.fdot(weights, means) / total
        return mean, mpmath.fdot(weights, squares) / total - mean**2


@pytest.mark.parametrize("n", [1, 2, 3, 10, 64, 500])
def test_relu_layer_against_the_definition(n):
    mean, variance = relu_log_law(n)
    got = log_norm_law([n, n], "relu", sigma_w2=2.0)
    assert got == (pytest.approx(float(mean), rel=1e-10), pytest.approx(float(variance), rel=1e-12))


@pytest.mark.parametrize(
    ("n", "mean", "variance"),
    [
        (10, "-0.3074610", "0.8667343"),
        (20, "-0.1371867", "0.3117581"),
        (50, "-0.0517388", "0.1081681"),
        (100, "-0.0254209", "0.0519400"),
        (200, "-0.0126036", "0.0254734"),
    ],
)
def test_relu_layer_figures_of_the_book(n, mean, variance):
    law = log_norm_law([n, n], "relu", sigma_w2=2.0)
    assert (f"{law[0]:.7f}", f"{law[1]:.7f}") == (mean, variance)


@pytest.mark.parametrize(("depth", "variance"), [(10, "1.775"), (20, "3.550"), (40, "7.100")])
def test_spread_at_width_32_is_above_five_beta(depth, variance):
    exact = log_norm_law([32] * (depth + 1), "relu", sigma_w2=2.0)[1]
    assert f"{exact:.3f}" == variance
    beta5 = log_norm_asymptote([32] * (depth + 1), "relu", sigma_w2=2.0)[1]
    assert 1.1 < exact / beta5 < 1.15


@pytest.mark.parametrize("act", ["linear", "relu"])
def test_asymptote_is_approached_as_one_over_n(act):
    """The relative distance to the exact law halves when the width doubles, for both moments."""
    critical = {"linear": 1.0, "relu": 2.0}[act]

    def distance(n):
        exact, limit = (law([n] * 3, act, critical) for law in (log_norm_law, log_norm_asymptote))
        return [e / x - 1 for e, x in zip(exact, limit, strict=True)]

    for coarse, fine in zip(distance(400), distance(800), strict=True):
        assert coarse / fine == pytest.approx(2, rel=0.02)
        assert abs(fine) < 0.01


def test_asymptote_of_a_wide_network():
    """Σ1/n = 1/2 + 1/4 + 1/8 with its coefficients, and the rectangle's growth of the mean beside it."""
    assert log_norm_asymptote([7, 2, 4, 8]) == pytest.approx((math.log(8 / 7) - 7 / 8, 2 * 7 / 8), rel=1e-14)
    mean, variance = log_norm_asymptote([7, 2, 4, 8], "relu", sigma_w2=1.0)
    assert (mean, variance) == pytest.approx((math.log(8 / 7 / 8) - 5 / 2 * 7 / 8, 5 * 7 / 8), rel=1e-14)


# Properties of any widths


@given(widths_lists, acts, st.permutations(range(8)))
def test_hidden_widths_may_change_places(widths, act, order):
    hidden = [widths[1:-1][i] for i in order if i < len(widths) - 2]
    permuted = [widths[0], *hidden, widths[-1]]
    for law in (log_norm_law, log_norm_asymptote, mean_norm_growth, relative_second_moment, jacobian_entry_kurtosis):
        assert law(permuted, act) == pytest.approx(law(widths, act), rel=1e-9, abs=1e-12)
    assert dead_probability(permuted) == pytest.approx(dead_probability(widths), rel=1e-12)


@given(widths_lists, widths_lists, acts, st.floats(0.1, 10))
def test_layers_add_in_the_logarithm_and_multiply_in_the_mean(first, second, act, sigma_w2):
    """A network cut at a layer: the second part starts from the width where the first ends."""
    second = [first[-1], *second]
    whole = first + second[1:]
    for law in (log_norm_law, log_norm_asymptote):
        parts = zip(law(first, act, sigma_w2), law(second, act, sigma_w2), strict=True)
        assert law(whole, act, sigma_w2) == pytest.approx([a + b for a, b in parts], rel=1e-9, abs=1e-9)
    growth = mean_norm_growth(first, act, sigma_w2) * mean_norm_growth(second, act, sigma_w2)
    assert mean_norm_growth(whole, act, sigma_w2) == pytest.approx(growth, rel=1e-12)
    spread = relative_second_moment(first, act) * relative_second_moment(second, act)
    assert relative_second_moment(whole, act) == pytest.approx(spread, rel=1e-12)
    alive = (1 - dead_probability(first)) * (1 - dead_probability(second))
    assert 1 - dead_probability(whole) == pytest.approx(alive, rel=1e-12)


@given(widths_lists, acts, st.floats(0.1, 10))
def test_typical_growth_is_below_the_mean_of_the_survivors(widths, act, sigma_w2):
    """Jensen, given survival: E ln r < ln E[r | alive] = ln(E r / P(alive))."""
    dead = dead_probability(widths) if act == "relu" else 0.0
    survivors = mean_norm_growth(widths, act, sigma_w2) / (1 - dead)
    assert log_norm_law(widths, act, sigma_w2)[0] < math.log(survivors)


# Second moments, kurtosis, dead layers


@pytest.mark.parametrize("n", [1, 4, 9])
def test_relative_second_moment_by_summing_over_the_units_that_are_on(n):
    """E (χ²_K)² = 2 K + K², one layer, by the probabilities of K."""
    k = range(n + 1)
    pmf = [math.comb(n, i) / 2**n for i in k]
    second = sum(p * (2 * i + i**2) for p, i in zip(pmf, k, strict=True))
    assert relative_second_moment([3, n], "relu") == pytest.approx(second / (n / 2) ** 2, rel=1e-12)
    assert relative_second_moment([3, n]) == pytest.approx((2 * n + n**2) / n**2, rel=1e-12)
    assert mean_norm_growth([n, n], "relu", 2.0) == 1.0


def test_second_moment_stays_below_its_exponential_bound():
    widths = [64, 16, 100, 8, 32]
    beta = sum(1 / n for n in widths[1:])
    assert relative_second_moment(widths, "relu") < math.exp(5 * beta)
    assert relative_second_moment([10_000] * 101, "relu") == pytest.approx(math.exp(0.05), rel=2e-5)


def test_kurtosis_counts_hidden_layers_only():
    assert jacobian_entry_kurtosis([5, 7]) == jacobian_entry_kurtosis([2, 7], "relu") == 3
    assert jacobian_entry_kurtosis([5, 10, 20, 1], "relu") == pytest.approx(3 * 1.5 * 1.25)
    assert jacobian_entry_kurtosis([5, 10, 20, 1]) == pytest.approx(3 * 1.2 * 1.1)


def test_extremes_do_not_raise():
    assert mean_norm_growth([4] * 9_000, sigma_w2=1.5) == math.inf
    assert mean_norm_growth([4] * 9_000, "relu") == 0
    assert relative_second_moment([1] * 9_000, "relu") == math.inf
    assert math.isfinite(log_norm_law([4] * 9_000, "relu", 100.0)[0])


@pytest.mark.parametrize("widths", [[5, 1], [5, 16] + [16] * 39, [3, 2, 1, 4], [9] + [60] * 10, [9] + [2000] * 3])
def test_dead_probability_in_exact_arithmetic(widths):
    """At 700 digits, where 2^-2000 is far from lost; float64 rounds it to 0."""
    with mpmath.workdps(700):
        exact = 1 - mpmath.fprod(1 - mpmath.mpf(2) ** -n for n in widths[1:])
        assert dead_probability(widths) == pytest.approx(float(exact), rel=1e-13, abs=0)


def test_most_batches_of_narrow_networks_contain_a_dead_one():
    """2,000 networks of 40 layers at width 16."""
    assert 1 - (1 - dead_probability([16] * 41)) ** 2000 == pytest.approx(0.70, abs=0.01)


# Networks with real masks


def assert_mean(samples, predicted, alpha=2e-6):
    """The mean over independent networks is the predicted one, by Student's t."""
    count = samples.numel()
    gate = stats.t.isf(alpha / 2, count - 1) * samples.std() / count**0.5
    assert abs(samples.mean() - predicted) < gate


def relu_networks(name, networks, widths, sigma_w2):
    """Weights of all layers, and the signal after each layer, of independent networks at one input."""
    generator = stream("tests", name)
    h = torch.ones(networks, widths[0], 1, dtype=torch.float64)
    weights, signals = [], [h]
    for fan_in, fan_out in pairwise(widths):
        weight = torch.randn(networks, fan_out, fan_in, generator=generator, dtype=torch.float64)
        weights.append((sigma_w2 / fan_in) ** 0.5 * weight)
        signals.append((weights[-1] @ signals[-1]).relu())
    return weights, signals


def test_relu_law_holds_in_drawn_networks_that_survive():
    """Narrow on purpose: 13 % are dead, and the survivors follow the conditional law in mean and spread."""
    widths, sigma_w2, networks = [4, 6, 3, 8], 1.7, 20_000
    _, signals = relu_networks("relu_law", networks, widths, sigma_w2)
    growth = signals[-1].square().sum((1, 2)) / widths[0]
    alive = growth > 0
    assert_mean((~alive).double(), dead_probability(widths))
    assert_mean(growth, mean_norm_growth(widths, "relu", sigma_w2))
    mean, variance = log_norm_law(widths, "relu", sigma_w2)
    logs = growth[alive].log()
    assert_mean(logs, mean)
    assert_mean((logs - mean).square(), variance)


def test_gradient_has_two_more_end_terms():
    """ln ‖∂y/∂x‖² of a scalar linear read-out, by back-propagation through the masks of the signal."""
    widths, sigma_w2, networks = [5, 12, 9], 2.0, 10_000
    weights, signals = relu_networks("relu_gradient", networks, widths, sigma_w2)
    generator = stream("tests", "relu_gradient.read_out")
    g = torch.randn(networks, widths[-1], 1, generator=generator, dtype=torch.float64)
    g *= (sigma_w2 / widths[-1]) ** 0.5
    for weight, h in zip(reversed(weights), reversed(signals[1:]), strict=True):
        g = weight.mT @ (g * (h > 0))
    squared = g.square().sum((1, 2))
    alive = squared > 0
    hidden, ends = log_norm_law(widths, "relu", sigma_w2), log_norm_law([9, 5], sigma_w2=sigma_w2)
    mean, variance = hidden[0] + ends[0], hidden[1] + ends[1]
    logs = squared[alive].log()
    assert_mean(logs, mean)
    assert_mean((logs - mean).square(), variance)


def test_kurtosis_of_an_entry_of_the_jacobian():
    """Masks belong to the input (1, …, 1), the entry to another direction; E J² is known, so is its scale."""
    widths, sigma_w2, networks = [3, 16, 24, 1], 2.0, 100_000
    weights, signals = relu_networks("kurtosis", networks, widths, sigma_w2)
    column = weights[0][:, :, :1]
    for weight, h in zip(weights[1:], signals[1:], strict=False):
        column = weight @ (column * (h > 0))
    entry = column.flatten()
    mean_square = sigma_w2 / widths[0]
    assert_mean(entry.square(), mean_square)
    assert_mean((entry.square() / mean_square).square(), jacobian_entry_kurtosis(widths, "relu"))
