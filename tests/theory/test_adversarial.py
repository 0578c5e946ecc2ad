import torch

from signalprop.theory import sign_step_increase


def test_a_quadratic_is_met_exactly():
    source = torch.Generator().manual_seed(1)
    root = torch.randn(4, 4, generator=source).double()
    hessian, x = root @ root.T, torch.randn(4, generator=source).double()
    gradient = hessian @ x
    sign = gradient.sign()
    moved = x + 0.3 * sign
    increase = (moved @ hessian @ moved - x @ hessian @ x) / 2
    assert torch.allclose(sign_step_increase(gradient, 0.3, sign @ hessian @ sign), increase)
    assert torch.allclose(sign_step_increase(gradient, 0.3), 0.3 * gradient.abs().sum())
