"""Data-dependent initialization: LSUV, which looks at one batch."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from signalprop.nets.orthogonal import orthogonal_
from signalprop.nets.weight_layers import WeightLayer, fill_


def lsuv_(
    network: nn.Module,
    layers: Sequence[WeightLayer],
    gain: float,
    generator: Generator,
    *,
    x: Float[Tensor, "batch ..."],
    tolerance: float,
    max_iterations: int,
) -> None:
    r"""Fill the layers with orthogonal weights, then scale each, in the order they run, to outputs of variance gain².

    The variance is over all entries of a layer's output on the batch: examples, units and positions. One pass does it:
    each layer divides its weights by the standard deviation of what it returns and goes on with its new output. Since
    biases are zero that is exact at once; only a weight that does not scale (one divided by its own norm) or a
    tolerance below the rounding of the dtype keeps a layer from converging.

    Parameters
    ----------
    network, layers, gain, generator
        As in `initialize_`. The network stays in its mode: in train mode batch normalization uses this batch, and its
        running statistics see it once.
    x
        A batch of at least two different examples, on the device of the network.
    tolerance
        Largest relative error of the variance, |Var/gain² − 1|.
    max_iterations
        How often a layer may be scaled; then it is an error. (The authors' code goes on after 10 scalings, and is
        content with standard deviations within 0.1 of 1.)

    Raises
    ------
    ValueError
        If the batch has no two different examples or is not finite; if a layer's output is constant (the layer or all
        units before it are dead) or not finite; if a layer does not run, runs twice, or does not converge. What was
        filled until then stays filled.

    References
    ----------
    D. Mishkin, J. Matas, *All you need is a good init*, arXiv:1511.06422, and github.com/ducha-aiki/LSUV-pytorch.
    """
    if tolerance <= 0 or max_iterations < 1:
        raise ValueError(
            f"tolerance must be positive and max_iterations at least 1, got {tolerance:g} and {max_iterations}"
        )
    if not x.isfinite().all():
        raise ValueError("x has entries that are NaN or infinite; LSUV needs a finite batch")
    if len(x) < 2 or bool((x == x[:1]).all()):
        raise ValueError(f"all {len(x)} examples of x are the same; LSUV needs a batch that varies")
    orthogonal_(network, layers, gain, generator)
    names = {layer: name for name, layer in network.named_modules() if layer in set(layers)}
    waiting = dict(names)

    def settle(layer: WeightLayer, inputs: tuple[Any, ...], output: Tensor, *, name: str) -> Tensor:
        if waiting.pop(layer, None) is None:
            raise ValueError(f"{name} runs more than once in a pass; LSUV scales layers one after the other")
        for _ in range(max_iterations + 1):
            variance = output.var(correction=0).item() / gain**2
            if variance == 0:
                raise ValueError(
                    f"the output of {name} is constant: it, or all units before it, are dead on this batch"
                )
            if not 0 < variance < float("inf"):
                raise ValueError(f"the output of {name} has entries that are NaN or infinite on this batch")
            if abs(variance - 1) <= tolerance:
                return output
            fill_({layer: layer.weight * variance**-0.5})
            output = layer.forward(*inputs)
        raise ValueError(
            f"{name} has variance {variance:.3g} · gain² after {max_iterations} scalings; its weights do not scale, or"
            f" the tolerance {tolerance:g} is below rounding"
        )

    hooks = [layer.register_forward_hook(partial(settle, name=name)) for layer, name in names.items()]
    try:
        with torch.no_grad():
            network(x)
    finally:
        for hook in hooks:
            hook.remove()
    if waiting:
        raise ValueError(f"{next(iter(waiting.values()))} did not run on x, so that its output has no variance to set")
