import pytest
import torch
from torch.nn import functional

from signalprop import stream, theory


def test_dense_connections_are_pairs():
    for n in range(6):
        pairs = [(source, layer) for layer in range(1, n + 1) for source in range(layer)]
        assert theory.dense_connections(n) == len(pairs)


def test_dense_gradient_is_the_recursion():
    width, growth, layers = 5, 3, 9
    expected = [1.0]
    for place in range(layers - 1, -1, -1):
        channels = width + place * growth
        expected.insert(0, expected[0] * (1 + growth / channels))
    assert theory.dense_gradient(layers, width, growth).tolist() == pytest.approx(expected, rel=1e-12)


def test_split_form_is_the_grouped_convolution():
    source = stream("tests", "split")
    x = torch.randn(2, 5, 4, 4, generator=source, dtype=torch.float64)
    u, k, v = (
        torch.randn(size, generator=source, dtype=torch.float64) for size in ((6, 5, 1, 1), (6, 2, 3, 3), (5, 6, 1, 1))
    )
    hidden = functional.conv2d(x, u).tanh()
    hidden = functional.conv2d(hidden, k, padding=1, groups=3).tanh()
    expected = functional.conv2d(hidden, v)
    torch.testing.assert_close(theory.aggregated_transformation(x, u, k, v, torch.tanh), expected)
    with pytest.raises(ValueError, match="cannot be parted"):
        theory.aggregated_transformation(x, u[:5], k[:5], v[:, :5], torch.tanh)


def test_costs_scale():
    one = theory.residual_multiply_adds(1, 10, blocks=3, stages=1, width=8, side=7)[0]
    for d, w, r in ((2, 1, 1), (1, 3, 1), (1, 1, 2), (2, 3, 4)):
        more = theory.residual_multiply_adds(1, 10, blocks=3 * d, stages=1, width=8 * w, side=7 * r)[0]
        assert more == one * theory.compound_cost(float(d), float(w), float(r))


def test_refuses_impossible_numbers():
    with pytest.raises(ValueError, match="layers"):
        theory.dense_connections(-1)
    with pytest.raises(ValueError, match="width"):
        theory.dense_gradient(2, 0, 3)
    with pytest.raises(ValueError, match="growth"):
        theory.densenet_parameters(1, 10, layers=2, stages=1, width=4, growth=-1)
    with pytest.raises(ValueError, match="path_width"):
        theory.resnext_branch_parameters(4, 2, -1)
    with pytest.raises(ValueError, match="side"):
        theory.residual_multiply_adds(1, 10, blocks=1, stages=1, width=4, side=-1)
    with pytest.raises(ValueError, match="factors"):
        theory.compound_cost(1.0, 0.0, 1.0)
