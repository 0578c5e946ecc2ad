"""What every measurement asks of a module, its input and its loss before it believes the numbers."""

from collections.abc import Iterable, Iterator

from torch import Tensor, nn


def check_module(module: nn.Module, x: Tensor) -> None:
    """Raise a `ValueError` that names the first parameter or buffer on another device than `x`, or not finite.

    Examples
    --------
    >>> import torch
    >>> layer = nn.Linear(2, 2)
    >>> _ = nn.init.constant_(layer.bias, torch.nan)
    >>> check_module(layer, torch.ones(1, 2))
    Traceback (most recent call last):
    ValueError: bias of Linear holds NaN or infinity; nothing can be measured through it
    """
    check_examples(x)
    for name, tensor in _tensors(module):
        if tensor.device != x.device:
            raise ValueError(f"{name} is on {tensor.device} and x on {x.device}; move one of them with .to()")
    check_tensors(module)
    if not x.isfinite().all():
        raise ValueError("x holds NaN or infinity; nothing can be measured on it")


def check_tensors(module: nn.Module) -> None:
    """Raise a `ValueError` that names the first parameter or buffer that is not finite."""
    for name, tensor in _tensors(module):
        if not tensor.isfinite().all():
            raise ValueError(f"{name} holds NaN or infinity; nothing can be measured through it")


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        yield f"{name} of {type(module).__name__}", tensor


def check_examples(x: Tensor) -> None:
    """Raise a `ValueError` if `x` is empty."""
    if x.numel() == 0:
        raise ValueError(f"x has shape {list(x.shape)}: there is no example in it")


def trained_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that are not frozen, by name; raise a `ValueError` if there are none."""
    found = {name: weight for name, weight in module.named_parameters() if weight.requires_grad}
    if not found:
        raise ValueError(f"{type(module).__name__} has no parameter that requires a gradient")
    return found


def check_loss(loss: object) -> Tensor:
    """Return the loss with shape []; raise a `ValueError` if it is not a tensor with one floating-point number.

    Examples
    --------
    >>> check_loss(3.0)
    Traceback (most recent call last):
    ValueError: loss_fn returned a float; it must return a tensor with one number, without .item()
    """
    if not isinstance(loss, Tensor):
        raise ValueError(
            f"loss_fn returned a {type(loss).__name__}; it must return a tensor with one number, without .item()"
        )
    if loss.numel() != 1:
        raise ValueError(f"loss_fn returned shape {list(loss.shape)}; it must return one number, such as a mean")
    if not loss.is_floating_point():
        raise ValueError(f"loss_fn returned {loss.dtype}; it must return a floating-point number")
    return loss.reshape(())


def first_tensor(output: object) -> Tensor | None:
    """Return the first floating-point tensor in nested tuples, lists and dictionaries, or None.

    Examples
    --------
    >>> import torch
    >>> first_tensor((torch.ones(2), torch.zeros(3)))
    tensor([1., 1.])
    """
    if isinstance(output, Tensor):
        return output if output.is_floating_point() else None
    parts: Iterable[object] = ()
    if isinstance(output, dict):
        parts = output.values()
    elif isinstance(output, tuple | list):
        parts = output
    return next((found for part in parts if (found := first_tensor(part)) is not None), None)
