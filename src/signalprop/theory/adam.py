r"""Adam, step by step, for a given sequence of gradients.

References
----------
D. Kingma, J. Ba, *Adam: a method for stochastic optimization*, arXiv:1412.6980, algorithm 1.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def adam_path(
    gradients: Float[Tensor, "steps *shape"],
    lr: float,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
) -> Float[Tensor, "steps *shape"]:
    r"""Return where a weight that starts at 0 is after each step, the sum of :math:`-η\,\hat m/(\sqrt{\hat v} + ε)`.

    :math:`\hat m` and :math:`\hat v` are the averages of g and g² with weights :math:`β^{k-i}`, the newest largest.
    With ε = 0 the path is the same for c·g, c > 0, and the first step is −η sign g.

    Parameters
    ----------
    gradients
        One a step, not zero if ε = 0.
    lr, beta1, beta2, eps
        η, β₁, β₂ and ε.

    Examples
    --------
    >>> adam_path(torch.tensor([[1e-3, -5.0]]), 0.1, eps=0.0).tolist()
    [[-0.10000000149011612, 0.10000000149011612]]
    """
    k = torch.arange(len(gradients), dtype=gradients.dtype)
    ages = k.unsqueeze(1) - k

    def averages(values: Tensor, beta: float) -> Tensor:
        weights = torch.where(ages >= 0, beta ** ages.clamp(min=0), 0.0).to(values.device)
        weights = weights / weights.sum(1, keepdim=True)
        return (weights @ values.flatten(1)).view(values.shape)

    steps = averages(gradients, beta1) / (averages(gradients.square(), beta2).sqrt() + eps)
    path: Tensor = -lr * steps.cumsum(0)
    return path
