import math

import pytest

from signalprop.stored import degradation, load_stored


@pytest.fixture(scope="module")
def result():
    return load_stored("degradation")


def test_code_is_still_the_one_it_was_made_with(result):
    assert not result.stale, f"{', '.join(result.changed)} changed: run `make verify-stored` and commit what it renews"


def test_axes_are_those_of_the_recipe(result):
    axes = {name: list(dict.fromkeys(result.samples[name])) for name in result.samples.columns[:-1]}
    assert axes == {**degradation.GRID, **degradation.WITHIN}


def test_digests_cover_the_recipe_its_data_and_what_trains(result):
    assert set(result.about["code"]) >= {
        "stored/degradation.py",
        "fashion14.npz",
        "train/loop.py",
        "train/statistics.py",
        "nets/convolutional.py",
        "nets/resnet.py",
        "streams.py",
    }


def test_losses_and_errors_are_between_zero_and_a_guess(result):
    table = result.samples
    losses = table.loc[table["measure"].str.endswith("loss"), "value"]
    errors = table.loc[table["measure"].str.endswith("error"), "value"]
    assert losses.between(0.2, math.log(10) + 1e-6).all()
    assert errors.between(0.05, 1).all()


def test_both_kinds_have_the_same_number_of_weights():
    for depth in degradation.GRID["depth"]:
        plain, residual = (
            sum(weight.numel() for weight in degradation.network(depth, kind, 0).parameters())
            for kind in degradation.GRID["kind"]
        )
        assert plain == residual
