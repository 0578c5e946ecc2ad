"""The convolutional residual networks, v1 and v2, with both kinds of shortcut."""

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn import functional

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
from signalprop.nets.residual import ResidualBlock, branch_of, check_block

SHORTCUTS = ("A", "B")


class PaddedShortcut(nn.Module):
    """The shortcut without parameters, type A: every `stride`-th pixel, and zeros for the channels that are new.

    Examples
    --------
    >>> PaddedShortcut(new_channels=3, stride=2)(torch.ones(5, 3, 7, 7)).shape
    torch.Size([5, 6, 4, 4])
    """

    def __init__(self, new_channels: int, stride: int) -> None:
        super().__init__()
        self.new_channels = new_channels
        self.stride = stride

    def forward(self, x: Float[Tensor, "*batch _in _height _width"]) -> Float[Tensor, "*batch _out _rows _columns"]:
        """Return the smaller map with the zeros after the channels of `x`."""
        return functional.pad(x[..., :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels))


class ResNet(ImageNetwork):
    """A convolutional residual network with two 3×3 convolutions a block.

    The first convolution has ``width`` channels; then come ``stages`` stages of n blocks. The first block of every
    stage but the first halves the map, by stride 2 in its first convolution, and doubles the channels. The mean over
    the map and a linear layer end the network. The depth is the number of weight layers on the longest way through, so
    without the projections of shortcuts: ``depth = 2 · stages · n + 2``, with three stages He et al.'s 6n + 2.

    Blocks are those of `ResidualMLP`: ``post_activation`` is v1, ``pre_activation`` is v2, ``two_layer`` is v1 without
    the activation after the sum. As there, normalizer and activation also follow the first convolution in v1, and
    precede the mean over the map in v2. Where the shape changes, the shortcut is

    - ``"A"``: every second pixel, with zeros for the new channels. It has no parameters; He et al. use it on CIFAR-10.
    - ``"B"``: a 1×1 convolution of stride 2 and, except in v2, a normalizer.

    It always starts from x itself. (In the v2 of the paper's authors a projection starts from the normalized and
    activated x.)

    Its modules are named ``layer1``, (``norm1``, ``act1``), ``block1``, …, (``norm``, ``act``), ``pool``, ``layerL``,
    those of a branch ``layer1``, ``layer2`` with ``norm`` and ``act`` of the same number.

    Parameters
    ----------
    channels
        Of the images.
    outputs
        Number of outputs, such as classes.
    depth
        L, the number of weight layers.
    stages
        How many sizes of the map there are. A side of s pixels becomes ⌈s/2⌉ from stage to stage.
    width
        Channels of the first stage.
    block, shortcut
        As above.
    act
        A registered name or a function ``Tensor -> Tensor`` of single entries.
    normalizer
        From a number of features to the module that normalizes them, as `normalizer` returns; None for none.
    bias
        Whether convolutions have biases; they start at zero. The linear layer has them in any case.
    scale
        Where the trainable scalar α of each branch starts; None for α = 1 and no such parameter.
    scheme, gain, generator
        How the weights are drawn, on the CPU: see `initialize_`. A gain of None is the scheme's usual one.
    device, dtype
        Where the network lies in the end, and the type of its numbers (None: torch's default type).

    Raises
    ------
    ValueError
        If the depth is no such number or another number is not positive, if block, shortcut or activation are unknown,
        or as `initialize_` does. When it is called, if it is not given images with these channels.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, *Deep residual learning for image recognition*, arXiv:1512.03385, and *Identity
    mappings in deep residual networks*, arXiv:1603.05027.

    Examples
    --------
    >>> from signalprop import stream
    >>> net = ResNet(
    ...     3, 10, depth=20, stages=3, width=16, block="post_activation", shortcut="A", act="relu",
    ...     normalizer=nn.BatchNorm2d, bias=False, scale=None, scheme="kaiming", gain=None,
    ...     generator=stream("doc", "resnet"),
    ... )
    >>> net(torch.ones(5, 3, 32, 32)).shape, sum(parameter.numel() for parameter in net.parameters())
    (torch.Size([5, 10]), 269722)
    """

    def __init__(
        self,
        channels: int,
        outputs: int,
        *,
        depth: int,
        stages: int,
        width: int,
        block: str,
        shortcut: str,
        act: Act,
        normalizer: Normalizer,
        bias: bool,
        scale: float | None,
        scheme: str,
        gain: float | None,
        generator: Generator,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
    ) -> None:
        check_positive(channels=channels, outputs=outputs, stages=stages, width=width)
        check_block(block)
        blocks = whole_number(depth, 2, 2 * stages, f"2 · {stages} stages · n + 2")
        post, pre = block == "post_activation", block == "pre_activation"
        super().__init__(channels)
        self.append_named(layer1=convolution(channels, width, kernel=3, stride=1, bias=bias, dtype=dtype))
        if post:
            self.append_named(norm1=normalized(normalizer, width), act1=Elementwise(act))
        for number, (fan_in, fan_out, stride) in enumerate(stages_of(width, stages, blocks), start=1):
            layers = [
                convolution(fan_in, fan_out, kernel=3, stride=stride, bias=bias, dtype=dtype),
                convolution(fan_out, fan_out, kernel=3, stride=1, bias=bias, dtype=dtype),
            ]
            features = [fan_in if pre else fan_out, fan_out]
            branch = branch_of(layers, features, block=block, act=act, normalizer=normalizer)
            around = shortcut_of(
                shortcut, fan_in, fan_out, stride=stride, bias=bias, normalizer=None if pre else normalizer, dtype=dtype
            )
            outer = Elementwise(act) if post else None
            self.add_module(f"block{number}", ResidualBlock(branch, skip=around, scale=scale, act=outer))
        if pre:
            self.append_named(norm=normalized(normalizer, fan_out), act=Elementwise(act))
        self.append_classifier(f"layer{depth}", fan_out, outputs, dtype)
        finish_(self, scheme=scheme, gain=gain, generator=generator, device=device, dtype=dtype)


def shortcut_of(
    kind: str,
    fan_in: int,
    fan_out: int,
    *,
    stride: int,
    bias: bool,
    normalizer: Normalizer,
    dtype: torch.dtype | None,
) -> nn.Module | None:
    """Return the way around a block of these channels and this stride; None, the identity, where the shape stays.

    Raises
    ------
    ValueError
        If the kind is neither ``"A"`` nor ``"B"``.
    """
    if kind not in SHORTCUTS:
        raise ValueError(f"unknown shortcut {kind!r}; known: {', '.join(SHORTCUTS)}")
    if fan_in == fan_out and stride == 1:
        return None
    if kind == "A":
        return PaddedShortcut(fan_out - fan_in, stride)
    projection = convolution(fan_in, fan_out, kernel=1, stride=stride, bias=bias, dtype=dtype)
    return Chain(layer=projection, norm=normalized(normalizer, fan_out))
