r"""The unrolled residual network: sums over branches, and over ways through the network.

References
----------
A. Veit, M. Wilber, S. Belongie, *Residual networks behave like ensembles of relatively shallow networks*,
arXiv:1605.06431 (the unrolled view); K. He, X. Zhang, S. Ren, J. Sun, *Identity mappings in deep residual networks*,
arXiv:1603.05027 (the sum).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def unrolled_trunk(
    start: Float[Tensor, "*shape"], added: Float[Tensor, "blocks *shape"]
) -> Float[Tensor, "blocks+1 *shape"]:
    r"""Return what a trunk with identity shortcuts carries after 0, 1, … blocks: :math:`h_l = h_0 + \sum_{k≤l} F_k`.

    Nothing else happens to the trunk. Going back the same holds for the gradient: it starts with that of the last
    signal, and every block adds what comes through its branch.

    Parameters
    ----------
    start
        h_0; on the way back, the gradient with respect to h_L.
    added
        What each block's branch adds, in the order in which the blocks are met.

    Examples
    --------
    >>> unrolled_trunk(torch.tensor([1.0]), torch.tensor([[2.0], [-4.0]])).flatten()
    tensor([ 1.,  3., -1.])
    """
    return torch.cat([start[None], added]).cumsum(0)


def plain_weight(branch: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    """Return I + W: the weights of the plain layer that a skip around the single linear layer W makes.

    Examples
    --------
    >>> plain_weight(torch.tensor([[0.0, 2.0], [0.0, 0.0]]))
    tensor([[1., 2.],
            [0., 1.]])
    """
    return torch.eye(len(branch), dtype=branch.dtype, device=branch.device) + branch


def path_sums(branches: Float[Tensor, "blocks n n"]) -> Float[Tensor, "blocks+1 n n"]:
    r"""Return the sum over all ways through k branches of a linear residual network, for k = 0, …, L.

    The product :math:`(I + A_L) \cdots (I + A_1)` has :math:`2^L` terms: each block is passed through its branch or
    around it. Those through k branches are :math:`\binom{L}{k}` products of k matrices, added up here block by block:
    what goes through k of the first l branches goes around branch l, or comes from k − 1 through it.

    Examples
    --------
    >>> path_sums(torch.tensor([[[2.0]], [[3.0]], [[5.0]]])).flatten()
    tensor([ 1., 10., 31., 30.])
    """
    blocks, n, _ = branches.shape
    sums = torch.zeros(blocks + 1, n, n, dtype=branches.dtype, device=branches.device)
    sums[0] = torch.eye(n, dtype=branches.dtype, device=branches.device)
    for branch in branches:
        sums = torch.cat([sums[:1], sums[1:] + branch @ sums[:-1]])
    return sums


def path_length_law(blocks: int, strength: float) -> Float[Tensor, " {blocks}+1"]:
    r"""Return which share of the mean square takes ways through k branches, k = 0, …, L, in a random linear network.

    A branch of independent weights of zero mean multiplies the mean square by its strength s, and products of different
    sets of branches are uncorrelated. So the ways through k branches carry :math:`\binom{L}{k} s^k` of the
    :math:`(1 + s)^L` in all, a binomial law with success probability :math:`s/(1 + s)`.

    Parameters
    ----------
    blocks
        L ≥ 0.
    strength
        s ≥ 0, the mean square that a branch adds to one of 1; α² σ_w² of a single linear layer.

    Raises
    ------
    ValueError
        If one of them is negative.

    Examples
    --------
    >>> path_length_law(4, 1.0)
    tensor([0.0625, 0.2500, 0.3750, 0.2500, 0.0625], dtype=torch.float64)
    """
    if blocks < 0 or not 0 <= strength < math.inf:
        raise ValueError(f"blocks and strength must not be negative, got {blocks} and {strength:g}")
    k = torch.arange(blocks + 1, dtype=torch.float64)
    choices = math.lgamma(blocks + 1) - torch.lgamma(k + 1) - torch.lgamma(blocks - k + 1)
    chosen = torch.xlogy(k, torch.tensor(strength, dtype=torch.float64))
    return (choices + chosen - blocks * math.log1p(strength)).exp()
