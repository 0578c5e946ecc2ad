r"""Pre-activation residual networks of 1,002 layers with batch normalization: trained, branches frozen, and plain.

Fashion-MNIST at 7×7 pixels, four channels, 500 blocks of two 3×3 convolutions (the 1,001 layers of the paper are in
blocks of three). The plain network has the same depth and batch normalization. Rates were chosen on pilot streams.
"""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from signalprop.data import load_data
from signalprop.nets import PlainCNN, ResNet
from signalprop.streams import stream
from signalprop.train import fit_twin

DEPTH, STEPS = 1_002, 50
GRID = {"kind": ["trained", "frozen", "plain"], "replicate": list(range(8))}
WITHIN = {"number": ["loss", "accuracy"]}
FILES = ["fashion14.npz"]
TOLERANCE = 0.1


def cell(kind: str, replicate: int) -> Float[Tensor, " number"]:
    """Return loss and accuracy on the test part."""
    full = load_data("fashion14").standardized()
    coarse = [x[..., ::2, ::2].contiguous() for x in (full.train_x, full.test_x)]
    data = replace(full, train_x=coarse[0], test_x=coarse[1])
    source, order = (stream("stored/resnet_1001", name, replicate) for name in ("network", "order"))
    shape: dict[str, Any] = {"depth": DEPTH, "stages": 1, "width": 4}
    shape |= {"act": "relu", "normalizer": nn.BatchNorm2d, "bias": False}
    start: dict[str, Any] = {"scheme": "kaiming", "gain": None, "generator": source}
    if kind == "plain":
        readout = [f"layer{DEPTH}"]
        net: nn.Module = PlainCNN(1, 10, padding_mode="zeros", **shape, **start)
    else:
        net = ResNet(1, 10, block="pre_activation", shortcut="A", scale=None, **shape, **start)
        readout = ["norm", f"layer{DEPTH}"]
    options: dict[str, Any] = {"steps": STEPS, "batch": 32, "lr": 0.1, "readout_lr": 0.3, "momentum": 0.9}
    return torch.tensor(fit_twin(net, readout, data, frozen=kind == "frozen", generator=order, **options))
