r"""How two inputs approach each other or part: the correlation map, its fixed point, and the depth scales.

References
----------
S. Schoenholz, J. Gilmer, S. Ganguli, J. Sohl-Dickstein, *Deep information propagation*, arXiv:1611.01232. S. Hayou,
A. Doucet, J. Rousseau, *On the impact of the activation function on deep neural networks training*, arXiv:1902.06853.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from signalprop.theory.activations import Activation, ActivationLike, activation
from signalprop.theory.fixed_points import critical_point, fixed_point
from signalprop.theory.gaussian import correlated_expectation
from signalprop.theory.mean_field import check_variances, chi1, chi_q, slope_second_moment, variance_map
from signalprop.theory.slope_correlation import angle_position, merging_angle, resolution, series_at, slope_series

_ONE = 1e-13  # a slope this close to 1 is 1


def correlation_map(
    act: ActivationLike,
    c: float | Float[Tensor, "..."],
    q: float | Float[Tensor, "..."],
    sigma_w2: float | Float[Tensor, "..."],
    sigma_b2: float | Float[Tensor, "..."] = 0.0,
) -> Float[Tensor, "..."]:
    r"""Return the correlation one layer later of two inputs with the variance q.

    It is :math:`[\sigma_w^2 E \varphi(u_1) \varphi(u_2) + \sigma_b^2] / q'` with the variance q′ one layer later, which
    is q at a fixed point. Its slope at c = 1 is :math:`\chi_1 q / q'`.

    Parameters
    ----------
    act
        An activation's name, an `Activation` or a callable (`activation`).
    c
        Correlation of the pre-activations, in [−1, 1].
    q
        Their variance, positive.
    sigma_w2, sigma_b2
        σ_w², the weight variance times the fan-in, and σ_b², the bias variance. All broadcast.

    Raises
    ------
    ValueError
        If a correlation or variance is out of range, or φ is dead or not finite.

    Examples
    --------
    In a deep ReLU network all inputs look alike:

    >>> c = 0.0
    >>> for layer in range(4):
    ...     c = correlation_map("relu", c, 1.0, 2.0).item()
    ...     print(f"{c:.4f}")
    0.3183
    0.4937
    0.6048
    0.6810
    """
    check_variances(sigma_w2, sigma_b2)
    phi = activation(act)
    product = correlated_expectation(phi.function, phi.function, c, q, kinks=phi.kinks)
    return ((sigma_w2 * product + sigma_b2) / variance_map(phi, q, sigma_w2, sigma_b2)).clamp(-1, 1)


def correlation_fixed_point(act: ActivationLike, sigma_w2: float, sigma_b2: float = 0.0) -> float:
    """Return the correlation c* ∈ [0, 1] that two inputs reach in a deep network with the variance q*.

    It is 1 where χ1 ≤ 1 (order); in chaos the other root of c = f(c), found with the root 1 divided out, so that it is
    accurate next to the critical line too: 1 − c* to about 1e-14/(χ1 − 1) of itself.

    Parameters
    ----------
    act, sigma_w2, sigma_b2
        As in `fixed_points`.

    Raises
    ------
    ValueError
        As `fixed_point`, or if the variance diverges.

    Examples
    --------
    >>> f"{correlation_fixed_point('tanh', 2.5, 0.05):.6f}"
    '0.446804'
    """
    phi = activation(act)
    return math.cos(_stationary(phi, sigma_w2, sigma_b2)[1])


def depth_scales(act: ActivationLike, sigma_w2: float, sigma_b2: float = 0.0) -> tuple[float, float]:
    r"""Return (ξ_q, ξ_c): the numbers of layers over which variance and correlation approach q* and c* by a factor e.

    .. math::

       \xi_q^{-1} = -\ln |\chi_q|, \qquad \xi_c^{-1} = -\ln \sigma_w^2 E \varphi'(u_1) \varphi'(u_2) \text{ at } c^*,

    inf where the approach is algebraic, on the critical line (`critical_rate`). At q* = 0 ξ_c is of the covariance.

    Parameters
    ----------
    act, sigma_w2, sigma_b2
        As in `fixed_points`.

    Raises
    ------
    ValueError
        As `fixed_point`, or if the variance diverges.

    Examples
    --------
    >>> for sigma_w2 in (1.0, 1.75, 2.5):
    ...     xi_q, xi_c = depth_scales("tanh", sigma_w2, 0.05)
    ...     print(f"{xi_q:.5f} {xi_c:.4f}")
    1.74763 3.6270
    1.52770 426.1977
    1.17987 11.7956
    """
    phi = activation(act)
    q, _, slope = _stationary(phi, sigma_w2, sigma_b2)
    return decay_length(chi_q(phi, q, sigma_w2).item()), decay_length(slope)


def gradient_depth_scale(act: ActivationLike, sigma_w2: float, sigma_b2: float = 0.0) -> float:
    r"""Return :math:`\xi_\nabla = -1/\ln \chi_1` at q*: squared gradients shrink by e every ξ_∇ layers.

    Negative in chaos, where they grow; inf on the critical line. In order it is ξ_c.

    Parameters
    ----------
    act, sigma_w2, sigma_b2
        As in `fixed_points`.

    Raises
    ------
    ValueError
        As `fixed_point`, or if the variance diverges.

    Examples
    --------
    >>> f"{gradient_depth_scale('tanh', 1.0, 0.05):.4f} {gradient_depth_scale('tanh', 2.5, 0.05):.4f}"
    '3.6270 -7.9793'
    """
    q = _finite(fixed_point(act, sigma_w2, sigma_b2), sigma_w2, sigma_b2)
    return decay_length(chi1(act, q, sigma_w2).item())


def critical_rate(act: ActivationLike, sigma_b2: float) -> tuple[float, int]:
    r"""Return (κ, p) of the algebraic approach :math:`1 - c_l \approx \kappa / l^p` on the critical line.

    Where φ′ is continuous p = 1 and :math:`\kappa = 2 / (q \sigma_w^2 E \varphi''^2)`. Where it jumps by Δ_k at u = k
    the slope correlation falls linearly with the angle, by :math:`B = \sum_k \Delta_k^2 e^{-k^2/2q} / 2\pi` a radian,
    so that p = 2 and :math:`\kappa = 9 / (2 \sigma_w^4 B^2)`; for ReLU 9π²/2.

    Parameters
    ----------
    act, sigma_b2
        As in `critical_point`.

    Raises
    ------
    ValueError
        As `critical_point`, or if q* = 0, where no variance is left to correlate.

    Examples
    --------
    >>> f"{critical_rate('tanh', 0.05)[0]:.5f}"
    '6.17113'
    >>> kappa, power = critical_rate("relu", 0.0)
    >>> f"{kappa:.3f} {power}"
    '44.413 2'
    """
    phi = activation(act)
    sigma_w2, q = critical_point(phi, sigma_b2)
    if q == 0:
        raise ValueError(f"{phi.name} is critical at q* = 0 without biases: no variance is left to correlate")
    fall = 0.0
    for kink in phi.kinks:
        side = 1e-9 * (1 + abs(kink))
        below, above = phi.slope(torch.tensor([kink - side, kink + side], dtype=torch.float64)).tolist()
        jump = above - below if abs(above - below) > 1e-7 else 0.0
        fall += jump**2 * math.exp(-(kink**2) / (2 * q)) / (2 * math.pi)
    if fall > 0:
        return 9 / (2 * (sigma_w2 * fall) ** 2), 2
    bend = correlated_expectation(phi.curvature, phi.curvature, 1.0, q, kinks=phi.kinks).item()
    return 2 / (q * sigma_w2 * bend), 1


def gradient_correlation(
    act: ActivationLike, depth: int, c: float, q: float, sigma_w2: float, sigma_b2: float = 0.0
) -> Float[Tensor, " depth"]:
    r"""Return the correlation of the input gradients of two inputs, for networks of 1, …, `depth` layers.

    Under the independence of forward and backward pass that holds at infinite width it is
    :math:`\prod_l E \varphi'(u_1) \varphi'(u_2) / E \varphi'^2` at the correlations and variances of all layers.

    Parameters
    ----------
    act, sigma_w2, sigma_b2
        As in `correlation_map`.
    depth
        Number of activation layers.
    c, q
        Correlation and variance of the first pre-activations.

    Raises
    ------
    ValueError
        As `correlation_map`, or if φ′ is dead.

    References
    ----------
    D. Balduzzi et al., *The shattered gradients problem*, arXiv:1702.08591, whose exponential decay assumes that the
    correlation of the signals stays where it is.

    Examples
    --------
    >>> [f"{r:.4f}" for r in gradient_correlation("relu", 5, 0.0, 1.0, 2.0)[[0, 4]].tolist()]
    ['0.5000', '0.1046']
    """
    phi = activation(act)
    ratios = []
    for _ in range(depth):
        both = correlated_expectation(phi.slope, phi.slope, c, q, kinks=phi.kinks)
        ratios.append(both / slope_second_moment(phi, q))
        c = correlation_map(phi, c, q, sigma_w2, sigma_b2).item()
        q = variance_map(phi, q, sigma_w2, sigma_b2).item()
    return torch.stack(ratios).cumprod(0) if ratios else torch.zeros(0, dtype=torch.float64)


def decay_length(factor: float) -> float:
    """Return −1/ln|factor|: after how many layers a distance multiplied by `factor` each has shrunk by e; signed.

    Examples
    --------
    >>> decay_length(1.0), round(decay_length(math.exp(-0.1)), 9), decay_length(0.0)
    (inf, 10.0, 0.0)
    """
    if abs(abs(factor) - 1) < _ONE:
        return math.inf
    return -1 / math.log(abs(factor)) if factor else 0.0


def _stationary(phi: Activation, sigma_w2: float, sigma_b2: float) -> tuple[float, float, float]:
    """Return q*, the angle between two inputs there, and the slope of the correlation map at it."""
    q = _finite(fixed_point(phi, sigma_w2, sigma_b2), sigma_w2, sigma_b2)
    slope = chi1(phi, q, sigma_w2).item()
    if q == 0 or slope <= 1 + _ONE:
        return q, 0.0, slope
    variance = torch.tensor([q], dtype=torch.float64)
    slopes, means = slope_series(phi, variance, resolution(phi, variance))
    angle = merging_angle(means, variance, torch.full_like(variance, sigma_w2))
    at_angle = series_at(slopes, variance, angle_position(variance, angle))
    return q, angle.item(), sigma_w2 * at_angle.item()


def _finite(q: float, sigma_w2: float, sigma_b2: float) -> float:
    if math.isinf(q):
        raise ValueError(
            f"the variance diverges at sigma_w2 = {sigma_w2:g}, sigma_b2 = {sigma_b2:g}: nothing stationary"
        )
    return q
