import math
from itertools import combinations

import pytest
import torch

from signalprop import stream, theory


def test_best_rank_and_chance_by_counting_all_draws():
    n = 7
    for m in range(1, n + 1):
        best = [min(draw) for draw in combinations(range(1, n + 1), m)]
        assert theory.best_rank(n, m) == pytest.approx(sum(best) / len(best))
        for k in range(n + 1):
            hits = sum(rank <= k for rank in best)
            assert theory.chance_of_top(n, k, m) == pytest.approx(hits / len(best))


def test_expected_maximum_of_three_is_known():
    assert theory.expected_maximum(3) == pytest.approx(1.5 / math.sqrt(math.pi), rel=1e-10)
    assert theory.expected_maximum(1) == 0


def test_winners_curse_against_draws():
    true, noise = torch.randn(2, 200_000, 5, generator=stream("tests", "curse"), dtype=torch.float64)
    true, noise = 2 * true, 0.7 * noise
    winner = (true + noise).argmax(1, keepdim=True)
    assert theory.winners_curse(5, 2.0, 0.7) == pytest.approx(noise.gather(1, winner).mean().item(), rel=0.02)


def test_refuses_impossible_numbers():
    for call in (
        lambda: theory.best_rank(5, 6),
        lambda: theory.best_rank(5, 0),
        lambda: theory.chance_of_top(5, 6, 2),
        lambda: theory.expected_maximum(0),
        lambda: theory.winners_curse(3, 0.0, 0.0),
        lambda: theory.winners_curse(3, -1.0, 1.0),
    ):
        with pytest.raises(ValueError, match=r"draws|top|deviations"):
            call()
