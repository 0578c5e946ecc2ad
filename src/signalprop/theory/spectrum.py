r"""Moments, edges, density and distribution function of a `SpectralLaw`, the limiting spectrum of JJᵀ."""

import math
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from signalprop.theory.spectral_curve import (
    CurvePoint,
    edge_from_above,
    edge_from_below,
    follow,
    log_lower,
    real_curve,
)
from signalprop.theory.spectral_law import SpectralLaw


def s_transform(law: SpectralLaw, s: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    r"""Return S(s) at real s above (mass at 0) − 1, any shape; :math:`S(0) = 1/m_1`.

    Raises
    ------
    ValueError
        If an s lies outside.

    Examples
    --------
    >>> from signalprop.theory.spectral_law import gaussian_weights
    >>> s_transform(gaussian_weights(1.0) ** 3, torch.tensor([-0.5, 0.0, 1.0]))
    tensor([8.0000, 1.0000, 0.1250], dtype=torch.float64)
    """
    points = s.detach().to(torch.float64).reshape(-1)
    lowest = law.zero_mass - 1
    if not (points > lowest).all():
        raise ValueError(f"S is defined for s above {lowest:g}, (mass at 0) − 1")
    result = torch.full_like(points, 1 / jacobian_moments(law, 1).item())
    for side, where in [("below", points < 0), ("above", points > 0)]:
        part = points[where]
        result[where] = (1 + part) / part.abs() * (-real_curve(law, part - lowest, side)[0]).exp()
    return result.reshape(s.shape)


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

    >>> from signalprop.theory.spectral_law import gaussian_weights
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
    vanishing density: with a Gaussian layer, with two layers of masks, with slopes arbitrarily near to 0 as those of
    tanh. (What a slope does beyond 8.5 standard deviations is not seen by the upper edge.)

    Raises
    ------
    ValueError
        If the law has no continuous part, or is one diagonal matrix alone.

    Examples
    --------
    >>> from signalprop.theory.spectral_law import gaussian_weights, residual_blocks
    >>> [f"{edge:.5f}" for edge in jacobian_edges(gaussian_weights(1.0) ** 2)]
    ['0.00000', '6.75000']
    >>> [f"{edge:.5f}" for edge in jacobian_edges(residual_blocks(0.25))]
    ['0.23618', '4.23400']
    """
    if not law.continuous_mass:
        raise ValueError(f"the law has no continuous part, only the atoms {law.atoms}")
    if not law.roots and not law.tilt and sum(n for _, n in law.slopes) == 1:
        raise ValueError("the law is that of the squared slopes themselves; multiply it by another random layer")
    return _edges(law)


def jacobian_density(law: SpectralLaw, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    r"""Return the density of the continuous part at each x, any shape; its integral is ``law.continuous_mass``.

    It is :math:`-\mathrm{Im}\, s / (\pi x)` on the curve of the law, and exactly 0 outside `jacobian_edges`. Where it
    has a pole, as :math:`\lambda^{-L/(L+1)}` at 0 for L Gaussian layers, integrate in ln λ, or use `jacobian_cdf`.

    Raises
    ------
    ValueError
        If the law is one diagonal matrix alone, or an x is not a number.

    Examples
    --------
    >>> from signalprop.theory.spectral_law import gaussian_weights
    >>> jacobian_density(gaussian_weights(1.0), torch.tensor([-1.0, 2.0, 5.0])) * 2 * math.pi
    tensor([0., 1., 0.], dtype=torch.float64)
    """
    points = _checked(x)
    density = torch.zeros_like(points)
    if law.continuous_mass:
        lower, upper = jacobian_edges(law)
        inside = (points > lower) & (points < upper)
        if inside.any():
            v = follow(law, points[inside], *jacobian_moments(law, 2).tolist()).v
            density[inside] = (-v.imag / (math.pi * points[inside])).clamp(min=0)
    return density.reshape(x.shape)


def jacobian_cdf(law: SpectralLaw, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    r"""Return the fraction of the spectrum at or below each x, any shape, float64, atoms included.

    No integration is involved: :math:`P(\lambda > x) = \mathrm{Im}\, U / \pi` on the curve of the law with

    .. math:: U(s) = -\ln s + (1+s) \ln(1/S(s)) - \int_0^s \ln(1/S).

    Raises
    ------
    ValueError
        As in `jacobian_density`.

    Examples
    --------
    >>> from signalprop.theory.spectral_law import bernoulli_mask, orthogonal_weights
    >>> law = (orthogonal_weights(2.0) * bernoulli_mask(0.5)) ** 2
    >>> jacobian_cdf(law, torch.tensor([-1.0, 0.0, 2.0, 4.0]))
    tensor([0.0000, 0.5000, 0.7500, 1.0000], dtype=torch.float64)
    """
    points = _checked(x)
    cdf = torch.zeros_like(points)
    for atom, mass in law.atoms:
        cdf[points >= atom] += mass
    if law.continuous_mass:
        lower, upper = jacobian_edges(law)
        cdf[points >= upper] += law.continuous_mass
        inside = (points > lower) & (points < upper)
        if inside.any():
            above = _survival(law, follow(law, points[inside], *jacobian_moments(law, 2).tolist()))
            cdf[inside] = (1 - above).clamp(law.zero_mass, 1)
    return cdf.clamp(max=1).reshape(x.shape)


@lru_cache(maxsize=64)
def _edges(law: SpectralLaw) -> tuple[float, float]:
    return 0.0 if _touches_zero(law) else edge_from_below(law), edge_from_above(law)


def _touches_zero(law: SpectralLaw) -> bool:
    """Say whether the spectrum begins at 0: λ(s) then has more than a simple zero where λ becomes negative."""
    zero = law.zero_mass
    order = int(zero == 0)
    order += sum(k for p, k in law.roots if math.isclose(p, 1 - zero, rel_tol=1e-12))
    order += sum(n for slopes, n in law.slopes if zero > 0 and slopes.zero_mass == zero)
    return order > 1 or any(slopes.reaches_zero for slopes, _ in law.slopes)


def _survival(law: SpectralLaw, point: CurvePoint) -> Float[Tensor, " points"]:
    s, plus_one = point.v - (1 - law.zero_mass), point.v + law.zero_mass
    log_inverse = law.log_scale + law.tilt * s  # ln(1/S)
    integral = law.log_scale * s + law.tilt * s**2 / 2
    for p, k in law.roots:
        plus_p = point.v + (p - (1 - law.zero_mass))
        log_inverse = log_inverse + k * log_lower(plus_p / p)
        integral = integral + k * (plus_p * log_lower(plus_p / p) - s)
    for (slopes, n), omega in zip(law.slopes, point.omegas, strict=True):
        log_inverse = log_inverse + n * (log_lower(s) - log_lower(plus_one) - log_lower(omega))
        # ∫₀^s ln ω = s ln ω + E ln(1 − ωd), by parts; what d = 0 adds is 0
        log_norm = -log_lower(1 / (1 - omega[:, None] * slopes.values)) @ slopes.weights
        integral = integral + n * (s * (log_lower(s) - log_lower(omega)) - log_norm - plus_one * log_lower(plus_one))
    return (-log_lower(s) + plus_one * log_inverse - integral).imag / math.pi


def _checked(x: Tensor) -> Float[Tensor, " points"]:
    points = x.detach().to(torch.float64).reshape(-1)
    if points.isnan().any():
        raise ValueError("x must be numbers, got nan")
    return points


def _log_inverse_series(law: SpectralLaw, terms: int) -> list[float]:
    """Return the Taylor coefficients of ln(1/S) at 0."""
    series = [law.log_scale, law.tilt, *[0.0] * terms][:terms]
    for n in range(1, terms):
        series[n] -= math.fsum(k * (-1 / p) ** n for p, k in law.roots) / n
    for slopes, count in law.slopes:
        ratio = _log_series([slopes.moment(j) for j in range(1, terms + 1)])  # ln(ψ(z)/z)
        series[0] += count * ratio[0]
        for n in range(1, terms):
            # [s^n] ln(χ(s)/s) = [z^n] (z/ψ)^n / n, and ln(1/S) = −ln(χ/s) − ln(1+s)
            log_chi = _exp_series([-n * term for term in ratio[: n + 1]])[n] / n
            series[n] -= count * (log_chi - (-1) ** n / n)
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
