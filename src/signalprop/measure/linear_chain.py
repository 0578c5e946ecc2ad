"""Forward signals, backward errors and weight gradients of a linear network, by autograd."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class ChainSignals:
    """Squared norms along M linear networks of depth L.

    Attributes
    ----------
    forward
        ‖h_l‖² for l = 0, …, L, shape [M, L + 1].
    backward
        ‖δ_l‖² for l = 0, …, L, δ_l = ∂F/∂h_l, shape [M, L + 1].
    weight
        ‖∂F/∂W_l‖² (Frobenius) for l = 1, …, L, shape [M, L].
    """

    forward: Float[Tensor, "networks levels"]
    backward: Float[Tensor, "networks levels"]
    weight: Float[Tensor, "networks depth"]


def chain_signals(
    weights: Sequence[Float[Tensor, "networks _fan_out _fan_in"]],
    x: Float[Tensor, " inputs"],
    error: Float[Tensor, " outputs"],
) -> ChainSignals:
    """Send `x` through each network and `error` back, and return the squared norms on the way.

    Parameters
    ----------
    weights
        W_1, …, W_L of M networks, as from `random_linear_chain`.
    x
        The input h_0 of every network.
    error
        ∂F/∂h_L, the error at the output of every network: F = ⟨error, h_L⟩.

    Raises
    ------
    ValueError
        If `x` does not fit W_1 or `error` does not fit W_L.
    """
    networks, _, inputs = weights[0].shape
    outputs = weights[-1].shape[1]
    if len(x) != inputs or len(error) != outputs:
        raise ValueError(
            f"x has {len(x)} entries and error {len(error)}; the chain takes {inputs} inputs and has {outputs} outputs"
        )
    layers = [w.detach().requires_grad_() for w in weights]
    signals = [x.expand(networks, inputs).clone().requires_grad_()]
    for layer in layers:
        signals.append(torch.einsum("noi,ni->no", layer, signals[-1]))
    gradients = torch.autograd.grad((signals[-1] * error).sum(), [*signals, *layers])
    backward, weight = gradients[: len(signals)], gradients[len(signals) :]
    return ChainSignals(
        forward=torch.stack([h.detach().square().sum(1) for h in signals], 1),
        backward=torch.stack([delta.square().sum(1) for delta in backward], 1),
        weight=torch.stack([gradient.square().sum((1, 2)) for gradient in weight], 1),
    )


def weight_gradients(
    weights: Sequence[Float[Tensor, "_fan_out _fan_in"]], x: Float[Tensor, " inputs"], target: Float[Tensor, " outputs"]
) -> list[Float[Tensor, "_fan_out _fan_in"]]:
    r"""Return the gradients of :math:`\tfrac12 \|W_L \cdots W_1 x - t\|^2` for every weight matrix, by autograd.

    Parameters
    ----------
    weights
        W_1, …, W_L of one network, each [n_l, n_{l-1}].
    x, target
        Shapes [n_0] and [n_L].

    Examples
    --------
    >>> [g.item() for g in weight_gradients([torch.tensor([[2.0]])] * 3, torch.ones(1), torch.ones(1))]
    [28.0, 28.0, 28.0]
    """
    layers = [w.detach().clone().requires_grad_() for w in weights]
    signal = x
    for layer in layers:
        signal = layer @ signal
    return list(torch.autograd.grad((signal - target).square().sum() / 2, layers))
