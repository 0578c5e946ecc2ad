r"""Wide networks to the next order: how far one network of width n is from infinite width, in units of 1/n.

Given layer l − 1 the entries of :math:`z_l` are independent Gaussians of one variance,

.. math:: Q_l = \frac{σ_w^2}{n} \sum_j φ(z_{l-1,j})^2 + σ_b^2 ,

so that :math:`Q_1 = σ_w^2 q_0 + σ_b^2` is sure and the :math:`Q_l` are a Markov chain of one number: given :math:`Q_l`,
the next one has the mean V(Q_l) of the variance map V and the variance :math:`σ_w^4 \mathrm{Var} φ^2 / n`. All is
expanded around the path :math:`q_{l+1} = V(q_l)`, to order 1/n; derivatives with respect to a variance are taken as
:math:`\partial_q E f(\sqrt q u) = E f(\sqrt q u) He_2(u) / 2q`, which holds at kinks too. Derived here.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from signalprop.theory.activations import Activation, ActivationLike, Elementwise, activation
from signalprop.theory.gaussian import expectation_or_zero
from signalprop.theory.mean_field import check_variances, variance_map


def width_corrections(
    act: ActivationLike, q0: float, sigma_w2: float, sigma_b2: float, depth: int
) -> tuple[Float[Tensor, " {depth}"], Float[Tensor, " {depth}"]]:
    r"""Return n times variance and bias of the length :math:`\langle z_l^2 \rangle` of one network, l = 1, …, L.

    With :math:`ν_l = n \mathrm{Var} Q_l` and :math:`μ_l = n (E Q_l - q_l)`, both 0 in layer 1,

    .. math::

       ν_{l+1} = V'(q_l)^2 ν_l + σ_w^4 \mathrm{Var} φ^2, \qquad μ_{l+1} = V'(q_l) μ_l + \tfrac12 V''(q_l) ν_l .

    The mean of n squares adds its own scatter: :math:`n \mathrm{Var} \langle z_l^2 \rangle = ν_l + 2 q_l^2`; its mean
    is that of Q_l. At a fixed point the relative variance tends to :math:`2 + a / (1 - χ_q^2)` with :math:`a = σ_w^4
    \mathrm{Var} φ^2 / q^2`; where χ_q = 1, as for ReLU, it grows by a in each layer for ever.

    Parameters
    ----------
    act
        An activation's name, an `Activation` or a callable (`activation`).
    q0
        Mean square of the entries of the input, positive.
    sigma_w2, sigma_b2
        σ_w², the weight variance times the fan-in, and σ_b², the bias variance.
    depth
        L ≥ 1, the number of weight layers; all hidden layers have the width n.

    Returns
    -------
    tuple of Tensor
        n Var⟨z_l²⟩ and n (E⟨z_l²⟩ − q_l), each [L], float64, without terms of order 1/n.

    Raises
    ------
    ValueError
        If q0 or σ_w² is not positive, σ_b² is negative, L < 1, or as `variance_map` does.

    Examples
    --------
    Relative variance of He's ReLU networks: 2 of the squares, and 5 for each activation before.

    >>> variance, bias = width_corrections("relu", 0.5, 2.0, 0.0, 4)
    >>> variance.round(decimals=9), bias.abs().max() < 1e-10
    (tensor([ 2.,  7., 12., 17.], dtype=torch.float64), tensor(True))
    """
    layers = _path(act, q0, sigma_w2, sigma_b2, depth)
    variance = torch.tensor([at.variance + 2 * at.q**2 for at in layers], dtype=torch.float64)
    return variance, torch.tensor([at.bias for at in layers], dtype=torch.float64)


def log_width_corrections(
    act: ActivationLike, q0: float, sigma_w2: float, sigma_b2: float, depth: int
) -> tuple[Float[Tensor, " {depth}"], Float[Tensor, " {depth}"]]:
    r"""Return n times variance and bias of :math:`\ln \langle z_l^2 \rangle`; arguments as `width_corrections`.

    A logarithm has the relative variance, and a mean lower by half of it.

    Examples
    --------
    >>> variance, bias = log_width_corrections("tanh", 1.0, 1.0, 0.0, 3)
    >>> [f"{b:.3f}" for b in bias], f"{variance[0]:.1f}"
    (['-1.000', '-1.314', '-1.737'], '2.0')
    """
    variance, bias = width_corrections(act, q0, sigma_w2, sigma_b2, depth)
    q = torch.tensor([at.q for at in _path(act, q0, sigma_w2, sigma_b2, depth)], dtype=torch.float64)
    relative = variance / q**2
    return relative, bias / q - relative / 2


def log_gradient_correction(
    act: ActivationLike, q0: float, sigma_w2: float, sigma_b2: float, depth: int, *, tied: bool = True
) -> Float[Tensor, " {depth}-1"]:
    r"""Return n times the bias of :math:`\ln(\|g_l\|^2 / \|g_{l+1}\|^2)` against ln χ1(q_l), l = 1, …, L − 1.

    A standard normal error, independent of the weights, goes back from z_L, which has the width n too. Given the
    forward pass

    .. math::

       W^\top g = \frac{(z \cdot g)\, h}{\|h\|^2} + \Big(1 - \frac{h h^\top}{\|h\|^2}\Big) \tilde W^\top g, \qquad
       g_{l} = φ'(z_l) \odot W^\top g

    with a fresh :math:`\tilde W` (biases are the weights of one more, constant entry of h). With Gaussian expectations
    at q_l, :math:`e = q_{l+1}/σ_w^2` for the mean square of h and :math:`ω_l` for the mean of :math:`(z_l \cdot g_l)^2
    / \|g_l\|^2`, the correction is

    .. math::

       μ_l (\ln χ_1)' + \tfrac12 ν_l (\ln χ_1)'' + \Big(\frac{ω_{l+1}}{q_{l+1}} - 1\Big) \frac{E φ'^2 φ^2}{e E φ'^2}
       - \frac12 \Big(\frac{3 E φ'^4}{(E φ'^2)^2} - 1\Big),

    of the length that is off and scatters, of the one direction that the forward pass knows, and of the logarithm of a
    mean of n terms. The recursion :math:`χ_1 ω_l = ω_{l+1} (E zφφ')^2/e^2 + σ_w^2 [E z^2 φ'^2 - (E zφφ')^2/e]` starts
    from ω_L = q_L; for ReLU ω_l = q_l, the middle term vanishes, and −5/2 is left.

    Parameters
    ----------
    act, q0, sigma_w2, sigma_b2, depth
        As `width_corrections`, L ≥ 2; φ' may jump.
    tied
        Whether the weights of the way back are those of the way forward. If False they are drawn anew, as some
        derivations assume: then no direction is known, and the middle term is left out.

    Returns
    -------
    Tensor
        [L − 1], float64, without terms of order 1/n.

    Raises
    ------
    ValueError
        As `width_corrections`.

    Examples
    --------
    >>> log_gradient_correction("relu", 1.0, 2.0, 0.0, 3)
    tensor([-2.5000, -2.5000], dtype=torch.float64)
    """
    if depth < 2:
        raise ValueError(f"a gradient changes between two layers: depth must be at least 2, got {depth}")
    phi = activation(act)
    layers = _path(phi, q0, sigma_w2, sigma_b2, depth)
    omega, corrections = layers[-1].q, []
    for at, after in zip(layers[-2::-1], layers[:0:-1], strict=True):
        e = after.q / sigma_w2
        slope2 = _mean(phi, at.q, lambda z: phi.slope(z) ** 2)
        slope4 = _mean(phi, at.q, lambda z: phi.slope(z) ** 4)
        both = _mean(phi, at.q, lambda z: (phi.slope(z) * phi.function(z)) ** 2)
        tilt = _mean(phi, at.q, lambda z: z * phi.function(z) * phi.slope(z))
        stretched = _mean(phi, at.q, lambda z: (z * phi.slope(z)) ** 2)
        first, second = (d / slope2 for d in _derivatives(phi, at.q, lambda z: phi.slope(z) ** 2))
        corrections.append(
            at.bias * first
            + at.variance * (second - first**2) / 2
            + tied * (omega / after.q - 1) * both / (e * slope2)
            - (3 * slope4 / slope2**2 - 1) / 2
        )
        omega = (omega * (tilt / e) ** 2 / sigma_w2 + stretched - tilt**2 / e) / slope2
    return torch.tensor(corrections[::-1], dtype=torch.float64)


@dataclass(frozen=True)
class _Layer:
    """q_l, and n times variance and bias of Q_l."""

    q: float
    variance: float
    bias: float


def _path(act: ActivationLike, q0: float, sigma_w2: float, sigma_b2: float, depth: int) -> list[_Layer]:
    check_variances(sigma_w2, sigma_b2)
    if not (q0 > 0 and sigma_w2 > 0):
        raise ValueError(f"q0 and sigma_w2 must be positive, got {q0:g} and {sigma_w2:g}")
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
    phi = activation(act)
    layers = [_Layer(sigma_w2 * q0 + sigma_b2, 0.0, 0.0)]
    for _ in range(depth - 1):
        at = layers[-1]
        first, second = (sigma_w2 * d for d in _derivatives(phi, at.q, lambda z: phi.function(z) ** 2))
        square = _mean(phi, at.q, lambda z: phi.function(z) ** 2)
        spread = _mean(phi, at.q, lambda z, mean=square: (phi.function(z) ** 2 - mean) ** 2)  # type: ignore[misc]
        layers.append(
            _Layer(
                variance_map(phi, at.q, sigma_w2, sigma_b2).item(),
                first**2 * at.variance + sigma_w2**2 * spread,
                first * at.bias + second * at.variance / 2,
            )
        )
    return layers


def _mean(phi: Activation, q: float, f: Elementwise) -> float:
    """Return E f(z), z of variance q, where f may be zero and has the kinks of φ."""
    return expectation_or_zero(f, torch.tensor(q, dtype=torch.float64), phi.kinks).item()


def _derivatives(phi: Activation, q: float, f: Elementwise) -> tuple[float, float]:
    """Return the first and the second derivative of E f(z) with respect to the variance q of z."""
    first = _mean(phi, q, lambda z: f(z) * (z**2 / q - 1)) / (2 * q)
    return first, _mean(phi, q, lambda z: f(z) * ((z**2 / q) ** 2 - 6 * z**2 / q + 3)) / (4 * q**2)
