r"""Residual networks at infinite width: how the mean square of the signal grows from block to block.

Every weight is independent of zero mean, so that what a branch adds is uncorrelated with the trunk and the mean squares
add. φ is the ReLU, the weights have the variance 2/fan-in (He): a matrix doubles the mean square, a ReLU halves that
of a symmetric signal.

References
----------
K. He, X. Zhang, S. Ren, J. Sun, *Identity mappings in deep residual networks*, arXiv:1603.05027 (the orders of a
block). H. Zhang, Y. Dauphin, T. Ma, *Fixup initialization*, arXiv:1901.09321; S. De and S. Smith, *Batch normalization
biases residual blocks towards the identity function in deep networks*, arXiv:2002.10444 (growth without and with batch
normalization). The post-activation block and the batch variance are derived here.
"""

import math

import numpy as np
import torch
from jaxtyping import Float
from scipy import special
from torch import Tensor

_ADDED = {"pre_activation": 1.0, "two_layer": 2.0}


def residual_profile(depth: int, block: str = "pre_activation", alpha: float = 1.0) -> Float[Tensor, " {depth}+1"]:
    r"""Return the mean square of the signal after 0, …, L residual blocks with ReLU, over that at the start.

    - ``pre_activation``, :math:`x + α W_2 φ(W_1 φ(x))`: the branch has the mean square of x (φ halves, W_1 doubles, φ
      halves, W_2 doubles), a block the factor 1 + α². Without scaling the signal doubles; α = L^(−1/2) leaves
      :math:`(1 + 1/L)^L \to e`.
    - ``two_layer``, :math:`x + α W_2 φ(W_1 x)`: no φ halves first, the factor is 1 + 2α².
    - ``post_activation``, :math:`φ(x + α W_2 φ(W_1 x))`, the first ResNet: units of the trunk are positive or zero, so
      that the outer φ cuts less than half. Given :math:`q = E x^2` the branch is Gaussian of variance 2α²q, and one
      unit makes the Markov chain

      .. math:: x \mapsto \max(0,\; x + α \sqrt{2 q}\, z), \qquad z \sim N(0, 1),

      whose density is followed by quadrature. The factor depends on the depth until the shape of that density
      settles: at α = 1 it is 2 + 1/π in the first block and 2.3988907675 in the limit.

    Parameters
    ----------
    depth
        L ≥ 0, the number of blocks.
    block
        One of the three above.
    alpha
        α ≥ 0, the scale of the branch; at least 0.01 for ``post_activation``.

    Returns
    -------
    Tensor
        [L + 1], float64, 1 first; beyond float64 it is inf. The trunk starts Gaussian, for ``post_activation`` as the
        ReLU of a Gaussian.

    Raises
    ------
    ValueError
        If the depth or α is out of range, or the block another.

    Examples
    --------
    >>> residual_profile(3), residual_profile(3, "two_layer")
    (tensor([1., 2., 4., 8.], dtype=torch.float64), tensor([ 1.,  3.,  9., 27.], dtype=torch.float64))
    >>> post = residual_profile(20, "post_activation")
    >>> f"{post[1] - 2:.10f} {1 / math.pi:.10f} {post[20] / post[19]:.10f}"
    '0.3183098862 0.3183098862 2.3988907675'
    """
    _check_depth(depth)
    if block not in (*_ADDED, "post_activation"):
        raise ValueError(f"unknown block {block!r}; known: {', '.join(_ADDED)}, post_activation")
    smallest = 0.01 if block == "post_activation" else 0.0
    if not smallest <= alpha < math.inf:
        raise ValueError(f"alpha must be finite and at least {smallest:g} for this block, got {alpha:g}")
    if block == "post_activation":
        return torch.tensor([0.0, *_post_activation_factors(depth, alpha)], dtype=torch.float64).cumsum(0).exp()
    base = torch.tensor(1 + _ADDED[block] * alpha**2, dtype=torch.float64)
    return base ** torch.arange(depth + 1)


def residual_relative_second_moment(depth: int, width: int, alpha: float = 1.0) -> float:
    r"""Return :math:`E r^2 / (E r)^2` of :math:`r = \|x_L\|^2 / \|x_0\|^2` after L ``two_layer`` blocks of width n.

    Exact at any width n. Given x, :math:`W_1 x` is Gaussian, so that the branch :math:`W_2 φ(W_1 x)` is :math:`s
    \|x\| ζ` with a standard normal vector ζ and :math:`s^2 = (4/n^2) χ^2_K`, :math:`K \sim \mathrm{Bin}(n, ½)`. Of ζ
    one entry lies along x: a block has the factor :math:`1 + 2αsζ_1 + α^2 s^2 χ^2_n`, whatever x, and

    .. math::

       \frac{E r^2}{(E r)^2} = \left[1 + \frac{8 α^2 / n + 4 α^4 (7/n + 10/n^2)}{(1 + 2 α^2)^2}\right]^L .

    With α² = c/L it tends to :math:`\exp(8c/n)`, however deep the network; a plain network of as many blocks of He's
    ReLU layers has :math:`(1 + 5/n)^L` (`relative_second_moment`).

    Parameters
    ----------
    depth
        L ≥ 0, the number of blocks.
    width
        n ≥ 1, of the trunk and inside of the branch.
    alpha
        α ≥ 0, the scale of the branch.

    Raises
    ------
    ValueError
        If one of them is out of range.

    Examples
    --------
    >>> for depth in (10, 100, 1000):
    ...     plain = (1 + 5 / 64) ** depth
    ...     print(f"{residual_relative_second_moment(depth, 64, depth**-0.5):.4f} {plain:.4g}")
    1.1243 2.122
    1.1324 1849
    1.1331 4.668e+32
    """
    _check_depth(depth)
    if width < 1:
        raise ValueError(f"width must be at least 1, got {width}")
    if not 0 <= alpha < math.inf:
        raise ValueError(f"alpha must be finite and not negative, got {alpha:g}")
    spread = 8 * alpha**2 / width + 4 * alpha**4 * (7 / width + 10 / width**2)
    return (1 + spread / (1 + 2 * alpha**2) ** 2) ** depth


def batch_norm_residual_profile(
    depth: int, order: str = "last", alpha: float = 1.0
) -> tuple[Float[Tensor, " {depth}+1"], Float[Tensor, " {depth}+1"]]:
    r"""Return the mean square, and the variance over the batch, after 0, …, L blocks that normalize their branch.

    A normalized branch has a mean square that no longer grows with the signal, so that the sum is linear in l.

    - ``last``: :math:`x + α\,\mathrm{BN}(F(x))` with any F. The branch has mean 0 and variance 1 over the batch, and
      the random signs of its last weights make it uncorrelated with the trunk: both results are 1 + α²l.
    - ``first``: :math:`x + α W φ(\mathrm{BN}(x))`, φ the ReLU, W of variance 2/fan-in. The mean square of the branch is
      2 · ½ = 1, but φ of a standard Gaussian has the mean (2π)^(−1/2), which W turns into an offset of each unit that
      the whole batch shares, with mean square 2/(2π) = 1/π. The mean square is 1 + α²l, the batch variance
      :math:`1 + (1 - 1/π) α^2 l`, in large batches.

    Parameters
    ----------
    depth
        L ≥ 0, the number of blocks.
    order
        ``last`` or ``first``: where in the branch the normalization is.
    alpha
        α ≥ 0, the scale of the branch.

    Returns
    -------
    tuple of Tensor
        Mean square and batch variance per unit, each [L + 1] and float64, for a trunk that starts with mean 0 and
        variance 1 over the batch.

    Raises
    ------
    ValueError
        If the depth or α is out of range, or the order another.

    References
    ----------
    S. De and S. Smith, arXiv:2002.10444, section 2.

    Examples
    --------
    >>> mean_square, variance = batch_norm_residual_profile(100, "first")
    >>> f"{mean_square[-1]:.1f} {variance[-1]:.4f}"
    '101.0 69.1690'
    """
    _check_depth(depth)
    share = {"last": 1.0, "first": 1 - 1 / math.pi}
    if order not in share:
        raise ValueError(f"unknown order {order!r}; known: {', '.join(share)}")
    if not 0 <= alpha < math.inf:
        raise ValueError(f"alpha must be finite and not negative, got {alpha:g}")
    added = alpha**2 * torch.arange(depth + 1, dtype=torch.float64)
    return 1 + added, 1 + share[order] * added


def _post_activation_factors(depth: int, alpha: float) -> list[float]:
    """Return ln(q_l / q_{l−1}) for each block: the law of x/√q is an atom at 0 and a density on a grid."""
    nodes, weights = _fejer(200 + math.ceil(20 / alpha))
    reach = 14.0  # in units of √q, where the density has fallen below 1e-20
    # node 0 is the atom: its weight is 1 and its density the probability of x = 0
    x, w = np.append(0.0, (nodes + 1) * reach / 2), np.append(1.0, weights * reach / 2)
    law = np.append(0.5, _normal(x[1:] / math.sqrt(2)) / math.sqrt(2))
    spread = alpha * math.sqrt(2)
    t = x / spread
    kept = spread**2 * ((1 + t**2) * special.ndtr(t) + t * _normal(t))
    logs = []
    for _ in range(depth):
        growth = float((w * law) @ kept)
        arrives = _normal((math.sqrt(growth) * x[:, None] - x) / spread) * math.sqrt(growth) / spread
        arrives[0] = special.ndtr(-t)
        law = arrives @ (w * law)
        logs.append(math.log(growth))
    return logs


def _fejer(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights of Fejér's first rule on [−1, 1]: as good as Gauss's here, and to the last digit."""
    angle, j = (np.arange(n) + 0.5) * math.pi / n, np.arange(1, n // 2 + 1)
    return np.cos(angle), 2 / n * (1 - 2 * np.cos(2 * np.outer(angle, j)) @ (1 / (4 * j**2 - 1)))


def _normal(z: np.ndarray) -> np.ndarray:
    return np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)


def _check_depth(depth: int) -> None:
    if depth < 0:
        raise ValueError(f"depth must not be negative, got {depth}")
