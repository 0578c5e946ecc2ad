import fnmatch
import random
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch

from signalprop.data import load_data, quick

ROOT = Path(__file__).parents[2]
NAMES = ("fashion14", "digits", "mnist1d")
SHAPES = {
    "fashion14": ((8000, 1, 14, 14), (2000, 1, 14, 14)),
    "digits": ((1415, 1, 8, 8), (382, 1, 8, 8)),
    "mnist1d": ((4000, 1, 40), (1000, 1, 40)),
}


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
    quick._generate_mnist1d.cache_clear()
    random.random(), np.random.rand()  # noqa: NPY002
    assert torch.equal(first.train_x, load_data("mnist1d").train_x)


def global_states():
    numpy_state = np.random.get_state(legacy=False)["state"]  # noqa: NPY002
    return random.getstate(), (numpy_state["pos"], *numpy_state["key"]), torch.get_rng_state().tolist()


def test_mnist1d_leaves_global_generators_alone(capsys):
    quick._generate_mnist1d.cache_clear()
    random.random(), np.random.rand()  # noqa: NPY002 - away from where an earlier generation may have left them
    before = global_states()
    quick._generate_mnist1d()  # and not load_data, in which beartype itself draws from Python's generator
    assert global_states() == before
    assert capsys.readouterr() == ("", "")


def test_global_states_come_back_after_an_error():
    @quick._global_random_states_kept()
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


def test_digits_are_split_in_file_order():
    from sklearn.datasets import load_digits

    data = load_data("digits")
    assert torch.cat([data.train_y, data.test_y]).tolist() == load_digits().target.tolist()


def test_unknown_name_lists_the_known():
    with pytest.raises(
        ValueError, match=r"no data set 'mnist'.*fashion14.*embedded.*digits.*mnist1d.*fashion_mnist.*cifar10"
    ):
        load_data("mnist")


@pytest.mark.parametrize("name", NAMES)
def test_these_do_without_pooch(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)  # so that importing it fails
    assert load_data(name).name == name


def test_wheel_takes_the_embedded_file_along():
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["signalprop"]
    assert any(fnmatch.fnmatch("fashion14.npz", pattern) for pattern in patterns)
    assert (files("signalprop") / "fashion14.npz").is_file()
