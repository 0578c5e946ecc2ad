"""Ratios of times taken in one run, on one core."""

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


def one_core() -> None:
    """Keep this process, and what it starts, on one core and one thread; call it before torch is imported."""
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


@dataclass(frozen=True)
class Row:
    """One line of the table: what was compared, the goal, and what came out."""

    what: str
    against: str
    goal: str
    found: str
    reached: bool | None = None
    remark: str = ""


def ratios(slower: Callable[[], object], faster: Callable[[], object], rounds: int = 7) -> list[float]:
    """Return how many times as long the first takes as the second: pairs, one after the other, sorted.

    Each is run twice before, so that no pair pays for compilation or for first allocations.
    """
    for _ in range(2):
        slower()
        faster()
    return sorted(_seconds(slower) / _seconds(faster) for _ in range(rounds))


def shown(values: list[float]) -> str:
    """Return the median of some ratios and their range."""
    return f"{statistics.median(values):.3g} ({values[0]:.3g} to {values[-1]:.3g})"


def at_least(what: str, against: str, goal: float, values: list[float], remark: str = "") -> Row:
    """Return the row of a goal "so many times as fast"."""
    return Row(what, against, f"{goal:g}× faster", shown(values) + "×", statistics.median(values) >= goal, remark)


def at_most(what: str, against: str, goal: float, values: list[float], remark: str = "") -> Row:
    """Return the row of a goal "at most so many times as much"."""
    return Row(what, against, f"≤ {goal:g}×", shown(values) + "×", statistics.median(values) <= goal, remark)


def in_a_fresh_process(script: Path, *arguments: object) -> str:
    """Return what a script prints in a process of its own, for what it allocates to be its own."""
    command = [sys.executable, str(script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def machine() -> str:
    """Return processor and versions in a line."""
    import torch

    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{model} ({capability}), {platform.system()}, Python {platform.python_version()}, torch {torch.__version__}"


def _seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start
