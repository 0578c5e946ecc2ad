import math

import pytest
import torch

from signalprop.claims import ClaimFailed, claim, gates

NAMES = {"source": "derived", "equation": "eq-none"}


def sample(mean=0.0, replicates=100):
    """Replicates with exactly this mean and standard deviation 1: a standard error of 0.1 for 100 of them."""
    steps = torch.linspace(-1, 1, replicates, dtype=torch.float64)
    return mean + steps / steps.std()


def judge(measured, predicted, **options):
    return claim("test.claim", "the mean is as predicted", measured, predicted, **NAMES, **options)


def test_right_prediction_holds():
    assert judge(sample(0.3), 0.0).verdict == "holds"


def test_wrong_prediction_fails():
    with pytest.raises(ClaimFailed) as failure:
        judge(sample(0.6), 0.0)
    assert failure.value.record.verdict == "fails"


def test_gate_is_that_of_student():
    (case,) = judge(sample(), 0.0).cases
    assert case["standard_error"] == pytest.approx(0.1)
    assert case["gate"] == pytest.approx(0.1 * gates.gate(100))
    assert case["resolution"] == pytest.approx(0.1 * gates.resolution(100))


def test_failure_compares_prediction_measurement_and_rival():
    with pytest.raises(ClaimFailed) as failure:
        judge(sample(1.0), 0.25, rivals={"old value": 1.1, "far": 9.0})
    message = str(failure.value)
    assert "test.claim" in message
    assert "predicted  0.25" in message
    assert "measured   1.00 ± 0.10" in message
    assert "0.75 = 7.5 standard errors" in message
    assert "agrees with the rival “old value”, 1.1" in message
    assert "agrees with the rival “far”" not in message


def test_rival_far_away_is_rejected_and_recorded():
    (rival,) = judge(sample(), 0.0, rivals={"one": 1.0}).rivals
    assert rival["label"] == "one"
    assert rival["distance"] == pytest.approx(10 / gates.gate(100))


def test_rival_that_is_not_rejected_fails_the_claim():
    with pytest.raises(ClaimFailed, match=r"does not reject the rival “close”, 0\.3"):
        judge(sample(), 0.0, rivals={"close": 0.3})


def test_rival_within_the_resolution_fails_the_claim():
    """The mean happens to lie on the far side of the prediction: the rival is rejected, but only by luck."""
    with pytest.raises(ClaimFailed, match=r"cannot tell the rival “close”, -0\.3, from the prediction"):
        judge(sample(0.3), 0.0, rivals={"close": -0.3})


def test_cases_share_alpha():
    off = 5.1
    assert gates.gate(100) < off < gates.gate(100, gates.ALPHA / 10)
    with pytest.raises(ClaimFailed):
        judge(sample(0.1 * off), 0.0)
    assert judge({f"depth {d}": sample(0.1 * off) for d in range(10)}, 0.0).verdict == "holds"


def test_every_case_has_its_prediction():
    record = judge({"a": sample(1.0), "b": sample(2.0)}, {"b": 2.0, "a": 1.0})
    assert [(case["case"], case["predicted"]) for case in record.cases] == [("a", 1.0), ("b", 2.0)]


def test_one_wrong_case_fails_the_claim():
    with pytest.raises(ClaimFailed, match=r"predicted \(b\)  1\n.*measured \(b\)   2.00 ±"):
        judge({"a": sample(1.0), "b": sample(2.0)}, 1.0)


def test_rival_by_case_need_be_rejected_in_one_only():
    record = judge({"a": sample(1.0), "b": sample(2.0)}, {"a": 1.0, "b": 2.0}, rivals={"a": {"a": 1.0, "b": 4.0}})
    assert record.rivals[0]["distance"] > 1


def test_scalar_rival_of_several_cases():
    record = judge({"a": sample(1.0), "b": sample(2.0)}, {"a": 1.0, "b": 2.0}, rivals={"no growth": 1.0})
    assert record.rivals[0]["distance"] > 1


def test_rival_is_rejected_and_told_apart_in_the_same_case():
    """Case a resolves the rival but does not reject it; case b rejects it but does not resolve it."""
    with pytest.raises(ClaimFailed):
        judge({"a": sample(0.4), "b": sample(0.4)}, 0.0, rivals={"half": {"a": 0.9, "b": -0.3}})


def test_bias_shifts_the_prediction():
    assert judge(sample(1.0), 0.0, bias=(1.0, 0.0, "known at this width")).verdict == "holds"
    with pytest.raises(ClaimFailed, match="predicted  1\n"):
        judge(sample(0.0), 0.0, bias=(1.0, 0.0, "known at this width"))


def test_bound_widens_gate_once_and_resolution_twice():
    (case,) = judge(sample(), 0.0, bias=(0.0, 0.5, "remainder")).cases
    assert case["gate"] == pytest.approx(0.1 * gates.gate(100) + 0.5)
    assert case["resolution"] == pytest.approx(0.1 * gates.resolution(100) + 1.0)


def test_claim_of_another_profile_is_not_run(monkeypatch):
    monkeypatch.setenv("SIGNALPROP_PROFILE", "quick")
    record = judge(sample(5.0), 0.0, profiles=("full",))
    assert record.verdict == "not run"
    assert record.cases == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_prediction_may_be_a_tensor_without_dimensions(dtype):
    assert judge(sample(0.5), torch.tensor(0.5, dtype=dtype), rivals={"two": torch.tensor(2.0)}).verdict == "holds"


def test_float32_measurements():
    assert judge(sample(0.5).float(), 0.5).cases[0]["standard_error"] == pytest.approx(0.1)


def test_measurements_with_gradient():
    assert judge(sample().requires_grad_(), 0.0).verdict == "holds"


def test_skewness_is_recorded():
    values = torch.cat([torch.zeros(90), torch.ones(10)]).double()
    p, sample_over_population = 0.1, (99 / 100) ** 1.5
    expected = (1 - 2 * p) / math.sqrt(p * (1 - p)) * sample_over_population
    assert judge(values, 0.1).cases[0]["skewness"] == pytest.approx(expected)


@pytest.mark.parametrize("values", [torch.tensor(1.0), torch.ones(10, 10)])
def test_measured_must_be_one_number_a_network(values):
    with pytest.raises(ValueError, match="measured has shape"):
        judge(values, 1.0)


def test_thirty_replicates_are_the_least():
    assert judge(sample(replicates=30), 0.0).verdict == "holds"
    with pytest.raises(ValueError, match="29 replicates; a prediction needs at least 30"):
        judge(sample(replicates=29), 0.0)


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_measurements_must_be_finite(value):
    values = sample()
    values[[7, 9]] = value
    with pytest.raises(ValueError, match=r"2 of 100 replicates are not finite \(first: number 7"):
        judge(values, 0.0)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e30])
def test_measurements_without_spread_are_an_identity(value):
    with pytest.raises(ValueError, match="identity"):
        judge(torch.full((100,), value, dtype=torch.float64), value)


def test_error_names_the_case():
    with pytest.raises(ValueError, match="case deep: 3 replicates"):
        judge({"shallow": sample(), "deep": torch.ones(3)}, 0.0)


def test_predictions_must_match_the_cases():
    with pytest.raises(ValueError, match=r"predicted has cases \['b'\], measured has \['a'\]"):
        judge({"a": sample()}, {"b": 0.0})


def test_rivals_must_match_the_cases():
    with pytest.raises(ValueError, match="rival 'old' has cases"):
        judge({"a": sample()}, 0.0, rivals={"old": {"a": 1.0, "b": 2.0}})


def test_there_must_be_a_case():
    with pytest.raises(ValueError, match=r"test\.claim"):
        judge({}, 0.0)


def test_prediction_must_be_a_number():
    with pytest.raises(ValueError, match="predicted"):
        judge({"a": sample(), "b": sample()}, {"a": 0.0, "b": math.nan})


def test_rival_must_be_a_number():
    with pytest.raises(ValueError, match="old"):
        judge({"a": sample(), "b": sample()}, 0.0, rivals={"old": {"a": 5.0, "b": math.nan}})


def test_bound_must_not_be_negative():
    with pytest.raises(ValueError, match=r"a finite bound ≥ 0, got 0\.0 and -0\.1"):
        judge(sample(), 0.0, bias=(0.0, -0.1, "remainder"))


@pytest.mark.parametrize("bound", [math.inf, math.nan])
def test_bound_must_be_finite(bound):
    with pytest.raises(ValueError, match="bound"):
        judge(sample(), 0.0, bias=(0.0, bound, "remainder"))


def test_measurements_must_be_real():
    with pytest.raises(TypeError, match="complex"):
        judge(sample().to(torch.complex128), 0.0)


@pytest.mark.parametrize("id", ["", "Upper", "two words", "under_score", ".dot", "dash-", "a..b", "é"])
def test_bad_id(id):
    with pytest.raises(ValueError, match="claim id"):
        claim(id, "statement", sample(), 0.0, **NAMES)


@pytest.mark.parametrize("id", ["a", "chain.log-growth", "e10.forward-2"])
def test_good_id(id):
    assert claim(id, "statement", sample(), 0.0, **NAMES).id == id


@pytest.mark.parametrize("statement", ["", "  \n"])
def test_empty_statement(statement):
    with pytest.raises(ValueError, match="state in one sentence"):
        claim("test.claim", statement, sample(), 0.0, **NAMES)


@pytest.mark.parametrize("profiles", [(), ("slow",), ("quick", "slow")])
def test_unknown_profile(profiles):
    with pytest.raises(ValueError, match="profiles must be some of"):
        judge(sample(), 0.0, profiles=profiles)


def test_reader_sees_one_line(capsys):
    judge(sample(0.25), 0.125, rivals={"one": 1.0})
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("✓ test.claim: the mean is as predicted — measured 0.25 ± 0.10 (100 ")
    assert "predicted 0.125; catches an error of 0.83" in line
    assert line.endswith("rejects “one”")


def test_reader_sees_a_failure(capsys):
    with pytest.raises(ClaimFailed):
        judge(sample(1.0), 0.0)
    assert capsys.readouterr().out.startswith("✗ test.claim")
