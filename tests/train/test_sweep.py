import pytest
import torch

from signalprop.train import sweep


def test_axes_come_first_in_the_order_given():
    result = sweep(lambda a, b: torch.tensor([a, b, a * b]), b=[1.0, 2.0], a=[3.0, 4.0, 5.0])
    assert result.shape == (2, 3, 3)
    for i, b in enumerate([1.0, 2.0]):
        for j, a in enumerate([3.0, 4.0, 5.0]):
            assert result[i, j].tolist() == [a, b, a * b]


def test_every_point_is_visited_once_in_order():
    seen = []

    def fn(depth, seed):
        seen.append((depth, seed))
        return torch.tensor(0.0)

    sweep(fn, depth=[2, 1], seed=range(2))
    assert seen == [(2, 0), (2, 1), (1, 0), (1, 1)]


@pytest.mark.parametrize("axes", [{}, {"a": []}, {"a": [1], "b": []}])
def test_empty_grid(axes):
    with pytest.raises(ValueError, match="no point"):
        sweep(lambda **_: torch.tensor(0.0), **axes)


def test_results_of_different_shapes():
    with pytest.raises(ValueError, match="one shape"):
        sweep(lambda n: torch.zeros(n), n=[1, 2])
