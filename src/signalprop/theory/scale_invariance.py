r"""Weights whose scale does not matter, such as those in front of a normalizer: F(aw) = F(w) for every a > 0.

Then :math:`∇F(aw) = ∇F(w)/a`, and Euler's relation says :math:`⟨w, ∇F(w)⟩ = 0`: a step of gradient descent stands at
a right angle to w.

References
----------
S. Arora, Z. Li, K. Lyu, *Theoretical analysis of auto rate-tuning by batch normalization*, arXiv:1812.03981. All laws
follow from the two lines above.
"""

import torch
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


def decay_as_rate(lr: float, decay: float, steps: int) -> Tensor:
    r"""Return the rates, one a step, with which plain descent goes as descent with weight decay: they grow.

    With decay, :math:`w_{k+1} = (1 - ηλ) w_k - η∇F(w_k)`. Divide by :math:`(1 - ηλ)^{k+1}`: the quotients
    :math:`u_k = w_k/(1 - ηλ)^k` have the same direction, hence the same loss, and obey
    :math:`u_{k+1} = u_k - η(1 - ηλ)^{-(2k+1)} ∇F(u_k)`.

    Parameters
    ----------
    lr, decay
        η and λ, of plain gradient descent (no momentum), with ηλ < 1.
    steps
        Number of rates, float64.

    Raises
    ------
    ValueError
        If ηλ ≥ 1.

    References
    ----------
    Z. Li, S. Arora, *An exponential learning rate schedule for deep learning*, arXiv:1910.07454.

    Examples
    --------
    >>> decay_as_rate(0.5, 1.0, 3).tolist()
    [1.0, 4.0, 16.0]
    """
    if lr * decay >= 1:
        raise ValueError(f"the decay must leave something of the weight: lr · decay is {lr * decay:g}, at least 1")
    k = torch.arange(steps, dtype=torch.float64)
    return lr * (1 - lr * decay) ** -(2 * k + 1)
