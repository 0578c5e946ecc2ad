r"""Slope correlations :math:`E \varphi'(u_1) \varphi'(u_2)` at all correlations at once, as Chebyshev series.

For two Gaussians of variance q and correlation cos θ this is analytic in θ even at kinks, and by Price's theorem the
derivative of :math:`E \varphi(u_1) \varphi(u_2) / q` with respect to the correlation. The series are in
τ ∈ [0, T], :math:`\theta = \sinh(\tau) / \sqrt{1 + q}`: at large q everything happens at small angles.
"""

import math
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from signalprop.theory.activations import Activation
from signalprop.theory.gaussian import QuadratureError, expectation_at_angle


def slope_series(
    phi: Activation, q: Float[Tensor, " n"], terms: int
) -> tuple[Float[Tensor, "n terms"], Float[Tensor, "n terms"]]:
    r"""Return the series of :math:`D(\theta) = E \varphi'(u_1) \varphi'(u_2)` and of its mean over correlations to 1.

    The mean is :math:`R(\theta) = \frac1{1 - \cos\theta} \int_{\cos\theta}^1 D \, dc`, so that
    :math:`\sigma_w^2 R = (1 - f(c)) / (1 - c)` for the correlation map f at a fixed point: where it is 1, f(c) = c and
    the root c = 1 has been divided out.

    Parameters
    ----------
    phi
        The activation.
    q
        Positive variances.
    terms
        Length of the series (`resolution` says how many it takes).

    Examples
    --------
    >>> q = torch.tensor([1.0], dtype=torch.float64)
    >>> from signalprop.theory.activations import activation
    >>> slope, mean = slope_series(activation("relu"), q, 24)
    >>> tau = angle_position(q, torch.full_like(q, math.pi / 3))
    >>> f"{series_at(slope, q, tau).item():.12f} {(math.pi - math.pi / 3) / (2 * math.pi):.12f}"
    '0.333333333333 0.333333333333'
    """
    nodes, transform, inner, weights, values = _rules(terms)
    root = (1 + q[:, None]).sqrt()
    span = _span(q)[:, None]
    angle = torch.sinh(span * nodes) / root
    slopes = expectation_at_angle(phi.slope, phi.slope, angle.cos(), angle.sin(), q[:, None], q[:, None], phi.kinks)
    series = slopes @ transform
    # from 0 to node j, at its Gauss points i: ∫ D sin θ dθ over 1 − cos θ = 2 sin²(θ/2)
    tau = span[..., None] * inner
    within = torch.sinh(tau) / root[..., None]
    measure = within.sin() * torch.cosh(tau) / root[..., None] * span[..., None] * nodes[:, None] * weights
    mean = ((values @ series[:, None, :, None]).squeeze(-1) * measure).sum(-1) / (2 * (angle / 2).sin() ** 2)
    return series, mean @ transform


def resolution(phi: Activation, q: Float[Tensor, " n"]) -> int:
    """Return how many terms the series of `slope_series` need at these q, to about 1e-13.

    Raises
    ------
    QuadratureError
        If 192 terms do not do.

    Examples
    --------
    >>> from signalprop.theory.activations import activation
    >>> resolution(activation("relu"), torch.tensor([1.0], dtype=torch.float64))
    24
    """
    for terms in (24, 48, 96, 192):
        series, _ = slope_series(phi, q, terms)
        if (series[:, -3:].abs().amax(-1) < 3e-13 * series.abs().amax(-1)).all():
            return terms
    raise QuadratureError(f"the slope correlation of {phi.name} at q = {q.tolist()} varies too sharply with the angle")


def series_at(
    series: Float[Tensor, "n terms"], q: Float[Tensor, " n"], tau: Float[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """Return each row's series at its own τ.

    Examples
    --------
    >>> one = torch.ones(1)
    >>> series_at(torch.tensor([[5.0, 0.0]]), one, one)
    tensor([5.])
    """
    phase = (2 * tau / _span(q) - 1).clamp(-1, 1).acos()
    return (series * torch.cos(phase[:, None] * torch.arange(series.shape[1]))).sum(-1)


def angle_position(q: Float[Tensor, " n"], angle: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return τ of an angle θ.

    Examples
    --------
    >>> angle_position(torch.zeros(1), torch.sinh(torch.ones(1)))
    tensor([1.])
    """
    return torch.asinh((1 + q).sqrt() * angle)


def merging_angle(mean: Float[Tensor, "n terms"], q: Float[Tensor, " n"], sigma_w2: Float[Tensor, " n"]) -> Tensor:
    r"""Return the angle θ* ∈ [0, π/2] at which :math:`\sigma_w^2 R(\theta) = 1`: c* = cos θ*; 0 if χ1 ≤ 1.

    R falls with θ there, since a correlation map has only positive derivatives on [0, 1].

    Examples
    --------
    >>> merging_angle(torch.tensor([[0.5, 0.0]]), torch.ones(1), torch.ones(1))
    tensor([0.])
    """
    low, high = torch.zeros_like(q), _span(q)
    for _ in range(52):
        middle = (low + high) / 2
        apart = sigma_w2 * series_at(mean, q, middle) > 1
        low, high = torch.where(apart, middle, low), torch.where(apart, high, middle)
    ordered = sigma_w2 * series_at(mean, q, torch.zeros_like(q)) <= 1
    return torch.where(ordered, torch.zeros_like(q), torch.sinh(high) / (1 + q).sqrt())


def _span(q: Tensor) -> Tensor:
    return angle_position(q, torch.full_like(q, math.pi / 2))


@cache
def _rules(terms: int) -> tuple[Tensor, ...]:
    """Return nodes in [0, 1], values → coefficients, and for each node a Gauss rule from 0 up to it."""
    order = torch.arange(terms, dtype=torch.float64)
    phase = math.pi * (order + 0.5) / terms
    nodes = (1 + phase.cos()) / 2
    transform = 2 / terms * torch.cos(phase[:, None] * order)
    transform[:, 0] /= 2
    x, w = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(terms))
    inner = nodes[:, None] * (1 + x) / 2
    values = torch.cos((2 * inner - 1).acos()[..., None] * order)
    return nodes, transform, inner, w / 2, values
