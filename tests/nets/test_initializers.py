import pytest
import torch
from torch import nn

from signalprop import stream
from signalprop.nets import initialize_


@pytest.mark.parametrize("gain", [0.5, 1.0, 3.0])
def test_lecun_counts_the_inputs(gain):
    """A wrong fan would be off by the ratio of the fans, 16 in the variance."""
    layer = nn.Linear(1600, 100)
    initialize_(layer, "lecun", generator=stream("tests", "lecun"), gain=gain)
    expected = gain**2 / 1600
    assert abs(layer.weight.mean()) < 5 * (expected / 160_000) ** 0.5
    assert layer.weight.var().item() == pytest.approx(expected, rel=5 * (2 / 160_000) ** 0.5)


def test_lecun_is_gaussian():
    layer = nn.Linear(400, 400)
    initialize_(layer, "lecun", generator=stream("tests", "normal"))
    standardized = layer.weight.detach().flatten() * 20
    assert standardized.pow(4).mean().item() == pytest.approx(3, abs=5 * (96 / 160_000) ** 0.5)


def test_all_linear_layers_are_filled_and_biases_are_zero():
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2, bias=False)))
    for parameter in net.parameters():
        nn.init.constant_(parameter, torch.nan)
    initialize_(net, "lecun", generator=stream("tests", "all"))
    for name, parameter in net.named_parameters():
        assert parameter.isfinite().all(), name
        assert name.endswith("weight") or (parameter == 0).all()


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    initialize_(nn.utils.skip_init(nn.Linear, 3, 3), "lecun", generator=stream("tests", "global"))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("module", "scheme", "gain", "message"),
    [
        (nn.Linear(2, 2), "glorot", 1.0, "no scheme 'glorot'; known: lecun"),
        (nn.Linear(2, 2), "lecun", 0.0, "gain must be positive"),
        (nn.Linear(2, 2), "lecun", float("inf"), "gain must be positive and finite"),
        (nn.Sequential(nn.Linear(2, 2), nn.Conv1d(1, 1, 1)), "lecun", 1.0, "1.weight belongs to no linear layer"),
        (nn.Tanh(), "lecun", 1.0, "Tanh has no linear layer"),
    ],
)
def test_it_says_what_is_wrong(module, scheme, gain, message):
    with pytest.raises(ValueError, match=message):
        initialize_(module, scheme, generator=stream("tests", "wrong"), gain=gain)
