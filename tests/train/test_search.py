import math
from collections import Counter

import pytest

from signalprop import stream
from signalprop.train import random_search, regularized_evolution

SIZES = [3, 4, 2]


def value(point):
    return sum(point)


def evolve(sizes=SIZES, objective=value, budget=60, population=10, sample=3, name="evolution", replicate=0):
    options = {"budget": budget, "population": population, "sample": sample}
    return regularized_evolution(sizes, objective, generator=stream("tests", name, replicate), **options)


def test_random_search_draws_every_point_once():
    found = random_search(SIZES, value, budget=24, generator=stream("tests", "random"))
    assert sorted(found.points) == [(a, b, c) for a in range(3) for b in range(4) for c in range(2)]
    assert found.best == (0, 0, 0)
    assert found.scores == tuple(map(value, found.points))


def test_random_search_is_uniform():
    counts = Counter(
        random_search(SIZES, value, budget=1, generator=stream("tests", "uniform", r)).best for r in range(2_400)
    )
    assert len(counts) == 24
    assert max(abs(count - 100) for count in counts.values()) < 50


def test_evolution_spends_its_budget_and_mutates_one_axis_of_the_population():
    found = evolve()
    assert len(found.points) == 60
    for step in range(10, 60):
        alive = found.points[step - 10 : step]
        child = found.points[step]
        assert any(sum(a != b for a, b in zip(child, parent, strict=True)) == 1 for parent in alive)


def test_the_oldest_dies_not_the_worst():
    scores = iter([0.0, *range(1, 60)])  # the first one is best, whatever it is
    found = evolve(objective=lambda point: next(scores), population=2, sample=50, sizes=[50, 50])
    first = found.points[0]
    near = [sum(a != b for a, b in zip(point, first, strict=True)) for point in found.points]
    assert near[2] == 1  # a child of the first
    assert found.best == first
    assert found.points[3] != first
    parents = found.points[1:3]
    assert any(sum(a != b for a, b in zip(found.points[3], parent, strict=True)) == 1 for parent in parents)


def test_evolution_beats_random_search_on_a_slope():
    sizes, budget = [6] * 6, 100
    ahead = 0
    for r in range(40):
        one = min(evolve(sizes, budget=budget, replicate=r).scores)
        other = min(random_search(sizes, value, budget=budget, generator=stream("tests", "slope", r)).scores)
        ahead += one < other
    assert ahead > 30


def test_an_axis_with_one_choice_stays():
    found = evolve(sizes=[1, 5])
    assert {point[0] for point in found.points} == {0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sizes": []}, "at least one axis"),
        ({"sizes": [3, 0]}, "at least one choice"),
        ({"sizes": [1, 1]}, "single point"),
        ({"population": 61}, "population"),
        ({"population": 0}, "population"),
        ({"sample": 0}, "sample"),
        ({"objective": lambda point: math.nan}, "NaN"),
    ],
)
def test_evolution_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        evolve(**options)


@pytest.mark.parametrize("budget", [0, 25])
def test_random_search_refuses_a_budget(budget):
    with pytest.raises(ValueError, match="budget"):
        random_search(SIZES, value, budget=budget, generator=stream("tests", "random"))
