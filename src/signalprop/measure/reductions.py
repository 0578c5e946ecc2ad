"""Reduce many small tensors to a few numbers each, with few kernels and few transfers to the host."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

_TOGETHER = 2**17  # entries that are reduced at once: a mebibyte, which a cache holds
_VIEWS = 64  # tensors that are: making a view for each costs more than it saves when they are tiny


class Reduction:
    """Applies `reduce` to tensors [batch, ...], those of one shape together, as many as fit into the cache.

    A kernel for every sum over every layer would cost more than a narrow network itself. Tensors are copied when they
    are added, so that they may be overwritten afterwards, into double precision: squares of single-precision numbers
    below 1e-23 would underflow (single precision stays where there is no double, on MPS).

    Parameters
    ----------
    reduce
        Maps tensors [k, batch, units], which it may overwrite, to k rows of numbers [k, columns].

    Examples
    --------
    >>> largest = Reduction(lambda tensors: tensors.amax((1, 2)).unsqueeze(1))
    >>> for key in "ab":
    ...     largest.add(key, torch.full((2, 3), float(ord(key))))
    >>> largest.to_host()
    {'a': [97.0], 'b': [98.0]}
    """

    def __init__(
        self, reduce: Callable[[Float[Tensor, "tensors batch units"]], Float[Tensor, "tensors columns"]]
    ) -> None:
        self._reduce = reduce
        self._waiting: dict[torch.Size, tuple[list[str], Tensor, tuple[Tensor, ...]]] = {}
        self._keys: list[str] = []
        self._rows: list[Tensor] = []

    def add(self, key: str, values: Tensor) -> None:
        """Queue the tensor `values` [batch, ...] under a key of its own."""
        if values.shape not in self._waiting:
            self._waiting[values.shape] = [], *_room(values)
        keys, tensors, places = self._waiting[values.shape]
        places[len(keys)].copy_(values)
        keys.append(key)
        if len(keys) == len(places):
            self._flush(keys, tensors)

    def to_host(self) -> dict[str, list[float]]:
        """Return the numbers of each tensor by its key."""
        for keys, tensors, _ in self._waiting.values():
            if keys:
                self._flush(keys, tensors[: len(keys)])
        rows = torch.cat(self._rows).tolist() if self._rows else []
        return dict(zip(self._keys, rows, strict=True))

    def _flush(self, keys: list[str], tensors: Tensor) -> None:
        self._rows.append(self._reduce(tensors))
        self._keys += keys
        keys.clear()


def _room(values: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return memory for tensors like `values`, [k, batch, units], and views of it of their shape."""
    batch = values.shape[0] if values.ndim else 1
    together = max(1, min(_VIEWS, _TOGETHER // max(1, values.numel())))
    dtype = torch.float32 if values.device.type == "mps" else torch.float64
    tensors = values.new_empty((together, batch, values.numel() // max(1, batch)), dtype=dtype)
    return tensors, tensors.view(together, *values.shape).unbind()
