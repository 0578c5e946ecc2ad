r"""Highway layers at infinite width: what the gates do to a signal, to its gradient, and to the way straight through.

A layer is :math:`h_l = T \odot \varphi(W h_{l-1}) + (1 - T) \odot h_{l-1}` with the gate
:math:`T = \mathrm{sigmoid}(W_T h_{l-1} + b)`. The entries of W and W_T are independent, of variances σ_w²/n and σ_T²/n,
so that for n → ∞ a unit's transform, its gate and its input are independent given the layer before.

References
----------
R. Srivastava, K. Greff, J. Schmidhuber, *Highway networks*, arXiv:1505.00387 (the layer). The maps are derived here.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from signalprop.theory.activations import ActivationLike
from signalprop.theory.gaussian import gaussian_expectation
from signalprop.theory.mean_field import mean_activation, second_moment, slope_second_moment


class HighwayProfile(NamedTuple):
    """What `highway_profile` returns, [L + 1] each: ``signal`` and ``mean`` of h_0, …, h_L, and ``gradient``."""

    signal: Tensor
    mean: Tensor
    gradient: Tensor


def highway_profile(
    act: ActivationLike,
    depth: int,
    gate_bias: float,
    *,
    sigma_w2: float,
    gate_sigma_w2: float,
    q0: float = 1.0,
    mean0: float = 0.0,
) -> HighwayProfile:
    r"""Return the mean square q_l and the mean m_l of the signal, and the mean square of the gradient, layer by layer.

    With z ~ N(0, σ_w² q) into φ and T = sigmoid(b + N(0, σ_T² q)),

    .. math::

        m' &= E T\, E φ + (1 - E T)\, m, \\
        q' &= E T^2\, E φ^2 + E (1 - T)^2\, q + 2 E T (1 - T)\; m\, E φ,

    and a gradient of mean square p behind the layer has in front of it

    .. math:: p \left[ E T^2\, σ_w^2 E φ'^2 + E (1 - T)^2 + σ_T^2\, E [T (1 - T)]^2\, E (φ - h)^2 \right].

    Parameters
    ----------
    act
        φ: an activation's name, an `Activation` or a callable.
    depth
        L ≥ 0, the number of highway layers.
    gate_bias
        b.
    sigma_w2, gate_sigma_w2
        σ_w² and σ_T², not negative. With σ_T² = 0 the gates are constants.
    q0, mean0
        Mean square and mean of h_0.

    Returns
    -------
    HighwayProfile
        float64. ``gradient[l]`` is at h_l, over that at h_L.

    Raises
    ------
    ValueError
        If the depth is negative, q0 not positive, or the mean larger than √q0; and as `second_moment` does.

    Examples
    --------
    >>> half = highway_profile("linear", 2, 0.0, sigma_w2=1.0, gate_sigma_w2=0.0)
    >>> half.signal.tolist(), [round(p, 10) for p in half.gradient.tolist()]
    ([1.0, 0.5, 0.25], [0.25, 0.5, 1.0])
    """
    if depth < 0 or not 0 < q0 < math.inf or mean0**2 > q0:
        raise ValueError(f"take depth ≥ 0, q0 > 0 and |mean0| ≤ √q0, got {depth}, {q0} and {mean0}")
    signal, mean, factors = [float(q0)], [float(mean0)], []
    for _ in range(depth):
        q, m = signal[-1], mean[-1]
        new, new_square = float(mean_activation(act, sigma_w2 * q)), float(second_moment(act, sigma_w2 * q))
        slope = float(slope_second_moment(act, sigma_w2 * q))
        opened, squared, carried, turning = _gate_moments(gate_bias, gate_sigma_w2 * q)
        mean.append(opened * new + (1 - opened) * m)
        signal.append(squared * new_square + carried * q + 2 * (opened - squared) * m * new)
        through_gate = gate_sigma_w2 * turning * (new_square - 2 * m * new + q)
        factors.append(squared * sigma_w2 * slope + carried + through_gate)
    gradient = torch.tensor([1.0, *reversed(factors)], dtype=torch.float64).cumprod(0).flip(0)
    return HighwayProfile(torch.tensor(signal, dtype=torch.float64), torch.tensor(mean, dtype=torch.float64), gradient)


def highway_carry(depth: int, gate_bias: float) -> float:
    r"""Return :math:`(1 - \mathrm{sigmoid}(b))^L`: what is left of an input on the way straight through L gates.

    Where the gates are constants and φ is odd, it is the mean Jacobian, exactly and at any width:
    :math:`E\, \partial h_L / \partial h_0 = (1 - \mathrm{sigmoid}(b))^L\, I`.

    Parameters
    ----------
    depth
        L ≥ 0.
    gate_bias
        b.

    Raises
    ------
    ValueError
        If the depth is negative.

    Examples
    --------
    >>> f"{highway_carry(50, -1.0):.1e} {highway_carry(50, -3.0):.3f} {highway_carry(50, -math.log(49)):.3f}"
    '1.6e-07 0.088 0.364'
    """
    if depth < 0:
        raise ValueError(f"depth must not be negative, got {depth}")
    return math.exp(-depth * math.log1p(math.exp(gate_bias)))


def highway_gate_bias(depth: int, carried: float = math.exp(-1)) -> float:
    r"""Return the bias b at which :math:`(1 - \mathrm{sigmoid}(b))^L` is the share `carried`.

    For the usual share 1/e it is :math:`-\ln(L - \tfrac12)` up to :math:`O(1/L^2)`.

    Parameters
    ----------
    depth
        L ≥ 1.
    carried
        Between 0 and 1, both excluded.

    Raises
    ------
    ValueError
        If the depth or the share is out of range.

    Examples
    --------
    >>> f"{highway_gate_bias(54):.4f} {-math.log(53.5):.4f}"
    '-3.9797 -3.9797'
    """
    if depth < 1 or not 0 < carried < 1:
        raise ValueError(f"take depth ≥ 1 and a share between 0 and 1, got {depth} and {carried}")
    return math.log(math.expm1(-math.log(carried) / depth))


def _gate_moments(bias: float, variance: float) -> tuple[float, float, float, float]:
    """Return E T, E T², E (1 − T)² and E [T (1 − T)]² of a gate whose input is N(b, variance)."""

    def moment(power: int, other: int) -> float:
        def product(u: Tensor) -> Tensor:
            return torch.sigmoid(bias + u) ** power * torch.sigmoid(-bias - u) ** other

        if variance == 0:
            return float(product(torch.zeros((), dtype=torch.float64)))
        return float(gaussian_expectation(product, variance))

    return moment(1, 0), moment(2, 0), moment(0, 2), moment(2, 2)
