import pytest
import torch
from torch import nn
from torch.nn import functional

from signalprop import stream
from signalprop.nets import PlainCNN


def cnn(channels=2, outputs=3, **options):
    usual = {"depth": 10, "stages": 2, "width": 4, "act": "relu", "normalizer": None, "bias": True}
    usual |= {"padding_mode": "zeros", "scheme": "kaiming", "gain": None, "generator": stream("tests", "cnn")}
    return PlainCNN(channels, outputs, **(usual | options))


@pytest.mark.parametrize("padding_mode", ["zeros", "circular"])
@pytest.mark.parametrize("normalizer", [None, nn.BatchNorm2d])
def test_it_is_the_composition_of_its_layers(padding_mode, normalizer):
    net = cnn(padding_mode=padding_mode, normalizer=normalizer, dtype=torch.float64)
    h = x = torch.randn(3, 2, 7, 6, dtype=torch.float64, generator=stream("tests", "x"))
    for number, stride in enumerate([1, 1, 1, 1, 1, 2, 1, 1, 1], start=1):
        layer = net.get_submodule(f"layer{number}")
        nn.init.normal_(layer.bias, generator=stream("tests", "bias", number))
        mode = "constant" if padding_mode == "zeros" else padding_mode
        h = functional.conv2d(functional.pad(h, (1, 1, 1, 1), mode=mode), layer.weight, layer.bias, stride=stride)
        if normalizer:
            h = functional.batch_norm(h, None, None, training=True)
        h = torch.relu(h)
    expected = h.flatten(2).mean(2) @ net.layer10.weight.T + net.layer10.bias
    torch.testing.assert_close(net(x), expected)


@pytest.mark.parametrize("depth", [8, 20, 56])
def test_three_stages_have_the_depths_of_the_plain_networks_of_the_paper(depth):
    """6n + 2 weight layers: a convolution, 2n on each of three maps, a linear layer."""
    net = cnn(depth=depth, stages=3, width=16)
    layers = [module for module in net.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(layers) == depth
    n = (depth - 2) // 6
    channels = [layer.out_channels for layer in layers[:-1]]
    assert channels == [16] * (2 * n + 1) + [32] * 2 * n + [64] * 2 * n
    assert [name for name, _ in net.named_children()][-2:] == ["pool", f"layer{depth}"]


def test_maps_are_halved_where_channels_double():
    net, x = cnn(stages=3, depth=8), torch.zeros(1, 2, 32, 21)
    shapes = []
    for module in net.children():
        x = module(x)
        shapes += [tuple(x.shape[1:])] if isinstance(module, nn.Conv2d) else []
    assert shapes == [(4, 32, 21)] * 3 + [(8, 16, 11)] * 2 + [(16, 8, 6)] * 2


@pytest.mark.parametrize(("depth", "stages", "width", "bias"), [(8, 3, 5, False), (10, 2, 4, True), (6, 1, 7, True)])
def test_number_of_parameters(depth, stages, width, bias):
    """With k = 2n layers a stage, stage s has (k − 1) layers 2^s w → 2^s w, and one that comes from half as many."""
    k = (depth - 2) // stages
    weights = 9 * (2 * width + k * width**2)
    weights += 9 * sum((2**s * width) ** 2 * (k - 1) + 2**s * width * 2 ** (s - 1) * width for s in range(1, stages))
    biases = bias * (width + sum(k * 2**s * width for s in range(stages)))
    last = 2 ** (stages - 1) * width * 3 + 3
    net = cnn(depth=depth, stages=stages, width=width, bias=bias)
    assert sum(p.numel() for p in net.parameters()) == weights + biases + last


def test_circular_padding_makes_an_isometry_of_a_linear_network():
    """Delta-orthogonal kernels keep the norm of a map, from the second layer on (the first widens 2 to 4 channels)."""
    net = cnn(
        depth=42,
        stages=1,
        act="linear",
        bias=False,
        padding_mode="circular",
        scheme="delta_orthogonal",
        gain=1.0,
        dtype=torch.float64,
    )
    h = x = torch.randn(3, 2, 7, 6, dtype=torch.float64, generator=stream("tests", "x"))
    for name, module in net.named_children():
        if name == "pool":
            break
        h = module(h)
    torch.testing.assert_close(h.flatten(1).norm(dim=1), x.flatten(1).norm(dim=1), rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 9}, r"depth must be 2 · 2 stages · n \+ 2 with n ≥ 1 \(6, 10, 14, …\), got 9"),
        ({"depth": 2}, "got 2"),
        ({"stages": 3, "depth": 18}, r"\(8, 14, 20, …\), got 18"),
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"stages": 0}, "stages must be at least 1, got 0"),
        ({"channels": 0}, "channels must be at least 1"),
        ({"outputs": -1}, "outputs must be at least 1"),
        ({"padding_mode": "mirror"}, "padding_mode must be one of"),
    ],
)
def test_it_says_what_is_wrong(options, message):
    with pytest.raises(ValueError, match=message):
        cnn(**options)


@pytest.mark.parametrize("shape", [(3, 1, 7, 6), (7, 6, 2, 3), (2, 7), (1, 3, 2, 7, 6)])
def test_only_images_with_its_channels(shape):
    with pytest.raises(ValueError, match=r"PlainCNN takes images \[batch, 2, height, width\], got shape \["):
        cnn()(torch.zeros(shape))
