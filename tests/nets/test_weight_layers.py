import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from signalprop import stream
from signalprop.nets.normalizers import LayerNorm
from signalprop.nets.weight_layers import fans, fill_, gaussian, weight_layers, weight_shape

LAYERS = [
    nn.Linear(5, 7),
    nn.Conv1d(4, 6, 3),
    nn.Conv2d(4, 10, (3, 5)),
    nn.Conv1d(6, 9, 5, groups=3),
    nn.Conv2d(8, 12, (1, 3), groups=4, bias=False),
]


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_fans_count_the_nonzero_derivatives(layer):
    """One output has fan-in nonzero derivatives, and one input, far from the border, is in fan-out of them."""
    size = () if isinstance(layer, nn.Linear) else (9,) * (layer.weight.ndim - 2)
    x = torch.rand(layer.weight.shape[1] * getattr(layer, "groups", 1), *size)
    y = layer(x)
    jacobian = torch.autograd.functional.jacobian(layer, x, vectorize=True).reshape(*y.shape, *x.shape) != 0
    middle_output, middle_input = ((0, *(side // 2 for side in shape[1:])) for shape in (y.shape, x.shape))
    fan_in = jacobian[middle_output].sum()
    fan_out = jacobian[(..., *middle_input)].sum()
    assert fans(layer) == (fan_in, fan_out)


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_the_shape_is_that_of_torch(layer):
    assert weight_shape(layer) == layer.weight.shape
    assert gaussian(layer, 0.1, stream("tests", "shape")).shape == layer.weight.shape


def test_normalizers_are_no_weight_layers_whatever_their_shape():
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.LayerNorm([4, 6, 6]), LayerNorm([4, 6, 6], eps=0.1, affine=True), nn.Flatten(),
        nn.Linear(144, 2),
    )  # fmt: skip
    assert list(weight_layers(net)) == ["0", "4"]


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.ConvTranspose1d(1, 1, 1)), "1.weight belongs to no linear or convolutional"),
        (nn.Sequential(nn.Linear(2, 2), nn.LSTM(3, 4)), "1.weight_ih_l0 belongs to no"),
        (nn.MultiheadAttention(4, 2), "in_proj_weight belongs to no"),
        (nn.Sequential(nn.Linear(2, 2), nn.Embedding(3, 4)), "1.weight belongs to no"),
        (nn.Tanh(), "Tanh has no linear or convolutional layer"),
    ],
)
def test_other_weight_matrices_are_refused(module, message):
    with pytest.raises(ValueError, match=message):
        weight_layers(module)


@pytest.mark.parametrize("normalize", [None, parametrizations.weight_norm, parametrizations.spectral_norm])
def test_weights_are_set_through_parametrizations(normalize):
    layer = nn.Conv1d(4, 6, 3)
    if normalize is not None:
        normalize(layer)
    weight = gaussian(layer, 1.0, stream("tests", "set"))
    assert list(weight_layers(layer)) == [""]
    fill_({layer: weight})
    if normalize is parametrizations.spectral_norm:
        assert torch.equal(layer.parametrizations["weight"].original, weight)
    else:
        torch.testing.assert_close(layer.weight, weight)
    assert (layer.bias == 0).all()


def test_weights_take_the_type_of_the_layer():
    layer = nn.Linear(3, 2, dtype=torch.float64)
    assert gaussian(layer, 1.0, stream("tests", "type")).dtype == torch.float64
    fill_({layer: torch.full((2, 3), 0.1, dtype=torch.float64)})
    assert (layer.weight == 0.1).all()
