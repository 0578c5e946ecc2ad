r"""The curve λ(s) of a `SpectralLaw`, :math:`s = \psi(1/\lambda)`: where it turns, and followed to the real axis.

.. math:: \ln\lambda = F(s) = \ln(1+s) - \ln s + \ln(1/S(s))

has one solution s outside of the spectrum that matters and, next to it, many. The right one is known far out on the
negative axis, where :math:`s = m_1/\lambda`; it is followed from there along a straight line in ln λ to the point of
the real axis that is wanted. In the upper half plane, where that line runs, no two solutions meet.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Complex128, Float
from scipy import optimize
from torch import Tensor

from signalprop.theory.spectral_law import Slopes, SpectralLaw

_CLOSE = 1e-10  # of ln λ
_FAR = 20.0  # of ln |v|
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

    Raises
    ------
    RuntimeError
        If the way there is lost, which happens only where the density is infinite.
    """
    nodes = sum(len(slopes.values) for slopes, _ in law.slopes)
    parts = [_follow(law, part, mean, second) for part in x.split(max(1, _CACHED // max(1, nodes)))]
    omegas = [torch.cat(omega) for omega in zip(*(part.omegas for part in parts), strict=True)]
    return CurvePoint(torch.cat([part.v for part in parts]), omegas)


def _follow(law: SpectralLaw, x: Real, mean: float, second: float) -> CurvePoint:
    start = complex(math.log(100 * second / mean), math.pi)
    way = x.log() - start
    s = torch.full_like(way, -mean / math.exp(start.real))
    point = CurvePoint(s + 1 - law.zero_mass, [s / slopes.moment(1) for slopes, _ in law.slopes])
    done, step = torch.zeros_like(x), torch.full_like(x, 0.02)
    while (rest := (done < 1).nonzero().squeeze(-1)).numel():
        if step[rest].min() < 1e-12:
            raise RuntimeError(f"no solution near λ = {x[rest[step[rest].argmin()]]:g}; is the density infinite there?")
        there = (done[rest] + step[rest]).clamp(max=1)
        trial, arrived = _newton(law, point[rest], start + there * way[rest])
        point.put(rest[arrived], trial[arrived])
        done[rest[arrived]] = there[arrived]
        step[rest] *= torch.where(arrived, 1.6, 0.4)
    return _newton(law, point, x.log() + 0j, iterations=60)[0]  # at an edge it halves the error only


def _newton(law: SpectralLaw, start: CurvePoint, target: Complex, iterations: int = 8) -> tuple[CurvePoint, Tensor]:
    """Solve F(s) = target from a near-by start; also say which points arrived, without a jump."""
    point = start
    for _ in range(iterations):
        excess, slope, errors, rates = _equations(law, point, target)
        for (_, n), omega, error, rate in zip(law.slopes, point.omegas, errors, rates, strict=True):
            excess = excess + n * error / (omega * rate)
        move = -excess / slope
        omegas = [w + (move - e) / rate for w, e, rate in zip(point.omegas, errors, rates, strict=True)]
        point = CurvePoint(point.v + move, omegas)
        if bool((move.abs() <= 1e-15 * point.v.abs()).all()):
            break
    excess, _, errors, _ = _equations(law, point, target)
    arrived = (excess.abs() < _CLOSE) & ((point.v - start.v).abs() < 0.5 * start.v.abs())
    for part in [point.v, *point.omegas]:
        arrived &= part.imag <= 1e-6 * part.abs()  # room for rounding; the conjugate solution is refused
    for error in errors:
        arrived &= error.abs() < _CLOSE * point.v.abs()
    return point, arrived


def _equations(
    law: SpectralLaw, point: CurvePoint, target: Complex
) -> tuple[Complex, Complex, list[Complex], list[Complex]]:
    """Return F − target, dF/ds, and for each diagonal matrix ψ_i(ω_i) − s and dψ_i/dω_i."""
    errors, rates = [], []
    for (slopes, _), omega in zip(law.slopes, point.omegas, strict=True):
        resolvent = 1 / (1 - omega[:, None] * slopes.values)
        # ψ(ω) + P(d > 0) = E[1/(1−ωd); d > 0] tends to 0 as ω grows
        errors.append(resolvent @ slopes.weights - (point.v + law.zero_mass - slopes.zero_mass))
        rates.append(resolvent.square() @ (slopes.weights * slopes.values))
    value, slope = log_lambda(law, point, rates)
    return value - target, slope, errors, rates


def edge_from_above(law: SpectralLaw) -> float:
    """Return the highest point of the continuous part: where, coming from λ = ∞, dF/ds is first 0.

    As λ falls from ∞, s grows from 0 to ∞; there, if there is an atom, it goes on from −∞.
    """
    arcs = [_arc(law, 1.0, 1 - law.zero_mass, "above"), _arc(law, -1.0, 0.0, "above")]
    return _first_edge(arcs, _last_before_slopes(law, "above"))


def edge_from_below(law: SpectralLaw) -> float:
    """Return the lowest point of a continuous part that does not reach 0.

    As λ grows from 0, v falls from 0 to −∞; there, if there is an atom, it goes on from ∞.
    """
    arcs = [_arc(law, -1.0, 0.0, "below"), _arc(law, 1.0, 1 - law.zero_mass, "below")]
    return _first_edge(arcs, _last_before_slopes(law, "below"))


Arc = Callable[[Real], tuple[Real, Real]]


def _arc(law: SpectralLaw, sign: float, origin: float, side: str) -> Arc:
    """Return λ and dF/ds as functions of w, along the real v = origin + sign e^w, outside of the spectrum."""

    def arc(w: Real) -> tuple[Real, Real]:
        v = origin + sign * w.exp()
        value, slope = real_curve(law, v, side)
        return value.exp(), slope

    return arc


def real_curve(law: SpectralLaw, v: Real, side: str) -> tuple[Real, Real]:
    """Return ln |λ| and dF/ds at real v."""
    found = [_inverse(slopes, side, v + law.zero_mass - slopes.zero_mass) for slopes, _ in law.slopes]
    point = CurvePoint(v + 0j, [1 / y + 0j for y, _ in found])
    value, slope = log_lambda(law, point, [rate + 0j for _, rate in found])
    return value.real, slope.real


def _first_edge(arcs: list[Arc], last: float) -> float:
    """Walk along the first arc from w = −20, and back along the second, to the first dF/ds = 0, or to w = last."""
    out = torch.linspace(-_FAR, min(last, _FAR), 201, dtype=torch.float64)
    for arc, w in [(arcs[0], out), (arcs[1], out.flip(0))]:
        value, slope = arc(w)
        inside = (slope >= 0).nonzero()
        if inside.numel():
            k = int(inside[0])
            if k == 0:
                return float(value[0])
            root = optimize.brentq(lambda u, arc=arc: float(arc(_one(u))[1]), float(w[k - 1]), float(w[k]), xtol=1e-14)
            return float(arc(_one(root))[0])
        if last < math.inf:
            return float(value[-1])
    raise RuntimeError("the curve has no turning point")


def _last_before_slopes(law: SpectralLaw, side: str) -> float:
    """Return w where 1/ω meets the first of those slopes that have no gap beside them; ∞ if there are none."""
    ends = [math.inf]
    for slopes, _ in law.slopes:
        outer, inner = slopes.highest[::-1] if side == "above" else slopes.lowest
        if outer == inner:
            y = outer * (1 + 1e-12 if side == "above" else 1 - 1e-12)
            psi = float((slopes.weights @ (slopes.values / (y - slopes.values))).real)
            ends.append(math.log(psi if side == "above" else -psi - (1 - law.zero_mass)))
    return min(ends)


def _inverse(slopes: Slopes, side: str, plus: Real) -> tuple[Real, Real]:
    """Return y = 1/ω and dψ/dω where ψ(ω) + P(d > 0) is `plus`, with y outside the values or next to an outermost atom.

    ψ falls as y grows, from ∞ to −∞ between two atoms. The distance of y to the outermost value is found by bisection
    of its logarithm.
    """
    d, weights = slopes.values, slopes.weights
    s = plus - 1 + slopes.zero_mass
    sign = torch.where(s > 0, 1.0, -1.0)
    if side == "above":
        end, reach = slopes.highest[1], torch.where(s > 0, slopes.highest[1] / s, slopes.highest[1] - slopes.highest[0])
    else:
        end = slopes.lowest[0]
        outside = torch.where(plus > 0, end - slopes.moment(1) / s, end)
        reach = torch.where(s > 0, slopes.lowest[1] - end, outside)
    low, high = torch.full_like(s, -690.0), reach.log()
    for _ in range(64):
        middle = (low + high) / 2
        psi = ((1 / ((sign * middle.exp())[:, None] + (end - d))) @ (weights * d)).real
        near = torch.where(sign > 0, psi < s, psi > s)
        low, high = torch.where(near, low, middle), torch.where(near, middle, high)
    distance = sign * low.exp()
    y = end + distance
    return y, ((y[:, None] / (distance[:, None] + (end - d))) ** 2 @ (weights * d)).real


def _one(w: float) -> Real:
    return torch.tensor([w], dtype=torch.float64)
