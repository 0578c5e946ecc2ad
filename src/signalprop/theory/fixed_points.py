"""Fixed points of the variance map, and the points at which signal and gradient are both preserved.

Variances below 1e-30 count as zero and above 1e12 as infinite; a fixed point is found if the map leaves the diagonal by
more than 1e-12 of q between it and its neighbours, or touches it to within that.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Literal

import torch
from scipy import optimize

from signalprop.theory.activations import Activation, ActivationLike, activation
from signalprop.theory.gaussian import QuadratureError, expectation_or_zero
from signalprop.theory.mean_field import check_variances, layer_moments, second_moment, slope_second_moment

INFINITE = 1e60  # a variance at which an activation is its asymptotes to all digits
_NOISE = 2e-14


@dataclass(frozen=True)
class FixedPoint:
    r"""A variance q that the map :math:`\sigma_w^2 E \varphi(\sqrt q z)^2 + \sigma_b^2` returns.

    Parameters
    ----------
    q
        The variance; 0 and inf where they attract or repel their neighbours.
    chi_q, chi1
        The slopes of variance and correlation map there.
    stability
        ``half-stable`` attracts on one side only; ``neutral`` stands, at q = 1, for a map that returns every q.

    Examples
    --------
    >>> FixedPoint(0.0, 0.5, 0.5, "stable").q
    0.0
    """

    q: float
    chi_q: float
    chi1: float
    stability: Literal["stable", "unstable", "half-stable", "neutral"]


def fixed_points(act: ActivationLike, sigma_w2: float, sigma_b2: float = 0.0) -> list[FixedPoint]:
    """Return all fixed points of the variance map in ascending order, with infinity where the variance diverges.

    Parameters
    ----------
    act
        An activation's name, an `Activation` or a callable (`activation`).
    sigma_w2, sigma_b2
        σ_w², the weight variance times the fan-in, positive, and σ_b², the bias variance, not negative.

    Raises
    ------
    ValueError
        If a variance is out of range, or φ is dead or not finite.

    Examples
    --------
    >>> for point in fixed_points("tanh", 1.5):
    ...     print(f"{point.q:.6f} {point.stability}")
    0.000000 unstable
    0.286894 stable
    >>> [point.stability for point in fixed_points("relu", 2.0)]
    ['neutral']
    """
    phi = _check(act, sigma_w2, sigma_b2)

    scan, square, slope = _scan(phi)
    relative = (sigma_w2 * square + sigma_b2) / scan.exp()  # the new variance by the old

    def growth(x: float) -> float:
        q = torch.tensor(math.exp(x), dtype=torch.float64)
        square = expectation_or_zero(lambda u: phi.function(u) ** 2, q, phi.kinks, 1e-12 * q)
        return (sigma_w2 * square.item() + sigma_b2) / math.exp(x) - 1

    def tilt(x: float) -> float:
        return sigma_w2 * layer_moments(phi, torch.tensor(math.exp(x), dtype=torch.float64))[2].item() - 1 - growth(x)

    x, curve, tilts = scan.tolist(), (relative - 1).tolist(), (sigma_w2 * slope - relative).tolist()
    extremes = [(e, growth(e)) for e in _sign_changes(tilt, x, tilts, 1e-12)]
    found = [_record(phi, sigma_w2, math.exp(e), "half-stable") for e, g in extremes if abs(g) <= 1e-12]
    # from one extreme to the next the curve is monotone, and so crosses zero once if at all
    knots = sorted([*zip(x, curve, strict=True), *((e, g) for e, g in extremes if abs(g) > 1e-12)])
    clear = [(x, g) for x, g in knots if abs(g) > _NOISE]
    if not clear:
        return [_record(phi, sigma_w2, 1.0, "neutral")]
    if clear[0][1] < 0 or (sigma_b2 == 0 and _at_zero(phi) == 0):
        found.append(_record(phi, sigma_w2, 0.0, "stable" if clear[0][1] < 0 else "unstable"))
    for e in _sign_changes(growth, [x for x, _ in clear], [g for _, g in clear], _NOISE):
        point = _record(phi, sigma_w2, math.exp(e), "stable")
        found.append(point if point.chi_q < 1 else replace(point, stability="unstable"))
    if clear[-1][1] > 0:
        if scan[-1] < 12 * math.log(10) - 1:
            raise QuadratureError(
                f"quadrature follows {phi.name} only up to q = {scan[-1].exp():.1g}, still rising there"
            )
        found.append(_record(phi, sigma_w2, math.inf, "stable"))
    return sorted(found, key=lambda point: point.q)


def fixed_point(act: ActivationLike, sigma_w2: float, sigma_b2: float = 0.0) -> float:
    r"""Return the variance q* that a deep network reaches from q_0 = 1, inf if it diverges; as `fixed_points`.

    That is the next fixed point on the side to which the map moves 1; where the map returns every q, 1 itself.
    The variance cannot oscillate, whatever φ: by the form of the Gaussian density :math:`\chi_q \ge -\tfrac12`.

    Raises
    ------
    ValueError
        As `fixed_points`.

    Examples
    --------
    >>> f"{fixed_point('tanh', 1.3**2, 0.3**2):.10f}"
    '0.6070467919'
    >>> fixed_point("relu", 1.0), fixed_point("relu", 2.0), fixed_point("relu", 2.5)
    (0.0, 1.0, inf)
    """
    points = fixed_points(act, sigma_w2, sigma_b2)
    change = sigma_w2 * second_moment(act, 1.0).item() + sigma_b2 - 1
    nearest = min(points, key=lambda point: abs(point.q - 1))
    if abs(nearest.q - 1) < 1e-12 or nearest.stability == "neutral":
        return nearest.q
    ahead = [p for p in points if p.q > 1] if change > 0 else [p for p in reversed(points) if p.q < 1]
    return ahead[0].q


def critical_point(act: ActivationLike, sigma_b2: float = 0.0) -> tuple[float, float]:
    r"""Return (σ_w², q*) on the critical line: q* is an attracting fixed point and :math:`\chi_1 = 1`.

    On the line :math:`\sigma_w^2 = 1/E\varphi'^2` and :math:`\sigma_b^2 = q - E\varphi^2/E\varphi'^2`, both functions
    of q*. At σ_b = 0 it starts at q* = 0 where φ(0) = 0 and that point attracts (tanh); for ReLU every q is fixed
    and q* = 1 is returned. For tanh :math:`\sigma_b^2 \approx \tfrac43 q^3`: q* loses digits below σ_b² ≈ 1e-15.

    Parameters
    ----------
    act
        As in `fixed_points`.
    sigma_b2
        σ_b², not negative.

    Raises
    ------
    ValueError
        If there is no such point: none at all, or only one that repels. The message names where to look.

    Examples
    --------
    >>> sigma_w2, q = critical_point("tanh", 0.05)
    >>> f"{sigma_w2:.10f} {q:.10f}"
    '1.7609546396 0.5700478816'
    """
    phi = _check(act, 1.0, sigma_b2)
    if sigma_b2 == 0 and _at_zero(phi) == 0:
        sigma_w2 = 1 / slope_second_moment(phi, 0.0).item()
        start = fixed_points(phi, sigma_w2)[0]
        if start.stability != "unstable":
            return sigma_w2, start.q

    def excess(q: torch.Tensor) -> torch.Tensor:
        square, slope_square, _ = layer_moments(phi, q)
        return (slope_square * (q - sigma_b2) - square) / (slope_square * (q + sigma_b2) + square)

    candidates = [q for q in _roots(excess, -12.0) if q > 0]
    for q in candidates:
        _, slope_square, tilt = layer_moments(phi, torch.tensor(q, dtype=torch.float64))
        if tilt < slope_square:
            return 1 / slope_square.item(), q
    what = f"only the repelling q* = {candidates[0]:g}" if candidates else "none with q* > 0"
    hint = "; see half_stable_point" if _half_stable(phi) else ""
    raise ValueError(f"{phi.name} has no attracting critical point at sigma_b2 = {sigma_b2:g}: {what}{hint}")


def half_stable_point(act: ActivationLike) -> tuple[float, float, float]:
    r"""Return (q, σ_w², σ_b²) where :math:`\chi_q = \chi_1 = 1`: the variance map touches the diagonal.

    There :math:`E \varphi \varphi'' = 0` at some q > 0. Smooth activations that vanish on one side, such as GELU and
    SiLU, have it instead of a critical point without biases.

    Raises
    ------
    ValueError
        If there is no such point, as for tanh, which is critical elsewhere (`critical_point`).

    References
    ----------
    D. Roberts, S. Yaida, B. Hanin, *The principles of deep learning theory*, arXiv:2106.10165.

    Examples
    --------
    >>> q, sigma_w2, sigma_b2 = half_stable_point("gelu")
    >>> f"{q:.9f} {(3 + 17**0.5) / 2:.9f} {sigma_w2:.10f} {sigma_b2:.10f}"
    '3.561552813 3.561552813 1.9830582574 0.1729223908'
    """
    phi = activation(act)
    found = _half_stable(phi)
    if not found:
        raise ValueError(f"{phi.name} has no half-stable point: chi_q = chi1 at no q > 0; see critical_point")
    q = found[0]
    sigma_w2 = 1 / slope_second_moment(phi, q).item()
    return q, sigma_w2, q - sigma_w2 * second_moment(phi, q).item()


def _half_stable(phi: Activation) -> list[float]:
    def difference(q: torch.Tensor) -> torch.Tensor:
        _, slope_square, tilt = layer_moments(phi, q)
        return (tilt - slope_square) / (tilt.abs() + slope_square)

    roots = _roots(difference, -6.0)
    return [q for q in roots if q * slope_second_moment(phi, q).item() >= second_moment(phi, q).item()]  # else σ_b² < 0


@lru_cache(maxsize=32)
def _scan(phi: Activation) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return ln q with E φ² and its derivative there; up to where quadrature can follow an oscillating φ."""
    decades = [torch.arange(-30, -6, 1 / 6), torch.arange(-6, 6, 1 / 30), torch.arange(6, 12.01, 1 / 6)]
    columns: list[torch.Tensor] = []
    for x in torch.cat(decades).to(torch.float64).mul(math.log(10)).split(40):
        try:
            square, _, tilt = layer_moments(phi, x.exp())
        except QuadratureError:
            if not columns or columns[-1][0, -1] < 1:
                raise
            break
        columns.append(torch.stack([x, square, tilt]))
    x, square, tilt = torch.cat(columns, -1)
    return x, square, tilt


def _roots(f: Callable[[torch.Tensor], torch.Tensor], lowest: float) -> list[float]:
    """Return where f changes sign between q = 10^lowest and 1e12, f being of order 1 and right to 1e-12."""
    x = torch.linspace(lowest, 12, 241, dtype=torch.float64) * math.log(10)

    def scalar(x: float) -> float:
        return f(torch.tensor(x, dtype=torch.float64).exp()).item()

    return [math.exp(root) for root in _sign_changes(scalar, x.tolist(), f(x.exp()).tolist(), 1e-12)]


def _sign_changes(f: Callable[[float], float], x: Sequence[float], y: Sequence[float], noise: float) -> list[float]:
    """Return the roots of f between knots x where its values y change sign, leaving out those that are mere noise."""
    clear = [(a, value) for a, value in zip(x, y, strict=True) if abs(value) > noise]
    return [
        optimize.brentq(f, a, b, xtol=1e-15, rtol=1e-15)
        for (a, before), (b, after) in pairwise(clear)
        if before * after < 0
    ]


def _record(
    phi: Activation, sigma_w2: float, q: float, stability: Literal["stable", "unstable", "half-stable", "neutral"]
) -> FixedPoint:
    _, slope_square, tilt = layer_moments(phi, torch.tensor(min(q, INFINITE), dtype=torch.float64))
    return FixedPoint(q, sigma_w2 * tilt.item(), sigma_w2 * slope_square.item(), stability)


def _at_zero(phi: Activation) -> float:
    return phi.function(torch.zeros(1, dtype=torch.float64)).item()


def _check(act: ActivationLike, sigma_w2: float, sigma_b2: float) -> Activation:
    check_variances(sigma_w2, sigma_b2)
    if sigma_w2 == 0 or not math.isfinite(sigma_w2 + sigma_b2):
        raise ValueError(f"sigma_w2 must be positive and both finite, got {sigma_w2:g} and {sigma_b2:g}")
    return activation(act)
