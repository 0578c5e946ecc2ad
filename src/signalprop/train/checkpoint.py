"""Runs that can be interrupted: all that a run consists of, in one file."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from signalprop.train.order import ShuffledBatches


@dataclass(frozen=True)
class Checkpoint:
    """Where `fit` saves a run, and how often.

    The file holds weights, buffers, the optimizer's state, the place in the order of the examples, the losses so far
    and the states of torch's global generators, from which dropout draws. It takes the place of the one before in one
    step, so that an interruption leaves the old one or the new one, and it is read with ``weights_only=True``, so that
    a file from elsewhere cannot run code.

    Attributes
    ----------
    path
        The file; its folder must exist.
    every
        Steps between two savings; the end of the run is always saved.

    Raises
    ------
    ValueError
        If `every` is below 1. When a run resumes: if the file cannot be read, or is of another network, optimizer or
        batch size; nothing has been changed then.

    Examples
    --------
    >>> import tempfile
    >>> from signalprop import load_data, stream
    >>> from signalprop.train import fit
    >>> data = load_data("digits").standardized().flat()
    >>> def run(steps, path):
    ...     net = nn.Linear(64, 10)
    ...     _ = nn.init.zeros_(net.weight), nn.init.zeros_(net.bias)
    ...     return fit(net, data, torch.optim.SGD(net.parameters(), lr=0.1), steps=steps, batch=32,
    ...                generator=stream("doc", "checkpoint"), checkpoint=Checkpoint(Path(path), every=10))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = run(30, f"{folder}/a.pt")  # stopped here
    ...     bool((run(70, f"{folder}/a.pt").loss == run(70, f"{folder}/b.pt").loss).all())
    True
    """

    path: Path
    every: int

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every must be at least 1 step, got {self.every}")

    def due(self, taken: int, steps: int) -> bool:
        """Return whether to save after so many steps of a run."""
        return taken % self.every == 0 or taken == steps

    def save(
        self, module: nn.Module, optimizer: torch.optim.Optimizer, order: ShuffledBatches, losses: list[float]
    ) -> None:
        """Write the state of a run."""
        state = {
            "module": module.state_dict(),
            "optimizer": optimizer.state_dict(),
            "kind of optimizer": type(optimizer).__name__,
            "order": order.state(),
            "losses": losses,
            "generators": _global_states(module),
        }
        partial = self.path.with_name(f"{self.path.name}.partial")
        try:
            torch.save(state, partial)
            partial.replace(self.path)
        finally:
            partial.unlink(missing_ok=True)

    def resume(self, module: nn.Module, optimizer: torch.optim.Optimizer, order: ShuffledBatches) -> list[float]:
        """Put a run back to where it was saved, and return its losses; if nothing was saved, change nothing."""
        if not self.path.exists():
            return []
        try:
            state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
            saved = {name: _form(state[name]) for name in ("module", "optimizer")}
            kind, batch, losses = state["kind of optimizer"], state["order"]["batch"], list(state["losses"])
        except (OSError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ValueError(
                f"{self.path} is not a checkpoint that can be read ({reason}); delete it to begin the run anew"
            ) from error
        here = type(optimizer).__name__
        for what, there, now in (
            ("network", saved["module"], _form(module.state_dict())),
            ("optimizer", kind, here),
            ("set of trained parameters", _groups(state["optimizer"]), _groups(optimizer.state_dict())),
            ("batch size", batch, order.batch),
        ):
            if there != now:
                raise ValueError(
                    f"{self.path} is the checkpoint of another {what}: {there}, not {now}; "
                    "delete it to begin the run anew, or name another file"
                )
        module.load_state_dict(state["module"])
        optimizer.load_state_dict(state["optimizer"])
        order.resume(state["order"])
        _set_global_states(state["generators"])
        return losses


def _form(state: Mapping[str, Any]) -> dict[str, str]:
    """Return name, type and shape of each tensor."""
    return {name: f"{t.dtype} {list(t.shape)}" for name, t in state.items() if isinstance(t, Tensor)}


def _groups(state: Mapping[str, Any]) -> list[int]:
    """Return how many parameters each group of an optimizer holds."""
    return [len(group["params"]) for group in state["param_groups"]]


def _global_states(module: nn.Module) -> dict[str, Tensor]:
    devices = {str(tensor.device) for tensor in module.parameters() if tensor.device.type == "cuda"}
    return {"cpu": torch.get_rng_state()} | {name: torch.cuda.get_rng_state(name) for name in devices}


def _set_global_states(states: Mapping[str, Tensor]) -> None:
    for name, state in states.items():
        if name == "cpu":
            torch.set_rng_state(state)
        else:
            torch.cuda.set_rng_state(state, name)
