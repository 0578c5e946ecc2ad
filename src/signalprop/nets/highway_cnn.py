"""The convolutional highway network: gates that are convolutions, by the layout of the plain network."""

import torch
from torch import Generator

from signalprop.nets.highway import HighwayLayer
from signalprop.nets.layers import (
    Act,
    Chain,
    Elementwise,
    ImageNetwork,
    Normalizer,
    check_positive,
    convolution,
    finish_,
    normalized,
    stages_of,
    whole_number,
)


class HighwayCNN(ImageNetwork):
    """`PlainCNN` with a gate beside every convolution that keeps the shape of its map.

    The first convolution has ``width`` channels; then come ``stages`` stages of 2n layers each. The first layer of
    every stage but the first has stride 2 and twice the channels; it cannot carry its input and is a plain layer:
    convolution, normalizer, activation. The others are highway layers (see `HighwayLayer`) whose transform is such a
    plain layer and whose gate is a 3×3 convolution. As in `PlainCNN`, ``depth = 2 · stages · n + 2``; a highway layer
    counts as one although it has two convolutions of the same inputs.

    Its modules are named ``layer1``, (``norm1``), ``act1``, ``highway2``, …, ``down…``, ``pool``, ``layerL``.

    Parameters
    ----------
    channels
        Of the images.
    outputs
        Number of outputs, such as classes.
    depth
        L, the number of layers.
    stages
        How many sizes of the map there are. A side of s pixels becomes ⌈s/2⌉ from stage to stage.
    width
        Channels of the first stage.
    act
        A registered name or a function ``Tensor -> Tensor`` of single entries.
    normalizer
        From a number of features to the module that normalizes them, as `normalizer` returns; None for none.
    bias
        Whether convolutions have biases; they start at zero. The linear layer has them in any case.
    gate_bias
        A constant added to what enters every gate, as in `Highway`.
    scheme, gain, generator
        How the weights, those of the gates too, are drawn, on the CPU: see `initialize_`.
    device, dtype
        Where the network lies in the end, and the type of its numbers (None: torch's default type).

    Raises
    ------
    ValueError
        If the depth is no such number or another number is not positive, if the activation is unknown, or as
        `initialize_` does. When it is called, if it is not given images with these channels.

    References
    ----------
    R. Srivastava, K. Greff, J. Schmidhuber, *Training very deep networks*, arXiv:1507.06228.

    Examples
    --------
    >>> from signalprop import stream
    >>> net = HighwayCNN(
    ...     1, 10, depth=14, stages=3, width=4, act="relu", normalizer=None, bias=True, gate_bias=-2.0,
    ...     scheme="kaiming", gain=None, generator=stream("doc", "highway cnn"),
    ... )
    >>> net(torch.ones(5, 1, 14, 14)).shape
    torch.Size([5, 10])
    """

    def __init__(
        self,
        channels: int,
        outputs: int,
        *,
        depth: int,
        stages: int,
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
        check_positive(channels=channels, outputs=outputs, stages=stages, width=width)
        blocks = whole_number(depth, 2, 2 * stages, f"2 · {stages} stages · n + 2")
        super().__init__(channels)
        self.append_named(
            layer1=convolution(channels, width, kernel=3, stride=1, bias=bias, dtype=dtype),
            norm1=normalized(normalizer, width),
            act1=Elementwise(act),
        )
        for number, (fan_in, fan_out, stride) in enumerate(stages_of(width, stages, 2 * blocks), start=2):
            plain = Chain(
                layer=convolution(fan_in, fan_out, kernel=3, stride=stride, bias=bias, dtype=dtype),
                norm=normalized(normalizer, fan_out),
                act=Elementwise(act),
            )
            if stride > 1:
                self.add_module(f"down{number}", plain)
                continue
            # the gate keeps its bias: it is what learns to open or to close
            gate = convolution(fan_in, fan_out, kernel=3, stride=1, bias=True, dtype=dtype)
            self.add_module(f"highway{number}", HighwayLayer(plain, gate, gate_bias))
        self.append_classifier(f"layer{depth}", fan_out, outputs, dtype)
        finish_(self, scheme=scheme, gain=gain, generator=generator, device=device, dtype=dtype)
