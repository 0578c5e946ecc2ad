import pytest
import torch

from signalprop.stored import load_stored, tricks
from signalprop.theory import design_resolution


@pytest.fixture(scope="module")
def result():
    return load_stored("tricks")


def test_accuracies_are_between_a_guess_and_what_such_networks_reach(result):
    for name in ("accuracy", "accuracy_750", "accuracy_300"):
        values = tricks.responses(result.samples, name)
        assert values.shape == (8, 256)
        assert 0.05 < values.min() <= values.max() < 0.8
        assert 0.2 < values.mean() < 0.7
    robust = tricks.responses(result.samples, "robust")
    assert (robust.mean(0) < tricks.responses(result.samples, "accuracy").mean(0)).all()


def test_rates_are_one_of_four_for_each_shape_and_optimizer(result):
    rates = tricks.responses(result.samples, "rate")
    for column, run in zip(rates.T, tricks.settings(), strict=True):
        assert len(column.unique()) == 1
        assert any(abs(column[0] - rate) < 1e-6 for rate in tricks.RATES[run["optimizer"]])


def test_the_design_has_resolution_six():
    assert design_resolution(tricks.design()) == 6


def test_levels_of_a_run_are_those_of_the_design():
    for name, (low, high) in tricks.LEVELS.items():
        chosen = torch.tensor([run[name] == high for run in tricks.settings()])
        assert torch.equal(chosen, tricks.design()[name] > 0)
        assert all(run[name] in (low, high) for run in tricks.settings())


def test_a_shape_has_eight_runs_next_to_each_other():
    runs = tricks.settings()
    for start in range(0, 256, 8):
        shapes = {tuple(run[name] for name in tricks.GRID) for run in runs[start : start + 8]}
        assert len(shapes) == 1
