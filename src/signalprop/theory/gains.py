r"""Gains: the σ_w that keeps signal or gradient at one size through an activation, and what a given one does in depth.

A gain g stands for weights of variance g²/fan-in, σ_w² = g², as in ``torch.nn.init.calculate_gain``; the network is
infinitely wide.

References
----------
K. He, X. Zhang, S. Ren, J. Sun, *Delving deep into rectifiers*, arXiv:1502.01852 (ReLU); A. Brock, S. De, S. Smith,
*Characterizing signal propagation to close the performance gap in unnormalized ResNets*, arXiv:2101.08692 (the centred
gain); S. Schoenholz, J. Gilmer, S. Ganguli, J. Sohl-Dickstein, *Deep information propagation*, arXiv:1611.01232 (χ1).
"""

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from signalprop.theory.activations import Activation, ActivationLike, activation
from signalprop.theory.fixed_points import INFINITE, fixed_points
from signalprop.theory.gaussian import gaussian_expectation
from signalprop.theory.mean_field import chi1, mean_activation, second_moment, slope_second_moment, variance_map

_STEADY = 1e-14  # two layers whose factors differ by less than this are alike but for rounding
_LARGE = math.log(10)


def gain(act: ActivationLike, kind: Literal["second_moment", "centred", "backward"] = "second_moment") -> float:
    r"""Return the exact gain of an activation for pre-activations of variance 1, z ~ N(0, 1).

    - ``second_moment``, :math:`(E φ(z)^2)^{-1/2}`: pre-activations of variance 1 have variance 1 one layer later.
    - ``centred``, :math:`(\mathrm{Var}\,φ(z))^{-1/2}`: the same if the mean of φ does not pass the next matrix, because
      its rows sum to zero (scaled weight standardization; the γ of normalizer-free networks) or batch normalization
      takes it out.
    - ``backward``, :math:`(E φ'(z)^2)^{-1/2}`: :math:`χ_1 = 1`, squared gradients are preserved, there.

    They agree for linear networks, the first and the last also for ReLU and leaky ReLU. For others no gain preserves
    both at variance 1, and `audit_gain` says what comes of the choice.

    Parameters
    ----------
    act
        An activation's name, an `Activation` or a callable (`activation`).
    kind
        What is preserved: one of the three.

    Returns
    -------
    float
        g > 0, the weights' standard deviation times the root of the fan-in.

    Raises
    ------
    ValueError
        If the kind is another, or as `activation` and `gaussian_expectation`: φ, or for ``backward`` φ′, dead or not
        finite; for ``centred`` also if φ is constant.

    Examples
    --------
    >>> f"{gain('relu'):.11f} {gain('tanh'):.11f} {gain('relu', 'centred'):.11f}"
    '1.41421356237 1.59253741972 1.71285855045'
    >>> f"{gain('tanh', 'backward'):.6f}"
    '1.467414'
    """
    phi = activation(act)
    if kind == "second_moment":
        square = second_moment(phi, 1.0).item()
    elif kind == "centred":
        square = _variance(phi)
    elif kind == "backward":
        square = slope_second_moment(phi, 1.0).item()
    else:
        raise ValueError(f"unknown kind of gain {kind!r}; known: second_moment, centred, backward")
    return 1 / math.sqrt(square)


@dataclass(frozen=True)
class GainAudit:
    """What a gain does to signal and gradient over a number of layers; made by `audit_gain`.

    Parameters
    ----------
    act, gain, depth, q0, sigma_b2
        What was audited.
    log_signal_growth
        ln(q_L/q_0), of the pre-activations' variance.
    log_gradient_growth
        ln ∏ χ1(q_l) over l = 0, …, L−1: of the mean squared gradient on its way back, or of the mean squared singular
        value of the Jacobian.

    Examples
    --------
    >>> GainAudit(activation("tanh"), 5 / 3, 100, 1.0, 0.0, 0.0, 100 * math.log(1.2)).verdict
    'gradients explode ×8.3e7 over 100 layers; the signal holds ×1'
    """

    act: Activation = field(repr=False)
    gain: float
    depth: int
    q0: float
    sigma_b2: float
    log_signal_growth: float
    log_gradient_growth: float

    @property
    def signal_growth(self) -> float:
        """q_L/q_0; beyond float64 it is 0 or inf, where `log_signal_growth` still counts."""
        return _exp(self.log_signal_growth)

    @property
    def gradient_growth(self) -> float:
        """The growth of the squared gradient; beyond float64 it is 0 or inf."""
        return _exp(self.log_gradient_growth)

    @cached_property
    def fixed_point(self) -> float:
        """The variance that still deeper layers approach, 0 and inf included.

        Where every variance is fixed (ReLU at He's gain) it is q_0.
        """
        return _fixed_point_ahead(self.act, self.gain**2, self.sigma_b2, self.q0 * self.signal_growth)

    @property
    def chi1(self) -> float:
        """χ1 at the fixed point, by which every deep layer multiplies the squared gradient."""
        return chi1(self.act, min(self.fixed_point, INFINITE), self.gain**2).item()

    @property
    def verdict(self) -> str:
        """One line: what becomes larger or smaller by more than a factor of ten, first."""
        lines = [
            (abs(log) <= _LARGE, f"{subject} {_fate(log, *verbs)} ×{_power_of_ten(log)}")
            for subject, log, verbs in (
                ("gradients", self.log_gradient_growth, ("vanish", "hold", "explode")),
                ("the signal", self.log_signal_growth, ("dies", "holds", "explodes")),
            )
        ]
        first, second = (line for _, line in sorted(lines, key=lambda line: line[0]))
        return f"{first} over {self.depth} layers; {second}"


def audit_gain(act: ActivationLike, gain: float, depth: int, q0: float = 1.0, sigma_b2: float = 0.0) -> GainAudit:
    r"""Return what a gain does to signal and gradient over L layers of infinite width.

    The variance follows :math:`q_l = g^2 E φ(\sqrt{q_{l-1}} z)^2 + σ_b^2` from q_0, the transient included, and every
    layer multiplies squared gradients by :math:`χ_1(q_l) = g^2 E φ'(\sqrt{q_l} z)^2`. Logarithms reach any depth, and
    from where the layers are alike (a fixed point, a geometric decay) the rest is one product.

    Parameters
    ----------
    act
        An activation's name, an `Activation` or a callable (`activation`).
    gain
        g > 0, σ_w = g. ``torch.nn.Linear``'s default weights, of variance 1/(3 fan-in), have g = 3^(−1/2).
    depth
        L ≥ 1.
    q0
        q_0 > 0, the variance of the first pre-activations. For inputs of unit variance it is g² + σ_b².
    sigma_b2
        σ_b², the variance of the biases.

    Raises
    ------
    ValueError
        If g or q_0 is not positive and finite, the depth below 1, σ_b² negative, or φ dead or not finite somewhere on
        the way (as x² is, whose variance leaves float64 within a few layers).

    Notes
    -----
    A layer costs about a millisecond until the layers are alike, which takes some tens of them, but never comes where
    the variance decays as a power (tanh at g = 1).

    Examples
    --------
    PyTorch's gain of tanh is 5/3, He's gain is for ReLU:

    >>> audit_gain("tanh", 5 / 3, 100).verdict
    'gradients explode ×2.1e8 over 100 layers; the signal holds ×1.18'
    >>> audit_gain("gelu", 2**0.5, 100).verdict
    'gradients vanish ×5.0e-29 over 100 layers; the signal dies ×2.6e-29'
    >>> audit_gain("relu", 2**0.5, 10_000).verdict
    'gradients hold ×1 over 10000 layers; the signal holds ×1'
    """
    phi, sigma_w2 = activation(act), gain**2
    for name, value in (("gain", gain), ("q0", q0)):
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be positive and finite, got {value:g}")
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
    logs = _orbit(phi, sigma_w2, sigma_b2, q0, depth)
    signal, gradient = (math.fsum(log) + (depth - len(log)) * log[-1] for log in zip(*logs, strict=True))
    return GainAudit(phi, gain, depth, q0, sigma_b2, signal, gradient)


def _orbit(phi: Activation, sigma_w2: float, sigma_b2: float, q: float, depth: int) -> list[tuple[float, float]]:
    """Return ln(q_{l+1}/q_l) and ln χ1(q_l) layer by layer until three are alike."""
    logs: list[tuple[float, float]] = []
    for _ in range(depth):
        after = variance_map(phi, q, sigma_w2, sigma_b2).item()
        logs.append((math.log(after / q), math.log(chi1(phi, q, sigma_w2).item())))
        q = after
        if len(logs) > 2 and all(max(c) - min(c) < _STEADY for c in zip(*logs[-3:], strict=True)):
            break
    return logs


def _fixed_point_ahead(phi: Activation, sigma_w2: float, sigma_b2: float, q: float) -> float:
    """Return the fixed point to which the map moves q.

    No orbit oscillates: √q E φ(√q z)² never falls with q, so that the map has logarithmic slopes above −½.
    """
    q = min(q, INFINITE)
    points = fixed_points(phi, sigma_w2, sigma_b2)
    if points[0].stability == "neutral" or min(abs(point.q - q) for point in points) <= 1e-9 * q:
        return q
    probe = max(q, 1 / INFINITE)
    rising = variance_map(phi, probe, sigma_w2, sigma_b2).item() > probe
    return min(p.q for p in points if p.q > q) if rising else max(p.q for p in points if p.q < q)


def _variance(phi: Activation) -> float:
    """Return Var φ(z), about the mean, so that a large mean costs no digits."""
    mean = mean_activation(phi, 1.0).item()
    variance = gaussian_expectation(lambda u: (phi.function(u) - mean) ** 2, 1.0, phi.kinks).item()
    if variance <= 1e-24 * mean**2:
        raise ValueError(f"{phi.name} is constant but for rounding, no gain makes its variance 1")
    return variance


def _exp(log: float) -> float:
    try:
        return math.exp(log)
    except OverflowError:
        return math.inf


def _fate(log: float, shrinks: str, holds: str, grows: str) -> str:
    if abs(log) <= _LARGE:
        return holds
    return grows if log > 0 else shrinks


def _power_of_ten(log: float) -> str:
    """Return e^log for reading, at any size."""
    exponent = math.floor(log / math.log(10))
    if -3 <= exponent < 4:
        return f"{math.exp(log):.3g}"
    mantissa = f"{10 ** (log / math.log(10) - exponent):.1f}"
    return f"1.0e{exponent + 1}" if mantissa == "10.0" else f"{mantissa}e{exponent}"
