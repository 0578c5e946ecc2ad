"""Random networks in law by `sample_law` against their explicit weights; and how it grows with width and depth."""

import resource
import sys
import time
from pathlib import Path

from timing import Row, at_least, in_a_fresh_process, ratios

SPEED = {1024: (40.0, 32), 4096: (500.0, 8)}  # goal, networks
DEPTH = 30
LARGE = (65_536, 1_000)


def measure() -> list[Row]:
    """Return the speed against explicit weights, the cost of a huge network, and the exponents of width and depth."""
    rows = []
    for width, (goal, networks) in SPEED.items():
        pairs = ratios(lambda w=width, r=networks: explicit(w, r), lambda w=width, r=networks: in_law(w, DEPTH, r), 3)
        what = f"`sample_law`, B = 2, {DEPTH} layers, forward and backward, n = {width:,}, {networks} networks"
        rows.append(at_least(what, "explicit weights, float32", goal, pairs))
    width, depth = LARGE
    seconds, gigabytes = map(float, in_a_fresh_process(Path(__file__), width, depth).split())
    reached = seconds < 10 and gigabytes < 2
    found = f"{seconds:.1f} s, {gigabytes:.2f} GB for the whole process"
    rows.append(Row(f"`sample_law`, B = 2, n = {width:,}, L = {depth:,}", "–", "under 10 s, 2 GB", found, reached))
    wider = ratios(lambda: in_law(width, 50), lambda: in_law(width // 4, 50), 5)
    deeper = ratios(lambda: in_law(width // 4, 200), lambda: in_law(width // 4, 50), 5)
    for what, pairs in (("width", wider), ("depth", deeper)):
        middle = pairs[len(pairs) // 2]
        row = Row(
            f"`sample_law`, four times the {what}", "the time before", "4× (linear)", f"{middle:.2f}×", middle < 5
        )
        rows.append(row)
    return rows


def in_law(width: int, depth: int, networks: int = 1) -> None:
    """Draw tanh networks in law, forward and back."""
    import torch

    from signalprop import stream
    from signalprop.measure import sample_law

    source = stream("benchmarks", "law")
    x = torch.randn(2, width, generator=source)
    widths = [width] * (depth + 1)
    sample_law(widths, "tanh", x=x, sigma_w2=1.5, replicates=networks, generator=source, output_error="normal")


def explicit(width: int, networks: int) -> None:
    """Draw the weights of such networks one after the other, and take the same statistics."""
    import torch

    from signalprop import stream

    source = stream("benchmarks", "explicit")
    for _ in range(networks):
        h = torch.randn(2, width, generator=source)
        layers, signals = [], []
        for _ in range(DEPTH):
            weight = torch.randn(width, width, generator=source).mul_((1.5 / width) ** 0.5)
            z = h @ weight.T
            layers.append((weight, h, z))
            signals.append(z @ z.T / width)
            h = z.tanh()
        error, errors, gradients = torch.randn(2, width, generator=source), [], []
        for weight, below, _ in reversed(layers):
            errors.append(error @ error.T)
            gradients.append(errors[-1] * (below @ below.T))
            error = (error @ weight) * (1 - below.square())


if __name__ == "__main__":
    start = time.perf_counter()
    in_law(*map(int, sys.argv[1:]))
    print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
