"""What a network costs: multiply-adds and parameters, counted while it runs."""

import torch
from torch import Tensor, nn

from signalprop.measure.hooks import innermost_calls


def multiply_adds(module: nn.Module, x: Tensor) -> dict[str, int]:
    """Return the multiply-adds of each convolution and linear layer when `module` is called on `x`, by layer.

    Taps that hang over the edge of a map count as full; biases, normalizers, activations and sums do not count. Modes,
    buffers and gradients of the module stay as they are.

    Parameters
    ----------
    module
        Any module; its `torch.nn.Linear`, `Conv1d` and `Conv2d` layers are counted.
    x
        A batch of inputs; the count is for one of them.

    Raises
    ------
    ValueError
        If the batch is empty.

    Examples
    --------
    >>> multiply_adds(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Flatten(), nn.Linear(8 * 16, 10)),
    ...               torch.ones(1, 3, 4, 4))
    {'0': 3456, '2': 1280}
    """
    if len(x) == 0:
        raise ValueError("x is an empty batch; give at least one input")
    counts: dict[str, int] = {}

    def count(name: str, layer: nn.Module, output: Tensor) -> None:
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d):
            counts[name] = output[0].numel() * layer.weight[0].numel()

    modes = {part: part.training for part in module.modules()}
    module.eval()  # so that running statistics do not move
    try:
        with torch.no_grad(), innermost_calls(module, count):
            module(x)
    finally:
        for part, training in modes.items():
            part.training = training
    return counts


def count_parameters(module: nn.Module) -> int:
    """Return the number of parameters, each shared one counted once.

    Examples
    --------
    >>> count_parameters(nn.Linear(3, 2))
    8
    """
    return sum(parameter.numel() for parameter in module.parameters())
