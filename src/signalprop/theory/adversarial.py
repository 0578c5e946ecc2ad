r"""What a step along the sign of the gradient does to a loss: the fast gradient sign method, in powers of ε.

References
----------
I. Goodfellow, J. Shlens, C. Szegedy, *Explaining and harnessing adversarial examples*, arXiv:1412.6572.
"""

from jaxtyping import Float
from torch import Tensor


def sign_step_increase(
    gradient: Float[Tensor, "*batch inputs"], epsilon: float, curvature: float | Float[Tensor, "*batch"] = 0.0
) -> Float[Tensor, "*batch"]:
    r"""Return the increase :math:`ε\|g\|_1 + \tfrac12 ε^2 s^\top H s` of a loss along :math:`ε s`, with s = sign g.

    No step of that size in the maximum norm does more to first order.

    Parameters
    ----------
    gradient
        g, of the loss of each example with respect to its inputs.
    epsilon
        ε ≥ 0.
    curvature
        :math:`s^\top H s`, H the Hessian; 0 for the first order alone.

    Examples
    --------
    >>> import torch
    >>> sign_step_increase(torch.tensor([3.0, -4.0]), 0.5)
    tensor(3.5000)
    """
    return epsilon * gradient.abs().sum(-1) + epsilon**2 / 2 * curvature
