"""The plain convolutional network, by the rules of VGG as He, Zhang, Ren and Sun used them."""

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


class PlainCNN(ImageNetwork):
    """A stack of 3×3 convolutions: where the map is halved, the channels are doubled.

    The first convolution has ``width`` channels; then come ``stages`` stages of 2n convolutions each. The first
    convolution of every stage but the first has stride 2, instead of pooling, and twice the channels. A normalizer and
    an activation follow each convolution. The mean over the map and a linear layer end the network. The depth is the
    number of weight layers, 2n convolutions a stage and the two at the ends: ``depth = 2 · stages · n + 2``, with three
    stages He et al.'s 6n + 2.

    Its modules are named ``layer1``, ``norm1``, ``act1``, …, ``pool``, ``layerL``.

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
    act
        The activation: a registered name or a function ``Tensor -> Tensor`` of single entries.
    normalizer
        From a number of features to the module that normalizes them, as `normalizer` returns; None for none.
    bias
        Whether convolutions have biases; they start at zero. The linear layer has them in any case.
    padding_mode
        What lies around a map: ``"zeros"``, or ``"circular"``, with which a convolution can be an isometry.
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
    K. He, X. Zhang, S. Ren, J. Sun, *Deep residual learning for image recognition*, arXiv:1512.03385, section 4.2.

    Examples
    --------
    >>> from signalprop import stream
    >>> net = PlainCNN(
    ...     3, 10, depth=8, stages=3, width=4, act="relu", normalizer=None, bias=True, padding_mode="zeros",
    ...     scheme="kaiming", gain=None, generator=stream("doc", "cnn"),
    ... )
    >>> net(torch.ones(5, 3, 14, 14)).shape
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
        padding_mode: str,
        scheme: str,
        gain: float | None,
        generator: Generator,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
    ) -> None:
        check_positive(channels=channels, outputs=outputs, stages=stages, width=width)
        n = whole_number(depth, 2, 2 * stages, f"2 · {stages} stages · n + 2")
        super().__init__(channels)
        plan = [(channels, width, 1), *stages_of(width, stages, 2 * n)]
        for number, (fan_in, fan_out, stride) in enumerate(plan, start=1):
            layer = convolution(
                fan_in, fan_out, kernel=3, stride=stride, bias=bias, padding_mode=padding_mode, dtype=dtype
            )
            self.append_named(
                **{
                    f"layer{number}": layer,
                    f"norm{number}": normalized(normalizer, fan_out),
                    f"act{number}": Elementwise(act),
                }
            )
        self.append_classifier(f"layer{depth}", fan_out, outputs, dtype)
        finish_(self, scheme=scheme, gain=gain, generator=generator, device=device, dtype=dtype)
