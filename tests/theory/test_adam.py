import pytest
import torch

from signalprop.theory import adam_path


def path_of_torch(gradients, eps):
    weight = torch.zeros(gradients.shape[1:], dtype=gradients.dtype, requires_grad=True)
    optimizer, path = torch.optim.Adam([weight], lr=0.1, betas=(0.8, 0.9), eps=eps), []
    for gradient in gradients:
        weight.grad = gradient
        optimizer.step()
        path.append(weight.detach().clone())
    return torch.stack(path)


@pytest.mark.parametrize("eps", [0.0, 1e-8, 0.3])
def test_path_is_that_of_torch(eps):
    gradients = torch.randn(20, 3, 2, generator=torch.Generator().manual_seed(1)).double()
    ours = adam_path(gradients, 0.1, beta1=0.8, beta2=0.9, eps=eps)
    assert torch.allclose(ours, path_of_torch(gradients, eps), rtol=1e-11)


def test_scale_of_the_gradient_does_not_matter_without_eps():
    gradients = torch.randn(20, 5, generator=torch.Generator().manual_seed(2)).double()
    assert torch.allclose(adam_path(gradients, 0.1, eps=0.0), adam_path(1e-6 * gradients, 0.1, eps=0.0), rtol=1e-12)
