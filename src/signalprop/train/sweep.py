"""Every point of a grid, one after the other."""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor


def sweep(fn: Callable[..., Tensor], **axes: Sequence[Any]) -> Shaped[Tensor, "..."]:
    """Call `fn` at every point of a grid and return the results, the axes first, in the order given.

    Parameters
    ----------
    fn
        Takes one value of each axis by name and returns a tensor, of one shape at all points: measurements with an axis
        of replicates, for instance.
    axes
        The values along each axis, at least one axis of at least one value.

    Raises
    ------
    ValueError
        If there is no point, or the results differ in shape.

    Examples
    --------
    >>> sweep(lambda row, column: torch.tensor(10 * row + column), row=[1, 2], column=[3, 4, 5])
    tensor([[13, 14, 15],
            [23, 24, 25]])
    """
    results = [fn(**dict(zip(axes, point, strict=True))) for point in product(*axes.values())] if axes else []
    if not results:
        raise ValueError("the grid has no point: give at least one axis, and at least one value for each")
    shapes = sorted({tuple(result.shape) for result in results})
    if len(shapes) > 1:
        raise ValueError(f"the results at the points of a grid must have one shape, got {shapes}")
    return torch.stack(results).reshape(*map(len, axes.values()), *results[0].shape)
