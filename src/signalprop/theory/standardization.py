r"""What normalizers compute: standardized numbers, their derivative, and averages that run along.

References
----------
S. Ioffe, C. Szegedy, *Batch normalization*, arXiv:1502.03167.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def standardized(z: Tensor, axes: Sequence[int], eps: float = 0.0) -> Tensor:
    r"""Return :math:`(z - μ)/\sqrt{σ^2 + ε}` with mean and biased variance over some axes of a tensor.

    Batch, layer, instance and group normalization (without γ and β) are this function over different axes.

    Parameters
    ----------
    z
        Any shape.
    axes
        Over which mean and variance are taken.
    eps
        ε ≥ 0.

    Raises
    ------
    ValueError
        If ε is negative.

    Examples
    --------
    >>> standardized(torch.tensor([[1.0, 5.0], [3.0, 1.0]]), [0])
    tensor([[-1.,  1.],
            [ 1., -1.]])
    """
    if eps < 0:
        raise ValueError(f"eps must not be negative, got {eps:g}")
    variance, mean = torch.var_mean(z, tuple(axes), correction=0, keepdim=True)
    return (z - mean) / (variance + eps).sqrt()


def standardization_jacobian(x: Float[Tensor, " values"], eps: float = 0.0) -> Float[Tensor, "values values"]:
    r"""Return :math:`J_{ij} = ∂\hat x_i/∂x_j` of standardizing m numbers.

    With :math:`s = \sqrt{σ^2 + ε}`, where :math:`∂μ/∂x_j = 1/m` and :math:`∂s/∂x_j = (x_j - μ)/(m s)`,

    .. math:: J = \frac1s \left(I - \frac{1 1^\top}{m} - \frac{\hat x \hat x^\top}{m}\right).

    At ε = 0 it is 1/σ times the projection onto what is orthogonal to 1 and to x̂, so of rank m − 2.

    Raises
    ------
    ValueError
        If there are fewer than two numbers, or as `standardized` does.

    Examples
    --------
    Of two numbers only the sign of the difference is left, which does not change:

    >>> standardization_jacobian(torch.tensor([1.0, 5.0])).abs().max()
    tensor(0.)
    """
    m = len(x)
    if m < 2:
        raise ValueError(f"standardizing takes at least two numbers, got {m}")
    normalized = standardized(x, [0], eps)
    identity = torch.eye(m, dtype=x.dtype, device=x.device)
    inverse = (x.var(correction=0) + eps).rsqrt()
    return inverse * (identity - 1 / m - normalized.outer(normalized) / m)


def batch_norm_second_moment(
    weight: Float[Tensor, " features"],
    bias: Float[Tensor, " features"],
    variance: Float[Tensor, " features"],
    eps: float,
) -> Float[Tensor, ""]:
    r"""Return the mean square of what a batch normalization gives out, over the features and its own batch.

    .. math:: \left\langle γ^2 \frac{σ^2}{σ^2 + ε} + β^2 \right\rangle

    Parameters
    ----------
    weight, bias
        γ and β.
    variance
        σ², biased, of what comes in.
    eps
        ε ≥ 0.

    Raises
    ------
    ValueError
        If ε is negative.

    Examples
    --------
    >>> batch_norm_second_moment(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0]), torch.ones(2), 0.0).item()
    5.5
    """
    if eps < 0:
        raise ValueError(f"eps must not be negative, got {eps:g}")
    return (weight.square() * variance / (variance + eps) + bias.square()).mean()


def running_average(start: float, value: float, momentum: float, steps: int) -> float:
    r"""Return where k steps :math:`r \leftarrow (1 - a) r + a s` lead: :math:`s + (1 - a)^k (r_0 - s)`.

    Parameters
    ----------
    start
        r_0; batch normalization starts from mean 0 and variance 1.
    value
        s, the same in every step, or the mean over steps for the mean of r.
    momentum
        a, the weight of a new value.
    steps
        k.

    Raises
    ------
    ValueError
        If a does not lie in [0, 1], or the steps are negative.

    Examples
    --------
    >>> f"{running_average(0.0, 1.0, 0.1, 10):.4f}"
    '0.6513'
    """
    _check(momentum, steps)
    return value + (1 - momentum) ** steps * (start - value)


def running_average_variance(momentum: float, steps: int) -> float:
    r"""Return the variance of such an average over independent values of variance 1.

    The weights of the values are a, a(1 − a), a(1 − a)², …, and the sum of their squares is

    .. math:: \frac{a}{2 - a} \left(1 - (1 - a)^{2k}\right),

    in the end as for a plain mean of 2/a − 1 values.

    Raises
    ------
    ValueError
        As `running_average` does.

    Examples
    --------
    >>> f"1/{1 / running_average_variance(0.1, 1000):.4f}"
    '1/19.0000'
    """
    _check(momentum, steps)
    if momentum == 0:
        return 0.0
    return momentum / (2 - momentum) * (1 - (1 - momentum) ** (2 * steps))


def naive_centring_bias(error: float, weight: float, lr: float, steps: int, output_lr: float = 0.0) -> float:
    r"""Return how far a bias goes when centring is left out of the gradient.

    For :math:`\hat x = u + b - \mathrm{E}[u + b]`, output :math:`v \hat x + c` and loss ½(output − t)², the true
    derivative with respect to b is zero. With the mean taken for a constant it is :math:`v \mathrm{E}[v \hat x + c - t]
    = -v e`, where e = E t − c. So each step moves b by η v e. If c learns too, at the rate η_c, e shrinks by 1 − η_c a
    step, and k steps move b by

    .. math:: η v e_0 \frac{1 - (1 - η_c)^k}{η_c} \to η v e_0 k \quad (η_c \to 0).

    Parameters
    ----------
    error
        e_0 = E t − c at the start.
    weight
        v, which is frozen.
    lr
        η.
    steps
        k.
    output_lr
        η_c; 0 freezes c.

    Raises
    ------
    ValueError
        If the steps are negative or η_c does not lie in [0, 1].

    Examples
    --------
    >>> naive_centring_bias(error=2.0, weight=0.5, lr=0.1, steps=1000)
    100.0
    >>> f"{naive_centring_bias(error=2.0, weight=0.5, lr=0.1, steps=1000, output_lr=0.1):.4f}"
    '1.0000'
    """
    _check(output_lr, steps)
    effective = float(steps) if output_lr == 0 else (1 - (1 - output_lr) ** steps) / output_lr
    return lr * weight * error * effective


def _check(share: float, steps: int) -> None:
    if not 0 <= share <= 1 or steps < 0:
        raise ValueError(f"the share of a step must lie in [0, 1] and steps not be negative, got {share:g} and {steps}")
