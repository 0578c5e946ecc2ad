"""What the executed pages must satisfy, beyond having run: `tools/book.py run` executes them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jupytext
import pytest

from signalprop.claims import collect

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "_build" / "notebooks"
PAGES = sorted([*(ROOT / "chapters").glob("*.md"), *(ROOT / "appendices").glob("*.md")])
CHAPTERS = [page for page in PAGES if page.parent.name == "chapters"]

needs_execution = pytest.mark.skipif(not NOTEBOOKS.is_dir(), reason="no executed pages; `make test` makes them first")


def code_cells(page: Path) -> list:
    return [cell for cell in jupytext.read(page).cells if cell.cell_type == "code"]


@pytest.fixture(scope="module")
def records() -> list[dict]:
    return collect(NOTEBOOKS)


@needs_execution
@pytest.mark.parametrize("page", CHAPTERS, ids=lambda page: page.stem)
def test_claims_point_to_equations_of_their_page(page, records):
    labels = set(re.findall(r"^:label: (\S+)", page.read_text(encoding="utf-8"), re.MULTILINE))
    used = {record["equation"] for record in records if record["page"] == f"chapters/{page.stem}"}
    assert used
    assert used - {""} <= labels


@needs_execution
def test_every_source_is_in_the_bibliography(records):
    keys = set(re.findall(r"^@\w+\{([^,]+),", (ROOT / "references.bib").read_text(encoding="utf-8"), re.MULTILINE))
    assert {record["source"] for record in records} <= keys | {"derived"}


@needs_execution
def test_every_claim_has_a_rival(records):
    assert not [r["id"] for r in records if r["kind"] != "effect" and not r["rivals"]]


@needs_execution
def test_a_stored_claim_stands_beside_an_executed_one(records):
    def place(record):
        return record["page"], record["equation"]

    executed = {place(r) for r in records if not r["stored"] and r["verdict"] != "not run"}
    assert not [r["id"] for r in records if r["stored"] and not (r["equation"] and place(r) in executed)]


@needs_execution
def test_the_ledger_is_the_one_of_these_pages(records):
    written = [json.loads(line) for line in (ROOT / "_build" / "claims.jsonl").read_text("utf-8").splitlines()]
    assert written == records


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_code_of_the_page_is_formatted(page):
    command = [sys.executable, "-m", "ruff", "format", "--line-length", "88", "-"]
    for cell in code_cells(page):
        done = subprocess.run(command, input=cell.source + "\n", capture_output=True, text=True, check=True)
        assert done.stdout.rstrip() == cell.source.rstrip(), "run `make format`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_figures_have_alt_text(page):
    for cell in code_cells(page):
        if "plt.subplots" in cell.source:
            assert cell.metadata.get("mystnb", {}).get("image", {}).get("alt"), cell.source[:80]
