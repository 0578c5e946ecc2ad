import json
import shutil

import pytest

from signalprop.stored import load_stored
from signalprop.stored.result import digest, read

ABOUT = {
    "command": "python tools/stored.py run tiny",
    "base_seed": 0,
    "device": "x CPU",
    "python": "3.0",
    "torch": "2.0",
    "numpy": "2.0",
    "cpu_seconds": 120.0,
    "date": "2025-01-31",
}


@pytest.fixture
def package(tmp_path):
    """A package of two files."""
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "add.py").write_text("1 + 1\n")
    (folder / "multiply.py").write_text("2 * 2\n")
    return folder


@pytest.fixture
def content(package):
    """Two cells of three samples."""
    code = {name: digest(package / name) for name in ("add.py", "multiply.py")}
    return {
        "grid": {"depth": [10], "replicate": [0, 1]},
        "within": {"scale": [0.5, 1.0, 2.0]},
        "about": ABOUT | {"code": code},
        "cells": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]],
    }


@pytest.fixture
def load(package, content, tmp_path):
    """Write the content, or a text in its place, and read it."""

    def write_and_read(text=None):
        path = tmp_path / "tiny.json"
        path.write_text(json.dumps(content) if text is None else text, encoding="utf-8")
        return read(path, package)

    return write_and_read


def test_samples_have_one_row_each_in_the_order_of_the_axes(load):
    assert load().samples.to_dict("list") == {
        "depth": [10] * 6,
        "replicate": [0, 0, 0, 1, 1, 1],
        "scale": [0.5, 1.0, 2.0] * 2,
        "value": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    }


def test_page_is_told_how_it_was_made(load):
    result = load()
    assert (result.name, result.label, result.stale) == ("tiny", "tiny", False)
    assert str(result).splitlines() == [
        "stored result tiny: 6 samples (depth × replicate × scale: 1 × 2 × 3), made by "
        "`python tools/stored.py run tiny` on 2025-01-31 in 2 min of one core (x CPU, "
        "Python 3.0, torch 2.0, base seed 0)",
        "the code is still the one it was made with",
    ]


def test_changed_file_makes_it_stale(load, package):
    (package / "add.py").write_text("1 + 2\n")
    result = load()
    assert (result.stale, result.changed, result.label) == (True, ("add.py",), "tiny, stale")
    assert str(result).splitlines()[1] == "STALE: add.py has changed since; run make verify-stored"


def test_every_changed_file_is_named(load, package):
    (package / "add.py").unlink()
    (package / "multiply.py").write_text("")
    assert "STALE: add.py, multiply.py have changed since" in str(load())


def test_other_files_and_line_ends_do_not_matter(load, package):
    (package / "add.py").write_bytes(b"1 + 1\r\n")
    (package / "divide.py").write_text("1 / 2\n")
    assert not load().stale


def test_renewal_is_told(load, content):
    content["about"]["renewed"] = "2025-02-28"
    assert str(load()).endswith("\nthe code has changed since; a part of it run again on 2025-02-28 agreed")


def test_unknown_name_lists_those_known():
    with pytest.raises(ValueError, match=r"no stored result 'map'; there is .*trainability_map"):
        load_stored("map")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"grid": {}}', "\x00"])
def test_file_that_holds_something_else(load, text):
    with pytest.raises(ValueError, match=r"tiny\.json is not a whole stored result .*tools/stored\.py run tiny"):
        load(text)


def test_file_cut_short(load, content):
    text = json.dumps(content)
    for end in range(1, len(text), 7):
        with pytest.raises(ValueError, match="is not a whole stored result"):
            load(text[:end])


def test_file_that_is_no_text(load, package, tmp_path):
    load()
    shutil.copyfile(__file__, tmp_path / "tiny.json")
    (tmp_path / "tiny.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="is not a whole stored result"):
        read(tmp_path / "tiny.json", package)


@pytest.mark.parametrize(
    "cells",
    [[[1.0, 2.0, 3.0]], [[1.0, 2.0, 3.0], [4.0, 5.0]], [[1.0, 2.0], [4.0, 5.0]], [[1.0, 2.0, "x"]] * 2, [], None],
    ids=["one missing", "ragged", "short", "no number", "none", "null"],
)
def test_cells_that_are_not_all_there(load, content, cells):
    content["cells"] = cells
    with pytest.raises(ValueError, match="is not a whole stored result"):
        load()


@pytest.mark.parametrize("missing", ["code", "grid", "within", "cells", "about"])
def test_part_that_is_missing(load, content, missing):
    (content["about"] if missing == "code" else content).pop(missing)
    with pytest.raises(ValueError, match=f"not a whole stored result .KeyError: '{missing}'"):
        load()
