"""The gates keep their promises: simulated worlds, in which the prediction is right or wrong by a known error.

The book's α is too small to be simulated, so the rule is tested at α = 1e-2 and 1e-3.
"""

import math
from functools import cache

import numpy as np
import pytest
import torch
from scipy import stats

from signalprop import stream
from signalprop.claims import ClaimFailed, claim, effect, gates

WORLDS = 100_000
CHUNK = 5_000
WIDTH = 64

both_alphas = pytest.mark.parametrize("alpha", [1e-2, 1e-3])
both_sizes = pytest.mark.parametrize("replicates", [30, 100])


def normal(shape, generator):
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def log_normal(shape, generator):
    """Have mean 0: products of many random factors, over their mean, less 1."""
    return (2 * normal(shape, generator) - 2).exp() - 1


def logarithm(shape, generator):
    """Have mean 0 too: the logarithms of the same products, less their mean."""
    return (log_normal(shape, generator) + 1).log() + 2


def second_moment(shape, generator):
    """Have mean 0: the second moment of one layer of 64 normal units, a chi-square over 64, less 1."""
    rng = np.random.default_rng(torch.randint(2**62, (4,), generator=generator).tolist())
    return torch.from_numpy(rng.standard_gamma(WIDTH / 2, shape)) / (WIDTH / 2) - 1


@cache
def worlds(law, replicates):
    """Mean and standard error of every simulated world; the true mean is 0."""
    generator = stream("tests", f"calibration.{law.__name__}", replicates)
    means, errors = [], []
    for _ in range(WORLDS // CHUNK):
        values = law((CHUNK, replicates), generator)
        means.append(values.mean(1))
        errors.append(values.std(1) / math.sqrt(replicates))
    return torch.cat(means), torch.cat(errors)


def rejected(law, replicates, alpha, error=0.0):
    """Number of worlds in which a prediction that is wrong by this error is rejected."""
    means, errors = worlds(law, replicates)
    return int(((means - error).abs() > gates.gate(replicates, alpha) * errors).sum())


def five_standard_errors(rate):
    """Of a rate that is counted in all worlds."""
    return 5 * math.sqrt(rate * (1 - rate) / WORLDS)


def agrees(count, rate):
    return abs(count / WORLDS - rate) < five_standard_errors(rate)


def skewness_excess(replicates, alpha, skewness, kurtosis):
    """Two-sided false alarms of Student's t above α for replicates that are not normal, to order 1/M.

    In Edgeworth's expansion of the t statistic (P. Hall, The Bootstrap and Edgeworth Expansion, 1992) the
    term of order M^(-1/2), (2x² + 1) γ/6, is even in x: what the one tail gains the other loses. The term of order 1/M
    remains. Its part without γ and κ is the difference of Student's t from a normal, which the gate has already.
    """
    x = stats.norm.isf(alpha / 2)
    polynomial = skewness**2 * (x**4 + 2 * x**2 - 3) / 18 - kurtosis * (x**2 - 3) / 12
    return 2 * x * stats.norm.pdf(x) * polynomial / replicates


@both_alphas
@both_sizes
@pytest.mark.parametrize("law", [normal, logarithm])
def test_false_alarms_are_as_rare_as_promised(law, replicates, alpha):
    assert agrees(rejected(law, replicates, alpha), alpha)


@both_alphas
@both_sizes
def test_skewness_of_a_second_moment_adds_little(replicates, alpha):
    excess = skewness_excess(replicates, alpha, skewness=math.sqrt(8 / WIDTH), kurtosis=12 / WIDTH)
    assert 0 < excess < alpha / 3
    rate = rejected(second_moment, replicates, alpha) / WORLDS
    assert alpha - five_standard_errors(alpha) < rate < alpha + excess + five_standard_errors(alpha + excess)


@both_alphas
def test_log_normal_breaks_the_promise(alpha):
    """Why claims about products of many random factors are made of logarithms."""
    assert rejected(log_normal, 100, alpha) > 10 * alpha * WORLDS


@both_alphas
@both_sizes
def test_error_as_large_as_the_resolution_is_caught(replicates, alpha):
    error = gates.resolution(replicates, alpha) / math.sqrt(replicates)
    assert agrees(rejected(normal, replicates, alpha, error), gates.POWER)


@both_alphas
@both_sizes
def test_error_of_half_the_resolution_is_often_missed(replicates, alpha):
    error = gates.resolution(replicates, alpha) / math.sqrt(replicates)
    assert rejected(normal, replicates, alpha, error / 2) < 0.75 * WORLDS


def test_claim_applies_the_rule_that_is_simulated_here(monkeypatch):
    """In the 20 worlds that are closest to the gate, 10 on each side."""
    monkeypatch.setattr(gates, "ALPHA", 1e-2)
    values = normal((CHUNK, 30), stream("tests", "calibration.rule"))
    distance = values.mean(1).abs() / (values.std(1) / math.sqrt(30)) / gates.gate(30, 1e-2)
    inside, outside = (distance <= 1).nonzero().flatten(), (distance > 1).nonzero().flatten()
    for world in inside[distance[inside].argsort()[-10:]]:
        assert verdict(values[world]) == "holds"
    for world in outside[distance[outside].argsort()[:10]]:
        assert verdict(values[world]) == "fails"


def verdict(measured):
    try:
        return claim("test.rule", "the mean is 0", measured, 0.0, source="derived", equation="eq-none").verdict
    except ClaimFailed as failure:
        return failure.record.verdict


PAIRS = 12


@cache
def gaps(pairs):
    """Paired differences of every simulated world, normal with mean 0 and standard deviation 1."""
    return normal((WORLDS, pairs), stream("tests", "calibration.effect", pairs))


def shown(pairs, difference, margin):
    """Whether the lower 99.9 % bound lies above the margin, world by world."""
    values = gaps(pairs) + difference
    return values.mean(1) - stats.t.isf(1e-3, pairs - 1) * values.std(1) / math.sqrt(pairs) > margin


def test_effect_as_large_as_the_margin_is_shown_once_in_a_thousand():
    assert agrees(int(shown(PAIRS, difference=2.0, margin=2.0).sum()), 1e-3)


@pytest.mark.parametrize("excess", [0.0, 0.8, 1.2, 1.8])
def test_probability_shown(excess):
    count = int(shown(PAIRS, difference=1 + excess, margin=1.0).sum())
    assert agrees(count, gates.probability_shown(1 + excess, 1.0, 1.0, PAIRS))


def test_replicates_needed_show_the_effect():
    pairs = gates.replicates_needed(mean=3.0, sd=1.0, margin=1.0)
    missed = WORLDS - int(shown(pairs, difference=3.0, margin=1.0).sum())
    assert missed / WORLDS < 1 - gates.EFFECT_POWER + five_standard_errors(gates.EFFECT_POWER)


def test_effect_applies_the_rule_that_is_simulated_here():
    """Margins on both sides of the lower bound, in ten worlds."""
    for values in gaps(PAIRS)[:10]:
        lower = (values.mean() - stats.t.isf(1e-3, PAIRS - 1) * values.std() / math.sqrt(PAIRS)).item()
        for margin, expected in [(lower - 1e-9, "shown"), (lower + 1e-9, "not shown")]:
            record = effect("test.rule", "A exceeds B", values, torch.zeros_like(values), margin=margin,
                            pilot=(margin + 10, 1.0), source="derived", expect=expected)  # fmt: skip
            assert record.verdict == expected
