r"""Batch normalization without skip connections: it fixes the signal and makes the gradient explode.

References
----------
G. Yang, J. Pennington, V. Rao, J. Sohl-Dickstein, S. Schoenholz, *A mean field theory of batch normalization*,
arXiv:1902.08129. Both laws are derived in `batch_norm_gradient_growth`.
"""

from jaxtyping import Float
from torch import Tensor

from signalprop.theory.activations import ActivationLike, activation
from signalprop.theory.gains import gain


def batch_norm_gradient_growth(act: ActivationLike = "relu", batch: int | None = None) -> float:
    r"""Return by how much one layer φ(BN(W x)) multiplies the squared gradient on its way back, at infinite width.

    **Large batches**, any φ. The signal BN(W x) is a standard Gaussian, so Wx has the batch variance
    :math:`σ_w^2 \mathrm{Var}\,φ(z)`: the offset :math:`E φ` is the same for the batch and BN removes it. BN divides the
    gradient by that standard deviation (what it projects out is one part in B), W multiplies its square by σ_w² and φ
    by :math:`E φ'^2`. Together

    .. math:: \frac{E\,φ'(z)^2}{\mathrm{Var}\,φ(z)} \ge 1,

    by Poincaré's inequality for a Gaussian, with equality for affine φ alone. ReLU: ½ / (½ − 1/(2π)) = π/(π − 1).

    **Linear, batch of B.** Over the batch a row of Wx is an isotropic Gaussian vector in the B − 1 dimensions that sum
    to 0, with :math:`\|Wx\|^2 = σ_w^2 \frac{B}{B-1} χ^2_{B-1}`. BN divides the gradient by :math:`\|Wx\|/\sqrt B`,
    where :math:`E\,1/χ^2_{B-1} = 1/(B-3)`, and projects one of the B − 1 dimensions out. The factors
    :math:`\frac{B-1}{B-3} \cdot \frac{B-2}{B-1}` make :math:`\frac{B-2}{B-3}`. With three samples or fewer the
    expectation is infinite; at four it is finite, but its tails are heavy.

    Parameters
    ----------
    act
        An activation's name, an `Activation` or a callable (`activation`).
    batch
        The batch size B > 3 for ``linear``; None for the limit B → ∞, the only one known for other activations (the
        excess at finite B is of order 1/B).

    Returns
    -------
    float
        The factor of the mean squared gradient for one of many layers (BN with scale 1, shift 0 and ε = 0), whatever
        σ_w². The first and last layer have other ones, since what arrives there is not yet centred over the batch.

    Raises
    ------
    ValueError
        If the batch is 3 or less, or is given for another activation than ``linear``; if φ is constant.

    Examples
    --------
    >>> f"{batch_norm_gradient_growth('relu'):.11f} {batch_norm_gradient_growth('relu') ** 100:.3g}"
    '1.46694220692 4.38e+16'
    >>> batch_norm_gradient_growth("linear", batch=8)
    1.2
    """
    phi = activation(act)
    if batch is None:
        return (gain(phi, "centred") / gain(phi, "backward")) ** 2
    if phi.name != "linear":
        raise ValueError(f"no law at a finite batch for {phi.name}; leave batch out for the limit of large batches")
    if batch <= 3:
        raise ValueError(f"batch must exceed 3, where the mean squared gradient becomes infinite, got {batch}")
    return (batch - 2) / (batch - 3)


def batch_norm_gradient_square(
    gradient: Float[Tensor, "samples *features"],
    normalized: Float[Tensor, "samples *features"],
    variance: Float[Tensor, " *features"],
    weight: Float[Tensor, " *features"] | float = 1.0,
    eps: float = 0.0,
) -> Float[Tensor, " *features"]:
    r"""Return the square of what batch normalization leaves of a gradient, feature by feature.

    With g the gradient at the output of a feature, over its m samples,

    .. math:: \frac{γ^2}{σ^2 + ε} \left(\|g\|^2 - \frac{⟨1, g⟩^2}{m}
        - \left(1 + \frac{ε}{σ^2 + ε}\right) \frac{⟨\hat y, g⟩^2}{m}\right)

    is the squared norm of the gradient at its input: the components along 1 and ŷ are taken out. For ε > 0 the length
    of ŷ is :math:`\|\hat y\|^2 = m σ^2/(σ^2 + ε)`, so that the last projection takes out a little too little.

    Parameters
    ----------
    gradient
        g, with respect to γŷ + β.
    normalized
        ŷ = (y − μ)/√(σ² + ε), before γ and β.
    variance
        σ² of y over the m samples (divided by m).
    weight
        γ.
    eps
        ε.

    References
    ----------
    With "≤" in S. Santurkar, D. Tsipras, A. Ilyas, A. Madry, arXiv:1805.11604, theorem 4.1, for ε = 0.

    Examples
    --------
    >>> import torch
    >>> y = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    >>> batch_norm_gradient_square(torch.tensor([0.5, 1.0]), y, torch.tensor(1.0)).item()  # two samples leave nothing
    0.0
    """
    samples = len(gradient)
    along_one = gradient.sum(0) ** 2 / samples
    along_normalized = (gradient * normalized).sum(0) ** 2 / samples
    kept = (gradient**2).sum(0) - along_one - (1 + eps / (variance + eps)) * along_normalized
    return weight**2 / (variance + eps) * kept
