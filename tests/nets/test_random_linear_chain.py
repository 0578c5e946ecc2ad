import pytest
import torch

from signalprop import stream
from signalprop.nets import random_linear_chain


def generators(networks, first=0):
    return [stream("tests", "random_linear_chain", first + r) for r in range(networks)]


def test_shapes_follow_the_widths():
    weights = random_linear_chain([3, 5, 1, 2], 1.0, generators(4))
    assert [tuple(w.shape) for w in weights] == [(4, 5, 3), (4, 1, 5), (4, 2, 1)]


def test_weights_are_float64():
    assert {w.dtype for w in random_linear_chain([3, 5, 2], 1.0, generators(2))} == {torch.float64}


@pytest.mark.parametrize("sigma_w2", [1.0, 0.3])
def test_each_layer_has_variance_sigma_w2_over_fan_in(sigma_w2):
    """Mean and variance of 7,000 and more entries a layer within five standard errors, whatever the base seed."""
    for weight in random_linear_chain([7, 20, 5, 70], sigma_w2, generators(100)):
        z = weight.flatten() / (sigma_w2 / weight.shape[2]) ** 0.5
        assert abs(z.mean()) < 5 / len(z) ** 0.5
        assert abs(z.var() - 1) < 5 * (2 / len(z)) ** 0.5


def test_entries_are_gaussian():
    """Third and fourth moments within five standard errors: E z³ = 0 ± √15, E z⁴ = 3 ± √96."""
    z = random_linear_chain([100, 100], 100.0, generators(1))[0].flatten()
    assert abs(z.pow(3).mean()) < 5 * (15 / len(z)) ** 0.5
    assert abs(z.pow(4).mean() - 3) < 5 * (96 / len(z)) ** 0.5


def test_networks_and_layers_are_uncorrelated():
    first, second = random_linear_chain([50, 50, 50], 50.0, generators(2))
    pairs = [(first[0], first[1]), (first[0], second[0]), (first[1], second[0])]
    assert all(abs((a * b).mean()) < 5 / a.numel() ** 0.5 for a, b in pairs)


def test_same_generators_draw_the_same_weights():
    first, again = (random_linear_chain([3, 5, 2], 1.0, generators(4)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_a_network_does_not_depend_on_those_drawn_with_it():
    together = random_linear_chain([3, 5, 2], 1.0, generators(6))
    alone = random_linear_chain([3, 5, 2], 1.0, generators(1, first=4))
    assert all(torch.equal(a[4], b[0]) for a, b in zip(together, alone, strict=True))


def test_weight_variance_scales_the_same_draw():
    unit, quadruple = (random_linear_chain([3, 5, 2], s, generators(2)) for s in (1.0, 4.0))
    assert all(torch.equal(2 * a, b) for a, b in zip(unit, quadruple, strict=True))


def test_global_generator_is_left_alone():
    before = torch.get_rng_state()
    random_linear_chain([3, 5, 2], 1.0, generators(2))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("widths", [[], [3], [3, 0, 2], [-1, 3]])
def test_widths_must_be_two_or_more_and_positive(widths):
    with pytest.raises(ValueError, match="at least two positive numbers"):
        random_linear_chain(widths, 1.0, generators(1))


def test_without_a_generator_there_is_no_network():
    with pytest.raises(ValueError, match="give one generator for each network"):
        random_linear_chain([3, 3], 1.0, [])


@pytest.mark.parametrize("sigma_w2", [0.0, -1.0])
def test_weight_variance_must_be_positive(sigma_w2):
    with pytest.raises(ValueError, match="sigma_w2 must be positive"):
        random_linear_chain([3, 3], sigma_w2, generators(1))
