"""Deep linear networks: products of independent random matrices, many networks at once."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from signalprop.theory.finite_width import check_widths


def random_linear_chain(
    widths: Sequence[int], sigma_w2: float, generators: Sequence[Generator]
) -> list[Float[Tensor, "networks _fan_out _fan_in"]]:
    r"""Draw the weights of M independent linear networks :math:`h_l = W_l h_{l-1}`.

    Parameters
    ----------
    widths
        n_0, …, n_L.
    sigma_w2
        σ_w²: the entries of W_l are independent :math:`N(0, \sigma_w^2 / n_{l-1})`.
    generators
        One a network.

    Returns
    -------
    list of Tensor
        W_1, …, W_L, each [M, n_l, n_{l-1}], float64.

    Raises
    ------
    ValueError
        If there are fewer than two widths, no generator, or σ_w² is not positive.

    Examples
    --------
    >>> from signalprop import stream
    >>> weights = random_linear_chain([3, 5, 2], 1.0, [stream("doc", "chain", r) for r in range(4)])
    >>> [tuple(w.shape) for w in weights]
    [(4, 5, 3), (4, 2, 5)]
    """
    check_widths(widths)
    if not generators:
        raise ValueError("give one generator for each network, such as stream(page, claim, replicate)")
    if sigma_w2 <= 0:
        raise ValueError(f"sigma_w2 must be positive, got {sigma_w2}")
    shapes = list(zip(widths[1:], widths[:-1], strict=True))
    sizes = [fan_out * fan_in for fan_out, fan_in in shapes]
    entries = torch.stack(
        [torch.randn(sum(sizes), generator=g, dtype=torch.float64, device=g.device) for g in generators]
    )
    return [
        layer.unflatten(1, shape) * (sigma_w2 / shape[1]) ** 0.5
        for layer, shape in zip(torch.split(entries, sizes, dim=1), shapes, strict=True)
    ]
