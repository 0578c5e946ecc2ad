"""The smallest deep networks, h = w_L ⋯ w_1 on the input 1, and their squared error against the target 1."""

from jaxtyping import Float
from torch import Tensor


def tied_chain_loss(w: Float[Tensor, "..."], depth: int) -> Float[Tensor, "..."]:
    """Return (w^L − 1)², the loss of a chain that uses one weight L times, for each w of any shape.

    The survey draws it for L = 7 (section 4.1), without the ½ of `untied_chain_loss`.
    """
    return (w**depth - 1) ** 2


def untied_chain_loss(weights: Float[Tensor, "... depth"]) -> Float[Tensor, "..."]:
    """Return ½(w_1 ⋯ w_L − 1)² for chains [..., L], of shape [...]."""
    return (weights.prod(-1) - 1) ** 2 / 2
