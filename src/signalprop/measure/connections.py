"""Which layer of a dense block depends on which layer before it, directly."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from signalprop.nets import DenseLayer


def direct_connections(
    layers: Sequence[DenseLayer], x: Float[Tensor, "1 channels height width"]
) -> Bool[Tensor, "layers layers"]:
    """Return whether what a dense layer adds changes with a source, all its other sources held fixed.

    Source 0 is the block's input, source s the channels that layer s adds. A connection is a block of the layer's
    Jacobian that is not all zero, at this input.

    Parameters
    ----------
    layers
        The layers of a dense block, in order.
    x
        What comes into the block, one example.

    Returns
    -------
    Tensor
        Entry [l − 1, s] for layer l and source s; where s ≥ l there is nothing to read, and it is false.

    Examples
    --------
    >>> layers = [DenseLayer(torch.nn.Conv2d(size, 2, 1)) for size in (3, 5)]
    >>> direct_connections(layers, torch.ones(1, 3, 1, 1))
    tensor([[ True, False],
            [ True,  True]])
    """
    found = torch.zeros(len(layers), len(layers), dtype=torch.bool, device=x.device)
    sources = [x.detach()]
    for row, layer in enumerate(layers):
        read = [source.clone().requires_grad_() for source in sources]
        with torch.enable_grad():
            added = layer.new(torch.cat(read, dim=-3))
            rows = torch.eye(added.numel(), dtype=added.dtype, device=added.device).reshape(-1, *added.shape)
            blocks = torch.autograd.grad(added, read, rows, is_grads_batched=True)
        found[row, : len(read)] = torch.stack([block.bool().any() for block in blocks])
        sources.append(added.detach())
    return found
