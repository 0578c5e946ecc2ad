"""Schemes for residual networks without normalization: Fixup, SkipInit, ReZero and branches of size 1/√L.

A residual block is a module with an attribute ``branch``, a `torch.nn.Sequential`; where it also has a parameter
``scale``, that multiplies the branch.
"""

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from signalprop.nets.normalizers import is_normalizer
from signalprop.nets.weight_layers import WeightLayer, fans, fill_, gaussian


def has_residual_blocks(network: nn.Module) -> bool:
    """Return whether a network has residual blocks."""
    return any(_is_block(part) for part in network.modules())


def fixup_(
    network: nn.Module,
    layers: Sequence[WeightLayer],
    gain: float,
    generator: Generator,
    *,
    fan: str = "in",
) -> None:
    r"""Fill a network of L residual blocks so that one step of SGD changes its function by Θ(η), whatever the depth.

    The last layer of every branch and the classifier (the last weight layer of the network) are zero. The other layers
    are He's, those in a branch of m layers times :math:`L^{-1/(2m-2)}`. Scales are one. The scalar biases that the
    paper adds are the network's business. Vectors of biases in the last layers of branches would move the function by
    Θ(ηL) together: build the network without.

    Parameters
    ----------
    network, layers, gain, generator
        As in `initialize_`.
    fan
        ``"in"`` or ``"out"``, what He's variance gain²/fan counts. The paper asks for a standard method such as He's;
        its code counts the outputs.

    Raises
    ------
    ValueError
        If there are no residual blocks, a branch has a normalizer or no layer, or the fan is another.

    References
    ----------
    H. Zhang, Y. Dauphin, T. Ma, *Fixup initialization*, arXiv:1901.09321, and github.com/hongyi-zhang/Fixup.
    """
    if fan not in ("in", "out"):
        raise ValueError(f"fan must be 'in' or 'out', got {fan!r}")
    blocks = _blocks(network)
    weights = _he(layers, gain, generator, fan)
    for block in blocks:
        _refuse_normalizer(block, "fixup")
        *inner, last = _branch_layers(block)
        for layer in inner:
            weights[layer] *= len(blocks) ** (-1 / (2 * len(inner)))  # 2m − 2 = 2(m − 1)
        weights[last].zero_()
    weights[layers[-1]].zero_()
    fill_(weights)
    for block in blocks:
        if (scale := _scale(block)) is not None:
            _set_scale(scale, 1.0)


def zero_scale_(network: nn.Module, layers: Sequence[WeightLayer], gain: float, generator: Generator) -> None:
    """Fill all layers with He's weights and set the scale of every branch to zero: each block starts as the identity.

    Raises
    ------
    ValueError
        If there are no residual blocks, or one has no scale.

    References
    ----------
    S. De, S. Smith, *Batch normalization biases residual blocks towards the identity function in deep networks*,
    arXiv:2002.10444 (SkipInit); T. Bachlechner et al., *ReZero is all you need*, arXiv:2003.04887.
    """
    scales = []
    for block in _blocks(network):
        if (scale := _scale(block)) is None:
            raise ValueError(
                f"skipinit and rezero set the scale of each branch to zero, and this {type(block).__name__} has none;"
                " build the network with scales"
            )
        scales.append(scale)
    fill_(_he(layers, gain, generator, "in"))
    for scale in scales:
        _set_scale(scale, 0.0)


def branch_scale_(network: nn.Module, layers: Sequence[WeightLayer], gain: float, generator: Generator) -> None:
    r"""Fill all layers with He's weights and multiply each of the L branches by 1/√L.

    The signal of x + L^{-1/2} F(x) then grows by (1 + c/L)^L → e^c instead of (1 + c)^L. The factor goes into the scale
    where a block has one (the other scales are untouched), else into the weights of the branch's last layer.

    Raises
    ------
    ValueError
        If there are no residual blocks, or a branch has no scale and a normalizer or no layer, so that its weights
        would not set its size.
    """
    blocks = _blocks(network)
    factor = 1 / math.sqrt(len(blocks))
    weights = _he(layers, gain, generator, "in")
    for block in blocks:
        if _scale(block) is None:
            _refuse_normalizer(block, "branch_scale without a scale")
            weights[_branch_layers(block)[-1]] *= factor
    fill_(weights)
    for block in blocks:
        if (scale := _scale(block)) is not None:
            _set_scale(scale, factor)


def _he(layers: Sequence[WeightLayer], gain: float, generator: Generator, fan: str) -> dict[WeightLayer, Tensor]:
    return {layer: gaussian(layer, gain / fans(layer)[fan == "out"] ** 0.5, generator) for layer in layers}


def _is_block(part: nn.Module) -> bool:
    return isinstance(getattr(part, "branch", None), nn.Sequential)


def _blocks(network: nn.Module) -> list[nn.Module]:
    blocks = [part for part in network.modules() if _is_block(part)]
    if not blocks:
        raise ValueError(
            f"{type(network).__name__} has no residual block (a module with a branch), and this scheme scales branches"
        )
    return blocks


def _branch(block: nn.Module) -> nn.Sequential:
    branch = block.branch
    assert isinstance(branch, nn.Sequential)
    return branch


def _branch_layers(block: nn.Module) -> list[WeightLayer]:
    layers = [part for part in _branch(block).modules() if isinstance(part, WeightLayer)]
    if not layers:
        raise ValueError(f"the branch of {type(block).__name__} has no weight layer")
    return layers


def _scale(block: nn.Module) -> nn.Parameter | None:
    scale = getattr(block, "scale", None)
    return scale if isinstance(scale, nn.Parameter) else None


@torch.no_grad()
def _set_scale(scale: nn.Parameter, value: float) -> None:
    scale.fill_(value)


def _refuse_normalizer(block: nn.Module, scheme: str) -> None:
    for name, part in _branch(block).named_modules():
        if is_normalizer(part):
            raise ValueError(
                f"{scheme} sets the size of branches by their weights, and branch.{name}, a {type(part).__name__},"
                " undoes that; build the network without normalizer"
            )
