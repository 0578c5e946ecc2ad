"""Twelve tricks at two levels each, in 256 runs of resolution VI: a network, its training and its accuracy a run.

Eight factors take all combinations of their levels; the other four are products of five of them. No product of fewer
than six factors is constant, so that main effects and two-factor interactions are confounded only with products of four
factors or more, and those of three only with others of three or more. The four activations are two of the factors,
``smooth`` and ``variant``, and their product. A cell is one shape of network with its eight runs.

For each shape and optimizer the rate is the one of four with the best mean accuracy over the four runs of that
optimizer, on networks and on test signals (the first 500) that are not used again. Eight replicates of every run are
then judged on the other 500. A replicate has the same initial weights and the same order of examples in all runs of a
shape.

Training at such rates amplifies rounding until two machines may differ about as much as two replicates do. `TOLERANCE`
is what half of the samples of a cell differ by, at most, between two replicates.
"""

from functools import cache
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from signalprop.data import Data, augment_signals, load_data
from signalprop.nets import MLP, ResidualMLP, add_dropout_
from signalprop.streams import stream
from signalprop.theory import gain, two_level_design
from signalprop.train import Tricks, evaluate, fit_with_tricks, pgd

GRID = {
    "width": [32, 16],
    "depth": [8, 4],
    "connection": ["skip", "plain"],
    "activation": ["tanh", "silu", "relu", "leaky_relu"],
}
REPLICATES = list(range(8))
WITHIN = {
    "optimizer": ["sgd", "adam"],
    "dropout": [0.0, 0.1],
    "augmentation": [0, 1],
    "replicate": REPLICATES,
    "measure": ["accuracy", "robust", "loss", "train_accuracy", "accuracy_300", "accuracy_750", "rate"],
}
FILES: list[str] = []
TOLERANCE = 0.02

STEPS, EARLY, BATCH, EPSILON = 1_500, (300, 750), 64, 0.1
GUESS, LARGEST_LOSS = 0.1, 10.0
RATES = {"sgd": [0.01, 0.03, 0.1, 0.3], "adam": [0.001, 0.003, 0.01, 0.03]}
ACTIVATIONS = {(-1, -1): "relu", (-1, 1): "leaky_relu", (1, -1): "tanh", (1, 1): "silu"}
LEVELS: dict[str, tuple[Any, Any]] = {  # what −1 and +1 stand for
    "width": (16, 32),
    "depth": (4, 8),
    "connection": ("plain", "skip"),
    "optimizer": ("sgd", "adam"),
    "dropout": (0.0, 0.1),
    "augmentation": (0, 1),
    "schedule": ("constant", "cosine"),
    "warm-up": (0, 100),
    "ℓ2": (0.0, 0.003),
    "adversarial": (0, 1),
}


Job = tuple[dict[str, Any], float, int]  # a run, its rate and its replicate


@cache
def design() -> dict[str, Tensor]:
    """Return the levels −1 and +1 of the twelve factors in the 256 runs."""
    return two_level_design(
        ["width", "depth", "connection", "smooth", "variant", "optimizer", "dropout", "augmentation"],
        {
            "schedule": ["width", "depth", "connection", "dropout", "augmentation"],
            "warm-up": ["width", "depth", "variant", "optimizer", "dropout"],
            "ℓ2": ["depth", "connection", "smooth", "optimizer", "augmentation"],
            "adversarial": ["smooth", "variant", "optimizer", "dropout", "augmentation"],
        },
    )


@cache
def settings() -> list[dict[str, Any]]:
    """Return what the levels of each run stand for."""
    runs = [{name: int(column[run]) for name, column in design().items()} for run in range(256)]
    return [
        {name: pair[run[name] > 0] for name, pair in LEVELS.items()}
        | {"activation": ACTIVATIONS[run["smooth"], run["variant"]]}
        for run in runs
    ]


def responses(samples: pd.DataFrame, measure: str) -> Float[Tensor, "replicates runs"]:
    """Return one measure of the stored samples in the order of the design."""
    names = [*GRID, "optimizer", "dropout", "augmentation"]
    of_measure = samples[samples["measure"] == measure]
    table = of_measure.pivot_table(index=names, columns="replicate", values="value")
    rows = [table.loc[tuple(run[name] for name in names)].tolist() for run in settings()]
    return torch.tensor(rows, dtype=torch.float64).T


def network(run: dict[str, Any], source: Generator) -> nn.Module:
    """Return a network of a run, at the gain that keeps the mean square of its activation."""
    act, width, depth = run["activation"], run["width"], run["depth"]
    options: dict[str, Any] = {"act": act, "gain": gain(act), "scheme": "lecun", "bias": True, "generator": source}
    if run["connection"] == "plain":
        return add_dropout_(MLP([40, *[width] * (depth - 1), 10], **options), 1 - run["dropout"])
    blocks: dict[str, Any] = {"branch_layers": 2, "block": "pre_activation", "scale": None, "normalizer": None}
    return add_dropout_(ResidualMLP(40, 10, depth=depth, width=width, **blocks, **options), 1 - run["dropout"])


def recipe(run: dict[str, Any], lr: float) -> Tricks:
    """Return how the networks of a run are trained, at this rate."""
    return Tricks(
        lr,
        run["optimizer"],
        warmup=run["warm-up"],
        cosine=run["schedule"] == "cosine",
        decay=run["ℓ2"],
        augment=bool(run["augmentation"]),
        attack_steps=run["adversarial"],
    )


def augment(x: Tensor, generator: Generator) -> Tensor:
    """Return signals shifted by up to three samples, larger or smaller by up to a tenth, with noise of 0.1."""
    return augment_signals(x, shift=3, scale=0.1, noise=0.1, generator=generator)


def accuracy(nets: list[nn.Module], data: Data, part: slice) -> Float[Tensor, " networks"]:
    """Return the accuracy of each network on a part of the test signals."""
    return torch.tensor([evaluate(net, data.test_x[part], data.test_y[part])[1] for net in nets])


def robust_accuracy(net: nn.Module, data: Data, part: slice) -> float:
    """Return the accuracy after ten steps of PGD, or that of a guess for a network that has diverged."""
    if not all(weight.isfinite().all() for weight in net.parameters()):
        return GUESS
    x, y = data.test_x[part], data.test_y[part]
    attacked = pgd(net.eval(), x, y, epsilon=EPSILON, step_size=EPSILON / 4, steps=10)
    return evaluate(net, attacked, y)[1]


def train(nets: list[nn.Module], jobs: list[Job], data: Data, name: str, **options: Any) -> None:
    """Train one network for each job, all at once."""
    fit_with_tricks(
        nets,
        data,
        [recipe(run, lr) for run, lr, _ in jobs],
        steps=STEPS,
        batch=BATCH,
        generators=[stream("stored/tricks", f"{name} order", replicate) for _, _, replicate in jobs],
        noise=stream("stored/tricks", f"{name} noise"),
        augment=augment,
        epsilon=EPSILON,
        **options,
    )


def networks(jobs: list[Job], name: str) -> list[nn.Module]:
    """Return fresh networks for the jobs; a replicate starts with the same weights in all of them."""
    return [network(run, stream("stored/tricks", name, replicate)) for run, _, replicate in jobs]


def cell(
    width: int, depth: int, connection: str, activation: str
) -> Float[Tensor, "optimizer dropout augmentation replicate measure"]:
    """Return what the eight runs of one shape of network reach, at rates tuned before."""
    data = load_data("mnist1d").standardized().flat()
    shape = {"width": width, "depth": depth, "connection": connection, "activation": activation}
    name, runs = (
        f"{activation} {width} {depth} {connection}",
        [run for run in settings() if shape.items() <= run.items()],
    )
    tuning, judging = slice(0, 500), slice(500, 1_000)

    jobs = [(run, lr, 0) for run in runs for lr in RATES[run["optimizer"]]]
    nets = networks(jobs, f"{name} tuning")
    train(nets, jobs, data, f"{name} tuning")
    by_optimizer = accuracy(nets, data, tuning).view(2, 4, 4).mean(1)
    rates = {key: RATES[key][int(reached.argmax())] for key, reached in zip(RATES, by_optimizer, strict=True)}

    jobs = [(run, rates[run["optimizer"]], replicate) for run in runs for replicate in REPLICATES]
    nets = networks(jobs, name)
    early: list[Tensor] = []
    look = {k: lambda: early.append(accuracy(nets, data, judging)) for k in EARLY}
    train(nets, jobs, data, name, watch=look)
    losses = [evaluate(net, data.test_x[judging], data.test_y[judging])[0] for net in nets]
    columns = [
        accuracy(nets, data, judging),
        torch.tensor([robust_accuracy(net, data, judging) for net in nets]),
        torch.tensor(losses).nan_to_num(LARGEST_LOSS).clamp(max=LARGEST_LOSS),
        torch.tensor([evaluate(net, data.train_x, data.train_y)[1] for net in nets]),
        *early,
        torch.tensor([lr for _, lr, _ in jobs]),
    ]
    return torch.stack(columns, -1).view(2, 2, 2, len(REPLICATES), len(columns))
