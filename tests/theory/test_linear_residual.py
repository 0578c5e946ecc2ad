import math

import pytest
import torch

from signalprop import stream
from signalprop.theory import linear_residual_factors, linear_residual_gradient_bound


def squared_gradient(layers, target, covariance):
    layers = layers.clone().requires_grad_()
    product = torch.eye(len(target), dtype=torch.float64)
    for layer in layers:
        product = product + layer @ product
    gap = product - target
    excess = torch.trace(gap @ covariance @ gap.T)
    (gradient,) = torch.autograd.grad(excess, layers)
    return gradient.square().sum().item(), excess.item()


@pytest.mark.parametrize("depth", [1, 2, 7])
def test_bound_holds_on_random_draws(depth):
    for r in range(50):
        source = stream("test", f"linear residual {depth}", r)
        layers, roots = (torch.randn(k, 4, 4, generator=source, dtype=torch.float64) for k in (depth, 2))
        tau = 0.9 * torch.rand((), generator=source, dtype=torch.float64).item()
        layers *= tau / torch.linalg.matrix_norm(layers, 2).max()
        covariance = roots[0] @ roots[0].T
        square, excess = squared_gradient(layers, roots[1], covariance)
        smallest = torch.linalg.eigvalsh(covariance)[0].item()
        assert square >= (1 - 1e-12) * linear_residual_gradient_bound(depth, tau, smallest, excess)


def test_bound_is_attained():
    layers = -0.3 * torch.eye(4, dtype=torch.float64).repeat(5, 1, 1)
    target = torch.randn(4, 4, generator=stream("test", "attained"), dtype=torch.float64)
    square, excess = squared_gradient(layers, target, 2 * torch.eye(4, dtype=torch.float64))
    assert square == pytest.approx(linear_residual_gradient_bound(5, 0.3, 2.0, excess), rel=1e-12)


@pytest.mark.parametrize(
    ("depth", "tau", "smallest", "excess"), [(0, 0.0, 1.0, 1.0), (1, 1.0, 1.0, 1.0), (1, 0.0, -1.0, 1.0)]
)
def test_bound_out_of_range(depth, tau, smallest, excess):
    with pytest.raises(ValueError, match="must"):
        linear_residual_gradient_bound(depth, tau, smallest, excess)


def rotation(n, source):
    q = torch.linalg.qr(torch.randn(n, n, generator=source, dtype=torch.float64)).Q
    q[0] *= torch.linalg.det(q).sign()
    return q


def targets():
    source = stream("test", "targets")
    stretched = torch.diag(torch.linspace(0.1, 3, 6, dtype=torch.float64))
    return [
        ("random", rotation(6, source) @ stretched @ rotation(6, source)),
        ("odd size", rotation(5, source)),
        ("half turns", torch.diag(torch.tensor([-1.0, -2.0, 1.0, -3.0, -0.5], dtype=torch.float64))),
        ("identity", torch.eye(3, dtype=torch.float64)),
    ]


@pytest.mark.parametrize(("name", "target"), targets(), ids=lambda value: value if isinstance(value, str) else "")
@pytest.mark.parametrize("depth", [2, 10, 100])
def test_factors_make_the_matrix_and_are_small(name, target, depth):
    factors = linear_residual_factors(target, depth)
    product = torch.eye(len(target), dtype=torch.float64)
    for factor in factors:
        product = product + factor @ product
    assert len(factors) == depth
    assert torch.allclose(product, target, atol=1e-10)
    gamma = torch.linalg.svdvals(target).log().abs().max().item()
    bound = max(math.expm1(2 * gamma / depth), 2 * math.sin(math.pi / depth))
    assert torch.linalg.matrix_norm(factors, 2).max() <= bound + 1e-9


@pytest.mark.parametrize(
    ("target", "depth", "words"),
    [
        (torch.diag(torch.tensor([1.0, -1.0])), 4, "determinant must be positive"),
        (torch.eye(2), 3, "even"),
    ],
)
def test_what_has_no_factors(target, depth, words):
    with pytest.raises(ValueError, match=words):
        linear_residual_factors(target, depth)
