"""The data sets of the quick profile, which need no download: fashion14, digits and mnist1d."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import torch

from signalprop.data import fashion_mnist
from signalprop.data.dataset import Data, from_arrays


def fashion14() -> Data:
    """Return the embedded part of Fashion-MNIST; see `load_data`."""
    with (files("signalprop") / "fashion14.npz").open("rb") as file, np.load(file, allow_pickle=False) as stored:
        return from_arrays(
            "fashion14",
            *(stored["train_x"][:, None], stored["train_y"], stored["test_x"][:, None], stored["test_y"]),
            scale=255.0,
            classes=fashion_mnist.CLASSES,
            licence=fashion_mnist.LICENCE,
            source=f"{fashion_mnist.SOURCE}; a part, at half the resolution",
        )


def digits() -> Data:
    """Return scikit-learn's handwritten digits; see `load_data`."""
    from sklearn.datasets import load_digits  # here and below: slow imports that the other data sets do not need

    stored = load_digits()
    x, y = stored.images[:, None], stored.target
    return from_arrays(
        "digits",
        *(x[:1415], y[:1415], x[1415:], y[1415:]),
        scale=16.0,
        classes=tuple("0123456789"),
        licence="CC BY 4.0",
        source="E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits (1998), test part, 10.24432/C50P49",
    )


@cache
def _generate_mnist1d() -> dict[str, Any]:
    with _global_random_states_kept():
        from mnist1d.data import get_dataset_args, make_dataset

        made: dict[str, Any] = make_dataset(get_dataset_args())
    return made


def mnist1d() -> Data:
    """Return the generated signals; see `load_data`."""
    made = _generate_mnist1d()
    return from_arrays(
        "mnist1d",
        *(made["x"][:, None], made["y"], made["x_test"][:, None], made["y_test"]),
        classes=tuple("0123456789"),
        licence="Apache-2.0",
        source="S. Greydanus, D. Kobak, Scaling Down Deep Learning with MNIST-1D, ICML 2024, arXiv:2011.14439",
    )


@contextmanager
def _global_random_states_kept() -> Iterator[None]:
    """Give Python's, numpy's and torch's global generators (on the CPU) their states back at the end."""
    python_state, numpy_state = random.getstate(), np.random.get_state(legacy=False)  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
