r"""Two-level factorial experiments: designs, the columns of their effects, and the responses that effects add up to.

A design is a matrix of levels −1 and +1, a row for each run and a column for each factor. The effect of a factor is the
mean response at +1 minus that at −1, the interaction of two factors the same for the product of their columns.

References
----------
R. Plackett and J. Burman, *The design of optimum multifactorial experiments*, Biometrika 33 (1946), and G. Box and
J. Hunter, *The 2^(k−p) fractional factorial designs*, Technometrics 3 (1961). All that is used here follows from
orthogonal columns.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor


def two_level_design(base: Sequence[str], generated: Mapping[str, Sequence[str]] | None = None) -> dict[str, Tensor]:
    """Return the levels of every factor in every run, by name, each of shape [2^k] for k base factors.

    Parameters
    ----------
    base
        Factors that take all combinations of their levels, the last one changing fastest.
    generated
        Further factors, each by the base factors of which its column is the product.

    Raises
    ------
    ValueError
        If a name is given twice, or a generator is not made of base factors.

    Examples
    --------
    Three factors in four runs, the third confounded with the interaction of the others:

    >>> two_level_design(["a", "b"], {"c": ["a", "b"]})["c"].tolist()
    [1.0, -1.0, -1.0, 1.0]
    """
    generated = generated or {}
    names = [*base, *generated]
    if len(set(names)) < len(names):
        raise ValueError(f"a factor is given twice: {', '.join(names)}")
    runs = torch.arange(2 ** len(base))
    levels = {name: (2.0 * (runs // 2 ** (len(base) - 1 - place) % 2) - 1).double() for place, name in enumerate(base)}
    for name, parents in generated.items():
        if not parents or not set(parents) <= set(base):
            raise ValueError(f"{name} must be a product of base factors, got {', '.join(parents) or 'none'}")
        levels[name] = prod((levels[parent] for parent in parents), start=torch.ones(len(runs)).double())
    return levels


def design_resolution(levels: Mapping[str, Tensor]) -> int:
    """Return the smallest number of factors whose product is the same in all runs; 0 if there is none.

    At resolution V or more, main effects and two-factor interactions are confounded with neither each other nor
    themselves. A full factorial has none.

    Examples
    --------
    >>> design_resolution(two_level_design(["a", "b"], {"c": ["a", "b"]})), design_resolution(two_level_design("ab"))
    (3, 0)
    """
    columns = torch.stack(list(levels.values()))
    for size in range(1, len(columns) + 1):
        chosen = torch.tensor(list(combinations(range(len(columns)), size)))
        products = columns[chosen].prod(1)
        if (products == products[:, :1]).all(1).any():
            return size
    return 0


def factorial_columns(levels: Mapping[str, Tensor], order: int = 2) -> dict[str, Float[Tensor, " runs"]]:
    """Return the column of every effect of up to so many factors, named as ``a`` and ``a × b``.

    Examples
    --------
    >>> list(factorial_columns(two_level_design("ab")))
    ['a', 'b', 'a × b']
    """
    return {
        " × ".join(names): prod((levels[name] for name in names), start=torch.ones_like(next(iter(levels.values()))))
        for size in range(1, order + 1)
        for names in combinations(levels, size)
    }


def factorial_response(
    levels: Mapping[str, Tensor], mean: float | Tensor, effects: Mapping[str, Tensor], order: int = 2
) -> Float[Tensor, "*batch runs"]:
    r"""Return the response of every run, :math:`\bar y + \tfrac12 \sum_e e\, x_e`, with x_e the column of effect e.

    Parameters
    ----------
    levels
        As from `two_level_design`.
    mean, effects
        Mean response and effects by name, each of shape [...]; effects that are left out are zero.
    order
        Largest number of factors in an effect.

    Examples
    --------
    >>> factorial_response(two_level_design("ab"), 1.0, {"a": torch.tensor(2.0), "a × b": torch.tensor(1.0)}).tolist()
    [0.5, -0.5, 1.5, 2.5]
    """
    columns = factorial_columns(levels, order)
    sums = sum((effects[name].unsqueeze(-1) * columns[name] for name in effects), start=torch.zeros(1).double())
    return torch.as_tensor(mean, dtype=torch.float64).unsqueeze(-1) + sums / 2
