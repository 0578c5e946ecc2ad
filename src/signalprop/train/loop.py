"""The training loop: mini-batches, one loss, any optimizer of torch."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn import functional

from signalprop.data import Data


@dataclass(frozen=True)
class History:
    """What happened during a run.

    Attributes
    ----------
    loss
        Loss on its mini-batch before each step, shape [steps], float64 on the CPU; finite ones only.
    diverged
        Whether the loss left the finite numbers, which ends the run; or a weight did in the last step.
    """

    loss: Float[Tensor, " steps"]
    diverged: bool


def fit(
    module: nn.Module,
    data: Data,
    optimizer: torch.optim.Optimizer,
    *,
    steps: int,
    batch: int,
    generator: Generator,
    loss_fn: Callable[[Tensor, Tensor], Tensor] = functional.cross_entropy,
) -> History:
    """Train `module` in place on the training part of `data`, and return the losses on the way.

    Parameters
    ----------
    module
        The network, on the device of `data`.
    data
        As from `load_data`.
    optimizer
        Of the parameters to be trained; what it does not hold stays frozen. One whose step needs no closure.
    steps
        Number of steps. Divergence ends the run early and is a result, not an error.
    batch
        Examples a step. The training part is gone through in random order, again and again; a remainder that does not
        fill a batch is left out of that round.
    generator
        Of the order of the examples, on the CPU.
    loss_fn
        Maps outputs and labels to a scalar.

    Raises
    ------
    ValueError
        If a batch is empty or larger than the training part, or the loss is not a scalar.

    Examples
    --------
    >>> from signalprop import load_data, stream
    >>> data = load_data("digits").standardized().flat()
    >>> net = nn.Linear(64, 10)
    >>> _ = nn.init.zeros_(net.weight), nn.init.zeros_(net.bias)
    >>> history = fit(net, data, torch.optim.SGD(net.parameters(), lr=0.1), steps=100, batch=32,
    ...               generator=stream("doc", "fit"))
    >>> f"{history.loss[0]:.3f}", bool(history.loss[-20:].mean() < 1), history.diverged
    ('2.303', True, False)
    """
    if not 1 <= batch <= len(data.train_x):
        raise ValueError(f"batch must lie between 1 and the {len(data.train_x)} training examples, got {batch}")
    losses: list[float] = []
    module.train()
    order = _batches(len(data.train_x), batch, generator)
    for _ in range(steps):
        chosen = next(order).to(data.train_x.device)
        loss = loss_fn(module(data.train_x[chosen]), data.train_y[chosen])
        if loss.numel() != 1:
            raise ValueError(f"loss_fn returned shape {list(loss.shape)}; it must return one number, such as a mean")
        if not loss.isfinite():
            return History(torch.tensor(losses, dtype=torch.float64, device="cpu"), diverged=True)
        losses.append(loss.item())
        module.zero_grad()
        loss.backward()
        optimizer.step()
    diverged = not all(weight.isfinite().all() for weight in module.parameters())
    return History(torch.tensor(losses, dtype=torch.float64, device="cpu"), diverged)


def evaluate(
    module: nn.Module,
    x: Float[Tensor, "examples *shape"],
    y: Tensor,
    loss_fn: Callable[[Tensor, Tensor], Tensor] = functional.cross_entropy,
) -> tuple[float, float]:
    """Return (loss, accuracy) of a classifier on examples `x` with labels `y`, in evaluation mode.

    Examples
    --------
    >>> net = nn.Linear(4, 2)
    >>> _ = nn.init.zeros_(net.weight), nn.init.zeros_(net.bias)
    >>> loss, accuracy = evaluate(net, torch.ones(3, 4), torch.tensor([0, 0, 1]))
    >>> f"{loss:.4f} {accuracy:.4f}"
    '0.6931 0.6667'
    """
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            output = module(x)
            loss = loss_fn(output, y).item()
    finally:
        for part, training in modes.items():
            part.training = training
    return loss, (output.argmax(1) == y).double().mean().item()


def _batches(examples: int, batch: int, generator: Generator) -> Iterator[Tensor]:
    while True:
        shuffled = torch.randperm(examples, generator=generator, device=generator.device)
        yield from shuffled[: examples - examples % batch].view(-1, batch)
