r"""10,000 plain tanh layers from orthogonal weights, trained and frozen, 500 steps on one core.

The rate is the 0.1/L of 1,000 layers, carried over by the law 1/L. A cell is one network with its frozen twin. Rounding
is amplified by training, so that another CPU gives other losses: between seeds they differ by 0.05.
"""

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from signalprop.data import load_data
from signalprop.streams import stream
from signalprop.train import DeepClassifiers, fit_deep, tanh_classifiers, tenths_of_depth, with_constant

DEPTH, STEPS, LENGTH, RATE = 10_000, 500, 0.01, 0.1
GRID = {"replicate": list(range(8))}
WITHIN = {
    "number": [
        *("trained loss", "frozen loss", "trained accuracy", "frozen accuracy", "loss, all hidden weights reset"),
        *(f"{what} {tenth}" for what in ("change of tenth", "loss, reset tenth") for tenth in range(1, 11)),
    ]
}
FILES: list[str] = []
TOLERANCE = 0.1


def cell(replicate: int) -> Float[Tensor, " number"]:
    """Return losses and accuracies on the test part, and what happened to each tenth of the depth."""
    data = with_constant(load_data("mnist1d").standardized().flat())
    lr = torch.tensor([RATE / DEPTH])

    def networks() -> DeepClassifiers:
        source = stream("stored/plain_10000", "orthogonal", replicate)
        return tanh_classifiers(data, DEPTH, width=32, q=LENGTH, gain=None, scheme="orthogonal", generators=[source])

    def order() -> list[Generator]:
        return [stream("stored/plain_10000", "orthogonal, order", replicate)]

    still = fit_deep(networks(), data, steps=STEPS, batch=64, lr=lr, generators=order(), frozen=True)
    nets = networks()
    run = fit_deep(nets, data, steps=STEPS, batch=64, lr=lr, generators=order())
    change, reset, all_reset = tenths_of_depth(nets, networks(), run, data)
    losses = [run.test_loss, still.test_loss, run.test_accuracy, still.test_accuracy, all_reset]
    return torch.cat([*losses, change[0].clamp(max=1e6), reset[0]])
