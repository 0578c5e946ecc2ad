r"""Networks of finite width: exact laws where there are any.

Layer l computes :math:`h_l = φ(W_l h_{l-1})` with independent weights :math:`W_l \sim N(0, σ_w^2 / n_{l-1})` and no
bias; `widths` are always n_0, …, n_L, the input and every layer. The ratio :math:`\|h_l\|^2 / \|h_{l-1}\|^2` of one
layer has the same law whatever its input, so that the ratios are independent: :math:`(σ_w^2/n_{l-1})\, χ^2_K`, where

- ``linear``: :math:`K = n_l`, critical at σ_w² = 1;
- ``relu``: :math:`K \sim \mathrm{Bin}(n_l, \tfrac12)` counts the units that are on, critical at σ_w² = 2 (He).

The layer is *dead* at its input when K = 0: then h_l and all that follows is zero.

References
----------
B. Hanin, *Which neural net architectures give rise to exploding and vanishing gradients?*, NeurIPS 2018,
arXiv:1801.03744; B. Hanin and M. Nica, *Products of many large random matrices and gradients in deep neural networks*,
arXiv:1812.05994. The law for ReLU is derived in `log_norm_law`.
"""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy import special, stats

# E φ(z)² and E φ(z)⁴ / (E φ(z)²)² − 1 of one unit: a layer's factor on the mean, and n times its relative variance
_SECOND_MOMENT = {"linear": 1.0, "relu": 0.5}
_SPREAD = {"linear": 2.0, "relu": 5.0}


def log_norm_law(widths: Sequence[int], act: str = "linear", sigma_w2: float = 1.0) -> tuple[float, float]:
    r"""Return mean and variance of :math:`\ln(\|h_L\|^2 / \|h_0\|^2)` over random weights, exact at any width.

    A linear layer has the ratio :math:`(\sigma_w^2 / n_{l-1}) \chi^2_{n_l}`, whatever its input, so that the ratios are
    independent and with the digamma function ψ

    .. math::

       E = \sum_l \left[\psi(n_l/2) + \ln(2 \sigma_w^2 / n_{l-1})\right], \qquad \mathrm{Var} = \sum_l \psi'(n_l/2).

    In a ReLU layer a unit is on with probability ½, independently of the others and of the square of its
    pre-activation, since flipping the sign of its weights turns it on or off. The degrees of freedom are therefore
    :math:`K_l \sim \mathrm{Bin}(n_l, ½)`. A dead layer has the logarithm −∞: the law is **conditional on survival**,
    on :math:`K_l \ge 1` in every layer, and `dead_probability` is the share of the networks that it leaves out. With
    expectations over K_l given that,

    .. math::

       E = \sum_l \left[E\,\psi(K_l/2) + \ln(2 \sigma_w^2 / n_{l-1})\right], \qquad
       \mathrm{Var} = \sum_l \left[E\,\psi'(K_l/2) + \mathrm{Var}\,\psi(K_l/2)\right].

    Parameters
    ----------
    widths
        n_0, …, n_L: the input and every layer, at least two.
    act
        ``linear`` or ``relu``; the activation follows every layer, the last one too.
    sigma_w2
        σ_w², the weight variance times the fan-in; He's initialization of a ReLU network has 2.

    Raises
    ------
    ValueError
        If there are fewer than two widths, one or σ_w² is not positive, or the activation is another.

    Notes
    -----
    The squared gradient of a scalar linear read-out, its weights drawn from :math:`N(0, σ_w^2/n_L)`, by the input has
    the same factors and two end terms: the read-out divides by n_L, and the first layer passes all n_0 inputs back
    without a mask. Its logarithm has the mean and variance of this law plus those of the linear law of [n_L, n_0].

    Examples
    --------
    >>> mean, variance = log_norm_law([10] * 11)
    >>> f"{mean:.4f} {variance:.4f}"
    '-1.0332 2.2132'
    >>> mean, variance = log_norm_law([10, 10], "relu", sigma_w2=2.0)
    >>> f"{mean:.7f} {variance:.7f}"
    '-0.3074610 0.8667343'
    """
    _check(widths, act, sigma_w2)
    mean, variance = _layer_log_growth(widths, act, sigma_w2), 0.0
    for n, layers in Counter(widths[1:]).items():
        layer_mean, layer_variance = _layer_log_law(n, act)
        mean += layers * layer_mean
        variance += layers * layer_variance
    return mean, variance


def log_norm_asymptote(widths: Sequence[int], act: str = "linear", sigma_w2: float = 1.0) -> tuple[float, float]:
    r"""Return what `log_norm_law` tends to in wide layers: a log-normal law that depends on :math:`β = \sum_l 1/n_l`.

    .. math::

       \mathrm{Var} = κ β, \qquad E = \ln \frac{E\|h_L\|^2}{\|h_0\|^2} - \frac{κ β}{2},
       \qquad κ = 2\ (\text{linear}),\ 5\ (\text{ReLU}),

    so that at equal widths and critical σ_w² the mean is −β or −(5/2)β and the variance 2β or 5β. Both are right up to
    relative corrections of order 1/n_l.

    Parameters
    ----------
    widths, act, sigma_w2
        As in `log_norm_law`.

    Raises
    ------
    ValueError
        As in `log_norm_law`.

    Examples
    --------
    >>> log_norm_asymptote([32] * 41, "relu", sigma_w2=2.0)
    (-3.125, 6.25)
    """
    _check(widths, act, sigma_w2)
    variance = _SPREAD[act] * math.fsum(1 / n for n in widths[1:])
    return _layer_log_growth(widths, act, sigma_w2) - variance / 2, variance


def mean_norm_growth(widths: Sequence[int], act: str = "linear", sigma_w2: float = 1.0) -> float:
    r"""Return :math:`E \|h_L\|^2 / \|h_0\|^2` over random weights, exact at any width.

    It is :math:`\prod_l a σ_w^2 n_l / n_{l-1} = (a σ_w^2)^L n_L / n_0` with a = 1 for linear and ½ for ReLU networks:
    what the variance of the weights is chosen by, and far from typical once the depth is not small against the width
    (`log_norm_law`). Dead networks count with their zero; beyond float64 it is inf or 0.

    Parameters
    ----------
    widths, act, sigma_w2
        As in `log_norm_law`.

    Raises
    ------
    ValueError
        As in `log_norm_law`.

    Examples
    --------
    >>> mean_norm_growth([8, 8, 8]), mean_norm_growth([10, 20], sigma_w2=2.0), mean_norm_growth([8, 8, 8], "relu")
    (1.0, 4.0, 0.25)
    """
    _check(widths, act, sigma_w2)
    return math.prod([_SECOND_MOMENT[act] * sigma_w2] * (len(widths) - 1)) * widths[-1] / widths[0]


def relative_second_moment(widths: Sequence[int], act: str = "linear") -> float:
    r"""Return :math:`E r^2 / (E r)^2` of the growth :math:`r = \|h_L\|^2 / \|h_0\|^2`, exact at any width.

    It is :math:`\prod_l (1 + 2/n_l)` for linear and :math:`\prod_l (1 + 5/n_l)` for ReLU networks, from
    :math:`E (χ^2_K)^2 = E K (K + 2)`, whatever σ_w². Dead networks count with their zero. A sample mean of r² does not
    find it unless the sample is exponentially large in Σ 1/n_l, since the largest draws decide.

    Parameters
    ----------
    widths, act
        As in `log_norm_law`.

    Raises
    ------
    ValueError
        As in `log_norm_law`.

    Examples
    --------
    >>> f"{relative_second_moment([100] * 21):.4f} {relative_second_moment([100] * 21, 'relu'):.4f}"
    '1.4859 2.6533'
    """
    _check(widths, act, 1.0)
    return math.prod(1 + _SPREAD[act] / n for n in widths[1:])


def jacobian_entry_kurtosis(widths: Sequence[int], act: str = "linear") -> float:
    r"""Return :math:`E J_{ij}^4 / (E J_{ij}^2)^2` of one entry of the Jacobian from input to output.

    :math:`J = W_L D_{L-1} W_{L-1} \cdots D_1 W_1`, with φ on the hidden layers only and D_l its slopes. Given the
    hidden layers an entry is Gaussian, with a variance proportional to the squared norm of the column
    :math:`D_{L-1} W_{L-1} \cdots D_1 W_1 e_j`. That norm grows by the law of `log_norm_law` although the masks belong
    to another vector, the signal: the sign of a row of weights decides its mask, its square the norm. The kurtosis is
    :math:`3 \prod_{\text{hidden}} (1 + κ/n_l)` with κ = 2 (linear) or 5 (ReLU), exact if all weights are Gaussian,
    read-out included, whatever their variances, the input and the widths of the two ends.

    Parameters
    ----------
    widths
        n_0, …, n_L: the input, the hidden layers and the output, which has no activation; at least two.
    act
        ``linear`` or ``relu``.

    Raises
    ------
    ValueError
        As in `log_norm_law`.

    Examples
    --------
    >>> jacobian_entry_kurtosis([784, 10]), jacobian_entry_kurtosis([784, 20, 20, 10], "relu")
    (3.0, 4.6875)
    """
    _check(widths, act, 1.0)
    return 3.0 * math.prod(1 + _SPREAD[act] / n for n in widths[1:-1])


def dead_probability(widths: Sequence[int]) -> float:
    r"""Return the probability that a ReLU network is dead at a given input: that some layer has no unit on.

    It is :math:`1 - \prod_l (1 - 2^{-n_l})` for any weights that are symmetric about zero, at any variance; layers that
    are dead at one input may well be alive at another.

    Parameters
    ----------
    widths
        As in `log_norm_law`; all but the first have ReLUs.

    Raises
    ------
    ValueError
        If there are fewer than two widths or one is not positive.

    Examples
    --------
    >>> dead_probability([3, 1]), f"{dead_probability([100] * 51):.4e}"
    (0.5, '3.9443e-29')
    """
    _check(widths, "relu", 1.0)
    return abs(math.expm1(math.fsum(math.log1p(-(2.0**-n)) for n in widths[1:])))


def _layer_log_growth(widths: Sequence[int], act: str, sigma_w2: float) -> float:
    """Return ln E r."""
    return (len(widths) - 1) * math.log(_SECOND_MOMENT[act] * sigma_w2) + math.log(widths[-1] / widths[0])


def _layer_log_law(n: int, act: str) -> tuple[float, float]:
    """Return mean and variance of ln(r / E r) in one layer of n units, for ReLU given that it is not dead."""
    if act == "linear":
        return float(special.digamma(n / 2) - math.log(n / 2)), float(special.polygamma(1, n / 2))
    k = np.arange(1, n + 1)
    probability = stats.binom.pmf(k, n, 0.5)
    probability /= probability.sum()
    log_ratio = special.digamma(k / 2) - math.log(n / 4)
    mean = probability @ log_ratio
    return float(mean), float(probability @ ((log_ratio - mean) ** 2 + special.polygamma(1, k / 2)))


def check_widths(widths: Sequence[int]) -> None:
    """Raise a ValueError unless the widths make a network.

    Examples
    --------
    >>> check_widths([3])
    Traceback (most recent call last):
    ValueError: widths must be at least two positive numbers, n_0, …, n_L; got [3]
    """
    if len(widths) < 2 or min(widths) < 1:
        raise ValueError(f"widths must be at least two positive numbers, n_0, …, n_L; got {list(widths)}")


def _check(widths: Sequence[int], act: str, sigma_w2: float) -> None:
    if act not in _SPREAD:
        raise ValueError(f"no exact law for activation {act!r}; known: {', '.join(_SPREAD)}")
    if not sigma_w2 > 0:
        raise ValueError(f"sigma_w2 must be positive, got {sigma_w2:g}")
    check_widths(widths)
