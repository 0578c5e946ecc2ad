import math

import pytest

from signalprop.stored import load_stored


@pytest.fixture(scope="module")
def result():
    return load_stored("trainability_map")


def test_losses_are_between_zero_and_a_guess(result):
    losses = result.samples["value"]
    assert losses.between(0.3, math.log(10) + 1e-6).all()
    by_depth = result.samples.groupby("depth")["value"].mean()
    assert by_depth.is_monotonic_increasing
