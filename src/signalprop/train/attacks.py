r"""Adversarial examples: inputs moved a little, each so that its own loss grows.

References
----------
I. Goodfellow, J. Shlens, C. Szegedy, *Explaining and harnessing adversarial examples*, arXiv:1412.6572; A. Madry,
A. Makelov, L. Schmidt, D. Tsipras, A. Vladu, *Towards deep learning models resistant to adversarial attacks*,
arXiv:1706.06083.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.linalg import vector_norm
from torch.nn import functional

from signalprop.streams import global_generators_kept

Loss = Callable[[Tensor, Tensor], Tensor]
Bounds = tuple[float, float] | None


def fgsm(
    module: nn.Module,
    x: Float[Tensor, "examples *shape"],
    y: Tensor,
    *,
    epsilon: float,
    loss_fn: Loss = functional.cross_entropy,
    bounds: Bounds = None,
) -> Float[Tensor, "examples *shape"]:
    r"""Return :math:`x + \epsilon\,\mathrm{sign}\,\nabla_x \mathrm{loss}`, the fast gradient sign method.

    It is one step of `pgd` of size ε in the maximum norm, without a random start, and takes its parameters, errors and
    care of the module from there. A linear classifier of two classes has no worse input in the ball.

    Examples
    --------
    >>> layer = nn.Linear(2, 1, bias=False)
    >>> _ = layer.weight.data.copy_(torch.tensor([[3.0, -4.0]]))
    >>> fgsm(layer, torch.zeros(1, 2), torch.tensor([1.0]), epsilon=0.5, loss_fn=lambda score, y: -(y * score).sum())
    tensor([[-0.5000,  0.5000]])
    """
    return pgd(module, x, y, epsilon=epsilon, step_size=epsilon, steps=1, loss_fn=loss_fn, bounds=bounds)


def pgd(
    module: nn.Module,
    x: Float[Tensor, "examples *shape"],
    y: Tensor,
    *,
    epsilon: float,
    step_size: float,
    steps: int,
    norm: str | int = "inf",
    generator: Generator | None = None,
    loss_fn: Loss = functional.cross_entropy,
    bounds: Bounds = None,
) -> Float[Tensor, "examples *shape"]:
    r"""Climb the loss of each example by projected gradient steps inside the ball of radius ε around it.

    A step is :math:`\alpha\,\mathrm{sign}\,g` in the maximum norm and :math:`\alpha\,g/\|g\|` in the Euclidean one,
    with g the gradient of an example's own loss; where g is zero the example stays. What leaves the ball is projected
    onto it, then onto the bounds, which does not lead out of the ball again. The last point is returned.

    The module is left as it was: no ``.grad`` is touched, buffers (such as running statistics) do not move, and random
    layers draw from a copy of the global generator. Modes are kept, and used: in training mode dropout drops, and batch
    normalization uses the batch, through which examples feel each other. In evaluation mode the networks of this book
    treat examples one by one; then the attack on one does not depend on the others, nor on the reduction of the loss.

    Parameters
    ----------
    module
        The classifier, with outputs [examples, ...].
    x
        Inputs, floating-point; ε, the step size and the bounds are in their unit.
    y
        Labels, one an example.
    epsilon
        Radius ε ≥ 0 of the ball, kept up to the rounding of x ± ε.
    step_size
        α ≥ 0.
    steps
        Number of steps, at least 1.
    norm
        ``"inf"`` or 2, of all entries of one example together.
    generator
        Of the random start, uniform in the ball; what the i-th example gets depends on i alone. None: start at `x`.
    loss_fn
        Maps outputs and labels to one number. It is asked about one example at a time, as a batch of one, under
        `torch.vmap`.
    bounds
        Least and greatest value an entry may have, such as (0, 1) for pixels. None for none.

    Raises
    ------
    ValueError
        If ε, the step size, the steps, the norm or the bounds are not as above, `x` is empty, not finite, or outside
        the bounds, there are not as many labels and outputs as inputs, the loss is not one number or does not depend on
        `x`, or its gradient is not finite.

    Examples
    --------
    >>> layer = nn.Linear(2, 1, bias=False)
    >>> _ = layer.weight.data.copy_(torch.tensor([[3.0, -4.0]]))
    >>> pgd(layer, torch.zeros(1, 2), torch.tensor([1.0]), epsilon=0.5, step_size=0.2, steps=5, norm=2,
    ...     loss_fn=lambda score, y: -(y * score).sum())
    tensor([[-0.3000,  0.4000]])
    """
    _check(x, y, epsilon, step_size, steps, norm, bounds)
    start, low, high = x.detach(), *(bounds or (-math.inf, math.inf))
    project = partial(_onto_box if norm == "inf" else _onto_sphere, centre=start, radius=epsilon)
    direction = torch.sign if norm == "inf" else _unit
    here = start.clone()
    if generator is not None:
        here = project(start + epsilon * _in_unit_ball(start, norm, generator)).clamp(low, high)
    # running statistics move on clones
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    run = partial(torch.func.functional_call, module, buffers) if buffers else module
    with global_generators_kept(x):
        for _ in range(steps):
            gradient = _gradient(run, here, y, loss_fn)
            here = project(here + step_size * direction(gradient)).clamp(low, high)
    return here


def _gradient(run: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, loss_fn: Loss) -> Tensor:
    """Return the gradient of the sum of the examples' own losses, [examples, ...]."""
    with torch.enable_grad():
        leaf = x.clone().requires_grad_()
        output = run(leaf)
        if output.shape[:1] != x.shape[:1]:
            raise ValueError(f"module made outputs {list(output.shape)} of {len(x)} inputs; it must make one for each")
        losses = torch.vmap(loss_fn)(output.unsqueeze(1), y.unsqueeze(1))
        if losses.numel() != len(x):
            raise ValueError(
                f"loss_fn returned shape {list(losses.shape[1:])} for one example; it must return one number"
            )
        if not losses.requires_grad:
            raise ValueError("the loss does not depend on x in a way that can be differentiated")
        (gradient,) = torch.autograd.grad(losses.sum(), leaf)
    if not gradient.isfinite().all():
        example = int((~gradient.isfinite().flatten(1).all(1)).nonzero()[0])
        raise ValueError(
            f"the gradient of the loss of example {example} is NaN or infinite; there is no direction to go"
        )
    return gradient


def _onto_box(point: Tensor, *, centre: Tensor, radius: float) -> Tensor:
    return point.clamp(centre - radius, centre + radius)


def _onto_sphere(point: Tensor, *, centre: Tensor, radius: float) -> Tensor:
    offset = point - centre
    length = _length(offset)
    return torch.where(length > radius, centre + offset * (radius / length), point)


def _unit(gradient: Tensor) -> Tensor:
    """Return each example's gradient over its norm, or zero where it is zero."""
    largest = gradient.abs().flatten(1).amax(1).view(-1, *[1] * (gradient.ndim - 1))
    scaled = torch.where(largest > 0, gradient / largest, gradient)  # squares of small entries would underflow
    return torch.where(largest > 0, scaled / _length(scaled), scaled)


def _length(x: Tensor) -> Tensor:
    """Return the norm of each example, to be multiplied with examples."""
    length: Tensor = vector_norm(x.flatten(1), dim=1)
    return length.view(-1, *[1] * (x.ndim - 1))


def _in_unit_ball(x: Tensor, norm: str | int, generator: Generator) -> Tensor:
    """Return a uniform point for each example, drawn one by one: a longer batch begins with the same points."""

    def draw(example: Tensor) -> Tensor:
        point = torch.empty(example.shape, dtype=x.dtype, device=generator.device)
        if norm == "inf":
            return point.uniform_(-1, 1, generator=generator)
        point.normal_(generator=generator)
        length = point.new_empty(()).uniform_(generator=generator) ** (1 / example.numel())
        return point.mul_(length / vector_norm(point))

    return torch.stack([draw(example) for example in x]).to(x.device)


def _check(x: Tensor, y: Tensor, epsilon: float, step_size: float, steps: int, norm: str | int, bounds: Bounds) -> None:
    for name, size in {"epsilon": epsilon, "step_size": step_size}.items():
        if not 0 <= size < math.inf:
            raise ValueError(f"{name} must be finite and not negative, got {size}")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    if norm not in ("inf", 2):
        raise ValueError(f'norm must be "inf" or 2, got {norm!r}')
    if x.numel() == 0 or not x.isfinite().all():
        raise ValueError(f"x must hold at least one entry, all finite; it has shape {list(x.shape)}")
    if y.shape[:1] != x.shape[:1]:
        raise ValueError(f"there are {len(x)} inputs and labels of shape {list(y.shape)}; give one label an input")
    if bounds is not None and not (bounds[0] <= x.min() and x.max() <= bounds[1]):
        raise ValueError(
            f"x reaches from {x.min().item():g} to {x.max().item():g}, outside the bounds {bounds}; give them in the"
            " unit of x"
        )
