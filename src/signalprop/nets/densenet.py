"""DenseNet: each layer of a block sees the outputs of all layers before it, side by side."""

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

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
    whole_number,
)


class DenseLayer(nn.Module):
    """A layer that keeps its input and puts new channels after it: x ↦ [x, F(x)].

    Parameters
    ----------
    new
        F, which makes the new channels.

    Examples
    --------
    >>> DenseLayer(nn.Conv2d(3, 2, 1))(torch.ones(5, 3, 7, 7)).shape
    torch.Size([5, 5, 7, 7])
    """

    def __init__(self, new: nn.Module) -> None:
        super().__init__()
        self.new = new

    def forward(self, x: Float[Tensor, "*batch _in height width"]) -> Float[Tensor, "*batch _out height width"]:
        """Return the channels of `x`, then the new ones."""
        return torch.cat([x, self.new(x)], dim=-3)


class DenseNet(ImageNetwork):
    r"""A densely connected network: ``stages`` blocks of n dense layers, with transitions between them.

    The first convolution, 3×3, has ``width`` channels. A dense layer is normalizer, activation and a 3×3 convolution
    that makes ``growth`` new channels of everything before it in its block, so that n layers have n(n + 1)/2
    connections: layer l reads what came into the block and l − 1 layers. A transition is normalizer, activation, a 1×1
    convolution that keeps the number of channels, and a mean over 2×2 pixels (an odd last row or column is left out).
    Normalizer, activation, the mean over the map and a linear layer end the network. It is the paper's basic network,
    without bottlenecks and compression.

    The depth is the number of weight layers on the longest way through: ``depth = stages · (n + 1) + 1``, with three
    stages 3n + 4.

    Its modules are named ``layer1``, ``dense1``, ``transition1``, ``dense2``, …, (``norm``), ``act``, ``pool``,
    ``layerL``.

    Parameters
    ----------
    channels
        Of the images.
    outputs
        Number of outputs, such as classes.
    depth
        L, the number of weight layers.
    stages
        Number of dense blocks. A side of s pixels becomes ⌊s/2⌋ from block to block.
    width
        Channels of the first convolution.
    growth
        k, the channels that each dense layer adds.
    act
        A registered name or a function ``Tensor -> Tensor`` of single entries.
    normalizer
        From a number of features to the module that normalizes them, as `normalizer` returns; None for none.
    bias
        Whether convolutions have biases; they start at zero. The linear layer has them in any case.
    scheme, gain, generator
        How the weights are drawn, on the CPU: see `initialize_`. A gain of None is the scheme's usual one.
    device, dtype
        Where the network lies in the end, and the type of its numbers (None: torch's default type).

    Attributes
    ----------
    connections
        Number of direct connections inside the dense blocks, stages · n(n + 1)/2.

    Raises
    ------
    ValueError
        If the depth is no such number or another number is not positive, if the activation is unknown, or as
        `initialize_` does. When it is called, if it is not given images with these channels, or if they are too small
        to be halved so often.

    References
    ----------
    G. Huang, Z. Liu, L. van der Maaten, K. Weinberger, *Densely connected convolutional networks*, arXiv:1608.06993.

    Examples
    --------
    >>> from signalprop import stream
    >>> net = DenseNet(
    ...     3, 10, depth=40, stages=3, width=16, growth=12, act="relu", normalizer=nn.BatchNorm2d, bias=False,
    ...     scheme="kaiming", gain=None, generator=stream("doc", "densenet"),
    ... )
    >>> net(torch.ones(2, 3, 14, 14)).shape, net.connections
    (torch.Size([2, 10]), 234)
    """

    def __init__(
        self,
        channels: int,
        outputs: int,
        *,
        depth: int,
        stages: int,
        width: int,
        growth: int,
        act: Act,
        normalizer: Normalizer,
        bias: bool,
        scheme: str,
        gain: float | None,
        generator: Generator,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
    ) -> None:
        check_positive(channels=channels, outputs=outputs, stages=stages, width=width, growth=growth)
        n = whole_number(depth, stages + 1, stages, f"{stages} stages · (n + 1) + 1")
        super().__init__(channels)
        self.stages = stages
        self.connections = stages * n * (n + 1) // 2

        def unit(fan_in: int, fan_out: int, kernel: int) -> Chain:
            layer = convolution(fan_in, fan_out, kernel=kernel, stride=1, bias=bias, dtype=dtype)
            return Chain(norm=normalized(normalizer, fan_in), act=Elementwise(act), layer=layer)

        self.append_named(layer1=convolution(channels, width, kernel=3, stride=1, bias=bias, dtype=dtype))
        size = width
        for stage in range(1, stages + 1):
            dense = {f"layer{place + 1}": DenseLayer(unit(size + place * growth, growth, 3)) for place in range(n)}
            size += n * growth
            self.append_named(**{f"dense{stage}": Chain(**dense)})
            if stage < stages:
                transition = unit(size, size, 1)
                transition.append_named(pool=nn.AvgPool2d(2))
                self.append_named(**{f"transition{stage}": transition})
        self.append_named(norm=normalized(normalizer, size), act=Elementwise(act))
        self.append_classifier(f"layer{depth}", size, outputs, dtype)
        finish_(self, scheme=scheme, gain=gain, generator=generator, device=device, dtype=dtype)

    def forward(self, x: Float[Tensor, "*image"]) -> Float[Tensor, "*batch outputs"]:
        """Return the outputs, [batch, outputs]."""
        smallest = 2 ** (self.stages - 1)
        if min(x.shape[-2:]) < smallest:
            raise ValueError(
                f"images of {x.shape[-2]}×{x.shape[-1]} pixels cannot be halved {self.stages - 1} times; take at least"
                f" {smallest}×{smallest} or fewer stages"
            )
        return super().forward(x)
