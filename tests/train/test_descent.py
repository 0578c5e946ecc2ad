"""Descent from many starts against a loop in plain Python."""

import math

import pytest
import torch

from signalprop.train import gradient_descent

LR = 0.01


def cube_loss(w):
    return (w**3 - 1) ** 2


def near_one(w):
    return (w - 1).abs() < 1e-3


def walk(w, lr, steps, tolerance=1e-3):
    """Position after each step, until arrival, overflow or the end of the budget."""
    path = [w]
    while len(path) <= steps and abs(path[-1] - 1) >= tolerance:
        w = path[-1]
        try:
            w -= lr * 6 * w**2 * (w**3 - 1)
        except OverflowError:
            break
        if not math.isfinite(w):
            break
        path.append(w)
    return path


def doubles(*values):
    return torch.tensor(values, dtype=torch.float64)


STARTS = doubles(0.3, 0.9, 1.0, 1.2, 2.0, -0.5)


def test_every_start_takes_the_steps_of_a_plain_loop():
    run = gradient_descent(cube_loss, STARTS, LR, 200, until=near_one)
    walks = [walk(w, LR, 200) for w in STARTS.tolist()]
    assert run.steps.tolist() == [len(path) - 1 for path in walks]
    assert run.position.tolist() == pytest.approx([path[-1] for path in walks], rel=1e-12)
    assert run.arrived.tolist() == [abs(path[-1] - 1) < 1e-3 for path in walks]


def test_without_a_stopping_rule_the_whole_budget_is_spent():
    run = gradient_descent(cube_loss, STARTS, LR, 30)
    assert run.steps.tolist() == [30] * 6
    assert not run.arrived.any()
    assert not run.diverged.any()


def test_arrival_with_the_last_step_counts():
    needed = len(walk(0.9, LR, 1000)) - 1
    budgets = [needed - 1, needed, needed + 1]
    runs = [gradient_descent(cube_loss, doubles(0.9), LR, n, until=near_one) for n in budgets]
    assert [run.arrived.item() for run in runs] == [False, True, True]
    assert [run.steps.item() for run in runs] == [needed - 1, needed, needed]


def test_divergence_keeps_the_last_finite_position():
    run = gradient_descent(cube_loss, doubles(3.0), 1.0, 100, until=near_one)
    path = walk(3.0, 1.0, 100)
    assert run.diverged.tolist() == [True]
    assert run.arrived.tolist() == [False]
    assert run.position.item() == pytest.approx(path[-1], rel=1e-9)
    assert run.steps.item() == len(path)  # the step out of the finite numbers was taken too


def test_undefined_gradient_counts_as_divergence():
    run = gradient_descent(torch.sqrt, doubles(1.0), 4.0, 5)  # the first step leads to −1, where there is no root
    assert (run.diverged.item(), run.position.item(), run.steps.item()) == (True, -1.0, 2)


def test_step_sizes_may_differ_between_starts():
    rates = doubles(0.001, 0.01, 0.02)
    run = gradient_descent(cube_loss, doubles(0.5, 0.5, 0.5), rates, 50)
    ends = [walk(0.5, lr, 50, tolerance=0)[-1] for lr in rates.tolist()]
    assert run.position.tolist() == pytest.approx(ends, rel=1e-12)


def test_path_holds_every_position():
    run = gradient_descent(cube_loss, doubles(0.5, 1.3), LR, 20, keep_path=True)
    walks = [walk(w, LR, 20) for w in (0.5, 1.3)]
    assert run.path.shape == (21, 2)
    assert run.path.T.tolist() == [pytest.approx(path, rel=1e-12) for path in walks]


def test_path_begins_at_the_start_and_ends_at_the_position():
    run = gradient_descent(cube_loss, STARTS, LR, 200, until=near_one, keep_path=True)
    assert torch.equal(run.path[0], STARTS)
    assert torch.equal(run.path[-1], run.position)


def test_path_ends_when_no_start_moves_any_more():
    run = gradient_descent(cube_loss, doubles(0.9, 1.2), LR, 10_000, until=near_one, keep_path=True)
    assert len(run.path) == run.steps.max() + 1


def test_no_path_unless_asked_for():
    assert gradient_descent(cube_loss, STARTS, LR, 3).path is None


def test_path_holds_no_graph():
    """So that it can go straight to numpy and into a figure."""
    assert not gradient_descent(cube_loss, STARTS, LR, 3, keep_path=True).path.requires_grad


def test_position_holds_no_graph():
    for budget in (0, 3):
        assert not gradient_descent(cube_loss, STARTS, LR, budget).position.requires_grad


def test_a_start_that_arrived_stays_where_it_is():
    run = gradient_descent(cube_loss, doubles(0.9, 0.3), LR, 200, until=near_one, keep_path=True)
    first = int(run.steps[0])
    assert first < run.steps[1]
    assert (run.path[first:, 0] == run.position[0]).all()
    assert run.path[first - 1, 0] != run.position[0]


def test_starts_do_not_feel_each_other():
    """One that diverges sits among them."""
    starts = doubles(0.3, 50.0, 0.9, 1.2)
    together = gradient_descent(cube_loss, starts, LR, 300, until=near_one)
    for i in range(4):
        alone = gradient_descent(cube_loss, starts[i : i + 1], LR, 300, until=near_one)
        for name in ("position", "steps", "arrived", "diverged"):
            assert torch.equal(getattr(together, name)[i : i + 1], getattr(alone, name)), name
    assert together.diverged.tolist() == [False, True, False, False]


def test_input_is_left_alone():
    start = doubles(0.3, 2.0)
    gradient_descent(cube_loss, start, LR, 10, keep_path=True)
    assert start.tolist() == [0.3, 2.0]
    assert not start.requires_grad


def test_position_of_a_start_that_never_moves_is_a_copy():
    start = doubles(0.3, 2.0)
    gradient_descent(cube_loss, start, LR, 0).position.zero_()
    assert start.tolist() == [0.3, 2.0]


def test_input_that_requires_a_gradient_gets_none():
    start = doubles(0.3, 2.0).requires_grad_()
    run = gradient_descent(cube_loss, start, LR, 10)
    assert start.grad is None
    assert not run.position.requires_grad


def test_rule_is_asked_before_the_first_step():
    def never(w):
        raise AssertionError("the loss was asked for")

    run = gradient_descent(never, doubles(1.0), LR, 100, until=near_one)
    assert run.arrived.tolist() == [True]
    assert run.steps.tolist() == [0]
    assert run.position.tolist() == [1.0]


def test_no_budget_leaves_the_starts_where_they_are():
    run = gradient_descent(cube_loss, doubles(1.0, 2.0), LR, 0, until=near_one, keep_path=True)
    assert run.arrived.tolist() == [True, False]
    assert run.steps.tolist() == [0, 0]
    assert run.path.tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_precision_of_the_start_is_kept(dtype):
    run = gradient_descent(cube_loss, torch.tensor([0.3, 2.0], dtype=dtype), LR, 5, keep_path=True)
    assert (run.position.dtype, run.path.dtype) == (dtype, dtype)


@pytest.mark.parametrize("start", [[], [1.0, math.nan], [math.inf]])
def test_starts_must_be_finite_and_at_least_one(start):
    with pytest.raises(ValueError, match="at least one finite weight"):
        gradient_descent(cube_loss, doubles(*start), LR, 5)


def test_step_sizes_may_differ_between_weights():
    start, rates = doubles([1.0, 1.0], [2.0, 1.0]), doubles([0.1, 0.2], [0.0, 0.4])
    run = gradient_descent(lambda w: (w**2).sum(1) / 2, start, rates, 3)
    torch.testing.assert_close(run.position, start * (1 - rates) ** 3)
