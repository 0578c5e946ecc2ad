r"""Linear residual networks :math:`x \mapsto (1 + A_L) \cdots (1 + A_1)\,x`: no bad critical points near the identity.

References
----------
M. Hardt, T. Ma, *Identity matters in deep learning*, arXiv:1611.04231. The constants are derived here.
"""

import torch
from jaxtyping import Float
from scipy import linalg
from torch import Tensor


def linear_residual_gradient_bound(depth: int, tau: float, smallest: float, excess: float) -> float:
    r"""Return the least squared gradient that a linear residual network can have at a loss above the optimum.

    For the loss :math:`f = E \|(1 + A_L) \cdots (1 + A_1) x - t\|^2` and square layers of spectral norm
    :math:`\|A_l\| \le τ < 1`,

    .. math:: \sum_l \|∂f/∂A_l\|_F^2 \ge 4 L (1 - τ)^{2(L-1)} \lambda_{\min} \, (f - f^*)

    where :math:`f^*` is the loss of the best linear map. It is attained at :math:`A_l = -τ` with
    :math:`E x x^\top \propto 1`. With a factor ½ in f it is 2 in place of 4.

    Parameters
    ----------
    depth
        L ≥ 1.
    tau
        τ ∈ [0, 1).
    smallest
        Smallest eigenvalue of :math:`E x x^\top`, not negative.
    excess
        :math:`f - f^* \ge 0`.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    One layer, isotropic inputs: f − f* = ‖R‖² at A = 0 for a difference R, and the gradient is 2R.

    >>> linear_residual_gradient_bound(1, 0.0, 1.0, 9.0)
    36.0
    """
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
    if not 0 <= tau < 1:
        raise ValueError(f"tau must be at least 0 and less than 1, got {tau:g}")
    if smallest < 0 or excess < 0:
        raise ValueError(f"smallest and excess must not be negative, got {smallest:g} and {excess:g}")
    return 4 * depth * (1 - tau) ** (2 * (depth - 1)) * smallest * excess


def linear_residual_factors(matrix: Float[Tensor, "n n"], depth: int) -> Float[Tensor, "{depth} n n"]:
    r"""Return A_1, …, A_L with :math:`(1 + A_L) \cdots (1 + A_1) = R`, all of size O(1/L).

    By the polar decomposition R = QP, Q a rotation and P positive: half of the layers make P, each
    :math:`P^{2/L}`, the other half Q, each a rotation by 2/L of its angles. With γ the largest :math:`|\ln s|` over the
    singular values s of R, and angles of at most π,

    .. math:: \max_l \|A_l\| \le \max(e^{2γ/L} - 1,\; 2 \sin(π/L)) .

    Parameters
    ----------
    matrix
        R, real, with a positive determinant. With a negative one there is no such factorization: det(1 + A) > 0
        whenever ‖A‖ < 1.
    depth
        L, even and at least 2.

    Raises
    ------
    ValueError
        If the determinant is not positive, or the depth is no such number.

    Examples
    --------
    >>> half_turn = -torch.eye(2, dtype=torch.float64)
    >>> factors = linear_residual_factors(half_turn, 100)
    >>> round(torch.linalg.matrix_norm(factors, 2).max().item(), 4)  # 2 sin(π/100)
    0.0628
    """
    if depth < 2 or depth % 2:
        raise ValueError(f"depth must be even and at least 2, got {depth}")
    target = matrix.detach().to("cpu", torch.float64)
    if not torch.linalg.det(target) > 0:
        raise ValueError("the determinant must be positive: layers near the identity have positive determinants")
    n, half = len(target), depth // 2
    left, singular, right = torch.linalg.svd(target)
    positive = right.T @ torch.diag(singular ** (1 / half)) @ right
    turn = _rotation_root(left @ right, half)
    one = torch.eye(n, dtype=torch.float64)
    return torch.stack([positive - one] * half + [turn - one] * half)


def _rotation_root(rotation: Float[Tensor, "n n"], parts: int) -> Float[Tensor, "n n"]:
    """Return the rotation by 1/parts of the angles; half turns, eigenvalues −1, are paired into planes."""
    blocks, basis = linalg.schur(rotation.numpy(), output="real")
    root, minus, at = torch.eye(len(blocks), dtype=torch.float64), [], 0
    while at < len(blocks):
        if at + 1 < len(blocks) and abs(blocks[at + 1, at]) > 1e-12:
            angle = torch.atan2(torch.tensor(blocks[at + 1, at]), torch.tensor(blocks[at, at])) / parts
            root[at : at + 2, at : at + 2] = _plane(angle)
            at += 2
        else:
            minus += [at] if blocks[at, at] < 0 else []
            at += 1
    for one, other in zip(minus[::2], minus[1::2], strict=True):
        rows = torch.tensor([one, other])
        root[rows[:, None], rows] = _plane(torch.tensor(torch.pi, dtype=torch.float64) / parts)
    frame = torch.from_numpy(basis)
    return frame @ root @ frame.T


def _plane(angle: Tensor) -> Float[Tensor, "2 2"]:
    cosine, sine = angle.double().cos(), angle.double().sin()
    return torch.stack([torch.stack([cosine, -sine]), torch.stack([sine, cosine])])
