r"""Signal propagation at infinite width: the moments of an activation, and the map of the variance from layer to layer.

A layer :math:`h_l = W_l \varphi(h_{l-1}) + b_l` has independent weights of variance σ_w²/N and biases of variance σ_b².
As N → ∞ its pre-activations are Gaussian with the variance q_l, and q_l follows from q_{l−1} alone.

References
----------
B. Poole, S. Lahiri, M. Raghu, J. Sohl-Dickstein, S. Ganguli, *Exponential expressivity in deep neural networks through
transient chaos*, arXiv:1606.05340. S. Schoenholz, J. Gilmer, S. Ganguli, J. Sohl-Dickstein, *Deep information
propagation*, arXiv:1611.01232.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from signalprop.theory.activations import Activation, ActivationLike, Elementwise, activation
from signalprop.theory.gaussian import expectation_or_zero, gaussian_expectation


def second_moment(act: ActivationLike, q: float | Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    r"""Return :math:`E \varphi(\sqrt q z)^2`, z ~ N(0, 1): the mean square of a layer's outputs.

    Parameters
    ----------
    act
        An activation's name, an `Activation` or a callable (`activation`).
    q
        Pre-activation variance, not negative, any shape.

    Returns
    -------
    Tensor
        Shape of q, float64.

    Raises
    ------
    ValueError
        As `activation` and `gaussian_expectation`: φ not finite or dead, q negative.

    Examples
    --------
    >>> f"{second_moment('tanh', 1.0):.10f}"
    '0.3942944904'
    """
    phi = activation(act)
    variance = torch.as_tensor(q, dtype=torch.float64)
    # where q = 0 the output is φ(0), which may rightly be 0
    value = gaussian_expectation(lambda u: phi.function(u) ** 2, _not_zero(variance), phi.kinks)
    return torch.where(variance > 0, value, phi.function(torch.zeros_like(variance)) ** 2)


def mean_activation(act: ActivationLike, q: float | Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    r"""Return :math:`E \varphi(\sqrt q z)`: the mean of a layer's outputs; arguments as `second_moment`.

    Examples
    --------
    >>> f"{mean_activation('relu', 1.0):.10f} {(2 * torch.pi) ** -0.5:.10f}"
    '0.3989422804 0.3989422804'
    """
    phi = activation(act)
    variance = torch.as_tensor(q, dtype=torch.float64)
    value = gaussian_expectation(phi.function, _not_zero(variance), phi.kinks)
    return torch.where(variance > 0, value, phi.function(torch.zeros_like(variance)))


def slope_second_moment(act: ActivationLike, q: float | Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    r"""Return :math:`E \varphi'(\sqrt q z)^2`, at q = 0 its limit; arguments as `second_moment`.

    Examples
    --------
    >>> slope_second_moment("relu", torch.tensor([0.0, 3.0]))
    tensor([0.5000, 0.5000], dtype=torch.float64)
    """
    phi = activation(act)
    return gaussian_expectation(lambda u: phi.slope(u) ** 2, _not_zero(q), phi.kinks)


def variance_map(
    act: ActivationLike,
    q: float | Float[Tensor, "..."],
    sigma_w2: float | Float[Tensor, "..."],
    sigma_b2: float | Float[Tensor, "..."] = 0.0,
) -> Float[Tensor, "..."]:
    r"""Return the variance one layer later, :math:`\sigma_w^2 E \varphi(\sqrt q z)^2 + \sigma_b^2`.

    Parameters
    ----------
    act, q
        As `second_moment`.
    sigma_w2, sigma_b2
        σ_w², the weight variance times the fan-in, and σ_b², the bias variance; they broadcast with q.

    Raises
    ------
    ValueError
        As `second_moment`, or if σ_w² or σ_b² is negative.

    Examples
    --------
    The variance of a tanh network with σ_w = 1 decays slowly, never exponentially:

    >>> q = 1.0
    >>> for layer in range(3):
    ...     q = variance_map("tanh", q, 1.0).item()
    ...     print(f"{q:.5f}")
    0.39429
    0.23645
    0.16666
    """
    check_variances(sigma_w2, sigma_b2)
    return sigma_w2 * second_moment(act, q) + sigma_b2


def chi1(
    act: ActivationLike, q: float | Float[Tensor, "..."], sigma_w2: float | Float[Tensor, "..."]
) -> Float[Tensor, "..."]:
    r"""Return :math:`\chi_1 = \sigma_w^2 E \varphi'(\sqrt q z)^2`, by which one layer multiplies squared gradients.

    It is also the slope of the correlation map at c = 1: above 1 like inputs part (chaos), below they merge (order).

    Parameters
    ----------
    act, q, sigma_w2
        As `variance_map`.

    Raises
    ------
    ValueError
        As `variance_map`.

    Examples
    --------
    >>> f"{chi1('tanh', 1.0, 1 / second_moment('tanh', 1.0)):.4f}"
    '1.1778'
    """
    check_variances(sigma_w2)
    return sigma_w2 * slope_second_moment(act, q)


def chi_q(
    act: ActivationLike, q: float | Float[Tensor, "..."], sigma_w2: float | Float[Tensor, "..."]
) -> Float[Tensor, "..."]:
    r"""Return :math:`\chi_q = dq_l/dq_{l-1} = \sigma_w^2 E[\varphi'^2 + \varphi \varphi'']`, the variance map's slope.

    Computed as :math:`\sigma_w^2 E[u \varphi(u) \varphi'(u)]/q`, equal by Stein's lemma, which needs no φ″ and so holds
    at kinks, declared or not; by the formula with φ″ for q < 1e-4 if φ(0) ≠ 0, where that would cancel.

    Parameters
    ----------
    act, q, sigma_w2
        As `variance_map`; φ continuous.

    Raises
    ------
    ValueError
        As `variance_map`.

    Examples
    --------
    >>> f"{chi_q('relu', 5.0, 2.0):.10f}"
    '1.0000000000'
    """
    check_variances(sigma_w2)
    phi = activation(act)
    tilt = _tilt(phi, torch.as_tensor(q, dtype=torch.float64), expectation_or_zero)
    if (tilt == 0).any():
        raise ValueError(f"dead: {phi.name} or its slope is zero wherever a Gaussian of variance {q} reaches")
    return sigma_w2 * tilt


def layer_moments(phi: Activation, q: Float[Tensor, "*shape"]) -> tuple[Tensor, Tensor, Tensor]:
    """Return `second_moment`, `slope_second_moment` and `chi_q` / σ_w² at once, for scans over q.

    Where φ is dead, as one that is zero around zero, they are 0; and all need be right only to 1e-12 of E φ²/q.

    Examples
    --------
    >>> [f"{moment.item():.3f}" for moment in layer_moments(activation("relu"), torch.tensor([4.0]))]
    ['2.000', '0.500', '0.500']
    """
    zero, alive = torch.zeros_like(q), _not_zero(q)
    # differences in a reader's function and slopes by autograd have noise in their small values: let it pass
    square = expectation_or_zero(lambda u: phi.function(u) ** 2, alive, phi.kinks, 1e-12 * alive)
    relative = square / alive + 1e-12
    slope_square = expectation_or_zero(lambda u: phi.slope(u) ** 2, alive, phi.kinks, 1e-4 * relative)

    def expect(f: Elementwise, variance: Tensor, kinks: tuple[float, ...]) -> Tensor:
        return expectation_or_zero(f, variance, kinks, variance * relative)

    return torch.where(q > 0, square, phi.function(zero) ** 2), slope_square, _tilt(phi, q, expect)


def check_variances(*variances: float | Tensor) -> None:
    """Raise if a weight or bias variance is negative or not a number.

    Examples
    --------
    >>> check_variances(2.0, 0.0)
    """
    for variance in variances:
        if not (torch.as_tensor(variance) >= 0).all():
            raise ValueError(f"sigma_w2 and sigma_b2 are variances and not negative, got {variance}")


def _tilt(phi: Activation, q: Tensor, expect: Callable[[Elementwise, Tensor, tuple[float, ...]], Tensor]) -> Tensor:
    """Return the derivative of E φ² with respect to q."""
    near = 1e-4
    cancels = phi.function(torch.zeros(1, dtype=torch.float64)).item() != 0
    bends = cancels and all(abs(kink) > 40 * math.sqrt(near) for kink in phi.kinks)
    variance = _not_zero(q, near if bends else 1e-10 if cancels else 1e-100)
    stein = expect(lambda u: u * phi.function(u) * phi.slope(u), variance, phi.kinks) / variance
    if not bends:
        return stein
    small = _not_zero(q).clamp_max(near)
    bent = expect(lambda u: phi.slope(u) ** 2 + phi.function(u) * phi.curvature(u), small, phi.kinks)
    return torch.where(q < near, bent, stein)


def _not_zero(q: float | Tensor, floor: float = 1e-200) -> Tensor:
    """Return q with zero replaced by so small a variance that the limit is reached to all digits."""
    variance = torch.as_tensor(q, dtype=torch.float64)
    return torch.where(variance >= 0, variance.clamp_min(floor), variance)
