import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from signalprop import stream
from signalprop.nets import MinimalRNN, VanillaRNN


def build(cls, inputs=2, outputs=3, **options):
    usual = {"depth": 2, "width": 6, "act": "tanh", "normalizer": None, "bias": True}
    usual |= {"scheme": "lecun", "gain": 1.2, "generator": stream("tests", "rnn"), "dtype": torch.float64}
    usual |= {"gate_bias": 0.8} if cls is MinimalRNN else {}
    net = cls(inputs, outputs, **(usual | options))
    with torch.no_grad():
        for number, parameter in enumerate(net.parameters()):
            if parameter.ndim < 2:
                parameter.normal_(generator=stream("tests", "randomize", number))
    return net


@pytest.fixture
def x():
    return torch.randn(4, 5, 2, dtype=torch.float64, generator=stream("tests", "x"))


def test_the_vanilla_one_is_torchs(x):
    """`torch.nn.RNN` of two layers with the same weights; it has a second bias, left at zero."""
    net = build(VanillaRNN)
    reference = nn.RNN(2, 6, num_layers=2, batch_first=True, dtype=torch.float64)
    state = reference.state_dict()
    for number, cell in enumerate(net.cells):
        state[f"weight_ih_l{number}"].copy_(cell.read.weight)
        state[f"bias_ih_l{number}"].copy_(cell.read.bias)
        state[f"weight_hh_l{number}"].copy_(cell.recurrent.weight)
        state[f"bias_hh_l{number}"].zero_()
    torch.testing.assert_close(net(x), net.last(reference(x)[0][:, -1]))


def test_the_minimal_one_unit_by_unit(x):
    """Two layers, with scalars: h = u h + (1 − u) z, z = φ(V x + b), u = sigmoid(U h + U_z z + b_u)."""
    net = build(MinimalRNN)
    expected = torch.zeros(4, 3, dtype=torch.float64)
    for example in range(4):
        states = [[0.0] * 6, [0.0] * 6]
        for t in range(5):
            below = x[example, t].tolist()
            for number, cell in enumerate(net.cells):
                read, bias = cell.read.weight.tolist(), cell.read.bias.tolist()
                z = [math.tanh(sum(w * b for w, b in zip(read[i], below, strict=True)) + bias[i]) for i in range(6)]
                old, new = states[number], []
                for i in range(6):
                    drive = cell.gate.bias[i].item() + 0.8
                    drive += sum(cell.recurrent.weight[i, j].item() * old[j] for j in range(6))
                    drive += sum(cell.gate.weight[i, j].item() * z[j] for j in range(6))
                    u = 1 / (1 + math.exp(-drive))
                    new.append(u * old[i] + (1 - u) * z[i])
                states[number] = below = new
        expected[example] = net.last(torch.tensor(states[1], dtype=torch.float64))
    torch.testing.assert_close(net(x), expected)


@pytest.mark.parametrize("cls", [VanillaRNN, MinimalRNN])
def test_the_normalizer_acts_before_the_activation(cls, x):
    net = build(cls, depth=1, normalizer=lambda features: nn.LayerNorm(features, eps=0.1))
    cell, h = net.cells[0], torch.zeros(4, 6, dtype=torch.float64)
    for step in x.unbind(1):
        read = functional.linear(step, cell.read.weight, cell.read.bias)
        if cls is VanillaRNN:
            h = functional.layer_norm(read + h @ cell.recurrent.weight.T, (6,), cell.norm.weight, cell.norm.bias, 0.1)
            h = h.tanh()
        else:
            z = functional.layer_norm(read, (6,), cell.norm.weight, cell.norm.bias, 0.1).tanh()
            u = (h @ cell.recurrent.weight.T + z @ cell.gate.weight.T + cell.gate.bias + 0.8).sigmoid()
            h = u * h + (1 - u) * z
    torch.testing.assert_close(net(x), net.last(h))


def test_an_open_gate_forgets_and_a_closed_one_never_learns(x):
    forgetful = build(MinimalRNN, gate_bias=-torch.inf, depth=1)
    torch.testing.assert_close(forgetful(x), forgetful(x[:, -1:]), rtol=0, atol=0)
    frozen = build(MinimalRNN, gate_bias=torch.inf, depth=1)
    assert torch.equal(frozen(x), frozen.last.bias.expand(4, 3))


@pytest.mark.parametrize("cls", [VanillaRNN, MinimalRNN])
def test_the_order_of_the_steps_matters_and_the_first_is_remembered(cls, x):
    net = build(cls)
    assert not torch.allclose(net(x), net(x.flip(1)))
    (gradient,) = torch.autograd.grad(net(x.requires_grad_()).sum(), x)
    assert (gradient[:, 0] != 0).all()


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("depth", [1, 3])
def test_number_of_parameters(depth, bias):
    """A layer on top of another reads 6 units instead of 2; the gate adds a square matrix and a bias."""
    vanilla = (36 + 12 + bias * 6) + (depth - 1) * (36 + 36 + bias * 6) + 18 + bias * 3
    minimal = vanilla + depth * (36 + bias * 6)
    assert sum(p.numel() for p in build(VanillaRNN, depth=depth, bias=bias).parameters()) == vanilla
    assert sum(p.numel() for p in build(MinimalRNN, depth=depth, bias=bias).parameters()) == minimal


@pytest.mark.parametrize("cls", [VanillaRNN, MinimalRNN])
@pytest.mark.parametrize("shape", [(4, 5), (4, 0, 2), (4, 5, 3), (1, 4, 5, 2)])
def test_only_sequences_of_its_inputs(cls, shape):
    with pytest.raises(ValueError, match=r"RNN takes sequences \[batch, steps ≥ 1, 2\], got shape \["):
        build(cls)(torch.zeros(shape, dtype=torch.float64))


@pytest.mark.parametrize("cls", [VanillaRNN, MinimalRNN])
@pytest.mark.parametrize("name", ["inputs", "outputs", "depth", "width"])
def test_numbers_must_be_positive(cls, name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        build(cls, **{name: 0})
