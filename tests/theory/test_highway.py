import math

import pytest
import torch

from signalprop import stream, theory


def layer(act, bias, gate_scale, q, m, n=200_000, seed=0):
    """One highway layer as it is at infinite width: units, transforms and gates drawn independently."""
    source = stream("tests", "highway law", seed)
    h, z, g = torch.randn(3, n, generator=source, dtype=torch.float64)
    h = m + (q - m * m) ** 0.5 * h
    t = torch.sigmoid(bias + gate_scale * q**0.5 * g)
    return t, h, act(q**0.5 * z)


@pytest.mark.parametrize("gate_sigma_w2", [0.0, 1.0])
@pytest.mark.parametrize(("name", "act"), [("tanh", torch.tanh), ("relu", torch.relu)])
def test_one_layer_against_independent_draws(name, act, gate_sigma_w2):
    q, m, bias = 1.3, 0.4, -0.7
    t, h, new = layer(act, bias, gate_sigma_w2**0.5, q, m)
    out = t * new + (1 - t) * h
    profile = theory.highway_profile(name, 1, bias, sigma_w2=1.0, gate_sigma_w2=gate_sigma_w2, q0=q, mean0=m)
    assert profile.mean[1].item() == pytest.approx(out.mean().item(), abs=0.01)
    assert profile.signal[1].item() == pytest.approx(out.square().mean().item(), rel=0.01)
    slope = 1 - new**2 if name == "tanh" else (new > 0).double()
    through_gate = gate_sigma_w2 * (t * (1 - t)).square() * (new - h).square()
    back = (t * slope).square() + (1 - t).square() + through_gate
    assert profile.gradient[0].item() == pytest.approx(back.mean().item(), rel=0.01)
    assert profile.gradient[1] == 1


def test_closed_gates_change_nothing_and_open_ones_make_the_plain_network():
    closed = theory.highway_profile("tanh", 30, -60.0, sigma_w2=1.0, gate_sigma_w2=1.0)
    assert torch.allclose(closed.signal, torch.ones(31, dtype=torch.float64))
    assert torch.allclose(closed.gradient, torch.ones(31, dtype=torch.float64))
    opened = theory.highway_profile("tanh", 3, 60.0, sigma_w2=1.5, gate_sigma_w2=0.0)
    q = 1.0
    for expected in opened.signal[1:].tolist():
        q = float(theory.second_moment("tanh", 1.5 * q))
        assert expected == pytest.approx(q, rel=1e-10)


@pytest.mark.parametrize("depth", [1, 7, 300])
def test_the_bias_of_a_depth_carries_the_share(depth):
    for share in (0.1, 0.9):
        carried = theory.highway_carry(depth, theory.highway_gate_bias(depth, share))
        assert carried == pytest.approx(share, rel=1e-12)
    assert theory.highway_carry(depth, 0.0) == pytest.approx(0.5**depth)
    assert theory.highway_carry(0, 3.0) == 1


@pytest.mark.parametrize("options", [{"q0": 0.0}, {"q0": math.inf}, {"mean0": 1.5}, {"depth": -1}])
def test_refuses_impossible_signals(options):
    with pytest.raises(ValueError, match="take depth"):
        theory.highway_profile(
            "tanh", **{"depth": 1, "gate_bias": 0.0, "sigma_w2": 1.0, "gate_sigma_w2": 0.0, **options}
        )


def test_refuses_impossible_depths_and_shares():
    with pytest.raises(ValueError, match="depth"):
        theory.highway_carry(-1, 0.0)
    for depth, share in ((0, 0.5), (3, 1.0), (3, 0.0)):
        with pytest.raises(ValueError, match="share"):
            theory.highway_gate_bias(depth, share)
