"""Weight layers: the modules of a network that hold its weight matrices, their fans, and how weights get into them."""

import math
from collections.abc import Mapping

import torch
from torch import Generator, Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from signalprop.nets.normalizers import is_normalizer

WeightLayer = nn.Linear | nn.Conv1d | nn.Conv2d


def weight_layers(module: nn.Module) -> dict[str, WeightLayer]:
    """Return the linear and convolutional layers of a module by name, in the order of `named_modules`.

    Raises
    ------
    ValueError
        If there is none, or a parameter with two or more axes belongs to another kind of layer. Those of normalizers
        are no weight matrices, whatever their shape.

    Examples
    --------
    >>> list(weight_layers(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 2))))
    ['0', '3']
    """
    layers = {name: layer for name, layer in module.named_modules() if isinstance(layer, WeightLayer)}
    if not layers:
        raise ValueError(f"{type(module).__name__} has no linear or convolutional layer to initialize")
    known = {id(parameter) for layer in layers.values() for parameter in _weight_parameters(layer)}
    known |= {id(p) for part in module.modules() if is_normalizer(part) for p in part.parameters()}
    for name, parameter in module.named_parameters():
        if parameter.ndim > 1 and id(parameter) not in known:
            raise ValueError(
                f"{name} belongs to no linear or convolutional layer, and only those can be initialized; nothing was"
                " drawn"
            )
    return layers


def fans(layer: WeightLayer) -> tuple[int, int]:
    """Return how many inputs one output sums (fan-in), and how many outputs one input reaches (fan-out).

    A convolution counts the taps of its kernel, and of the channels only those in the same group. That is at stride 1
    and away from the border: with stride s and d spatial axes an input reaches fan_out/sᵈ outputs on average.

    Notes
    -----
    `torch.nn.init` takes the fans from the weight's shape alone, so that for a convolution in groups its fan-out is too
    large by their number.

    Examples
    --------
    >>> fans(nn.Linear(5, 7)), fans(nn.Conv2d(6, 9, (3, 1), groups=3))
    ((5, 7), (6, 9))
    """
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    taps = math.prod(layer.kernel_size)
    return layer.in_channels // layer.groups * taps, layer.out_channels // layer.groups * taps


def weight_shape(layer: WeightLayer) -> tuple[int, ...]:
    """Return the shape of the weights, [out, in] or [out, in / groups, taps…].

    Examples
    --------
    >>> weight_shape(nn.Conv1d(6, 9, 5, groups=3))
    (9, 2, 5)
    """
    if isinstance(layer, nn.Linear):
        return layer.out_features, layer.in_features
    return layer.out_channels, layer.in_channels // layer.groups, *layer.kernel_size


def gaussian(layer: WeightLayer, std: float, generator: Generator) -> Tensor:
    """Return independent N(0, std²) weights for a layer, in its dtype, on the device of the generator.

    Examples
    --------
    >>> from signalprop import stream
    >>> gaussian(nn.Linear(5, 7), 0.1, stream("doc", "gaussian")).shape
    torch.Size([7, 5])
    """
    dtype = _weight_parameters(layer)[0].dtype
    return torch.empty(weight_shape(layer), dtype=dtype, device=generator.device).normal_(0, std, generator=generator)


@torch.no_grad()
def fill_(weights: Mapping[WeightLayer, Tensor]) -> None:
    """Set the weights of layers, moved to their device and dtype, and their biases to zero.

    A parametrized weight is set through its parametrization: under weight normalization direction and length are set,
    under spectral normalization the matrix that is to be divided by its norm.

    Examples
    --------
    >>> layer = nn.Linear(2, 3)
    >>> fill_({layer: torch.eye(3, 2)})
    >>> layer.weight.sum().item(), layer.bias.sum().item()
    (2.0, 0.0)
    """
    for layer, weight in weights.items():
        parameter = _weight_parameters(layer)[0]
        weight = weight.to(device=parameter.device, dtype=parameter.dtype)
        if is_parametrized(layer, "weight"):
            layer.weight = weight  # a property there
        else:
            layer.weight.copy_(weight)
        if layer.bias is not None:
            layer.bias.zero_()


def _weight_parameters(layer: WeightLayer) -> list[Tensor]:
    if is_parametrized(layer, "weight"):
        parametrizations = layer.parametrizations
        assert isinstance(parametrizations, nn.ModuleDict)
        return list(parametrizations["weight"].parameters())
    return [layer.weight]
