import math

import pytest
import torch

from signalprop import stream
from signalprop.theory import branch_strengths, branch_variance, second_moment, slope_second_moment


@pytest.mark.parametrize(("act", "share"), [("linear", 1.0), ("relu", 0.5)])
def test_without_a_scale_all_branches_are_alike(act, share):
    strengths = branch_strengths(act, 7, 0.3, q0=5.0)
    assert torch.allclose(strengths, torch.full((7,), 0.3 * share, dtype=torch.float64), rtol=1e-12)


def test_tanh_branches_get_weaker_as_the_trunk_grows():
    strengths = branch_strengths("tanh", 30, 0.1)
    assert (strengths.diff() < 0).all()
    assert strengths[0] == pytest.approx(0.1 * slope_second_moment("tanh", 1.0).item(), rel=1e-12)
    trunk = 1 + 0.1 * second_moment("tanh", 1.0).item()
    assert strengths[1] == pytest.approx(0.1 * slope_second_moment("tanh", trunk).item(), rel=1e-12)


@pytest.mark.parametrize("act", ["linear", "relu", "tanh", "gelu"])
@pytest.mark.parametrize("c", [0.05, 1.0, 4.0])
def test_variance_gives_the_strength_asked_for(act, c):
    variance = branch_variance(act, 20, c, q0=0.7)
    assert branch_strengths(act, 20, variance, q0=0.7).sum().item() == pytest.approx(c, rel=1e-10)


def test_strength_is_that_of_a_random_branch():
    n, act, q = 400, torch.tanh, 2.0
    generator = stream("test", "branch strengths")
    values = []
    for _ in range(30):
        first, second = torch.randn(2, n, n, generator=generator, dtype=torch.float64) / math.sqrt(n)
        x = torch.randn(n, generator=generator, dtype=torch.float64)
        z = first @ (x * math.sqrt(q * n) / x.norm())
        branch = second @ ((1 - act(z) ** 2)[:, None] * first)
        values.append(0.4 * branch.square().sum() / n)
    values = torch.stack(values)
    expected = branch_strengths("tanh", 1, 0.4, q)[0]
    assert abs(values.mean() - expected) < 6.5 * values.std() / 30**0.5


@pytest.mark.parametrize("arguments", [(0, 1.0, 1.0), (3, 0.0, 1.0), (3, 1.0, -1.0), (3, math.inf, 1.0)])
def test_bad_numbers_are_refused(arguments):
    with pytest.raises(ValueError, match="must be"):
        branch_strengths("relu", *arguments)


def test_strength_of_zero_is_refused():
    with pytest.raises(ValueError, match="c must be positive"):
        branch_variance("relu", 3, 0.0)
