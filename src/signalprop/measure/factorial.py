"""Effects of a two-level factorial experiment, and intervals that hold for all of them together."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor

from signalprop.theory import factorial_columns


def factorial_effects(
    levels: Mapping[str, Tensor], responses: Float[Tensor, "*batch runs"], order: int = 2
) -> dict[str, Float[Tensor, "*batch"]]:
    """Return main effects and interactions: the mean response where a column is +1 minus that where it is −1.

    Parameters
    ----------
    levels
        The design, levels −1 and +1 by factor, as `signalprop.theory.two_level_design` returns it.
    responses
        One for each run of the design, along the last axis; replicates before it.
    order
        Largest number of factors in an effect.

    Returns
    -------
    dict
        Effects by name, such as ``a`` and ``a × b``, each of shape [...].

    Raises
    ------
    ValueError
        If there is not one response a run, or two of the columns, or one and the constant, are not orthogonal: then
        the design cannot tell these effects apart.

    Examples
    --------
    >>> from signalprop.theory import two_level_design
    >>> effects = factorial_effects(two_level_design("ab"), torch.tensor([0.5, -0.5, 1.5, 2.5]))
    >>> {name: effect.item() for name, effect in effects.items()}
    {'a': 2.0, 'b': 0.0, 'a × b': 1.0}
    """
    named = factorial_columns(levels, order)
    columns = torch.stack(list(named.values()))
    runs = columns.shape[1]
    if responses.shape[-1] != runs:
        raise ValueError(f"the design has {runs} runs, the last axis of the responses {responses.shape[-1]}")
    with_constant = torch.cat([torch.ones(1, runs, dtype=columns.dtype), columns])
    apart = with_constant @ with_constant.T == runs * torch.eye(len(with_constant), dtype=columns.dtype)
    if not apart.all():
        names = ["the mean", *named]
        first, second = (~apart).nonzero()[0].tolist()
        raise ValueError(f"this design confounds {names[first]} with {names[second]}")
    effects = 2 / runs * responses.double() @ columns.T
    return dict(zip(named, effects.unbind(-1), strict=True))


def simultaneous_reach(samples: Float[Tensor, "replicates effects"], level: float = 0.95) -> Float[Tensor, " effects"]:
    """Return half-widths of intervals around the means over replicates that hold all at once, by Bonferroni.

    Parameters
    ----------
    samples
        One row a replicate, at least two; a column for each effect.
    level
        Probability with which all intervals hold together, for normal replicates; at least.

    Examples
    --------
    Three replicates and one effect, Student's interval:

    >>> f"{simultaneous_reach(torch.tensor([[1.0], [2.0], [3.0]])).item():.3f}"
    '2.484'
    """
    replicates, effects = samples.shape
    if replicates < 2:
        raise ValueError(f"an interval takes at least two replicates, got {replicates}")
    quantile = float(stats.t.ppf(1 - (1 - level) / (2 * effects), replicates - 1))
    reach: Tensor = quantile * samples.double().std(0) / replicates**0.5
    return reach
