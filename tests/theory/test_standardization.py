import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from signalprop import stream
from signalprop.theory import (
    batch_norm_second_moment,
    naive_centring_bias,
    running_average,
    running_average_variance,
    standardization_jacobian,
    standardized,
)


def randn(*shape, name="x"):
    return torch.randn(*shape, generator=stream("tests", f"standardization {name}"), dtype=torch.float64)


@pytest.mark.parametrize("axes", [[0], [1], [0, 2], [1, 2], [0, 1, 2]])
def test_mean_zero_and_variance_one_over_the_axes_and_no_others(axes):
    z = standardized(3 * randn(4, 5, 6) + 2, axes)
    variance, mean = torch.var_mean(z, axes, correction=0)
    torch.testing.assert_close(mean, torch.zeros_like(mean))
    torch.testing.assert_close(variance, torch.ones_like(variance))
    if len(axes) < 3:
        other = ({0, 1, 2} - set(axes)).pop()
        assert (z.var(other, correction=0) - 1).abs().max() > 0.1


def test_eps_is_added_to_the_biased_variance():
    z = randn(8, 3)
    torch.testing.assert_close(standardized(z, [0], 0.3), functional.batch_norm(z, None, None, training=True, eps=0.3))


@pytest.mark.parametrize("eps", [0.0, 1e-5, 0.5])
def test_jacobian_is_that_of_autograd(eps):
    x = randn(7)
    expected = torch.autograd.functional.jacobian(lambda z: standardized(z, [0], eps), x)
    torch.testing.assert_close(standardization_jacobian(x, eps), expected)


def test_without_eps_it_is_a_projection_over_the_standard_deviation():
    x = randn(9)
    projection = standardization_jacobian(x) * x.std(correction=0)
    torch.testing.assert_close(projection @ projection, projection)
    assert projection.trace().item() == pytest.approx(7)


def test_second_moment_of_a_layer():
    x, weight, bias = randn(50, 3) * torch.tensor([0.1, 1, 10]), randn(3, name="w"), randn(3, name="b")
    y = functional.batch_norm(x, None, None, weight, bias, training=True, eps=1e-2)
    moment = batch_norm_second_moment(weight, bias, x.var(0, correction=0), 1e-2)
    assert moment.item() == pytest.approx(y.square().mean().item())


@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(0, 1), st.integers(0, 30))
def test_running_average_is_the_recursion(start, value, momentum, steps):
    r = start
    for _ in range(steps):
        r = (1 - momentum) * r + momentum * value
    assert running_average(start, value, momentum, steps) == pytest.approx(r, abs=1e-9)


@given(st.floats(0, 1), st.integers(0, 30))
def test_variance_of_a_running_average_is_the_sum_of_squared_weights(momentum, steps):
    weights = [momentum * (1 - momentum) ** k for k in range(steps)]
    assert running_average_variance(momentum, steps) == pytest.approx(sum(w * w for w in weights), abs=1e-12)


@pytest.mark.parametrize("output_lr", [0.0, 0.1, 1.0])
def test_naive_centring_step_by_step(output_lr):
    x, t, w = randn(20), randn(20, name="t") + 1, 0.7
    b = c = 0.0
    for _ in range(12):
        shifted = x + b
        error = w * (shifted - shifted.mean()) + c - t
        b, c = b - 0.2 * w * error.mean().item(), c - output_lr * error.mean().item()
    assert naive_centring_bias(t.mean().item(), w, 0.2, 12, output_lr) == pytest.approx(b)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="eps must not be negative"):
        standardized(torch.ones(3), [0], -1.0)
    with pytest.raises(ValueError, match="eps must not be negative"):
        batch_norm_second_moment(torch.ones(1), torch.ones(1), torch.ones(1), -1.0)
    with pytest.raises(ValueError, match="at least two numbers, got 1"):
        standardization_jacobian(torch.ones(1))
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        running_average(0.0, 1.0, 1.5, 3)
    with pytest.raises(ValueError, match="steps not be negative"):
        running_average_variance(0.1, -1)
