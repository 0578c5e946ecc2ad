r"""The smallest deep network: a product of scalars, tied (one weight used L times) or not.

The tied chain has the loss :math:`F(w) = (w^L - 1)^2`, the survey's picture of exploding and vanishing gradients for
L = 7; the untied chain has :math:`F(w_1, \dots, w_L) = \tfrac12 (w_1 \cdots w_L - 1)^2`.

References
----------
R. Sun, *Optimization for deep learning: theory and algorithms*, arXiv:1912.08957, section 4.1. What the descent on the
tied chain does (`descent_steps`, `crossing_step`, `basin`) is derived in chapter 1 of this book.
"""

import math

import torch
from jaxtyping import Float
from scipy import integrate, optimize
from torch import Tensor


def tied_gradient(w: Float[Tensor, "..."], depth: int) -> Float[Tensor, "..."]:
    """Return F′(w) = 2L w^(L−1) (w^L − 1) of the tied chain's loss (w^L − 1)², at each w, any shape.

    Examples
    --------
    >>> tied_gradient(torch.tensor([1.0, 2.0]), 3)
    tensor([  0., 168.])
    """
    return 2 * depth * w ** (depth - 1) * (w**depth - 1)


def tied_curvature(w: Float[Tensor, "..."], depth: int) -> Float[Tensor, "..."]:
    """Return F″(w) = 2L [(2L−1) w^(2L−2) − (L−1) w^(L−2)] of the tied chain's loss, at each w, any shape.

    Raises
    ------
    ValueError
        If the depth is below 2.

    Examples
    --------
    At the minimum it is 2L²:

    >>> tied_curvature(torch.tensor([1.0]), 7)
    tensor([98.])
    """
    _check_depth(depth)
    return 2 * depth * ((2 * depth - 1) * w ** (2 * depth - 2) - (depth - 1) * w ** (depth - 2))


def steepest_interior_point(depth: int) -> tuple[float, float]:
    """Return (w, |F′(w)|) where the slope between the plateau and the minimum at 1 is steepest: w^L = (L−1)/(2L−1).

    Raises
    ------
    ValueError
        If the depth is below 2.

    Examples
    --------
    >>> w, slope = steepest_interior_point(7)
    >>> f"{w:.6f} {slope:.5f}"
    '0.895426 3.88563'
    """
    _check_depth(depth)
    w = ((depth - 1) / (2 * depth - 1)) ** (1 / depth)
    return w, abs(_slope(w, depth))


def flat_interval(depth: int, slope: float) -> tuple[float, float]:
    """Return the interval (left, right) around w = 0 in which |F′(w)| < slope.

    Parameters
    ----------
    depth
        L ≥ 2.
    slope
        Positive, below the steepest interior slope (above it there is no flat region to speak of).

    Raises
    ------
    ValueError
        If `slope` is not in that range.

    Examples
    --------
    >>> left, right = flat_interval(7, 0.1)
    >>> f"{left:.4f} {right:.4f}"
    '-0.4386 0.4391'
    """
    peak, steepest = steepest_interior_point(depth)
    if not 0 < slope < steepest:
        raise ValueError(f"slope must lie between 0 and the steepest interior slope {steepest:g}, got {slope:g}")

    def excess(w: float) -> float:
        return abs(_slope(w, depth)) - slope

    return (
        float(optimize.brentq(excess, -peak, 0.0, xtol=1e-15, rtol=1e-15)),
        float(optimize.brentq(excess, 0.0, peak, xtol=1e-15, rtol=1e-15)),
    )


def stable_step(depth: int) -> float:
    """Return the largest stable step size at the minimum w = 1: 2/F″(1) = 1/L².

    Raises
    ------
    ValueError
        If the depth is below 2.

    Examples
    --------
    >>> stable_step(7) == 2 / 98
    True
    """
    _check_depth(depth)
    return 1 / depth**2


def crossing_step(w: float, depth: int) -> float:
    """Return the step size above which one step from w < 0 jumps past 0: w/F′(w), odd L ≥ 3.

    Raises
    ------
    ValueError
        If w is not negative, or L is even (then −1 is a minimum too and there is nothing to cross to).

    Examples
    --------
    >>> crossing_step(-1.0, 7) == 1 / 28
    True
    """
    if depth < 3 or depth % 2 == 0:
        raise ValueError(f"depth must be odd and at least 3, got {depth}")
    if w >= 0:
        raise ValueError(f"w must be negative, got {w:g}")
    return w / _slope(w, depth)


def descent_steps(start: float, stop: float, depth: int, lr: float) -> float:
    r"""Return how many steps gradient descent on the tied chain takes from `start` to `stop`, both on one slope.

    The map is :math:`w \mapsto w + \eta g(w)` with :math:`g = -F'`. Gradient flow needs the time
    :math:`\int dw / g`; the Euler steps of size η add the first term of its expansion in η,

    .. math:: n = \frac1\eta \int_{a}^{b} \frac{dw}{g(w)} + \frac12 \ln\frac{g(b)}{g(a)} + O(\eta),

    which is exact enough (a few steps in tens of thousands) as long as a step is small against the distance over which
    g changes. The result is a real number; the count of steps is the next whole one.

    Parameters
    ----------
    start, stop
        Between two zeros of F′, in the direction of descent: 0 < start < stop < 1, 1 < stop < start, or, for odd L,
        start < stop < 0; for even L also their mirror images.
    depth
        L ≥ 2.
    lr
        Step size η > 0.

    Raises
    ------
    ValueError
        If descent does not lead from `start` to `stop`, or η is not positive.

    Examples
    --------
    From far out on the plateau the time grows as w^(2−L), here about twofold per 13 %:

    >>> round(descent_steps(0.20, 0.99, 7, 0.01)), round(descent_steps(0.23, 0.99, 7, 0.01))
    (4472, 2227)
    """
    if not lr > 0:
        raise ValueError(f"lr must be positive, got {lr:g}")
    here, there = _check_way(start, stop, depth)
    return descent_time(start, stop, depth) / lr + math.log(there / here) / 2


def descent_time(start: float, stop: float, depth: int) -> float:
    r"""Return the time :math:`\int dw / (-F'(w))` that gradient flow on the tied chain takes from `start` to `stop`.

    Parameters
    ----------
    start, stop, depth
        As in `descent_steps`, which adds what the steps of descent change.

    Raises
    ------
    ValueError
        If the depth is below 2, or descent does not lead from `start` to `stop`.

    Examples
    --------
    Nearly all of it is spent on the plateau, where the time is w^(2−L) / (2L(L−2)):

    >>> f"{descent_time(0.1, 0.9, 7):.1f} {0.1**-5 / 70:.1f}"
    '1428.6 1428.6'
    """
    _check_way(start, stop, depth)
    # in the variable w = ±exp(s) the integrand is tame over the decades of the plateau
    sign = math.copysign(1.0, start)
    time, _ = integrate.quad(
        lambda s: sign * math.exp(s) / -_slope(sign * math.exp(s), depth),
        math.log(abs(start)),
        math.log(abs(stop)),
        epsabs=0,
        epsrel=1e-10,
        limit=500,
    )
    return float(time)


def basin(depth: int, lr: float, steps: int, tolerance: float) -> tuple[float, float]:
    """Return the starts (low, high) around w = 1 from which descent comes within `tolerance` of 1 in `steps` steps.

    Below `low` the plateau takes too long; above `high` the first step throws the weight back beyond `low`.

    Parameters
    ----------
    depth
        L ≥ 2.
    lr
        Step size η, below `stable_step`.
    steps
        Budget, large against the few steps that the minimum itself takes.
    tolerance
        How close to 1 counts as arrived, such as 1e-3.

    Raises
    ------
    ValueError
        If the step size is not stable at the minimum, the tolerance not between 0 and 1, or the budget smaller than
        what the last approach to the minimum takes by itself.

    Examples
    --------
    >>> low, high = basin(7, lr=0.01, steps=1000, tolerance=1e-3)
    >>> f"{low:.3f} {high:.3f}"
    '0.270 1.188'
    """
    if not 0 < lr < stable_step(depth):
        raise ValueError(f"lr {lr:g} is not stable at the minimum; take it below 1/L² = {stable_step(depth):g}")
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance must lie between 0 and 1, got {tolerance:g}")
    contraction = abs(1 - 2 * depth**2 * lr)  # of the distance to 1, by each step next to it
    own = math.log(tolerance) / math.log(contraction) if contraction > 0 else 1.0
    if steps < max(own, 1.0):
        raise ValueError(f"steps {steps} are fewer than the {own:.0f} that the minimum itself takes; allow many more")
    arrived = 1 - tolerance

    def late(w: float) -> float:
        return descent_steps(w, arrived, depth, lr) - steps

    far = arrived / 2
    while late(far) <= 0:
        far /= 2
    low = float(optimize.brentq(late, far, arrived * (1 - 1e-9), xtol=1e-14))

    def lands_short(w: float) -> float:
        return w - lr * _slope(w, depth) - low

    beyond = 2.0
    while lands_short(beyond) > 0:
        beyond *= 2
    return low, float(optimize.brentq(lands_short, 1.0, beyond, xtol=1e-14))


def chain_gradient(weights: Float[Tensor, "... depth"]) -> Float[Tensor, "... depth"]:
    r"""Return the gradient of ½(w_1 ⋯ w_L − 1)²: the error times the product of the *other* L − 1 weights.

    Parameters
    ----------
    weights
        Shape [..., L]; a batch of chains in the leading dimensions.

    Returns
    -------
    Tensor
        :math:`\partial F / \partial w_i = (\prod_j w_j - 1) \prod_{j \ne i} w_j`, same shape. Exact at zero weights
        too: the products are formed from the left and from the right, never by division.

    Examples
    --------
    >>> chain_gradient(torch.tensor([2.0, 2.0, 2.0]))
    tensor([28., 28., 28.])
    """
    ones = torch.ones_like(weights[..., :1])
    before = torch.cat([ones, weights[..., :-1]], -1).cumprod(-1)
    after = torch.cat([ones, weights[..., 1:].flip(-1)], -1).cumprod(-1).flip(-1)
    error = weights.prod(-1, keepdim=True) - 1
    return error * before * after


def scalar_log_law(depth: int, sigma_w2: float = 1.0) -> tuple[float, float]:
    r"""Return mean and variance of :math:`\ln |w_1 \cdots w_L|` for independent w_i ~ N(0, σ_w²).

    For one standard normal :math:`E \ln |z| = -(\gamma + \ln 2)/2` and :math:`\mathrm{Var} \ln |z| = \pi^2/8`.

    Raises
    ------
    ValueError
        If σ_w² is not positive.

    Examples
    --------
    >>> mean, variance = scalar_log_law(1)
    >>> f"{mean:.10f} {variance:.6f}"
    '-0.6351814227 1.233701'
    """
    if not sigma_w2 > 0:
        raise ValueError(f"sigma_w2 must be positive, got {sigma_w2:g}")
    euler_gamma = 0.5772156649015329
    mean = (math.log(sigma_w2) - euler_gamma - math.log(2)) / 2
    return depth * mean, depth * math.pi**2 / 8


def _slope(w: float, depth: int) -> float:
    return float(tied_gradient(torch.tensor(w, dtype=torch.float64), depth))


def _check_way(start: float, stop: float, depth: int) -> tuple[float, float]:
    """Return the speed −F′ at both ends, or raise if descent does not lead from one to the other."""
    _check_depth(depth)
    here, there = -_slope(start, depth), -_slope(stop, depth)
    separated = any(min(start, stop) <= zero <= max(start, stop) for zero in _zeros(depth))
    if separated or here * (stop - start) <= 0:
        raise ValueError(f"gradient descent from {start:g} does not pass {stop:g} on its slope (depth {depth})")
    return here, there


def _zeros(depth: int) -> tuple[float, ...]:
    return (0.0, 1.0) if depth % 2 else (-1.0, 0.0, 1.0)


def _check_depth(depth: int) -> None:
    if depth < 2:
        raise ValueError(f"depth must be at least 2, got {depth}")
