"""Peak memory of a training step of `DeepStack`, above the process before construction."""

import sys
from pathlib import Path

from timing import Row, at_most, in_a_fresh_process

DEPTH, WIDTH = 10_000, 32


def measure() -> list[Row]:
    """Return the peak with the fused step and with an optimizer, against activations + weights + gradients."""
    needed = 4 * (2 * DEPTH * WIDTH * WIDTH + (DEPTH + 1) * WIDTH * WIDTH)
    rows = []
    for how in ("fused", "optimizer"):
        peaks = sorted(float(in_a_fresh_process(Path(__file__), how)) / needed for _ in range(3))
        what = f"peak memory of `DeepStack`, {DEPTH:,} layers, n = B = {WIDTH}, {how}"
        rows.append(at_most(what, "activations + weights + gradients", 1.5, peaks))
    return rows


def peak(how: str) -> int:
    """Return the bytes that construction and three steps take at their highest."""
    import torch
    from deep_stack import LR, batch, stack
    from torch.nn import functional

    x, y = batch(WIDTH)
    warm = torch.nn.Linear(WIDTH, WIDTH)  # what torch loads at its first step is not the stack's
    functional.cross_entropy(warm(x), y).backward()
    torch.optim.SGD(warm.parameters(), lr=LR).step()
    before = _resident()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    net = stack(WIDTH)
    optimizer = torch.optim.SGD(net.parameters(), lr=LR)
    net.fused_lr = LR if how == "fused" else None
    for _ in range(3):
        optimizer.zero_grad()
        functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return _resident("VmHWM") - before


def _resident(field: str = "VmRSS") -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


if __name__ == "__main__":
    print(peak(sys.argv[1]))
