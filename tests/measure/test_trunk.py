import pytest
import torch
from torch import nn

from signalprop import stream
from signalprop.measure import trunk_profile
from signalprop.nets import ResidualBlock, ResidualMLP, normalizer


def network(**options):
    settings = {"block": "two_layer", "normalizer": None, "scale": None} | options
    return ResidualMLP(
        5,
        3,
        depth=8,
        width=7,
        branch_layers=2,
        act="relu",
        bias=False,
        scheme="kaiming",
        gain=None,
        generator=stream("test", "trunk"),
        **settings,
    )


@pytest.mark.parametrize("block", ["two_layer", "pre_activation", "post_activation"])
def test_columns_are_those_of_the_trunk(block):
    net, x = network(block=block), torch.randn(6, 5, generator=stream("test", "trunk inputs"))
    table = trunk_profile(net, x, lambda y: y.square().sum())
    h = net.layer1(x)
    h = net.act1(h) if block == "post_activation" else h
    signals = [h]
    for number in (1, 2, 3):
        signals.append(getattr(net, f"block{number}")(signals[-1]))
    out = signals[-1] if block != "pre_activation" else net.act(signals[-1])
    gradients = torch.autograd.grad(net.layer8(out).square().sum(), signals)
    for row, (signal, gradient) in enumerate(zip(signals, gradients, strict=True)):
        cosine = nn.functional.cosine_similarity(signal[::2], signal[1::2]).mean().item()
        found = table.loc[row]
        assert found["second_moment"] == pytest.approx(signal.square().mean().item(), rel=1e-5)
        assert found["batch_variance"] == pytest.approx(signal.var(0, correction=0).mean().item(), rel=1e-5)
        assert found["correlation"] == pytest.approx(cosine, rel=1e-4)
        assert found["gradient"] == pytest.approx(gradient.square().mean().item(), rel=1e-5)
    assert len(table) == 4


def test_module_is_left_as_it_was():
    net = network(normalizer=normalizer("batch", eps=1e-5, momentum=0.1, affine=True))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    trunk_profile(net, torch.randn(6, 5, generator=stream("test", "kept")), lambda y: y.square().sum())
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in net.modules())


def test_module_without_blocks():
    with pytest.raises(ValueError, match="no residual block"):
        trunk_profile(nn.Linear(2, 2), torch.ones(1, 2), torch.sum)


def test_first_block_may_take_the_input_itself():
    block = ResidualBlock(nn.Sequential(nn.Linear(3, 3, bias=False)), skip=None, scale=0.0, act=None)
    table = trunk_profile(nn.Sequential(block), torch.ones(2, 3), torch.sum)
    assert table["gradient"].tolist() == [1, 1]
