"""What normalizers share: means and variances over some axes, and one scale and shift for each feature."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn


def moments(x: Tensor, axes: Iterable[int]) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance over some axes, which stay with length 1.

    Examples
    --------
    >>> mean, variance = moments(torch.tensor([[1.0, 3.0], [2.0, 2.0]]), [1])
    >>> mean.tolist(), variance.tolist()
    ([[2.0], [2.0]], [[1.0], [0.0]])
    """
    axes = tuple(axes)
    mean = x.mean(axes, keepdim=True)
    return mean, (x - mean).square().mean(axes, keepdim=True)


def per_feature(parameter: Float[Tensor, " features"], ndim: int) -> Tensor:
    """Return a vector of features as [1, features, 1, …] of so many axes.

    Examples
    --------
    >>> per_feature(torch.ones(3), 4).shape
    torch.Size([1, 3, 1, 1])
    """
    return parameter.view(1, -1, *[1] * (ndim - 2))


class FeatureAffine(nn.Module):
    """One scale γ (``weight``, at first 1) and shift β (``bias``, at first 0) for each feature, if there is to be one.

    Parameters
    ----------
    features
        Length of the second axis of what comes in.
    eps
        ε ≥ 0, added to variances.
    affine
        Whether there are γ and β.
    device, dtype
        Of the parameters (None: torch's default type).

    Raises
    ------
    ValueError
        If the features are less than one or ε is negative; when called, if the input has other features.
    """

    def __init__(
        self, features: int, *, eps: float, affine: bool, device: torch.device | str, dtype: torch.dtype | None
    ) -> None:
        super().__init__()
        if features < 1 or eps < 0:
            raise ValueError(f"features must be at least 1 and eps not negative, got {features} and {eps:g}")
        self.features, self.eps = features, eps
        one = torch.ones(features, device=device, dtype=dtype)
        self.weight = nn.Parameter(one) if affine else None
        self.bias = nn.Parameter(torch.zeros_like(one)) if affine else None

    def affine(self, normalized: Tensor) -> Tensor:
        """Return γ x̂ + β, or x̂ where there are none."""
        if self.weight is None or self.bias is None:
            return normalized
        return per_feature(self.weight, normalized.ndim) * normalized + per_feature(self.bias, normalized.ndim)

    def check(self, x: Tensor, positions: bool = False) -> None:
        """Raise a ValueError unless x is [batch, features, …], with more than one position where they are averaged."""
        name = type(self).__name__
        if x.ndim < 2 or x.shape[1] != self.features:
            raise ValueError(f"{name} takes [batch, {self.features}, …], got shape {list(x.shape)}")
        if positions and x.shape[2:].numel() < 2:
            raise ValueError(
                f"{name} averages over positions and takes [batch, {self.features}, positions…] with two or more,"
                f" got shape {list(x.shape)}"
            )

    def extra_repr(self) -> str:
        """Return the number of features, ε and whether there are γ and β."""
        return f"{self.features}, eps={self.eps:g}, affine={self.weight is not None}"
