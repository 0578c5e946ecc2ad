r"""Dropout in a deep network: independent masks part even equal inputs, and no critical point is left.

The convention is that of Schoenholz et al.: each input of a layer is kept with probability ρ and then divided by ρ.
Sums of squares gain the factor 1/ρ; products over two passes, whose masks are independent, gain none.

References
----------
S. Schoenholz, J. Gilmer, S. Ganguli, J. Sohl-Dickstein, *Deep information propagation*, arXiv:1611.01232, section 4.
"""

import torch
from jaxtyping import Float
from scipy import optimize
from torch import Tensor

from signalprop.theory.activations import ActivationLike, activation
from signalprop.theory.correlation import decay_length
from signalprop.theory.fixed_points import fixed_point
from signalprop.theory.gaussian import correlated_expectation
from signalprop.theory.mean_field import check_variances, chi_q, variance_map


def dropout_correlation_map(
    act: ActivationLike,
    c: float | Float[Tensor, "..."],
    q: float | Float[Tensor, "..."],
    sigma_w2: float | Float[Tensor, "..."],
    sigma_b2: float | Float[Tensor, "..."] = 0.0,
    keep: float = 1.0,
) -> Float[Tensor, "..."]:
    r"""Return the correlation one layer later of two passes with independent dropout masks.

    It is :math:`[\sigma_w^2 E \varphi(u_1) \varphi(u_2) + \sigma_b^2] / q'` with
    :math:`q' = (\sigma_w^2/\rho) E \varphi^2 + \sigma_b^2`: below 1 even at c = 1.

    Parameters
    ----------
    act, c, q, sigma_w2, sigma_b2
        As in `correlation_map`.
    keep
        ρ, the probability with which a unit is kept, in (0, 1].

    Raises
    ------
    ValueError
        As `correlation_map`, or if ρ is out of range.

    Examples
    --------
    Without biases the same input, passed twice through one ReLU layer, correlates with itself by ρ:

    >>> f"{dropout_correlation_map('relu', 1.0, 1.0, 2.0, keep=0.9):.6f}"
    '0.900000'
    """
    check_variances(sigma_w2, sigma_b2)
    _check_keep(keep)
    phi = activation(act)
    product = correlated_expectation(phi.function, phi.function, c, q, kinks=phi.kinks)
    return (sigma_w2 * product + sigma_b2) / variance_map(phi, q, sigma_w2 / keep, sigma_b2)


def dropout_fixed_point(
    act: ActivationLike, sigma_w2: float, sigma_b2: float = 0.0, keep: float = 1.0
) -> tuple[float, float]:
    """Return (q*, c*) that a deep network with dropout reaches, c* ∈ [0, 1) for ρ < 1.

    Parameters
    ----------
    act, sigma_w2, sigma_b2, keep
        As in `dropout_correlation_map`; keep below 1 (without dropout: `correlation_fixed_point`).

    Raises
    ------
    ValueError
        As `dropout_correlation_map` and `fixed_point`; if the variance vanishes or diverges, as c* is then not defined.

    Examples
    --------
    >>> q, c = dropout_fixed_point("tanh", 1.76, 0.05, keep=0.95)
    >>> f"{q:.6f} {c:.6f}"
    '0.627057 0.509832'
    """
    _check_keep(keep)
    if keep == 1:
        raise ValueError("keep = 1 is no dropout; see correlation_fixed_point")
    phi = activation(act)
    q = fixed_point(phi, sigma_w2 / keep, sigma_b2)
    if not 0 < q < torch.inf:
        raise ValueError(f"the variance goes to {q:g} at sigma_w2 / keep = {sigma_w2 / keep:g}: no correlation is left")

    def change(c: float) -> float:
        return dropout_correlation_map(phi, c, q, sigma_w2, sigma_b2, keep).item() - c

    if change(0.0) <= 1e-15:  # an odd activation without biases
        return q, 0.0
    return q, float(optimize.brentq(change, 0.0, 1.0, xtol=1e-15, rtol=1e-14))


def dropout_depth_scales(
    act: ActivationLike, sigma_w2: float, sigma_b2: float = 0.0, keep: float = 1.0
) -> tuple[float, float]:
    r"""Return (ξ_q, ξ_c) with dropout: as `depth_scales`, at the fixed point that dropout leaves.

    .. math::

       \xi_q^{-1} = -\ln |\chi_q / \rho|, \qquad \xi_c^{-1} = -\ln \sigma_w^2 E \varphi'(u_1) \varphi'(u_2)

    Parameters
    ----------
    act, sigma_w2, sigma_b2, keep
        As in `dropout_fixed_point`.

    Raises
    ------
    ValueError
        As `dropout_fixed_point`.

    Examples
    --------
    The critical network of tanh forgets within a few layers:

    >>> xi_q, xi_c = dropout_depth_scales("tanh", 1.7609546396, 0.05, keep=0.95)
    >>> f"{xi_c:.3f}"
    '6.775'
    """
    phi = activation(act)
    q, c = dropout_fixed_point(phi, sigma_w2, sigma_b2, keep)
    slope = sigma_w2 * correlated_expectation(phi.slope, phi.slope, c, q, kinks=phi.kinks).item()
    return decay_length(chi_q(phi, q, sigma_w2 / keep).item()), decay_length(slope)


def _check_keep(keep: float) -> None:
    if not 0 < keep <= 1:
        raise ValueError(f"keep is a probability above 0 and at most 1, got {keep:g}")
