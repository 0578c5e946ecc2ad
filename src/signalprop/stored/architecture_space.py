"""A small search space trained to its last point: 256 architectures at three learning rates, six seeds each.

An architecture is an operation for each of four pairs of layers (`signalprop.nets.OperationMLP`). All networks of one
replicate start from the same Gaussian numbers and see the same order of examples. The 2,000 test images are parted: on
the first half a search may look (validation), by the second half it is judged.
"""

from itertools import product
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from signalprop.data import load_data
from signalprop.nets import OPERATIONS, OperationMLP
from signalprop.streams import stream
from signalprop.train import fit_many, scores

GRID = {"first": list(OPERATIONS), "replicate": list(range(6))}
WITHIN: dict[str, list[Any]] = {
    "second": list(OPERATIONS),
    "third": list(OPERATIONS),
    "fourth": list(OPERATIONS),
    "lr": [0.0025, 0.005, 0.01],
    "part": ["validation", "test"],
    "score": ["loss", "accuracy"],
}
FILES = ["fashion14.npz"]
TOLERANCE = 0.02


def cell(first: str, replicate: int) -> Float[Tensor, "second third fourth lr part score"]:
    """Return the scores of the networks whose first pair of layers does this operation, of one replicate."""
    data = load_data("fashion14").standardized().flat()
    points = list(product(WITHIN["second"], WITHIN["third"], WITHIN["fourth"], WITHIN["lr"]))
    nets = [
        OperationMLP(
            data.train_x.shape[1],
            len(data.classes),
            operations=[operation for operation in (first, *others) for _ in range(2)],
            width=32,
            generator=stream("stored/architecture_space", "weights", replicate),
        )
        for *others, _ in points
    ]
    fit_many(
        nets,
        data,
        lr=torch.tensor([point[-1] for point in points]),
        momentum=0.9,
        steps=300,
        batch=32,
        generators=[stream("stored/architecture_space", "order", replicate) for _ in points],
    )
    halves = zip(data.test_x.split(1_000), data.test_y.split(1_000), strict=True)
    table = [torch.stack([scores(net, x, y, len(data.classes)) for net in nets]) for x, y in halves]
    return torch.stack(table, dim=1).reshape(*map(len, WITHIN.values()))
