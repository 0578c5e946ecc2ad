"""What `signal_profile` costs on top of the forward and backward pass that it watches."""

import torch
from timing import Row, at_most, ratios
from torch.nn import functional

from signalprop import stream
from signalprop.measure import signal_profile
from signalprop.nets import MLP

DEPTH = 100


def measure() -> list[Row]:
    """Return a row for each width and batch."""
    rows = []
    for width, batch in ((128, 128), (256, 256), (512, 256)):
        source = stream("benchmarks", "profile")
        widths = [width] * DEPTH + [10]
        net = MLP(widths, "tanh", bias=False, scheme="lecun", gain=1.0, generator=source)
        x, y = torch.randn(batch, width, generator=source), torch.randint(10, (batch,), generator=source)

        def loss_fn(scores, y=y) -> torch.Tensor:
            return functional.cross_entropy(scores, y)

        def plain(net=net, x=x, loss_fn=loss_fn) -> None:
            net.zero_grad()
            loss_fn(net(x)).backward()

        def profiled(net=net, x=x, loss_fn=loss_fn) -> None:
            signal_profile(net, x, loss_fn)

        what = f"`signal_profile`, {DEPTH}-layer MLP (tanh), width {width}, batch {batch}"
        rows.append(at_most(what, "forward + backward alone", 1.5, ratios(profiled, plain, 9)))
    return rows
