import math

import pytest
from scipy import integrate, stats

from signalprop.claims import gates


def power(replicates, alpha, error):
    """P(T > gate) for an error in standard errors: normal mean, averaged over the estimate s of the deviation 1."""
    freedom, gate = replicates - 1, gates.gate(replicates, alpha)

    def caught(s):
        return stats.norm.sf(gate * s - error) * stats.chi.pdf(s * math.sqrt(freedom), freedom) * math.sqrt(freedom)

    width = 12 / math.sqrt(2 * freedom)
    return integrate.quad(caught, max(0, 1 - width), 1 + width, limit=200, epsabs=1e-12)[0]


@pytest.mark.parametrize("replicates", [30, 100, 10_000, 1_000_000])
@pytest.mark.parametrize("alpha", [gates.ALPHA, gates.ALPHA / 100, 1e-2])
def test_error_as_large_as_the_resolution_is_caught(replicates, alpha):
    assert power(replicates, alpha, gates.resolution(replicates, alpha)) == pytest.approx(gates.POWER, abs=1e-8)


@pytest.mark.parametrize("replicates", [30, 100, 10_000])
def test_false_alarms_at_the_gate(replicates):
    assert power(replicates, gates.ALPHA, 0.0) == pytest.approx(gates.ALPHA / 2, rel=1e-4)


def test_five_hundred_claims_share_a_thousandth():
    assert math.isclose(500 * gates.ALPHA, 1e-3)


def test_more_replicates_lower_the_gate():
    heights = [gates.gate(replicates) for replicates in (30, 100, 1_000, 10_000)]
    assert heights == sorted(heights, reverse=True)
    assert heights[-1] > stats.norm.isf(gates.ALPHA / 2)


@pytest.mark.parametrize(("mean", "sd", "margin"), [(1.0, 0.2, 0.5), (1.0, 1.0, 0.0), (-0.1, 0.3, -0.5)])
def test_replicates_needed_are_the_fewest_that_have_the_power(mean, sd, margin):
    pairs = gates.replicates_needed(mean, sd, margin)
    assert gates.probability_shown(mean, sd, margin, pairs) >= gates.EFFECT_POWER
    assert gates.probability_shown(mean, sd, margin, pairs - 1) < gates.EFFECT_POWER


def test_eight_pairs_are_the_least():
    assert gates.replicates_needed(mean=1.0, sd=1e-3, margin=0.0) == 8


@pytest.mark.parametrize("mean", [0.5, 0.4])
def test_no_number_of_pairs_shows_what_is_not_there(mean):
    with pytest.raises(ValueError, match=r"not above the margin 0\.5"):
        gates.replicates_needed(mean, 0.1, 0.5)
