"""`tools/book.py` on books of a few lines: two are executed for all tests here, the rest is checked on copies."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from filelock import FileLock
from jupyter_cache import get_cache

from signalprop.claims import Record, read_ledger
from signalprop.profiles import PROFILES

SCRIPT = Path(__file__).parents[1] / "tools" / "book.py"
GOOD = "chapters/01_good"
PLAIN = "chapters/02_plain"
READER = "appendices/scoreboard"

HEADER = """\
---
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# A page

Its prose.
"""
CLAIM = """\
import torch
from signalprop import identity
identity("mini.{id}", "one is {value}", torch.tensor([1]), {value}, source="derived", equation="eq-none")
"""
PAGES = {
    GOOD: ["import time\nprint(time.time_ns())", CLAIM.format(id="good", value=1.0), ""],
    PLAIN: ["6 * 7"],
    READER: ["from signalprop.claims import read_ledger\nprint([r['id'] for r in read_ledger()])"],
}
FAILURES = {
    "chapters/03_claim_fails": ([CLAIM.format(id="bad", value=2.0)], "a cell raised"),
    "chapters/04_raises": (["1 / 0", "1"], "a cell raised"),
    "chapters/05_shows_an_error": ([":tags: [raises-exception]\n1 / 0"], "a cell raised"),
    "chapters/06_stderr": (["import sys\nprint('noise', file=sys.stderr)"], "a cell wrote to stderr"),
    "chapters/07_warns": (["import warnings\nwarnings.warn('careful')"], "a cell wrote to stderr"),
    "chapters/08_kernel_dies": (["import os\nos._exit(1)"], "not executed to its end"),
    "chapters/09_stderr_below_python": (["import os\n_ = os.write(2, b'noise')"], "a cell wrote to stderr"),
}
BAD = [pytest.param(page, id=page[9:]) for page in FAILURES]
SLOW = {
    "chapters/01_slow": ["import time\ntime.sleep(60)", "1"],
    "chapters/02_slow_without_interrupt": [
        "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\ntime.sleep(4)",
    ],
    "chapters/03_quick": ["1"],
}
TOO_SLOW = ["chapters/01_slow", "chapters/02_slow_without_interrupt"]


def write_pages(root: Path, pages: dict[str, list[str]]) -> None:
    for page, cells in pages.items():
        path = (root / page).with_suffix(".md")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEADER + "".join(f"\n```{{code-cell}} ipython3\n{cell}\n```\n" for cell in cells), "utf-8")


def load(root: Path):
    """Load the script for the book at `root`."""
    spec = importlib.util.spec_from_file_location("book", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("STAGE", "NOTEBOOKS", "LEDGER", "HTML", "CACHE"):
        setattr(module, name, root / getattr(module, name).relative_to(module.ROOT))
    module.ROOT = root
    return module


def kept(book) -> list[str]:
    return sorted(path.relative_to(book.NOTEBOOKS).with_suffix("").as_posix() for path in book.NOTEBOOKS.rglob("*.*"))


def executed(book, page: str) -> nbformat.NotebookNode:
    return nbformat.read((book.NOTEBOOKS / page).with_suffix(".ipynb"), as_version=4)


def shared(tmp_path_factory, name: str, make) -> Path:
    """Return a folder that `make` fills once, for the workers of pytest-xdist together."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with FileLock(base / f"{name}.lock"):
        if not (base / name).is_dir():
            shutil.rmtree(base / "partial" / name, ignore_errors=True)
            make(base / "partial" / name)
            (base / "partial" / name).rename(base / name)
    return base / name


def fill_mini(root: Path) -> None:
    """Execute good and bad pages together; then drop the bad ones and run again."""
    (root / "src" / "signalprop").mkdir(parents=True)
    (root / "src" / "signalprop" / "code.py").write_text("x = 1\n")
    write_pages(root, PAGES | {page: cells for page, (cells, _) in FAILURES.items()})
    book = load(root)
    with pytest.raises(book.BuildError) as failure:
        book.run()
    first = executed(book, GOOD).cells[1].outputs
    (root / "first.json").write_text(json.dumps({"error": str(failure.value), "kept": kept(book), "outputs": first}))
    for page in FAILURES:
        (root / page).with_suffix(".md").unlink()
    book.run()


def fill_slow(root: Path) -> None:
    write_pages(root, SLOW)
    book = load(root)
    book.CELL_SECONDS = dict.fromkeys(PROFILES, 2)
    with pytest.raises(book.BuildError) as failure:
        book.run()
    (root / "first.json").write_text(json.dumps({"error": str(failure.value), "kept": kept(book)}))


@pytest.fixture(scope="module")
def mini(tmp_path_factory) -> Path:
    """A book that was executed; `first.json` tells of its first run, with the bad pages."""
    return shared(tmp_path_factory, "mini", fill_mini)


@pytest.fixture(scope="module")
def first(mini) -> dict:
    return json.loads((mini / "first.json").read_text())


@pytest.fixture(scope="module")
def slow(tmp_path_factory) -> dict:
    return json.loads((shared(tmp_path_factory, "slow", fill_slow) / "first.json").read_text())


@pytest.fixture
def book(mini, tmp_path):
    """The script, for a copy of the executed book."""
    shutil.copytree(mini, tmp_path / "book")
    return load(tmp_path / "book")


def edit(book, page: str, old: str, new: str) -> None:
    path = (book.ROOT / page).with_suffix(".md")
    text = path.read_text("utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), "utf-8")


def would_execute(book) -> list[str]:
    """Run the build without its kernels; return the pages it would have executed."""
    pages = []
    book.execute = lambda staged: pages.extend(p.relative_to(book.STAGE).with_suffix("").as_posix() for p in staged)
    book.run()
    return pages


def keep(book, page: str, *records: Record) -> None:
    """Keep a page as executed, with records for its outputs."""
    path = (book.ROOT / page).with_suffix(".md")
    notebook = book.read(path)
    notebook.metadata["signalprop"] = {"key": book.keys()[path], "seconds": 0.0, "ran": ""}
    code = next(cell for cell in notebook.cells if cell.cell_type == "code")
    code.outputs = [
        nbformat.v4.new_output("display_data", metadata={"signalprop": {"claim": record.to_json()}})
        for record in records
    ]
    nbformat.write(notebook, book.place(path))


def record(id: str) -> Record:
    return Record(id, "identity", "statement", "holds", "derived", "eq-none")


# What is kept of an executed page


def test_page_is_kept_with_its_outputs(book):
    cells = executed(book, PLAIN).cells
    assert cells[0].source == "# A page\n\nIts prose."
    assert (cells[1].execution_count, cells[1].outputs[0].data["text/plain"]) == (1, "42")


def test_claim_is_kept_and_in_the_ledger(book):
    assert [(r["page"], r["id"], r["verdict"]) for r in read_ledger(book.LEDGER)] == [(GOOD, "mini.good", "holds")]


def test_page_is_kept_with_key_seconds_and_what_it_ran_on(book):
    kept = executed(book, GOOD).metadata["signalprop"]
    assert kept["key"] == book.keys()[(book.ROOT / GOOD).with_suffix(".md")]
    assert 0 < kept["seconds"] < 60
    assert kept["ran"].startswith(f"profile {book.profile()} · ")
    assert ", 1 thread · Python " in kept["ran"]


def test_kept_page_does_not_say_when_it_ran(book):
    assert [cell for page in PAGES for cell in executed(book, page).cells if "execution" in cell.metadata] == []


def test_cell_ids_count_the_cells(book):
    assert [cell.id for cell in executed(book, GOOD).cells] == ["cell-0", "cell-1", "cell-2", "cell-3"]


def test_stage_is_gone_after_a_run(book):
    assert not book.STAGE.exists()


# Pages that fail


@pytest.mark.parametrize("page", BAD)
def test_bad_page_fails_the_build_by_name(first, page):
    assert f"{page}: {FAILURES[page][1]}" in first["error"]


@pytest.mark.parametrize("page", BAD)
def test_bad_page_is_not_kept(first, page):
    assert page not in first["kept"]


def test_warning_is_quoted(first):
    assert "UserWarning: careful" in first["error"]


def test_good_pages_are_kept_though_others_fail(first):
    assert {GOOD, PLAIN} <= set(first["kept"])


def test_page_that_reads_the_ledger_does_not_run_after_a_failure(first):
    assert READER not in first["kept"]


def test_good_page_is_not_executed_again_once_the_others_are_mended(book, first):
    assert executed(book, GOOD).cells[1].outputs == first["outputs"]


@pytest.mark.parametrize("page", TOO_SLOW)
def test_page_with_a_slow_cell_fails_the_build_by_name(slow, page):
    assert f"{page}: " in slow["error"]


@pytest.mark.parametrize("page", TOO_SLOW)
def test_page_with_a_slow_cell_is_not_kept(slow, page):
    assert page not in slow["kept"]


def test_quick_page_is_kept_beside_slow_ones(slow):
    assert "chapters/03_quick" in slow["kept"]


def test_every_profile_has_its_time_limit():
    assert load(Path("/book")).CELL_SECONDS.keys() == set(PROFILES)


# What is executed again


def test_unchanged_book_executes_nothing(book):
    assert would_execute(book) == []


def test_unchanged_pages_are_kept_as_they_are(book):
    before = executed(book, READER)
    would_execute(book)
    assert executed(book, READER) == before


def test_new_prose_takes_over_the_outputs(book):
    before = executed(book, GOOD)
    edit(book, GOOD, "Its prose.", "Its **new** prose.\n\n+++\n\nMore of it.")
    assert would_execute(book) == []
    after = executed(book, GOOD)
    assert [cell.source for cell in after.cells[:2]] == ["# A page\n\nIts **new** prose.", "More of it."]
    assert [(c.outputs, c.execution_count) for c in after.cells[2:]] == [
        (c.outputs, c.execution_count) for c in before.cells[1:]
    ]
    assert after.metadata["signalprop"] == before.metadata["signalprop"]


def test_new_options_of_a_cell_take_over_its_outputs(book):
    edit(book, PLAIN, "6 * 7", ":tags: [hide-input]\n6 * 7")
    assert would_execute(book) == []
    cell = executed(book, PLAIN).cells[1]
    assert (cell.metadata.tags, cell.outputs[0].data["text/plain"]) == (["hide-input"], "42")


def test_new_code_is_executed(book):
    edit(book, PLAIN, "6 * 7", "6 * 8")
    assert would_execute(book) == [PLAIN]


def test_moved_cells_are_executed(book):
    edit(book, PLAIN, "6 * 7\n```", "6 * 7\n```\n\n```{code-cell} ipython3\n8\n```")
    assert would_execute(book) == [PLAIN]


def test_page_that_reads_the_ledger_runs_last_and_sees_the_claims_of_the_others(book):
    assert executed(book, READER).cells[1].outputs[0].text == "['mini.good']\n"


def test_new_ledger_runs_its_readers_again_and_nothing_else(book):
    keep(book, PLAIN, record("mini.plain"))
    assert would_execute(book) == [READER]


def change(path: Path) -> None:
    path.write_text("x = 2\n")


def rename(path: Path) -> None:
    path.rename(path.with_name("other.py"))


def add(path: Path) -> None:
    path.with_name("data.npz").write_bytes(b"\xff")


@pytest.mark.parametrize("alter", [change, rename, add])
def test_new_source_of_the_package_executes_every_page(book, alter):
    alter(book.ROOT / "src" / "signalprop" / "code.py")
    assert would_execute(book) == [GOOD, PLAIN, READER]


def test_compiled_source_is_not_in_the_key(book):
    before = book.keys()
    compiled = book.ROOT / "src" / "signalprop" / "__pycache__" / "code.pyc"
    compiled.parent.mkdir()
    compiled.write_bytes(b"\xff")
    assert book.keys() == before


def differ(before: dict[Path, str], after: dict[Path, str]) -> bool:
    return before.keys() == after.keys() and all(before[path] != after[path] for path in before)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("SIGNALPROP_SEED", "271828"), ("SIGNALPROP_PROFILE", "standard"), ("SIGNALPROP_DEVICE", "meta")],
)
def test_seed_profile_and_device_are_in_the_key(book, monkeypatch, variable, value):
    monkeypatch.delenv(variable, raising=False)
    before = book.keys()
    monkeypatch.setenv(variable, value)
    assert differ(before, book.keys())


@pytest.mark.parametrize("package", ["torch", "numpy", "matplotlib"])
def test_version_of_a_package_is_in_the_key(book, monkeypatch, package):
    before = book.keys()
    version = book.version
    monkeypatch.setattr(book, "version", lambda name: "0" if name == package else version(name))
    assert differ(before, book.keys())


def test_interrupted_run_leaves_the_kept_notebooks_readable(book, monkeypatch):
    def interrupted(notebook, path):
        Path(path).write_text('{"cells": [')
        raise KeyboardInterrupt

    before = [executed(book, page) for page in PAGES]
    monkeypatch.setattr(nbformat, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        would_execute(book)
    assert [executed(book, page) for page in PAGES] == before


# Pages of the book


def test_notebook_and_claims_of_a_removed_page_disappear(book):
    (book.ROOT / GOOD).with_suffix(".md").unlink()
    assert would_execute(book) == [READER]
    assert kept(book) == [READER, PLAIN]
    assert read_ledger(book.LEDGER) == []


def test_page_without_code_is_none_to_execute(book):
    write_pages(book.ROOT, {PLAIN: [], "chapters/03_prose": []})
    assert would_execute(book) == []
    assert kept(book) == [READER, GOOD]


def test_two_pages_cannot_make_the_same_claim(book):
    write_pages(book.ROOT, {"chapters/03_twin": ["1"]})
    keep(book, "chapters/03_twin", record("mini.good"))
    with pytest.raises(
        ValueError, match=r"claim mini\.good is made twice, on chapters/01_good and on chapters/03_twin"
    ):
        book.run()


def test_page_that_reads_the_ledger_makes_no_claims(book):
    keep(book, READER, record("mini.late"))
    with pytest.raises(book.BuildError, match=READER):
        would_execute(book)


# The site


@pytest.fixture
def jupyter_book(monkeypatch):
    """What stands in for jupyter-book: it was called, it ended with `returncode` and wrote `stdout`."""
    done = subprocess.CompletedProcess([], 0, stdout="", stderr="")

    def run(command, **options):
        done.args = command
        return done

    monkeypatch.setattr(subprocess, "run", run)
    return done


def test_site_is_made_from_what_was_executed(book, jupyter_book):
    book.site()
    assert jupyter_book.args[1:] == ["build", "--all", "-W", "-n", "--keep-going", str(book.ROOT)]
    cache = get_cache(book.CACHE)
    for page in PAGES:
        _, merged = cache.merge_match_into_notebook(book.read((book.ROOT / page).with_suffix(".md")))
        outputs = [[c.outputs for c in n.cells if c.cell_type == "code"] for n in (merged, executed(book, page))]
        assert outputs[0] == outputs[1]


@pytest.mark.parametrize(
    "alter",
    [
        lambda book: edit(book, PLAIN, "6 * 7", "6 * 8"),
        lambda book: book.place((book.ROOT / PLAIN).with_suffix(".md")).unlink(),
    ],
    ids=["new code", "never executed"],
)
def test_site_refuses_a_page_that_is_not_executed_as_it_stands(book, jupyter_book, alter):
    alter(book)
    with pytest.raises(book.BuildError, match=f"{PLAIN}.md is not executed as it stands: .*book.py run"):
        book.site()
    assert jupyter_book.args == []


def test_site_refuses_a_page_that_has_read_another_ledger(book, jupyter_book):
    book.LEDGER.write_text("")
    with pytest.raises(book.BuildError, match=READER):
        book.site()
    assert jupyter_book.args == []


def test_site_refuses_a_ledger_that_is_not_of_its_pages(book, jupyter_book):
    keep(book, PLAIN, record("mini.plain"))
    with pytest.raises(book.BuildError, match=r"book\.py run"):
        book.site()


def test_site_has_no_page_of_an_earlier_build(book, jupyter_book):
    old = book.HTML / "chapters" / "99_removed.html"
    old.parent.mkdir(parents=True)
    old.touch()
    book.site()
    assert not old.exists()


def test_site_tells_the_warnings_and_keeps_the_log(book, jupyter_book):
    jupyter_book.returncode, jupyter_book.stdout = 1, "reading\nindex.md:3: WARNING: no such label\nwriting\n"
    with pytest.raises(book.BuildError) as failure:
        book.site()
    assert str(failure.value) == "index.md:3: WARNING: no such label\nthe whole log: _build/site.log"
    assert (book.ROOT / "_build" / "site.log").read_text("utf-8") == jupyter_book.stdout


def test_site_never_executes_a_page_itself(book, jupyter_book):
    jupyter_book.stdout = "chapters/01_good: Executing notebook using local CWD [mystnb]\n"
    with pytest.raises(book.BuildError, match="the site executed a notebook itself"):
        book.site()


# The command line


def test_failure_is_told_without_a_traceback(book, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["book.py", "site"])
    edit(book, PLAIN, "6 * 7", "6 * 8")
    assert book.main() == 1
    assert capsys.readouterr().err.splitlines()[1:] == [
        "the book is not built:",
        f"{PLAIN}.md is not executed as it stands: `python tools/book.py run` does it",
    ]


def test_unknown_profile_is_told_before_anything_is_built(book, jupyter_book, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["book.py", "run", "site"])
    monkeypatch.setenv("SIGNALPROP_PROFILE", "nonsense")
    assert book.main() == 1
    assert "SIGNALPROP_PROFILE is 'nonsense'" in capsys.readouterr().err
    assert jupyter_book.args == []


def test_unchanged_run_succeeds(book, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["book.py", "run"])
    assert book.main() == 0
    assert capsys.readouterr().out.startswith("0 of 2 pages to execute\n0 of 1 pages to execute\n")
