import math

import pytest
import torch

from signalprop import load_data, stream
from signalprop.train import linear_probe


def test_gradient_vanishes_at_its_minimum():
    source = stream("tests", "probe")
    x = torch.randn(300, 3, generator=source, dtype=torch.float64)
    y = (x[:, 0] + torch.randn(300, generator=source, dtype=torch.float64) > 0).long()
    loss, accuracy = linear_probe(x, y, x, y, classes=2)
    longer, _ = linear_probe(x, y, x, y, classes=2, iterations=2_000)
    assert loss == pytest.approx(longer, rel=1e-6)
    assert loss < math.log(2)
    assert accuracy > 0.7


def test_scale_of_features_does_not_matter():
    data = load_data("digits").flat()
    parts = data.train_x[:200], data.train_y[:200], data.test_x, data.test_y
    wide = 1_000 * parts[0], parts[1], 1_000 * parts[2], parts[3]
    assert linear_probe(*parts, classes=10, iterations=5)[1] == pytest.approx(
        linear_probe(*wide, classes=10, iterations=5)[1], abs=0.02
    )


def test_features_without_spread_tell_nothing():
    x, y = torch.ones(40, 2), torch.arange(40) % 4
    assert linear_probe(x, y, x, y, classes=4)[0] == pytest.approx(math.log(4), rel=1e-5)
