"""A fully connected network whose every hidden layer is one of several operations: a point of a search space."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from signalprop.nets.initializers import initialize_
from signalprop.nets.layers import check_positive, linear

OPERATIONS = ("linear", "relu", "tanh", "residual")
_GAINS = {"linear": 1.0, "relu": math.sqrt(2), "tanh": 1.0, "residual": math.sqrt(2)}


class OperationMLP(nn.Module):
    r"""A first ReLU layer, hidden layers of one width that each do one operation, and a linear output layer.

    With :math:`z = Wx + b`, an operation is ``linear``: z, ``relu``: max(z, 0), ``tanh``: tanh z, or ``residual``:
    x + max(z, 0). All of them have the same parameters, and the choice is a buffer, not a shape: networks of different
    operations can be trained at once by `fit_many`.

    Parameters
    ----------
    inputs, outputs
        Widths of the two ends.
    operations
        One of the four names for each hidden layer after the first, at least one.
    width
        Units of every hidden layer.
    generator
        Of the weights, drawn on the CPU: Gaussian of variance g²/fan-in, g = √2 where a ReLU follows and 1 elsewhere.
        The Gaussian numbers are the same for all operations. Biases start at zero.
    device
        Where the network lies in the end.

    Raises
    ------
    ValueError
        If there is no operation, one is unknown, or a width is not positive.

    Examples
    --------
    >>> from signalprop import stream
    >>> net = OperationMLP(8, 3, operations=["tanh", "residual"], width=16, generator=stream("doc", "operations"))
    >>> net(torch.ones(5, 8)).shape, sum(p.numel() for p in net.parameters())
    (torch.Size([5, 3]), 739)
    """

    chosen: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        operations: Sequence[str],
        width: int,
        generator: Generator,
        device: torch.device | str = "cpu",
    ) -> None:
        check_positive(inputs=inputs, outputs=outputs, width=width, operations=len(operations))
        if unknown := sorted(set(operations) - set(OPERATIONS)):
            raise ValueError(f"unknown operation {unknown[0]!r}; known: {', '.join(OPERATIONS)}")
        super().__init__()
        self.first = linear(inputs, width, bias=True, dtype=None)
        layers = [linear(width, width, bias=True, dtype=None) for _ in operations]
        self.hidden = nn.ModuleList(layers)
        self.last = linear(width, outputs, bias=True, dtype=None)
        initialize_(self, "lecun", gain=1.0, generator=generator)
        with torch.no_grad():
            self.first.weight *= _GAINS["relu"]
            for layer, operation in zip(layers, operations, strict=True):
                layer.weight *= _GAINS[operation]
        chosen = [[operation == name for name in OPERATIONS] for operation in operations]
        self.register_buffer("chosen", torch.tensor(chosen, device="cpu"))
        self.to(device)

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """Return the outputs, [..., outputs]."""
        x = self.first(x).relu()
        for layer, chosen in zip(self.hidden, self.chosen, strict=True):
            z = layer(x)
            rectified = z.relu()
            x = torch.where(chosen[1], rectified, torch.where(chosen[3], x + rectified, z))
            x = torch.where(chosen[2], z.tanh(), x)
        y: Tensor = self.last(x)
        return y
