r"""Layer, instance and group normalization: statistics of one example alone, alike in training and evaluation.

References
----------
J. Ba, J. Kiros, G. Hinton, *Layer normalization*, arXiv:1607.06450; D. Ulyanov, A. Vedaldi, V. Lempitsky, *Instance
normalization*, arXiv:1607.08022; Y. Wu, K. He, *Group normalization*, arXiv:1803.08494.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from signalprop.nets.normalizers.statistics import FeatureAffine, moments


class LayerNorm(nn.Module):
    r"""The last axes of every example minus their mean, divided by their standard deviation.

    Images in one piece are normalized over channels, rows and columns jointly; with channels last (or on [batch,
    features]) over the features alone.

    Parameters
    ----------
    shape
        Lengths of the last axes, over which the statistics are taken.
    eps
        ε ≥ 0, added to variances.
    affine
        Whether there are γ (``weight``) and β (``bias``), of this shape.
    device, dtype
        Of the parameters (None: torch's default type).

    Raises
    ------
    ValueError
        If the shape is empty or not positive or ε negative; when called, if the input ends in another shape.

    Examples
    --------
    >>> norm = LayerNorm(2, eps=0.0, affine=False)
    >>> norm(torch.tensor([[1.0, 5.0], [3.0, 1.0]]))
    tensor([[-1.,  1.],
            [ 1., -1.]])
    """

    def __init__(
        self,
        shape: int | Sequence[int],
        *,
        eps: float,
        affine: bool,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        if not self.shape or min(self.shape) < 1 or eps < 0:
            raise ValueError(f"shape must be positive lengths and eps not negative, got {shape} and {eps:g}")
        self.eps = eps
        one = torch.ones(self.shape, device=device, dtype=dtype)
        self.weight = nn.Parameter(one) if affine else None
        self.bias = nn.Parameter(torch.zeros_like(one)) if affine else None

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return γ x̂ + β, shape as `x`."""
        if x.shape[-len(self.shape) :] != self.shape:
            raise ValueError(f"LayerNorm takes shapes that end in {list(self.shape)}, got {list(x.shape)}")
        mean, variance = moments(x, range(-len(self.shape), 0))
        normalized: Tensor = (x - mean) / (variance + self.eps).sqrt()
        return normalized if self.weight is None or self.bias is None else self.weight * normalized + self.bias

    def extra_repr(self) -> str:
        """Return the shape, ε and whether there are γ and β."""
        return f"{self.shape}, eps={self.eps:g}, affine={self.weight is not None}"


class InstanceNorm(FeatureAffine):
    r"""Each feature of each example minus its mean over the positions, divided by its standard deviation there.

    Parameters
    ----------
    features
        Length of the second axis.
    eps
        ε ≥ 0, added to variances.
    affine
        Whether there are γ and β, one a feature.
    device, dtype
        Of the parameters (None: torch's default type).

    Raises
    ------
    ValueError
        If a number is out of its range; when called, if the input has other features or fewer than two positions.

    Examples
    --------
    >>> norm = InstanceNorm(2, eps=0.0, affine=False)
    >>> norm(torch.tensor([[[1.0, 5.0], [30.0, 10.0]]]))
    tensor([[[-1.,  1.],
             [ 1., -1.]]])
    """

    def __init__(
        self,
        features: int,
        *,
        eps: float,
        affine: bool,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(features, eps=eps, affine=affine, device=device, dtype=dtype)

    def forward(self, x: Float[Tensor, "batch features *positions"]) -> Float[Tensor, "batch features *positions"]:
        """Return γ x̂ + β, shape as `x`."""
        self.check(x, positions=True)
        mean, variance = moments(x, range(2, x.ndim))
        return self.affine((x - mean) / (variance + self.eps).sqrt())


class GroupNorm(FeatureAffine):
    r"""Groups of neighbouring features of one example, with all positions: minus their mean, over their deviation.

    One group is layer normalization over features and positions together (with γ and β for features only), as many
    groups as features are instance normalization.

    Parameters
    ----------
    groups
        Their number, a divisor of the features.
    features
        Length of the second axis.
    eps
        ε ≥ 0, added to variances.
    affine
        Whether there are γ and β, one a feature.
    device, dtype
        Of the parameters (None: torch's default type).

    Raises
    ------
    ValueError
        If a number is out of its range; when called, if the input has other features.

    Examples
    --------
    >>> norm = GroupNorm(2, 4, eps=0.0, affine=False)
    >>> norm(torch.tensor([[1.0, 3.0, 10.0, 30.0]]))
    tensor([[-1.,  1., -1.,  1.]])
    """

    def __init__(
        self,
        groups: int,
        features: int,
        *,
        eps: float,
        affine: bool,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(features, eps=eps, affine=affine, device=device, dtype=dtype)
        if groups < 1 or features % groups:
            raise ValueError(f"groups must divide the {features} features, got {groups}")
        self.groups = groups

    def forward(self, x: Float[Tensor, "batch features *positions"]) -> Float[Tensor, "batch features *positions"]:
        """Return γ x̂ + β, shape as `x`."""
        self.check(x)
        grouped = x.unflatten(1, (self.groups, -1)).flatten(2)
        mean, variance = moments(grouped, [2])
        return self.affine(((grouped - mean) / (variance + self.eps).sqrt()).view_as(x))

    def extra_repr(self) -> str:
        """Return the number of groups and what `FeatureAffine` has."""
        return f"{self.groups}, {super().extra_repr()}"
