r"""Connections, parameters and multiply-adds of DenseNet, ResNeXt and ResNet, and the gradient in DenseNet.

References
----------
G. Huang, Z. Liu, L. van der Maaten, K. Weinberger, *Densely connected convolutional networks*, arXiv:1608.06993;
S. Xie, R. Girshick, P. Dollár, Z. Tu, K. He, *Aggregated residual transformations for deep neural networks*,
arXiv:1611.05431; M. Tan, Q. Le, *EfficientNet: rethinking model scaling for convolutional neural networks*,
arXiv:1905.11946. The gradient law of a dense block is derived here.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def dense_connections(layers: int) -> int:
    """Return n(n + 1)/2, the direct connections of a dense block: layer l reads the block's input and l − 1 layers.

    Raises
    ------
    ValueError
        If the number of layers is negative.

    Examples
    --------
    >>> [dense_connections(n) for n in (1, 2, 5, 12)]
    [1, 3, 15, 78]
    """
    _check_not_negative(layers=layers)
    return layers * (layers + 1) // 2


def densenet_parameters(channels: int, outputs: int, *, layers: int, stages: int, width: int, growth: int) -> int:
    r"""Return the parameters of a basic DenseNet with batch normalization and without biases in its convolutions.

    With c channels, a dense layer has :math:`2c + 9ck` (normalizer and 3×3 convolution), a transition
    :math:`2c + c^2`; c begins at `width` and grows by k a layer. The ends add the first convolution, a normalizer and
    the linear layer.

    Parameters
    ----------
    channels, outputs
        Of the images; of the classifier.
    layers
        n, the dense layers of a block.
    stages
        Number of blocks.
    width, growth
        Channels of the first convolution; k.

    Raises
    ------
    ValueError
        If a number is negative.

    Examples
    --------
    >>> densenet_parameters(3, 10, layers=12, stages=3, width=16, growth=12)
    1019722
    """
    _check_not_negative(channels=channels, outputs=outputs, layers=layers, stages=stages, width=width, growth=growth)
    total, c = 9 * channels * width, width
    for stage in range(stages):
        for _ in range(layers):
            total += 2 * c + 9 * c * growth
            c += growth
        if stage < stages - 1:
            total += 2 * c + c * c
    return total + 2 * c + (c + 1) * outputs


def dense_gradient(layers: int, width: int, growth: int) -> Float[Tensor, " {layers}+1"]:
    r"""Return the mean square of the gradient at the block's input and at its layers 1, …, n, over that at its output.

    The block has ReLU and He's variance and no normalizer: a layer hands down k/c of its own mean square to each of the
    c channels that it reads, and the sums telescope to :math:`p_l = (c_0 + nk)/(c_0 + lk)` at infinite width.

    Parameters
    ----------
    layers
        n ≥ 0.
    width
        c_0 ≥ 1, channels of the block's input.
    growth
        k ≥ 0.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> dense_gradient(3, 10, 10).tolist()
    [4.0, 2.0, 1.3333333333333333, 1.0]
    """
    _check_not_negative(layers=layers, growth=growth, width=width - 1)
    channels = width + growth * torch.arange(layers + 1, dtype=torch.float64)
    return channels[-1] / channels


def resnext_branch_parameters(channels: int, cardinality: int, path_width: int) -> int:
    r"""Return :math:`C\,(d c + 9 d^2 + d c)`, the weights of C paths c → d → d → c with a 3×3 convolution inside.

    Parameters
    ----------
    channels
        c, in and out of the branch.
    cardinality, path_width
        C and d.

    Raises
    ------
    ValueError
        If a number is negative.

    Examples
    --------
    >>> resnext_branch_parameters(256, 1, 64), resnext_branch_parameters(256, 32, 4)
    (69632, 70144)
    """
    _check_not_negative(channels=channels, cardinality=cardinality, path_width=path_width)
    return cardinality * (2 * channels * path_width + 9 * path_width**2)


def aggregated_transformation(
    x: Float[Tensor, "batch channels height width"],
    reduce: Float[Tensor, "inner channels 1 1"],
    grouped: Float[Tensor, "inner path 3 3"],
    expand: Float[Tensor, "channels inner 1 1"],
    act: Callable[[Tensor], Tensor],
) -> Float[Tensor, "batch channels height width"]:
    r"""Return :math:`\sum_{i=1}^C T_i(x)`, the split form of a ResNeXt branch: C small networks, one after the other.

    Path i has rows (i − 1)d … id of the first two weights and the same columns of the last.

    Parameters
    ----------
    x
        Images.
    reduce, grouped, expand
        The weights of the 1×1, the grouped 3×3 and the last 1×1 convolution; d is the second size of `grouped`.
    act
        Follows the first two.

    Raises
    ------
    ValueError
        If d does not divide the inner channels.

    Examples
    --------
    >>> ones = torch.ones
    >>> aggregated_transformation(ones(1, 2, 1, 1), ones(6, 2, 1, 1), ones(6, 3, 3, 3), ones(2, 6, 1, 1), torch.relu)
    tensor([[[[36.]],
    <BLANKLINE>
             [[36.]]]])
    """
    inner, size = grouped.shape[:2]
    if inner % size:
        raise ValueError(f"{inner} channels cannot be parted into paths of {size}")
    paths = []
    for start in range(0, inner, size):
        path = slice(start, start + size)
        narrow = act(functional.conv2d(x, reduce[path]))
        narrow = act(functional.conv2d(narrow, grouped[path], padding=1))
        paths.append(functional.conv2d(narrow, expand[:, path]))
    return torch.stack(paths).sum(0)


def residual_multiply_adds(
    channels: int, outputs: int, *, blocks: int, stages: int, width: int, side: int
) -> tuple[int, int]:
    r"""Return the multiply-adds of one image in a `ResNet` with parameter-free shortcuts: of its blocks, and of all.

    A 3×3 convolution from a to b channels onto a map of s × s pixels takes :math:`9 a b s^2` (edges count as full).
    From stage to stage the channels double and the side becomes ⌈s/2⌉. In one stage of N blocks they are
    :math:`18 N w^2 s^2`.

    Parameters
    ----------
    channels, outputs
        Of the images; of the classifier.
    blocks
        Residual blocks of a stage, two convolutions each.
    stages, width
        Number of stages; channels of the first.
    side
        Pixels of a side of the image.

    Raises
    ------
    ValueError
        If a number is negative.

    Examples
    --------
    >>> residual_multiply_adds(3, 10, blocks=3, stages=3, width=16, side=32)
    (40108032, 40551040)
    """
    _check_not_negative(channels=channels, outputs=outputs, blocks=blocks, stages=stages, width=width, side=side)
    total, size, now = 0, side, width
    for stage in range(stages):
        before, now = now, width * 2**stage
        size = size if stage == 0 else -(-size // 2)
        total += 9 * size**2 * (before * now + (2 * blocks - 1) * now**2)
    return total, total + 9 * channels * width * side**2 + now * outputs


def compound_cost(depth: float, width: float, resolution: float) -> float:
    r"""Return :math:`d\,w^2 r^2`: the factor by which a convolutional network's multiply-adds grow.

    Parameters
    ----------
    depth, width, resolution
        Factors of the number of layers, of the channels of each, and of the sides of all maps.

    Raises
    ------
    ValueError
        If a factor is not positive.

    Examples
    --------
    >>> f"{compound_cost(1.2, 1.1, 1.15):.3f}"
    '1.920'
    """
    if not min(depth, width, resolution) > 0:
        raise ValueError(f"factors must be positive, got {depth}, {width} and {resolution}")
    return depth * width**2 * resolution**2


def _check_not_negative(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 0:
            raise ValueError(f"{name} is too small: {number} below 0")
