"""Trainability over depth and σ_w: wider networks than a page can train, and for longer.

Training amplifies the rounding of a matrix product wherever σ_w is far above the edge, so that another CPU or version
of torch gives other losses there. On a second CPU the median of a cell moved by 1e-7 at depths 10 to 20, by up to 6e-4
at 28 and 0.03 at 40, as much as between two seeds there. At 56 and more most networks only guess. So only cells of up
to 28 layers can be verified; there no two seeds agree to better than 0.004, and `TOLERANCE` is half of that.
"""

from jaxtyping import Float
from torch import Tensor

from signalprop.data import load_data
from signalprop.streams import stream
from signalprop.train import trainability

GRID = {"depth": [10, 14, 20, 28, 40, 56, 75, 100], "replicate": list(range(8))}
WITHIN = {"sigma_w": [0.9, 1.0, 1.15, 1.25, 1.327, 1.45, 1.7, 2.2, 2.6, 3.2, 4.0]}
FILES = ["fashion14.npz"]
TOLERANCE = 0.002
VERIFIED = {"depth": [10, 14, 20, 28]}


def cell(depth: int, replicate: int) -> Float[Tensor, " sigma_w"]:
    """Return the test losses, at most ln 10, of tanh networks of one depth and one replicate, one at each σ_w."""
    return trainability(
        load_data("fashion14").standardized().flat(),
        depth,
        WITHIN["sigma_w"],
        act="tanh",
        sigma_b2=0.05,
        width=128,
        steps=400,
        batch=32,
        lr=0.002,
        momentum=0.9,
        replicates=1,
        source=lambda _: stream("stored/trainability_map", f"depth {depth}", replicate),
    )[0]
