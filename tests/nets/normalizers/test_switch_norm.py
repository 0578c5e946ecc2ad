import pytest
import torch

from signalprop import stream
from signalprop.nets.normalizers import BatchNorm, GroupNorm, InstanceNorm, SwitchNorm

DOUBLE = {"eps": 1e-3, "dtype": torch.float64}


def data(shape, name="x"):
    return torch.randn(shape, generator=stream("tests", f"switch.{name}"), dtype=torch.float64) * 3 + 2


def switch(mean_logits, variance_logits, affine=False, momentum=0.3):
    norm = SwitchNorm(6, momentum=momentum, affine=affine, **DOUBLE)
    with torch.no_grad():
        norm.mean_logits.copy_(mean_logits)
        norm.variance_logits.copy_(variance_logits)
    return norm


LIMITS = [
    InstanceNorm(6, affine=False, **DOUBLE),
    GroupNorm(1, 6, affine=False, **DOUBLE),  # layer
    BatchNorm(6, momentum=0.3, affine=False, **DOUBLE),
]


@pytest.mark.parametrize("k", [0, 1, 2])
def test_a_weight_of_one_leaves_one_normalizer(k):
    """Also in eval mode, where batch normalization has seen the same batches."""
    logits = torch.tensor([0.0 if i == k else -1e4 for i in range(3)])
    norm, alone = switch(logits, logits), LIMITS[k].train()
    for step in range(3):
        x = data((4, 6, 3, 5), f"step{step}")
        torch.testing.assert_close(norm(x), alone(x), rtol=1e-12, atol=1e-12)
    x = data((4, 6, 3, 5), "eval")
    torch.testing.assert_close(norm.eval()(x), alone.eval()(x), rtol=1e-12, atol=1e-12)


def test_means_and_variances_are_mixed_by_their_own_weights():
    """Against sums written out, entry by entry."""
    a, b = data((3,), "a"), data((3,), "b")
    norm = switch(a, b, affine=True)
    with torch.no_grad():
        norm.weight.copy_(data((6,), "weight"))
        norm.bias.copy_(data((6,), "bias"))
    x = data((4, 6, 3, 5))
    y = norm(x)
    w, u = a.exp() / a.exp().sum(), b.exp() / b.exp().sum()
    for n in range(4):
        for c in range(6):
            parts = [x[n, c], x[n], x[:, c]]
            mean = sum(w[k] * parts[k].mean() for k in range(3))
            variance = sum(u[k] * parts[k].var(correction=0) for k in range(3))
            expected = norm.weight[c] * (x[n, c] - mean) / (variance + 1e-3) ** 0.5 + norm.bias[c]
            torch.testing.assert_close(y[n, c], expected, rtol=1e-12, atol=1e-12)


def test_it_starts_with_equal_weights_that_are_learned():
    norm = SwitchNorm(6, momentum=0.1, affine=True, **DOUBLE)
    assert torch.equal(norm.mean_logits.softmax(0), torch.full((3,), 1 / 3, dtype=torch.float64))
    x = data((4, 6, 3, 5)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *_: norm(x), [x[:2, :, :2, :2].detach().requires_grad_()])
    gradients = torch.autograd.grad(norm(x), [norm.mean_logits, norm.variance_logits], data(x.shape, "direction"))
    for gradient in gradients:
        assert (gradient != 0).all()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4, 5, 3), r"takes \[batch, 6, …\]"),
        ((4, 6), "averages over positions"),
        ((4, 6, 1), "averages over positions"),
    ],
)
def test_inputs_of_another_shape(shape, message):
    norm = SwitchNorm(6, eps=0.1, momentum=0.1, affine=True)
    with pytest.raises(ValueError, match=message):
        norm(torch.ones(shape))
