import math

import pytest

from signalprop.stored import compound_scaling, load_stored


@pytest.fixture(scope="module")
def result():
    return load_stored("compound_scaling")


def test_code_is_still_the_one_it_was_made_with(result):
    assert not result.stale, f"{', '.join(result.changed)} changed: run `make verify-stored` and commit what it renews"


def test_axes_are_those_of_the_recipe(result):
    axes = {name: list(dict.fromkeys(result.samples[name])) for name in result.samples.columns[:-1]}
    assert axes == {**compound_scaling.GRID, **compound_scaling.WITHIN}


def test_digests_cover_the_recipe_its_data_and_what_trains(result):
    assert set(result.about["code"]) >= {
        "stored/compound_scaling.py",
        "fashion14.npz",
        "train/loop.py",
        "train/scores.py",
        "nets/resnet.py",
        "streams.py",
    }


def test_scores_are_possible(result):
    by_score = result.samples.groupby("score")["value"]
    assert by_score.get_group("loss").between(0.2, math.log(10) + 1e-6).all()
    assert by_score.get_group("accuracy").between(0, 1).all()
