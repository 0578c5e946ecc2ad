r"""Residual networks at infinite width: how two inputs, and the gradients at them, are related from block to block.

The branches are :math:`x + α W_2 φ(W_1 x)` as in `branch_strengths`: W_1 has the variance 1/fan-in and α W_2 the
variance σ_w²/fan-in. He's ReLU branches have σ_w² = 4α².
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from signalprop.theory.activations import Activation, ActivationLike, activation
from signalprop.theory.gaussian import correlated_expectation
from signalprop.theory.mean_field import second_moment, slope_second_moment


def residual_correlation(
    act: ActivationLike, depth: int, c: float, sigma_w2: float, q0: float = 1.0
) -> Float[Tensor, " {depth}+1"]:
    r"""Return the correlation of two inputs of equal length after 0, …, L residual branches.

    What a branch adds is uncorrelated with the trunk, so that mean squares and inner products add:

    .. math::

       c_l = \frac{q_{l-1} c_{l-1} + \sigma_w^2 E φ(u_1) φ(u_2)}{q_{l-1} + \sigma_w^2 E φ(u_1)^2}

    with :math:`u_1, u_2` of variance :math:`q_{l-1}` and correlation :math:`c_{l-1}`. The trunk remembers: where a
    plain network forgets the angle exponentially, this one does so by a power of l. For tanh without biases the branch
    saturates as q grows, so that :math:`dc/d \ln l \to (2/π) \arcsin c - c`, and small correlations fall as
    :math:`l^{-(1 - 2/π)}`.

    Parameters
    ----------
    act
        φ: a registered activation, or any that `activation` makes.
    depth
        L ≥ 0, the number of branches.
    c
        Correlation of the inputs, in [−1, 1].
    sigma_w2
        σ_w² ≥ 0, the variance of both matrices of a branch together, α² included.
    q0
        Mean square of the inputs.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    G. Yang, S. Schoenholz, *Mean field residual networks: on the edge of chaos*, arXiv:1712.08969 (other branches).

    Examples
    --------
    >>> [f"{c:.4f}" for c in residual_correlation("relu", 3, 0.0, 4.0).tolist()]
    ['0.0000', '0.2122', '0.3585', '0.4650']
    """
    return _correlations(activation(act), depth, c, sigma_w2, q0)[0]


def residual_gradient_correlation(
    act: ActivationLike, depth: int, c: float, sigma_w2: float, q0: float = 1.0
) -> Float[Tensor, " {depth}+1"]:
    r"""Return the correlation of the input gradients at two inputs, for networks of 0, …, L residual branches.

    The gradient goes back through trunk and branch, and mean squares and inner products add once more:

    .. math:: \prod_{l=1}^L \frac{1 + \sigma_w^2 E φ'(u_1) φ'(u_2)}{1 + \sigma_w^2 E φ'(u_1)^2}

    at the correlations of `residual_correlation`. With σ_w² ∝ 1/L it stays away from 0 at any depth.

    Parameters
    ----------
    act, depth, c, sigma_w2, q0
        As in `residual_correlation`.

    Raises
    ------
    ValueError
        As `residual_correlation`.

    Examples
    --------
    Orthogonal inputs, He's ReLU branches: the first factor is (1 + 4/4)/(1 + 4/2).

    >>> [f"{rho:.4f}" for rho in residual_gradient_correlation("relu", 2, 0.0, 4.0).tolist()]
    ['1.0000', '0.6667', '0.4747']
    >>> f"{residual_gradient_correlation('relu', 100, 0.0, 4 / 100)[-1]:.3f}"
    '0.434'
    """
    phi = activation(act)
    correlations, variances = _correlations(phi, depth, c, sigma_w2, q0)
    factors = [torch.ones((), dtype=torch.float64)]
    for cosine, q in zip(correlations[:-1].tolist(), variances[:-1], strict=True):
        both = correlated_expectation(phi.slope, phi.slope, cosine, q, kinks=phi.kinks)
        factors.append((1 + sigma_w2 * both) / (1 + sigma_w2 * slope_second_moment(phi, q)))
    return torch.stack(factors).cumprod(0)


def _correlations(
    phi: Activation, depth: int, c: float, sigma_w2: float, q0: float
) -> tuple[Float[Tensor, " {depth}+1"], list[float]]:
    """Return correlation and mean square of the trunk after 0, …, L branches."""
    if depth < 0:
        raise ValueError(f"depth must not be negative, got {depth}")
    if not -1 <= c <= 1:
        raise ValueError(f"c must be a correlation, from -1 to 1; got {c:g}")
    if not (0 <= sigma_w2 < math.inf and 0 < q0 < math.inf):
        raise ValueError(f"sigma_w2 must not be negative and q0 be positive, both finite; got {sigma_w2:g} and {q0:g}")
    correlations, variances, q = [c], [q0], q0
    for _ in range(depth):
        product = correlated_expectation(phi.function, phi.function, c, q, kinks=phi.kinks).item()
        grown = q + sigma_w2 * second_moment(phi, q).item()
        c = min(1.0, max(-1.0, (q * c + sigma_w2 * product) / grown))
        q = grown
        correlations.append(c)
        variances.append(q)
    return torch.tensor(correlations, dtype=torch.float64), variances
