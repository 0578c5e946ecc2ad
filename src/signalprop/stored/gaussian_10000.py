r"""10,000 plain tanh layers from Gaussian weights, 500 steps on one core: the control of `plain_10000`.

Data, width, steps and batches of `plain_10000`. The weights are given σ_w = 1.05, at which their signal survives width
32 (at the critical 1.01 it does not), and each network is trained at three rates, as the orthogonal ones were tuned.
Gradients sink below 1e-38 on their way; such numbers count as zero here, which is ten times as fast.
Two seeds differ by 0.001 to 0.06 in the median of a cell, so that `TOLERANCE` tells most of them apart.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from signalprop.data import load_data
from signalprop.streams import stream
from signalprop.train import fit_deep, tanh_classifiers, with_constant

DEPTH, STEPS, LENGTH, GAIN = 10_000, 500, 0.01, 1.05
FACTORS = [0.01, 0.1, 1.0]
GRID = {"replicate": list(range(8))}
WITHIN = {"number": ["loss", "accuracy"], "factor": FACTORS}
FILES: list[str] = []
TOLERANCE = 0.005


def cell(replicate: int) -> Float[Tensor, "number factor"]:
    """Return loss and accuracy on the test part, at each rate factor/L."""
    data = with_constant(load_data("mnist1d").standardized().flat())

    def same(name: str) -> list[torch.Generator]:
        return [stream("stored/gaussian_10000", name, replicate) for _ in FACTORS]

    options: dict[str, Any] = {"width": 32, "q": LENGTH, "gain": GAIN, "scheme": "lecun"}
    torch.set_flush_denormal(True)
    try:
        nets = tanh_classifiers(data, DEPTH, generators=same("network"), **options)
        run = fit_deep(nets, data, steps=STEPS, batch=64, lr=torch.tensor(FACTORS) / DEPTH, generators=same("order"))
    finally:
        torch.set_flush_denormal(False)
    return torch.stack([run.test_loss, run.test_accuracy])
