"""64 networks at once by `fit_many` against one after the other by `fit`."""

import torch
from timing import Row, at_least, ratios, shown

from signalprop import load_data, stream
from signalprop.nets import MLP
from signalprop.train import fit, fit_many

NETWORKS, WIDTH, DEPTH, STEPS = 64, 64, 20, 30


def measure() -> list[Row]:
    """Return a row for each batch size, with what the batched products alone would allow."""
    rows = []
    for batch in (8, 16, 32, 64):
        what = f"`fit_many`, {NETWORKS} MLPs (tanh) of width {WIDTH}, depth {DEPTH}, batch {batch}"
        bound = ratios(lambda b=batch: one_by_one(b), products(batch), 3)
        remark = (
            f"its products, tanh and weight updates alone, as batched calls of torch, would be {shown(bound)}× faster"
        )
        pairs = ratios(lambda b=batch: one_by_one(b), lambda b=batch: together(b), 3)
        rows.append(at_least(what, "`fit`, one after the other", 4.0, pairs, remark))
    return rows


def products(batch: int):
    """Return what no batched implementation can leave out: three products, a tanh and an update a layer."""
    weight, gradient = torch.randn(DEPTH, NETWORKS, WIDTH, WIDTH), torch.empty(NETWORKS, WIDTH, WIDTH)
    signal, spare = torch.randn(DEPTH, NETWORKS, batch, WIDTH), torch.empty(NETWORKS, batch, WIDTH)

    def steps() -> None:
        for _ in range(STEPS):
            for w, h in zip(weight, signal, strict=True):
                torch.bmm(h, w.mT, out=spare)
                torch.tanh(spare, out=spare)
            for w, h in zip(weight, signal, strict=True):
                torch.bmm(h, w, out=spare)
                torch.bmm(h.mT, spare, out=gradient)
                w.sub_(gradient, alpha=1e-6)

    return steps


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
