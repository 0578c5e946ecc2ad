"""How far the distribution of what a layer gives moves from one state of a network to the next."""

from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from signalprop.measure.checks import check_examples, first_tensor
from signalprop.measure.hooks import innermost_calls
from signalprop.streams import global_generators_kept

Moments = dict[str, Float[Tensor, "2 features"]]


def feature_moments(module: nn.Module, x: Shaped[Tensor, "batch *shape"]) -> Moments:
    """Return mean and standard deviation of every feature of what each innermost call gives, over a batch.

    The module is left as it was: running statistics do not move, and random layers draw from a copy of the global
    generator. Modes are kept.

    Parameters
    ----------
    module
        Any module.
    x
        A batch of inputs.

    Returns
    -------
    dict
        By the name of the call (``layer1``, ``act1``, …) a tensor [2, features]: means in the first row, standard
        deviations over the batch and positions (divided by their number) in the second.

    Raises
    ------
    ValueError
        If an innermost module returns no floating-point tensor [batch, features, …].

    Examples
    --------
    >>> feature_moments(nn.Flatten(), torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    {'Flatten': tensor([[2., 5.],
            [1., 0.]])}
    """
    check_examples(x)
    found: Moments = {}

    def after(name: str, layer: nn.Module, output: Any) -> None:
        h = first_tensor(output)
        if h is None or h.ndim < 2:
            raise ValueError(f"{name} returned no floating-point tensor [batch, features, …]")
        axes = [axis for axis in range(h.ndim) if axis != 1]
        found[name] = torch.stack([h.mean(axes), h.var(axes, correction=0).sqrt()])

    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    run = partial(torch.func.functional_call, module, buffers) if buffers else module
    with torch.no_grad(), global_generators_kept(x), innermost_calls(module, after):
        run(x)
    return found


def distribution_drift(before: Moments, after: Moments) -> dict[str, float]:
    r"""Return how far each call's features have moved, in units of their spread before.

    .. math:: \left(\frac{\sum_i (μ_i' - μ_i)^2 + (σ_i' - σ_i)^2}{\sum_i σ_i^2}\right)^{1/2}

    over the features i. A summand is the squared Wasserstein distance of two normal distributions with these moments.

    Parameters
    ----------
    before, after
        From `feature_moments` of one network in two states.

    Raises
    ------
    ValueError
        If the two do not hold the same calls.

    Examples
    --------
    >>> before = {"act1": torch.tensor([[0.0, 0.0], [1.0, 1.0]])}
    >>> distribution_drift(before, {"act1": torch.tensor([[1.0, 0.0], [1.0, 2.0]])})
    {'act1': 1.0}
    """
    if before.keys() != after.keys():
        raise ValueError(f"the two hold different calls: {[*before]} and {[*after]}")
    return {
        name: ((after[name] - moments).square().sum() / moments[1].square().sum()).sqrt().item()
        for name, moments in before.items()
    }
