import math

import pytest
import torch

from signalprop.claims import ClaimFailed, effect, gates

ZEROS = torch.zeros(12, dtype=torch.float64)


def runs(mean, sd=0.1, pairs=12):
    """Runs with exactly this mean and standard deviation."""
    steps = torch.linspace(-1, 1, pairs, dtype=torch.float64)
    return mean + sd * steps / steps.std()


def judge(a, b=ZEROS, *, margin=0.5, pilot=(1.0, 0.1), **options):
    return effect("test.effect", "A exceeds B", a, b, margin=margin, pilot=pilot, source="derived", **options)


@pytest.mark.parametrize(
    ("mean", "pilot", "verdict"),
    [(1.0, 1.0, "shown"), (0.0, 0.0, "contradicted"), (0.5, 0.5, "not shown")],
)
def test_three_verdicts(mean, pilot, verdict):
    assert judge(runs(mean), pilot=(pilot, 0.1), expect=verdict).verdict == verdict


@pytest.mark.parametrize("verdict", ["contradicted", "not shown"])
def test_unexpected_verdict_fails(verdict):
    with pytest.raises(ClaimFailed, match=f"the page says “shown”, the runs say “{verdict}”") as failure:
        judge(runs({"contradicted": 0.0, "not shown": 0.5}[verdict]))
    assert failure.value.record.verdict == verdict


def test_success_that_was_not_expected_fails_too():
    with pytest.raises(ClaimFailed, match="the page says “not shown”, the runs say “shown”"):
        judge(runs(1.0), expect="not shown")


def test_contradicted_mirrors_shown():
    shown = judge(runs(1.0), margin=0.5, pilot=(1.0, 0.1))
    mirrored = judge(runs(-1.0), margin=-0.5, pilot=(-1.0, 0.1), expect="contradicted")
    (a,), (b,) = shown.cases, mirrored.cases
    assert (b["lower"], b["upper"]) == pytest.approx((-a["upper"], -a["lower"]))
    assert b["power"] == pytest.approx(a["power"])


def test_bounds_are_one_sided_and_of_student():
    (case,) = judge(runs(1.0)).cases
    reach = 4.0247 * 0.1 / 12**0.5  # 99.9 % quantile of Student's t, 11 degrees of freedom
    assert (case["lower"], case["upper"]) == pytest.approx((1 - reach, 1 + reach), rel=1e-5)


def test_differences_are_paired():
    common = 100 * runs(0.0)
    (case,) = judge(common + runs(1.0), common).cases
    assert case["standard_error"] == pytest.approx(0.1 / 12**0.5)


@pytest.mark.parametrize(
    ("a", "b"),
    [(ZEROS, ZEROS[:9]), (ZEROS[None], ZEROS[None]), (ZEROS[0], ZEROS[0])],
    ids=["lengths", "matrix", "number"],
)
def test_runs_must_pair(a, b):
    with pytest.raises(ValueError, match=r"one number a seed, paired, shape \[S\]"):
        judge(a, b)


def test_eight_pairs_are_the_least():
    assert judge(runs(1.0, pairs=8), ZEROS[:8], pilot=(1.0, 0.05)).verdict == "shown"
    with pytest.raises(ValueError, match="7 pairs; an effect needs at least 8"):
        judge(runs(1.0, pairs=7), ZEROS[:7])


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_runs_must_be_finite(value):
    a = runs(1.0)
    a[4] = value
    with pytest.raises(ValueError, match=r"1 of 12 pairs are not finite \(first: number 4\)"):
        judge(a)


def test_runs_that_both_diverged_are_not_finite():
    with pytest.raises(ValueError, match="12 of 12 pairs are not finite"):
        judge(ZEROS + math.inf, ZEROS + math.inf)


def test_too_little_power_names_the_pairs_needed():
    needed = gates.replicates_needed(1.0, 0.3, 0.5)
    assert needed > 12
    with pytest.raises(ValueError, match=f"12 pairs give the verdict “shown” .* {needed} pairs would reach 0.9999"):
        judge(runs(1.0), pilot=(1.0, 0.3))


def test_too_little_power_to_contradict():
    needed = gates.replicates_needed(1.0, 0.3, 0.5)
    with pytest.raises(ValueError, match=f"the verdict “contradicted” .* {needed} pairs would reach 0.9999"):
        judge(runs(0.0), pilot=(0.0, 0.3), expect="contradicted")


@pytest.mark.parametrize(
    ("expect", "mean", "complaint"),
    [("shown", 0.25, "0.25 is not above the margin 0.5"), ("contradicted", 0.75, "0.75 is not below the margin 0.5")],
)
def test_pilot_on_the_wrong_side_of_the_margin(expect, mean, complaint):
    with pytest.raises(ValueError, match=rf"test\.effect.*{complaint}"):
        judge(runs(1.0), pilot=(mean, 0.1), expect=expect)


def test_not_shown_needs_no_power():
    assert 0 < judge(runs(0.5), pilot=(0.6, 0.1), expect="not shown").cases[0]["power"] < gates.EFFECT_POWER


@pytest.mark.parametrize("sd", [0.0, -1.0])
def test_pilot_must_have_spread(sd):
    with pytest.raises(ValueError, match="finite, the last one positive"):
        judge(runs(1.0), pilot=(1.0, sd))


@pytest.mark.parametrize("expect", ["shown", "not shown"])
@pytest.mark.parametrize(
    "wrong",
    [{"margin": math.nan}, {"pilot": (math.nan, 0.1)}, {"pilot": (1.0, math.nan)}],
    ids=["margin", "mean", "sd"],
)
def test_margin_and_pilot_must_be_numbers(wrong, expect):
    with pytest.raises(ValueError, match=r"test\.effect.*finite"):
        judge(runs(0.5), expect=expect, **wrong)


def test_unknown_expectation():
    with pytest.raises(ValueError, match="expect must be one of"):
        judge(runs(1.0), expect="proved")


def test_float32_runs():
    assert judge(runs(1.0).float(), ZEROS.float()).verdict == "shown"


def test_effect_of_another_profile_is_not_run(monkeypatch):
    monkeypatch.setenv("SIGNALPROP_PROFILE", "quick")
    assert judge(ZEROS[:1], ZEROS[:1], profiles=("full",)).verdict == "not run"


def test_names_are_checked():
    with pytest.raises(ValueError, match="state in one sentence"):
        effect("test.effect", "", runs(1.0), ZEROS, margin=0.5, pilot=(1.0, 0.1), source="derived")


@pytest.mark.parametrize(("mean", "verdict", "mark"), [(1.0, "shown", "✓"), (0.0, "contradicted", "○")])
def test_reader_sees_one_line(capsys, mean, verdict, mark):
    judge(runs(mean), pilot=(mean, 0.1), expect=verdict)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{mark} test.effect: A exceeds B — {verdict}: difference ")
    assert line.endswith("against a margin of 0.5 (12 pairs)")
