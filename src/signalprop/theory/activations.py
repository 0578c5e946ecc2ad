"""Activation functions with their first and second derivatives, and where these jump."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

Elementwise = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Activation:
    """An elementwise function φ with its derivatives.

    Parameters
    ----------
    name
        What the field calls it.
    function, slope, curvature
        φ, φ′ and φ″, each from a float64 tensor to one of the same shape. φ″ is that between the kinks: where φ′ jumps
        it leaves the point mass out.
    kinks
        Where φ or φ′ is not smooth, in the unit of φ's argument. Quadrature does not cross them.

    Examples
    --------
    >>> relu = activation("relu")
    >>> relu.kinks, relu.slope(torch.tensor([-2.0, 3.0]))
    ((0.0,), tensor([0., 1.]))
    """

    name: str
    function: Elementwise
    slope: Elementwise
    curvature: Elementwise
    kinks: tuple[float, ...] = ()


ActivationLike = str | Activation | Elementwise


def activation(name_or_callable: ActivationLike, kinks: tuple[float, ...] = ()) -> Activation:
    """Return an `Activation`: a registered one by its name, or one made of a callable.

    Parameters
    ----------
    name_or_callable
        A name of `ACTIVATIONS`; an `Activation`, which is returned as it is; or a function of the reader's, elementwise
        and built of differentiable torch operations, whose derivatives are then taken by autograd.
    kinks
        Where that function or its slope jumps, in the unit of its argument. Undeclared ones cost time and the last
        digits, and the quadrature says so where it does not converge.

    Raises
    ------
    ValueError
        If the name is unknown, kinks are given for a registered activation, or the callable does not return a finite
        float64 tensor of its argument's shape, is not elementwise (or draws random numbers), or cannot be
        differentiated.

    Examples
    --------
    >>> activation("gelu").name
    'gelu'
    >>> bump = activation(lambda x: torch.exp(-x * x))
    >>> f"{bump.slope(torch.tensor(0.5)):.6f} {-math.exp(-0.25):.6f}"
    '-0.778801 -0.778801'
    """
    if isinstance(name_or_callable, str):
        if name_or_callable not in ACTIVATIONS:
            raise ValueError(f"unknown activation {name_or_callable!r}; known: {', '.join(ACTIVATIONS)}")
        name_or_callable = ACTIVATIONS[name_or_callable]
    if isinstance(name_or_callable, Activation):
        if kinks:
            raise ValueError(f"{name_or_callable.name} brings its own kinks {name_or_callable.kinks}; leave them out")
        return name_or_callable
    return _from_callable(name_or_callable, kinks)


def leaky_relu(negative_slope: float = 0.01) -> Activation:
    """Return the leaky ReLU with slope `negative_slope` below zero and 1 above.

    Examples
    --------
    >>> leaky_relu(0.2).function(torch.tensor([-1.0, 1.0]))
    tensor([-0.2000,  1.0000])
    """
    return Activation(
        f"leaky_relu({negative_slope:g})",
        lambda x: torch.where(x > 0, x, negative_slope * x),
        lambda x: torch.where(x > 0, torch.ones_like(x), torch.full_like(x, negative_slope)),
        torch.zeros_like,
        (0.0,),
    )


def _from_callable(function: Elementwise, kinks: tuple[float, ...]) -> Activation:
    name = getattr(function, "__name__", type(function).__name__)

    def value(x: Tensor) -> Tensor:
        y = function(x)
        if not isinstance(y, Tensor) or y.shape != x.shape or y.dtype != x.dtype:
            found = f"{y.dtype} of shape {list(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
            raise ValueError(f"{name} maps {x.dtype} of shape {list(x.shape)} to {found}; an activation keeps both")
        return y

    def slope(x: Tensor) -> Tensor:
        leaf = x.detach().requires_grad_()
        with torch.enable_grad():
            return _gradient(value(leaf), leaf).detach()

    def curvature(x: Tensor) -> Tensor:
        leaf = x.detach().requires_grad_()
        with torch.enable_grad():
            return _gradient(_gradient(value(leaf), leaf), leaf).detach()

    _check_elementwise(name, value)
    return Activation(name, lambda x: value(x).detach(), slope, curvature, tuple(map(float, kinks)))


def _gradient(y: Tensor, x: Tensor) -> Tensor:
    if not y.requires_grad:  # a constant
        return torch.zeros_like(x)
    (gradient,) = torch.autograd.grad(y.sum(), x, create_graph=True, allow_unused=True, materialize_grads=True)
    return gradient


def _check_elementwise(name: str, function: Elementwise) -> None:
    probe = torch.linspace(-3.1, 2.9, 9, dtype=torch.float64)
    y = function(probe)
    if not y.isfinite().all():
        where = probe[~y.isfinite()][0].item()
        raise ValueError(f"{name} is not finite at {where:g}; an activation is, for every real number")
    alone = torch.cat([function(x) for x in probe.flip(0).split(1)]).flip(0)
    if not torch.allclose(alone, y, rtol=1e-9, atol=1e-12):
        raise ValueError(f"{name} is not elementwise, or it draws random numbers: its value depends on more than x")


def _sech2(x: Tensor) -> Tensor:
    return torch.cosh(x).pow(-2)


def _density(x: Tensor) -> Tensor:
    return torch.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _scaled_tanh(name: str, height: float, rate: float) -> Activation:
    return Activation(
        name,
        lambda x: height * torch.tanh(rate * x),
        lambda x: height * rate * _sech2(rate * x),
        lambda x: -2 * height * rate**2 * torch.tanh(rate * x) * _sech2(rate * x),
    )


def _gated(name: str, gate: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]) -> Activation:
    """Return x·g(x), from g with its first two derivatives."""

    def slope(x: Tensor) -> Tensor:
        g, g1, _ = gate(x)
        return g + x * g1

    def curvature(x: Tensor) -> Tensor:
        _, g1, g2 = gate(x)
        return 2 * g1 + x * g2

    return Activation(name, lambda x: x * gate(x)[0], slope, curvature)


def _exponential_unit(name: str, scale: float, alpha: float) -> Activation:
    def below(x: Tensor) -> Tensor:
        return scale * alpha * torch.exp(x.clamp_max(0))

    return Activation(
        name,
        lambda x: torch.where(x > 0, scale * x, scale * alpha * torch.expm1(x.clamp_max(0))),
        lambda x: torch.where(x > 0, torch.full_like(x, scale), below(x)),
        lambda x: torch.where(x > 0, torch.zeros_like(x), below(x)),
        (0.0,),
    )


def _logistic(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    s, complement = torch.sigmoid(x), torch.sigmoid(-x)
    return s, s * complement, s * complement * (complement - s)


def _gelu_gate(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    # torch.special.ndtr cancels in the left tail: no digit is right at −8
    return torch.erfc(-x / math.sqrt(2)) / 2, _density(x), -x * _density(x)


def _gelu_tanh_gate(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    # ½(1 + tanh v) = sigmoid(2v), which keeps its digits in the left tail
    k = math.sqrt(8 / math.pi)
    s, s1, s2 = _logistic(k * (x + 0.044715 * x**3))
    rate = k * (1 + 3 * 0.044715 * x**2)
    return s, s1 * rate, s2 * rate**2 + s1 * k * 6 * 0.044715 * x


def _mish_gate(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    softplus = torch.logaddexp(x, torch.zeros_like(x))
    s, s1, _ = _logistic(x)
    g, falling = torch.tanh(softplus), _sech2(softplus)
    return g, falling * s, falling * (s1 - 2 * g * s * s)


ACTIVATIONS: dict[str, Activation] = {
    "linear": Activation("linear", torch.clone, torch.ones_like, torch.zeros_like),
    "tanh": replace(_scaled_tanh("tanh", 1.0, 1.0), function=torch.tanh),  # one operation, as networks run it
    "lecun_tanh": _scaled_tanh("lecun_tanh", 1.7159, 2 / 3),
    "erf": Activation(
        "erf",
        torch.erf,
        lambda x: 2 / math.sqrt(math.pi) * torch.exp(-x * x),
        lambda x: -4 / math.sqrt(math.pi) * x * torch.exp(-x * x),
    ),
    "hardtanh": Activation(
        "hardtanh", lambda x: x.clamp(-1, 1), lambda x: (x.abs() < 1).to(x.dtype), torch.zeros_like, (-1.0, 1.0)
    ),
    "relu": Activation("relu", torch.relu, lambda x: (x > 0).to(x.dtype), torch.zeros_like, (0.0,)),
    "leaky_relu": leaky_relu(),
    "elu": _exponential_unit("elu", 1.0, 1.0),
    "selu": _exponential_unit("selu", 1.0507009873554805, 1.6732632423543772),
    "gelu": _gated("gelu", _gelu_gate),
    "gelu_tanh": _gated("gelu_tanh", _gelu_tanh_gate),
    "silu": _gated("silu", _logistic),
    "mish": _gated("mish", _mish_gate),
    "softplus": Activation(
        "softplus",
        lambda x: torch.logaddexp(x, torch.zeros_like(x)),
        torch.sigmoid,
        lambda x: _logistic(x)[1],
    ),
    "sigmoid": Activation("sigmoid", torch.sigmoid, lambda x: _logistic(x)[1], lambda x: _logistic(x)[2]),
}
