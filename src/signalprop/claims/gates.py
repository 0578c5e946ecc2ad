"""Where the gates come from: Student's t, central for the false alarms, non-central for the power.

Two constants rule the whole book. A prediction is tested at ``ALPHA = 2e-6``, so that 500 claims together raise a
false alarm in one run out of a thousand; what a claim says it catches, it catches with probability ``POWER``.
"""

from functools import lru_cache

from scipy import optimize, stats

ALPHA = 2e-6  # two-sided, a claim
POWER = 0.999  # with which an error as large as the resolution is caught
EFFECT_LEVEL = 0.999  # one-sided bounds of an effect
EFFECT_POWER = 0.9999  # with which an effect as large as the pilot's is shown


@lru_cache
def gate(replicates: int, alpha: float = ALPHA) -> float:
    """Return the two-sided gate in standard errors: the 1 − α/2 quantile of Student's t, M − 1 degrees of freedom.

    Examples
    --------
    >>> [round(gate(m), 2) for m in (10, 30, 100)]
    [10.72, 5.92, 5.05]
    """
    return float(stats.t.isf(alpha / 2, replicates - 1))


@lru_cache
def resolution(replicates: int, alpha: float = ALPHA, power: float = POWER) -> float:
    """Return the smallest error of a prediction, in true standard errors, that `gate` catches with this power.

    It is the non-centrality δ at which P(T > gate) = power; the far tail only adds to it.

    Examples
    --------
    >>> [round(resolution(m), 2) for m in (30, 100, 10_000)]
    [9.83, 8.33, 7.85]
    """
    threshold = gate(replicates, alpha)

    def shortfall(delta: float) -> float:
        return float(stats.nct.sf(threshold, replicates - 1, delta)) - power

    return float(optimize.brentq(shortfall, threshold, 4 * threshold))


def probability_shown(mean: float, sd: float, margin: float, replicates: int) -> float:
    """Return the probability that the lower bound of an effect lies above its margin.

    Parameters
    ----------
    mean, sd
        Of one paired difference, as estimated from pilot seeds.
    margin
        The least difference that counts.
    replicates
        Number S of pairs.

    Examples
    --------
    >>> round(probability_shown(mean=1.0, sd=0.2, margin=0.5, replicates=10), 3)
    0.995
    """
    threshold = stats.t.isf(1 - EFFECT_LEVEL, replicates - 1)
    return float(stats.nct.sf(threshold, replicates - 1, (mean - margin) / sd * replicates**0.5))


def replicates_needed(mean: float, sd: float, margin: float) -> int:
    """Return the number of pairs S ≥ 8 that shows an effect of the pilot's size with 99.99 % power.

    Raises
    ------
    ValueError
        If the pilot's mean does not exceed the margin: then no number of pairs does.

    Examples
    --------
    >>> replicates_needed(mean=1.0, sd=0.2, margin=0.5)
    13
    """
    if mean <= margin:
        raise ValueError(f"the pilot's mean {mean:g} is not above the margin {margin:g}: choose a smaller margin")
    low, high = 7, 8
    while probability_shown(mean, sd, margin, high) < EFFECT_POWER:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if probability_shown(mean, sd, margin, middle) < EFFECT_POWER:
            low = middle
        else:
            high = middle
    return high
