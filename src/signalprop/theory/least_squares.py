r"""Curvature of linear least squares: what centring and scaling the features do to it.

The loss is half the mean squared error over the examples, so that its Hessian is the matrix of second moments
:math:`H = \mathrm{E}\, x x^\top = Σ + μ μ^\top`, with one more feature that is 1 where there is an intercept.

References
----------
Y. LeCun, L. Bottou, G. Orr, K.-R. Müller, *Efficient BackProp*, 1998, sections 4.3 and 5; J. Baik,
J. Silverstein, *Eigenvalues of large sample covariance matrices of spiked population models*, Journal of Multivariate
Analysis 97 (2006) 1382.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def least_squares_curvature(
    covariance: Float[Tensor, "rows columns"],
    mean: Float[Tensor, " features"],
    *,
    centred: bool = False,
    scaled: bool = False,
    intercept: bool = False,
) -> tuple[float, float]:
    r"""Return the smallest and the largest eigenvalue of the Hessian of linear least squares.

    Parameters
    ----------
    covariance, mean
        Σ and μ of the features, over the examples.
    centred
        Whether μ is first subtracted from the features.
    scaled
        Whether they are then divided by their standard deviations.
    intercept
        Whether there is an intercept, a feature that is 1 and stays so.

    Raises
    ------
    ValueError
        If the shapes do not fit, or a variance is not positive where it is divided by.

    Examples
    --------
    >>> covariance, mean = torch.diag(torch.tensor([1.0, 4.0])), torch.tensor([0.0, 3.0])
    >>> least_squares_curvature(covariance, mean), least_squares_curvature(covariance, mean, centred=True, scaled=True)
    ((1.0, 13.0), (1.0, 1.0))
    """
    features = len(mean)
    if mean.ndim != 1 or covariance.shape != (features, features):
        raise ValueError(f"covariance and mean do not fit: {list(covariance.shape)} and {list(mean.shape)}")
    covariance, mean = covariance.double(), torch.zeros_like(mean).double() if centred else mean.double()
    if scaled:
        if not bool((covariance.diagonal() > 0).all()):
            raise ValueError("a feature without variance cannot be scaled to variance 1")
        inverse = covariance.diagonal().rsqrt()
        covariance, mean = inverse.outer(inverse) * covariance, inverse * mean
    if intercept:
        covariance = torch.block_diag(covariance, covariance.new_zeros(1, 1))
        mean = torch.cat([mean, mean.new_ones(1)])
    eigenvalues = torch.linalg.eigvalsh(covariance + mean.outer(mean))
    return eigenvalues[0].item(), eigenvalues[-1].item()


def gaussian_design_curvature(features: int, examples: int, mean: float = 0.0) -> tuple[float, float]:
    r"""Return the same for N examples of d independent normal features N(m, 1), without intercept, as both grow.

    With r = d/N the bulk of the sample eigenvalues fills :math:`[(1-\sqrt r)^2, (1+\sqrt r)^2]` (Marchenko and Pastur).
    The common mean adds one population eigenvalue :math:`ℓ = 1 + d m^2`; if :math:`ℓ > 1 + \sqrt r` it shows in the
    sample as :math:`ℓ (1 + r/(ℓ - 1))` (Baik and Silverstein). Features that are standardized with their sample means
    and deviations, whatever these were, have the edges of m = 0.

    Raises
    ------
    ValueError
        If there is no feature, or there are not more examples than features.

    Examples
    --------
    >>> gaussian_design_curvature(100, 400), gaussian_design_curvature(100, 400, mean=2.0)
    ((0.25, 2.25), (0.25, 401.250625))
    """
    if not 1 <= features < examples:
        raise ValueError(f"takes more examples than features, got {examples} and {features}")
    ratio = features / examples
    spike = features * mean**2
    largest = (1 + spike) * (1 + ratio / spike) if spike > ratio**0.5 else (1 + ratio**0.5) ** 2
    return (1 - ratio**0.5) ** 2, largest
