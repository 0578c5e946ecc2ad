import math

import pytest
import torch

from signalprop import stream
from signalprop.measure import gradient_cosine
from signalprop.nets import ResidualMLP
from signalprop.theory import correlation_map, residual_correlation, residual_gradient_correlation, residual_profile


def pair(c, n, source):
    """Two rows of mean square 1 and correlation c."""
    basis = torch.linalg.qr(torch.randn(n, 2, generator=source, dtype=torch.float64)).Q.T
    other = c * basis[0] + math.sqrt(1 - c**2) * basis[1]
    return torch.stack([basis[0], other]) * math.sqrt(n)


def blocks(act, depth, n, sigma_w2, source):
    net = ResidualMLP(
        n,
        n,
        depth=2 * depth + 2,
        width=n,
        branch_layers=2,
        block="two_layer",
        act=act,
        normalizer=None,
        bias=False,
        scale=sigma_w2**0.5,
        scheme="lecun",
        gain=1.0,
        generator=source,
        dtype=torch.float64,
    )
    return torch.nn.Sequential(*(part for name, part in net.named_children() if "block" in name)).double()


def test_relu_mixes_the_trunk_with_the_map_of_a_plain_layer():
    alpha2, c = 0.3, 0.1
    found = residual_correlation("relu", 6, c, 4 * alpha2, q0=2.0)
    for value in found[1:].tolist():
        c = (c + 2 * alpha2 * correlation_map("relu", c, 1.0, 2.0).item()) / (1 + 2 * alpha2)
        assert value == pytest.approx(c, rel=1e-10)


def test_equal_inputs_stay_equal_and_no_branch_changes_nothing():
    assert residual_correlation("tanh", 4, 1.0, 0.7).tolist() == pytest.approx([1.0] * 5)
    assert residual_gradient_correlation("tanh", 4, 1.0, 0.7).tolist() == pytest.approx([1.0] * 5)
    assert residual_correlation("relu", 3, 0.2, 0.0).tolist() == [0.2] * 4


@pytest.mark.parametrize("act", ["relu", "tanh", "gelu"])
def test_networks_agree(act):
    depth, n, sigma_w2, c = 4, 300, 1.5, 0.3
    signals, gradients = [], []
    for r in range(20):
        source = stream("test", f"residual correlation {act}", r)
        net, x = blocks(act, depth, n, sigma_w2, source), pair(c, n, source)
        h = net(x).detach()
        signals.append(torch.nn.functional.cosine_similarity(h[0], h[1], dim=0))
        gradients.append(gradient_cosine(net, x[:1], x[1:]))
    predicted = residual_correlation(act, depth, c, sigma_w2)[-1].item()
    assert torch.stack(signals).mean() == pytest.approx(predicted, abs=0.04)
    predicted = residual_gradient_correlation(act, depth, c, sigma_w2)[-1].item()
    assert torch.stack(gradients).mean() == pytest.approx(predicted, abs=0.04)


def test_trunk_grows_as_the_profile_says():
    # the denominators: with orthogonal inputs and an odd activation nothing correlates
    assert residual_correlation("tanh", 5, 0.0, 1.0).tolist() == pytest.approx([0.0] * 6, abs=1e-12)
    assert residual_profile(1, "two_layer")[1] == 3


def test_small_correlations_of_tanh_fall_by_a_power():
    c = residual_correlation("tanh", 400, 0.05, 1e4)
    slope = (c[400] / c[200]).log().item() / math.log(2)
    assert slope == pytest.approx(-(1 - 2 / math.pi), abs=0.01)


@pytest.mark.parametrize(
    ("depth", "c", "sigma_w2", "q0"), [(-1, 0.0, 1.0, 1.0), (1, 1.1, 1.0, 1.0), (1, 0.0, -1.0, 1.0), (1, 0.0, 1.0, 0.0)]
)
def test_numbers_out_of_range(depth, c, sigma_w2, q0):
    for function in (residual_correlation, residual_gradient_correlation):
        with pytest.raises(ValueError, match="must"):
            function("relu", depth, c, sigma_w2, q0)
