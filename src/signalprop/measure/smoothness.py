"""How far a gradient can be trusted: the loss and its gradient along a step."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.linalg import vector_norm

from signalprop.measure.displacement import LossOfModule, check_finite, displaced, loss_and_gradient


@dataclass(frozen=True)
class Smoothness:
    """What is met along −∇F(w), starting from the weights w; tensors are float64 on the CPU.

    Attributes
    ----------
    loss
        F(w).
    gradient_norm
        ‖∇F(w)‖ over all trained parameters.
    losses
        F(w − η∇F(w)) for each step size η, shape [steps].
    gradient_changes
        ‖∇F(w − η∇F(w)) − ∇F(w)‖, shape [steps].
    effective_beta
        The largest ‖Δ∇F‖/‖Δw‖ among the steps: a lower bound of the Lipschitz constant of the gradient.
    """

    loss: float
    gradient_norm: float
    losses: Float[Tensor, " steps"]
    gradient_changes: Float[Tensor, " steps"]
    effective_beta: float


def smoothness_along_gradient(module: nn.Module, loss_fn: LossOfModule, steps: Sequence[float]) -> Smoothness:
    """Step along the negative gradient, each time from the present weights, and look at the loss and its gradient.

    The three quantities of Santurkar et al. (2018, arXiv:1805.11604, figure 4): range of the loss, change of the
    gradient, and effective β. Parameters that require no gradient stay where they are.

    The module is left as it was, also after an exception: parameters and buffers are put back, no ``.grad`` is touched,
    and random layers draw alike at every step, from a copy of the global generator. Modes are kept: in training mode
    batch normalization uses the batch.

    Parameters
    ----------
    module
        Any module with trained parameters.
    loss_fn
        Maps the module to a scalar loss F, such as ``lambda net: cross_entropy(net(x), y)``.
    steps
        The step sizes η > 0.

    Raises
    ------
    ValueError
        If no step size is given or one is not positive and finite, or too small to move a weight; if the loss is not
        a scalar, is not finite at the present weights, or has no or a zero gradient there. A loss that overflows
        further along is no error: it is inf or NaN in the result.

    Examples
    --------
    >>> layer = nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.constant_(layer.weight, 3.0)
    >>> found = smoothness_along_gradient(layer, lambda net: net.weight.square().sum(), [0.25, 0.5])
    >>> found.losses.tolist(), found.gradient_changes.tolist(), found.effective_beta
    ([2.25, 0.0], [3.0, 6.0], 2.0)
    """
    sizes = torch.tensor([*steps], dtype=torch.float64, device="cpu")
    if len(sizes) == 0 or not (sizes.isfinite() & (sizes > 0)).all():
        raise ValueError(f"steps must be one or more positive finite step sizes, got {[*steps]}")
    with displaced(module, {}):
        loss, gradient = loss_and_gradient(module, loss_fn)
    check_finite(module, loss)
    length = _norm(gradient.values())
    if length == 0:
        raise ValueError("the gradient at the present weights is zero; there is no direction to step along")
    weights = {name: weight.detach().clone() for name, weight in module.named_parameters() if name in gradient}
    losses, changes, ratios = [], [], []
    for step in sizes.tolist():
        with displaced(module, {name: -step * g for name, g in gradient.items()}):
            there = {name: weight.detach() for name, weight in module.named_parameters() if name in gradient}
            distance = _norm(there[name] - weights[name] for name in gradient)
            if distance == 0:
                raise ValueError(f"a step of size {step} is lost in rounding: no weight moves; take a larger one")
            loss_there, gradient_there = loss_and_gradient(module, loss_fn)
        losses.append(loss_there)
        changes.append(_norm(gradient_there[name] - gradient[name] for name in gradient))
        ratios.append(changes[-1] / distance)
    return Smoothness(
        loss=loss,
        gradient_norm=length,
        losses=torch.tensor(losses, dtype=torch.float64, device="cpu"),
        gradient_changes=torch.tensor(changes, dtype=torch.float64, device="cpu"),
        effective_beta=torch.tensor(ratios, dtype=torch.float64, device="cpu").max().item(),
    )


def _norm(tensors: Iterable[Tensor]) -> float:
    """Return the norm of all entries together, without overflow or underflow of the squares."""
    entries = torch.cat([tensor.flatten() for tensor in tensors])
    largest = entries.abs().amax()
    return (largest * vector_norm(entries / largest)).item() if largest else 0.0
