"""Residual networks at infinite width: the size of the branches' Jacobians, which decides their spectrum."""

import math

import torch
from jaxtyping import Float
from scipy import optimize
from torch import Tensor

from signalprop.theory.activations import ActivationLike, activation
from signalprop.theory.mean_field import second_moment, slope_second_moment


def branch_strengths(act: ActivationLike, depth: int, sigma_w2: float, q0: float = 1.0) -> Float[Tensor, " {depth}"]:
    r"""Return :math:`θ_l = \sigma_w^2 \, E φ'(\sqrt{q_{l-1}} u)^2` of L branches :math:`x + α W_2 φ(W_1 x)`.

    It is the mean squared singular value of the Jacobian of branch l; their sum is the c of `residual_blocks`, and the
    mean squared singular value of the network is :math:`\prod_l (1 + θ_l)`. W_1 has the variance 1/fan-in, α W_2 has
    σ_w²/fan-in, so that the activation sees the mean square of the trunk, which grows as

    .. math:: q_l = q_{l-1} + \sigma_w^2 \, E φ(\sqrt{q_{l-1}} u)^2 .

    Parameters
    ----------
    act
        φ: a registered activation, or any that `activation` makes.
    depth
        L ≥ 1, the number of branches.
    sigma_w2
        σ_w² > 0, the variance of both matrices of a branch together.
    q0
        Mean square of the input.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    W. Tarnowski, P. Warchoł, S. Jastrzębski, J. Tabor, M. Nowak, arXiv:1809.08848; two layers are derived here.

    Examples
    --------
    >>> branch_strengths("relu", 4, 0.5)
    tensor([0.2500, 0.2500, 0.2500, 0.2500], dtype=torch.float64)
    """
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
    if not (0 < sigma_w2 < math.inf and 0 < q0 < math.inf):
        raise ValueError(f"sigma_w2 and q0 must be positive and finite, got {sigma_w2:g} and {q0:g}")
    phi, q, strengths = activation(act), q0, []
    for _ in range(depth):
        strengths.append(sigma_w2 * slope_second_moment(phi, q).item())
        q += sigma_w2 * second_moment(phi, q).item()
    return torch.tensor(strengths, dtype=torch.float64)


def branch_variance(act: ActivationLike, depth: int, c: float, q0: float = 1.0) -> float:
    r"""Return the σ_w² with which L branches have the total strength c; see `branch_strengths`.

    Raises
    ------
    ValueError
        If a number is out of range, or no σ_w² gives as much.

    Examples
    --------
    >>> f"{branch_variance('relu', 50, 0.25):.6f}"
    '0.010000'
    """
    if not 0 < c < math.inf:
        raise ValueError(f"c must be positive and finite, got {c:g}")

    def excess(log_variance: float) -> float:
        return float(branch_strengths(act, depth, math.exp(log_variance), q0).sum()) - c

    low, high = math.log(c / depth) - 10, math.log(c / depth)
    while excess(high) < 0:
        high += 1
        if high > math.log(c / depth) + 30:
            raise ValueError(f"no branches of {activation(act).name} have a total strength of {c:g}")
    return math.exp(float(optimize.brentq(excess, low, high, xtol=1e-14, rtol=1e-14)))
