r"""Batch normalization, with its backward pass by hand.

References
----------
S. Ioffe, C. Szegedy, *Batch normalization*, arXiv:1502.03167.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from signalprop.nets.normalizers.statistics import FeatureAffine, moments, per_feature


class BatchNorm(FeatureAffine):
    r"""Each feature minus its mean over the batch (and positions), divided by its standard deviation there.

    .. math:: \hat x = \frac{x - μ}{\sqrt{σ^2 + ε}}, \qquad y = γ \hat x + β,

    with the biased variance σ². In train mode μ and σ² are those of the batch, and running averages follow them,
    :math:`r \leftarrow (1 - a) r + a s` with the unbiased variance for s; in eval mode they take their place.

    Parameters
    ----------
    features
        Length of the second axis.
    eps
        ε ≥ 0.
    momentum
        a in [0, 1], the weight of a new batch (one minus what optimizers call momentum).
    affine
        Whether there are γ and β.
    device, dtype
        Of parameters and running averages (None: torch's default type).

    Raises
    ------
    ValueError
        If a number is out of its range; when called, if the input has other features or, in train mode, there is one
        value a feature.

    Examples
    --------
    >>> norm = BatchNorm(2, eps=0.0, momentum=0.1, affine=True)
    >>> norm(torch.tensor([[1.0, 5.0], [3.0, 1.0]]))
    tensor([[-1.,  1.],
            [ 1., -1.]], grad_fn=<AddBackward0>)
    >>> norm.running_mean, norm.running_var
    (tensor([0.2000, 0.3000]), tensor([1.1000, 1.7000]))
    """

    running_mean: Tensor
    running_var: Tensor

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
        super().__init__(features, eps=eps, affine=affine, device=device, dtype=dtype)
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum must lie in [0, 1], got {momentum:g}")
        self.momentum = momentum
        self.register_buffer("running_mean", torch.zeros(features, device=device, dtype=dtype))
        self.register_buffer("running_var", torch.ones(features, device=device, dtype=dtype))

    def forward(self, x: Float[Tensor, "batch features *positions"]) -> Float[Tensor, "batch features *positions"]:
        """Return γ x̂ + β, shape as `x`."""
        self.check(x)
        mean, variance = self.statistics(x)
        return self.affine((x - mean) / (variance + self.eps).sqrt())

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance of each feature, [1, features, 1, …]; in train mode the averages follow them."""
        if not self.training:
            return per_feature(self.running_mean, x.ndim), per_feature(self.running_var, x.ndim)
        count = x.numel() // self.features
        if count < 2:
            raise ValueError(f"{type(self).__name__} in train mode needs two values a feature, got {list(x.shape)}")
        mean, variance = moments(x, _all_but_features(x))
        with torch.no_grad():
            # not lerp_: vmap cannot batch it
            self.running_mean.mul_(1 - self.momentum).add_(mean.flatten(), alpha=self.momentum)
            self.running_var.mul_(1 - self.momentum).add_(variance.flatten(), alpha=self.momentum * count / (count - 1))
        return mean, variance


def batch_norm_backward(
    gradient: Float[Tensor, "batch features *positions"],
    x: Float[Tensor, "batch features *positions"],
    weight: Float[Tensor, " features"],
    eps: float,
) -> tuple[
    Float[Tensor, "batch features *positions"],
    Float[Tensor, " features"],
    Float[Tensor, " features"],
]:
    r"""Return the gradients of a loss with respect to x, γ and β of a batch normalization in train mode.

    With g = ∂ℓ/∂y, averages ⟨·⟩ over the m values of a feature, and σ² + ε for ε > 0,

    .. math:: \frac{∂ℓ}{∂x} = \frac{γ}{\sqrt{σ^2 + ε}}\,(g - ⟨g⟩ - \hat x ⟨g \hat x⟩), \qquad
        \frac{∂ℓ}{∂γ} = \sum g \hat x, \qquad \frac{∂ℓ}{∂β} = \sum g:

    the gradient loses its components along 1 and along x̂, since μ and σ take away what a shift or a scale of the batch
    would do. At ε = 0 it is a projection, so that for each feature

    .. math:: \left\|\frac{∂ℓ}{∂x}\right\|^2 = \frac{γ^2}{σ^2}
        \left(\|g\|^2 - \frac{⟨1, g⟩^2}{m} - \frac{⟨\hat x, g⟩^2}{m}\right),

    here with inner products ⟨·, ·⟩; for ε > 0 the last term has the factor 1 + ε/(σ² + ε), and σ² + ε stands in front.

    Parameters
    ----------
    gradient
        g, shape [batch, features, …].
    x
        What went in, of the same shape.
    weight
        γ.
    eps
        ε.

    Returns
    -------
    tuple of Tensor
        ∂ℓ/∂x of the shape of x, ∂ℓ/∂γ and ∂ℓ/∂β, one a feature.

    Raises
    ------
    ValueError
        If the shapes do not agree.

    Examples
    --------
    >>> x = torch.tensor([[0.0], [1.0], [5.0]])
    >>> shift = batch_norm_backward(torch.ones(3, 1), x, torch.ones(1), 0.0)[0]
    >>> bool(shift.abs().max() < 1e-7)
    True
    """
    if gradient.shape != x.shape or weight.shape != x.shape[1:2]:
        raise ValueError(
            "gradient must have the shape of x and weight one entry a feature; got"
            f" {list(gradient.shape)}, {list(x.shape)} and {list(weight.shape)}"
        )
    axes = _all_but_features(x)
    mean, variance = moments(x, axes)
    inverse = (variance + eps).rsqrt()
    normalized = (x - mean) * inverse
    along_one = gradient.mean(axes, keepdim=True)
    along_x = (gradient * normalized).mean(axes, keepdim=True)
    to_x = per_feature(weight, x.ndim) * inverse * (gradient - along_one - normalized * along_x)
    return to_x, (gradient * normalized).sum(axes), gradient.sum(axes)


def _all_but_features(x: Tensor) -> list[int]:
    return [axis for axis in range(x.ndim) if axis != 1]
