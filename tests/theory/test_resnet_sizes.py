import pytest
import torch
from torch import nn

from signalprop import stream
from signalprop.nets import PlainCNN, ResNet
from signalprop.theory import identity_kernel, resnet_parameters, shortcut_second_moment, weight_layers

SHAPES = [(1, 3, 4), (2, 2, 3), (3, 3, 8), (2, 1, 5)]  # blocks, stages, width


def options(blocks, stages, width):
    return {
        "depth": int(weight_layers(torch.tensor(blocks), stages)),
        "stages": stages,
        "width": width,
        "act": "relu",
        "normalizer": nn.BatchNorm2d,
        "bias": False,
        "scheme": "kaiming",
        "gain": None,
        "generator": stream("tests", "sizes"),
    }


def count(net, kind=nn.Module):
    return sum(p.numel() for m in net.modules() if isinstance(m, kind) for p in m.parameters(recurse=False))


@pytest.mark.parametrize(("blocks", "stages", "width"), SHAPES)
@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_parameters_are_those_of_the_network(blocks, stages, width, shortcut):
    net = ResNet(2, 7, block="post_activation", shortcut=shortcut, scale=None, **options(blocks, stages, width))
    parts = resnet_parameters(blocks, channels=2, outputs=7, stages=stages, width=width, shortcut=shortcut)
    in_shortcuts = sum(p.numel() for name, p in net.named_parameters() if ".skip." in name)
    assert parts.sum() == count(net)
    assert parts[2:].tolist() == [count(net, nn.Linear), in_shortcuts]


@pytest.mark.parametrize(("blocks", "stages", "width"), SHAPES)
def test_plain_network_has_as_many_as_shortcuts_without_parameters(blocks, stages, width):
    net = PlainCNN(2, 7, padding_mode="zeros", **options(blocks, stages, width))
    parts = resnet_parameters(blocks, channels=2, outputs=7, stages=stages, width=width, shortcut="A")
    assert parts.tolist() == [count(net, nn.Conv2d), count(net, nn.BatchNorm2d), count(net, nn.Linear), 0]


@pytest.mark.parametrize("blocks", [1, 3])
def test_weight_layers_are_those_of_the_network(blocks):
    net = PlainCNN(2, 7, padding_mode="zeros", **options(blocks, 3, 4))
    layers = [module for module in net.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(layers) == weight_layers(torch.tensor([blocks])).item()


@pytest.mark.parametrize("size", [1, 3, 5])
def test_identity_kernel_hands_on_its_input(size):
    x = torch.randn(2, 3, 6, 5, dtype=torch.float64, generator=stream("tests", "kernel"))
    assert torch.nn.functional.conv2d(x, identity_kernel(3, size), padding=size // 2).equal(x)


def test_shortcuts():
    assert shortcut_second_moment("A", 8, 24) == pytest.approx(1 / 3)
    assert shortcut_second_moment("B", 8, 24, 2.0) == 2.0


@pytest.mark.parametrize("function", [resnet_parameters, shortcut_second_moment])
def test_unknown_shortcut(function):
    sizes = {"channels": 1, "outputs": 1, "stages": 1, "width": 1} if function is resnet_parameters else {"fan_in": 1}
    sizes |= {} if function is resnet_parameters else {"fan_out": 1}
    first = {"blocks": 1} if function is resnet_parameters else {}
    with pytest.raises(ValueError, match="unknown shortcut 'C'; known: A, B"):
        function(**first, **sizes, shortcut="C")
