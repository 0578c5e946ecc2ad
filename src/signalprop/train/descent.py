"""Plain gradient descent on a small loss, from many starts at once."""

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
        Where it stopped, shape [starts, ...] as the starts.
    steps
        Steps taken until then, shape [starts]: until it arrived or diverged, else the whole budget.
    arrived
        Whether the stopping rule was met, shape [starts].
    diverged
        Whether it left the finite numbers, shape [starts]; its position is then the last finite one.
    path
        All positions up to the last step of the last start, shape [steps.max() + 1, starts, ...], if asked for; a start
        that stopped stays where it was.
    """

    position: Float[Tensor, "starts *shape"]
    steps: Int[Tensor, " starts"]
    arrived: Bool[Tensor, " starts"]
    diverged: Bool[Tensor, " starts"]
    path: Float[Tensor, "time starts *shape"] | None = None


def gradient_descent(
    loss: Callable[[Tensor], Tensor],
    start: Float[Tensor, "starts *shape"],
    lr: float | Float[Tensor, " starts"] | Float[Tensor, "starts *shape"],
    steps: int,
    until: Callable[[Tensor], Tensor] | None = None,
    keep_path: bool = False,
) -> Descent:
    """Descend from each start on its own, with the gradient that autograd finds.

    Parameters
    ----------
    loss
        Maps weights [n, ...] to losses [n], each from its own weights only. It is asked about those starts alone that
        are still on their way.
    start
        One start a row, shape [starts, ...]; float64 for anything that is counted.
    lr
        Step size: one for all, one a start, or one a weight, of the shape of `start`.
    steps
        Budget of steps.
    until
        Stopping rule: weights [n, ...] to booleans [n], asked before each step. Without it no start arrives.
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
    position = start.detach().clone()
    taken = torch.zeros(len(start), dtype=torch.int64, device=start.device)
    arrived, diverged = torch.zeros_like(taken, dtype=torch.bool), torch.zeros_like(taken, dtype=torch.bool)
    rate = torch.as_tensor(lr, dtype=start.dtype, device=start.device)
    if rate.shape != start.shape:
        rate = rate.expand(len(start)).view(-1, *[1] * (start.ndim - 1))
    path = [position.clone()]

    moving = torch.arange(len(start), device=start.device)
    w = position.clone()
    for step in range(steps + 1):
        if until is not None and (there := until(w)).any():
            arrived[moving[there]] = True
            moving, w = moving[~there], w[~there]
        if step == steps or not len(moving):
            break
        leaf = w.clone().requires_grad_()
        (slope,) = torch.autograd.grad(loss(leaf).sum(), leaf)
        proposed = w - rate[moving] * slope
        taken[moving] += 1
        if (lost := ~proposed.flatten(1).isfinite().all(1) if w.ndim > 1 else ~proposed.isfinite()).any():
            diverged[moving[lost]] = True
            moving, proposed = moving[~lost], proposed[~lost]
        w = position[moving] = proposed
        if keep_path:
            path.append(position.clone())
    return Descent(position, taken, arrived, diverged, torch.stack(path) if keep_path else None)
