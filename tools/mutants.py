"""Can the claims fail? Run the chapters with something broken, and see which claims notice.

    python tools/mutants.py [--all] [PAGE.md ...]

One mutant a run: every public function of `theory` scaled by 1.2, every one of `nets` and `measure` by 1.1 (for
an initializer and a network: the σ of its weights; then a σ that differs from network to network, one row too large,
weights near the identity; for a table: from row to row; for networks in law: σ too, and their angles), descent with a
10 % longer step, training that stops after one. A claim must fall to at least one mutant of `theory` (effects rest on
none), and to at least one of what it observes (`nets`, `measure`, `train`). A claim that survives either group cannot
fail there, and the exit status is 1. A claim on a stored result observes nothing here and is let off the second
group.
"""

import argparse
import contextlib
import functools
import importlib
import io
import multiprocessing
import os
import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import jupytext
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from signalprop.claims import algebra, comparison, prediction
from signalprop.claims.record import Record
from signalprop.measure import LawSample

ROOT = Path(__file__).resolve().parent.parent
ROOMS = {"theory": 1.2, "nets": 1.1, "measure": 1.1, "train": 1.1}


def scaled(value: Any, factor: float) -> Any:
    """Return a function's result with every number in it scaled."""
    if isinstance(value, float | Tensor):
        return value * factor
    if type(value) is int:
        return round(value * factor)
    if isinstance(value, dict):
        return {key: scaled(entry, factor) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(scaled(entry, factor) for entry in value)
    if isinstance(value, dict):
        return {name: scaled(entry, factor) for name, entry in value.items()}
    if isinstance(value, pd.DataFrame):
        return value.mul(factor ** np.arange(len(value)), axis=0)
    if isinstance(value, nn.Module):
        with torch.no_grad():
            for weight in value.parameters():
                weight.mul_(factor)
        return value
    if is_dataclass(value):
        return replace(value, **{f.name: scaled(getattr(value, f.name), factor) for f in fields(value)})
    return value


def uneven(weights: list[Tensor]) -> list[Tensor]:
    """Return the weights [networks, ...] scaled by 1.1 to the power 0, 1, …, 6, in turn from network to network."""
    powers = torch.arange(len(weights[0])) % 7
    return [weight * (1.1**powers).view(-1, *[1] * (weight.ndim - 1)) for weight in weights]


def one_loud_row(weights: list[Tensor]) -> list[Tensor]:
    """Return the weights [networks, rows, ...] with the first row of every matrix five times as large."""
    return [torch.cat([5 * weight[:, :1], weight[:, 1:]], 1) for weight in weights]


def near_identity(weights: list[Tensor] | nn.Module) -> list[Tensor] | nn.Module:
    """Return weights [networks, rows, columns] added, at a tenth, to the identity; of a network, its square ones."""
    if isinstance(weights, nn.Module):
        with torch.no_grad():
            for weight in weights.parameters():
                if weight.ndim == 2 and len(weight) == len(weight.T):
                    weight.copy_(torch.eye(len(weight)) + weight / 10)
        return weights
    return [torch.eye(*weight.shape[1:]) + weight / 10 for weight in weights]


def less_alike(sample: LawSample) -> LawSample:
    """Return networks in law with the inner products of different inputs a tenth smaller."""
    same = torch.eye(sample.signal.shape[-1], dtype=torch.bool)
    return replace(sample, signal=torch.where(same, sample.signal, 0.9 * sample.signal))


def mutants() -> Iterator[tuple[str, str, Callable]]:
    """Yield room, name and broken version of every public function."""
    for room, factor in ROOMS.items():
        module = importlib.import_module(f"signalprop.{room}")
        for name in module.__all__:
            function = getattr(module, name)
            if hasattr(function, "drawn"):
                for change in (lambda w, x=factor: x * w, lambda w: torch.eye(w.shape[-1]) + w / 10):
                    yield room, name, drawn_otherwise(function, change)
            if isinstance(function, type) and not issubclass(function, nn.Module):
                continue
            if name == "gradient_descent":
                yield room, name, functools.partial(longer_steps, function, factor)
            elif name in ("fit", "fit_deep", "fit_many", "trainability"):
                yield room, name, functools.partial(one_step, function)
            elif name == "fit_with_tricks":
                yield room, name, functools.partial(one_step, function)
                yield room, name, functools.partial(larger_rates, function, factor)
            elif name == "sample_law":
                # a factor of all numbers leaves angles and ratios of layers as they were; larger weights leave ReLU's
                yield room, name, functools.partial(larger_weights, function, factor**2)
                yield room, name, functools.partial(with_result, function, less_alike)
            else:
                yield room, name, functools.partial(with_result, function, lambda value, x=factor: scaled(value, x))
            if room == "nets" and name.startswith("random_"):
                # one σ for all leaves the variance of a logarithm as it was, a condition number, and most effects
                for change in (uneven, one_loud_row, near_identity):
                    yield room, name, functools.partial(with_result, function, change)
            if isinstance(function, type):
                yield room, name, functools.partial(with_result, function, near_identity)


def with_result(function: Callable, change: Callable, *args: Any, **kwargs: Any) -> Any:
    """Call a function and change its result."""
    return change(function(*args, **kwargs))


def drawn_otherwise(stacks: type, change: Callable[[Tensor], Tensor]) -> type:
    """Return networks side by side whose weights are changed after they are drawn."""

    class Otherwise(stacks):
        @classmethod
        def drawn(cls, *args: Any, **kwargs: Any) -> Any:
            made = super().drawn(*args, **kwargs)
            for weight in made.weights:
                weight.copy_(change(weight))
            return made

    return Otherwise


def longer_steps(descent: Callable, factor: float, loss: Callable, *args: Any, **kwargs: Any) -> Any:
    """Descend on a loss that is steeper by this factor."""
    return descent(lambda w: factor * loss(w), *args, **kwargs)


def larger_weights(sample: Callable, factor: float, *args: Any, sigma_w2: float, **kwargs: Any) -> Any:
    """Draw networks whose weights have a variance larger by this factor."""
    return sample(*args, sigma_w2=factor * sigma_w2, **kwargs)


def larger_rates(fit: Callable, factor: float, modules: Any, data: Any, tricks: Any, **kwargs: Any) -> Any:
    """Train with rates larger by this factor."""
    return fit(modules, data, [replace(t, lr=factor * t.lr) for t in tricks], **kwargs)


def one_step(fit: Callable, *args: Any, **kwargs: Any) -> Any:
    """Train for a single step."""
    return fit(*args, **{**kwargs, "steps": 1})


def records(page: Path, strict: bool = False) -> dict[str, Record]:
    """Run a page's code in this process and return its claims' records; a cell that raises leaves its claims out."""
    found: dict[str, Record] = {}

    def keep(record: Record, line: str, failure: str | None = None) -> Record:
        found[record.id] = record
        return record

    for module in (algebra, comparison, prediction):
        module.settle = keep
    names: dict[str, Any] = {}
    for cell in jupytext.read(page).cells:
        if cell.cell_type == "code":
            with contextlib.suppress(*([] if strict else [Exception])), contextlib.redirect_stdout(io.StringIO()):
                exec(compile(cell.source, str(page), "exec"), names)
            plt.close("all")
    return found


def code(page: Path) -> str:
    """Return all code of a page."""
    return "\n".join(cell.source for cell in jupytext.read(page).cells if cell.cell_type == "code")


def gone(*args: Any, **kwargs: Any) -> None:
    """Stand in for what is not there."""
    raise NotImplementedError


def verdicts(page: Path, number: int | None) -> dict[str, str]:
    """Return the verdicts of a page's claims under one mutant; under None, with nothing to build, measure or train."""
    if number is None:
        broken = [(room, name, gone) for room, name, _ in mutants() if room != "theory"]
    else:
        broken = [list(mutants())[number]]
    rooms = {room: importlib.import_module(f"signalprop.{room}") for room, _, _ in broken}
    originals = [(room, name, getattr(rooms[room], name)) for room, name, _ in broken]
    for room, name, function in broken:
        setattr(rooms[room], name, function)
    try:
        return {claim: record.verdict for claim, record in records(page).items()}
    finally:
        for room, name, function in originals:
            setattr(rooms[room], name, function)


def needed(record: Record, alone: bool) -> set[str]:
    """Return the groups of mutants to at least one of which a claim must fall; `alone` if it observes nothing."""
    groups = {"theory"} if record.kind != "effect" else set()
    return groups if record.stored or (alone and record.kind == "identity") else groups | {"observation"}


def survey(page: Path, everything: bool) -> bool:
    """Print which mutants each claim of a page falls to, and return whether every claim can fail."""
    healthy = records(page, strict=True)
    words = set(re.findall(r"\w+", code(page)))
    fell: dict[str, dict[str, list[str]]] = {claim: {"theory": [], "observation": []} for claim in healthy}
    unseeing = verdicts(page, None)

    def missing(claim: str) -> list[str]:
        alone = unseeing.get(claim) == healthy[claim].verdict
        return sorted(group for group in needed(healthy[claim], alone) if not fell[claim][group])

    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("fork")) as pool:
        named = [(number, room, name) for number, (room, name, _) in enumerate(mutants()) if name in words]
        running = {pool.submit(verdicts, page, number): (room, name) for number, room, name in named}
        for done in as_completed(running):
            room, name = running[done]
            sick = done.result()
            for claim, record in healthy.items():
                if sick.get(claim) != record.verdict:
                    group, killer = ("theory", name) if room == "theory" else ("observation", f"{room}.{name}")
                    fell[claim][group].append(killer)
            if not everything and not any(map(missing, healthy)):
                pool.shutdown(wait=False, cancel_futures=True)
                break
    for claim in healthy:
        killers = ", ".join(name for names in fell[claim].values() for name in dict.fromkeys(names))
        survived = f"   SURVIVES every mutant of {' and '.join(missing(claim))}" if missing(claim) else ""
        print(f"{'✗' if survived else '✓'} {claim:32s} {killers}{survived}", flush=True)
    return not any(map(missing, healthy))


def main() -> int:
    """Survey the pages named, by default all chapters."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", type=Path, default=sorted((ROOT / "chapters").glob("*.md")))
    parser.add_argument("--all", action="store_true", help="try every mutant, not only until all claims have fallen")
    mpl.use("agg")
    arguments = parser.parse_args()
    results = [survey(page, arguments.all) for page in arguments.pages]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
