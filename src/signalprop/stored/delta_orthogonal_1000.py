r"""Plain convolutional tanh networks of 1,002 layers from delta-orthogonal kernels, with controls and Gaussian kernels.

Fashion-MNIST at 7×7 pixels, eight channels, 3×3 kernels, no skip connection, no normalization; on the edge of chaos at
length 1/√L. A cell is one network, its frozen twin, and one with Gaussian kernels at each of three rates. Those have
σ_w = 1.1, at which their signal keeps about the same length (at the critical 1.03 zeros around the map and fluctuations
let it vanish); for speed, numbers below 1e-38 count as zero in them. Rates were chosen on pilot streams. Training
amplifies rounding; `TOLERANCE` tells another experiment, and not another seed.
"""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from signalprop.data import Data, load_data
from signalprop.data.pooled import pooled
from signalprop.nets import PlainCNN
from signalprop.streams import stream
from signalprop.theory import slope_second_moment
from signalprop.train import fit_twin, fit_twins
from signalprop.train.twins import NUMBERS

DEPTH, LENGTH, RATE = 1_002, 1_002**-0.5, 3e-4
GAUSSIAN_RATES = [3e-5, 3e-4, 3e-3]
GRID = {"replicate": list(range(8))}
WITHIN = {"number": [*NUMBERS, *(f"Gaussian loss at {rate:g}" for rate in GAUSSIAN_RATES)]}
FILES = ["fashion14.npz"]
TOLERANCE = 0.05


def drawn(scheme: str, gain: float, replicate: int) -> tuple[PlainCNN, Data]:
    """Return a network, and images scaled so that its first pre-activations have the variance `LENGTH`."""
    source = stream("stored/delta_orthogonal_1000", scheme, replicate)
    shape: dict[str, Any] = {"depth": DEPTH, "stages": 1, "width": 8, "act": "tanh", "normalizer": None, "bias": False}
    net = PlainCNN(1, 10, padding_mode="zeros", scheme=scheme, gain=gain, generator=source, **shape)
    data = pooled(load_data("fashion14"), 7).standardized()
    with torch.no_grad():
        scale = (LENGTH / net.get_submodule("layer1")(data.train_x[:512]).square().mean()).sqrt()
    return net, replace(data, train_x=data.train_x * scale, test_x=data.test_x * scale)


def cell(replicate: int) -> Float[Tensor, " number"]:
    """Return the numbers of the twins, and test losses from Gaussian kernels."""
    readout = [f"layer{DEPTH}"]
    usual: dict[str, Any] = {"steps": 150, "batch": 32, "readout_lr": 1.0, "momentum": 0.9}

    def order() -> torch.Generator:
        return stream("stored/delta_orthogonal_1000", "order", replicate)

    critical = slope_second_moment("tanh", LENGTH).item() ** -0.5
    net, data = drawn("delta_orthogonal", critical, replicate)
    twins = fit_twins(net, readout, data, lr=RATE, generator=order(), **usual)
    gaussian = []
    torch.set_flush_denormal(True)
    try:
        for rate in GAUSSIAN_RATES:
            net, data = drawn("lecun", 1.1, replicate)
            gaussian.append(fit_twin(net, readout, data, frozen=False, lr=rate, generator=order(), **usual)[0])
    finally:
        torch.set_flush_denormal(False)
    return torch.cat([twins.numbers(), torch.tensor(gaussian, dtype=torch.float64)])
