from decimal import Decimal, localcontext

import pytest
import torch

from signalprop.nets import tied_chain_loss, untied_chain_loss


@pytest.mark.parametrize("depth", [1, 2, 7, 12])
def test_tied_loss_is_the_squared_error_of_the_power(depth):
    weights = torch.tensor([-1.25, -0.3, 0.0, 0.9, 1.1, 3.0], dtype=torch.float64)
    with localcontext(prec=50):
        true = [float((Decimal(w) ** depth - 1) ** 2) if w else 1.0 for w in weights.tolist()]
    assert tied_chain_loss(weights, depth).tolist() == pytest.approx(true, rel=1e-13)


def test_untied_loss_is_half_the_squared_error_of_the_product():
    chain = [1.25, -0.3, 0.7, -4.0]
    with localcontext(prec=50):
        product = Decimal(1)
        for w in chain:
            product *= Decimal(w)
        true = float((product - 1) ** 2 / 2)
    assert untied_chain_loss(torch.tensor(chain, dtype=torch.float64)).item() == pytest.approx(true, rel=1e-13)


def test_equal_weights_make_half_the_tied_loss():
    w = torch.linspace(-1.5, 1.5, 13, dtype=torch.float64)
    torch.testing.assert_close(2 * untied_chain_loss(w[:, None].expand(13, 5)), tied_chain_loss(w, 5))


@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
def test_tied_loss_keeps_the_shape(shape):
    assert tied_chain_loss(torch.ones(shape), 7).shape == shape


@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
def test_untied_loss_folds_the_chain_only(shape):
    assert untied_chain_loss(torch.ones(*shape, 5)).shape == shape


def test_both_losses_vanish_at_weights_one_and_are_one_and_a_half_at_zero():
    one, zero = torch.ones(3), torch.zeros(3)
    assert tied_chain_loss(one, 3).tolist() == [0.0] * 3
    assert tied_chain_loss(zero, 3).tolist() == [1.0] * 3
    assert (untied_chain_loss(one).item(), untied_chain_loss(zero).item()) == (0.0, 0.5)


def test_even_depth_has_a_second_minimum_at_minus_one():
    assert tied_chain_loss(torch.tensor(-1.0), 4).item() == 0
    assert tied_chain_loss(torch.tensor(-1.0), 7).item() == 4
