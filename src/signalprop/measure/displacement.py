"""Look at a loss away from the present weights, and come back."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from signalprop.measure.checks import check_loss, check_tensors, trained_parameters
from signalprop.streams import global_generators_kept

LossOfModule = Callable[[nn.Module], Tensor]


@contextmanager
def displaced(module: nn.Module, displacement: Mapping[str, Tensor]) -> Iterator[None]:
    """Add `displacement` to the parameters of these names as long as the context lasts.

    At its end all parameters and buffers are what they were, bit by bit, also after an exception. Random layers draw
    from a copy of the global generator, so that they draw alike wherever the weights are.

    Raises
    ------
    ValueError
        If a displacement has no parameter of its name that requires a gradient, or is of another shape or device.

    Examples
    --------
    >>> layer = nn.Linear(2, 1, bias=False)
    >>> with displaced(layer, {"weight": torch.full((1, 2), torch.inf)}):
    ...     print(layer.weight.tolist())
    [[inf, inf]]
    >>> bool(layer.weight.isfinite().all())
    True
    """
    trained = trained_parameters(module)
    for name, step in displacement.items():
        if name not in trained:
            raise ValueError(f"{type(module).__name__} has no parameter {name} that requires a gradient")
        weight = trained[name]
        if step.shape != weight.shape or step.device != weight.device:
            raise ValueError(
                f"the displacement of {name} is {list(step.shape)} on {step.device}, and the parameter"
                f" {list(weight.shape)} on {weight.device}"
            )
    owners = [
        (owner, name, buffer) for owner in module.modules() for name, buffer in owner.named_buffers(recurse=False)
    ]
    kept = [(tensor, tensor.detach().clone()) for tensor in (*module.parameters(), *(b for _, _, b in owners))]
    try:
        with global_generators_kept(*(tensor for tensor, _ in kept)):
            with torch.no_grad():
                for name, step in displacement.items():
                    trained[name].add_(step)
            yield
    finally:
        with torch.no_grad():
            for tensor, copy in kept:
                tensor.copy_(copy)
        for owner, name, buffer in owners:  # a layer may have put another tensor in its place
            setattr(owner, name, buffer)


def loss_and_gradient(module: nn.Module, loss_fn: LossOfModule) -> tuple[float, dict[str, Tensor]]:
    """Return the loss at the present weights, and its gradient for every trained parameter by name.

    Raises
    ------
    ValueError
        If nothing is trained, or the loss is not one number or does not depend on any trained parameter.

    Examples
    --------
    >>> layer = nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.constant_(layer.weight, 3.0)
    >>> loss_and_gradient(layer, lambda net: net.weight.square().sum())
    (9.0, {'weight': tensor([[6.]])})
    """
    trained = trained_parameters(module)
    with torch.enable_grad():
        loss = check_loss(loss_fn(module))
        found = torch.autograd.grad(loss, [*trained.values()], allow_unused=True) if loss.requires_grad else [None]
    if all(gradient is None for gradient in found):
        raise ValueError("the loss does not depend on any trained parameter by way of autograd; no detach, no no_grad")
    return loss.item(), {
        name: torch.zeros_like(weight) if gradient is None else gradient
        for (name, weight), gradient in zip(trained.items(), found, strict=True)
    }


def check_finite(module: nn.Module, loss: float) -> None:
    """Raise a `ValueError` that names the tensor to blame if the loss at the present weights is not finite."""
    if not math.isfinite(loss):
        check_tensors(module)
        raise ValueError(f"the loss at the present weights is {loss}; look at what loss_fn computes")
