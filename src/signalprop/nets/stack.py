"""What deep stacks share: a workspace for the signals of one batch, and a step of SGD within the backward pass."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from signalprop.nets.layers import Act
from signalprop.nets.pointwise import pointwise


class Stack(nn.Module):
    """Equal layers whose weights lie in few tensors, and whose signals lie in one workspace from call to call.

    Attributes
    ----------
    fused_lr
        None, or a learning rate: the backward pass then takes a step of plain SGD itself, layer by layer, needs no
        memory for the gradients of the weights, and leaves their ``.grad`` alone. A number that may change from step
        to step.
    """

    fused_lr: float | None

    def __init__(self, width: int, activation: Act) -> None:
        super().__init__()
        self.width, self.activation, self.fused_lr = width, activation, None
        self.pointwise = pointwise(activation)
        self._kept: dict[str, Sequence[Tensor]] = {}
        self._passes = 0

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies and files hold: all but the workspace and the views of the weights."""
        return self.__dict__ | {"_kept": {}}

    def check_input(self, x: Tensor, weight: Tensor) -> None:
        """Raise a ValueError if these weights cannot be applied to x."""
        if x.ndim != 2 or x.shape[1] != self.width:
            raise ValueError(f"{type(self).__name__} takes inputs of shape [batch, {self.width}], got {list(x.shape)}")
        if (x.device, x.dtype) != (weight.device, weight.dtype):
            raise ValueError(
                f"x is {x.dtype} on {x.device} and the weights are {weight.dtype} on {weight.device}; use .to()"
            )

    def records(self, x: Tensor) -> bool:
        """Return whether a call with this input is to be followed by a backward pass."""
        return torch.is_grad_enabled() and (x.requires_grad or any(p.requires_grad for p in self.parameters()))

    def tensors(self, name: str, count: int, x: Tensor) -> Sequence[Tensor]:
        """Return so many tensors shaped as x, in the memory they had in the last pass with such an input."""
        kept = self._kept.get(name)
        if kept is None or (kept[0].shape, kept[0].device, kept[0].dtype) != (x.shape, x.device, x.dtype):
            self._kept.pop(name, None)  # before the new one is there
            kept = self._kept[name] = torch.empty(count, *x.shape, device=x.device, dtype=x.dtype).unbind()
        return kept

    def layers(self, weights: Tensor, name: str) -> Sequence[Tensor]:
        """Return the weights [L, …] of this name layer by layer, in their own memory; making views takes time."""
        kept = self._kept.get(name)
        if kept is None or kept[0].data_ptr() != weights.data_ptr():
            kept = self._kept[name] = weights.detach().unbind()
        return kept

    def begin_pass(self) -> int:
        """Return the number of the forward pass that now takes the workspace."""
        self._passes += 1
        return self._passes

    def check_pass(self, number: int) -> None:
        """Raise a RuntimeError if the workspace is no longer that of this forward pass."""
        if number != self._passes:
            raise RuntimeError(
                f"{type(self).__name__} keeps the signals of one forward pass, and another has come since; call "
                "backward before the next forward pass, or make that one under torch.no_grad()"
            )
