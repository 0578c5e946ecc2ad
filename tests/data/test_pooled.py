import pytest
import torch

from signalprop import load_data
from signalprop.data.pooled import pooled


def test_a_pixel_is_the_mean_of_those_that_it_covers():
    data = load_data("fashion14")
    small = pooled(data, 7)
    expected = data.test_x.reshape(-1, 1, 7, 2, 7, 2).mean((3, 5))
    torch.testing.assert_close(small.test_x, expected)
    assert small.train_x.shape == (8000, 1, 7, 7)
    assert torch.equal(small.train_y, data.train_y)
    assert torch.equal(pooled(data, 14).train_x, data.train_x)


@pytest.mark.parametrize("side", [0, 15])
def test_refuses_a_side_that_is_none(side):
    with pytest.raises(ValueError, match="side must be"):
        pooled(load_data("fashion14"), side)


def test_refuses_flat_data():
    with pytest.raises(ValueError, match="needs images"):
        pooled(load_data("fashion14").flat(), 7)
