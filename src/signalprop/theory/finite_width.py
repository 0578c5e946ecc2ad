"""Networks of finite width: exact laws where there are any."""

import math
from collections.abc import Sequence

from scipy import special


def log_norm_law(widths: Sequence[int], act: str = "linear", sigma_w2: float = 1.0) -> tuple[float, float]:
    r"""Return mean and variance of :math:`\ln(\|h_L\|^2 / \|h_0\|^2)` over random weights, exact at any width.

    For a linear network with independent weights :math:`W_l \sim N(0, \sigma_w^2 / n_{l-1})` one layer has the ratio
    :math:`\|h_l\|^2 / \|h_{l-1}\|^2 = (\sigma_w^2 / n_{l-1}) \chi^2_{n_l}`, whatever its input, so that the ratios are
    independent and with the digamma function ψ

    .. math::

       E = \sum_l \left[\psi(n_l/2) + \ln(2 \sigma_w^2 / n_{l-1})\right], \qquad \mathrm{Var} = \sum_l \psi'(n_l/2).

    Parameters
    ----------
    widths
        n_0, …, n_L: the input and every layer, at least two.
    act
        ``linear``.
    sigma_w2
        σ_w², the weight variance times the fan-in.

    Raises
    ------
    ValueError
        If there are fewer than two widths, one or σ_w² is not positive, or the activation is another.

    Examples
    --------
    >>> mean, variance = log_norm_law([10] * 11)
    >>> f"{mean:.4f} {variance:.4f}"
    '-1.0332 2.2132'
    """
    if act != "linear":
        raise ValueError(f"no exact law for activation {act!r}; known: linear")
    _check(widths, sigma_w2)
    fan_in, fan_out = widths[:-1], widths[1:]
    mean = sum(special.digamma(n / 2) + math.log(2 * sigma_w2 / m) for m, n in zip(fan_in, fan_out, strict=True))
    variance = sum(special.polygamma(1, n / 2) for n in fan_out)
    return float(mean), float(variance)


def mean_norm_growth(widths: Sequence[int], sigma_w2: float = 1.0) -> float:
    r"""Return :math:`E \|h_L\|^2 / \|h_0\|^2` of a random linear network, exact at any width.

    It is :math:`\prod_l \sigma_w^2 n_l / n_{l-1} = \sigma_w^{2L} n_L / n_0`: what the variance of the weights is chosen
    by, and far from typical once the depth is not small against the width (`log_norm_law`).

    Parameters
    ----------
    widths, sigma_w2
        As in `log_norm_law`.

    Raises
    ------
    ValueError
        If there are fewer than two widths, or one or σ_w² is not positive.

    Examples
    --------
    >>> mean_norm_growth([8, 8, 8]), mean_norm_growth([10, 20], sigma_w2=2.0)
    (1.0, 4.0)
    """
    _check(widths, sigma_w2)
    return float(sigma_w2 ** (len(widths) - 1) * widths[-1] / widths[0])


def _check(widths: Sequence[int], sigma_w2: float) -> None:
    if not sigma_w2 > 0:
        raise ValueError(f"sigma_w2 must be positive, got {sigma_w2:g}")
    if len(widths) < 2 or min(widths) < 1:
        raise ValueError(f"widths must be at least two positive numbers, n_0, …, n_L; got {list(widths)}")
