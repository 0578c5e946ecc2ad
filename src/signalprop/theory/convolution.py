"""Convolutions with circular padding as matrices: one small block for each spatial frequency."""

from collections.abc import Sequence

import torch
from jaxtyping import Complex128, Float, Float64
from torch import Tensor


def convolution_blocks(
    kernel: Float[Tensor, "out into rows columns"], side: int
) -> Complex128[Tensor, "side side out into"]:
    r"""Return :math:`\hat W(ν) = \sum_a W^{(a)} e^{i ν·a}` at all frequencies of a map of ``side`` × ``side`` pixels.

    A convolution with circular padding and stride 1 multiplies the channels of a pattern of frequency ν by this matrix.
    Offsets a are counted from the corner of the kernel; another origin multiplies each block by a phase. The sign of
    the exponent is that of `torch.nn.Conv2d`, which is a correlation.

    Raises
    ------
    ValueError
        If the kernel is larger than the map.

    Examples
    --------
    >>> kernel = torch.zeros(2, 2, 3, 3)
    >>> kernel[:, :, 1, 1] = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    >>> blocks = convolution_blocks(kernel, 5)
    >>> bool(torch.allclose(blocks @ blocks.mH, torch.eye(2, dtype=blocks.dtype)))
    True
    """
    if max(kernel.shape[2:]) > side:
        raise ValueError(f"the kernel has shape {list(kernel.shape)} and does not fit on a map of side {side}")
    spectrum: Tensor = torch.fft.fft2(kernel.detach().to(torch.float64), s=(side, side)).conj()
    return spectrum.permute(2, 3, 0, 1)


def convolution_singular_values(
    kernels: Sequence[Float[Tensor, "_out _into _rows _columns"]], side: int
) -> Float64[Tensor, " values"]:
    """Return all singular values of a linear network of convolutions, from its first to its last, in falling order.

    All have circular padding and stride 1. The work is one decomposition of a small product for each frequency.

    Raises
    ------
    ValueError
        If there is no kernel, or one is larger than the map.

    Examples
    --------
    >>> kernel = torch.full((1, 1, 3, 3), 1 / 9)
    >>> f"{convolution_singular_values([kernel, kernel], 5)[0]:.4f}"
    '1.0000'
    """
    if not kernels:
        raise ValueError("there is no kernel")
    product = convolution_blocks(kernels[0], side)
    for kernel in kernels[1:]:
        product = convolution_blocks(kernel, side) @ product
    values: Tensor = torch.linalg.svdvals(product).flatten().sort(descending=True).values
    return values
