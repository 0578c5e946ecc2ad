"""64 networks at once by `fit_many` against one after the other by `fit`."""

import torch
from timing import Row, at_least, ratios

from signalprop import load_data, stream
from signalprop.nets import MLP
from signalprop.train import fit, fit_many

NETWORKS, WIDTH, DEPTH, STEPS = 64, 64, 20, 5


def measure() -> list[Row]:
    """Return a row for each batch size: the smaller the products, the more there is to gain."""
    remark = "at larger batches the products themselves, the same for both, take most of the time"
    rows = []
    for batch in (8, 16, 32, 64):
        what = f"`fit_many`, {NETWORKS} MLPs (tanh) of width {WIDTH}, depth {DEPTH}, batch {batch}"
        pairs = ratios(lambda batch=batch: one_by_one(batch), lambda batch=batch: together(batch), 5)
        rows.append(at_least(what, "`fit`, one after the other", 4.0, pairs, remark))
    return rows


DATA = load_data("fashion14").standardized().flat()
NETS = [
    MLP(
        [DATA.train_x.shape[1], *[WIDTH] * (DEPTH - 1), len(DATA.classes)],
        "tanh",
        bias=False,
        scheme="lecun",
        gain=1.0,
        generator=stream("benchmarks", "many", r),
    )
    for r in range(NETWORKS)
]


def together(batch: int) -> None:
    """Take some steps with all networks at once."""
    orders = [stream("benchmarks", "order", r) for r in range(NETWORKS)]
    fit_many(NETS, DATA, lr=1e-3, steps=STEPS, batch=batch, generators=orders)


def one_by_one(batch: int) -> None:
    """Take the same steps with each."""
    for r, net in enumerate(NETS):
        optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
        fit(net, DATA, optimizer, steps=STEPS, batch=batch, generator=stream("benchmarks", "order", r))
