"""Orthogonal weights: matrices and convolutions whose nonzero singular values are all the same."""

from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Generator, Tensor, nn

from signalprop.nets.weight_layers import WeightLayer, fans, fill_, weight_shape


def haar(rows: int, columns: int, generator: Generator) -> Float64[Tensor, "rows columns"]:
    r"""Draw a semi-orthogonal matrix from the Haar measure: orthonormal columns, or rows where these are fewer.

    The Q of a Gaussian matrix is uniform only once the signs are made unique, by a positive diagonal of R (F. Mezzadri,
    *How to generate random matrices from the classical compact groups*, 2007).

    Examples
    --------
    >>> from signalprop import stream
    >>> q = haar(3, 5, stream("doc", "haar"))
    >>> bool(torch.dist(q @ q.T, torch.eye(3)) < 1e-14)
    True
    """
    tall = torch.randn(
        max(rows, columns), min(rows, columns), generator=generator, dtype=torch.float64, device=generator.device
    )
    q, r = torch.linalg.qr(tall)
    unique: Tensor = q * r.diagonal().sign()
    return unique if rows >= columns else unique.T


def haar_stack(count: int, side: int, generator: Generator) -> Float64[Tensor, "count side side"]:
    """Draw many square matrices, the same as by calling `haar` again and again, in a fourth of the time.

    Examples
    --------
    >>> from signalprop import stream
    >>> source = stream("doc", "haar")
    >>> one_by_one = torch.stack([haar(3, 3, source) for _ in range(4)])
    >>> bool(torch.dist(haar_stack(4, 3, stream("doc", "haar")), one_by_one) < 1e-12)
    True
    """
    options = {"generator": generator, "dtype": torch.float64, "device": generator.device}
    square = torch.stack([torch.randn(side, side, **options) for _ in range(count)])  # type: ignore[call-overload]
    q, r = torch.linalg.qr(square)
    unique: Tensor = q * r.diagonal(dim1=1, dim2=2).sign()[:, None]
    return unique


def orthogonal_weight(layer: WeightLayer, gain: float, generator: Generator) -> Tensor:
    """Return the gain times a semi-orthogonal matrix [out, fan-in], in the shape of the layer's weights.

    Groups of a convolution are drawn one by one. A convolution of more than one tap is not an isometry with these
    weights: `delta_orthogonal_weight` is.
    """
    groups = 1 if isinstance(layer, nn.Linear) else layer.groups
    shape = weight_shape(layer)
    rows = shape[0] // groups
    return gain * torch.cat([haar(rows, fans(layer)[0], generator) for _ in range(groups)]).reshape(shape)


def delta_orthogonal_weight(layer: nn.Conv1d | nn.Conv2d, gain: float, generator: Generator) -> Tensor:
    """Return a kernel that is the gain times orthonormal columns at its centre and zero elsewhere.

    With circular padding and stride 1 the convolution multiplies every norm by the gain, in any depth.

    Raises
    ------
    ValueError
        If there are fewer channels out than in, which no matrix with orthonormal columns allows, or a side of the
        kernel is even and has no centre.
    """
    shape = weight_shape(layer)
    if layer.out_channels < layer.in_channels:
        raise ValueError(
            f"delta_orthogonal needs at least as many channels out as in, and {layer} shrinks from"
            f" {layer.in_channels} to {layer.out_channels}; use orthogonal there"
        )
    if any(side % 2 == 0 for side in layer.kernel_size):
        raise ValueError(f"delta_orthogonal needs kernels of odd sides, which have a centre; got {layer}")
    weight = torch.zeros(shape, dtype=torch.float64, device=generator.device)
    centre: tuple[slice | int, ...] = (slice(None), slice(None), *(side // 2 for side in layer.kernel_size))
    rows = shape[0] // layer.groups
    weight[centre] = gain * torch.cat([haar(rows, shape[1], generator) for _ in range(layer.groups)])
    return weight


def orthogonal_(network: nn.Module, layers: Sequence[WeightLayer], gain: float, generator: Generator) -> None:
    """Fill every layer with semi-orthogonal weights (`orthogonal_weight`)."""
    fill_({layer: orthogonal_weight(layer, gain, generator) for layer in layers})


def delta_orthogonal_(network: nn.Module, layers: Sequence[WeightLayer], gain: float, generator: Generator) -> None:
    """Fill convolutions with delta-orthogonal kernels, and linear layers with semi-orthogonal weights."""
    fill_(
        {
            layer: orthogonal_weight(layer, gain, generator)
            if isinstance(layer, nn.Linear)
            else delta_orthogonal_weight(layer, gain, generator)
            for layer in layers
        }
    )
