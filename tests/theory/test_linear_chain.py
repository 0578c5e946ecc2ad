import pytest
import torch

from signalprop import stream
from signalprop.theory import chain_gradient, linear_chain_gradients


def draw(widths, name):
    generator = stream("tests", f"linear_chain_gradients.{name}")
    sizes = [*zip(widths[1:], widths[:-1], strict=True), (widths[0],), (widths[-1],)]
    *weights, x, target = (torch.randn(size, generator=generator, dtype=torch.float64) for size in sizes)
    return weights, x, target


def autograd_gradients(weights, x, target):
    leaves = [w.clone().requires_grad_() for w in weights]
    h = x
    for leaf in leaves:
        h = leaf @ h
    return list(torch.autograd.grad((h - target).square().sum() / 2, leaves))


@pytest.mark.parametrize("depth", [1, 2, 6])
def test_gradients_are_what_autograd_finds(depth):
    chain = draw([4] * (depth + 1), f"square-{depth}")
    torch.testing.assert_close(linear_chain_gradients(*chain), autograd_gradients(*chain), rtol=1e-12, atol=1e-12)


def test_gradients_of_rectangular_chains_are_what_autograd_finds():
    """Ten of them: beartype looks at one layer of a list, drawn by chance."""
    for number in range(10):
        chain = draw([3, 5, 2, 6, 1], f"rectangular-{number}")
        torch.testing.assert_close(linear_chain_gradients(*chain), autograd_gradients(*chain), rtol=1e-12, atol=1e-12)


def test_gradient_is_the_product_of_the_other_matrices_between_error_and_input():
    (first, second, third), x, target = draw([3, 3, 3, 3], "written-out")
    error = third @ second @ first @ x - target
    by_hand = [(third @ second).T @ torch.outer(error, x), third.T @ torch.outer(error, first @ x)]
    by_hand.append(torch.outer(error, second @ first @ x))
    torch.testing.assert_close(linear_chain_gradients([first, second, third], x, target), by_hand)


def test_width_one_is_the_scalar_chain():
    weights = torch.tensor([0.5, -2.0, 1.5, 3.0], dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    gradients = linear_chain_gradients([w.reshape(1, 1) for w in weights], one, one)
    torch.testing.assert_close(torch.cat(gradients).flatten(), chain_gradient(weights))


def test_gradients_vanish_where_the_target_is_hit():
    weights, x, _ = draw([3, 3, 3], "hit")
    gradients = linear_chain_gradients(weights, x, weights[1] @ (weights[0] @ x))
    assert [g.abs().max().item() for g in gradients] == [0.0, 0.0]


def test_inputs_are_left_alone():
    weights, x, target = draw([3, 3, 3], "alone")
    before = [t.clone() for t in (*weights, x, target)]
    linear_chain_gradients(weights, x, target)
    assert all(torch.equal(a, b) for a, b in zip(before, (*weights, x, target), strict=True))
