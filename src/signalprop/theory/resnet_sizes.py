r"""The sizes of convolutional residual networks: how many layers, how many parameters, what a shortcut costs.

References
----------
K. He, X. Zhang, S. Ren, J. Sun, *Deep residual learning for image recognition*, arXiv:1512.03385, sections 3.3 and 4.2.
"""

from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor


def weight_layers(
    blocks: Int[Tensor, "*networks"], stages: int = 3, branch_layers: int = 2
) -> Int[Tensor, "*networks"]:
    """Return how many layers with weights there are one after the other, with that many blocks a stage.

    Those of the branches, and one at either end: 6n + 2 with the usual three stages and two layers a branch.
    Projections of shortcuts lie beside the way and do not count; normalizers hold no weight matrix and do not either.

    Examples
    --------
    >>> weight_layers(torch.tensor([3, 5, 7, 9, 18, 200]))
    tensor([  20,   32,   44,   56,  110, 1202])
    """
    return stages * branch_layers * blocks + 2


def resnet_parameters(
    blocks: int, *, channels: int, outputs: int, stages: int, width: int, shortcut: str
) -> Int[Tensor, "4"]:
    r"""Return the number of parameters of a convolutional network of 3×3 layers with batch normalization.

    Stage j has :math:`C_j = 2^j w` channels, and 2n layers of :math:`9 C_j^2` weights, the first one of
    :math:`9 C_{j-1} C_j` except in the first stage. A normalizer has 2 parameters a channel.

    Parameters
    ----------
    blocks
        n, of a stage.
    channels, outputs
        Of the images; number of classes.
    stages, width
        Number of stages; channels w of the first.
    shortcut
        ``"A"``: without parameters, as many as the plain network has; ``"B"``: 1×1 convolutions with normalizers
        between the stages.

    Returns
    -------
    Tensor
        Those of convolutions, of normalizers, of the linear layer (with biases), of the shortcuts.

    Raises
    ------
    ValueError
        If there is no such shortcut.

    Examples
    --------
    >>> parts = resnet_parameters(9, channels=3, outputs=10, stages=3, width=16, shortcut="A")
    >>> parts, parts.sum()
    (tensor([848304,   4064,    650,      0]), tensor(853018))
    """
    if shortcut not in ("A", "B"):
        raise ValueError(f"unknown shortcut {shortcut!r}; known: A, B")
    sizes = [width * 2**stage for stage in range(stages)]
    pairs = list(pairwise(sizes))
    square = 9 * sum(2 * blocks * size**2 for size in sizes)
    changes = 9 * sum(old * new - new**2 for old, new in pairs)
    normalizers = 2 * width + sum(2 * 2 * blocks * size for size in sizes)
    projections = sum(old * new + 2 * new for old, new in pairs) if shortcut == "B" else 0
    convolutions = 9 * channels * width + square + changes
    return torch.tensor([convolutions, normalizers, (sizes[-1] + 1) * outputs, projections])


def identity_kernel(channels: int, size: int = 3) -> Float[Tensor, "channels channels size size"]:
    """Return the kernel of the convolution that hands on its input: with it a deeper network contains a shallower one.

    A ReLU after it changes nothing either, since what it gets is the output of a ReLU.

    Examples
    --------
    >>> x = torch.randn(1, 4, 5, 5, dtype=torch.float64)
    >>> bool((torch.nn.functional.conv2d(x, identity_kernel(4), padding=1) == x).all())
    True
    """
    kernel = torch.zeros(channels, channels, size, size, dtype=torch.float64)
    kernel[:, :, size // 2, size // 2] = torch.eye(channels, dtype=torch.float64)
    return kernel


def shortcut_second_moment(shortcut: str, fan_in: int, fan_out: int, sigma_w2: float = 1.0) -> float:
    r"""Return by how much a shortcut that changes the shape multiplies the mean square of the entries.

    - ``"A"`` keeps every kept entry and adds zeros: :math:`C_\mathrm{in} / C_\mathrm{out}` of the kept pixels' mean
      square, exactly. The squared length stays.
    - ``"B"``, a 1×1 convolution of independent weights of variance :math:`σ_w^2 / C_\mathrm{in}`: σ_w², in the mean.

    Raises
    ------
    ValueError
        If there is no such shortcut.

    Examples
    --------
    >>> shortcut_second_moment("A", 16, 32), shortcut_second_moment("B", 16, 32, sigma_w2=2.0)
    (0.5, 2.0)
    """
    if shortcut not in ("A", "B"):
        raise ValueError(f"unknown shortcut {shortcut!r}; known: A, B")
    return fan_in / fan_out if shortcut == "A" else sigma_w2
