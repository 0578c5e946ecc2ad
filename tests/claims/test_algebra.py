import math

import pytest
import torch

from signalprop.claims import ClaimFailed, identity

NAMES = {"source": "derived", "equation": "eq-none"}
NUMBERS = torch.tensor([1e-3, 1.0, -1e6], dtype=torch.float64)


def judge(measured, predicted, **options):
    return identity("test.identity", "both sides are equal", measured, predicted, **NAMES, **options)


def test_equal_numbers_hold():
    record = judge(NUMBERS, NUMBERS.clone())
    assert record.verdict == "holds"
    assert record.cases == [{"case": "", "elements": 3, "worst": 0.0}]


def test_tolerance_is_relative():
    assert judge(NUMBERS * (1 + 0.9e-10), NUMBERS).cases[0]["worst"] == pytest.approx(0.9, rel=1e-4)
    with pytest.raises(ClaimFailed):
        judge(NUMBERS * (1 + 1.1e-10), NUMBERS)


def test_zero_is_exact():
    zeros = torch.zeros(3, dtype=torch.float64)
    assert judge(zeros, 0.0).verdict == "holds"
    with pytest.raises(ClaimFailed, match="by inf tolerances"):
        judge(zeros + 1e-300, 0.0)


def test_failure_shows_the_worst_element():
    measured = NUMBERS.clone()
    measured[1:] *= torch.tensor([1.5, 1.25])
    with pytest.raises(ClaimFailed, match=r"predicted  1\n.*measured   1\.5\n.*element 1 of 3; 2 differ") as failure:
        judge(measured, NUMBERS)
    assert failure.value.record.verdict == "fails"


def test_prediction_broadcasts():
    assert judge(torch.ones(2, 3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)).cases[0]["elements"] == 6


def test_prediction_must_broadcast():
    with pytest.raises(ValueError, match=r"predicted has shape \[2\].*measured, \[3\]"):
        judge(NUMBERS, torch.ones(2, dtype=torch.float64))


def test_measurement_does_not_broadcast():
    with pytest.raises(ValueError, match="does not broadcast to measured"):
        judge(NUMBERS[:1], NUMBERS)


def test_bound_is_an_absolute_error():
    assert judge(NUMBERS + 0.009, NUMBERS, bound=(0.01, "spacing of the grid")).cases[0]["worst"] < 1
    with pytest.raises(ClaimFailed):
        judge(NUMBERS + 0.011, NUMBERS, bound=(0.01, "spacing of the grid"))


def test_bound_may_differ_by_element():
    bound = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    shift = torch.tensor([0.9, 0.0, 0.9], dtype=torch.float64)
    assert judge(NUMBERS + shift, NUMBERS, bound=(bound, "remainder")).verdict == "holds"
    with pytest.raises(ClaimFailed, match="at element 1 of 3; 1 differ"):
        judge(NUMBERS + 0.9, NUMBERS, bound=(bound, "remainder"))


def test_bound_applies_to_rivals():
    with pytest.raises(ClaimFailed, match="does not reject the rival “close”"):
        judge(NUMBERS, NUMBERS, bound=(0.1, "remainder"), rivals={"close": NUMBERS + 0.05})


def test_reader_sees_the_reason_of_the_bound(capsys):
    judge(NUMBERS, NUMBERS, bound=(0.1, "the remainder"))
    assert "equal in 3 numbers to within the remainder" in capsys.readouterr().out


@pytest.mark.parametrize("bound", [-1.0, math.inf, math.nan, torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64)])
def test_bound_must_be_finite_and_not_negative(bound):
    with pytest.raises(ValueError, match="bound"):
        judge(NUMBERS, NUMBERS + 0.5, bound=(bound, "remainder"))


def test_bound_must_broadcast():
    with pytest.raises(ValueError, match="bound has shape"):
        judge(NUMBERS, NUMBERS, bound=(torch.ones(2, dtype=torch.float64), "remainder"))


def test_rival_must_differ_in_one_element():
    rival = NUMBERS.clone()
    rival[0] = 2e-3
    (entry,) = judge(NUMBERS, NUMBERS, rivals={"twice": rival}).rivals
    assert entry["label"] == "twice"
    assert entry["distance"] == pytest.approx(0.5e10)


def test_rival_that_agrees_fails_the_identity():
    with pytest.raises(ClaimFailed, match="does not reject the rival “same”"):
        judge(NUMBERS, NUMBERS, rivals={"same": NUMBERS, "other": 0.0})


@pytest.mark.parametrize("wrong", [math.inf, 0.0])
def test_rival_may_be_infinitely_far(wrong):
    assert judge(NUMBERS, NUMBERS, rivals={"wrong": wrong}).rivals[0]["distance"] == math.inf


def test_rival_must_broadcast():
    with pytest.raises(ValueError, match="rival 'old' has shape"):
        judge(NUMBERS, NUMBERS, rivals={"old": torch.ones(2, dtype=torch.float64)})


def test_rival_must_be_a_number():
    with pytest.raises(ValueError, match="old"):
        judge(NUMBERS, NUMBERS, rivals={"old": math.nan})


def test_infinite_prediction_fails():
    with pytest.raises(ClaimFailed):
        judge(NUMBERS, math.inf)


def test_prediction_must_be_a_number():
    with pytest.raises(ValueError, match="predicted has entries that are not a number"):
        judge(NUMBERS, math.nan)


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_measured_must_be_finite(value):
    with pytest.raises(ValueError, match="measured has 1 entries that are not finite"):
        judge(torch.tensor([1.0, value], dtype=torch.float64), 1.0)


def test_there_must_be_something_to_compare():
    with pytest.raises(ValueError, match="measured is empty"):
        judge(torch.empty(0, dtype=torch.float64), 1.0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("what", ["measured", "predicted"])
def test_less_than_float64_is_refused(dtype, what):
    sides = {"measured": NUMBERS, "predicted": NUMBERS}
    sides[what] = NUMBERS.to(dtype)
    with pytest.raises(TypeError, match=f"{what} is {dtype}"):
        judge(**sides)


def test_complex_numbers_are_refused():
    with pytest.raises(TypeError, match="complex"):
        judge(NUMBERS + 1j, NUMBERS)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.bool])
def test_whole_numbers_and_booleans(dtype):
    values = torch.tensor([0, 1, 1]).to(dtype)
    assert judge(values, torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64)).verdict == "holds"
    with pytest.raises(ClaimFailed):
        judge(values, 1.0)


def test_reader_sees_a_single_number(capsys):
    assert judge(torch.tensor(2.0, dtype=torch.float64), 2.0).verdict == "holds"
    assert "measured 2, predicted 2, equal to 1e-10" in capsys.readouterr().out


def test_reader_sees_a_failure(capsys):
    with pytest.raises(ClaimFailed):
        judge(NUMBERS, 2 * NUMBERS)
    line = capsys.readouterr().out
    assert line.startswith("✗ test.identity")
    assert "— equal in" not in line


def test_measurement_with_gradient():
    assert judge(NUMBERS.clone().requires_grad_(), NUMBERS).verdict == "holds"


def test_identity_of_another_profile_is_not_run(monkeypatch):
    monkeypatch.setenv("SIGNALPROP_PROFILE", "quick")
    assert judge(NUMBERS, 0.0, profiles=("standard", "full")).verdict == "not run"


def test_names_are_checked():
    with pytest.raises(ValueError, match="claim id"):
        identity("Not an id", "both sides are equal", NUMBERS, NUMBERS, **NAMES)
