"""Make stored results, and check that they can be made again.

    python tools/stored.py run NAME [--jobs N]    run the cells of a recipe in src/signalprop/stored, N at a time, each
                                                  on one core; goes on where it stopped
    python tools/stored.py verify [NAME]          run one random cell of each stored result again, and compare

The samples lie beside the recipe; until all are there, what `run` has done is kept in _build/stored. `verify` exits
with 1 if the samples of the cell differ, in the median, by more than the recipe tolerates: training amplifies rounding,
and a few of them may come out otherwise on another machine. If the cell agrees but the code has changed since, `verify`
renews the digests of the code, and the result is no longer stale.
"""

import argparse
import importlib
import json
import multiprocessing
import platform
import random
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from signalprop.stored.result import FOLDER, PACKAGE, digest, read
from signalprop.streams import base_seed

UNFINISHED = PACKAGE.parents[1] / "_build" / "stored"

Timed = tuple[list[float], set[str], float]


class StoredError(Exception):
    """A stored result cannot be made or compared; the message says why and what to do."""


def run(recipe: ModuleType, package: Path = PACKAGE, unfinished: Path = UNFINISHED, jobs: int = 1) -> None:
    """Run the cells of a recipe that are not done yet, `jobs` at a time; when all are, put the samples beside it."""
    target = Path(recipe.__file__).with_suffix(".json")
    partial = unfinished / target.name
    content = begin(recipe)
    if partial.is_file():
        done = json.loads(partial.read_text(encoding="utf-8"))
        require_same(done, content, package, partial)
        content = done
    about, cells = content["about"], content["cells"]
    digests = digests_of(package)  # now: a file may be edited while the cells run
    points = [dict(zip(recipe.GRID, values, strict=True)) for values in product(*recipe.GRID.values())]
    bar = tqdm(initial=len(cells), total=len(points), desc=target.stem, unit="cell")
    with bar, each_run(recipe, points[len(cells) :], package, jobs) as runs:
        for values, ran, seconds in runs:
            cells.append(values)
            about["code"] |= {name: digests[name] for name in ran}
            about["cpu_seconds"] = round(about["cpu_seconds"] + seconds, 1)
            write(content, partial)
            bar.update()
    about["date"], about["code"] = today(), dict(sorted(about["code"].items()))
    write(content, target)
    partial.unlink(missing_ok=True)
    print(read(target, package))


@contextmanager
def each_run(recipe: ModuleType, points: list[dict[str, Any]], package: Path, jobs: int) -> Iterator[Iterator[Timed]]:
    """Give the samples, files and seconds of the cells at some points, in their order."""
    if jobs == 1 or not points:
        yield (timed_cell(recipe, point, package) for point in points)
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        try:
            yield pool.map(cell_of, *zip(*((recipe.__name__, point, package) for point in points), strict=True))
        finally:
            pool.shutdown(cancel_futures=True)


def cell_of(name: str, point: dict[str, Any], package: Path) -> Timed:
    """Do the same in a process of its own, for the recipe of this name."""
    return timed_cell(importlib.import_module(name), point, package)


def timed_cell(recipe: ModuleType, point: dict[str, Any], package: Path) -> Timed:
    """Return the samples of one cell, the files of the package that they rest on, and the seconds of the processor."""
    started = time.process_time()
    values, ran = run_cell(recipe, point, package)
    return values, ran, time.process_time() - started


def verify(recipe: ModuleType, package: Path = PACKAGE) -> bool:
    """Run a random cell of a stored result again, say how it compares, and return whether it agrees."""
    path = Path(recipe.__file__).with_suffix(".json")
    old = read(path, package)
    content = json.loads(path.read_text(encoding="utf-8"))
    if (content["grid"], content["within"]) != (recipe.GRID, recipe.WITHIN):
        raise StoredError(f"{old.name}: the recipe has other axes than the stored samples; run it again")
    points = [dict(zip(recipe.GRID, values, strict=True)) for values in product(*recipe.GRID.values())]
    kept = getattr(recipe, "VERIFIED", {}).items()
    telling = [(i, p) for i, p in enumerate(points) if all(p.get(name) in some for name, some in kept)]
    if not telling:
        raise StoredError(f"{old.name}: VERIFIED leaves no cell of the grid")
    number, point = random.choice(telling)
    digests = digests_of(package)
    values, ran = run_cell(recipe, point, package)
    apart = np.abs(np.subtract(values, content["cells"][number]))
    agrees = bool(np.median(apart) <= recipe.TOLERANCE)
    how = f"apart by {np.median(apart):.2g} in the median (tolerated: {recipe.TOLERANCE:g}), {apart.max():.2g} at most"
    how = how if apart.any() else "bitwise equal"
    print(f"{'✓' if agrees else '✗'} {old.name} at {point}: {how}")
    if agrees and old.stale:
        rested_on = sorted(ran | (content["about"]["code"].keys() & digests.keys()))  # other cells may run other files
        content["about"] |= {"renewed": today(), "code": {name: digests[name] for name in rested_on}}
        write(content, path)
        print(f"  {', '.join(old.changed)} changed, the samples did not: no longer stale")
    return agrees


def run_cell(recipe: ModuleType, point: dict[str, Any], package: Path) -> tuple[list[float], set[str]]:
    """Return the samples of one cell, and the files of the package that they rest on."""
    with files_that_run(package) as files:
        values = recipe.cell(**point)
    shape = tuple(map(len, recipe.WITHIN.values()))
    if tuple(values.shape) != shape or not values.isfinite().all():
        raise StoredError(f"the cell at {point} must give finite samples of shape {shape}, it gave {values}")
    return values.flatten().tolist(), files | set(recipe.FILES)


@contextmanager
def files_that_run(package: Path) -> Iterator[set[str]]:
    """Collect the files of a package, as paths relative to it, in which a function is called."""
    seen: set[str] = set()
    files: set[str] = set()

    def note(frame: FrameType, event: str, argument: object) -> None:
        seen.add(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        yield files
    finally:
        sys.setprofile(None)
        inside = (Path(name) for name in seen if name.endswith(".py"))
        files |= {path.relative_to(package).as_posix() for path in inside if path.is_relative_to(package)}


def digests_of(package: Path) -> dict[str, str]:
    """Return the digest of every file of a package."""
    files = (path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(package).as_posix(): digest(path) for path in files}


def begin(recipe: ModuleType) -> dict[str, Any]:
    """Return what is written before the first cell has run."""
    name = Path(recipe.__file__).stem
    about = {
        "command": f"python tools/stored.py run {name}",
        "base_seed": base_seed(),
        "device": f"{platform.machine()} CPU, {torch.backends.cpu.get_cpu_capability()}, 1 thread",
        "python": platform.python_version(),
        "torch": torch.__version__.split("+")[0],
        "numpy": np.__version__,
        "cpu_seconds": 0.0,
        "code": {},
    }
    return {"grid": recipe.GRID, "within": recipe.WITHIN, "about": about, "cells": []}


def require_same(done: dict[str, Any], now: dict[str, Any], package: Path, path: Path) -> None:
    """Raise unless the cells that are done were run as those to come will be."""
    facts = {key for key in now["about"] if key not in ("cpu_seconds", "code")}
    other = [key for key in sorted(facts) if done["about"][key] != now["about"][key]]
    other += [key for key in ("grid", "within") if done[key] != now[key]]
    other += [name for name, before in done["about"]["code"].items() if digest(package / name) != before]
    if other:
        raise StoredError(f"{path} was begun with another {', '.join(other)}; delete it to begin again")


def write(content: dict[str, Any], path: Path) -> None:
    """Write a result, one line a cell, at once or not at all."""
    head = {key: json.dumps(content[key]) for key in ("grid", "within")}
    head["about"] = json.dumps(content["about"], indent=1)
    head["cells"] = "[\n" + ",\n".join(map(json.dumps, content["cells"])) + "\n]"
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".writing")
    scratch.write_text("{\n" + ",\n".join(f'"{key}": {text}' for key, text in head.items()) + "\n}\n", encoding="utf-8")
    scratch.replace(path)


def today() -> str:
    """Return the date, such as 2025-01-31, in UTC."""
    return datetime.now(UTC).date().isoformat()


def recipe_named(name: str) -> ModuleType:
    """Return the recipe of a stored result."""
    known = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in ("__init__", "result"))
    if name not in known:
        raise StoredError(f"there is no recipe {name!r}; there is {', '.join(known)}")
    return importlib.import_module(f"signalprop.stored.{name}")


def main() -> int:
    """Run a recipe, or verify the stored results named, by default all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("name")
    running.add_argument("--jobs", type=int, default=1)
    commands.add_parser("verify").add_argument("name", nargs="?")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        if base_seed() != 0:
            raise StoredError("stored results are made at base seed 0: unset SIGNALPROP_SEED")
        if arguments.command == "run":
            if arguments.jobs < 1:
                raise StoredError(f"--jobs must be at least 1, got {arguments.jobs}")
            run(recipe_named(arguments.name), jobs=arguments.jobs)
            return 0
        names = [arguments.name] if arguments.name else sorted(path.stem for path in FOLDER.glob("*.json"))
        agree = [verify(recipe_named(name)) for name in names]
        return 0 if all(agree) else 1
    except (StoredError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
