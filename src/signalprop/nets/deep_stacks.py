r"""R deep stacks of the same shape at once, each with a step of SGD with momentum within its backward pass.

`DeepStack` and `DeepResidualStack` are modules of one network. Small matrices leave a core waiting; R networks side by
side, weights ``[L, R, n, n]``, fill it, and the momentum is added and the step taken while a layer lies in the cache.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from signalprop.nets.deep_residual_stack import DeepResidualStack
from signalprop.nets.deep_stack import DeepStack
from signalprop.nets.orthogonal import haar_stack
from signalprop.nets.pointwise import pointwise


class DeepStacks:
    r"""R plain networks :math:`h_l = φ(W_l h_{l-1})`, l = 1, …, L, of width n and without biases.

    Parameters
    ----------
    weight
        The W_l of all networks, [L, R, n, n]; it is trained in place.
    activation
        φ: ``"tanh"``, ``"relu"``, ``"sigmoid"`` or ``"linear"``, whose slope follows from their value.

    Raises
    ------
    ValueError
        If the weight has another shape, or the activation is another one.

    Examples
    --------
    >>> from signalprop import stream
    >>> stacks = DeepStacks.drawn(1_000, 16, scheme="orthogonal", gain=1.0,
    ...                           generators=[stream("doc", "stacks", r) for r in range(3)])
    >>> out = stacks.forward(torch.ones(3, 4, 16))
    >>> stacks.descend(out, lr=torch.full((3,), 1e-4), momentum=0.9).shape
    torch.Size([3, 4, 16])
    """

    def __init__(self, weight: Float[Tensor, "*shape"], activation: str = "tanh") -> None:
        _check(weight)
        self.weights: tuple[Tensor, ...] = (weight,)
        self.pointwise = pointwise(activation)
        if not self.pointwise.from_value:
            raise ValueError(f"the slope of {activation} does not follow from its value; use DeepStack")
        self._velocity: Tensor | None = None
        self._kept: Sequence[Tensor] = ()

    @classmethod
    def drawn(
        cls, depth: int, width: int, activation: str = "tanh", *, scheme: str, gain: float, generators: list[Generator]
    ) -> "DeepStacks":
        """Return networks drawn as `DeepStack` draws one, each from its own generator."""

        def weight(source: Generator) -> Float[Tensor, "depth width width"]:
            if scheme == "orthogonal":
                parts = [min(1_000, depth - done) for done in range(0, depth, 1_000)]
                return torch.cat([(gain * haar_stack(part, width, source)).to(dtype) for part in parts])
            return DeepStack(depth, width, activation, scheme=scheme, gain=gain, generator=source).weight.detach()

        dtype = torch.get_default_dtype()
        drawn = [weight(source) for source in generators]
        return cls(torch.stack(drawn, 1), activation)

    def forward(
        self, x: Float[Tensor, "networks batch width"], keep: bool = True
    ) -> Float[Tensor, "networks batch width"]:
        """Return h_L; keep the signals of all layers for `descend` if asked to."""
        (weight,) = self.weights
        apply = self.pointwise.apply
        if not keep:
            for w in weight.mT.unbind():
                x = apply(torch.bmm(x, w))
            return x
        h = self._kept = _workspace(self._kept, len(weight) + 1, x)
        h[0].copy_(x)
        for w, below, above in zip(weight.mT.unbind(), h[:-1], h[1:], strict=True):
            torch.bmm(below, w, out=above)
            apply(above)
        return h[-1].clone()

    def descend(
        self,
        gradient: Float[Tensor, "networks batch width"],
        lr: Float[Tensor, " networks"],
        momentum: float,
    ) -> Float[Tensor, "networks batch width"]:
        """Take a step of SGD with momentum on all W_l, given the loss's gradient in h_L; return that in h_0."""
        (weight,) = self.weights
        self._velocity = torch.zeros_like(weight) if self._velocity is None else self._velocity
        rates, g = lr.to(weight).view(-1, 1, 1), gradient.clone()
        error = torch.empty_like(g)
        transposed, h = error.mT, self._kept
        for w, v, below, above in reversed(
            list(zip(weight.unbind(), self._velocity.unbind(), h[:-1], h[1:], strict=True))
        ):
            self.pointwise.pull_back(g, above, error)
            torch.bmm(error, w, out=g)
            v.baddbmm_(transposed, below, beta=momentum)
            w.addcmul_(v, rates, value=-1)
        return g

    def memory(self) -> int:
        """Return how many bytes weights, momentum and kept signals take."""
        held = [*self.weights, *self._kept] + ([] if self._velocity is None else [self._velocity])
        return sum(tensor.nbytes for tensor in held)


class DeepResidualStacks:
    r"""R residual networks :math:`x_l = x_{l-1} + V_l φ(W_l x_{l-1})` of L blocks of width n; like `DeepStacks`.

    Parameters
    ----------
    first, second
        The W_l and the V_l of all networks, [L, R, n, n] each; they are trained in place.
    activation
        As in `DeepStacks`.

    Raises
    ------
    ValueError
        As `DeepStacks` does.

    Examples
    --------
    >>> from signalprop import stream
    >>> stacks = DeepResidualStacks.drawn(1_000, 16, scheme="fixup", generators=[stream("doc", "residual stacks")])
    >>> x = torch.ones(1, 4, 16)
    >>> bool((stacks.forward(x) == x).all())
    True
    """

    def __init__(
        self,
        first: Float[Tensor, "*shape"],
        second: Float[Tensor, "*shape"],
        activation: str = "relu",
    ) -> None:
        _check(first)
        _check(second)
        self.weights: tuple[Tensor, ...] = (first, second)
        self.pointwise = pointwise(activation)
        if not self.pointwise.from_value:
            raise ValueError(f"the slope of {activation} does not follow from its value; use DeepResidualStack")
        self._velocity: tuple[Tensor, Tensor] | None = None
        self._trunk: Sequence[Tensor] = ()
        self._hidden: Sequence[Tensor] = ()

    @classmethod
    def drawn(
        cls, blocks: int, width: int, activation: str = "relu", *, scheme: str, generators: list[Generator]
    ) -> "DeepResidualStacks":
        """Return networks drawn as `DeepResidualStack` draws one with ``"fixup"`` or ``"kaiming"``, where α = 1."""
        if scheme not in ("fixup", "kaiming"):
            raise ValueError(f"the scale of a branch is 1 here: use fixup or kaiming, not {scheme!r}")
        nets = [DeepResidualStack(blocks, width, activation, scheme=scheme, gain=None, generator=g) for g in generators]
        first, second = (torch.stack([getattr(net, name).detach() for net in nets], 1) for name in _BOTH)
        return cls(first, second, activation)

    def forward(
        self, x: Float[Tensor, "networks batch width"], keep: bool = True
    ) -> Float[Tensor, "networks batch width"]:
        """Return x_L; keep the signals of all blocks for `descend` if asked to."""
        first, second = self.weights
        apply, pairs = self.pointwise.apply, list(zip(first.mT.unbind(), second.mT.unbind(), strict=True))
        if not keep:
            for w, v in pairs:
                x = torch.baddbmm(x, apply(torch.bmm(x, w)), v)
            return x
        trunk = self._trunk = _workspace(self._trunk, len(first) + 1, x)
        hidden = self._hidden = _workspace(self._hidden, len(first), x)
        trunk[0].copy_(x)
        for block, (w, v) in enumerate(pairs):
            torch.bmm(trunk[block], w, out=hidden[block])
            apply(hidden[block])
            torch.baddbmm(trunk[block], hidden[block], v, out=trunk[block + 1])
        return trunk[-1].clone()

    def descend(
        self,
        gradient: Float[Tensor, "networks batch width"],
        lr: Float[Tensor, " networks"],
        momentum: float,
    ) -> Float[Tensor, "networks batch width"]:
        """Take a step of SGD with momentum on all W_l and V_l, given the gradient in x_L; return that in x_0."""
        first, second = self.weights
        if self._velocity is None:
            self._velocity = torch.zeros_like(first), torch.zeros_like(second)
        rates, g = lr.to(first).view(-1, 1, 1), gradient.clone()
        error, inner = torch.empty_like(g), torch.empty_like(g)
        into_first, into_second = (velocity.unbind() for velocity in self._velocity)
        for block in reversed(range(len(first))):
            w, v, hidden = first[block], second[block], self._hidden[block]
            torch.bmm(g, v, out=inner)
            self.pointwise.pull_back(inner, hidden, error)
            into_second[block].baddbmm_(g.mT, hidden, beta=momentum)
            into_first[block].baddbmm_(error.mT, self._trunk[block], beta=momentum)
            g.baddbmm_(error, w)
            v.addcmul_(into_second[block], rates, value=-1)
            w.addcmul_(into_first[block], rates, value=-1)
        return g


_BOTH = ("weight", "second_weight")


def _check(weight: Tensor) -> None:
    if weight.ndim != 4 or weight.shape[2] != weight.shape[3]:
        raise ValueError(f"weights have shape [layers, networks, width, width], got {list(weight.shape)}")


def _workspace(kept: Sequence[Tensor], count: int, x: Tensor) -> Sequence[Tensor]:
    """Return so many tensors shaped as x, those of the last pass if they fit."""
    fits = kept and (kept[0].shape, kept[0].device, kept[0].dtype) == (x.shape, x.device, x.dtype)
    return kept if fits else torch.empty(count, *x.shape, device=x.device, dtype=x.dtype).unbind()
