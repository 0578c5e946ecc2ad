r"""Plain convolutional tanh networks of 1,002 layers: delta-orthogonal weights, the frozen twin, Gaussian weights.

Fashion-MNIST at 7×7 pixels, eight channels, 3×3 kernels, no skip connection, no normalization; on the edge of chaos at
length 1/√L. Rates were chosen on pilot streams. Rounding is amplified by training.
"""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from signalprop.data import load_data
from signalprop.nets import PlainCNN
from signalprop.streams import stream
from signalprop.theory import slope_second_moment
from signalprop.train import fit_twin

DEPTH, STEPS = 1_002, 40
STARTS = {
    "delta-orthogonal": ("delta_orthogonal", False),
    "frozen": ("delta_orthogonal", True),
    "Gaussian": ("lecun", False),
}
GRID = {"start": list(STARTS), "replicate": list(range(8))}
WITHIN = {"number": ["loss", "accuracy"]}
FILES = ["fashion14.npz"]
TOLERANCE = 0.1


def cell(start: str, replicate: int) -> Float[Tensor, " number"]:
    """Return loss and accuracy on the test part."""
    scheme, frozen = STARTS[start]
    full = load_data("fashion14").standardized()
    coarse = [x[..., ::2, ::2].contiguous() for x in (full.train_x, full.test_x)]
    data = replace(full, train_x=coarse[0], test_x=coarse[1])
    net = PlainCNN(
        1,
        10,
        depth=DEPTH,
        stages=1,
        width=8,
        act="tanh",
        normalizer=None,
        bias=False,
        padding_mode="zeros",
        scheme=scheme,
        gain=slope_second_moment("tanh", DEPTH**-0.5).item() ** -0.5,
        generator=stream("stored/delta_orthogonal_1000", scheme, replicate),
    )
    order = stream("stored/delta_orthogonal_1000", "order", replicate)
    options: dict[str, Any] = {"steps": STEPS, "batch": 32, "lr": 1e-3, "readout_lr": 1.0, "momentum": 0.9}
    return torch.tensor(fit_twin(net, [f"layer{DEPTH}"], data, frozen=frozen, generator=order, **options))
