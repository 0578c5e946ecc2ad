"""Deep linear networks: backpropagation written out."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor


def linear_chain_gradients(
    weights: Sequence[Float[Tensor, "_fan_out _fan_in"]], x: Float[Tensor, " inputs"], target: Float[Tensor, " outputs"]
) -> list[Float[Tensor, "_fan_out _fan_in"]]:
    r"""Return the gradients of :math:`F = \tfrac12 \|W_L \cdots W_1 x - t\|^2` for every weight matrix.

    The error :math:`\delta_L = h_L - t` is fed back, :math:`\delta_{l-1} = W_l^\top \delta_l`, and
    :math:`\partial F / \partial W_l = \delta_l h_{l-1}^\top`: the product of all *other* matrices, between error and
    input.

    Parameters
    ----------
    weights
        W_1, …, W_L, each [n_l, n_{l-1}].
    x, target
        Shapes [n_0] and [n_L].

    Examples
    --------
    >>> import torch
    >>> [g.item() for g in linear_chain_gradients([torch.tensor([[2.0]])] * 3, torch.ones(1), torch.ones(1))]
    [28.0, 28.0, 28.0]
    """
    signals = [x]
    for weight in weights:
        signals.append(weight @ signals[-1])
    delta = signals[-1] - target
    gradients = []
    for weight, signal in zip(reversed(weights), reversed(signals[:-1]), strict=True):
        gradients.append(delta.outer(signal))
        delta = weight.T @ delta
    return gradients[::-1]
