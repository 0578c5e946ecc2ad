r"""Moments, edges, density and distribution function of a `SpectralLaw`.

Outside its spectrum a law is known through :math:`s = \psi(1/\lambda)`, which solves

.. math:: \ln\lambda = F(s) = \ln(1+s) - \ln s + \ln(1/S(s)).

The density is :math:`-\mathrm{Im}\, s / (\pi\lambda)` at the real axis, reached from above. There the equation has many
solutions; the right one is found by following it from a large negative λ, where :math:`s = m_1/\lambda`, along a
straight line in ln λ, on which no two solutions meet.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from scipy import optimize
from torch import Tensor

from signalprop.theory.s_transform import Slopes, SpectralLaw

_CLOSE = 1e-10  # of ln λ, when following a solution
Complex = Tensor  # complex128


def jacobian_moments(law: SpectralLaw, k: int = 4) -> Float[Tensor, " k"]:
    r"""Return the first k moments of the law, :math:`m_j = \lim \frac1N \mathrm{tr} (J J^\top)^j`.

    By Lagrange inversion :math:`m_j = \frac1j [s^{j-1}] ((1+s)/S(s))^j`.

    Raises
    ------
    ValueError
        If k < 1.

    Examples
    --------
    Two Gaussian layers: the Fuss–Catalan numbers.

    >>> from signalprop.theory.s_transform import gaussian_weights
    >>> jacobian_moments(gaussian_weights(1.0) ** 2)
    tensor([ 1.,  3., 12., 55.], dtype=torch.float64)
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    series = _log_inverse_series(law, k)
    for n in range(1, k):
        series[n] -= (-1) ** n / n  # ln(1 + s)
    moments = [_exp_series([j * term for term in series[:j]])[j - 1] / j for j in range(1, k + 1)]
    return torch.tensor(moments, dtype=torch.float64)


def jacobian_edges(law: SpectralLaw) -> tuple[float, float]:
    r"""Return the lowest and the highest point of the continuous part of the spectrum (atoms are in ``law.atoms``).

    At an edge above 0, :math:`d\lambda/ds = 0`. The lower edge is exactly 0 where the spectrum reaches 0, be it with a
    vanishing density: with a Gaussian layer, with two layers of masks, with slopes arbitrarily near to 0.

    Raises
    ------
    ValueError
        If the law has no continuous part, or is one diagonal matrix alone.

    Examples
    --------
    >>> from signalprop.theory.s_transform import gaussian_weights, residual_blocks
    >>> jacobian_edges(gaussian_weights(1.0) ** 2)
    (0.0, 6.75)
    >>> [f"{edge:.5f}" for edge in jacobian_edges(residual_blocks(0.25))]
    ['0.23618', '4.23400']
    """
    _check_smooth(law)
    if not law.continuous_mass:
        raise ValueError(f"the law has no continuous part, only atoms: {law.atoms}")
    root = 1 - law.zero_mass  # s = −root where λ = 0
    far = 20.0
    upper = _first_edge(law, "above", [(1.0, root, -far, far), (-1.0, 0.0, far, -far)])
    if _touches_zero(law):
        return 0.0, upper
    return _first_edge(law, "below", [(-1.0, 0.0, -far, far), (1.0, root, far, -far)]), upper


def jacobian_density(law: SpectralLaw, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    r"""Return the density of the continuous part at each x, any shape; its integral is ``law.continuous_mass``.

    Exactly 0 outside `jacobian_edges`. Where the density has a pole, as :math:`\lambda^{-L/(L+1)}` at 0 for L Gaussian
    layers, integrate in ln λ, or use `jacobian_cdf`.

    Raises
    ------
    ValueError
        If the law is one diagonal matrix alone, or an x is not a number.

    Examples
    --------
    >>> from signalprop.theory.s_transform import gaussian_weights
    >>> jacobian_density(gaussian_weights(1.0), torch.tensor([-1.0, 2.0, 5.0])) * math.pi
    tensor([0.0000, 0.5000, 0.0000], dtype=torch.float64)
    """
    points = _check_points(x)
    density = torch.zeros_like(points)
    if law.continuous_mass:
        lower, upper = jacobian_edges(law)
        inside = (points > lower) & (points < upper)
        if inside.any():
            v = _follow(law, points[inside]).v
            density[inside] = (-v.imag / (math.pi * points[inside])).clamp(min=0)
    return density.reshape(x.shape)


def jacobian_cdf(law: SpectralLaw, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    r"""Return the fraction of the spectrum at or below each x, any shape, atoms included.

    Exact where the density is, without integration: :math:`P(\lambda > x) = \mathrm{Im}\, U / \pi` with

    .. math:: U(s) = -\ln s + (1+s) \ln(1/S(s)) - \int_0^s \ln(1/S).

    Raises
    ------
    ValueError
        As in `jacobian_density`.

    Examples
    --------
    >>> from signalprop.theory.s_transform import bernoulli_mask, orthogonal_weights
    >>> law = (orthogonal_weights(2.0) * bernoulli_mask(0.5)) ** 2
    >>> jacobian_cdf(law, torch.tensor([-1.0, 0.0, 2.0, 4.0]))
    tensor([0.0000, 0.5000, 0.7500, 1.0000], dtype=torch.float64)
    """
    points = _check_points(x)
    cdf = torch.zeros_like(points)
    for atom, mass in law.atoms:
        cdf += mass * (points >= atom)
    if law.continuous_mass:
        lower, upper = jacobian_edges(law)
        cdf[points >= upper] += law.continuous_mass
        inside = (points > lower) & (points < upper)
        if inside.any():
            above = _survival(law, _follow(law, points[inside]))
            cdf[inside] = (1 - above).clamp(law.zero_mass, 1)
    return cdf.clamp(max=1).reshape(x.shape)


@dataclass
class _Point:
    """Solutions of F(s) = ln λ, and ω_i with ψ_i(ω_i) = s for each diagonal matrix; all in the closed lower half plane.

    Kept is v = s + 1 − (mass at 0), which tends to 0 with λ, lest its digits be lost.
    """

    v: Complex
    omegas: list[Complex]

    def __getitem__(self, where: Tensor) -> "_Point":
        return _Point(self.v[where], [omega[where] for omega in self.omegas])

    def put(self, where: Tensor, other: "_Point") -> None:
        for mine, new in zip([self.v, *self.omegas], [other.v, *other.omegas], strict=True):
            mine[where] = new


def _follow(law: SpectralLaw, x: Float[Tensor, " points"]) -> _Point:
    mean, second = jacobian_moments(law, 2).tolist()
    start = complex(math.log(100 * second / mean), math.pi)
    way = x.log() - start
    s = torch.full_like(way, -mean / math.exp(start.real))
    point = _Point(s + 1 - law.zero_mass, [s / slopes.moment(1) for slopes, _ in law.slopes])
    done, step = torch.zeros_like(x), torch.full_like(x, 0.02)
    while (open_ := (done < 1).nonzero().squeeze(-1)).numel():
        there = (done[open_] + step[open_]).clamp(max=1)
        trial, ok = _newton(law, point[open_], start + there * way[open_])
        if step.min() < 1e-12:
            raise RuntimeError(f"lost the solution near λ = {x[step.argmin()]:g}; is the density infinite there?")
        point.put(open_[ok], trial[ok])
        done[open_[ok]] = there[ok]
        step[open_] *= torch.where(ok, 1.6, 0.4)
    return _newton(law, point, x.log() + 0j, final=True)[0]


def _newton(law: SpectralLaw, start: _Point, target: Complex, final: bool = False) -> tuple[_Point, Tensor]:
    """Solve F(s) = target for ln λ from a near-by start; also say which points arrived, without a jump."""
    point = start
    for _ in range(60 if final else 8):
        excess, slope, errors, rates = _equations(law, point, target)
        for (_, n), omega, error, rate in zip(law.slopes, point.omegas, errors, rates, strict=True):
            excess = excess + n * error / (omega * rate)
        move = -excess / slope
        omegas = [w + (move - e) / rate for w, e, rate in zip(point.omegas, errors, rates, strict=True)]
        point = _Point(point.v + move, omegas)
        if bool((move.abs() <= 1e-15 * point.v.abs()).all()):
            break
    excess, _, errors, _ = _equations(law, point, target)
    ok = (excess.abs() < _CLOSE) & ((point.v - start.v).abs() < 0.5 * start.v.abs())
    for part in [point.v, *point.omegas]:
        ok &= part.imag <= 1e-9 * part.abs()
    for error in errors:
        ok &= error.abs() < _CLOSE * point.v.abs()
    return point, ok


def _equations(law: SpectralLaw, point: _Point, target: Complex) -> tuple[Complex, Complex, list[Complex], list[Complex]]:
    """Return F − target, dF/ds, and for each diagonal matrix ψ_i(ω_i) − s and dψ_i/dω_i."""
    errors, rates = [], []
    for (slopes, _), omega in zip(law.slopes, point.omegas, strict=True):
        d, weights = slopes.positive
        resolvent = 1 / (1 - omega[:, None] * d)
        # ψ(ω) + P(d > 0) = E[1/(1−ωd); d > 0] tends to 0 as ω grows
        plus = resolvent @ weights.to(resolvent.dtype)
        errors.append(plus - (point.v + law.zero_mass - slopes.zero_mass))
        rates.append(resolvent**2 @ (weights * d).to(resolvent.dtype))
    value, slope = _log_lambda(law, point, rates)
    return value - target, slope, errors, rates


def _log_lambda(law: SpectralLaw, point: _Point, rates: list[Complex]) -> tuple[Complex, Complex]:
    """Return F and dF/ds."""
    s, plus_one = point.v - (1 - law.zero_mass), point.v + law.zero_mass
    free = 1 - sum(n for _, n in law.slopes)
    value = free * (_log(plus_one) - _log(s)) + law.log_scale + law.tilt * s
    slope = -free / (s * plus_one) + law.tilt
    for p, k in law.roots:
        plus_p = point.v + (p - (1 - law.zero_mass))
        value = value + k * _log(plus_p / p)
        slope = slope + k / plus_p
    for (_, n), omega, rate in zip(law.slopes, point.omegas, rates, strict=True):
        value = value - n * _log(omega)
        slope = slope - n / (omega * rate)
    return value, slope


def _survival(law: SpectralLaw, point: _Point) -> Float[Tensor, " points"]:
    s = point.v - (1 - law.zero_mass)
    plus_one = point.v + law.zero_mass
    log_inverse = law.log_scale + law.tilt * s
    integral = law.log_scale * s + law.tilt * s**2 / 2
    for p, k in law.roots:
        plus_p = point.v + (p - (1 - law.zero_mass))
        log_inverse = log_inverse + k * _log(plus_p / p)
        integral = integral + k * (plus_p * _log(plus_p / p) - s)
    for (slopes, n), omega in zip(law.slopes, point.omegas, strict=True):
        log_inverse = log_inverse + n * (_log(s) - _log(plus_one) - _log(omega))
        log_norm = -_log(1 / (1 - omega[:, None] * slopes.values)) @ slopes.weights.to(s.dtype)
        integral = integral + n * (s * (_log(s) - _log(omega)) - log_norm - plus_one * _log(plus_one))
    return (-_log(s) + plus_one * log_inverse - integral).imag / math.pi


def _log(z: Complex) -> Complex:
    """Logarithm in the closed lower half plane, where rounding may put a real number on the wrong side of the cut."""
    return (1j * z).log() - 0.5j * math.pi


def _first_edge(law: SpectralLaw, side: str, arcs: list[tuple[float, float, float, float]]) -> float:
    """Walk along real v, outside of the spectrum, to the first dF/ds = 0: v = origin + sign e^w with w from … to …."""
    for sign, origin, begin, end in arcs:

        def outside(w: Tensor, sign: float = sign, origin: float = origin) -> tuple[Tensor, Tensor]:
            v = origin + sign * w.exp()
            found = [_inverse(slopes, side, v + law.zero_mass - slopes.zero_mass) for slopes, _ in law.slopes]
            point = _Point(v + 0j, [1 / y + 0j for y, _ in found])
            value, slope = _log_lambda(law, point, [rate + 0j for _, rate in found])
            return value.real, slope.real

        w = torch.linspace(begin, end, 401, dtype=torch.float64)
        inside = (outside(w)[1] >= 0).nonzero()  # of the spectrum
        if inside.numel():
            last = int(inside[0])
            root = optimize.brentq(
                lambda u: float(outside(torch.tensor([u], dtype=torch.float64))[1]),
                float(w[last - 1]),
                float(w[last]),
                xtol=1e-14,
            )
            return float(outside(torch.tensor([root], dtype=torch.float64))[0].exp())
    raise RuntimeError(f"no edge found from {side} the spectrum")


def _inverse(slopes: Slopes, side: str, plus: Float[Tensor, " points"]) -> tuple[Tensor, Tensor]:
    """Return y = 1/ω and dψ/dω where ψ(ω) + P(d > 0) is `plus`, with y outside the values or next to an outermost one.

    ψ falls as y grows, from ∞ to −∞ between two values. The distance of y to the outermost one is found by bisection
    of its logarithm, because a rare value may be as near as its weight is small.
    """
    d, weights = slopes.positive
    s = plus - weights.sum()
    if side == "above":
        end, sign = d[-1], torch.where(s > 0, 1.0, -1.0)
        reach = torch.where(s > 0, end / s, end - d[-2])
    else:
        end, sign = d[0], torch.where(s > 0, 1.0, -1.0)
        reach = torch.where(s > 0, d[1] - end, torch.where(plus > 0, end - slopes.moment(1) / s, end))
    low, high = torch.full_like(s, -690.0), reach.log()
    for _ in range(80):
        middle = (low + high) / 2
        gap = sign[:, None] * middle.exp()[:, None] + (end - d)
        psi = (1 / gap) @ (weights * d)
        near = torch.where(sign > 0, psi < s, psi > s)
        low, high = torch.where(near, low, middle), torch.where(near, middle, high)
    distance = sign * low.exp()
    y = end + distance
    return y, (y[:, None] / (distance[:, None] + (end - d))) ** 2 @ (weights * d)


def _touches_zero(law: SpectralLaw) -> bool:
    """Say whether λ(s) has more than a simple zero where the spectrum is left for negative λ, so that it begins at 0."""
    zero = law.zero_mass
    order = int(zero == 0)
    order += sum(k for p, k in law.roots if math.isclose(p, 1 - zero, rel_tol=1e-12))
    order += sum(n for slopes, n in law.slopes if zero > 0 and slopes.zero_mass == zero)
    return order > 1 or any(slopes.reaches_zero for slopes, _ in law.slopes)


def _check_smooth(law: SpectralLaw) -> None:
    if law.continuous_mass and not law.roots and not law.tilt and sum(n for _, n in law.slopes) == 1:
        raise ValueError("the law is that of the squared slopes themselves; multiply it by another random layer")


def _check_points(x: Tensor) -> Float[Tensor, " points"]:
    points = x.detach().to(torch.float64).reshape(-1)
    if points.isnan().any():
        raise ValueError("x must be numbers, got nan")
    return points


def _log_inverse_series(law: SpectralLaw, terms: int) -> list[float]:
    """Return the Taylor coefficients of ln(1/S) at 0."""
    series = [0.0] * terms
    series[0] = law.log_scale
    for n in range(1, terms):
        series[n] = -sum(k * (-1 / p) ** n for p, k in law.roots) / n
    if terms > 1:
        series[1] += law.tilt
    for slopes, count in law.slopes:
        ratio = _log_series([slopes.moment(j) for j in range(1, terms + 1)])  # ln(ψ(z)/z)
        for n in range(terms):
            # ln(χ(s)/s) = −ln m1 + Σ s^n [z^n](z/ψ)^n / n, and 1/S adds −ln(1+s)
            log_chi = _exp_series([-n * term for term in ratio[: n + 1]])[n] / n if n else -ratio[0]
            series[n] -= count * (log_chi + (-(-1) ** n / n if n else 0.0))
    return series


def _exp_series(log: list[float]) -> list[float]:
    out = [math.exp(log[0])]
    for n in range(1, len(log)):
        out.append(math.fsum(j * log[j] * out[n - j] for j in range(1, n + 1)) / n)
    return out


def _log_series(values: list[float]) -> list[float]:
    out = [math.log(values[0])]
    for n in range(1, len(values)):
        rest = math.fsum(j * out[j] * values[n - j] for j in range(1, n))
        out.append((values[n] - rest / n) / values[0])
    return out
