import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
DEBIAN = Path("/usr/share/datasets/fashion-mnist")


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("build_fashion14", ROOT / "tools" / "build_fashion14.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_halve_takes_means_of_blocks_and_rounds_half_up(script):
    image = np.array([[1, 0, 255, 255], [0, 0, 255, 255], [1, 0, 3, 3], [1, 0, 2, 2]], np.uint8)  # 1/4, 255, 1/2, 5/2
    assert script.halve(image[None]).tolist() == [[[0, 255], [1, 3]]]


def test_first_of_each_class_keeps_file_order(script):
    labels = np.array([*range(9, -1, -1), *range(10), 0])
    assert script.first_of_each_class(labels, 2).tolist() == list(range(20))


def test_embedded_file_equals_a_rebuild(script, capsys, monkeypatch):
    if not DEBIAN.is_dir() and os.environ.get("SIGNALPROP_REQUIRE_ALL") != "1":
        pytest.skip(f"no official files in {DEBIAN}; apt-get install dataset-fashion-mnist")
    monkeypatch.setenv("SIGNALPROP_DATA", str(DEBIAN.parent))
    script.main(["--check"])
    assert "equals a rebuild" in capsys.readouterr().out


def test_trouble_with_the_files_is_a_message(script, tmp_path, monkeypatch):
    monkeypatch.setenv("SIGNALPROP_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(SystemExit, match=r"(?s)nowhere.*no folder.*apt-get install dataset-fashion-mnist") as caught:
        script.main([])
    assert isinstance(caught.value.code, str)  # a message, which Python prints before it exits with status 1


@pytest.mark.parametrize(
    ("stored", "complaint"),
    [({"a": [1, 2]}, ""), ({"a": [1, 3]}, "differs.* in a"), ({"b": [1, 2]}, "holds b"), (None, "is missing")],
)
def test_check_compares_the_arrays(script, tmp_path, monkeypatch, capsys, stored, complaint):
    monkeypatch.setattr(script, "EMBEDDED", tmp_path / "fashion14.npz")
    monkeypatch.setattr(script, "build", lambda: {"a": np.array([1, 2], np.uint8)})
    if stored:
        np.savez_compressed(script.EMBEDDED, **{name: np.array(array, np.uint8) for name, array in stored.items()})
    if not complaint:
        script.main(["--check"])
        assert "equals a rebuild" in capsys.readouterr().out
        return
    with pytest.raises(SystemExit, match=complaint):
        script.main(["--check"])


def test_written_file_has_no_date_in_it(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "EMBEDDED", tmp_path / "fashion14.npz")
    monkeypatch.setattr(script, "build", lambda: {"a": np.array([1, 2], np.uint8)})
    script.main([])
    first = script.EMBEDDED.read_bytes()
    monkeypatch.setattr("time.time", lambda: 2e9)
    script.main([])
    assert script.EMBEDDED.read_bytes() == first
