r"""Plain tanh networks of 10 to 3,000 layers, trained and frozen, and the ratio of their first and last gradients.

Length 1/√L, rate 0.1/L and 300 steps at all depths, for orthogonal and for Gaussian weights. The gradient ratio is that
of the norms of the loss's gradients in h_0 and in h_L at the start, with a random readout.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from signalprop.data import load_data
from signalprop.streams import stream
from signalprop.train import DeepClassifiers, DeepRun, fit_deep, gradient_ratio, tanh_classifiers, with_constant

GRID = {"depth": [3_000, 1_000, 300, 100, 30, 10], "start": ["orthogonal", "lecun"], "replicate": list(range(8))}
WITHIN = {"number": ["trained loss", "frozen loss", "trained accuracy", "frozen accuracy", "log gradient ratio"]}
FILES: list[str] = []
TOLERANCE = 0.05


def cell(depth: int, start: str, replicate: int) -> Float[Tensor, " number"]:
    """Return losses and accuracies on the test part, and the logarithm of the gradient ratio, at least −50."""
    data = with_constant(load_data("mnist1d").standardized().flat())
    name = f"{start} {depth}"

    def networks() -> DeepClassifiers:
        source = stream("stored/depth_sweep", name, replicate)
        length = depth**-0.5
        return tanh_classifiers(data, depth, width=32, q=length, gain=None, scheme=start, generators=[source])

    def run(*, frozen: bool) -> DeepRun:
        order = stream("stored/depth_sweep", f"{name}, order", replicate)
        lr = torch.tensor([0.1 / depth])
        return fit_deep(networks(), data, steps=300, batch=32, lr=lr, generators=[order], frozen=frozen)

    trained, still = run(frozen=False), run(frozen=True)
    ratio = gradient_ratio(networks(), data.test_x[:64], stream("stored/depth_sweep", f"{name}, readout", replicate))
    losses = [trained.test_loss, still.test_loss, trained.test_accuracy, still.test_accuracy]
    return torch.cat([*losses, ratio.log().clamp(-50, 50)])
