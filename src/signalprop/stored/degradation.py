"""Degradation: plain and residual convolutional networks of four depths, at five learning rates each.

Training amplifies rounding, most in the deep plain networks, whose gradients explode: on another CPU or version of
torch two runs of a cell may in the worst case differ as two seeds do, which on pilots was by 0.25 in loss and 0.08 in
error for plain networks of 56 layers, by a third of that for all others. `TOLERANCE`, of the median over all that a
cell measures, allows for it; for those deep ones it does not tell much.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from signalprop.data import load_data
from signalprop.nets import PlainCNN, ResNet
from signalprop.streams import stream
from signalprop.train import evaluate, fit, renew_statistics_

GRID: dict[str, list[Any]] = {
    "depth": [56, 20, 14, 8],
    "kind": ["plain", "residual"],
    "replicate": list(range(10)),
}
WITHIN: dict[str, list[Any]] = {
    "lr": [0.003, 0.01, 0.03, 0.1, 0.3],
    "measure": ["batch loss", "train loss", "train error", "test loss", "test error"],
}
FILES = ["fashion14.npz"]
TOLERANCE = 0.2
STEPS = 200


def cell(depth: int, kind: str, replicate: int) -> Float[Tensor, "lr measure"]:
    """Return what networks of one depth, kind and replicate reach at each rate; losses are at most ln 10.

    The batch loss is the mean of the last 20 steps. The others are taken in evaluation mode, on the first 2,000
    training images and on the 2,000 test images, after the statistics of the normalizers have been renewed.
    """
    data = load_data("fashion14").standardized()
    some, labels = data.train_x[:2_000], data.train_y[:2_000]
    guess, rows = math.log(len(data.classes)), []
    for lr in WITHIN["lr"]:
        net = network(depth, kind, replicate)
        run = fit(
            net,
            data,
            torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9),
            steps=STEPS,
            batch=32,
            generator=stream("stored/degradation", "order", replicate),
        )
        renew_statistics_(net, some, batch=250)
        train_loss, train_accuracy = evaluate(net, some, labels)
        test_loss, test_accuracy = evaluate(net, data.test_x, data.test_y)
        batch_loss = guess if run.diverged else run.loss[-20:].mean().item()
        rows.append([batch_loss, train_loss, 1 - train_accuracy, test_loss, 1 - test_accuracy])
    return torch.tensor(rows).nan_to_num(guess).clamp(max=guess)


def network(depth: int, kind: str, replicate: int) -> PlainCNN | ResNet:
    """Return a network before training: 3×3 convolutions with BN, 8, 16 and 32 channels on 14×14, 7×7 and 4×4."""
    options: dict[str, Any] = {
        "depth": depth,
        "stages": 3,
        "width": 8,
        "act": "relu",
        "normalizer": nn.BatchNorm2d,
        "bias": False,
        "scheme": "kaiming",
        "gain": None,
        "generator": stream("stored/degradation", f"{kind} {depth}", replicate),
    }
    if kind == "plain":
        return PlainCNN(1, 10, padding_mode="zeros", **options)
    return ResNet(1, 10, block="post_activation", shortcut="A", scale=None, **options)
