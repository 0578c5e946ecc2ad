"""ResNeXt: residual blocks whose branch is a sum of many small ones, written as one grouped convolution."""

import torch
from torch import Generator

from signalprop.nets.layers import (
    Act,
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
from signalprop.nets.residual import ResidualBlock, branch_of
from signalprop.nets.resnet import shortcut_of

EXPANSION = 4


class ResNeXt(ImageNetwork):
    r"""A residual network of bottleneck blocks with C parallel paths of d channels each.

    A branch is a 1×1 convolution to C·d channels, a 3×3 convolution in C groups, and a 1×1 convolution back: the sum
    :math:`\sum_{i=1}^{C} T_i(x)` of C paths that go through d channels each. With C = 1 it is a ResNet of bottleneck
    blocks. Blocks are post-activation (v1), shortcuts projections (type B), as in the paper.

    The first convolution, 3×3, has ``width`` channels; then come ``stages`` stages of n blocks. Blocks of the first
    stage put out 4 · width channels. From stage to stage these and d double, and the grouped convolution of the first
    block halves the map by stride 2. The mean over the map and a linear layer end the network. The depth is the number
    of weight layers on the longest way through, so without the projections of shortcuts:
    ``depth = 3 · stages · n + 2``. The paper's 29 layers on CIFAR-10 are three stages with n = 3 and width 64.

    Its modules are named as those of `ResNet`.

    Parameters
    ----------
    channels
        Of the images.
    outputs
        Number of outputs, such as classes.
    depth
        L, the number of weight layers.
    stages
        How many sizes of the map there are.
    width
        Channels of the first convolution.
    cardinality
        C, the number of paths.
    path_width
        d, the channels of a path in the first stage.
    act
        A registered name or a function ``Tensor -> Tensor`` of single entries.
    normalizer
        From a number of features to the module that normalizes them, as `normalizer` returns; None for none.
    bias
        Whether convolutions have biases; they start at zero. The linear layer has them in any case.
    scale
        Where the trainable scalar of each branch starts; None for no such parameter.
    scheme, gain, generator
        How the weights are drawn, on the CPU: see `initialize_`. A gain of None is the scheme's usual one.
    device, dtype
        Where the network lies in the end, and the type of its numbers (None: torch's default type).

    Raises
    ------
    ValueError
        If the depth is no such number or another number is not positive, if the activation is unknown, or as
        `initialize_` does. When it is called, if it is not given images with these channels.

    References
    ----------
    S. Xie, R. Girshick, P. Dollár, Z. Tu, K. He, *Aggregated residual transformations for deep neural networks*,
    arXiv:1611.05431.

    Examples
    --------
    >>> from torch import nn
    >>> from signalprop import stream
    >>> net = ResNeXt(
    ...     3, 10, depth=11, stages=3, width=4, cardinality=8, path_width=2, act="relu", normalizer=nn.BatchNorm2d,
    ...     bias=False, scale=None, scheme="kaiming", gain=None, generator=stream("doc", "resnext"),
    ... )
    >>> net(torch.ones(5, 3, 14, 14)).shape, net.block1.branch.layer2.groups
    (torch.Size([5, 10]), 8)
    """

    def __init__(
        self,
        channels: int,
        outputs: int,
        *,
        depth: int,
        stages: int,
        width: int,
        cardinality: int,
        path_width: int,
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
        check_positive(
            channels=channels,
            outputs=outputs,
            stages=stages,
            width=width,
            cardinality=cardinality,
            path_width=path_width,
        )
        blocks = whole_number(depth, 2, 3 * stages, f"3 · {stages} stages · n + 2")
        super().__init__(channels)
        self.append_named(
            layer1=convolution(channels, width, kernel=3, stride=1, bias=bias, dtype=dtype),
            norm1=normalized(normalizer, width),
            act1=Elementwise(act),
        )
        fan_in = width
        for number, (_, size, stride) in enumerate(stages_of(width, stages, blocks), start=1):
            inner, fan_out = cardinality * path_width * (size // width), EXPANSION * size
            layers = [
                convolution(fan_in, inner, kernel=1, stride=1, bias=bias, dtype=dtype),
                convolution(inner, inner, kernel=3, stride=stride, groups=cardinality, bias=bias, dtype=dtype),
                convolution(inner, fan_out, kernel=1, stride=1, bias=bias, dtype=dtype),
            ]
            branch = branch_of(layers, [inner, inner, fan_out], block="post_activation", act=act, normalizer=normalizer)
            around = shortcut_of("B", fan_in, fan_out, stride=stride, bias=bias, normalizer=normalizer, dtype=dtype)
            self.add_module(f"block{number}", ResidualBlock(branch, skip=around, scale=scale, act=Elementwise(act)))
            fan_in = fan_out
        self.append_classifier(f"layer{depth}", fan_in, outputs, dtype)
        finish_(self, scheme=scheme, gain=gain, generator=generator, device=device, dtype=dtype)
