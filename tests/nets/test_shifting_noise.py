import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from signalprop import stream
from signalprop.nets import ShiftingNoise


def layer(features=3, steps=5, scale=0.5, shift=1.0, replicate=0):
    source = stream("tests", "shifting noise", replicate)
    return ShiftingNoise(features, scale=scale, shift=shift, steps=steps, generator=source)


def test_all_examples_and_positions_move_alike():
    noise, x = layer(), torch.randn(4, 3, 2, 2, generator=stream("tests", "shifting noise x", 0))
    y = noise(x)
    scale, shift = noise.noise[0]
    torch.testing.assert_close(y, scale.view(1, 3, 1, 1) * x + shift.view(1, 3, 1, 1))


def test_every_call_has_noise_of_its_own_until_it_starts_again():
    noise, x = layer(steps=3), torch.zeros(1, 3)
    outputs = [noise(x) for _ in range(4)]
    assert not torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[3])


def test_nothing_happens_in_eval_mode():
    noise, x = layer().eval(), torch.ones(2, 3)
    assert noise(x) is x
    assert noise.calls.item() == 0


def test_the_noise_has_the_size_asked_for():
    scale, shift = layer(features=50, steps=400, scale=0.2, shift=0.7).noise.unbind(1)
    assert scale.log().std().item() == pytest.approx(0.2, rel=0.05)
    assert shift.std().item() == pytest.approx(0.7, rel=0.05)


def test_vmap_moves_each_network_by_its_own_noise():
    layers = [layer(replicate=r) for r in range(2)]
    x = torch.ones(4, 3)
    expected = torch.stack([layer(replicate=r)(x) for r in range(2)])
    weights, buffers = stack_module_state(nn.ModuleList(layers))
    batched = vmap(lambda w, b: functional_call(layers[0], (w, b), (x,)))(weights, buffers)
    torch.testing.assert_close(batched, expected)


@pytest.mark.parametrize("wrong", [{"features": 0}, {"steps": 0}, {"scale": -1.0}, {"shift": -1.0}])
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="features and steps must be at least 1"):
        layer(**wrong)
