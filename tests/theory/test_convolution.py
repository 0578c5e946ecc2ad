import pytest
import torch
from torch import nn

from signalprop import stream
from signalprop.theory.convolution import convolution_blocks, convolution_singular_values


def kernel(out, into, size=3, name="kernel"):
    generator = stream("test convolution", name)
    return torch.randn(out, into, size, size, generator=generator, dtype=torch.float64)


def convolution(weight):
    out, into, size, _ = weight.shape
    layer = nn.Conv2d(into, out, size, padding=size // 2, padding_mode="circular", bias=False).double()
    with torch.no_grad():
        layer.weight.copy_(weight)
    return layer


def dense(layers, channels, side):
    """The matrix of a linear network, from the images of all unit vectors."""
    units = torch.eye(channels * side**2, dtype=torch.float64).view(-1, channels, side, side)
    with torch.no_grad():
        for layer in layers:
            units = layer(units)
    return units.flatten(1).T


@pytest.mark.parametrize(("size", "side"), [(1, 3), (3, 3), (3, 4), (3, 5), (5, 6)])
def test_values_are_those_of_the_dense_matrix(size, side):
    weight = kernel(4, 4, size)
    values = torch.linalg.svdvals(dense([convolution(weight)], 4, side))
    assert torch.allclose(convolution_singular_values([weight], side), values, rtol=0, atol=1e-12)


def test_layers_multiply_in_their_order():
    weights = [kernel(5, 3, name="first"), kernel(4, 5, name="second")]
    values = torch.linalg.svdvals(dense([convolution(w) for w in weights], 3, 4))
    assert torch.allclose(convolution_singular_values(weights, 4), values[:48], rtol=0, atol=1e-11)


def test_block_acts_on_a_pattern_of_its_frequency():
    weight, side = kernel(3, 2), 5
    block = convolution_blocks(weight, side)[1, 2]
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    angle = 2 * torch.pi * (rows + 2 * columns).double() / side
    image = torch.tensor([1.0, -0.5])[:, None, None] * torch.exp(1j * angle)
    layer = convolution(weight)
    with torch.no_grad():
        result = layer(image.real[None])[0] + 1j * layer(image.imag[None])[0]
    expected = block @ torch.tensor([1.0, -0.5], dtype=torch.complex128)
    shift = torch.exp(-1j * torch.tensor(2 * torch.pi * 3 / side, dtype=torch.float64))  # corner to centre
    assert torch.allclose(result[:, 0, 0], expected * shift, rtol=0, atol=1e-12)


def test_kernel_larger_than_the_map_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        convolution_blocks(kernel(1, 1), 2)


def test_no_kernel_is_refused():
    with pytest.raises(ValueError, match="no kernel"):
        convolution_singular_values([], 3)
