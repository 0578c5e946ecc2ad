import pytest
import torch
from jaxtyping import TypeCheckError
from torch import nn
from torch.nn import functional

from signalprop import stream
from signalprop.nets.normalizers import BatchNorm, batch_norm_backward

TORCH = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}
SHAPES = [(7, 5), (7, 5, 3), (4, 5, 3, 6)]


def data(shape, name="x"):
    return torch.randn(shape, generator=stream("tests", f"batch.{name}"), dtype=torch.float64) * 3 + 2


def pair(shape, affine=True, eps=1e-3, momentum=0.3):
    """Ours and torch's, with the same γ and β."""
    ours = BatchNorm(5, eps=eps, momentum=momentum, affine=affine, dtype=torch.float64)
    theirs = TORCH[len(shape)](5, eps=eps, momentum=momentum, affine=affine, dtype=torch.float64)
    if affine:
        with torch.no_grad():
            for a, b, values in zip(ours.parameters(), theirs.parameters(), data((2, 5), "affine"), strict=True):
                a.copy_(values)
                b.copy_(values)
    return ours, theirs


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_torch_in_both_modes(shape, affine):
    ours, theirs = pair(shape, affine)
    assert ours.state_dict().keys() | {"num_batches_tracked"} == theirs.state_dict().keys()
    for step in range(3):
        x = data(shape, f"step{step}")
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours.running_var, theirs.running_var, rtol=1e-12, atol=1e-12)
    ours.eval()
    theirs.eval()
    x = data(shape, "eval")
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-12, atol=1e-12)
    before = ours.running_mean.clone()
    ours(x)
    assert torch.equal(ours.running_mean, before)


def test_single_precision():
    ours, theirs = pair((4, 5, 3, 6))
    x = data((4, 5, 3, 6)).float()
    torch.testing.assert_close(ours.float()(x), theirs.float()(x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_backward_by_hand_equals_autograd(shape):
    ours, theirs = pair(shape)
    x = data(shape).requires_grad_()
    gradient = data(shape, "gradient")
    by_hand = batch_norm_backward(gradient, x.detach(), ours.weight.detach(), ours.eps)
    for norm in (ours, theirs):
        by_autograd = torch.autograd.grad(norm(x), [x, norm.weight, norm.bias], gradient)
        for found, expected in zip(by_hand, by_autograd, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)


class ByHand(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return functional.batch_norm(x, None, None, weight, bias, training=True, eps=1e-3)

    @staticmethod
    def backward(ctx, gradient):
        return batch_norm_backward(gradient, *ctx.saved_tensors, 1e-3)


def test_backward_by_hand_equals_finite_differences():
    x, weight, bias = data((4, 3, 2)), data((3,), "weight"), data((3,), "bias")
    assert torch.autograd.gradcheck(ByHand.apply, [t.requires_grad_() for t in (x, weight, bias)])


def test_gradients_of_the_module_equal_finite_differences_twice():
    """Hessians go through it."""
    norm = BatchNorm(3, eps=1e-3, momentum=0.0, affine=True, dtype=torch.float64)
    x = data((4, 3)).requires_grad_()
    assert torch.autograd.gradcheck(norm, [x])
    assert torch.autograd.gradgradcheck(norm, [x])


@pytest.mark.parametrize("eps", [0.0, 0.7])
def test_the_norm_of_the_gradient(eps):
    """‖∂ℓ/∂x‖² = γ²/(σ²+ε) · (‖g‖² − ⟨1,g⟩²/m − ⟨x̂,g⟩²/m · (1 + ε/(σ²+ε))) for each feature, m = 28 here."""
    x, g, weight = data((7, 5, 4)), data((7, 5, 4), "gradient"), data((5,), "weight")
    to_x, _, _ = batch_norm_backward(g, x, weight, eps)
    rows, g = x.transpose(0, 1).flatten(1), g.transpose(0, 1).flatten(1)
    variance = rows.var(1, correction=0) + eps
    normalized = (rows - rows.mean(1, keepdim=True)) / variance.sqrt().unsqueeze(1)
    lost = g.sum(1) ** 2 / 28 + (normalized * g).sum(1) ** 2 / 28 * (1 + eps / variance)
    expected = weight**2 / variance * ((g**2).sum(1) - lost)
    torch.testing.assert_close(to_x.square().sum((0, 2)), expected, rtol=1e-13, atol=0)
    assert (lost > 0.01 * (g**2).sum(1)).all()


def test_only_two_moments_are_fixed():
    """Kurtosis is what it was: normalized is not normal."""
    x = data((400, 2)).square()
    y = BatchNorm(2, eps=0.0, momentum=0.1, affine=False, dtype=torch.float64)(x)
    kurtosis = ((x - x.mean(0)) / x.std(0, correction=0)).pow(4).mean(0)
    torch.testing.assert_close(y.mean(0), torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-13)
    torch.testing.assert_close(y.square().mean(0), torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(y.pow(4).mean(0), kurtosis)
    assert (kurtosis - 3).abs().min() > 0.5


def test_weights_below_have_no_scale():
    """BN(aWx) = BN(Wx), so that the gradient has no component along W."""
    weight, x = data((5, 4), "weight").requires_grad_(), data((9, 4))
    norm = BatchNorm(5, eps=0.0, momentum=0.1, affine=True, dtype=torch.float64)
    torch.testing.assert_close(norm(x @ (3 * weight).T), norm(x @ weight.T), rtol=1e-11, atol=1e-12)
    (gradient,) = torch.autograd.grad(norm(x @ weight.T), weight, data((9, 5), "gradient"))
    assert (gradient * weight).sum().abs() < 1e-12 * gradient.norm() * weight.norm()
    assert gradient.norm() > 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": 0}, "features must be at least 1"),
        ({"eps": -1.0}, "eps not negative"),
        ({"momentum": 1.5}, r"momentum must lie in \[0, 1\]"),
    ],
)
def test_numbers_out_of_range(options, message):
    usual = {"features": 5, "eps": 1e-5, "momentum": 0.1, "affine": True}
    with pytest.raises(ValueError, match=message):
        BatchNorm(**(usual | options))


@pytest.mark.parametrize(
    ("shape", "message"),
    [((7, 4), r"takes \[batch, 5, …\], got shape \[7, 4\]"), ((1, 5), "needs two values a feature")],
)
def test_inputs_of_another_shape(shape, message):
    norm = BatchNorm(5, eps=1e-5, momentum=0.1, affine=True)
    with pytest.raises(ValueError, match=message):
        norm(torch.ones(shape))


def test_one_example_is_enough_in_eval_mode():
    norm = BatchNorm(5, eps=0.0, momentum=0.1, affine=True).eval()
    assert torch.equal(norm(torch.ones(1, 5)), torch.ones(1, 5))


@pytest.mark.parametrize(("gradient", "features"), [((3, 2), 3), ((3, 4), 2)])
def test_gradients_of_another_shape(gradient, features):
    """jaxtyping says so where it is on, a ValueError elsewhere."""
    with pytest.raises((ValueError, TypeCheckError), match=r"gradient must have the shape of x|Type-check error"):
        batch_norm_backward(torch.ones(gradient), torch.ones(3, 2), torch.ones(features), 0.0)
