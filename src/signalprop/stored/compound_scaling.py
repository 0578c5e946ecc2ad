"""A small residual network, and four ways to spend four times its multiply-adds, each at five learning rates.

A network is (residual blocks, channels, side of the images in pixels). Replicates 0 and 1 are there to choose a
learning rate, the others to judge. All networks of a replicate see the same order of examples.

Batch normalization at large rates amplifies rounding: between two instruction sets a run moved as far as between two
seeds, by 0.03 to 0.05 in the median of its four scores. `TOLERANCE` therefore tells only a different experiment from
this one.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from signalprop.data import load_data
from signalprop.data.pooled import pooled
from signalprop.nets import ResNet
from signalprop.streams import stream
from signalprop.train import fit, scores

SCALINGS = {
    "depth": (8, 8, 7),
    "resolution": (2, 8, 14),
    "compound": (3, 10, 9),
    "width": (2, 16, 7),
    "base": (2, 8, 7),
}
GRID = {"scaling": list(SCALINGS), "lr": [0.008, 0.02, 0.05, 0.125, 0.3], "replicate": list(range(10))}
WITHIN = {"part": ["train", "test"], "score": ["loss", "accuracy"]}
FILES = ["fashion14.npz"]
TOLERANCE = 0.2
STEPS = 300


def build(scaling: str, generator: torch.Generator) -> nn.Module:
    """Return the network of one scaling."""
    blocks, width, _ = SCALINGS[scaling]
    options: dict[str, Any] = {
        "block": "post_activation",
        "shortcut": "A",
        "act": "relu",
        "normalizer": nn.BatchNorm2d,
        "bias": False,
    }
    start: dict[str, Any] = {"scale": None, "scheme": "kaiming", "gain": None, "generator": generator}
    return ResNet(1, 10, depth=2 * blocks + 2, stages=1, width=width, **options, **start)


def cell(scaling: str, lr: float, replicate: int) -> Float[Tensor, "part score"]:
    """Return loss (at most ln 10) and accuracy, on 2,000 training images and on the test part."""
    data = pooled(load_data("fashion14").standardized(), SCALINGS[scaling][2])
    net = build(scaling, stream("stored/compound_scaling", f"weights of {scaling}", replicate))
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
    order = stream("stored/compound_scaling", "order", replicate)
    fit(net, data, optimizer, steps=STEPS, batch=64, generator=order)
    parts = [(data.train_x[:2_000], data.train_y[:2_000]), (data.test_x, data.test_y)]
    return torch.stack([scores(net, x, y, len(data.classes)) for x, y in parts])
