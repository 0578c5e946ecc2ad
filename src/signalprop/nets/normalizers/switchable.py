"""Switchable normalization: instance, layer and batch statistics, mixed by weights that are learned.

References
----------
P. Luo, J. Ren, Z. Peng, R. Zhang, J. Li, *Differentiable learning-to-normalize via switchable normalization*,
arXiv:1806.10779.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from signalprop.nets.normalizers.batch import BatchNorm
from signalprop.nets.normalizers.statistics import moments


class SwitchNorm(BatchNorm):
    r"""Minus a mixture of three means, divided by the root of a mixture of three variances.

    .. math:: \hat x = \frac{x - \sum_k w_k μ_k}{\sqrt{\sum_k w'_k σ_k^2 + ε}}, \qquad
        w = \mathrm{softmax}(λ), \quad w' = \mathrm{softmax}(λ'), \quad k = \text{instance, layer, batch},

    with ``mean_logits`` λ and ``variance_logits`` λ′, which start at zero: a third each. The batch statistics and their
    running averages are those of `BatchNorm`. (The authors' code takes the unbiased variance of an instance and biased
    ones for layer and batch; here all three are biased, as in the paper, and running averages unbiased as elsewhere.)

    Parameters
    ----------
    features, eps, momentum, affine, device, dtype
        As in `BatchNorm`.

    Raises
    ------
    ValueError
        As `BatchNorm` does; when called, if there are fewer than two positions.

    Examples
    --------
    >>> norm = SwitchNorm(2, eps=0.0, momentum=0.1, affine=False)
    >>> [tuple(p.shape) for p in norm.parameters()], norm(torch.rand(3, 2, 4)).shape
    ([(3,), (3,)], torch.Size([3, 2, 4]))
    """

    def __init__(
        self,
        features: int,
        *,
        eps: float,
        momentum: float,
        affine: bool,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(features, eps=eps, momentum=momentum, affine=affine, device=device, dtype=dtype)
        self.mean_logits = nn.Parameter(torch.zeros(3, device=device, dtype=dtype))
        self.variance_logits = nn.Parameter(torch.zeros(3, device=device, dtype=dtype))

    def forward(self, x: Float[Tensor, "batch features *positions"]) -> Float[Tensor, "batch features *positions"]:
        """Return γ x̂ + β, shape as `x`."""
        self.check(x, positions=True)
        parts = (moments(x, range(2, x.ndim)), moments(x, range(1, x.ndim)), self.statistics(x))
        mean_weights, variance_weights = self.mean_logits.softmax(0), self.variance_logits.softmax(0)
        mean = sum(w * mean for w, (mean, _) in zip(mean_weights, parts, strict=True))
        variance = sum(w * variance for w, (_, variance) in zip(variance_weights, parts, strict=True))
        return self.affine((x - mean) / (variance + self.eps).sqrt())
