"""`tools/stored.py` on a recipe of a few numbers, in a package of its own."""

import importlib
import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest
import torch

from signalprop.stored.result import digest, read

SCRIPT = Path(__file__).parents[1] / "tools" / "stored.py"
RECIPE = """
import torch
from tinypackage.rooms.halves import half
from tinypackage.unused import nothing

GRID = {"depth": [1, 2], "replicate": [0, 1]}
WITHIN = {"scale": [1.0, 3.0]}
FILES = ["numbers.txt"]
TOLERANCE = 0.01
CALLS = []

def cell(depth, replicate):
    CALLS.append((depth, replicate))
    return half(torch.tensor(WITHIN["scale"]) * depth + replicate)
"""
FILES = {
    "__init__.py": "",
    "tiny.py": RECIPE,
    "unused.py": "def nothing(): pass\n",
    "rooms/__init__.py": "",
    "rooms/halves.py": "def half(x): return x / 2\n",
    "numbers.txt": "1 2 3\n",
}
SAMPLES = [[0.5, 1.5], [1.0, 2.0], [1.0, 3.0], [1.5, 3.5]]


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("tool_stored", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "tinypackage"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in [name for name in sys.modules if name.startswith("tinypackage")]:
        del sys.modules[name]


@pytest.fixture
def recipe(package):
    return importlib.import_module("tinypackage.tiny")


@pytest.fixture
def run(tool, recipe, package, tmp_path):
    return lambda: tool.run(recipe, package, tmp_path / "unfinished")


@pytest.fixture
def verify(tool, recipe, package):
    return lambda: tool.verify(recipe, package)


def stored(package):
    return json.loads((package / "tiny.json").read_text())


def interrupt(recipe, monkeypatch, after):
    """Let the recipe be stopped, once, before a cell."""
    cell = recipe.cell

    def stopped(**point):
        if len(recipe.CALLS) == after:
            raise KeyboardInterrupt
        return cell(**point)

    monkeypatch.setattr(recipe, "cell", stopped)


def test_run_keeps_every_sample_and_says_how(run, recipe, package, tmp_path, capsys):
    run()
    result = read(package / "tiny.json", package)
    assert result.samples["value"].tolist() == [value for cell in SAMPLES for value in cell]
    assert result.samples.columns.tolist() == ["depth", "replicate", "scale", "value"]
    assert recipe.CALLS == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert {"command", "date", "cpu_seconds", "base_seed", "device", "python", "torch", "numpy"} < set(result.about)
    assert capsys.readouterr().out == f"{result}\n"
    assert not list((tmp_path / "unfinished").iterdir())


def test_digests_are_of_the_files_that_ran_and_the_data(run, package):
    run()
    wanted = ["numbers.txt", "rooms/halves.py", "tiny.py"]
    assert stored(package)["about"]["code"] == {name: digest(package / name) for name in wanted}


def test_run_goes_on_where_it_was_stopped(run, recipe, package, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt(recipe, patch, after=3)
        with pytest.raises(KeyboardInterrupt):
            run()
    assert not (package / "tiny.json").exists()
    run()
    assert recipe.CALLS == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert stored(package)["cells"] == SAMPLES


def test_cells_run_side_by_side_give_the_same(recipe, package, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)  # for the processes, which have to find it by its name
    importlib.import_module("stored").run(recipe, package, tmp_path / "unfinished", jobs=2)
    assert stored(package)["cells"] == SAMPLES
    assert list(stored(package)["about"]["code"]) == ["numbers.txt", "rooms/halves.py", "tiny.py"]
    assert recipe.CALLS == []


@pytest.mark.parametrize("jobs", ["0", "-2"])
def test_no_jobs(tool, monkeypatch, capsys, jobs):
    monkeypatch.delenv("SIGNALPROP_SEED", raising=False)
    assert main(tool, monkeypatch, "run", "trainability_map", "--jobs", jobs) == 1
    assert capsys.readouterr().err == f"--jobs must be at least 1, got {jobs}\n"


def test_run_does_not_go_on_with_other_code(run, recipe, tool, package, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt(recipe, patch, after=1)
        with pytest.raises(KeyboardInterrupt):
            run()
    (package / "rooms" / "halves.py").write_text("def half(x): return x / 3\n")
    monkeypatch.setattr(recipe, "WITHIN", {"scale": [1.0, 4.0]})
    monkeypatch.setattr(tool, "base_seed", lambda: -1)
    with pytest.raises(
        tool.StoredError, match=r"another base_seed, within, rooms/halves\.py; delete it to begin again"
    ):
        run()


def test_run_begins_again_when_all_is_done(run, recipe):
    run()
    run()
    assert len(recipe.CALLS) == 8


def test_what_was_stored_stays_until_all_is_done_again(run, recipe, package, monkeypatch):
    run()
    before = stored(package)
    interrupt(recipe, monkeypatch, after=6)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert stored(package) == before


@pytest.mark.parametrize("broken", [lambda x: x / 0, lambda x: x[0]], ids=["infinite", "shape"])
def test_cell_must_give_finite_samples_of_its_shape(run, recipe, tool, monkeypatch, broken):
    monkeypatch.setattr(recipe, "half", broken)
    with pytest.raises(tool.StoredError, match=r"the cell at .*'depth': 1.* must give finite samples of shape \(2,\)"):
        run()


def test_verify_finds_the_same(run, verify, recipe, package, capsys):
    run()
    before = stored(package)
    capsys.readouterr()
    assert verify()
    line = capsys.readouterr().out
    assert line.startswith("✓ tiny at {'depth': ")
    assert line.endswith(": bitwise equal\n")
    assert len(recipe.CALLS) == 5
    assert stored(package) == before


def test_verify_runs_a_random_cell(run, verify, recipe):
    run()
    for _ in range(60):
        verify()
    assert set(recipe.CALLS[4:]) == {(1, 0), (1, 1), (2, 0), (2, 1)}  # fails once in 10⁷


def test_verify_keeps_to_the_cells_that_tell(run, verify, recipe):
    run()
    recipe.VERIFIED = {"depth": [2]}
    for _ in range(30):
        verify()
    assert set(recipe.CALLS[4:]) == {(2, 0), (2, 1)}  # fails once in 10⁹
    recipe.VERIFIED = {"depths": [2]}
    with pytest.raises(Exception, match="tiny: VERIFIED leaves no cell of the grid"):
        verify()


@pytest.mark.parametrize(("change", "agrees"), [(0.009, True), (0.02, False)])
def test_verify_tolerates_a_little(run, verify, recipe, package, monkeypatch, capsys, change, agrees):
    run()
    half = recipe.half
    monkeypatch.setattr(recipe, "half", lambda x: half(x) + change)
    assert verify() == agrees
    assert f"apart by {change:.2g} in the median (tolerated: 0.01), {change:.2g} at most" in capsys.readouterr().out


def test_verify_looks_at_the_median(run, verify, recipe, monkeypatch):
    monkeypatch.setattr(recipe, "WITHIN", {"scale": [1.0, 3.0, 5.0]})
    run()
    half = recipe.half
    monkeypatch.setattr(recipe, "half", lambda x: half(x) + torch.tensor([0.0, 1.0, 0.0]))
    assert verify()
    monkeypatch.setattr(recipe, "half", lambda x: half(x) + torch.tensor([1.0, 1.0, 0.0]))
    assert not verify()


def test_verify_renews_what_is_stale_but_agrees(run, verify, package, capsys):
    run()
    (package / "rooms" / "halves.py").write_text("def half(x): return 0.5 * x\n")
    assert read(package / "tiny.json", package).changed == ("rooms/halves.py",)
    assert verify()
    assert "rooms/halves.py changed, the samples did not: no longer stale" in capsys.readouterr().out
    result = read(package / "tiny.json", package)
    assert not result.stale
    assert "renewed" in result.about
    assert stored(package)["cells"] == SAMPLES


def test_verify_keeps_the_files_of_other_cells(run, verify, package):
    run()
    content = stored(package)
    content["about"]["code"] |= {"unused.py": digest(package / "unused.py"), "gone.py": "0"}
    (package / "tiny.json").write_text(json.dumps(content))
    assert verify()
    result = read(package / "tiny.json", package)
    assert list(result.about["code"]) == ["numbers.txt", "rooms/halves.py", "tiny.py", "unused.py"]
    assert not result.stale


def test_verify_leaves_what_disagrees_stale(run, verify, recipe, package, monkeypatch):
    run()
    (package / "rooms" / "halves.py").write_text("def half(x): return x / 3\n")
    monkeypatch.setattr(recipe, "half", lambda x: x / 3)
    before = stored(package)
    assert not verify()
    assert stored(package) == before


def test_verify_wants_the_axes_of_the_recipe(run, verify, recipe, tool, monkeypatch):
    run()
    monkeypatch.setattr(recipe, "GRID", {"depth": [1, 2, 3], "replicate": [0, 1]})
    with pytest.raises(tool.StoredError, match="tiny: the recipe has other axes than the stored samples; run it again"):
        verify()


def main(tool, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["stored.py", *arguments])
    return tool.main()


@pytest.mark.parametrize("command", ["run", "verify"])
def test_unknown_recipe(tool, monkeypatch, capsys, command):
    monkeypatch.delenv("SIGNALPROP_SEED", raising=False)
    assert main(tool, monkeypatch, command, "result") == 1
    assert re.fullmatch(r"there is no recipe 'result'; there is .*\btrainability_map\b.*\n", capsys.readouterr().err)


def test_another_base_seed(tool, monkeypatch, capsys):
    monkeypatch.setenv("SIGNALPROP_SEED", "7")
    assert main(tool, monkeypatch, "verify") == 1
    assert "made at base seed 0: unset SIGNALPROP_SEED" in capsys.readouterr().err


@pytest.mark.parametrize(("verdicts", "status"), [([True, True], 0), ([True, False], 1), ([False, True], 1)])
def test_verify_goes_through_all_and_fails_if_one_does(tool, monkeypatch, tmp_path, verdicts, status):
    monkeypatch.delenv("SIGNALPROP_SEED", raising=False)
    for name in "ab":
        (tmp_path / f"{name}.json").touch()
    seen = []
    monkeypatch.setattr(tool, "FOLDER", tmp_path)
    monkeypatch.setattr(tool, "recipe_named", str)
    monkeypatch.setattr(tool, "verify", lambda name: (seen.append(name), verdicts["ab".index(name)])[1])
    assert main(tool, monkeypatch, "verify") == status
    assert seen == ["a", "b"]
