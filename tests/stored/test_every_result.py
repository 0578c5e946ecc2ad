"""What holds for each stored result: it is there, of its recipe, of the code of today, and possible."""

import importlib
import math

import pytest

from signalprop.stored import load_stored
from signalprop.stored.result import FOLDER

# The files that a result must rest on, besides its recipe, its data and the streams.
RESTS_ON = {
    "architecture_space": {"train/batched.py", "train/scores.py", "nets/operation_mlp.py"},
    "architectures": {"train/loop.py", "train/scores.py", "nets/resnet.py"},
    "compound_scaling": {"train/loop.py", "train/scores.py", "nets/resnet.py"},
    "degradation": {"train/loop.py", "train/statistics.py", "nets/convolutional.py", "nets/resnet.py"},
    "delta_orthogonal_1000": {"train/twins.py", "train/loop.py", "nets/convolutional.py", "nets/orthogonal.py"},
    "depth_sweep": {"train/deep.py", "nets/deep_stacks.py"},
    "fixup_10000": {"train/deep.py", "nets/deep_residual_stack.py"},
    "gaussian_10000": {"train/deep.py", "nets/deep_stacks.py"},
    "plain_10000": {"train/deep.py", "nets/deep_stacks.py"},
    "resnet_1001": {"train/twins.py", "train/loop.py", "nets/convolutional.py", "nets/resnet.py"},
    "trainability_map": {"train/trainability.py", "train/batched.py", "nets/plain.py"},
    "tricks": {
        *("train/tricks.py", "train/attacks.py", "data/augmentation.py", "nets/dropout.py", "nets/plain.py"),
        *("nets/residual.py", "theory/factorial.py"),
    },
}


@pytest.fixture(scope="module", params=sorted(RESTS_ON))
def result(request):
    return load_stored(request.param)


def test_every_recipe_is_here():
    assert {path.stem for path in FOLDER.glob("*.py")} - {"__init__", "result"} == set(RESTS_ON)


def test_code_is_still_the_one_it_was_made_with(result):
    assert not result.stale, f"{', '.join(result.changed)} changed: run `make verify-stored` and commit what it renews"


def test_axes_are_those_of_the_recipe(result):
    recipe = importlib.import_module(f"signalprop.stored.{result.name}")
    axes = {name: list(dict.fromkeys(result.samples[name])) for name in result.samples.columns[:-1]}
    assert axes == {**recipe.GRID, **recipe.WITHIN}


def test_digests_cover_the_recipe_its_data_and_what_trains(result):
    recipe = importlib.import_module(f"signalprop.stored.{result.name}")
    expected = {f"stored/{result.name}.py", "streams.py", *recipe.FILES, *RESTS_ON[result.name]}
    assert set(result.about["code"]) >= expected


def test_scores_are_possible(result):
    texts = result.samples.select_dtypes(exclude="number").astype(str)

    def values(what):
        rows = texts.apply(lambda column: column.str.contains(what)).any(axis=1)
        return result.samples.loc[rows, "value"]

    # a run that lost counts as a guess, but for those of `tricks`; a probe is fitted on few examples and may overfit
    worst = math.inf if result.name == "tricks" else math.log(10) + 1e-6
    assert values("^(?!probe).*loss").between(0.2, worst, inclusive="left").all()
    assert values("^probe loss").between(0.2, 4).all()
    assert values("error").between(0.05, 1).all()
    assert values("accuracy").between(0, 1).all()
    assert values("^change of").between(0, 10).all()
