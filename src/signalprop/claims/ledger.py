"""The ledger: every record of every executed notebook, one line of JSON each.

A line is a `Record` as JSON (see its docstring for the fields) with one field more, ``page``, the notebook's path
without its suffix, such as ``chapters/01_gradient_explosion``.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from signalprop.claims.record import METADATA_KEY, SCHEMA

LEDGER_VARIABLE = "SIGNALPROP_LEDGER"


def collect(notebooks: Path) -> list[dict[str, Any]]:
    """Return the records of all notebooks under a folder, in the order of pages and of cells.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If two claims have the same id, or a record has another schema than this version writes.
    """
    if not notebooks.is_dir():
        raise FileNotFoundError(f"no executed notebooks at {notebooks}; `make book` makes them")
    records: list[dict[str, Any]] = []
    seen: dict[str, str] = {}
    for path in sorted(notebooks.rglob("*.ipynb")):
        if ".ipynb_checkpoints" in path.parts:
            continue
        page = path.relative_to(notebooks).with_suffix("").as_posix()
        for record in _records(json.loads(path.read_text(encoding="utf-8"))):
            if record.get("schema") != SCHEMA:
                raise ValueError(f"{page}: record {record.get('id')} has schema {record.get('schema')}, not {SCHEMA}")
            if record["id"] in seen:
                raise ValueError(f"claim {record['id']} is made twice, on {seen[record['id']]} and on {page}")
            seen[record["id"]] = page
            records.append({"page": page, **record})
    return records


def write_ledger(records: Iterable[dict[str, Any]], path: Path) -> None:
    """Write one line of JSON a record, in place of what was there, at once or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), encoding="utf-8")
    partial.replace(path)


def read_ledger(path: Path | None = None) -> list[dict[str, Any]]:
    """Return the records of a ledger, by default of the one that ``SIGNALPROP_LEDGER`` names.

    Raises
    ------
    FileNotFoundError
        If there is none: the book's build writes it once all chapters have run.
    """
    path = path or Path(os.environ.get(LEDGER_VARIABLE, "_build/claims.jsonl"))
    if not path.is_file():
        raise FileNotFoundError(f"no ledger at {path.absolute()}: `make book` writes it; or set {LEDGER_VARIABLE}")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def _records(notebook: dict[str, Any]) -> Iterable[dict[str, Any]]:
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            record = output.get("metadata", {}).get(METADATA_KEY, {}).get("claim")
            if record is not None:
                yield record
