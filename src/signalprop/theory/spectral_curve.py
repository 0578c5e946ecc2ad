r"""The curve λ(s) of a `SpectralLaw`, :math:`s = \psi(1/\lambda)`: where it turns, and followed to the real axis.

.. math:: \ln\lambda = F(s) = \ln(1+s) - \ln s + \ln(1/S(s))

has one solution s outside of the spectrum that matters and, next to it, many. The right one is known far out on the
negative axis, where :math:`s = m_1/\lambda`; it is followed from there along a straight line in ln λ to the point of
the real axis that is wanted. In the upper half plane, where that line runs, no two solutions meet.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Complex128, Float
from scipy import optimize
from torch import Tensor

from signalprop.theory.spectral_law import Slopes, SpectralLaw

_CLOSE = 1e-10  # of ln λ
_FAR = 20.0  # of ln |v|
_NEAR = 1e-12  # to the end of slopes that have no atom there
_STUCK = 1e-12  # smallest step, of a way from 0 to 1
_CACHED = 2**16  # complex numbers that a processor keeps near

Complex = Complex128[Tensor, " points"]
Real = Float[Tensor, " points"]


@dataclass
class CurvePoint:
    """Points s of the curve, and for each diagonal matrix ω_i with ψ_i(ω_i) = s, all in the closed lower half plane.

    Kept is v = s + 1 − (mass at 0): it tends to 0 with λ, and there s would lose its digits.
    """

    v: Complex
    omegas: list[Complex]

    def __getitem__(self, where: Tensor) -> "CurvePoint":
        return CurvePoint(self.v[where], [omega[where] for omega in self.omegas])

    def put(self, where: Tensor, other: "CurvePoint") -> None:
        """Overwrite some of the points."""
        for mine, new in zip([self.v, *self.omegas], [other.v, *other.omegas], strict=True):
            mine[where] = new


def log_lower(z: Complex128[Tensor, "*shape"]) -> Complex128[Tensor, "*shape"]:
    """Return the logarithm in the closed lower half plane, though rounding may put a real number above the axis."""
    return (1j * z).log() - 0.5j * math.pi


def log_lambda(law: SpectralLaw, point: CurvePoint, rates: list[Complex]) -> tuple[Complex, Complex]:
    """Return F and dF/ds, given the dψ_i/dω_i."""
    s, plus_one = point.v - (1 - law.zero_mass), point.v + law.zero_mass
    free = 1 - sum(n for _, n in law.slopes)
    value = free * (log_lower(plus_one) - log_lower(s)) + law.log_scale + law.tilt * s
    slope = -free / (s * plus_one) + law.tilt
    for p, k in law.roots:
        plus_p = point.v + (p - (1 - law.zero_mass))
        value = value + k * log_lower(plus_p / p)
        slope = slope + k / plus_p
    for (_, n), omega, rate in zip(law.slopes, point.omegas, rates, strict=True):
        value = value - n * log_lower(omega)
        slope = slope - n / (omega * rate)
    return value, slope


def follow(law: SpectralLaw, x: Real, mean: float, second: float) -> CurvePoint:
    """Return the points of the curve at λ = x + i0, x > 0, of a law with these first two moments.

    Where the density is infinite, and s with it, the way ends just before.
    """
    nodes = sum(len(slopes.values) for slopes, _ in law.slopes)
    parts = [_follow(law, part, mean, second) for part in x.split(max(1, _CACHED // max(1, nodes)))]
    omegas = [torch.cat(omega) for omega in zip(*(part.omegas for part in parts), strict=True)]
    return CurvePoint(torch.cat([part.v for part in parts]), omegas)


def _follow(law: SpectralLaw, x: Real, mean: float, second: float) -> CurvePoint:
    start = complex(math.log(10 * second / mean), math.pi)
    way = x.log() - start
    s = torch.full_like(way, -mean / math.exp(start.real))
    point = CurvePoint(s + 1 - law.zero_mass, [s / slopes.moment(1) for slopes, _ in law.slopes])
    done, step = torch.zeros_like(x), torch.full_like(x, 0.03)
    while (rest := ((done < 1) & (step > _STUCK)).nonzero().squeeze(-1)).numel():
        there = (done[rest] + step[rest]).clamp(max=1)
        trial, arrived = _newton(law, point[rest], start + there * way[rest])
        point.put(rest[arrived], trial[arrived])
        done[rest[arrived]] = there[arrived]
        step[rest] *= torch.where(arrived, 2.0, 0.4)
    if not (done > 1 - 1e-6).all():
        raise RuntimeError(f"the curve is lost on the way to λ = {x[done.argmin()]:g}")
    # at an edge each iteration only halves the error
    last, arrived = _newton(law, point, x.log() + 0j, iterations=60, tolerance=1e-12)
    point.put(arrived, last[arrived])
    return point


def _newton(
    law: SpectralLaw, start: CurvePoint, target: Complex, iterations: int = 6, tolerance: float = 1e-6
) -> tuple[CurvePoint, Tensor]:
    """Solve F(s) = target from a near-by start; also say which points arrived, without a jump."""
    point = start
    for _ in range(iterations):
        point, excess, slope, errors, rates = _equations(law, point, target)
        for (_, n), omega, error, rate in zip(law.slopes, point.omegas, errors, rates, strict=True):
            excess = excess + n * error / (omega * rate)
        move = -excess / slope
        omegas = [w + (move - e) / rate for w, e, rate in zip(point.omegas, errors, rates, strict=True)]
        point = CurvePoint(point.v + move, omegas)
        if bool((move.abs() <= tolerance * point.v.abs()).all()):
            break
    point, excess, _, errors, _ = _equations(law, point, target)
    arrived = (excess.abs() < _CLOSE) & ((point.v - start.v).abs() < 0.5 * start.v.abs())
    for part in [point.v, *point.omegas]:
        arrived &= part.imag <= 1e-6 * part.abs()  # room for rounding; the conjugate solution is refused
    for error in errors:
        arrived &= error.abs() < _CLOSE * point.v.abs()
    return point, arrived


def _equations(
    law: SpectralLaw, point: CurvePoint, target: Complex
) -> tuple[CurvePoint, Complex, Complex, list[Complex], list[Complex]]:
    """Return the point, F − target, dF/ds, and for each diagonal matrix ψ_i(ω_i) − s and dψ_i/dω_i.

    If there is a diagonal matrix the point is moved to the s of its ω: in a deep net F varies little along s = ψ(ω),
    and much beside it.
    """
    pluses, rates = [], []
    for (slopes, _), omega in zip(law.slopes, point.omegas, strict=True):
        resolvent = 1 / (1 - omega[:, None] * slopes.values)
        # ψ(ω) + P(d > 0) = E[1/(1−ωd); d > 0] tends to 0 as ω grows
        pluses.append(resolvent @ slopes.weights + (slopes.zero_mass - law.zero_mass))
        rates.append(resolvent.square() @ (slopes.weights * slopes.values))
    if pluses:
        point = CurvePoint(pluses[0], point.omegas)
    value, slope = log_lambda(law, point, rates)
    return point, value - target, slope, [plus - point.v for plus in pluses], rates


def edge_from_above(law: SpectralLaw) -> float:
    """Return the highest point of the continuous part: where, coming from λ = ∞, dF/ds is first 0.

    As λ falls from ∞, s grows from 0 to ∞; there, if there is an atom, it goes on from −∞.
    """
    return _first_edge(law, "above", _last_before_slopes(law, "above"))


def edge_from_below(law: SpectralLaw) -> float:
    """Return the lowest point of a continuous part that does not reach 0.

    As λ grows from 0, v falls from 0 to −∞; there, if there is an atom, it goes on from ∞.
    """
    return _first_edge(law, "below", _last_before_slopes(law, "below"))


def real_curve(law: SpectralLaw, v: Real, side: str, beyond: bool = False) -> tuple[Real, Real]:
    """Return ln |λ| and dF/ds at real v, above or below of the spectrum, or beyond its outermost atom on that side."""
    found = [_inverse(slopes, side, beyond, v + law.zero_mass - slopes.zero_mass) for slopes, _ in law.slopes]
    point = CurvePoint(v + 0j, [1 / y + 0j for y, _ in found])
    value, slope = log_lambda(law, point, [rate + 0j for _, rate in found])
    return value.real, slope.real


def _first_edge(law: SpectralLaw, side: str, last: float) -> float:
    """Walk along real s from far outside, where w = −20, to the first dF/ds = 0 or to w = last; past an atom go on."""
    sign, root = 1.0 if side == "above" else -1.0, 1 - law.zero_mass

    def outside(w: Real) -> tuple[Real, Real]:
        return real_curve(law, w.exp() + root if side == "above" else -w.exp(), side)

    def beyond(w: Real) -> tuple[Real, Real]:
        return real_curve(law, 2 * sign * w.sinh() + root, side, beyond=True)

    poles = [-1.0, 0.0, *(-p for p, _ in law.roots), *(slopes.zero_mass - 1 for slopes, _ in law.slopes)]
    below = [math.log(-s - root) for s in poles if s < -root]
    for walk, end, marks in [
        (outside, min(last, _FAR), below if side == "below" else []),
        (beyond, _FAR, [math.asinh(s / (2 * sign)) for s in poles]),
    ]:
        w = _grid(end, marks)
        value, slope = walk(w)
        inside = (slope >= 0).nonzero()
        if inside.numel():
            k = int(inside[0])
            if k == 0:
                return float(value[0].exp())
            turn = optimize.brentq(lambda u, f=walk: float(f(_one(u))[1]), float(w[k - 1]), float(w[k]), xtol=1e-14)
            return float(walk(_one(turn))[0].exp())
        if last < math.inf:
            return float(value[-1].exp())
    raise RuntimeError("the curve has no turning point")


def _grid(end: float, marks: list[float]) -> Real:
    """Return points from −20 to `end`, ever denser around the marks: the poles of dF/ds, next to which it may be 0."""
    near = torch.linspace(-14, 0, 60, dtype=torch.float64).exp()
    points = [torch.linspace(-_FAR, end, 200, dtype=torch.float64)]
    points += [mark + side * near for mark in marks for side in (-1, 1)]
    w = torch.cat(points)
    return w[(w >= -_FAR) & (w <= end)].sort().values


def _last_before_slopes(law: SpectralLaw, side: str) -> float:
    """Return w where 1/ω meets the first of those slopes that have no gap beside them; ∞ if there are none."""
    ends = [math.inf]
    for slopes, _ in law.slopes:
        outer, inner = slopes.highest[::-1] if side == "above" else slopes.lowest
        if outer == inner:
            y = outer * (1 + _NEAR if side == "above" else 1 - _NEAR)
            psi = float((slopes.weights @ (slopes.values / (y - slopes.values))).real)
            ends.append(math.log(psi if side == "above" else -psi - (1 - law.zero_mass)))
    return min(ends)


def _inverse(slopes: Slopes, side: str, beyond: bool, plus: Real) -> tuple[Real, Real]:
    """Return y = 1/ω and dψ/dω where ψ(ω) + P(d > 0) is `plus`, with y outside the values or next to an outermost atom.

    ψ falls as y grows, from ∞ to −∞ between two atoms. The distance of y to the end is found by bisection of its
    logarithm.
    """
    d, weights = slopes.values, slopes.weights
    s = plus - 1 + slopes.zero_mass
    end, inner = slopes.highest[::-1] if side == "above" else slopes.lowest
    if beyond:
        reach = torch.full_like(s, abs(end - inner))
    else:
        reach = end / s if side == "above" else torch.where(plus > 0, end - slopes.moment(1) / s, end)
    sign = 1.0 if (side == "above") != beyond else -1.0
    # an atom may be as near as its weight is small; a rule for other slopes says nothing so near to their end
    low, high = torch.full_like(s, -690.0 if end != inner else math.log(_NEAR * end)), reach.log()
    for _ in range(64):
        middle = (low + high) / 2
        psi = ((1 / (sign * middle.exp()[:, None] + (end - d))) @ (weights * d)).real
        near = sign * psi < sign * s
        low, high = torch.where(near, low, middle), torch.where(near, middle, high)
    y = end + sign * low.exp()
    return y, ((y[:, None] / (sign * low.exp()[:, None] + (end - d))) ** 2 @ (weights * d)).real


def _one(w: float) -> Real:
    return torch.tensor([w], dtype=torch.float64)
