import math

import pytest
import torch

from signalprop import stream
from signalprop.theory import post_activation_zeros


@pytest.mark.parametrize("alpha", [1.0, 0.3])
def test_against_the_chain_itself(alpha):
    """A million units of the Markov chain."""
    generator = stream("tests", "open skips")
    x = torch.randn(1_000_000, dtype=torch.float64, generator=generator).relu()
    zeros, opened = post_activation_zeros(4, alpha)
    still = torch.ones_like(x, dtype=torch.bool)
    for block in range(1, 5):
        noise = torch.randn(len(x), dtype=torch.float64, generator=generator)
        x = (x + alpha * (2 * x.square().mean()).sqrt() * noise).relu()
        still &= x > 0
        assert (x == 0).double().mean().item() == pytest.approx(zeros[block].item(), abs=0.003)
        assert still.double().mean().item() == pytest.approx(opened[block].item(), abs=0.003)


def test_first_block_in_closed_form():
    """Of a unit that is 0 half are cut, of one that is |u| > 0 half of half: noise and unit have the same law."""
    zeros, opened = post_activation_zeros(1)
    assert zeros.tolist() == pytest.approx([1 / 2, 3 / 8], abs=1e-12)
    assert opened.tolist() == pytest.approx([1, 5 / 8], abs=1e-12)


def test_without_blocks():
    assert [values.tolist() for values in post_activation_zeros(0)] == [[0.5], [1.0]]


@pytest.mark.parametrize(("depth", "alpha"), [(-1, 1.0), (1, 0.001), (1, math.inf)])
def test_numbers_out_of_range(depth, alpha):
    with pytest.raises(ValueError, match="must"):
        post_activation_zeros(depth, alpha)
