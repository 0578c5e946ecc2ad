"""Random biases, which mean field theory has and the usual schemes have not."""

import math

import torch
from torch import Generator, nn

from signalprop.nets.weight_layers import weight_layers


@torch.no_grad()
def normal_biases_(module: nn.Module, sigma_b2: float, generator: Generator) -> None:
    r"""Draw the bias of every linear and convolutional layer from :math:`N(0, \sigma_b^2)`, whatever its width.

    `initialize_` sets biases to zero, so call this after it.

    Parameters
    ----------
    module
        Any module; layers without a bias stay without.
    sigma_b2
        σ_b², a variance, not negative.
    generator
        Where the numbers come from; they are drawn on its device and then moved.

    Raises
    ------
    ValueError
        If σ_b² is negative or not finite.

    References
    ----------
    B. Poole, S. Lahiri, M. Raghu, J. Sohl-Dickstein, S. Ganguli, *Exponential expressivity in deep neural networks
    through transient chaos*, arXiv:1606.05340.

    Examples
    --------
    >>> from signalprop import stream
    >>> layer = nn.Linear(3, 4000)
    >>> normal_biases_(layer, 0.25, stream("doc", "biases"))
    >>> bool(abs(layer.bias.var() - 0.25) < 0.05)
    True
    """
    if not 0 <= sigma_b2 < math.inf:
        raise ValueError(f"sigma_b2 is a variance: finite and not negative, got {sigma_b2:g}")
    for layer in weight_layers(module).values():
        if layer.bias is not None:
            draw = torch.empty(layer.bias.shape, dtype=layer.bias.dtype, device=generator.device)
            layer.bias.copy_(draw.normal_(0, math.sqrt(sigma_b2), generator=generator))
