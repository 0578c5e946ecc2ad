"""Statistics of batch normalization, taken anew when training has ended."""

import torch
from jaxtyping import Shaped
from torch import Tensor, nn


def renew_statistics_(module: nn.Module, x: Shaped[Tensor, "examples *shape"], batch: int) -> None:
    """Replace the running statistics of all normalizers by plain averages over the batches of `x`, in place.

    Running statistics are an average over the last steps of training, during which the weights have moved. In a deep
    network they can be so far off that its error in evaluation mode says more of them than of the weights. Here the
    weights stand still: every normalizer with a ``momentum`` and a ``running_mean`` gets the mean over all batches of
    what it sees in training mode. Modes and momenta are kept.

    Parameters
    ----------
    module
        Any module, with `BatchNorm`, `SwitchNorm` or torch's own normalizers in it; without any, nothing happens.
    x
        Examples.
    batch
        How many a batch; a remainder that does not fill one is left out.

    Raises
    ------
    ValueError
        If there is a normalizer and `x` does not fill a batch.

    Examples
    --------
    >>> net = nn.Sequential(nn.BatchNorm1d(1))
    >>> renew_statistics_(net, torch.tensor([[0.0], [2.0], [4.0], [8.0]]), batch=2)
    >>> net[0].running_mean, net[0].running_var
    (tensor([3.5000]), tensor([5.]))
    """
    kept = [part for part in module.modules() if isinstance(getattr(part, "running_mean", None), Tensor)]
    if not kept:
        return
    batches = [part for part in x.split(batch) if len(part) == batch]
    if not batches:
        raise ValueError(f"{len(x)} examples do not fill a batch of {batch}")
    modes = {part: part.training for part in module.modules()}
    momenta = [part.momentum for part in kept]
    module.train()
    try:
        with torch.no_grad():
            for number, part_of_x in enumerate(batches, start=1):
                for part in kept:
                    part.momentum = 1 / number  # type: ignore[assignment]
                module(part_of_x)
    finally:
        for part, momentum in zip(kept, momenta, strict=True):
            part.momentum = momentum
        for part, training in modes.items():
            part.training = training
