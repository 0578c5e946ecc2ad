"""Eigenvalues of the Hessian of a loss: the smallest, the largest, and how all of them are distributed."""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Generator, Tensor, nn

from signalprop.measure.checks import check_loss, check_tensors, trained_parameters
from signalprop.streams import global_generators_kept

_KAPPA = 3.0  # of curvlinops: sets the standard deviation of a bump on [-1, 1], 2 / (steps − 1) / √(8 ln κ)
_EDGE_TOLERANCE = 1e-4  # of the ends between which a density is drawn


def hessian_extremes(
    module: nn.Module, loss_fn: Callable[[Any], Tensor], *, generator: Generator, tolerance: float = 1e-4
) -> tuple[float, float]:
    r"""Return the smallest and the largest eigenvalue of :math:`\partial^2\,\mathrm{loss}/\partial\theta^2`.

    θ are all parameters of the module that are not frozen. Implicitly restarted Lanczos (ARPACK) finds the eigenvalue
    λ of largest magnitude first, and then the other end of the spectrum as the largest magnitude of :math:`H - 2
    \lambda I`: ARPACK's tolerance is relative to what it looks for, and the smallest eigenvalue is often zero.

    The loss is computed once, on a copy of the module, and its graph is kept for all products with H: the module is
    left as it was, also after an exception; batch normalization in training mode uses the batch; random layers draw
    once, from a copy of the global generator.

    Parameters
    ----------
    module
        Any module of at least three trainable parameters, in the mode in which it is to be measured.
    loss_fn
        Maps the module to a scalar loss on its data: ``lambda net: cross_entropy(net(x), y)``. It is given a copy, so
        it must use its argument.
    generator
        On the CPU; draws the start vectors.
    tolerance
        Largest error, relative to the largest magnitude of an eigenvalue.

    Raises
    ------
    ValueError
        If the loss is not a scalar, is not finite or does not depend on the parameters; if they are fewer than three
        or not finite; if a product with the Hessian is not finite; if the tolerance is not positive.
    scipy.sparse.linalg.ArpackNoConvergence
        If the eigenvalues are too close to each other for the tolerance.

    References
    ----------
    R. B. Lehoucq, D. C. Sorensen, C. Yang, *ARPACK Users' Guide*, SIAM 1998.

    Examples
    --------
    A loss a²/2 + 2b² − 3c²/2 in the three weights:

    >>> net = nn.Linear(3, 1, bias=False).double()
    >>> curvatures = torch.tensor([1.0, 4.0, -3.0], dtype=torch.float64)
    >>> def loss_fn(net):
    ...     return (curvatures * net.weight**2).sum() / 2
    >>> smallest, largest = hessian_extremes(net, loss_fn, generator=torch.Generator())
    >>> round(smallest, 3), round(largest, 3)
    (-3.0, 4.0)
    """
    if not tolerance > 0:
        raise ValueError(f"tolerance must be positive, got {tolerance:g}")
    return _extremes(_Hessian(module, loss_fn), generator, tolerance)


def hessian_density(
    module: nn.Module,
    loss_fn: Callable[[Any], Tensor],
    *,
    steps: int,
    draws: int,
    generator: Generator,
    points: int = 1024,
) -> tuple[Float[Tensor, " points"], Float[Tensor, " points"]]:
    r"""Return the density of the eigenvalues of the Hessian, by stochastic Lanczos quadrature.

    What is returned estimates :math:`\frac1n\sum_i \mathcal N(\lambda;\lambda_i,s^2)`: every eigenvalue is a bump.
    With the points from a to b, s = (b − a) / (steps − 1) / √(8 ln 3), so that `steps` is the resolution. The points
    reach five s beyond the outermost eigenvalues, so that the mass is 1. What is done to the module is as in
    `hessian_extremes`.

    Parameters
    ----------
    module, loss_fn
        As in `hessian_extremes`.
    steps
        Products with the Hessian in a draw, at least 5 and at most the number of parameters.
    draws
        Number of random start vectors. The mean of the density has the variance :math:`2 (\overline{\lambda^2} -
        \bar\lambda^2) / (n + 2)` over n parameters, divided by `draws`.
    generator
        On the CPU; draws the start vectors.
    points
        Number of points, at least 3 · `steps`, so that every bump is seen.

    Returns
    -------
    grid, density
        Eigenvalues in equal steps and the density there, each [points], double precision, on the CPU.

    Raises
    ------
    ValueError
        As in `hessian_extremes`; if `steps`, `draws` or `points` are out of range; if all eigenvalues are equal.

    References
    ----------
    V. Papyan, *Traces of class/cross-class structure pervade deep learning spectra*, JMLR 21 (2020), algorithm 2, as
    implemented in curvlinops; B. Ghorbani, S. Krishnan, Y. Xiao, arXiv:1901.10159.

    Examples
    --------
    >>> net = nn.Linear(8, 1, bias=False).double()
    >>> curvatures = torch.arange(8, dtype=torch.float64)
    >>> grid, density = hessian_density(
    ...     net, lambda net: (curvatures * net.weight**2).sum(), steps=8, draws=3, generator=torch.Generator()
    ... )
    >>> round(torch.trapezoid(density, grid).item(), 4)
    1.0
    """
    from curvlinops import lanczos_approximate_spectrum  # slow to import, and warns of its own torch.jit

    hessian = _Hessian(module, loss_fn)
    size = hessian.shape[0]
    if not 5 <= steps <= size:
        raise ValueError(f"steps must be from 5 to the {size} parameters, got {steps}")
    if draws < 1 or points < 3 * steps:
        raise ValueError(f"draws must be at least 1 and points at least 3 * steps = {3 * steps}: got {draws}, {points}")
    low, high = _extremes(hessian, generator, _EDGE_TOLERANCE)
    if high - low <= 10 * _EDGE_TOLERANCE * max(abs(low), abs(high)):
        raise ValueError(f"all eigenvalues of the Hessian are {high:g}; they have no density")
    reach = 5 * 2 / (steps - 1) / math.sqrt(8 * math.log(_KAPPA))  # five bumps' standard deviations, on [-1, 1]
    with _drawing_from(generator):
        grid, density = lanczos_approximate_spectrum(
            hessian, steps, points, draws, _KAPPA, boundaries=(low, high), margin=reach / (1 - reach) / 2
        )
    return grid, density


class _Hessian:
    """Multiplies with the Hessian by differentiating the gradient's graph once more.

    curvlinops' own `HessianLinearOperator` goes by way of torch.func, which refuses the running statistics of batch
    normalization in training mode. This is what curvlinops' Lanczos asks of an operator. To its callers it is on the
    CPU and in double precision, wherever the module is, so that start vectors are the same for all devices.
    """

    device = torch.device("cpu")
    dtype = torch.float64

    def __init__(self, module: nn.Module, loss_fn: Callable[[Any], Tensor]) -> None:
        kind = type(module).__name__
        check_tensors(module)
        size = sum(weight.numel() for weight in trained_parameters(module).values())
        if size < 3:
            raise ValueError(f"{kind} has {size} trainable parameters; Lanczos needs at least 3: write the Hessian out")
        module = copy.deepcopy(module)
        self._weights = list(trained_parameters(module).values())
        with torch.enable_grad(), global_generators_kept(*self._weights):
            loss = check_loss(loss_fn(module))
            if not math.isfinite(loss.item()):
                raise ValueError(f"loss_fn returned {loss.item()}; check its data, or take a smaller learning rate")
            found: tuple[Tensor | None, ...] = (None,)
            if loss.requires_grad:
                found = torch.autograd.grad(loss, self._weights, create_graph=True, allow_unused=True)
        if all(gradient is None for gradient in found):
            raise ValueError(
                f"the loss does not depend on the trainable parameters of the {kind} that loss_fn was given; "
                "compute it from the argument, without detach or no_grad"
            )
        # a gradient that is constant has no graph: its rows of the Hessian are zero
        self._gradients = {i: g for i, g in enumerate(found) if g is not None and g.requires_grad}
        self.shape = (size, size)

    def to_scipy(self) -> LinearOperator:
        """Return the operator for numpy vectors."""
        return LinearOperator(self.shape, lambda v: (self @ torch.from_numpy(v).flatten()).numpy(), dtype="float64")

    def __matmul__(self, vector: Float[Tensor, " parameters"]) -> Float[Tensor, " parameters"]:
        """Return H v."""
        if not self._gradients:
            return torch.zeros_like(vector)
        parts = [
            part.view_as(weight).to(weight)
            for part, weight in zip(vector.split([w.numel() for w in self._weights]), self._weights, strict=True)
        ]
        products = torch.autograd.grad(
            list(self._gradients.values()),
            self._weights,
            [parts[i] for i in self._gradients],
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        product = torch.cat([p.flatten() for p in products]).to(vector)
        if not product.isfinite().all():
            raise ValueError("the Hessian holds NaN or infinity although the loss is finite, as that of a root at zero")
        return product


def _extremes(hessian: _Hessian, generator: Generator, tolerance: float) -> tuple[float, float]:
    """Return the smallest and the largest eigenvalue."""
    operator = hessian.to_scipy()
    start = torch.randn(hessian.shape[0], generator=generator, dtype=torch.float64, device="cpu").numpy()
    if not operator.matvec(start).any():
        return 0.0, 0.0

    def largest_magnitude(of: LinearOperator) -> float:
        # a third of the tolerance: 2λ and an end of the other sign make it three times as large
        (value,) = eigsh(of, k=1, which="LM", v0=start, tol=tolerance / 3, return_eigenvectors=False)
        return float(value)

    one_end = largest_magnitude(operator)
    shifted = LinearOperator(
        operator.shape, matvec=lambda v: operator.matvec(v) - 2 * one_end * v, dtype=operator.dtype
    )
    other_end = largest_magnitude(shifted) + 2 * one_end
    return min(one_end, other_end), max(one_end, other_end)


@contextmanager
def _drawing_from(generator: Generator) -> Iterator[None]:
    """Let what draws from the global generator on the CPU draw from `generator`, and leave the global one alone."""
    with global_generators_kept():
        torch.set_rng_state(generator.get_state())
        try:
            yield
        finally:
            generator.set_state(torch.get_rng_state())
