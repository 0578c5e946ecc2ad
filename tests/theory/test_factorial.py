from itertools import combinations

import pytest
import torch

from signalprop.measure import factorial_effects, simultaneous_reach
from signalprop.theory import design_resolution, factorial_columns, factorial_response, two_level_design

HALF = two_level_design("abcd", {"e": "abcd"})


def test_a_full_design_has_every_combination_once():
    levels = torch.stack(list(two_level_design("abc").values()), 1)
    assert len(levels.unique(dim=0)) == 8
    assert levels.unique().tolist() == [-1.0, 1.0]


def test_the_half_fraction_of_five_factors_has_resolution_five():
    assert torch.equal(HALF["e"], HALF["a"] * HALF["b"] * HALF["c"] * HALF["d"])
    assert design_resolution(HALF) == 5


@pytest.mark.parametrize(("generator", "resolution"), [("ab", 3), ("abc", 4), ("a", 2)])
def test_resolution_is_the_shortest_word(generator, resolution):
    assert design_resolution(two_level_design("abc", {"d": generator})) == resolution


def test_columns_of_resolution_five_are_orthogonal():
    columns = torch.stack(list(factorial_columns(HALF).values()))
    assert len(columns) == 15
    assert torch.equal(columns @ columns.T, 16 * torch.eye(15).double())


def test_effects_are_differences_of_means():
    y = torch.randn(3, 16, generator=torch.Generator().manual_seed(1)).double()
    effects = factorial_effects(HALF, y)
    for name, x in factorial_columns(HALF).items():
        assert torch.allclose(effects[name], y[:, x > 0].mean(1) - y[:, x < 0].mean(1))


def test_all_effects_of_a_full_design_give_the_responses_back():
    levels = two_level_design("abc")
    y = torch.randn(4, 8, generator=torch.Generator().manual_seed(2)).double()
    effects = factorial_effects(levels, y, order=3)
    assert torch.allclose(factorial_response(levels, y.mean(1), effects, order=3), y)


def test_confounded_effects_are_refused():
    with pytest.raises(ValueError, match="confounds a with b × c"):
        factorial_effects(two_level_design("ab", {"c": "ab"}), torch.zeros(4))
    with pytest.raises(ValueError, match="confounds the mean with a"):
        factorial_effects({"a": torch.ones(2).double()}, torch.zeros(2))


def test_wrong_arguments():
    with pytest.raises(ValueError, match="16 runs, the last axis of the responses 4"):
        factorial_effects(HALF, torch.zeros(4))
    with pytest.raises(ValueError, match="given twice"):
        two_level_design("aa")
    with pytest.raises(ValueError, match="must be a product of base factors"):
        two_level_design("ab", {"c": "ax"})
    with pytest.raises(ValueError, match="at least two replicates"):
        simultaneous_reach(torch.zeros(1, 3))


def test_intervals_hold_together_as_often_as_they_say():
    samples = torch.randn(2_000, 6, 20, generator=torch.Generator().manual_seed(3)).double()
    inside = [(s.mean(0).abs() <= simultaneous_reach(s, 0.8)).all() for s in samples]
    assert 0.78 < sum(map(bool, inside)) / 2_000 < 0.88


def test_a_design_of_many_factors_leaves_no_pair_confounded():
    levels = two_level_design("abcdef", {"g": "abcd", "h": "abef"})
    assert design_resolution(levels) == 5
    assert all((levels[a] * levels[b]).sum() == 0 for a, b in combinations(levels, 2))
