r"""Residual networks of 1,002 layers with batch normalization, their controls, and either ingredient without the other.

Fashion-MNIST at 7×7 pixels, four channels, 500 pre-activation blocks of two 3×3 convolutions (the 1,001 layers of the
paper are in blocks of three), He's initialization. A cell is one network, its frozen twin, and, at each of three rates,
a plain network with the same normalization and a residual one without any. Rates were chosen on pilot streams. Training
amplifies rounding: with other instructions of the CPU two cells moved by 0.005 and 0.013 in the median, between seeds
it is 0.007 to 0.03. So `TOLERANCE` tells another experiment, and not another seed.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from signalprop.data import load_data
from signalprop.data.pooled import pooled
from signalprop.nets import PlainCNN, ResNet
from signalprop.streams import stream
from signalprop.train import fit_twin, fit_twins
from signalprop.train.twins import NUMBERS

DEPTH = 1_002
RATES = [0.001, 0.01, 0.1]  # of the networks with one ingredient
GRID = {"replicate": list(range(8))}
WITHIN = {"number": [*NUMBERS, *(f"{kind} loss at {rate:g}" for kind in ("plain", "unnormalized") for rate in RATES)]}
FILES = ["fashion14.npz"]
TOLERANCE = 0.02


def network(kind: str, replicate: int) -> ResNet | PlainCNN:
    """Return a network at its start."""
    options: dict[str, Any] = {
        **{"depth": DEPTH, "stages": 1, "width": 4, "act": "relu", "scheme": "kaiming", "gain": None},
        "normalizer": None if kind == "unnormalized" else nn.BatchNorm2d,
        "bias": kind == "unnormalized",  # elsewhere those of the normalizer do their work
        "generator": stream("stored/resnet_1001", kind, replicate),
    }
    if kind == "plain":
        return PlainCNN(1, 10, padding_mode="zeros", **options)
    return ResNet(1, 10, block="pre_activation", shortcut="A", scale=None, **options)


def cell(replicate: int) -> Float[Tensor, " number"]:
    """Return the numbers of the twins, and test losses of the networks with one ingredient."""
    data = pooled(load_data("fashion14"), 7).standardized()
    readout = f"layer{DEPTH}"
    usual: dict[str, Any] = {"steps": 100, "batch": 32, "readout_lr": 0.3, "momentum": 0.9}

    def order() -> torch.Generator:
        return stream("stored/resnet_1001", "order", replicate)

    twins = fit_twins(network("residual", replicate), ["norm", readout], data, lr=0.1, generator=order(), **usual)
    alone = [
        fit_twin(network(kind, replicate), [readout], data, frozen=False, lr=rate, generator=order(), **usual)[0]
        for kind in ("plain", "unnormalized")
        for rate in RATES
    ]
    return torch.cat([twins.numbers(), torch.tensor(alone, dtype=torch.float64)])
