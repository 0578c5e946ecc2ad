r"""Residual networks of 10,000 blocks from Fixup's start, trained and with frozen branches, 100 steps on one core.

A branch is V φ(W x) with V = 0 at the start, so that the frozen twin hands its first layer on as it is. Gaussian
weights by He's rule in both layers overflow. With other instructions of the CPU a cell moved by 2e-6 in the median; no
two seeds agree to better than 0.008.
"""

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from signalprop.data import load_data
from signalprop.streams import stream
from signalprop.train import DeepClassifiers, fit_deep, residual_classifiers, tenths_of_depth, with_constant

BLOCKS, STEPS, RATE = 10_000, 100, 0.2
GRID = {"replicate": list(range(8))}
WITHIN = {
    "number": [
        *("trained loss", "frozen loss", "trained accuracy", "frozen accuracy", "loss, all hidden weights reset"),
        *(f"{what} {tenth}" for what in ("change of tenth", "loss, reset tenth") for tenth in range(1, 11)),
    ]
}
FILES: list[str] = []
TOLERANCE = 0.004


def cell(replicate: int) -> Float[Tensor, " number"]:
    """Return losses and accuracies on the test part, and what happened to each tenth of the depth."""
    data = with_constant(load_data("mnist1d").standardized().flat())
    lr = torch.tensor([RATE])

    def networks() -> DeepClassifiers:
        source = stream("stored/fixup_10000", "network", replicate)
        return residual_classifiers(data, BLOCKS, width=32, scheme="fixup", generators=[source])

    def order() -> list[Generator]:
        return [stream("stored/fixup_10000", "order", replicate)]

    still = fit_deep(networks(), data, steps=STEPS, batch=64, lr=lr, generators=order(), frozen=True)
    nets = networks()
    run = fit_deep(nets, data, steps=STEPS, batch=64, lr=lr, generators=order())
    change, reset, all_reset = tenths_of_depth(nets, networks(), run, data)
    losses = [run.test_loss, still.test_loss, run.test_accuracy, still.test_accuracy, all_reset]
    return torch.cat([*losses, change[0].clamp(max=1e6), reset[0]])
