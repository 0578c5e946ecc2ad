"""Condition numbers: how they slow descent down, and how large they are in a random layer and in a balanced chain."""

import math

from scipy import integrate


def quadratic_steps(condition_number: float, tolerance: float) -> float:
    r"""Return how many steps shrink the slowest error of a quadratic loss to `tolerance` times its start.

    With the step 1/λ_max that error is multiplied by :math:`1 - 1/\kappa` each step, so
    :math:`k = \ln \epsilon / \ln(1 - 1/\kappa) \approx \kappa \ln(1/\epsilon)`. A real number; the count is the next
    whole one.

    Raises
    ------
    ValueError
        If κ is not above 1, or the tolerance not between 0 and 1.

    Examples
    --------
    >>> f"{quadratic_steps(100.0, 1e-3):.1f}"
    '687.3'
    """
    if not condition_number > 1:
        raise ValueError(f"condition_number must be above 1, got {condition_number:g}")
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance must lie between 0 and 1, got {tolerance:g}")
    return math.log(tolerance) / math.log1p(-1 / condition_number)


def quadratic_edge(curvature: float) -> float:
    r"""Return the rate from which gradient descent on a quadratic loss diverges: 2/λ_max.

    A step multiplies the error along the steepest direction by :math:`1 - ηλ_{max}`, which is below −1 beyond it.

    Raises
    ------
    ValueError
        If λ_max is not positive.

    Examples
    --------
    >>> quadratic_edge(4.0)
    0.5
    """
    if not curvature > 0:
        raise ValueError(f"the curvature must be positive, got {curvature:g}")
    return 2 / curvature


def balanced_chain_eigenvalues(w: float, depth: int) -> tuple[float, float]:
    r"""Return the Hessian's eigenvalues (single, repeated) of ½(w_1 ⋯ w_L − 1)² where all weights equal w.

    The repeated one, L − 1 times, is :math:`(1 - w^L) w^{L-2}`, for differences between the weights; the single one is
    :math:`L w^{2L-2} - (L-1)(1 - w^L) w^{L-2}`, for moving all together. At w = 1 they are L and 0.

    Raises
    ------
    ValueError
        If there are fewer than two layers.

    Examples
    --------
    >>> balanced_chain_eigenvalues(1.0, 5)
    (5.0, 0.0)
    """
    if depth < 2:
        raise ValueError(f"depth must be at least 2, got {depth}")
    repeated = (1 - w**depth) * w ** (depth - 2)
    return depth * w ** (2 * depth - 2) - (depth - 1) * repeated, repeated


def gaussian_log_condition(n: int) -> float:
    r"""Return the mean of ln κ of an n×n matrix of independent real normals, for large n: ln n + 1.537.

    κ/n has the limiting density :math:`(2x+4) x^{-3} \exp(-2/x - 2/x^2)`, whose mean logarithm is integrated here.

    Raises
    ------
    ValueError
        If n < 2.

    References
    ----------
    A. Edelman, *Eigenvalues and condition numbers of random matrices*, SIAM J. Matrix Anal. Appl. 9 (1988).

    Examples
    --------
    >>> f"{gaussian_log_condition(100) - math.log(100):.4f}"
    '1.5371'
    """
    if n < 2:
        raise ValueError(f"n must be at least 2, got {n}")
    constant, _ = integrate.quad(
        lambda x: math.log(x) * (2 * x + 4) / x**3 * math.exp(-2 / x - 2 / x**2), 0, math.inf, epsabs=0, epsrel=1e-10
    )
    return math.log(n) + float(constant)
