"""Normalizers of what flows through a network, written out plainly; those of weights are in `weight_normalizers`.

With Z of shape [features, samples], batch normalization takes its statistics over a row, layer normalization over a
column, group normalization over a few rows of a column's example and instance normalization over one; a tensor
[batch, features, positions…] of torch has rows and columns exchanged, and a sample is one position of one example.
"""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from signalprop.nets.normalizers.batch import BatchNorm, batch_norm_backward
from signalprop.nets.normalizers.per_example import GroupNorm, InstanceNorm, LayerNorm
from signalprop.nets.normalizers.switchable import SwitchNorm

__all__ = [
    "BatchNorm",
    "GroupNorm",
    "InstanceNorm",
    "LayerNorm",
    "SwitchNorm",
    "batch_norm_backward",
    "is_normalizer",
    "normalizer",
]


def normalizer(name: str, **options: Any) -> Callable[[int], nn.Module]:
    """Return what a network takes as its ``normalizer``: a function from a number of features to a normalizer of them.

    Parameters
    ----------
    name
        - ``batch``: `BatchNorm`, with options ``eps``, ``momentum``, ``affine``;
        - ``layer``: `GroupNorm` of one group, with ``eps``, ``affine``. On [batch, features] that is `LayerNorm`; on
          images it is over features and positions jointly, with γ and β for features, so that any size will do;
        - ``instance``: `InstanceNorm`, with ``eps``, ``affine``; for images only;
        - ``group``: `GroupNorm`, with ``groups``, ``eps``, ``affine``;
        - ``switchable``: `SwitchNorm`, with ``eps``, ``momentum``, ``affine``; for images only.
    options
        All of these, by name.

    Raises
    ------
    ValueError
        If the name is unknown, or an option missing or unknown.

    Examples
    --------
    >>> make = normalizer("group", groups=2, eps=1e-5, affine=True)
    >>> make(6)
    GroupNorm(2, 6, eps=1e-05, affine=True)
    """
    if name not in _NORMALIZERS:
        raise ValueError(
            f"there is no normalizer {name!r}; known: {', '.join(_NORMALIZERS)} (those of weights, weight_norm_ and"
            " spectral_norm_, are applied to a network)"
        )
    make = _NORMALIZERS[name]
    try:
        inspect.signature(make).bind(1, **options)
    except TypeError as problem:
        raise ValueError(f"normalizer {name!r}: {problem}") from None
    return partial(make, **options)


def is_normalizer(module: nn.Module) -> bool:
    """Return whether a module is a normalizer, of this package or of torch.

    Examples
    --------
    >>> is_normalizer(nn.BatchNorm2d(3)), is_normalizer(nn.Linear(3, 3))
    (True, False)
    """
    return isinstance(module, _ALL)


def _group(features: int, *, groups: int, eps: float, affine: bool, **where: Any) -> GroupNorm:
    return GroupNorm(groups, features, eps=eps, affine=affine, **where)


_NORMALIZERS: dict[str, Callable[..., nn.Module]] = {
    "batch": BatchNorm,
    "layer": partial(GroupNorm, 1),
    "instance": InstanceNorm,
    "group": _group,
    "switchable": SwitchNorm,
}
_ALL = (
    BatchNorm,
    LayerNorm,
    InstanceNorm,
    GroupNorm,
    nn.modules.batchnorm._NormBase,  # batch and instance normalization
    nn.LayerNorm,
    nn.RMSNorm,
    nn.GroupNorm,
)
