import fnmatch
import gzip
import importlib.util
import os
import random
import tomllib
from dataclasses import FrozenInstanceError
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch

from signalprop import data as data_module
from signalprop.data import Data, load_data

ROOT = Path(__file__).parents[1]
NAMES = ("fashion14", "digits", "mnist1d")
SHAPES = {
    "fashion14": ((8000, 1, 14, 14), (2000, 1, 14, 14)),
    "digits": ((1415, 1, 8, 8), (382, 1, 8, 8)),
    "mnist1d": ((4000, 1, 40), (1000, 1, 40)),
}


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("build_fashion14", ROOT / "tools" / "build_fashion14.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", NAMES)
def test_shapes_and_types(name):
    data = load_data(name)
    assert (tuple(data.train_x.shape), tuple(data.test_x.shape)) == SHAPES[name]
    assert {data.train_x.dtype, data.test_x.dtype} == {torch.float32}
    assert {data.train_y.dtype, data.test_y.dtype} == {torch.int64}


@pytest.mark.parametrize("name", NAMES)
def test_every_part_has_every_class(name):
    data = load_data(name)
    assert data.train_y.unique().tolist() == data.test_y.unique().tolist() == list(range(len(data.classes)))


@pytest.mark.parametrize("name", ["fashion14", "digits"])
def test_pixels_fill_0_to_1(name):
    data = load_data(name)
    for x in (data.train_x, data.test_x):
        assert (x.min(), x.max()) == (0, 1)


@pytest.mark.parametrize(("name", "levels"), [("fashion14", 255), ("digits", 16)])
def test_pixels_are_whole_levels(name, levels):
    values = load_data(name).train_x * levels
    assert torch.allclose(values, values.round(), rtol=0, atol=1e-4)


def test_fashion14_is_balanced():
    data = load_data("fashion14")
    assert data.train_y.bincount().tolist() == [800] * 10
    assert data.test_y.bincount().tolist() == [200] * 10


@pytest.mark.parametrize(("name", "least"), [("fashion14", 0.60), ("digits", 0.80), ("mnist1d", 0.20)])
def test_labels_belong_to_inputs(name, least):  # nearest class mean; guessing has 0.10, measured 0.66, 0.85, 0.27
    data = load_data(name).flat()
    means = torch.stack([data.train_x[data.train_y == label].mean(0) for label in range(10)])
    accuracy = (torch.cdist(data.test_x, means).argmin(1) == data.test_y).double().mean()
    assert accuracy > least


@pytest.mark.parametrize("name", NAMES)
def test_second_load_is_equal(name):
    first, again = load_data(name), load_data(name)
    for part in ("train_x", "train_y", "test_x", "test_y"):
        assert torch.equal(getattr(first, part), getattr(again, part))


@pytest.mark.parametrize("name", NAMES)
def test_changing_tensors_does_not_change_the_next_load(name):
    data = load_data(name)
    before = [part.clone() for part in (data.train_x, data.train_y, data.test_x, data.test_y)]
    for part in (data.train_x, data.train_y, data.test_x, data.test_y):
        part.fill_(7)
    again = load_data(name)
    for old, new in zip(before, (again.train_x, again.train_y, again.test_x, again.test_y), strict=True):
        assert torch.equal(old, new)


def test_mnist1d_does_not_depend_on_global_seeds():
    first = load_data("mnist1d")
    data_module._generate_mnist1d.cache_clear()
    random.random(), np.random.rand()  # noqa: NPY002
    assert torch.equal(first.train_x, load_data("mnist1d").train_x)


def global_states():
    numpy_state = np.random.get_state(legacy=False)["state"]  # noqa: NPY002
    return random.getstate(), (numpy_state["pos"], *numpy_state["key"]), torch.get_rng_state().tolist()


def test_mnist1d_leaves_global_generators_alone(capsys):
    data_module._generate_mnist1d.cache_clear()
    random.random(), np.random.rand()  # noqa: NPY002 - away from where an earlier generation may have left them
    before = global_states()
    data_module._generate_mnist1d()  # and not load_data, in which beartype itself draws from Python's generator
    assert global_states() == before
    assert capsys.readouterr() == ("", "")


def test_global_states_come_back_after_an_error():
    @data_module._global_random_states_kept()
    def seed_and_fail():
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002
        torch.manual_seed(1)
        raise ZeroDivisionError

    before = global_states()
    with pytest.raises(ZeroDivisionError):
        seed_and_fail()
    assert global_states() == before


@pytest.mark.parametrize("name", NAMES)
def test_standardized_training_part(name):
    x = load_data(name).standardized().train_x.double()
    assert abs(x.mean()) < 1e-5
    assert abs(x.var(correction=0) - 1) < 1e-5


def test_standardized_uses_training_statistics_for_both_parts():
    data = Data(
        "toy",
        torch.tensor([[0.0], [2.0]]),  # mean 1, sd 1
        torch.tensor([0, 1]),
        torch.tensor([[5.0], [5.0], [6.0]]),
        torch.tensor([1, 1, 1]),
        *(("a", "b"), "none", "here"),
    )
    assert data.standardized().test_x.flatten().tolist() == [4, 4, 5]
    assert data.test_x.flatten().tolist() == [5, 5, 6]


def test_flat_keeps_every_value_in_order():
    data = load_data("digits")
    assert torch.equal(data.flat().test_x.reshape(382, 1, 8, 8), data.test_x)


def test_to_moves_all_tensors():
    data = load_data("digits").to("meta")
    assert {part.device.type for part in (data.train_x, data.train_y, data.test_x, data.test_y)} == {"meta"}


def test_data_is_frozen():
    with pytest.raises(FrozenInstanceError):
        load_data("digits").name = "other"


def test_data_prints_on_one_line():
    assert repr(load_data("digits")).count("\n") == 0


def test_digits_are_split_in_file_order():
    from sklearn.datasets import load_digits

    data = load_data("digits")
    assert torch.cat([data.train_y, data.test_y]).tolist() == load_digits().target.tolist()


def test_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match=r"no data set 'mnist'.*fashion14.*embedded.*digits.*mnist1d"):
        load_data("mnist")


def test_wheel_takes_the_embedded_file_along():
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["signalprop"]
    assert any(fnmatch.fnmatch("fashion14.npz", pattern) for pattern in patterns)
    assert (files("signalprop") / "fashion14.npz").is_file()


# the script that builds the embedded file


def test_halve_takes_means_of_blocks_and_rounds_half_up(script):
    image = np.array([[1, 0, 255, 255], [0, 0, 255, 255], [1, 0, 3, 3], [1, 0, 2, 2]], np.uint8)  # 1/4, 255, 1/2, 5/2
    assert script.halve(image[None]).tolist() == [[[0, 255], [1, 3]]]


def test_first_of_each_class_keeps_file_order(script):
    labels = np.array([*range(9, -1, -1), *range(10), 0])
    assert script.first_of_each_class(labels, 2).tolist() == list(range(20))


def test_embedded_file_equals_a_rebuild(script, capsys):
    if not script.DEBIAN.is_dir() and os.environ.get("SIGNALPROP_REQUIRE_ALL") != "1":
        pytest.skip(f"no official files in {script.DEBIAN}; apt-get install dataset-fashion-mnist")
    script.main(["--check"])
    assert "equals a rebuild" in capsys.readouterr().out


def test_missing_files_say_how_to_get_them(script, tmp_path):
    with pytest.raises(
        SystemExit, match=r"(?s)missing.*apt-get install dataset-fashion-mnist.*github\.com.*folder of your own"
    ):
        script.main([str(tmp_path / "nowhere")])


@pytest.mark.parametrize(
    "content",
    [gzip.compress(b"x" * 1000)[:-9], gzip.compress(b"x")[:4], b"", b"not gzip"],
    ids=["truncated", "header only", "empty", "not gzip"],
)
def test_broken_gzip_is_named(script, tmp_path, content):
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(
        SystemExit, match=r"train-images-idx3-ubyte\.gz is (truncated or no gzip|not the official) file"
    ):
        script.main([str(tmp_path)])


def test_other_content_is_told_by_its_hash(script, tmp_path):
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"abc"))
    with pytest.raises(
        SystemExit, match=r"(?s)images-idx3-ubyte\.gz is not.*expected c59f468a.*got +ba7816bf"
    ) as caught:
        script.main([str(tmp_path)])
    assert isinstance(caught.value.code, str)  # a message, which Python prints before it exits with status 1


@pytest.mark.parametrize(
    ("stored", "complaint"),
    [({"a": [1, 2]}, ""), ({"a": [1, 3]}, "differs.* in a"), ({"b": [1, 2]}, "holds b"), (None, "is missing")],
)
def test_check_compares_the_arrays(script, tmp_path, monkeypatch, capsys, stored, complaint):
    monkeypatch.setattr(script, "EMBEDDED", tmp_path / "fashion14.npz")
    monkeypatch.setattr(script, "build", lambda folder: {"a": np.array([1, 2], np.uint8)})
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
    monkeypatch.setattr(script, "build", lambda folder: {"a": np.array([1, 2], np.uint8)})
    script.main([])
    first = script.EMBEDDED.read_bytes()
    monkeypatch.setattr("time.time", lambda: 2e9)
    script.main([])
    assert script.EMBEDDED.read_bytes() == first
