import pytest
import torch

from signalprop import stream
from signalprop.measure import nonlinear_share


def normal(*shape):
    return torch.randn(shape, generator=stream("tests", "nonlinearity"), dtype=torch.float64)


def test_linear_maps_have_none():
    x = normal(3, 50, 4)
    assert (nonlinear_share(x, x @ normal(3, 4, 6)) < 1e-25).all()


def test_noise_is_all_of_it():
    both = normal(200, 60, 8)
    assert nonlinear_share(both[..., :4], both[..., 4:]).mean().item() == pytest.approx(1.0, abs=0.03)


def test_as_many_examples_as_inputs_are_too_few():
    with pytest.raises(ValueError, match="4 examples"):
        nonlinear_share(normal(4, 4), normal(4, 2))
