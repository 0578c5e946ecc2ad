"""Run all benchmarks, or those named, and write the table: `make bench`. It takes some minutes."""

import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from timing import Row, machine, one_core

one_core()

ALL = ("deep_stack", "deep_stack_memory", "random_law", "many_networks", "profile_cost")
HEAD = """# Benchmarks

What is fast, against whom. Every figure is a ratio of two times taken in turn in one run, on one core: the median of
the pairs and their range. `make bench` makes this table again; with JAX in the environment, which no other part of the
book needs (`.venv/bin/python -m pip install jax`), it compares with that too.

"""


def main(names: list[str]) -> None:
    """Measure, print, and write the table if everything was measured."""
    chosen = names or list(ALL)
    rows: list[Row] = []
    for name in chosen:
        for row in import_module(name).measure():
            print(line(row), flush=True)
            rows.append(row)
    if chosen == list(ALL):
        about = f"Measured on {datetime.now(UTC):%Y-%m-%d}: {machine()}.\n"
        head = "| what | against | goal | measured | reached | |\n|---|---|---|---|---|---|"
        table = "\n".join([head, *map(line, rows)])
        Path(__file__).with_name("README.md").write_text(f"{HEAD}{about}\n{table}\n", encoding="utf-8")


def line(row: Row) -> str:
    """Return a row of the table."""
    reached = {True: "yes", False: "**no**", None: "–"}[row.reached]
    remark = row.remark if not row.reached else ""
    return f"| {row.what} | {row.against} | {row.goal} | {row.found} | {reached} | {remark} |"


if __name__ == "__main__":
    main(sys.argv[1:])
