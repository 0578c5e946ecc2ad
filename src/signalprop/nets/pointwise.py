"""Activations for loops over preallocated tensors: applied in place, and pulled back into a tensor that is there."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from signalprop.theory import activation

# the overloads that write to a given tensor, looked up once
_tanh_backward = torch.ops.aten.tanh_backward.grad_input
_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
_threshold_backward = torch.ops.aten.threshold_backward.grad_input


@dataclass(frozen=True)
class Pointwise:
    """An activation φ for such a loop.

    Attributes
    ----------
    apply
        z ↦ φ(z), in z's own memory if `from_value`.
    pull_back
        (gradient, kept, out): write gradient · φ′ into `out`, where `kept` is φ(z) if `from_value`, else z.
    from_value
        Whether φ′ follows from φ, so that z need not be kept.
    """

    apply: Callable[[Tensor], Tensor]
    pull_back: Callable[[Tensor, Tensor, Tensor], object]
    from_value: bool


def pointwise(act: str | Callable[[Tensor], Tensor]) -> Pointwise:
    """Return the activation, a registered name or any function ``Tensor -> Tensor`` of single entries.

    Examples
    --------
    >>> tanh, out = pointwise("tanh"), torch.empty(1)
    >>> y = tanh.apply(torch.tensor([0.5]))
    >>> _ = tanh.pull_back(torch.tensor([2.0]), y, out)
    >>> bool(abs(out - 2 / torch.cosh(torch.tensor(0.5)) ** 2) < 1e-6)
    True
    """
    if isinstance(act, str) and act in _FROM_VALUE:
        return _FROM_VALUE[act]
    known = activation(act)
    return Pointwise(known.function, lambda g, z, out: torch.mul(g, known.slope(z), out=out), from_value=False)


_FROM_VALUE = {
    "linear": Pointwise(lambda z: z, lambda g, y, out: out.copy_(g), from_value=True),
    "tanh": Pointwise(torch.tanh_, lambda g, y, out: _tanh_backward(g, y, grad_input=out), from_value=True),
    "relu": Pointwise(torch.relu_, lambda g, y, out: _threshold_backward(g, y, 0, grad_input=out), from_value=True),
    "sigmoid": Pointwise(torch.sigmoid_, lambda g, y, out: _sigmoid_backward(g, y, grad_input=out), from_value=True),
}
