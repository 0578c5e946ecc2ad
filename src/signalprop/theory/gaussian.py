r"""Expectations over one Gaussian, and over two correlated ones, by adaptive quadrature.

An activation has the scale 1 of its argument, the Gaussian the scale √q, and they may be far apart. In the variable t
of :math:`z = s \sinh t`, :math:`s = \min(1, 1/\sqrt q)`, both are smooth and a few units wide. Panels in t end at the
kinks and are halved until the Gauss and the Kronrod rule on each agree, and the function with its polynomial at the
ends.
"""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from numpy.polynomial import legendre
from torch import Tensor

from signalprop.theory.activations import Elementwise


class QuadratureError(ValueError):
    """The panels do not converge: f oscillates or jumps too often, or its digits are noise."""


REACH = 38.0  # standard deviations; beyond, the density leaves the range of float64


def gaussian_expectation(
    f: Elementwise, q: float | Float[Tensor, "*shape"], kinks: tuple[float, ...] = ()
) -> Float[Tensor, "*shape"]:
    r"""Return :math:`E f(\sqrt q z)`, z ~ N(0, 1), to about 1e-12 of :math:`E |f|`.

    Parameters
    ----------
    f
        Elementwise, float64 to float64.
    q
        Variance of the argument, any shape.
    kinks
        Where f is not smooth. Undeclared ones are found by bisection.

    Returns
    -------
    Tensor
        Shape of q, float64, in the unit of f.

    Raises
    ------
    ValueError
        If q is negative or not finite; if f is not finite, or zero wherever the Gaussian reaches (a dead integrand).
    QuadratureError
        If the panels do not converge, as for a function with noise in its digits; a ValueError too.

    Examples
    --------
    >>> f"{gaussian_expectation(torch.cos, 2.0):.12f} {math.exp(-1):.12f}"
    '0.367879441171 0.367879441171'
    """
    variance = _variance(q)
    value, magnitude, _ = _expect(f, variance.reshape(-1), kinks)
    _refuse_dead(magnitude, variance)
    return value.reshape(variance.shape)


def expectation_or_zero(
    f: Elementwise, q: Float[Tensor, "*shape"], kinks: tuple[float, ...], floor: float | Tensor = 1e-280
) -> Float[Tensor, "*shape"]:
    """Return `gaussian_expectation`, or 0 where the integrand is dead; to 1e-12 of `floor` where that is above E |f|.

    Examples
    --------
    >>> tail = lambda x: torch.relu(x - 100)
    >>> expectation_or_zero(tail, torch.tensor([1.0]), (100.0,))
    tensor([0.], dtype=torch.float64)
    """
    least = torch.as_tensor(floor, dtype=torch.float64).expand(q.shape).reshape(-1)
    return _expect(f, _variance(q).reshape(-1), kinks, least)[0].reshape(q.shape)


def correlated_expectation(
    f: Elementwise,
    g: Elementwise,
    c: float | Float[Tensor, "..."],
    q1: float | Float[Tensor, "..."],
    q2: float | Float[Tensor, "..."] | None = None,
    kinks: tuple[float, ...] = (),
) -> Float[Tensor, "..."]:
    r"""Return :math:`E f(u_1) g(u_2)` for Gaussians of variances q1, q2 and correlation c.

    The inner integral is over :math:`u_2 = \sqrt{q_2} (c z_1 + \sqrt{1 - c^2} z_2)` at fixed :math:`z_1`, so that
    nothing cancels as c → ±1.

    Parameters
    ----------
    f, g
        Elementwise, float64 to float64.
    c
        Correlation in [−1, 1].
    q1, q2
        Variances; q2 is q1 if left out. c, q1 and q2 broadcast.
    kinks
        Where f or g is not smooth.

    Returns
    -------
    Tensor
        The broadcast shape, float64, to about 1e-11 of :math:`E |f g|` or 1e-15 of :math:`E |f| E |g|`.

    Raises
    ------
    ValueError
        As `gaussian_expectation`, for f and for g; and if c lies outside [−1, 1].

    Examples
    --------
    >>> f"{correlated_expectation(torch.sin, torch.sin, 0.3, 1.0):.12f}"
    '0.112026755379'
    >>> f"{math.exp(-1) * math.sinh(0.3):.12f}"
    '0.112026755379'
    """
    correlation = torch.as_tensor(c, dtype=torch.float64)
    if not (correlation.abs() <= 1).all():
        raise ValueError(f"a correlation lies in [-1, 1], got {_first(correlation, correlation.abs() <= 1):g}")
    sine = ((1 - correlation) * (1 + correlation)).sqrt()
    return expectation_at_angle(f, g, correlation, sine, _variance(q1), _variance(q1 if q2 is None else q2), kinks)


def expectation_at_angle(
    f: Elementwise, g: Elementwise, cosine: Tensor, sine: Tensor, q1: Tensor, q2: Tensor, kinks: tuple[float, ...] = ()
) -> Float[Tensor, "..."]:
    """Return `correlated_expectation` for the correlation cos θ, given with sin θ: no digits are lost at small θ.

    Examples
    --------
    >>> angle, one = torch.tensor(1e-9, dtype=torch.float64), torch.ones((), dtype=torch.float64)
    >>> step = lambda x: (x > 0).to(x.dtype)
    >>> both = expectation_at_angle(step, step, angle.cos(), angle.sin(), one, one, (0.0,))
    >>> f"{both:.12f} {(math.pi - angle) / (2 * math.pi):.12f}"
    '0.499999999841 0.499999999841'
    """
    shape = torch.broadcast_shapes(cosine.shape, sine.shape, q1.shape, q2.shape)
    c, s, q1, q2 = (x.expand(shape).reshape(-1) for x in (cosine, sine, q1, q2))
    if c.numel() == 0:
        return torch.zeros(shape, dtype=torch.float64)
    features = set(kinks)
    scales = []
    for function, q in ((f, q1), (g, q2)):
        each, which = q.unique(return_inverse=True)
        magnitude = _expect(function, each, kinks)[1]
        _refuse_dead(magnitude, each)
        scales.append(magnitude[which])
        splits = _expect(function, each[-1:], kinks)[2]
        features |= set((each[-1].sqrt().clamp_max(1) * torch.sinh(splits)).tolist())
    scale_f, scale_g = scales
    marks = torch.tensor(sorted(features), dtype=torch.float64)
    root1, root2 = q1.sqrt(), q2.sqrt()
    scale = root1.reciprocal().clamp_max(1)

    def outer(owner: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        k = owner[:, None].expand_as(t)
        z, measure = _stretched(t, 0.0, scale[k])
        weighted = f(root1[k] * z) * measure
        inside = weighted.abs() > 1e-40 * weighted.abs().amax()  # the tails of the outer integral need no inner one
        row = k[inside]
        mean, spread = root2[row] * c[row] * z[inside], root2[row] * s[row]
        value, size = _shifted_expectation(g, mean, spread, marks, 1e-4 * scale_g[row])
        result = torch.zeros(2, *t.shape, dtype=torch.float64)
        result[:, inside] = weighted[inside] * torch.stack([value, size])
        return result[0], result[1].abs()

    reach = torch.asinh(REACH / scale)
    # the inner integral rounds a kink of g off over the width sin θ; no rule sees a narrow one but between panels
    own = marks / root1[:, None]
    rounded = torch.cat([marks / root2[:, None] + side * s[:, None] for side in (-6, 0, 6)], -1) / c[:, None]
    breaks = torch.cat([own, torch.where(s[:, None] < 0.1, rounded, own.repeat(1, 3))], -1)
    edges = _edges(-reach, reach, _to_t(breaks, scale), 6)
    value, _, _ = _adaptive(outer, edges, 1e-11, 64, 1e-4 * scale_f * scale_g)
    return value.reshape(shape)


def _expect(
    f: Elementwise, q: Tensor, kinks: tuple[float, ...], floor: float | Tensor = 1e-280
) -> tuple[Tensor, Tensor, Tensor]:
    """Return E f and E |f| for each variance [n], and where panels had to be split, as values of t."""
    root = q.sqrt()
    scale = root.reciprocal().clamp_max(1)

    def integrand(owner: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        z, measure = _stretched(t, 0.0, scale[owner, None])
        y = f(root[owner, None] * z) * measure
        return y, y.abs()

    reach = torch.asinh(REACH / scale)
    marks = torch.tensor(kinks, dtype=torch.float64)
    edges = _edges(-reach, reach, _to_t(marks / root[:, None], scale), 32)
    return _adaptive(integrand, edges, 1e-12, 4096, floor)


def _shifted_expectation(
    g: Elementwise, mean: Tensor, spread: Tensor, marks: Tensor, floor: Tensor
) -> tuple[Tensor, Tensor]:
    """Return E g(mean + spread·z) and E |g|, [n]; t is centred where the argument of g is zero, if z can reach it."""
    scale = spread.reciprocal().clamp_max(1)
    centre = (-mean / spread).nan_to_num(0.0, REACH, -REACH).clamp(-REACH, REACH)

    def integrand(owner: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        z, measure = _stretched(t, centre[owner, None], scale[owner, None])
        y = g(mean[owner, None] + spread[owner, None] * z) * measure
        return y, y.abs()

    low, high = ((sign * REACH - centre).div(scale).asinh() for sign in (-1, 1))
    marked = _to_t((marks - mean[:, None]) / spread[:, None] - centre[:, None], scale)
    return _adaptive(integrand, _edges(low, high, marked, 5), 1e-11, 8192, floor)[:2]


def _stretched(t: Tensor, centre: float | Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Return z = centre + scale·sinh t, and the Gaussian density there times dz/dt."""
    sinh = torch.sinh(t)
    z = centre + scale * sinh
    return z, torch.exp(-z * z / 2) * (scale / math.sqrt(2 * math.pi)) * torch.sqrt(1 + sinh * sinh)


def _to_t(z: Tensor, scale: Tensor) -> Tensor:
    return (z / scale[:, None]).asinh().nan_to_num(0.0)


def _edges(low: Tensor, high: Tensor, marks: Tensor, panels: int) -> Tensor:
    """Return sorted panel edges [n, ·] from `low` to `high` [n]: equal panels, split at the marks [n, m]."""
    steps = torch.linspace(0, 1, panels + 1, dtype=torch.float64)
    grid = torch.lerp(low[:, None], high[:, None], steps)
    inside = torch.minimum(torch.maximum(marks, low[:, None]), high[:, None])
    return torch.cat([grid, inside], -1).sort(-1).values


def _adaptive(
    integrand: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    edges: Tensor,
    tolerance: float,
    rows: int,
    floor: float | Tensor = 1e-280,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the integrals and their sizes over panels [n, m + 1], and midpoints of panels split in the first rounds.

    `integrand(owner, t)` takes the integral's number for each row of t, and returns the values and the sizes to which
    their rounding errors compare; `rows` of t at a time keep the work in cache. The tolerance is relative to the
    integrated size, or to `floor` [n] where that is larger: in its far tail a function is mere noise.
    """
    count = len(edges)
    owner = torch.arange(count)[:, None].expand(count, edges.shape[1] - 1).reshape(-1)
    a, b = edges[:, :-1].reshape(-1), edges[:, 1:].reshape(-1)
    nodes, weights = _kronrod()
    lowest = torch.as_tensor(floor, dtype=torch.float64).expand(count)
    total, settled = torch.zeros(2, count, dtype=torch.float64)
    splits = [torch.zeros(0, dtype=torch.float64)]
    for round_ in range(64):
        open_ = b > a
        owner, a, b = owner[open_], a[open_], b[open_]
        parts = []
        for k, left, right in zip(owner.split(rows), a.split(rows), b.split(rows), strict=True):
            half = (right - left)[:, None] / 2
            y, bulk = integrand(k, left[:, None] + half * (1 + nodes))
            parts.append(half * torch.cat([y @ weights, bulk @ weights[:, :1]], -1))
        sums = torch.cat(parts) if parts else torch.zeros(0, 5, dtype=torch.float64)
        kronrod, gauss, left_end, right_end, size = sums.unbind(-1)
        magnitude = settled.index_add(0, owner, size)
        if not magnitude.isfinite().all():
            raise ValueError("the integrand is not finite: f must be, over 38 standard deviations of its argument")
        unseen = torch.maximum(left_end.abs(), right_end.abs())
        error = torch.maximum((kronrod - gauss).abs(), unseen)
        rough = error > tolerance * torch.maximum(magnitude, lowest)[owner]
        rough &= (b - a) > 1e-15 * torch.maximum(a.abs(), b.abs())
        total.index_add_(0, owner[~rough], kronrod[~rough])
        settled.index_add_(0, owner[~rough], size[~rough])
        owner, a, b = owner[rough], a[rough], b[rough]
        if len(owner) == 0:
            return total, settled, torch.cat(splits)
        if len(owner) > 500 * count:
            break
        middle = (a + b) / 2
        if round_ < 4:
            splits.append(middle)
        owner, a, b = owner.repeat(2), torch.cat([a, middle]), torch.cat([middle, b])
    raise QuadratureError("the quadrature does not converge: f oscillates or jumps too often, or its digits are noise")


@cache
def _kronrod(n: int = 15) -> tuple[Tensor, Tensor]:
    """Return nodes on [−1, 1], and four columns: Kronrod's weights, Gauss's on every other node, and two checks.

    Kronrod adds the roots of the polynomial of degree n + 1 that is orthogonal to all lower powers under the
    sign-changing weight P_n (Stieltjes). A kink between the outermost node and the end of a panel is seen by neither
    rule, and one elsewhere may by chance mean the same error to both. So there is one more node next to each end,
    without weight: the check compares the function there with the polynomial through the other nodes.
    """
    x, w = legendre.leggauss(2 * n + 2)
    p = legendre.legvander(x, n + 1)
    products = (p * (w * p[:, n])[:, None]).T @ p  # ∫ P_n P_j P_k
    lower = np.linalg.lstsq(products[: n + 1, : n + 1], -products[: n + 1, n + 1], rcond=None)[0]
    gauss_nodes, gauss_weights = legendre.leggauss(n)
    stieltjes = legendre.legroots([*lower, 1.0]).real  # real roots, which NumPy 2.5 types as complex
    inner = np.concatenate([gauss_nodes, stieltjes])
    moments = np.zeros(2 * n + 1)
    moments[0] = 2
    polynomials = legendre.legvander(inner, 2 * n)
    kronrod = np.linalg.solve(polynomials.T, moments)
    ends = np.array([-1 + 1e-8, 1 - 1e-8])  # not the ends themselves, where a declared jump may be
    through = legendre.legvander(ends, 2 * n) @ np.linalg.inv(polynomials)
    checks = np.concatenate([-through, np.eye(2)], -1)
    rules = [np.append(kronrod, [0, 0]), np.append(gauss_weights, np.zeros(n + 3)), *checks]
    return torch.from_numpy(np.append(inner, ends)), torch.from_numpy(np.stack(rules, -1))


def _variance(q: float | Tensor) -> Tensor:
    variance = torch.as_tensor(q, dtype=torch.float64)
    good = (variance >= 0) & variance.isfinite()
    if not good.all():
        raise ValueError(f"a variance is finite and not negative, got {_first(variance, good):g}")
    return variance


def _refuse_dead(magnitude: Tensor, q: Tensor) -> None:
    if (magnitude == 0).any():
        where = _first(q.reshape(-1).expand(len(magnitude)) if q.numel() == 1 else q.reshape(-1), magnitude != 0)
        raise ValueError(f"dead: the integrand is zero wherever a Gaussian of variance {where:g} reaches")


def _first(values: Tensor, good: Tensor) -> float:
    return float(values[~good].reshape(-1)[0])
