r"""Weights whose scale does not matter, such as those in front of a normalizer: F(aw) = F(w) for every a > 0.

Then :math:`∇F(aw) = ∇F(w)/a`, and Euler's relation says :math:`⟨w, ∇F(w)⟩ = 0`: a step of gradient descent stands at
a right angle to w.

References
----------
S. Arora, Z. Li, K. Lyu, *Theoretical analysis of auto rate-tuning by batch normalization*, arXiv:1812.03981. All laws
follow from the two lines above.
"""

from torch import Tensor


def scale_invariant_square(square: Tensor, gradient_square: Tensor, lr: float | Tensor, decay: float = 0.0) -> Tensor:
    r"""Return ‖w‖² after a step of gradient descent: :math:`(1 - ηλ)^2 \|w\|^2 + η^2 \|∇F\|^2`, by Pythagoras.

    Parameters
    ----------
    square, gradient_square
        ‖w‖² and ‖∇F‖² before the step; any shapes that go together.
    lr
        η, of plain gradient descent (no momentum), one for all or as these.
    decay
        λ of a weight decay λw, added to the gradient.

    Examples
    --------
    >>> import torch
    >>> scale_invariant_square(torch.tensor(4.0), torch.tensor(9.0), lr=1.0)
    tensor(13.)
    """
    return (1 - lr * decay) ** 2 * square + lr**2 * gradient_square


def rescaled_rate(lr: float, scale: float) -> float:
    r"""Return the rate at which a·w goes the way that w goes at η, a times as large: a²η.

    A step takes aw to :math:`aw - a^2η ∇F(w)/a = a(w - η∇F(w))`. So only :math:`η/\|w\|^2` matters.

    Examples
    --------
    >>> rescaled_rate(0.1, 10.0)
    10.0
    """
    return scale**2 * lr
