"""Phase diagrams: where a deep network is ordered, chaotic or critical, over a grid of weight and bias variances."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from signalprop.theory.activations import Activation, ActivationLike, activation
from signalprop.theory.chebyshev import ChebyshevTable
from signalprop.theory.fixed_points import INFINITE
from signalprop.theory.gaussian import QuadratureError
from signalprop.theory.mean_field import check_variances, layer_moments
from signalprop.theory.slope_correlation import angle_position, merging_angle, resolution, series_at, slope_series

_NOISE = 1e-12  # of the tabulated growth
_LOWEST, _STEP = -30 * math.log(10), 0.04


@dataclass(frozen=True)
class PhaseDiagram:
    """Fixed points and depth scales over a grid of variances; every field but the axes has the shape [m, n].

    Parameters
    ----------
    sigma_w2, sigma_b2
        The axes, [m] and [n].
    q
        The variance that a deep network reaches from q_0 = 1: 0 where it vanishes, inf where it diverges.
    chi1, chi_q
        The slopes of correlation and variance map there, or their limits.
    c, xi_c
        The correlation that two inputs reach, and over how many layers by a factor e (inf where χ1 = 1, nan where the
        variance diverges); None if they were not asked for.

    Examples
    --------
    >>> axis = torch.tensor([1.0])
    >>> PhaseDiagram(axis, axis, axis[None], axis[None], axis[None]).xi_c is None
    True
    """

    sigma_w2: Float[Tensor, " m"]
    sigma_b2: Float[Tensor, " n"]
    q: Float[Tensor, "m n"]
    chi1: Float[Tensor, "m n"]
    chi_q: Float[Tensor, "m n"]
    c: Float[Tensor, "m n"] | None = None
    xi_c: Float[Tensor, "m n"] | None = None


def phase_diagram(
    act: ActivationLike, sigma_w2: Float[Tensor, " m"], sigma_b2: Float[Tensor, " n"], correlation: bool = False
) -> PhaseDiagram:
    r"""Return `fixed_point`, `chi1` and, if asked for, c* and ξ_c at every point of a grid.

    The moments are tabulated over ln q once, to about 1e-13, and the slope correlations over ln q and the angle; the
    grid then costs next to nothing. q is right to about 1e-12/(1 − χ_q) of itself, and 1 − c* to 1e-12/(χ1 − 1): as the
    critical line is approached the condition grows, whatever the method. Two fixed points within 4 % of each other are
    taken for none.

    Parameters
    ----------
    act
        An activation's name, an `Activation` or a callable (`activation`).
    sigma_w2, sigma_b2
        σ_w² [m], the weight variance times the fan-in, and σ_b² [n], the bias variance; not negative.
    correlation
        Whether to find c* and ξ_c too, which takes some seconds.

    Raises
    ------
    ValueError
        If a variance is negative or not finite, or φ is not finite.
    QuadratureError
        If the variance of an oscillating φ exceeds 100.

    Examples
    --------
    >>> weights, biases = torch.tensor([1.0, 1.75, 2.5]), torch.tensor([0.0, 0.05])
    >>> diagram = phase_diagram("tanh", weights, biases)
    >>> [[f"{chi:.4f}" for chi in row] for row in diagram.chi1.tolist()]
    [['1.0000', '0.7590'], ['1.0722', '0.9977'], ['1.1730', '1.1335']]
    """
    check_variances(sigma_w2, sigma_b2)
    phi = activation(act)
    weights, biases = sigma_w2.to(torch.float64), sigma_b2.to(torch.float64)
    if not (weights.isfinite().all() and biases.isfinite().all()):
        raise ValueError("sigma_w2 and sigma_b2 must be finite")
    table = _moment_table(phi)
    shape = (len(weights), len(biases))
    w = weights.repeat_interleave(len(biases))
    x = _settle(table, weights, biases).reshape(-1)
    q = x.exp()
    square, slope_square, both = table(x.clamp(_LOWEST, table.ends[-1].item())).unbind(-1)
    tilt = both - square
    for end in {0.0, math.inf}.intersection(q.tolist()):
        _, at_slope, at_tilt = layer_moments(phi, torch.tensor(min(end, INFINITE), dtype=torch.float64))
        slope_square = torch.where(q == end, at_slope, slope_square)
        tilt = torch.where(q == end, at_tilt, tilt)
    chi1 = w * slope_square
    diagram = PhaseDiagram(weights, biases, q.reshape(shape), chi1.reshape(shape), (w * tilt).reshape(shape))
    if not correlation:
        return diagram
    angle, slope = _part(phi, w, x, chi1)
    rate = -slope.log()
    xi_c = torch.where(rate.abs() < 1e-12, torch.inf, 1 / rate)
    diverged = q.isinf()
    c, xi_c = (torch.where(diverged, torch.nan, field).reshape(shape) for field in (angle.cos(), xi_c))
    return PhaseDiagram(diagram.sigma_w2, diagram.sigma_b2, diagram.q, diagram.chi1, diagram.chi_q, c, xi_c)


def _moment_table(phi: Activation) -> ChebyshevTable:
    """Tabulate E φ²/q, E φ′² and E[uφφ′]/q over ln q, up to 1e12, or to 100 for an oscillating φ.

    The last plus the first, as the last may be tiny and is needed to the digits of the first only.
    """

    def moments(x: Tensor) -> Tensor:
        square, slope_square, tilt = layer_moments(phi, x.exp())
        relative = square / x.exp()
        return torch.stack([relative, slope_square, relative + tilt], -1)

    top = 12 if _resolved(phi, 1e12) else 2
    return ChebyshevTable(moments, _LOWEST, top * math.log(10), 5e-14)


def _resolved(phi: Activation, q: float) -> bool:
    try:
        layer_moments(phi, torch.tensor([q], dtype=torch.float64))
    except QuadratureError:
        return False
    return True


def _settle(table: ChebyshevTable, weights: Tensor, biases: Tensor) -> Tensor:
    """Return ln q* [m, n], −inf and inf included: the fixed point next to q = 1 on the side to which it moves."""
    top = table.ends[-1].item()
    up, down = torch.arange(0, top, _STEP, dtype=torch.float64), torch.arange(0, _LOWEST, -_STEP, dtype=torch.float64)
    rising = _growth(table, torch.zeros(1, dtype=torch.float64), weights[:, None], biases)
    result = torch.zeros_like(rising)
    low, high = torch.zeros_like(rising), torch.zeros_like(rising)
    for knots, sign, lost in ((up, 1.0, math.inf), (down, -1.0, -math.inf)):
        scaled, per_q = table(knots)[:, 0], (-knots).exp()
        for row, weight in enumerate(weights):
            moving = (sign * rising[row] > _NOISE).nonzero().squeeze(-1)
            beyond = sign * (weight * scaled + biases[moving, None] * per_q - 1) < -_NOISE
            first = beyond.int().argmax(-1)
            found = beyond.any(-1)
            low[row, moving] = knots[(first - 1).clamp_min(0)]
            high[row, moving] = knots[first]
            result[row, moving] = torch.where(found, knots[first], lost)
    if result.isposinf().any() and top < 11 * math.log(10):
        raise QuadratureError(
            f"the variance exceeds {math.exp(top):.0f}, up to where quadrature follows this activation"
        )
    settled = (rising.abs() > _NOISE) & result.isfinite()
    w, b = (axis[settled] for axis in torch.broadcast_tensors(weights[:, None], biases))
    result[settled] = _newton(table, w, b, torch.minimum(low, high)[settled], torch.maximum(low, high)[settled])
    return result


def _growth(table: ChebyshevTable, x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return w * table(x)[:, 0] + b * (-x).exp() - 1


def _newton(table: ChebyshevTable, w: Tensor, b: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return the root of the growth between `low`, where it is positive, and `high`; Newton's steps, kept inside."""
    x = (low + high) / 2
    for _ in range(40):
        square, _, both = table(x).unbind(-1)
        relative = w * square + b * (-x).exp()
        growth = relative - 1
        low, high = torch.where(growth > 0, x, low), torch.where(growth > 0, high, x)
        step = x - growth / (w * (both - square) - relative)
        following = torch.where((step >= low) & (step <= high), step, (low + high) / 2)
        if ((following - x).abs() < 1e-15).all():
            break
        x = following
    return x


def _part(phi: Activation, w: Tensor, x: Tensor, chi1: Tensor) -> tuple[Tensor, Tensor]:
    """Return the stationary angle between two inputs and the slope of the correlation map at it."""
    angle, slope = torch.zeros_like(x), chi1.clone()
    chaotic = (chi1 > 1 + 1e-12) & x.isfinite()
    if not chaotic.any():
        return angle, slope
    low, high = (end.item() for end in x[chaotic].aminmax())
    low, high = low - 1e-3, high + 1e-3
    terms = resolution(phi, torch.linspace(low, high, 3, dtype=torch.float64).exp())
    table = ChebyshevTable(lambda y: torch.cat(slope_series(phi, y.exp(), terms), -1), low, high, 2e-13, jointly=True)
    q, weight = x[chaotic].exp(), w[chaotic]
    slopes, means = table(x[chaotic]).split(terms, -1)
    angle[chaotic] = merging_angle(means, q, weight)
    slope[chaotic] = weight * series_at(slopes, q, angle_position(q, angle[chaotic]))
    return angle, slope
