"""Residual blocks, and the fully connected network that is made of them."""

from collections.abc import Sequence
from typing import cast

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
    whole_number,
)

BLOCKS = ("post_activation", "pre_activation", "two_layer")


class ResidualBlock(nn.Module):
    r"""A branch with a way around it: :math:`x \mapsto φ(\mathrm{skip}(x) + α\,\mathrm{branch}(x))`.

    Parameters
    ----------
    branch
        F, its weight layers with their normalizers and activations.
    skip
        What stands on the way around, where the shape changes; None for the identity.
    scale
        Where the trainable scalar α starts, the parameter ``scale``; None for no such parameter and α = 1.
    act
        φ, after the sum; None for none.

    Raises
    ------
    ValueError
        When it is called, if branch and skip return different shapes.

    Examples
    --------
    >>> block = ResidualBlock(nn.Sequential(nn.Linear(3, 3)), skip=None, scale=0.0, act=None)
    >>> x = torch.randn(2, 3)
    >>> bool((block(x) == x).all()), [name for name, _ in block.named_parameters()]
    (True, ['scale', 'branch.0.weight', 'branch.0.bias'])
    """

    def __init__(
        self, branch: nn.Sequential, *, skip: nn.Module | None, scale: float | None, act: nn.Module | None
    ) -> None:
        super().__init__()
        self.branch = branch
        self.skip = skip
        start = None if scale is None else nn.Parameter(torch.tensor(scale, device="cpu"))
        self.register_parameter("scale", start)
        self.act = act

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*result"]:
        """Return the sum, shape [batch, …] as the branch returns it."""
        trunk = x if self.skip is None else self.skip(x)
        added = self.branch(x)
        if trunk.shape != added.shape:
            raise ValueError(
                f"the branch turned {list(x.shape)} into {list(added.shape)}, the way around into {list(trunk.shape)}; "
                "they must agree, so give a skip that changes the shape alike"
            )
        total: Tensor = trunk + (added if self.scale is None else self.scale * added)
        return total if self.act is None else cast(Tensor, self.act(total))


class ResidualMLP(VectorNetwork):
    r"""A fully connected residual network of constant width.

    A first layer makes ``width`` units of the inputs, blocks follow, and a last layer makes the outputs. With φ the
    activation, N the normalizer and m = ``branch_layers`` = 2 (written without biases), a block is

    - ``post_activation``: :math:`φ(x + α N W_2 φ(N W_1 x))`, the first ResNet (v1);
    - ``pre_activation``: :math:`x + α W_2 φ(N W_1 φ(N x))`, the second (v2);
    - ``two_layer``: :math:`x + α N W_2 φ(N W_1 x)`, the first without the activation after the sum, as theory takes it.

    N and φ also follow the first layer where blocks are post-activation, and precede the last where they are
    pre-activation, so that each weight layer of a branch sees an activated signal exactly where that is part of the
    block. These are the names that `signalprop.theory.residual_profile` has. The depth is the number of weight layers,
    ``depth = m · blocks + 2``.

    Its modules are named ``layer1``, (``norm1``, ``act1``), ``block1``, …, (``norm``, ``act``), ``layerL``, those of a
    branch ``layer1``, …, ``layerm`` with ``norm`` and ``act`` of the same number.

    Parameters
    ----------
    inputs, outputs
        Widths of the two ends.
    depth
        L, the number of weight layers.
    width
        Units of every block.
    branch_layers
        m, the number of weight layers of a branch.
    block
        One of the three above.
    act
        φ: a registered name or a function ``Tensor -> Tensor`` of single entries.
    normalizer
        From a number of features to the module N, as `normalizer` returns; None for none.
    bias
        Whether layers have biases; they start at zero.
    scale
        Where the trainable scalar α of each branch starts; None for α = 1 and no such parameter.
    scheme, gain, generator
        How the weights are drawn, on the CPU: see `initialize_`. A gain of None is the scheme's usual one.
    device, dtype
        Where the network lies in the end, and the type of its numbers (None: torch's default type).

    Raises
    ------
    ValueError
        If the depth is no such number or another number is not positive, if the block or the activation is unknown, or
        as `initialize_` does. When it is called, if the inputs have another width.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, *Deep residual learning for image recognition*, arXiv:1512.03385, and *Identity
    mappings in deep residual networks*, arXiv:1603.05027.

    Examples
    --------
    >>> from signalprop import stream
    >>> net = ResidualMLP(
    ...     8, 3, depth=42, width=16, branch_layers=2, block="pre_activation", act="relu", normalizer=None, bias=False,
    ...     scale=20**-0.5, scheme="lecun", gain=None, generator=stream("doc", "residual"),
    ... )
    >>> net(torch.ones(5, 8)).shape, len([name for name, _ in net.named_children() if "block" in name])
    (torch.Size([5, 3]), 20)
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        depth: int,
        width: int,
        branch_layers: int,
        block: str,
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
        check_positive(inputs=inputs, outputs=outputs, width=width, branch_layers=branch_layers)
        check_block(block)
        blocks = whole_number(depth, 2, branch_layers, f"{branch_layers} layers a branch · n + 2")
        super().__init__(inputs)
        self.append_named(layer1=linear(inputs, width, bias=bias, dtype=dtype))
        if block == "post_activation":
            self.append_named(norm1=normalized(normalizer, width), act1=Elementwise(act))
        for number in range(1, blocks + 1):
            layers = [linear(width, width, bias=bias, dtype=dtype) for _ in range(branch_layers)]
            self.add_module(
                f"block{number}",
                ResidualBlock(
                    branch_of(layers, [width] * branch_layers, block=block, act=act, normalizer=normalizer),
                    skip=None,
                    scale=scale,
                    act=Elementwise(act) if block == "post_activation" else None,
                ),
            )
        if block == "pre_activation":
            self.append_named(norm=normalized(normalizer, width), act=Elementwise(act))
        self.add_module(f"layer{depth}", linear(width, outputs, bias=bias, dtype=dtype))
        finish_(self, scheme=scheme, gain=gain, generator=generator, device=device, dtype=dtype)


def branch_of(
    layers: Sequence[nn.Module], features: Sequence[int], *, block: str, act: Act, normalizer: Normalizer
) -> nn.Sequential:
    """Return the branch of a block: weight layers, each with a normalizer and an activation after it, or before it.

    Parameters
    ----------
    layers
        The weight layers W_1, …, W_m.
    features
        How many each normalizer sees: those that come out of its layer, or, pre-activation, those that go in.
    block
        ``pre_activation``, or another: then no activation follows the last layer.
    """
    branch = Chain()
    for number, (layer, size) in enumerate(zip(layers, features, strict=True), start=1):
        norm = normalized(normalizer, size)
        if block == "pre_activation":
            parts = {"norm": norm, "act": Elementwise(act), "layer": layer}
        else:
            parts = {"layer": layer, "norm": norm, "act": Elementwise(act) if number < len(layers) else None}
        branch.append_named(**{f"{name}{number}": part for name, part in parts.items()})
    return branch


def check_block(block: str) -> None:
    """Raise a ValueError if there is no such block."""
    if block not in BLOCKS:
        raise ValueError(f"unknown block {block!r}; known: {', '.join(BLOCKS)}")
