"""Plain networks: layers one after the other, no skip connections."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Generator, Tensor, nn

from signalprop.nets.initializers import initialize_


class Elementwise(nn.Module):
    """A module that applies an activation, any function ``Tensor -> Tensor``, to every entry.

    Examples
    --------
    >>> import torch
    >>> Elementwise(torch.tanh)
    Elementwise(tanh)
    """

    def __init__(self, act: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.act = act

    def forward(self, z: Tensor) -> Tensor:
        """Return the activation of each entry, shape [...] as `z`."""
        return self.act(z)

    def extra_repr(self) -> str:
        """Return the name of the activation."""
        return getattr(self.act, "__name__", repr(self.act))


class MLP(nn.Sequential):
    """A multilayer perceptron, with an activation after every layer but the last.

    Its modules are named ``layer1``, ``act1``, …, ``layerL``: weight layers are numbered from 1, as in the book.

    Parameters
    ----------
    widths
        n_0, …, n_L: inputs, hidden layers, outputs. The depth L is the number of weight matrices.
    act
        The activation, a function ``Tensor -> Tensor`` of single entries.
    bias
        Whether layers have biases; they start at zero.
    scheme, gain, generator
        How the weights are drawn: see `initialize_`.

    Raises
    ------
    ValueError
        If there are fewer than two widths or one is not positive, or as `initialize_` does.

    Examples
    --------
    >>> import torch
    >>> from signalprop import stream
    >>> net = MLP([8, 16, 16, 3], torch.tanh, bias=False, scheme="lecun", gain=1.0, generator=stream("doc", "mlp"))
    >>> net(torch.ones(5, 8)).shape
    torch.Size([5, 3])
    """

    def __init__(
        self,
        widths: Sequence[int],
        act: Callable[[Tensor], Tensor],
        *,
        bias: bool,
        scheme: str,
        gain: float,
        generator: Generator,
    ) -> None:
        if len(widths) < 2 or min(widths) < 1:
            raise ValueError(f"widths must be at least two positive numbers, n_0, …, n_L; got {list(widths)}")
        super().__init__()
        depth = len(widths) - 1
        for number, (fan_in, fan_out) in enumerate(pairwise(widths), start=1):
            # skip_init: the default initialization would draw from the global generator
            self.add_module(f"layer{number}", nn.utils.skip_init(nn.Linear, fan_in, fan_out, bias=bias))
            if number < depth:
                self.add_module(f"act{number}", Elementwise(act))
        initialize_(self, scheme, gain=gain, generator=generator)
