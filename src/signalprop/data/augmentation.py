"""Augmentation: other signals of the same class, made of those that are there."""

import torch
from jaxtyping import Float
from torch import Generator, Tensor


def augment_signals(
    x: Float[Tensor, "*batch samples"], *, shift: int, scale: float, noise: float, generator: Generator
) -> Float[Tensor, "*batch samples"]:
    """Return signals shifted round by up to some samples, made larger or smaller, and with white noise added.

    Each signal draws its own shift, one of −shift, …, shift, its own factor, uniform in 1 ± scale, and its own noise.

    Parameters
    ----------
    x
        Signals along the last axis; what leaves at one end comes in at the other.
    shift, scale, noise
        Largest shift in samples, largest relative change of size, standard deviation of the noise.
    generator
        On the device of `x`.

    Examples
    --------
    >>> from signalprop import stream
    >>> x = torch.arange(5.0)
    >>> augment_signals(x, shift=1, scale=0.0, noise=0.0, generator=stream("doc", "augment", 1)).tolist()
    [4.0, 0.0, 1.0, 2.0, 3.0]
    """
    size, samples = x.shape[:-1], x.shape[-1]
    shifts = torch.randint(-shift, shift + 1, size, generator=generator, device=x.device)
    places = (torch.arange(samples, device=x.device) - shifts.unsqueeze(-1)) % samples
    factor = 1 + scale * (2 * torch.rand(size, generator=generator, device=x.device, dtype=x.dtype) - 1)
    white = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    augmented: Tensor = factor.unsqueeze(-1) * x.gather(-1, places) + noise * white
    return augmented
