"""The units of the first ResNet's trunk at infinite width: how many are zero, and which skips stay open."""

import math

import numpy as np
import torch
from jaxtyping import Float
from scipy import special
from torch import Tensor

from signalprop.theory.residual import _fejer, _normal


def post_activation_zeros(
    depth: int, alpha: float = 1.0
) -> tuple[Float[Tensor, " {depth}+1"], Float[Tensor, " {depth}+1"]]:
    r"""Return the share of zeros in the trunk of a ``post_activation`` network, and that of the skips still open.

    A unit of the trunk is the Markov chain of `residual_profile`, :math:`x \mapsto \max(0, x + α\sqrt{2q}\,z)` with
    :math:`q = E x^2`. Where it is zero, the outer ReLU lets no gradient through, neither from the branch nor from the
    skip. A unit that has been positive after each of the blocks 1 to l is a skip still open: the part of the Jacobian
    that goes through no branch is the diagonal matrix with a 1 there. (Without the outer activation all of them are.)

    Parameters
    ----------
    depth
        L ≥ 0, the number of blocks.
    alpha
        α ≥ 0.01, the scale of the branch.

    Returns
    -------
    tuple of Tensor
        Share of zeros after block l, and share of units positive after all blocks 1, …, l, for l = 0, …, L; float64.
        At l = 0 they are ½, the zeros of the ReLU of a Gaussian, and 1.

    Raises
    ------
    ValueError
        If the depth or α is out of range.

    References
    ----------
    Derived here.

    Examples
    --------
    >>> zeros, open_skips = post_activation_zeros(20)
    >>> f"{zeros[1]:.10f} {open_skips[1]:.10f} {open_skips[20]:.4f}"
    '0.3750000000 0.6250000000 0.0035'
    """
    if depth < 0:
        raise ValueError(f"depth must not be negative, got {depth}")
    if not 0.01 <= alpha < math.inf:
        raise ValueError(f"alpha must be finite and at least 0.01, got {alpha:g}")
    nodes, weights = _fejer(200 + math.ceil(20 / alpha))
    reach = 14.0  # in units of √q, where the density has fallen below 1e-20
    # node 0 is the atom at zero, with weight 1
    x, w = np.append(0.0, (nodes + 1) * reach / 2), np.append(1.0, weights * reach / 2)
    law = np.append(0.5, _normal(x[1:] / math.sqrt(2)) / math.sqrt(2))
    spread = alpha * math.sqrt(2)
    t = x / spread
    kept = spread**2 * ((1 + t**2) * special.ndtr(t) + t * _normal(t))
    open_law = law.copy()  # of the units that are open, wherever they start
    zeros, opened = [0.5], [1.0]
    for _ in range(depth):
        scale = math.sqrt(float((w * law) @ kept))
        arrives = _normal((scale * x[:, None] - x) / spread) * scale / spread
        arrives[0] = special.ndtr(-t)
        law, open_law = arrives @ (w * law), arrives @ (w * open_law)
        open_law[0] = 0.0
        zeros.append(float(law[0]))
        opened.append(float(w @ open_law))
    return torch.tensor(zeros, dtype=torch.float64), torch.tensor(opened, dtype=torch.float64)
