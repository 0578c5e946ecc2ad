"""Plain networks of thousands of equal layers, in one weight tensor and one workspace."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.autograd.function import once_differentiable

from signalprop.nets.initializers import initialize_
from signalprop.nets.layers import Act, Chain, Elementwise, check_positive
from signalprop.nets.stack import Stack

_ONE_BY_ONE = (
    *("zero", "constant", "normal", "sparse", "lecun", "xavier"),
    *("kaiming", "kaiming_fan_out", "geometric_mean", "orthogonal"),
)


class DeepStack(Stack):
    r"""A plain network of equally wide layers, :math:`h_l = φ(W_l h_{l-1} + b_l)` for l = 1, …, L.

    All weights are one parameter ``weight`` [L, n, n]. The stack computes what a chain of `torch.nn.Linear` layers
    does, and is trained like one, by ``loss.backward()`` and any optimizer. But the signals of a batch stay in a
    workspace [L + 1, batch, n] from call to call, and a layer costs two calls of torch forward and three back.
    ``fused_lr``, see `Stack`, saves the tensor of gradients as well.

    Gradients of gradients and `torch.func` do not pass through; `unstacked` returns the same network for those.

    Parameters
    ----------
    depth, width
        L and n.
    activation
        φ: a registered name or a function ``Tensor -> Tensor`` of single entries. With ``"tanh"``, ``"relu"``,
        ``"sigmoid"`` and ``"linear"`` the stack is fastest and its workspace half as large.
    bias
        Whether layers have biases, a parameter ``bias`` [L, n]; they start at zero.
    scheme, gain, generator
        How the weights are drawn, on the CPU: one of the schemes of `initialize_` that treat layers one by one.
    device, dtype
        Where the network lies in the end, and the type of its numbers (None: torch's default type).

    Raises
    ------
    ValueError
        If depth or width is not positive, the activation is unknown, the scheme is another, or as `initialize_` does.
        When it is called, if the input is not [batch, n], or of another device or dtype.
    RuntimeError
        From ``backward``, if another forward pass has taken the workspace since.

    Examples
    --------
    >>> from signalprop import stream
    >>> stack = DeepStack(1_000, 16, "tanh", scheme="orthogonal", gain=1.0, generator=stream("doc", "stack"))
    >>> stack(torch.ones(4, 16)).square().mean().backward()
    >>> stack.weight.grad.shape, bool(stack.weight.grad.isfinite().all())
    (torch.Size([1000, 16, 16]), True)
    """

    def __init__(
        self,
        depth: int,
        width: int,
        activation: Act = "tanh",
        bias: bool = False,
        *,
        scheme: str,
        gain: float | None,
        generator: Generator,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
    ) -> None:
        check_positive(depth=depth, width=width)
        if scheme not in _ONE_BY_ONE:
            raise ValueError(f"DeepStack draws layers one by one, by {', '.join(_ONE_BY_ONE)}; got {scheme!r}")
        super().__init__(width, activation)
        self.depth = depth
        self.weight = nn.Parameter(torch.empty(depth, width, width, device="cpu", dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(depth, width, device="cpu", dtype=dtype)) if bias else None
        for some in self.weight.detach().split(256):  # not all at once: schemes draw in double precision
            layers = Chain(**{f"layer{number}": sharing(weight, None) for number, weight in enumerate(some)})
            initialize_(layers, scheme, gain=gain, generator=generator)
        self.to(device)

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "batch width"]:
        """Return h_L, shape [batch, n]."""
        self.check_input(x, self.weight)
        if self.records(x):
            output: Tensor = _Pass.apply(  # type: ignore[no-untyped-call]
                self, x, self.weight, self.bias
            )
            return output
        for weight, bias in self.pairs():
            x = self.pointwise.apply(nn.functional.linear(x, weight, bias))
        return x

    def unstacked(self) -> Chain:
        """Return the same network as modules ``layer1``, ``act1``, …, whose weights share memory with these.

        It is for all that looks at single layers, such as `signal_profile`. Its parameters have gradients of their own.
        """
        chain = Chain()
        for number, (weight, bias) in enumerate(self.pairs(), start=1):
            chain.append_named(
                **{f"layer{number}": sharing(weight, bias), f"act{number}": Elementwise(self.activation)}
            )
        return chain

    def extra_repr(self) -> str:
        """Return depth and width."""
        return f"depth={self.depth}, width={self.width}, bias={self.bias is not None}"

    def pairs(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Return (W_l, b_l) of every layer, in the memory of the parameters."""
        biases = [None] * self.depth if self.bias is None else self.layers(self.bias, "bias")
        return zip(self.layers(self.weight, "weight"), biases, strict=True)


def sharing(weight: Float[Tensor, "out in"], bias: Float[Tensor, " out"] | None) -> nn.Linear:
    """Return a linear layer whose weights lie in the memory of these.

    Examples
    --------
    >>> weight = torch.zeros(2, 3)
    >>> _ = nn.init.ones_(sharing(weight, None).weight)
    >>> weight.sum()
    tensor(6.)
    """
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    layer.weight = nn.Parameter(weight)
    layer.register_parameter("bias", None if bias is None else nn.Parameter(bias))
    return layer


class _Pass(torch.autograd.Function):
    """The loops, forward and back."""

    @staticmethod
    def forward(ctx: Any, stack: DeepStack, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.stack, ctx.number = stack, stack.begin_pass()
        ctx.save_for_backward(weight, bias)
        apply, from_value = stack.pointwise.apply, stack.pointwise.from_value
        h, z = _workspace(stack, x)
        h[0].copy_(x)
        transposed = stack.layers(weight.mT, "transposed weight")
        for below, w, (_, b), here, above in zip(h[:-1], transposed, stack.pairs(), z, h[1:], strict=True):
            if b is None:
                torch.mm(below, w, out=here)
            else:
                torch.addmm(b, below, w, out=here)
            activated = apply(here)
            if not from_value:
                above.copy_(activated)
        return h[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        stack: DeepStack = ctx.stack
        stack.check_pass(ctx.number)
        weight, bias = ctx.saved_tensors
        _, _, train_weight, train_bias = ctx.needs_input_grad
        lr, pull_back = stack.fused_lr, stack.pointwise.pull_back
        weight_gradient = torch.empty_like(weight) if train_weight and lr is None else None
        bias_gradient = torch.empty_like(bias) if train_bias and lr is None else None
        into_weight = [None] * stack.depth if weight_gradient is None else weight_gradient.unbind()
        into_biases = [None] * stack.depth if bias_gradient is None else bias_gradient.unbind()
        h, z = _workspace(stack, gradient)
        g = gradient.clone(memory_format=torch.contiguous_format)
        error = torch.empty_like(g)
        transposed = error.T
        for (w, b), below, kept, into, into_bias in reversed(
            list(zip(stack.pairs(), h[:-1], z, into_weight, into_biases, strict=True))
        ):
            pull_back(g, kept, error)
            torch.mm(error, w, out=g)
            if into is not None:
                torch.mm(transposed, below, out=into)
            elif train_weight and lr is not None:
                w.addmm_(transposed, below, alpha=-lr)
            if into_bias is not None:
                torch.sum(error, 0, out=into_bias)
            elif train_bias and lr is not None and b is not None:
                b.sub_(error.sum(0), alpha=lr)
        return None, g, weight_gradient, bias_gradient


def _workspace(stack: DeepStack, x: Tensor) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Return h_0, …, h_L and what is kept of z_1, …, z_L: themselves, or h_1, …, h_L in their place."""
    h = stack.tensors("h", stack.depth + 1, x)
    return h, h[1:] if stack.pointwise.from_value else stack.tensors("z", stack.depth, x)
