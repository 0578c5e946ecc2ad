"""`effect`: A beats B by at least m, or it does not, or this run cannot say."""

import math

import torch
from scipy import stats
from torch import Tensor

from signalprop.claims import gates
from signalprop.claims.record import Record, check_names, not_run, settle
from signalprop.profiles import PROFILES, profile

MIN_PAIRS = 8
VERDICTS = ("shown", "contradicted", "not shown")


def effect(
    id: str,
    statement: str,
    a: Tensor,
    b: Tensor,
    *,
    margin: float,
    pilot: tuple[float, float],
    source: str,
    equation: str = "",
    expect: str = "shown",
    profiles: tuple[str, ...] = PROFILES,
    stored: str = "",
) -> Record:
    """Judge "A exceeds B by more than `margin`" on paired runs; raise if the verdict is not the expected one.

    From the mean of the S paired differences and its standard error come one-sided 99.9 % bounds (Student's t). The
    effect is *shown* if the lower bound lies above the margin, *contradicted* if the upper bound lies below it, and
    otherwise *not shown*.

    Parameters
    ----------
    id, statement, source, equation, profiles, stored
        As in `claim`; an effect needs no equation.
    a, b
        One number for each seed, shape [S], S ≥ 8; entry s of both comes from the same seed. For "less is better" pass
        the baseline as `a`.
    margin
        The least difference that counts, chosen from pilot seeds that this run does not use.
    pilot
        Mean and standard deviation of one paired difference on those pilot seeds.
    expect
        The verdict that the page states.

    Returns
    -------
    Record

    Raises
    ------
    ClaimFailed
        If the verdict is not the expected one.
    ValueError
        If the runs do not pair, are too few or not finite, or, going by the pilot, S pairs would reach the verdict
        "shown" or "contradicted" that the page expects with less than 99.99 % power. It says how many pairs would do.

    Examples
    --------
    >>> from signalprop import stream
    >>> noise = torch.randn(2, 12, generator=stream("doc", "effect"))
    >>> record = effect("doc.shift", "A exceeds B by half", 1 + 0.1 * noise[0], 0.1 * noise[1], margin=0.5,
    ...                 pilot=(1.0, 0.14), source="derived")  # doctest: +ELLIPSIS
    ✓ doc.shift: A exceeds B by half — shown: ...
    """
    check_names(id, statement, profiles)
    if expect not in VERDICTS:
        raise ValueError(f"claim {id}: expect must be one of {VERDICTS}, got {expect!r}")
    record = Record(id, "effect", statement, "not run", source, equation, profiles=profiles, stored=stored)
    if profile() not in profiles:
        return not_run(record)
    gaps = _differences(id, a, b)
    pairs = len(gaps)
    power = _require_power(id, expect, margin, pilot, pairs)

    mean, error = gaps.mean().item(), gaps.std().item() / pairs**0.5
    reach = float(stats.t.ppf(gates.EFFECT_LEVEL, pairs - 1)) * error
    lower, upper = mean - reach, mean + reach
    verdict = "shown" if lower > margin else "contradicted" if upper < margin else "not shown"
    case = {
        "case": "",
        "replicates": pairs,
        "mean": mean,
        "standard_error": error,
        "lower": lower,
        "upper": upper,
        "margin": margin,
        "expected": expect,
        "power": power,
    }
    record = Record(id, "effect", statement, verdict, source, equation, cases=[case], profiles=profiles, stored=stored)
    line = (
        f"{verdict}: difference {mean:.3g}, one-sided 99.9 % bounds [{lower:.3g}, {upper:.3g}] against a margin of "
        f"{margin:.3g} ({pairs} pairs)"
    )
    failure = None if verdict == expect else f"  the page says “{expect}”, the runs say “{verdict}”\n  {line}"
    return settle(record, line, failure)


def _differences(id: str, a: Tensor, b: Tensor) -> Tensor:
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(
            f"claim {id}: a has shape {list(a.shape)} and b {list(b.shape)}; pass one number a seed, paired, shape [S]"
        )
    if len(a) < MIN_PAIRS:
        raise ValueError(f"claim {id}: {len(a)} pairs; an effect needs at least {MIN_PAIRS}")
    gaps = (a.detach().to("cpu", torch.float64)) - (b.detach().to("cpu", torch.float64))
    if bad := (~gaps.isfinite()).nonzero().flatten().tolist():
        raise ValueError(
            f"claim {id}: {len(bad)} of {len(gaps)} pairs are not finite (first: number {bad[0]}); a run that diverged "
            "is a result: score it (as the loss of guessing, or as censored), do not drop it"
        )
    return gaps


def _require_power(id: str, expect: str, margin: float, pilot: tuple[float, float], pairs: int) -> float:
    mean, sd = pilot
    if not (math.isfinite(margin) and math.isfinite(mean) and 0 < sd < math.inf):
        raise ValueError(
            f"claim {id}: margin, pilot mean and pilot standard deviation must be finite, the last one positive; "
            f"got {margin}, {mean} and {sd}"
        )
    # "contradicted" is "shown" in the mirror
    shown = gates.probability_shown(mean, sd, margin, pairs)
    contradicted = gates.probability_shown(-mean, sd, -margin, pairs)
    power = {"shown": shown, "contradicted": contradicted, "not shown": 1 - shown - contradicted}[expect]
    if expect == "not shown" or power >= gates.EFFECT_POWER:
        return power
    sign, side = (1, "above") if expect == "shown" else (-1, "below")
    if sign * (mean - margin) <= 0:
        raise ValueError(
            f"claim {id}: the pilot's mean {mean:g} is not {side} the margin {margin:g}, so do not expect “{expect}”"
        )
    needed = gates.replicates_needed(sign * mean, sd, sign * margin)
    raise ValueError(
        f"claim {id}: going by the pilot, {pairs} pairs give the verdict “{expect}” with a power of {power:.4f}; "
        f"{needed} pairs would reach {gates.EFFECT_POWER}"
    )
