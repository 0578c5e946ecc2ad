"""Search over a finite space of settings at a fixed number of evaluations: at random, and by evolution.

References
----------
J. Bergstra, Y. Bengio, *Random search for hyper-parameter optimization*, 2012; E. Real, A. Aggarwal, Y. Huang, Q. Le,
*Regularized evolution for image classifier architecture search*, arXiv:1802.01548.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator

Point = tuple[int, ...]
Objective = Callable[[Point], float]


@dataclass(frozen=True)
class Search:
    """What a search has evaluated, in order.

    Attributes
    ----------
    points
        One tuple an evaluation: which choice of each axis, counted from 0. Evolution may come back to a point.
    scores
        What the objective said; less is better.
    """

    points: tuple[Point, ...]
    scores: tuple[float, ...]

    @property
    def best(self) -> Point:
        """The point of the least score, the first one where several share it."""
        return self.points[self.scores.index(min(self.scores))]


def random_search(sizes: Sequence[int], objective: Objective, *, budget: int, generator: Generator) -> Search:
    """Evaluate `budget` different points of a space, drawn uniformly without replacement.

    Parameters
    ----------
    sizes
        Number of choices along each axis of the space.
    objective
        Called once an evaluation with a point; less is better. It must not return NaN.
    budget
        Number of evaluations, at most the number of points.
    generator
        Of the draws, on the CPU.

    Raises
    ------
    ValueError
        If the space is empty, the budget is out of range, or a score is NaN.

    Examples
    --------
    >>> from signalprop import stream
    >>> found = random_search([4, 4, 4], lambda point: sum(point), budget=64, generator=stream("doc", "random search"))
    >>> found.best, len(set(found.points))
    ((0, 0, 0), 64)
    """
    points = _points(sizes)
    if not 1 <= budget <= points:
        raise ValueError(f"budget must be from 1 to {points}, the number of points, got {budget}")
    numbers = torch.randperm(points, generator=generator, device=generator.device)[:budget].tolist()
    chosen = [_point(number, sizes) for number in numbers]
    return Search(tuple(chosen), tuple(_score(objective, point) for point in chosen))


def regularized_evolution(
    sizes: Sequence[int], objective: Objective, *, budget: int, population: int, sample: int, generator: Generator
) -> Search:
    """Evolve a population by mutation; the oldest dies, not the worst.

    The first `population` points are uniform and independent. Then, until the budget is spent: draw `sample` members of
    the population with replacement, change one axis of the best among them to another choice, evaluate this child, put
    it into the population and remove its oldest member. A child is evaluated, and counted, even if its point has been
    seen before.

    Parameters
    ----------
    sizes, objective, generator
        As in `random_search`. An axis with one choice is never changed.
    budget
        Number of evaluations, the first population included.
    population
        P, from 1 to the budget.
    sample
        S ≥ 1: the larger, the greedier.

    Raises
    ------
    ValueError
        If the space is empty or has a single point, a number is out of range, or a score is NaN.

    Examples
    --------
    >>> from signalprop import stream
    >>> found = regularized_evolution([8] * 6, lambda point: sum(point), budget=400, population=20, sample=5,
    ...                               generator=stream("doc", "evolution"))
    >>> len(found.points), min(found.scores) <= 2
    (400, True)
    """
    points = _points(sizes)
    axes = [axis for axis, size in enumerate(sizes) if size > 1]
    if not axes:
        raise ValueError("the space has a single point; there is nothing to mutate")
    if not 1 <= population <= budget:
        raise ValueError(f"population must be from 1 to the budget, {budget}, got {population}")
    if sample < 1:
        raise ValueError(f"sample must be at least 1, got {sample}")

    def draw(below: int) -> int:
        return int(torch.randint(below, (), generator=generator, device=generator.device))

    history: list[tuple[Point, float]] = []
    alive: deque[tuple[Point, float]] = deque(maxlen=population)  # a new member pushes out the oldest
    for step in range(budget):
        if step < population:
            point = _point(draw(points), sizes)
        else:
            parent, _ = min((alive[draw(population)] for _ in range(sample)), key=lambda member: member[1])
            axis = axes[draw(len(axes))]
            other = draw(sizes[axis] - 1)
            point = (*parent[:axis], other + (other >= parent[axis]), *parent[axis + 1 :])
        alive.append((point, _score(objective, point)))
        history.append(alive[-1])
    return Search(tuple(point for point, _ in history), tuple(score for _, score in history))


def _points(sizes: Sequence[int]) -> int:
    if not sizes or min(sizes) < 1:
        raise ValueError(f"give at least one axis, and at least one choice for each; got {list(sizes)}")
    return math.prod(sizes)


def _point(number: int, sizes: Sequence[int]) -> Point:
    point = []
    for size in reversed(sizes):
        number, choice = divmod(number, size)
        point.append(choice)
    return tuple(reversed(point))


def _score(objective: Objective, point: Point) -> float:
    score = float(objective(point))
    if math.isnan(score):
        raise ValueError(f"the objective returned NaN at {point}; score a diverged run, for instance as a guess")
    return score
