"""Plain gradient descent on a scalar weight, from many starts at once."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Descent:
    """What became of each start.

    Attributes
    ----------
    position
        Where it stopped, shape [starts].
    steps
        Steps taken until then, shape [starts]: until it arrived or diverged, else the whole budget.
    arrived
        Whether the stopping rule was met, shape [starts].
    diverged
        Whether it left the finite numbers, shape [starts]; its position is then the last finite one.
    path
        All positions up to the last step of the last start, shape [steps.max() + 1, starts], if asked for; a start that
        stopped stays where it was.
    """

    position: Float[Tensor, " starts"]
    steps: Int[Tensor, " starts"]
    arrived: Bool[Tensor, " starts"]
    diverged: Bool[Tensor, " starts"]
    path: Float[Tensor, "time starts"] | None = None


def gradient_descent(
    loss: Callable[[Tensor], Tensor],
    start: Float[Tensor, " starts"],
    lr: float | Float[Tensor, " starts"],
    steps: int,
    until: Callable[[Tensor], Tensor] | None = None,
    keep_path: bool = False,
) -> Descent:
    """Descend from each start on its own, with the gradient that autograd finds.

    Parameters
    ----------
    loss
        Maps weights [starts] to losses [starts], each from its own weight only.
    start
        Shape [starts], float64 for anything that is counted.
    lr
        Step size, one for all or one a start.
    steps
        Budget of steps.
    until
        Stopping rule: weights [starts] to booleans [starts], asked before each step. Without it no start arrives.
    keep_path
        Whether to return all positions.

    Raises
    ------
    ValueError
        If `start` is empty or not finite.

    Examples
    --------
    >>> run = gradient_descent(lambda w: w**2, torch.tensor([1.0, 4.0]), lr=0.25, steps=50, until=lambda w: w < 0.3)
    >>> run.steps.tolist(), run.position.tolist()
    ([2, 4], [0.25, 0.25])
    """
    if start.numel() == 0 or not start.isfinite().all():
        raise ValueError(f"start must hold at least one finite weight, got {start.tolist()}")
    w = start.detach().clone()
    taken = torch.zeros_like(w, dtype=torch.int64)
    arrived = torch.zeros_like(w, dtype=torch.bool)
    diverged = torch.zeros_like(w, dtype=torch.bool)
    path = [w]
    for _ in range(steps):
        if until is not None:
            arrived = arrived | until(w)
        moving = ~(arrived | diverged)
        if not moving.any():
            break
        leaf = w.clone().requires_grad_()
        (slope,) = torch.autograd.grad(loss(leaf).sum(), leaf)
        proposed = w - lr * slope
        diverged = diverged | (moving & ~proposed.isfinite())
        w = torch.where(moving & ~diverged, proposed, w)
        taken += moving
        if keep_path:
            path.append(w)
    if until is not None:
        arrived = arrived | until(w)
    return Descent(w, taken, arrived, diverged, torch.stack(path) if keep_path else None)
