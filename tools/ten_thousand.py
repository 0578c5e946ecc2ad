"""Train a plain tanh network of 10,000 layers, without skip connections and normalization, and its frozen twin.

    python tools/ten_thousand.py [--depth 10000] [--steps 500] [--seed 0]

It takes a few minutes on one CPU core and 0.6 GB. The setting is that of the stored result plain_10000: length 1/√L on
the edge of chaos, orthogonal weights, learning rate 0.1/L. In the twin only the readout is trained.
"""

import argparse

import torch

from signalprop import load_data, stream
from signalprop.train import DeepClassifiers, DeepRun, fit_deep, tanh_classifiers, with_constant


def train(depth: int, steps: int, seed: int, *, frozen: bool, progress: bool) -> DeepRun:
    """Train one network, or only its readout."""
    data = with_constant(load_data("mnist1d").standardized().flat())

    def network() -> DeepClassifiers:
        source = stream("tools/ten_thousand", "network", seed)
        return tanh_classifiers(
            data, depth, width=32, q=depth**-0.5, gain=None, scheme="orthogonal", generators=[source]
        )

    order = [stream("tools/ten_thousand", "order", seed)]
    lr = torch.tensor([0.1 / depth])
    options = {"steps": steps, "batch": 64, "generators": order, "frozen": frozen, "progress": progress}
    return fit_deep(network(), data, lr=lr, **options)


def main(arguments: list[str] | None = None) -> None:
    """Train both and print how they compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    frozen = train(given.depth, given.steps, given.seed, frozen=True, progress=False)
    print(f"{given.depth:,} layers, hidden layers frozen: ", end="")
    print(f"test loss {frozen.test_loss.item():.3f}, accuracy {frozen.test_accuracy.item():.3f}", flush=True)
    run = train(given.depth, given.steps, given.seed, frozen=False, progress=True)
    print(f"{given.depth:,} layers, all trained: ", end="")
    print(f"test loss {run.test_loss.item():.3f}, accuracy {run.test_accuracy.item():.3f}; ", end="")
    print(f"weights moved by {run.weight_change.median().item():.2g} of their size (median over layers)")


if __name__ == "__main__":
    main()
