"""Initializers: one function that fills the weights of a network in place, by the name of a scheme."""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn


def initialize_(module: nn.Module, scheme: str, *, generator: Generator, gain: float = 1.0) -> None:
    r"""Draw the weights of every linear layer, and set the biases to zero.

    Parameters
    ----------
    module
        Any module; its `torch.nn.Linear` layers are filled, in the order of `module.modules()`.
    scheme
        ``"lecun"``: independent :math:`N(0, \sigma_w^2 / \mathrm{fan\_in})` with :math:`\sigma_w` the gain
        (LeCun, Bottou, Orr and Müller, *Efficient BackProp*, 1998, with gain 1).
    generator
        Where the numbers come from, on the device of the weights, such as ``stream(page, claim, replicate)``.
    gain
        σ_w, a standard deviation.

    Raises
    ------
    ValueError
        If the scheme is unknown, the gain not positive and finite, or there is no linear layer, or a matrix of another
        kind of layer.

    Examples
    --------
    >>> from signalprop import stream
    >>> layer = nn.Linear(400, 300)
    >>> initialize_(layer, "lecun", generator=stream("doc", "lecun"), gain=2.0)
    >>> bool(abs(layer.weight.var() * 400 - 4) < 0.2), bool((layer.bias == 0).all())
    (True, True)
    """
    if scheme not in _SCHEMES:
        raise ValueError(f"there is no scheme {scheme!r}; known: {', '.join(_SCHEMES)}")
    if not 0 < gain < math.inf:
        raise ValueError(f"gain must be positive and finite, got {gain:g}")
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    if not layers:
        raise ValueError(f"{type(module).__name__} has no linear layer to initialize")
    known = {id(layer.weight) for layer in layers}
    if other := [name for name, weight in module.named_parameters() if weight.ndim > 1 and id(weight) not in known]:
        raise ValueError(f"{other[0]} belongs to no linear layer, and only those can be initialized; nothing was drawn")
    with torch.no_grad():
        for layer in layers:
            _SCHEMES[scheme](layer.weight, gain, generator)
            if layer.bias is not None:
                layer.bias.zero_()


def _lecun_(weight: Tensor, gain: float, generator: Generator) -> None:
    weight.normal_(0, gain / weight.shape[1] ** 0.5, generator=generator)


_SCHEMES: dict[str, Callable[[Tensor, float, Generator], None]] = {"lecun": _lecun_}
