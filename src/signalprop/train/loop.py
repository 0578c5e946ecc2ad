"""The training loop: mini-batches, one loss, any optimizer of torch."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from signalprop.data import Data
from signalprop.train.checkpoint import Checkpoint
from signalprop.train.order import ShuffledBatches


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

    @classmethod
    def of(cls, losses: list[float], module: nn.Module) -> "History":
        """Return the history of a run with these losses, the last of which may not be finite, that left this module."""
        loss = torch.tensor(losses, dtype=torch.float64, device="cpu")
        finite = loss.isfinite()
        lost = not finite.all() or not all(weight.isfinite().all() for weight in module.parameters())
        return cls(loss[finite], lost)


def fit(
    module: nn.Module,
    data: Data,
    optimizer: torch.optim.Optimizer,
    *,
    steps: int,
    batch: int,
    generator: Generator,
    loss_fn: Callable[[Tensor, Tensor], Tensor] = functional.cross_entropy,
    groups: Int[Tensor, " train"] | None = None,
    progress: bool = False,
    checkpoint: Checkpoint | None = None,
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
    groups
        The group of each training example: each batch is then of one group alone, the batches in random order, as when
        ``data.train_y`` is given and the batches are of one class. None for batches of any examples.
    progress
        Whether to show a bar, on the standard error stream.
    checkpoint
        Where to save the run, and how often. If the file exists, the run goes on from it, bitwise as if it had never
        stopped (on the same machine, with the same arguments; a larger number of steps prolongs it).

    Raises
    ------
    ValueError
        If a batch is empty or larger than the training part, the loss is not a scalar, or the checkpoint is of another
        network, optimizer or batch size.

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
    order = ShuffledBatches(len(data.train_x), batch, generator, groups)
    losses = checkpoint.resume(module, optimizer, order) if checkpoint else []
    module.train()
    done = len(losses)
    for step in tqdm(range(done, steps), initial=done, total=steps, unit="step", disable=not progress):
        chosen = order.next().to(data.train_x.device)
        loss = one_number(loss_fn(module(data.train_x[chosen]), data.train_y[chosen]))
        losses.append(loss.item())
        if not loss.isfinite():
            break
        module.zero_grad()
        loss.backward()
        optimizer.step()
        if checkpoint and checkpoint.due(step + 1, steps):
            checkpoint.save(module, optimizer, order, losses)
    return History.of(losses, module)


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


def one_number(loss: Tensor) -> Float[Tensor, ""]:
    """Return the loss with shape []; raise a `ValueError` if it is not one number."""
    if loss.numel() != 1:
        raise ValueError(f"loss_fn returned shape {list(loss.shape)}; it must return one number, such as a mean")
    return loss.reshape(())
