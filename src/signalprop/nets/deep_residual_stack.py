"""Residual networks of thousands of equal blocks, in few tensors and one workspace."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.autograd.function import once_differentiable

from signalprop.nets.deep_stack import sharing
from signalprop.nets.layers import Act, Chain, Elementwise, check_positive
from signalprop.nets.residual import ResidualBlock
from signalprop.nets.stack import Stack

_STARTS: dict[str, Callable[[int], tuple[float, float, float]]] = {
    # of L blocks: the sizes of W and V relative to He's, and the scale α
    "kaiming": lambda blocks: (1.0, 1.0, 1.0),
    "fixup": lambda blocks: (1 / math.sqrt(blocks), 0.0, 1.0),
    "rezero": lambda blocks: (1.0, 1.0, 0.0),
    "branch_scale": lambda blocks: (1.0, 1.0, 1 / math.sqrt(blocks)),
}


class DeepResidualStack(Stack):
    r"""Residual blocks of two layers, :math:`x_l = x_{l-1} + α_l V_l φ(W_l x_{l-1})` for l = 1, …, L.

    The residual sibling of `DeepStack`, for Fixup above all: the block ``two_layer`` of `ResidualMLP` without biases.
    Its parameters are ``weight`` and ``second_weight``, all W_l and V_l, [L, n, n] each, and ``scale``, all α_l, [L].
    With ``fused_lr``, see `Stack`, the backward pass updates the two weights; the scales are left to an optimizer.

    Parameters
    ----------
    blocks, width
        L and n.
    activation
        φ, as in `DeepStack`.
    scheme
        How a block starts, from He's N(0, gain²/n) and α = 1: ``"kaiming"`` as it is, ``"fixup"`` with W divided by √L
        and V = 0, ``"rezero"`` with α = 0, ``"branch_scale"`` with α = 1/√L.
    gain
        σ_w; None for √2, the gain of ReLU.
    generator
        Where the numbers come from, on the CPU.
    device, dtype
        Where the network lies in the end, and the type of its numbers (None: torch's default type).

    Raises
    ------
    ValueError
        If blocks, width or gain is not positive, or the scheme or the activation is unknown. When it is called, if the
        input is not [batch, n], or of another device or dtype.
    RuntimeError
        From ``backward``, if another forward pass has taken the workspace since.

    References
    ----------
    H. Zhang, Y. Dauphin, T. Ma, *Fixup initialization*, arXiv:1901.09321; without its scalar biases here.

    Examples
    --------
    >>> from signalprop import stream
    >>> stack = DeepResidualStack(1_000, 16, scheme="fixup", gain=None, generator=stream("doc", "residual stack"))
    >>> x = torch.ones(4, 16)
    >>> bool((stack(x) == x).all())
    True
    """

    def __init__(
        self,
        blocks: int,
        width: int,
        activation: Act = "relu",
        *,
        scheme: str,
        gain: float | None,
        generator: Generator,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
    ) -> None:
        check_positive(blocks=blocks, width=width)
        if scheme not in _STARTS:
            raise ValueError(f"there is no scheme {scheme!r} for a residual stack; known: {', '.join(_STARTS)}")
        gain = math.sqrt(2) if gain is None else gain
        if not 0 < gain < math.inf:
            raise ValueError(f"gain must be positive and finite, got {gain:g}")
        super().__init__(width, activation)
        self.blocks = blocks
        first, second, scale = _STARTS[scheme](blocks)
        std = gain / math.sqrt(width)

        def drawn(size: float) -> nn.Parameter:
            weight = torch.empty(blocks, width, width, device=generator.device, dtype=dtype)
            return nn.Parameter(weight.normal_(0, std, generator=generator).mul_(size))

        self.weight, self.second_weight = drawn(first), drawn(second)
        self.scale = nn.Parameter(torch.full((blocks,), scale, device="cpu", dtype=dtype))
        self.to(device)

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "batch width"]:
        """Return x_L, shape [batch, n]."""
        self.check_input(x, self.weight)
        if self.records(x):
            output: Tensor = _Pass.apply(  # type: ignore[no-untyped-call]
                self, x, self.weight, self.second_weight, self.scale
            )
            return output
        for w, v, scale in self.triples():
            x = torch.addmm(x, self.pointwise.apply(x @ w.T), v.T, alpha=scale)
        return x

    def unstacked(self) -> Chain:
        """Return the same network as modules ``block1``, …, whose parameters share memory with these.

        It is for all that looks at single layers, such as `signal_profile`. Its parameters have gradients of their own.
        """
        chain = Chain()
        for number, (w, v, _) in enumerate(self.triples(), start=1):
            branch = Chain(layer1=sharing(w, None), act1=Elementwise(self.activation), layer2=sharing(v, None))
            block = ResidualBlock(branch, skip=None, scale=1.0, act=None)
            block.scale = nn.Parameter(self.scale.detach()[number - 1])
            chain.append_named(**{f"block{number}": block})
        return chain

    def extra_repr(self) -> str:
        """Return blocks and width."""
        return f"blocks={self.blocks}, width={self.width}"

    def triples(self) -> list[tuple[Tensor, Tensor, float]]:
        """Return (W_l, V_l, α_l) of every block; the weights lie in the memory of the parameters."""
        first, second = self.layers(self.weight, "weight"), self.layers(self.second_weight, "second weight")
        return list(zip(first, second, self.scale.tolist(), strict=True))


class _Pass(torch.autograd.Function):
    """The loops, forward and back."""

    @staticmethod
    def forward(ctx: Any, stack: DeepResidualStack, x: Tensor, *parameters: Tensor) -> Tensor:
        ctx.stack, ctx.number = stack, stack.begin_pass()
        ctx.save_for_backward(*parameters)
        trunk, hidden, kept = _workspace(stack, x)
        trunk[0].copy_(x)
        apply, from_value = stack.pointwise.apply, stack.pointwise.from_value
        for block, (w, v, scale) in enumerate(stack.triples()):
            torch.mm(trunk[block], w.T, out=kept[block])
            activated = apply(kept[block])
            if not from_value:
                hidden[block].copy_(activated)
            torch.addmm(trunk[block], hidden[block], v.T, alpha=scale, out=trunk[block + 1])
        return trunk[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        stack: DeepResidualStack = ctx.stack
        stack.check_pass(ctx.number)
        weight, second_weight, scales = ctx.saved_tensors
        _, _, train_first, train_second, train_scale = ctx.needs_input_grad
        lr, pull_back = stack.fused_lr, stack.pointwise.pull_back
        first_gradient = torch.empty_like(weight) if train_first and lr is None else None
        second_gradient = torch.empty_like(second_weight) if train_second and lr is None else None
        scale_gradient = torch.empty_like(scales) if train_scale else None
        trunk, hidden, kept = _workspace(stack, gradient)
        g = gradient.clone(memory_format=torch.contiguous_format)
        error, inner = torch.empty_like(g), torch.empty_like(g)
        g_transposed, error_transposed = g.T, error.T
        for block, (w, v, scale) in reversed(list(enumerate(stack.triples()))):
            torch.mm(g, v, out=inner)
            if scale_gradient is not None:
                torch.dot(inner.view(-1), hidden[block].view(-1), out=scale_gradient[block])
            if second_gradient is not None:
                torch.mm(g_transposed, hidden[block], out=second_gradient[block])
            elif train_second and lr is not None:
                v.addmm_(g_transposed, hidden[block], alpha=-lr * scale)
            pull_back(inner, kept[block], error)
            g.addmm_(error, w, alpha=scale)
            if first_gradient is not None:
                torch.mm(error_transposed, trunk[block], out=first_gradient[block])
            elif train_first and lr is not None:
                w.addmm_(error_transposed, trunk[block], alpha=-lr * scale)
        for weight_gradient in (first_gradient, second_gradient):
            if weight_gradient is not None:  # α was left out of every block
                weight_gradient.mul_(scales.view(-1, 1, 1))
        return None, g, first_gradient, second_gradient, scale_gradient


def _workspace(stack: DeepResidualStack, x: Tensor) -> tuple[Sequence[Tensor], ...]:
    """Return x_0, …, x_L, φ(W_l x_{l−1}), and what is kept of the arguments: themselves, or their φ in their place."""
    hidden = stack.tensors("hidden", stack.blocks, x)
    kept = hidden if stack.pointwise.from_value else stack.tensors("kept", stack.blocks, x)
    return stack.tensors("trunk", stack.blocks + 1, x), hidden, kept
