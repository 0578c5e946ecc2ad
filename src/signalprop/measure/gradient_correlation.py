"""How much the gradients of a network at two inputs have to do with each other: shattered gradients."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.linalg import vecdot, vector_norm

from signalprop.measure.checks import check_module
from signalprop.streams import global_generators_kept

ReadOut = Callable[[Tensor], Tensor]


def gradient_autocorrelation(
    module: nn.Module,
    x: Float[Tensor, "points *shape"],
    lags: Sequence[int],
    *,
    centred: bool,
    read_out: ReadOut | None = None,
) -> Float[Tensor, " lags"]:
    r"""Return the autocorrelation of the input gradients :math:`g_t = \partial f/\partial x_t` along a path of inputs.

    .. math:: \rho_k = \frac{\sum_{t=1}^{T-k} (g_t - \bar g)\cdot(g_{t+k} - \bar g)}{\sum_{t=1}^T \|g_t - \bar g\|^2}

    Divided by the sum over all T points whatever the lag, as usual in time series: |ρ_k| ≤ 1, and ρ_k is too small by
    about the factor 1 − k/T. Of a network whose gradients are shattered it looks like that of white noise, with
    deviations of size 1/√T from zero (Balduzzi et al. 2017, arXiv:1702.08591, figure 1).

    The module is left as it was: its buffers do not move, and random layers draw from a copy of the global generator.
    With batch normalization in training mode the points are one batch: f is then summed over all of them, and g_t holds
    what x_t does to the others.

    Parameters
    ----------
    module
        Any module whose output has an entry for every point on its first axis.
    x
        The path x_1, …, x_T, at equal distances, one input an entry of the first axis.
    lags
        The k, whole numbers from 0 to T − 1.
    centred
        Whether the mean ḡ is subtracted, as Balduzzi et al. do; if not, ḡ = 0 in the formula.
    read_out
        From the module's output to f, one number a point, shape [points]; None for the sum of a point's outputs.

    Raises
    ------
    ValueError
        If a lag is outside the path; if the gradient is zero everywhere, or constant when `centred` (up to rounding),
        for then there is no correlation; if f has another shape or does not depend on `x`; if a weight, a buffer or
        `x` holds NaN or is on another device.

    Examples
    --------
    >>> path = torch.tensor([[1.0], [2.0], [-1.0], [-2.0]])
    >>> gradient_autocorrelation(nn.ReLU(), path, [0, 1, 2], centred=True)
    tensor([ 1.0000,  0.2500, -0.5000])
    """
    points = len(x)
    if not lags or min(lags) < 0 or max(lags) >= points:
        raise ValueError(f"lags must be one or more numbers from 0 to {points - 1} for {points} points; got {[*lags]}")
    gradients = _input_gradients(module, x, read_out)
    largest = gradients.abs().amax()
    if largest == 0:
        raise ValueError("the gradient is zero at every point of the path; its autocorrelation is not defined")
    gradients = gradients / largest  # squares of small numbers would underflow
    rounding = 64 * torch.finfo(x.dtype).eps * vector_norm(gradients)
    if centred:
        gradients = gradients - gradients.mean(0)
        if vector_norm(gradients) <= rounding:
            raise ValueError(
                "the gradient is the same at every point of the path; its autocorrelation is defined only with"
                " centred=False"
            )
    products = [vecdot(gradients[: points - lag], gradients[lag:]).sum() for lag in lags]
    return torch.stack(products) / gradients.square().sum()


def gradient_cosine(
    module: nn.Module,
    x1: Float[Tensor, "batch *shape"],
    x2: Float[Tensor, "batch *shape"],
    *,
    read_out: ReadOut | None = None,
) -> Float[Tensor, " batch"]:
    r"""Return the cosine of :math:`\partial f/\partial x` at two inputs, for each pair (x1[i], x2[i]); not centred.

    The module is left as it was, as by `gradient_autocorrelation`. It runs on `x1` and on `x2` by itself, and random
    layers draw alike for both. NaN where one of the two gradients is zero: it has no direction.

    Parameters
    ----------
    module
        Any module whose output has an entry for every example on its first axis.
    x1, x2
        Two batches of one shape.
    read_out
        From the module's output to f, one number an example, shape [batch]; None for the sum of an example's outputs.

    Raises
    ------
    ValueError
        If the batches differ in shape, and as `gradient_autocorrelation` does about the module and f.

    Examples
    --------
    >>> gradient_cosine(nn.ReLU(), torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, -1.0]])).square()
    tensor([0.5000])
    """
    if x1.shape != x2.shape:
        raise ValueError(f"x1 has shape {list(x1.shape)} and x2 {list(x2.shape)}; their gradients cannot be compared")
    one, other = (_directions(_input_gradients(module, x, read_out)) for x in (x1, x2))
    cosine: Tensor = vecdot(one, other)
    return cosine


def _directions(gradients: Float[Tensor, "batch units"]) -> Float[Tensor, "batch units"]:
    """Return rows of length one; NaN where a row is zero."""
    scaled = gradients / gradients.abs().amax(1, keepdim=True)
    directions: Tensor = scaled / vector_norm(scaled, dim=1, keepdim=True)
    return directions


def _input_gradients(module: nn.Module, x: Tensor, read_out: ReadOut | None) -> Float[Tensor, "batch units"]:
    """Return ∂f/∂x, one example a row."""
    if not x.is_floating_point():
        raise ValueError(f"x is of {x.dtype}; gradients exist only with respect to floating-point numbers")
    check_module(module, x)
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    start = x.detach().clone().requires_grad_()
    with torch.enable_grad(), global_generators_kept(x):
        output = torch.func.functional_call(module, buffers, (start.clone(),))  # a copy may be changed in place
        f = output.flatten(1).sum(1) if read_out is None and output.ndim > 1 else (read_out or torch.clone)(output)
        if f.shape != x.shape[:1]:
            raise ValueError(f"f must be one number for each of the {len(x)} inputs; its shape is {list(f.shape)}")
        (gradients,) = torch.autograd.grad(f.sum(), start, allow_unused=True) if f.requires_grad else (None,)
    if gradients is None:
        raise ValueError("f does not depend on x by way of autograd; compute it without detach or no_grad")
    return gradients.flatten(1) if gradients.ndim > 1 else gradients.unsqueeze(1)
