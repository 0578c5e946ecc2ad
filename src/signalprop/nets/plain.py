"""The plain network: layers one after the other, no skip connections."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Generator

from signalprop.nets.layers import Act, Elementwise, Normalizer, VectorNetwork, finish_, linear, normalized
from signalprop.theory.finite_width import check_widths


class MLP(VectorNetwork):
    """A multilayer perceptron, with a normalizer and an activation after every layer but the last.

    Its modules are named ``layer1``, ``norm1``, ``act1``, …, ``layerL``: weight layers are numbered from 1, as in the
    book.

    Parameters
    ----------
    widths
        n_0, …, n_L: inputs, hidden layers, outputs. The depth L is the number of weight matrices.
    act
        The activation: a registered name or a function ``Tensor -> Tensor`` of single entries.
    normalizer
        From a number of features to the module that normalizes them, as `normalizer` returns; None for none.
    bias
        Whether layers have biases; they start at zero.
    scheme, gain, generator
        How the weights are drawn, on the CPU: see `initialize_`. A gain of None is the scheme's usual one.
    device, dtype
        Where the network lies in the end, and the type of its numbers (None: torch's default type).

    Raises
    ------
    ValueError
        If there are fewer than two widths or one is not positive, if the activation is unknown, or as `initialize_`
        does. When it is called, if the inputs are not n_0 wide.

    Examples
    --------
    >>> from signalprop import stream
    >>> net = MLP([8, 16, 16, 3], "tanh", bias=False, scheme="lecun", gain=1.0, generator=stream("doc", "mlp"))
    >>> net(torch.ones(5, 8)).shape
    torch.Size([5, 3])
    """

    def __init__(
        self,
        widths: Sequence[int],
        act: Act,
        *,
        bias: bool,
        scheme: str,
        gain: float | None,
        generator: Generator,
        normalizer: Normalizer = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
    ) -> None:
        check_widths(widths)
        super().__init__(widths[0])
        depth = len(widths) - 1
        for number, (fan_in, fan_out) in enumerate(pairwise(widths), start=1):
            self.add_module(f"layer{number}", linear(fan_in, fan_out, bias=bias, dtype=dtype))
            if number < depth:
                self.append_named(
                    **{f"norm{number}": normalized(normalizer, fan_out), f"act{number}": Elementwise(act)}
                )
        finish_(self, scheme=scheme, gain=gain, generator=generator, device=device, dtype=dtype)
