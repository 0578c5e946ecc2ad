import itertools
import math

import pytest
import torch

from signalprop import stream
from signalprop.theory import path_length_law, path_sums, plain_weight, unrolled_trunk


def matrices(blocks, n=4):
    return torch.randn(blocks, n, n, dtype=torch.float64, generator=stream("tests", "paths"))


def test_sums_over_paths_are_those_over_all_subsets():
    branches = matrices(5)
    expected = torch.zeros(6, 4, 4, dtype=torch.float64)
    for taken in itertools.product([False, True], repeat=5):
        product = torch.eye(4, dtype=torch.float64)
        for branch, through in zip(branches, taken, strict=True):
            product = branch @ product if through else product
        expected[sum(taken)] += product
    torch.testing.assert_close(path_sums(branches), expected)


def test_sums_over_paths_make_the_product():
    branches = matrices(7)
    product = torch.eye(4, dtype=torch.float64)
    for branch in branches:
        product = plain_weight(branch) @ product
    torch.testing.assert_close(path_sums(branches).sum(0), product)


def test_no_block_leaves_the_identity():
    assert path_sums(matrices(0)).equal(torch.eye(4, dtype=torch.float64)[None])


@pytest.mark.parametrize(("blocks", "strength"), [(0, 1.0), (6, 0.25), (20, 3.0)])
def test_law_of_lengths_is_binomial(blocks, strength):
    p = strength / (1 + strength)
    expected = [math.comb(blocks, k) * p**k * (1 - p) ** (blocks - k) for k in range(blocks + 1)]
    torch.testing.assert_close(path_length_law(blocks, strength), torch.tensor(expected, dtype=torch.float64))


def test_without_strength_everything_goes_around():  # to rounding: the logarithm of the gamma function
    assert path_length_law(3, 0.0).tolist() == pytest.approx([1.0, 0.0, 0.0, 0.0], abs=1e-14)


def test_very_many_blocks():
    law = path_length_law(100_000, 1e-5)
    assert law.sum().item() == pytest.approx(1, abs=1e-9)
    assert law[2].item() == pytest.approx(math.exp(-1) / 2, abs=1e-5)


@pytest.mark.parametrize(("blocks", "strength"), [(-1, 1.0), (2, -0.1), (2, math.inf)])
def test_numbers_out_of_range(blocks, strength):
    with pytest.raises(ValueError, match="must not be negative"):
        path_length_law(blocks, strength)


def test_trunk_is_a_running_sum():
    added = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert unrolled_trunk(torch.tensor([10.0, 20.0]), added).tolist() == [[10, 20], [11, 22], [14, 26]]
