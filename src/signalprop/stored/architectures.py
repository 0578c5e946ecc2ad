"""Five kinds of convolutional networks of about 22 layers and 43,000 parameters, each at four learning rates.

The rates are a factor of three apart, around the best of a kind in pilots with other seeds. Images are at 7×7 pixels.
Replicates 0 and 1 are there to choose a learning rate, the others to judge. All networks of a replicate see the same
order of examples.

Batch normalization at large rates amplifies rounding: between two instruction sets a run moved as far as between two
seeds, by 0.01 to 0.2 in the median of its four scores. `TOLERANCE` therefore tells only a different experiment from
this one.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from signalprop.data import load_data
from signalprop.data.pooled import pooled
from signalprop.nets import DenseNet, HighwayCNN, PlainCNN, ResNet, ResNeXt
from signalprop.streams import stream
from signalprop.train import fit, scores

GRID: dict[str, list[Any]] = {
    "network": ["densenet", "highway", "resnext", "plain", "resnet"],
    "rate": [0, 1, 2, 3],
    "replicate": list(range(10)),
}
RATES = {name: [0.01, 0.03, 0.1, 0.3] for name in GRID["network"]} | {"highway": [0.03, 0.1, 0.3, 1.0]}
WITHIN = {"part": ["train", "test"], "score": ["loss", "accuracy"]}
FILES = ["fashion14.npz"]
TOLERANCE = 0.5
STEPS = 150


def build(name: str, generator: torch.Generator) -> nn.Module:
    """Return one of the five networks."""
    usual: dict[str, Any] = {
        "stages": 2,
        "act": "relu",
        "normalizer": nn.BatchNorm2d,
        "bias": False,
        "scheme": "kaiming",
        "gain": None,
    }
    options = usual | {"generator": generator}
    match name:
        case "plain":
            return PlainCNN(1, 10, depth=22, width=10, padding_mode="zeros", **options)
        case "resnet":
            return ResNet(1, 10, depth=22, width=10, block="post_activation", shortcut="A", scale=None, **options)
        case "highway":  # the bias of `theory.highway_gate_bias` for its 19 gates
            return HighwayCNN(1, 10, depth=22, width=7, gate_bias=-2.9, **options)
        case "densenet":
            return DenseNet(1, 10, depth=23, width=14, growth=4, **options)
        case "resnext":
            return ResNeXt(1, 10, depth=20, width=10, cardinality=8, path_width=3, scale=None, **options)
    raise ValueError(f"unknown network {name!r}")


def cell(network: str, rate: int, replicate: int) -> Float[Tensor, "part score"]:
    """Return loss (at most ln 10) and accuracy, on 2,000 training images and on the test part."""
    data = pooled(load_data("fashion14").standardized(), 7)
    net = build(network, stream("stored/architectures", f"weights of {network}", replicate))
    optimizer = torch.optim.SGD(net.parameters(), lr=RATES[network][rate], momentum=0.9)
    order = stream("stored/architectures", "order", replicate)
    fit(net, data, optimizer, steps=STEPS, batch=64, generator=order)
    parts = [(data.train_x[:2_000], data.train_y[:2_000]), (data.test_x, data.test_y)]
    return torch.stack([scores(net, x, y, len(data.classes)) for x, y in parts])
