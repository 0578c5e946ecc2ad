"""Looks-linear initialization: a rectifier network that starts as a linear one."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from signalprop.nets.orthogonal import haar
from signalprop.nets.residual_schemes import has_residual_blocks
from signalprop.nets.weight_layers import WeightLayer, fill_, weight_shape


class ConcatenatedReLU(nn.Module):
    """The positive and the negative part of every entry, one after the other along the features: twice as many.

    Examples
    --------
    >>> ConcatenatedReLU()(torch.tensor([[3.0, -2.0]]))
    tensor([[3., 0., 0., 2.]])
    """

    def forward(self, z: Float[Tensor, "batch features *positions"]) -> Float[Tensor, "batch features2 *positions"]:
        """Return φ(z) and φ(−z), shape [batch, 2 · features, …]."""
        return torch.cat([torch.relu(z), torch.relu(-z)], dim=1)


def looks_linear_(network: nn.Module, layers: Sequence[WeightLayer], gain: float, generator: Generator) -> None:
    r"""Fill a plain rectifier network with mirrored weights, so that it computes a product of semi-orthogonal matrices.

    The paper's network has `ConcatenatedReLU` activations, so that a layer after one of them sees φ(z) and φ(−z); its
    weights are :math:`(V, -V)`, and :math:`Vφ(z) - Vφ(-z) = Vz`. Where a network has no such activation, its ReLUs are
    the ordinary ones and hidden layers mirror their rows too, :math:`\begin{pmatrix} V & -V \\ -V & V \end{pmatrix}`:
    half of the units are the positive parts and the other half the negative ones, and the function is the same (though
    it has more freedom once it trains). V is the gain times a semi-orthogonal matrix, of all taps in a convolution.

    Layers must follow each other as they do in the module, with rectifiers between them and nothing that is not linear
    besides (average pooling and flattening are). That is not checked, only the shapes are.

    Raises
    ------
    ValueError
        If there are residual blocks, convolutions in groups, an odd number of hidden units of ordinary ReLUs, or a
        layer that does not take twice (with ordinary ReLUs: once) the units of the one before, or a multiple of that
        after flattening.

    References
    ----------
    D. Balduzzi, M. Frean, L. Leary, J. Lewis, K. Ma, B. McWilliams, *The shattered gradients problem*,
    arXiv:1702.08591.
    """
    if has_residual_blocks(network):
        raise ValueError("looks_linear is for plain networks, and this one has residual blocks")
    concatenated = any(isinstance(part, ConcatenatedReLU) for part in network.modules())
    for layer in layers:
        if not isinstance(layer, nn.Linear) and layer.groups > 1:
            raise ValueError(f"looks_linear has no mirrored weights for convolutions in groups such as {layer}")
    for before, layer in pairwise(layers):
        units, inputs = weight_shape(before)[0], weight_shape(layer)[1]
        expected = 2 * units if concatenated else units
        if inputs % expected:
            raise ValueError(
                f"looks_linear needs layers that follow each other: after {before}, {layer} should take {expected}"
                f" features (or a multiple, flattened), and takes {inputs}"
            )
        if not concatenated and units % 2:
            raise ValueError(
                f"looks_linear mirrors the units of ordinary ReLUs in pairs, and {before} has {units}; make it even, or"
                " use ConcatenatedReLU"
            )
    weights = {}
    for number, layer in enumerate(layers):
        columns_mirrored = number > 0
        rows_mirrored = not concatenated and number < len(layers) - 1
        rows, columns, *taps = weight_shape(layer)
        rows //= 1 + rows_mirrored
        columns //= 1 + columns_mirrored
        flat = haar(rows, columns * torch.Size(taps).numel(), generator)
        weight = gain * flat.reshape(rows, columns, *taps)
        if columns_mirrored:
            weight = torch.cat([weight, -weight], dim=1)
        if rows_mirrored:
            weight = torch.cat([weight, -weight], dim=0)
        weights[layer] = weight
    fill_(weights)
