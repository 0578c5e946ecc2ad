"""Build the book: execute each page once per change, then make the site from what was executed.

    python tools/book.py run     execute what changed (this is also the test of the chapters), write the ledger
    python tools/book.py site    build the site from the executed notebooks, warnings as errors

`run` stages a page as a notebook in ``_stage``, lets pytest with nbmake execute it there and, if all went well, keeps
it in ``_build/notebooks``. A page is executed again when its key changes: its code cells, everything in ``src``,
Python and the packages that compute, the profile, the device, the threads, the base seed, and for pages that read the
ledger the ledger. Prose is not in the key: a page with new prose takes over its old outputs.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import jupytext
import nbformat

from signalprop.claims import collect, read_ledger, write_ledger
from signalprop.profiles import describe, device, profile
from signalprop.streams import base_seed

ROOT = Path(__file__).resolve().parent.parent
STAGE = ROOT / "_stage"  # not below _build: nbmake collects nothing there
NOTEBOOKS = ROOT / "_build" / "notebooks"
LEDGER = ROOT / "_build" / "claims.jsonl"
HTML = ROOT / "_build" / "html"
CACHE = ROOT / "_build" / ".jupyter_cache"
PACKAGES = ("torch", "numpy", "scipy", "pandas", "matplotlib", "seaborn", "scikit-learn", "mnist1d")
CELL_SECONDS = {"quick": 200, "standard": 900, "full": 3 * 3600}
KEY = "signalprop"
# A kernel that sees pytest around it would watch only Python's own stdout and stderr, not what lies below.
KERNEL = (
    "import os; os.environ.pop('PYTEST_CURRENT_TEST', None); "
    "from ipykernel.kernelapp import launch_new_instance; launch_new_instance()"
)


class BuildError(Exception):
    """The book cannot be built; the message says why and what to do."""


def sources() -> list[Path]:
    """Return the pages that hold code, chapters first."""
    pages = [path for folder in ("chapters", "appendices") for path in sorted((ROOT / folder).glob("*.md"))]
    return [path for path in pages if "{code-cell}" in path.read_text(encoding="utf-8")]


def read(path: Path) -> nbformat.NotebookNode:
    """Return a page as a notebook without outputs; cell ids count the cells, so that nothing in it is random."""
    notebook = jupytext.read(path)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    return notebook


def code(notebook: nbformat.NotebookNode) -> list[str]:
    """Return the sources of the code cells."""
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def reads_ledger(path: Path) -> bool:
    """Return whether a page needs the ledger, and so runs after all others."""
    return any("read_ledger" in source for source in code(read(path)))


def environment() -> str:
    """Return a digest of everything but the page itself that its outputs depend on."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "src" / "signalprop").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    facts = [sys.version, profile(), str(device()), str(base_seed()), "one thread"]
    facts += [f"{name} {version(name)}" for name in PACKAGES]
    digest.update("\n".join(facts).encode())
    return digest.hexdigest()


def key(notebook: nbformat.NotebookNode, surroundings: str) -> str:
    """Return what must not change for the outputs of a notebook to stay valid."""
    return hashlib.sha256(json.dumps([surroundings, *code(notebook)]).encode()).hexdigest()


def stored_key(path: Path) -> str | None:
    """Return the key under which a page was executed, None if it was not."""
    done = place(path)
    return nbformat.read(done, as_version=4).metadata.get(KEY, {}).get("key") if done.is_file() else None


def keys() -> dict[Path, str]:
    """Return every page's key as it stands."""
    alone = environment()
    with_ledger = alone + (hashlib.sha256(LEDGER.read_bytes()).hexdigest() if LEDGER.is_file() else "")
    return {path: key(read(path), with_ledger if reads_ledger(path) else alone) for path in sources()}


def place(path: Path) -> Path:
    """Return where a page's executed notebook is kept."""
    return (NOTEBOOKS / path.relative_to(ROOT)).with_suffix(".ipynb")


def save(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Keep an executed notebook, at once or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    nbformat.write(notebook, partial)
    partial.replace(path)


def stage(pages: dict[Path, str]) -> list[Path]:
    """Refresh the executed notebooks of unchanged pages, stage the others and return their staged paths."""
    shutil.rmtree(STAGE, ignore_errors=True)
    staged = []
    for path, wanted in pages.items():
        notebook = read(path)
        if stored_key(path) == wanted:
            old = nbformat.read(place(path), as_version=4)
            pairs = zip(*(filter(lambda c: c.cell_type == "code", n.cells) for n in (notebook, old)), strict=True)
            for new, done in pairs:
                new.outputs, new.execution_count = done.outputs, done.execution_count
            told = (KEY, "language_info", "widgets")  # what execution adds to a notebook
            notebook.metadata |= {name: old.metadata[name] for name in told if name in old.metadata}
            save(notebook, place(path))
            continue
        notebook.metadata[KEY] = {"key": wanted}
        target = (STAGE / path.relative_to(ROOT)).with_suffix(".ipynb")
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, target)
        staged.append(target)
    print(f"{len(staged)} of {len(pages)} pages to execute", flush=True)
    return staged


def execute(staged: list[Path]) -> None:
    """Execute staged notebooks in parallel, one BLAS thread a kernel, and keep those that ran clean."""
    if not staged:
        return
    kernels = STAGE / "kernels" / "python3"
    kernels.mkdir(parents=True)
    argv = [sys.executable, "-Xfrozen_modules=off", "-c", KERNEL, "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Python 3", "language": "python"}
    (kernels / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    workers = min(os.cpu_count() or 1, len(staged))
    command = [sys.executable, "-m", "pytest", "--nbmake", "--overwrite", f"--nbmake-timeout={CELL_SECONDS[profile()]}"]
    command += [
        "-n",
        str(workers),
        "-q",
        "-p",
        "no:cacheprovider",
        "--noconftest",
        "-c",
        os.devnull,
        "--rootdir",
        str(STAGE),
    ]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    kernel = {"JUPYTER_PATH": str(STAGE), "SIGNALPROP_LEDGER": str(LEDGER), "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run([*command, str(STAGE)], cwd=STAGE, env={**os.environ, **threads, **kernel}, check=False)
    problems = [problem for path in staged for problem in accept(path)]
    if ran.returncode or problems:
        problems = problems or ["a page failed; pytest's report above says where"]
        raise BuildError("\n".join(problems))


def accept(path: Path) -> list[str]:
    """Move a staged notebook to the executed ones if every cell ran and none wrote to stderr, else say why not."""
    notebook = nbformat.read(path, as_version=4)
    page = path.relative_to(STAGE).with_suffix("").as_posix()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if any(output.output_type == "error" for cell in cells for output in cell.outputs):
        return [f"{page}: a cell raised"]
    noise = [o.text for cell in cells for o in cell.outputs if o.output_type == "stream" and o.name == "stderr"]
    if noise:
        return [f"{page}: a cell wrote to stderr (a warning, most likely):\n{noise[0].strip()}"]
    if any("shell.execute_reply" not in cell.metadata.get("execution", {}) for cell in cells if cell.source.strip()):
        return [f"{page}: not executed to its end"]
    seconds = 0.0
    for cell in cells:
        times = cell.metadata.pop("execution", {})
        if "shell.execute_reply" in times:
            begin, end = (datetime.fromisoformat(times[k]) for k in ("iopub.execute_input", "shell.execute_reply"))
            seconds += (end - begin).total_seconds()
    notebook.metadata[KEY] |= {"seconds": round(seconds, 1), "ran": describe_kernel()}
    done = place((ROOT / path.relative_to(STAGE)).with_suffix(".md"))
    save(notebook, done)
    return []


def describe_kernel() -> str:
    """Return the line that says what the pages ran on; their kernels have one thread."""
    parts = describe().split(" · ")
    parts[1] = parts[1].split(",")[0] + ", 1 thread"
    return " · ".join(parts)


def run() -> None:
    """Execute all pages that changed: first those that make claims, then those that read the ledger."""
    kept = {place(path) for path in sources()}
    for orphan in (path for path in NOTEBOOKS.rglob("*.ipynb") if path not in kept):
        orphan.unlink()
    NOTEBOOKS.mkdir(parents=True, exist_ok=True)
    execute(stage({path: wanted for path, wanted in keys().items() if not reads_ledger(path)}))
    readers = {path.relative_to(ROOT).with_suffix("").as_posix() for path in sources() if reads_ledger(path)}
    write_ledger((record for record in collect(NOTEBOOKS) if record["page"] not in readers), LEDGER)
    execute(stage({path: wanted for path, wanted in keys().items() if reads_ledger(path)}))
    for record in collect(NOTEBOOKS):
        if record["page"] in readers:
            (NOTEBOOKS / record["page"]).with_suffix(".ipynb").unlink()
            raise BuildError(f"{record['page']} reads the ledger and makes claim {record['id']}: no page can do both")
    shutil.rmtree(STAGE, ignore_errors=True)


def site() -> None:
    """Build the site from the executed notebooks, or raise if anything warns."""
    from jupyter_cache import get_cache

    shutil.rmtree(CACHE, ignore_errors=True)
    cache = get_cache(CACHE)
    for path, wanted in keys().items():
        if stored_key(path) != wanted:
            raise BuildError(
                f"{path.relative_to(ROOT)} is not executed as it stands: `python tools/book.py run` does it"
            )
        cache.cache_notebook_file(place(path), uri=str(path), check_validity=False, overwrite=True)
    if not LEDGER.is_file() or read_ledger(LEDGER) != collect(NOTEBOOKS):
        raise BuildError("the ledger is not that of the executed pages: `python tools/book.py run` writes it")
    shutil.rmtree(HTML, ignore_errors=True)
    jupyter_book = Path(sys.executable).with_name("jupyter-book")
    command = [str(jupyter_book), "build", "--all", "-W", "-n", "--keep-going", str(ROOT)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    log = built.stdout + built.stderr
    (ROOT / "_build" / "site.log").write_text(log, encoding="utf-8")
    if built.returncode:
        warnings = [line for line in log.splitlines() if "WARNING" in line or "ERROR" in line]
        raise BuildError("\n".join(warnings or log.splitlines()[-30:]) + "\nthe whole log: _build/site.log")
    if "Executed notebook" in log or "Executing notebook" in log:
        raise BuildError("the site executed a notebook itself: its cache key no longer matches what was executed")


def report() -> None:
    """Print how long each page took, how many executed claims it holds, and where to open the book."""
    claims = [record["page"] for record in read_ledger(LEDGER) if not record["stored"]]
    for path in sorted(NOTEBOOKS.rglob("*.ipynb")):
        page = path.relative_to(NOTEBOOKS).with_suffix("").as_posix()
        seconds = nbformat.read(path, as_version=4).metadata[KEY]["seconds"]
        print(f"  {page:40s} {seconds:6.1f} s  {claims.count(page):3d} claims")
    print(f"open {(HTML / 'index.html').as_uri()}")


def main() -> int:
    """Run the commands in turn; a failure is told in a sentence or two, without a traceback."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="+", choices=("run", "site"))
    for command in parser.parse_args().commands:
        begin = time.monotonic()
        try:
            run() if command == "run" else site()
        except (BuildError, ValueError, FileNotFoundError) as error:
            print(f"\nthe book is not built:\n{error}", file=sys.stderr)
            return 1
        print(f"{command}: {time.monotonic() - begin:.0f} s", flush=True)
        if command == "site":
            report()
    return 0


if __name__ == "__main__":
    sys.exit(main())
