"""The stored results of the page on ultra-deep networks."""

import importlib
import math

import pytest

from signalprop.stored import load_stored

NAMES = ["plain_10000", "depth_sweep", "fixup_10000"]


@pytest.fixture(scope="module", params=NAMES)
def result(request):
    return load_stored(request.param)


def test_code_is_still_the_one_it_was_made_with(result):
    assert not result.stale, f"{', '.join(result.changed)} changed: run `make verify-stored` and commit what it renews"


def test_axes_are_those_of_the_recipe(result):
    recipe = importlib.import_module(f"signalprop.stored.{result.name}")
    axes = {name: list(dict.fromkeys(result.samples[name])) for name in result.samples.columns[:-1]}
    assert axes == {**recipe.GRID, **recipe.WITHIN}


def test_digests_cover_the_recipe_and_what_trains(result):
    assert set(result.about["code"]) >= {f"stored/{result.name}.py", "train/deep.py", "streams.py"}


def test_losses_and_accuracies_are_in_their_range(result):
    rows = result.samples
    losses = rows[rows["number"].str.contains("loss")]["value"]
    assert losses.between(0.3, math.log(10) + 1e-6).all()
    accuracies = rows[rows["number"].str.contains("accuracy")]["value"]
    assert accuracies.between(0.05, 1).all()
