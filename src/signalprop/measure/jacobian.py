"""Singular values of a network's input-output Jacobian: by how much it stretches small changes of its input."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from signalprop.measure.checks import check_examples, check_module
from signalprop.streams import global_generators_kept


def jacobian_singular_values(
    module: nn.Module,
    x: Shaped[Tensor, "batch *shape"],
    *,
    dtype: torch.dtype | None = None,
    chunk: int | None = None,
) -> Float[Tensor, "batch values"]:
    r"""Return the singular values of :math:`J = \partial f(x)/\partial x` for each example, all of them, exactly.

    J is built row by row, by as many backward passes as f has outputs, and decomposed: [batch, outputs, inputs] numbers
    are held. Isometry is all values 1, up to rounding (Saxe et al. 2014, arXiv:1312.6120).

    The module is left as it was: its buffers do not move, and random layers draw once, from a copy of the global
    generator. Of batch normalization J is defined in evaluation mode only; in training mode an output depends on the
    other examples of the batch too, and that is refused.

    Parameters
    ----------
    module
        Any module that takes and returns a tensor with one example an entry of the first axis.
    x
        The inputs.
    dtype
        Computes in this precision, such as ``torch.float64``, whatever that of the module; None leaves it. Small
        singular values are right to about the largest times the precision.
    chunk
        Rows of J to be computed at once; None for all. Fewer need less memory.

    Returns
    -------
    Tensor
        In falling order, shape [batch, min(inputs, outputs)].

    Raises
    ------
    ValueError
        If examples depend on each other; if `x` is empty or of integers, or the output is no tensor with as many
        examples, or does not depend on `x`; if a parameter, a buffer or `x` is on another device or not finite, or the
        Jacobian is not.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU())
    >>> with torch.no_grad():
    ...     _ = net[0].weight.copy_(torch.tensor([[0.0, 3.0], [2.0, 0.0]]))
    >>> jacobian_singular_values(net, torch.tensor([[1.0, 1.0], [1.0, -1.0]]))
    tensor([[3., 2.],
            [2., 0.]])
    """
    jacobians = _jacobians(module, x, dtype, chunk)
    if not jacobians.isfinite().all():
        raise ValueError("the Jacobian holds NaN or infinity: the signal or its gradient overflows on the way")
    values: Tensor = torch.linalg.svdvals(jacobians)
    return values


def _jacobians(
    module: nn.Module, x: Tensor, dtype: torch.dtype | None, chunk: int | None
) -> Float[Tensor, "batch outputs inputs"]:
    if not x.is_floating_point():
        raise ValueError(f"x is of {x.dtype}; derivatives exist only with respect to floating-point numbers")
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk must be at least 1, got {chunk}")
    check_examples(x)
    check_module(module, x)
    tensors = {
        name: tensor.detach().to(dtype if tensor.is_floating_point() else None, copy=True)
        for name, tensor in (*module.named_parameters(), *module.named_buffers())
    }
    start = x.detach().to(dtype, copy=True).requires_grad_()
    with torch.enable_grad(), global_generators_kept(x):
        # a copy, which may be changed in place
        output = torch.func.functional_call(module, tensors, (start.clone(),))
        if not isinstance(output, Tensor) or output.ndim == 0 or len(output) != len(x):
            found = f"shape {list(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(f"the output must be a tensor with {len(x)} examples as x has; it is {found}")
        output = output.reshape(len(x), -1)
    if not output.requires_grad:
        raise ValueError("the output does not depend on x by way of autograd")
    _check_apart(output, start)
    rows = torch.eye(output.shape[1], dtype=output.dtype, device=output.device)
    parts = [
        torch.autograd.grad(
            output, start, some[:, None].expand(-1, *output.shape), retain_graph=True, is_grads_batched=True
        )[0]
        for some in rows.split(chunk or len(rows))
    ]
    return torch.cat(parts).flatten(2).transpose(0, 1)


def _check_apart(output: Tensor, x: Tensor) -> None:
    """Raise where the first example's output depends on another example."""
    weights = torch.zeros_like(output)
    weights[0] = torch.linspace(1, 2, output.shape[1], dtype=output.dtype, device=output.device)
    (gradient,) = torch.autograd.grad(output, x, weights, retain_graph=True, allow_unused=True)
    if gradient is None:
        raise ValueError("the output does not depend on x by way of autograd")
    if gradient[1:].nan_to_num(0, 0, 0).any():  # NaN is 0 · ∞, of an example with a slope of infinity
        raise ValueError(
            "the output for one example depends on the other examples of x, as with batch normalization in training "
            "mode; a Jacobian for each example is defined only without that: call .eval() first"
        )
