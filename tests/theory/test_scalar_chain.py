"""The closed forms of chapter 1 against high precision, gradient flow and descent written out in plain Python."""

import math

import mpmath
import pytest
import torch
from scipy import integrate

from signalprop import theory

DEPTHS = [2, 3, 4, 7, 12]
WEIGHTS = [-1.3, -1.0, -0.7, -0.05, 0.0, 0.4, 0.9, 1.0, 1.2]


def slope(w, depth):
    """F′(w) in plain floats."""
    return 2 * depth * w ** (depth - 1) * (w**depth - 1)


def positions(w, depth, lr, steps):
    """Every position of plain gradient descent, the start included."""
    path = [w]
    for _ in range(steps):
        path.append(path[-1] - lr * slope(path[-1], depth))
    return path


def arrives(w, depth, lr, steps, tolerance):
    for _ in range(steps):
        if abs(w - 1) < tolerance or abs(w) > 1e6:
            break
        w = w - lr * slope(w, depth)
    return abs(w - 1) < tolerance


# --- slope and curvature ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, *DEPTHS])
def test_tied_gradient_is_the_derivative_of_the_loss(depth):
    with mpmath.workdps(40):
        true = [float(mpmath.diff(lambda w: (w**depth - 1) ** 2, w)) for w in WEIGHTS]
    ours = theory.tied_gradient(torch.tensor(WEIGHTS, dtype=torch.float64), depth)
    assert ours.tolist() == pytest.approx(true, rel=1e-13, abs=1e-13)


@pytest.mark.parametrize("depth", DEPTHS)
def test_tied_curvature_is_the_second_derivative_of_the_loss(depth):
    with mpmath.workdps(60):
        true = [float(mpmath.diff(lambda w: (w**depth - 1) ** 2, w, 2)) for w in WEIGHTS]
    ours = theory.tied_curvature(torch.tensor(WEIGHTS, dtype=torch.float64), depth)
    assert ours.tolist() == pytest.approx(true, rel=1e-13, abs=1e-13)


@pytest.mark.parametrize("function", [theory.tied_gradient, theory.tied_curvature])
@pytest.mark.parametrize("shape", [(), (1,), (2, 3)])
def test_slope_and_curvature_keep_the_shape(function, shape):
    assert function(torch.full(shape, 0.5), 7).shape == shape


def test_curvature_at_the_minimum_is_twice_the_depth_squared():
    assert [theory.tied_curvature(torch.tensor(1.0), depth).item() for depth in DEPTHS] == [2 * d * d for d in DEPTHS]


@pytest.mark.parametrize(
    "call",
    [
        lambda depth: theory.tied_curvature(torch.ones(1), depth),
        theory.steepest_interior_point,
        lambda depth: theory.flat_interval(depth, 0.1),
        theory.stable_step,
        lambda depth: theory.descent_steps(0.2, 0.9, depth, 0.01),
        lambda depth: theory.basin(depth, 0.01, 1000, 1e-3),
    ],
)
def test_depth_below_two_is_refused(call):
    with pytest.raises(ValueError, match="depth must be at least 2, got 1"):
        call(1)


# --- the plateau -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", DEPTHS)
def test_no_interior_slope_is_steeper_than_the_steepest(depth):
    w, steepest = theory.steepest_interior_point(depth)
    assert 0 < w < 1
    assert steepest == pytest.approx(abs(slope(w, depth)), rel=1e-13)
    assert max(abs(slope(i / 2000, depth)) for i in range(2001)) <= steepest * (1 + 1e-13)


@pytest.mark.parametrize("depth", DEPTHS)
def test_curvature_vanishes_at_the_steepest_point(depth):
    w, _ = theory.steepest_interior_point(depth)
    curvature = theory.tied_curvature(torch.tensor(w, dtype=torch.float64), depth)
    assert abs(curvature) < 1e-12 * 2 * depth**2


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("level", [1e-6, 0.1, 1.5])
def test_flat_interval_ends_where_the_slope_is_reached(depth, level):
    left, right = theory.flat_interval(depth, level)
    assert left < 0 < right
    assert [abs(slope(left, depth)), abs(slope(right, depth))] == pytest.approx([level, level], rel=1e-8)


@pytest.mark.parametrize("depth", DEPTHS)
def test_slope_is_smaller_everywhere_inside_the_flat_interval(depth):
    left, right = theory.flat_interval(depth, 0.1)
    inside = [left + (right - left) * i / 500 for i in range(1, 500)]
    assert all(abs(slope(w, depth)) < 0.1 for w in inside)


@pytest.mark.parametrize("depth", [2, 4, 12])
def test_flat_interval_is_symmetric_at_even_depth(depth):
    left, right = theory.flat_interval(depth, 0.5)
    assert left == pytest.approx(-right, rel=1e-12)


def test_flat_interval_reaches_less_far_left_at_odd_depth():
    left, right = theory.flat_interval(7, 0.5)
    assert -left < right


@pytest.mark.parametrize("level", [0.0, -0.1, 3.9, math.inf, math.nan])
def test_flat_interval_needs_a_slope_below_the_steepest(level):
    with pytest.raises(ValueError, match=r"between 0 and the steepest interior slope 3\.88563, got"):
        theory.flat_interval(7, level)


# --- step sizes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", DEPTHS)
def test_stable_step_is_where_the_linearized_map_stops_contracting(depth):
    """Next to the minimum one step multiplies the distance by 1 − η F″(1), in absolute value 1 at the limit."""
    near = 1 + 1e-7

    def factor(lr):
        return abs(positions(near, depth, lr, 1)[1] - 1) / (near - 1)

    limit = theory.stable_step(depth)
    assert factor(0.99 * limit) < 1 < factor(1.01 * limit)
    assert factor(limit) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("depth", [3, 7, 11])
@pytest.mark.parametrize("w", [-2.0, -1.0, -0.3])
def test_crossing_step_separates_landing_left_from_landing_right(w, depth):
    limit = theory.crossing_step(w, depth)
    assert positions(w, depth, limit * (1 - 1e-9), 1)[1] < 0 < positions(w, depth, limit * (1 + 1e-9), 1)[1]


@pytest.mark.parametrize("depth", [1, 2, 4, 10])
def test_crossing_step_needs_odd_depth(depth):
    with pytest.raises(ValueError, match=f"depth must be odd and at least 3, got {depth}"):
        theory.crossing_step(-1.0, depth)


@pytest.mark.parametrize("w", [0.0, 0.5])
def test_crossing_step_needs_a_negative_weight(w):
    with pytest.raises(ValueError, match="w must be negative"):
        theory.crossing_step(w, 7)


# --- counting steps --------------------------------------------------------------------------------------------------

SLOPES = [
    pytest.param(0.3, 0.95, 7, id="plateau-to-1"),
    pytest.param(0.05, 0.9, 3, id="plateau-to-1-depth-3"),
    pytest.param(0.02, 0.9, 2, id="plateau-to-1-depth-2"),
    pytest.param(1.15, 1.01, 7, id="down-to-1"),
    pytest.param(2.0, 1.1, 2, id="down-to-1-depth-2"),
    pytest.param(-1.0, -0.3, 7, id="up-to-0-odd"),
    pytest.param(-1.4, -0.1, 3, id="up-to-0-odd-beyond-minus-1"),
    pytest.param(-0.3, -0.9, 4, id="down-to-minus-1-even"),
    pytest.param(-1.3, -1.02, 6, id="up-to-minus-1-even"),
]


def miscount(start, stop, depth, share):
    """Steps predicted minus steps taken, to the first position beyond `stop`; η = `share` of the stable step."""
    lr = share / depth**2
    direction = math.copysign(1, stop - start)
    w, taken = start, 0
    while direction * (stop - w) > 0:
        w, taken = w - lr * slope(w, depth), taken + 1
    return theory.descent_steps(start, w, depth, lr) - taken


@pytest.mark.parametrize(("start", "stop", "depth"), SLOPES)
def test_descent_steps_counts_the_steps_of_plain_descent(start, stop, depth):
    assert abs(miscount(start, stop, depth, share=0.002)) < 0.05


@pytest.mark.parametrize(("start", "stop", "depth"), SLOPES)
def test_miscount_is_of_first_order_in_the_step_size(start, stop, depth):
    """The neglected term is O(η): a fourth of the step size makes a fourth of the error."""
    coarse, fine = (abs(miscount(start, stop, depth, share)) for share in (0.004, 0.001))
    assert coarse / fine == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize(("start", "stop", "depth"), SLOPES)
def test_descent_steps_tend_to_the_time_of_gradient_flow(start, stop, depth):
    def reaches_stop(_, w):
        return w[0] - stop

    reaches_stop.terminal = True
    flow = integrate.solve_ivp(
        lambda _, w: -slope(w, depth), (0, 1e6), [start], method="LSODA", events=reaches_stop, rtol=1e-10, atol=1e-13
    )
    lr = 1e-9
    assert lr * theory.descent_steps(start, stop, depth, lr) == pytest.approx(flow.t_events[0][0], rel=1e-5)


def test_descent_steps_add_up_along_the_way():
    whole = theory.descent_steps(0.2, 0.99, 7, 0.01)
    parts = theory.descent_steps(0.2, 0.6, 7, 0.01) + theory.descent_steps(0.6, 0.99, 7, 0.01)
    assert parts == pytest.approx(whole, rel=1e-9)


def test_even_depth_descends_alike_on_both_sides():
    assert theory.descent_steps(-0.2, -0.9, 4, 0.01) == pytest.approx(theory.descent_steps(0.2, 0.9, 4, 0.01))


@pytest.mark.parametrize(
    ("start", "stop", "depth"),
    [
        pytest.param(0.9, 0.2, 7, id="uphill"),
        pytest.param(1.1, 1.5, 7, id="uphill-beyond-1"),
        pytest.param(-0.2, -0.9, 7, id="uphill-left-of-0"),
        pytest.param(-0.9, -0.2, 4, id="uphill-between-minus-1-and-0"),
        pytest.param(-1.1, -1.5, 4, id="uphill-beyond-minus-1"),
        pytest.param(0.5, 1.5, 7, id="across-1"),
        pytest.param(1.5, 0.5, 7, id="across-1-from-above"),
        pytest.param(-0.5, 0.5, 7, id="across-0"),
        pytest.param(-1.5, -0.5, 4, id="across-minus-1"),
        pytest.param(0.5, 1.0, 7, id="onto-the-minimum"),
        pytest.param(0.0, 0.5, 7, id="from-the-saddle"),
        pytest.param(-0.5, 0.0, 7, id="onto-the-saddle"),
        pytest.param(0.5, 0.5, 7, id="nowhere"),
    ],
)
def test_descent_steps_refuses_a_stop_that_descent_does_not_pass(start, stop, depth):
    with pytest.raises(ValueError, match=f"from {start:g} does not pass {stop:g} on its slope"):
        theory.descent_steps(start, stop, depth, 0.001)


@pytest.mark.parametrize("lr", [0.0, -0.01])
def test_descent_steps_needs_a_positive_step_size(lr):
    with pytest.raises(ValueError, match="lr must be positive"):
        theory.descent_steps(0.2, 0.9, 7, lr)


# --- the basin -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("depth", "share", "margin"),
    [(2, 0.1, 1e-2), (3, 0.1, 1e-3), (3, 0.5, 1e-3), (4, 0.5, 1e-3), (7, 0.5, 1e-3), (7, 0.8, 1e-3), (20, 0.5, 1e-3)],
)
def test_basin_is_where_plain_descent_arrives(depth, share, margin):
    lr, steps, tolerance = share / depth**2, 100 if depth == 2 else 2000, 1e-3
    low, high = theory.basin(depth, lr, steps, tolerance)
    outside = [low * (1 - margin), high * (1 + margin)]
    inside = [low * (1 + margin), *(low + (high - low) * i / 20 for i in range(1, 20)), high * (1 - margin)]
    assert [arrives(w, depth, lr, steps, tolerance) for w in outside] == [False, False]
    assert all(arrives(w, depth, lr, steps, tolerance) for w in inside)


def test_basin_widens_with_the_budget():
    budgets = [500, 5_000, 50_001]
    lows, highs = zip(*(theory.basin(7, 0.01, steps, 1e-3) for steps in budgets), strict=True)
    assert list(lows) == sorted(lows, reverse=True)
    assert list(highs) == sorted(highs)


@pytest.mark.parametrize("lr", [1 / 49, 0.1, 0.0, -0.01])
def test_basin_needs_a_step_size_that_is_stable_at_the_minimum(lr):
    with pytest.raises(ValueError, match=r"not stable at the minimum; take it below 1/L² = 0\.0204082"):
        theory.basin(7, lr, 1000, 1e-3)


def test_basin_may_reach_beyond_ten():
    """With two layers and a small step, only starts beyond (1 + 1/4η)^½ = 15.8 overshoot."""
    _, high = theory.basin(2, 0.001, 10_000, 1e-3)
    assert high == pytest.approx(math.sqrt(1 + 1 / 0.004), rel=1e-9)


def test_basin_with_a_wide_tolerance():
    low, _ = theory.basin(7, 0.01, 100, 0.3)
    assert arrives(low * 1.02, 7, 0.01, 100, 0.3)
    assert not arrives(low * 0.98, 7, 0.01, 100, 0.3)


@pytest.mark.parametrize(
    ("lr", "steps"),
    [
        pytest.param(0.01, 0, id="none"),
        pytest.param(0.001, 5, id="few"),
        pytest.param(1e-5, 1000, id="small-steps"),  # (0.997, 1.977) is returned; 1.01 does not arrive
    ],
)
def test_basin_refuses_a_budget_that_the_minimum_itself_would_take(lr, steps):
    with pytest.raises(ValueError, match="steps"):
        theory.basin(7, lr, steps, 1e-3)


# --- the untied chain ------------------------------------------------------------------------------------------------


def autograd_of_the_loss(weights):
    leaf = weights.clone().requires_grad_()
    return torch.autograd.grad(((leaf.prod(-1) - 1) ** 2 / 2).sum(), leaf)[0]


@pytest.mark.parametrize("shape", [(1,), (2,), (7,), (4, 5), (2, 3, 6)])
def test_chain_gradient_is_what_autograd_finds(shape):
    weights = torch.linspace(-1.5, 2.0, math.prod(shape), dtype=torch.float64).reshape(shape)
    torch.testing.assert_close(theory.chain_gradient(weights), autograd_of_the_loss(weights), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("zeros", [[0], [2], [4], [1, 3]])
def test_chain_gradient_is_exact_at_zero_weights(zeros):
    weights = torch.tensor([1.5, -2.0, 0.5, 3.0, -1.0], dtype=torch.float64)
    weights[zeros] = 0.0
    others = [math.prod(w for j, w in enumerate(weights.tolist()) if j != i) for i in range(5)]
    assert theory.chain_gradient(weights).tolist() == [-product for product in others]  # the error is −1


def test_chain_gradient_takes_each_chain_of_a_batch_alone():
    batch = torch.linspace(-1.0, 2.0, 12, dtype=torch.float64).reshape(3, 4)
    assert torch.equal(theory.chain_gradient(batch), torch.stack([theory.chain_gradient(row) for row in batch]))


def log_moments(sigma_w2):
    """Mean and variance of ln|w|, w ~ N(0, σ²), by high-precision quadrature."""
    with mpmath.workdps(25):
        sigma = mpmath.sqrt(sigma_w2)
        pieces = [0, sigma / 100, sigma, 5 * sigma, 30 * sigma]

        def expect(f):
            return mpmath.quad(lambda w: 2 * f(mpmath.log(w)) * mpmath.npdf(w, 0, sigma), pieces)

        mean = expect(lambda x: x)
        return float(mean), float(expect(lambda x: (x - mean) ** 2))


@pytest.mark.parametrize("sigma_w2", [0.3, 1.0, 2.5])
def test_scalar_log_law_of_one_weight_is_the_integral_over_it(sigma_w2):
    assert theory.scalar_log_law(1, sigma_w2) == pytest.approx(log_moments(sigma_w2), rel=1e-12)


def test_scalar_log_law_adds_up_over_independent_weights():
    mean, variance = theory.scalar_log_law(1, 0.7)
    assert theory.scalar_log_law(30, 0.7) == pytest.approx((30 * mean, 30 * variance))
