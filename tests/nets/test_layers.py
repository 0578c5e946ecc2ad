from itertools import pairwise

import pytest
import torch
from torch import nn

from signalprop.nets import Elementwise
from signalprop.nets.layers import GlobalAverage, convolution, linear, stages_of, whole_number
from signalprop.theory import ACTIVATIONS


def test_elementwise_takes_any_function():
    assert torch.equal(Elementwise(lambda z: z.square())(torch.tensor([[2.0, -3.0]])), torch.tensor([[4.0, 9.0]]))


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_elementwise_takes_every_registered_name(name, dtype):
    """The values, and through autograd the slopes, are those of the registered activation, in either precision."""
    z = torch.linspace(-3, 3, 13, dtype=dtype).add(0.01).requires_grad_()
    h = Elementwise(name)(z)
    (slopes,) = torch.autograd.grad(h.sum(), z)
    assert h.dtype == dtype
    expected = ACTIVATIONS[name].function(z.detach().double()), ACTIVATIONS[name].slope(z.detach().double())
    torch.testing.assert_close(h.detach(), expected[0].to(dtype), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(slopes, expected[1].to(dtype), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("act", "name"), [("gelu_tanh", "gelu_tanh"), (torch.erf, "erf"), (nn.Softsign(), "Softsign()")]
)
def test_elementwise_has_the_name_of_its_activation(act, name):
    assert Elementwise(act).extra_repr() == name


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="unknown activation 'swish'; known: linear"):
        Elementwise("swish")


def test_the_mean_over_the_map():
    x = torch.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
    expected = torch.tensor([[sum(x[i, c].flatten().tolist()) / 20 for c in range(3)] for i in range(2)])
    torch.testing.assert_close(GlobalAverage()(x), expected)


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize(("stride", "sides"), [(1, (7, 6)), (2, (4, 3))])
def test_convolutions_keep_or_halve_the_map(kernel, stride, sides):
    layer = convolution(2, 4, kernel=kernel, stride=stride, bias=False, dtype=None)
    nn.init.ones_(layer.weight)
    assert layer(torch.zeros(3, 2, 7, 6)).shape == (3, 4, *sides)


def test_layers_are_made_without_a_draw():
    before = torch.get_rng_state()
    linear(3, 4, bias=True, dtype=None)
    convolution(3, 4, kernel=3, stride=1, bias=True, dtype=None)
    assert torch.equal(before, torch.get_rng_state())


def test_every_stage_doubles_the_channels_where_it_halves_the_map():
    plan = list(stages_of(5, stages=4, per_stage=3))
    assert len(plan) == 12
    assert [out for _, out, _ in plan] == [5] * 3 + [10] * 3 + [20] * 3 + [40] * 3
    assert [stride for *_, stride in plan] == [1, 1, 1] + [2, 1, 1] * 3
    assert all(before[1] == after[0] for before, after in pairwise(plan))


def test_a_depth_is_taken_apart_or_refused():
    assert [whole_number(depth, 2, 6, "6n + 2") for depth in (8, 20, 56, 110)] == [1, 3, 9, 18]
    for depth in (-4, 2, 19, 21):
        with pytest.raises(ValueError, match=rf"must be 6n \+ 2 with n ≥ 1 \(8, 14, 20, …\), got {depth}"):
            whole_number(depth, 2, 6, "6n + 2")
