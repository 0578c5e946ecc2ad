"""Least squares with and without batch normalization: the smallest problem on which a normalizer shows what it does."""

from jaxtyping import Float
from torch import Tensor


def least_squares_loss(
    weights: Float[Tensor, "starts inputs"],
    covariance: Float[Tensor, "inputs inputs"],
    target: Float[Tensor, " inputs"],
) -> Float[Tensor, " starts"]:
    r"""Return ½ E(⟨w, x⟩ − ⟨w_⋆, x⟩)² for inputs x of mean 0 and covariance H: :math:`½ (w - w_⋆)^\top H (w - w_⋆)`.

    Parameters
    ----------
    weights
        One w a row.
    covariance
        H, symmetric and positive definite.
    target
        w_⋆.

    Examples
    --------
    >>> import torch
    >>> least_squares_loss(torch.tensor([[1.0, 0.0]]), torch.diag(torch.tensor([2.0, 8.0])), torch.ones(2))
    tensor([4.])
    """
    away = weights - target
    return (away @ covariance * away).sum(-1) / 2


def batch_norm_least_squares_loss(
    weights: Float[Tensor, "starts inputs_and_scale"],
    covariance: Float[Tensor, "inputs inputs"],
    target: Float[Tensor, " inputs"],
) -> Float[Tensor, " starts"]:
    r"""Return the same loss if ⟨w, x⟩ goes through batch normalization (ε = 0, no shift) in a batch of all inputs.

    The output is :math:`γ ⟨w, x⟩ / \sqrt{w^\top H w}`, since E⟨w, x⟩ = 0.

    Parameters
    ----------
    weights
        One (w, γ) a row: γ is the last entry.
    covariance, target
        As in `least_squares_loss`.

    Examples
    --------
    >>> import torch
    >>> start = torch.tensor([[1.0, 0.0, 2**0.5], [5.0, 0.0, 2**0.5]])  # the length of w does not matter
    >>> batch_norm_least_squares_loss(start, torch.diag(torch.tensor([2.0, 8.0])), torch.ones(2))
    tensor([4., 4.])
    """
    w, scale = weights[:, :-1], weights[:, -1:]
    deviation = (w @ covariance * w).sum(-1, keepdim=True).sqrt()
    return least_squares_loss(scale * w / deviation, covariance, target)
