"""Recurrent networks: the vanilla one and the minimalRNN, which has a single gate."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from signalprop.nets.layers import (
    Act,
    Elementwise,
    Normalizer,
    check_positive,
    finish_,
    linear,
    normalized,
)


class VanillaCell(nn.Module):
    r"""One step :math:`h_t = φ(N(W h_{t-1} + V x_t + b))`.

    Examples
    --------
    >>> cell = VanillaCell(nn.Linear(3, 3, bias=False), nn.Linear(2, 3), norm=None, act=Elementwise("tanh"))
    >>> cell(torch.ones(5, 2), torch.zeros(5, 3)).shape
    torch.Size([5, 3])
    """

    def __init__(self, recurrent: nn.Module, read: nn.Module, norm: nn.Module | None, act: nn.Module) -> None:
        super().__init__()
        self.recurrent = recurrent
        self.read = read
        self.norm = norm
        self.act = act

    def forward(self, x: Float[Tensor, "batch _in"], h: Float[Tensor, "batch width"]) -> Float[Tensor, "batch width"]:
        """Return the next state, from the input and the state before."""
        z = self.recurrent(h) + self.read(x)
        state: Tensor = self.act(z if self.norm is None else self.norm(z))
        return state


class MinimalCell(nn.Module):
    r"""One step of the minimalRNN.

    The input is read into :math:`z_t = φ(N(V x_t + b))`; one gate decides, unit by unit, how much of the state stays:

    .. math:: u_t = \mathrm{sigmoid}(U h_{t-1} + U_z z_t + b_u), \qquad h_t = u_t \odot h_{t-1} + (1 - u_t) \odot z_t.

    Examples
    --------
    >>> cell = MinimalCell(
    ...     nn.Linear(3, 3, bias=False), nn.Linear(3, 3), read=nn.Linear(2, 3), norm=None, act=Elementwise("tanh"),
    ...     gate_bias=100.0,
    ... )
    >>> h = torch.rand(5, 3)
    >>> bool(torch.allclose(cell(torch.ones(5, 2), h), h))
    True
    """

    def __init__(
        self,
        recurrent: nn.Module,
        gate: nn.Module,
        read: nn.Module,
        norm: nn.Module | None,
        act: nn.Module,
        gate_bias: float,
    ) -> None:
        super().__init__()
        self.recurrent = recurrent
        self.gate = gate
        self.read = read
        self.norm = norm
        self.act = act
        self.gate_bias = gate_bias

    def forward(self, x: Float[Tensor, "batch _in"], h: Float[Tensor, "batch width"]) -> Float[Tensor, "batch width"]:
        """Return the next state, from the input and the state before."""
        z = self.read(x)
        z = self.act(z if self.norm is None else self.norm(z))
        u = torch.sigmoid(self.recurrent(h) + self.gate(z) + self.gate_bias)
        state: Tensor = u * h + (1 - u) * z
        return state


class RecurrentNetwork(nn.Module):
    """Recurrent layers one above the other, and a linear layer on the last state of the top one.

    Parameters
    ----------
    cells
        One a layer, from below: ``(input, state) -> state``.
    last
        The linear layer.
    inputs, width
        Numbers of inputs at each step and of units of a state.

    Raises
    ------
    ValueError
        When it is called, if the sequences are empty or have another width.
    """

    def __init__(self, cells: Iterable[nn.Module], last: nn.Module, *, inputs: int, width: int) -> None:
        super().__init__()
        self.cells = nn.ModuleList(cells)
        self.last = last
        self.inputs = inputs
        self.width = width

    def forward(self, x: Float[Tensor, "*sequence"]) -> Float[Tensor, "batch outputs"]:
        """Return the outputs after the last step, [batch, outputs]; every state starts at zero."""
        if x.ndim != 3 or x.shape[1] < 1 or x.shape[2] != self.inputs:
            raise ValueError(
                f"{type(self).__name__} takes sequences [batch, steps ≥ 1, {self.inputs}], got shape {list(x.shape)}"
            )
        states = [x.new_zeros(len(x), self.width)] * len(self.cells)
        for step in x.unbind(1):
            signal = step
            for number, cell in enumerate(self.cells):
                states[number] = signal = cell(signal, states[number])
        outputs: Tensor = self.last(states[-1])
        return outputs


class VanillaRNN(RecurrentNetwork):
    r"""A recurrent network without gates, :math:`h_t = φ(N(W h_{t-1} + V x_t + b))`.

    It reads sequences [batch, steps, inputs]; the outputs are a linear function of the last state. Through time a
    signal passes as many layers as there are steps, all with the same weights; ``depth`` is the number of recurrent
    layers on top of each other, each reading the states of the one below.

    Parameters
    ----------
    inputs, outputs
        Numbers of inputs at each step and of outputs.
    depth
        Number of recurrent layers.
    width
        Units of each state.
    act
        φ: a registered name or a function ``Tensor -> Tensor`` of single entries.
    normalizer
        From a number of features to the module N, the same at all steps, as `normalizer` returns; None for none.
    bias
        Whether there are biases; they start at zero.
    scheme, gain, generator
        How the weights W, V and those of the last layer are drawn, on the CPU: see `initialize_`. A gain of
        None is the scheme's usual one.
    device, dtype
        Where the network lies in the end, and the type of its numbers (None: torch's default type).

    Raises
    ------
    ValueError
        If a number is not positive, if the activation is unknown, or as `initialize_` does. When it is called, if it is
        not given such sequences.

    Examples
    --------
    >>> from signalprop import stream
    >>> net = VanillaRNN(
    ...     2, 3, depth=1, width=16, act="tanh", normalizer=None, bias=True, scheme="lecun", gain=1.0,
    ...     generator=stream("doc", "rnn"),
    ... )
    >>> net(torch.ones(5, 100, 2)).shape
    torch.Size([5, 3])
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        depth: int,
        width: int,
        act: Act,
        normalizer: Normalizer,
        bias: bool,
        scheme: str,
        gain: float | None,
        generator: Generator,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
    ) -> None:
        check_positive(inputs=inputs, outputs=outputs, depth=depth, width=width)
        cells = [
            VanillaCell(
                linear(width, width, bias=False, dtype=dtype),
                linear(fan_in, width, bias=bias, dtype=dtype),
                norm=normalized(normalizer, width),
                act=Elementwise(act),
            )
            for fan_in in [inputs] + [width] * (depth - 1)
        ]
        super().__init__(cells, linear(width, outputs, bias=bias, dtype=dtype), inputs=inputs, width=width)
        finish_(self, scheme=scheme, gain=gain, generator=generator, device=device, dtype=dtype)


class MinimalRNN(RecurrentNetwork):
    r"""The minimalRNN: a recurrent network with one gate, see `MinimalCell`.

    It reads sequences [batch, steps, inputs]; the outputs are a linear function of the last state. ``depth`` is the
    number of recurrent layers on top of each other, each reading the states of the one below.

    Parameters
    ----------
    inputs, outputs
        Numbers of inputs at each step and of outputs.
    depth
        Number of recurrent layers.
    width
        Units of each state.
    act
        φ, of the inputs: a registered name or a function ``Tensor -> Tensor`` of single entries.
    normalizer
        From a number of features to the module N, the same at all steps, as `normalizer` returns; None for none.
    bias
        Whether there are biases; they start at zero.
    gate_bias
        b_u at the start: positive, and the state is kept at first. It is a constant that is added to the gate's own
        bias, so that drawing the weights anew does not undo it.
    scheme, gain, generator
        How the weights U, U_z, V and those of the last layer are drawn, on the CPU: see `initialize_`. A gain of
        None is the scheme's usual one.
    device, dtype
        Where the network lies in the end, and the type of its numbers (None: torch's default type).

    Raises
    ------
    ValueError
        If a number is not positive, if the activation is unknown, or as `initialize_` does. When it is called, if it is
        not given such sequences.

    References
    ----------
    M. Chen, *MinimalRNN: toward more interpretable and trainable recurrent neural networks*, arXiv:1711.06788; M. Chen,
    J. Pennington, S. Schoenholz, *Dynamical isometry and a mean field theory of RNNs*, arXiv:1806.05394.

    Examples
    --------
    >>> from signalprop import stream
    >>> net = MinimalRNN(
    ...     2, 3, depth=1, width=16, act="tanh", normalizer=None, bias=True, gate_bias=3.0, scheme="lecun", gain=1.0,
    ...     generator=stream("doc", "minimal"),
    ... )
    >>> net(torch.ones(5, 100, 2)).shape
    torch.Size([5, 3])
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        depth: int,
        width: int,
        act: Act,
        normalizer: Normalizer,
        bias: bool,
        gate_bias: float,
        scheme: str,
        gain: float | None,
        generator: Generator,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
    ) -> None:
        check_positive(inputs=inputs, outputs=outputs, depth=depth, width=width)
        cells = [
            MinimalCell(
                linear(width, width, bias=False, dtype=dtype),
                linear(width, width, bias=bias, dtype=dtype),
                linear(fan_in, width, bias=bias, dtype=dtype),
                norm=normalized(normalizer, width),
                act=Elementwise(act),
                gate_bias=gate_bias,
            )
            for fan_in in [inputs] + [width] * (depth - 1)
        ]
        super().__init__(cells, linear(width, outputs, bias=bias, dtype=dtype), inputs=inputs, width=width)
        finish_(self, scheme=scheme, gain=gain, generator=generator, device=device, dtype=dtype)
