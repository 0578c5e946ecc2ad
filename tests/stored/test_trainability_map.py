import math

import pytest

from signalprop.stored import load_stored, trainability_map


@pytest.fixture(scope="module")
def result():
    return load_stored("trainability_map")


def test_code_is_still_the_one_it_was_made_with(result):
    assert not result.stale, f"{', '.join(result.changed)} changed: run `make verify-stored` and commit what it renews"


def test_axes_are_those_of_the_recipe(result):
    axes = {name: list(dict.fromkeys(result.samples[name])) for name in result.samples.columns[:-1]}
    assert axes == {**trainability_map.GRID, **trainability_map.WITHIN}


def test_digests_cover_the_recipe_its_data_and_what_trains(result):
    assert set(result.about["code"]) >= {
        "stored/trainability_map.py",
        "fashion14.npz",
        "train/trainability.py",
        "train/batched.py",
        "nets/plain.py",
        "streams.py",
    }


def test_losses_are_between_zero_and_a_guess(result):
    losses = result.samples["value"]
    assert losses.between(0.3, math.log(10) + 1e-6).all()
    by_depth = result.samples.groupby("depth")["value"].mean()
    assert by_depth.is_monotonic_increasing
