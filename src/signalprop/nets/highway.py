"""Highway networks: each layer decides, unit by unit, how much of its input it carries on."""

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from signalprop.nets.layers import (
    Act,
    Chain,
    Elementwise,
    Normalizer,
    VectorNetwork,
    check_positive,
    finish_,
    linear,
    normalized,
)


class HighwayLayer(nn.Module):
    r"""One layer :math:`y = T(x) \odot H(x) + (1 - T(x)) \odot x`.

    Parameters
    ----------
    transform
        H: a weight layer with its normalizer and activation.
    gate
        The weight layer of the transform gate :math:`T(x) = \mathrm{sigmoid}(W_T x + b_T)`.
    gate_bias
        Where b_T starts. It is a constant added to the gate's own bias, which starts at zero as all biases do, so that
        drawing the weights anew does not undo it.

    Examples
    --------
    >>> layer = HighwayLayer(nn.Sequential(nn.Linear(3, 3)), nn.Linear(3, 3), gate_bias=-100.0)
    >>> x = torch.randn(2, 3)
    >>> bool(torch.allclose(layer(x), x))
    True
    """

    def __init__(self, transform: nn.Module, gate: nn.Module, gate_bias: float) -> None:
        super().__init__()
        self.transform = transform
        self.gate = gate
        self.gate_bias = gate_bias

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """Return the mixture of H(x) and x, shape [..., width]."""
        t = torch.sigmoid(self.gate(x) + self.gate_bias)
        y: Tensor = t * self.transform(x) + (1 - t) * x
        return y

    def extra_repr(self) -> str:
        """Return the bias of the gate."""
        return f"gate_bias={self.gate_bias:g}"


class Highway(VectorNetwork):
    """A fully connected highway network of constant width.

    A first plain layer makes ``width`` units of the inputs, highway layers follow, and a last layer makes the outputs.
    The depth counts layers, and a highway layer as one although it has two weight matrices of the same inputs:
    ``depth = highway layers + 2``.

    Its modules are named ``layer1``, (``norm1``), ``act1``, ``highway2``, …, ``layerL``.

    Parameters
    ----------
    inputs, outputs
        Widths of the two ends.
    depth
        L ≥ 2, the number of layers.
    width
        Units of every hidden layer.
    act
        The activation of H: a registered name or a function ``Tensor -> Tensor`` of single entries.
    normalizer
        From a number of features to the module that normalizes them, as `normalizer` returns; None for none.
    bias
        Whether layers have biases; they start at zero.
    gate_bias
        b_T at the start, in every highway layer: negative, and the input is carried on at first.
    scheme, gain, generator
        How the weights, those of the gates too, are drawn, on the CPU: see `initialize_`. A gain of None is the
        scheme's usual one.
    device, dtype
        Where the network lies in the end, and the type of its numbers (None: torch's default type).

    Raises
    ------
    ValueError
        If the depth is below 2 or another number not positive, if the activation is unknown, or as `initialize_` does.
        When it is called, if the inputs have another width.

    References
    ----------
    R. Srivastava, K. Greff, J. Schmidhuber, *Highway networks*, arXiv:1505.00387, and *Training very deep networks*,
    arXiv:1507.06228.

    Examples
    --------
    >>> from signalprop import stream
    >>> net = Highway(
    ...     8, 3, depth=50, width=16, act="tanh", normalizer=None, bias=True, gate_bias=-3.0, scheme="lecun", gain=1.0,
    ...     generator=stream("doc", "highway"),
    ... )
    >>> net(torch.ones(5, 8)).shape
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
        check_positive(inputs=inputs, outputs=outputs, width=width)
        if depth < 2:
            raise ValueError(f"depth must be at least 2, the layers at the two ends, got {depth}")
        super().__init__(inputs)
        self.append_named(
            layer1=linear(inputs, width, bias=bias, dtype=dtype),
            norm1=normalized(normalizer, width),
            act1=Elementwise(act),
        )
        for number in range(2, depth):
            transform = Chain(
                layer=linear(width, width, bias=bias, dtype=dtype),
                norm=normalized(normalizer, width),
                act=Elementwise(act),
            )
            gate = linear(width, width, bias=bias, dtype=dtype)
            self.add_module(f"highway{number}", HighwayLayer(transform, gate, gate_bias))
        self.add_module(f"layer{depth}", linear(width, outputs, bias=bias, dtype=dtype))
        finish_(self, scheme=scheme, gain=gain, generator=generator, device=device, dtype=dtype)
