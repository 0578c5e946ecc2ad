"""What every data set comes as."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Data:
    """A classification data set, split into a training and a test part.

    Attributes
    ----------
    name
        As given to `load_data`.
    train_x, test_x
        Inputs, float32, ``[N, channels, ...]``, or ``[N, features]`` after `flat`.
    train_y, test_y
        Labels, int64, ``[N]``, each the index of its class in `classes`.
    classes
        Names of the classes.
    licence, source
        Under which terms the data may be used, and where they come from; one line each.

    Examples
    --------
    >>> from signalprop.data import load_data
    >>> data = load_data("digits").standardized().flat()
    >>> data.train_x.shape, data.test_x.shape
    (torch.Size([1415, 64]), torch.Size([382, 64]))
    >>> f"{data.train_x.var(correction=0):.4f}"
    '1.0000'
    """

    name: str
    train_x: Float32[Tensor, "train *shape"] = field(repr=False)
    train_y: Int64[Tensor, " train"] = field(repr=False)
    test_x: Float32[Tensor, "test *shape"] = field(repr=False)
    test_y: Int64[Tensor, " test"] = field(repr=False)
    classes: tuple[str, ...]
    licence: str
    source: str

    def standardized(self) -> "Data":
        """Return a copy whose training inputs have mean 0 and variance 1, taken over all images and pixels.

        One mean and one standard deviation, those of the training part, serve both parts.
        """
        sd, mean = torch.std_mean(self.train_x, correction=0)
        return replace(self, train_x=(self.train_x - mean) / sd, test_x=(self.test_x - mean) / sd)

    def flat(self) -> "Data":
        """Return the data with inputs ``[N, features]``; they share memory with these."""
        return replace(self, train_x=self.train_x.flatten(1), test_x=self.test_x.flatten(1))

    def to(self, device: torch.device | str) -> "Data":
        """Return the data on `device`; tensors that are there already are shared, not copied."""
        parts = ("train_x", "train_y", "test_x", "test_y")
        return replace(self, **{part: getattr(self, part).to(device) for part in parts})


def from_arrays(
    name: str, train_x: Any, train_y: Any, test_x: Any, test_y: Any, *, scale: float = 1.0, **about: Any
) -> Data:
    """Return `Data` with copies of the arrays, inputs divided by `scale`; inputs ``[N, ...]`` have their channel axis.

    Examples
    --------
    >>> x, y = np.array([[[0, 51]], [[102, 255]]], np.uint8), [0, 1]
    >>> from_arrays("toy", x, y, x, y, scale=255.0, classes=("a", "b"), licence="none", source="here").test_x.tolist()
    [[[0.0, 0.20000000298023224]], [[0.4000000059604645, 1.0]]]
    """
    inputs = [torch.tensor(np.asarray(x), dtype=torch.float32).div_(scale) for x in (train_x, test_x)]
    labels = [torch.tensor(np.asarray(y), dtype=torch.int64) for y in (train_y, test_y)]
    return Data(name, inputs[0], labels[0], inputs[1], labels[1], **about)
