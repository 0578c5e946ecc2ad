import pytest
import torch
from torch import nn
from torch.nn import functional

from signalprop import stream
from signalprop.nets import DenseNet


def densenet(channels=2, outputs=3, **options):
    usual = {"depth": 7, "stages": 2, "width": 4, "growth": 3, "act": "tanh", "normalizer": None, "bias": True}
    usual |= {"scheme": "kaiming", "gain": None, "generator": stream("tests", "densenet")}
    return DenseNet(channels, outputs, **(usual | options))


@pytest.mark.parametrize("normalized", [False, True])
def test_it_is_the_concatenation_of_its_layers(normalized):
    """Two blocks of two layers, put together from the stored weights: what came before stands first."""
    net = densenet(normalizer=nn.BatchNorm2d if normalized else None, dtype=torch.float64)
    with torch.no_grad():
        for number, parameter in enumerate(net.parameters()):
            if parameter.ndim < 2:
                parameter.normal_(generator=stream("tests", "randomize", number))
    values = {name: value.detach() for name, value in net.named_parameters()}

    def unit(name, h):
        weight = values[f"{name}.layer.weight"]
        return functional.conv2d(norm(f"{name}.norm", h).tanh(), weight, values[f"{name}.layer.bias"], padding="same")

    def norm(name, h):
        if not normalized:
            return h
        return functional.batch_norm(h, None, None, values[f"{name}.weight"], values[f"{name}.bias"], training=True)

    x = torch.randn(5, 2, 7, 6, dtype=torch.float64, generator=stream("tests", "x"))
    h = functional.conv2d(x, values["layer1.weight"], values["layer1.bias"], padding=1)
    for block in (1, 2):
        features = [h]
        for layer in (1, 2):
            features.append(unit(f"dense{block}.layer{layer}.new", torch.cat(features, 1)))
        h = torch.cat(features, 1)
        if block == 1:
            h = functional.avg_pool2d(unit("transition1", h), 2)
            assert h.shape == (5, 10, 3, 3)
    h = norm("norm", h).tanh()
    torch.testing.assert_close(net(x), h.flatten(2).mean(2) @ values["layer7.weight"].T + values["layer7.bias"])


def test_connections_by_the_jacobian():
    """Layer l of a block reads what came in and the l − 1 layers before it: n(n + 1)/2 pairs that depend."""
    net = densenet(depth=11, dtype=torch.float64)
    x = torch.randn(1, 4, 3, 3, dtype=torch.float64, generator=stream("tests", "x"))
    n, connections = 4, 0
    parts = [4] + [3] * n  # channels of the input and of each layer
    for number in range(1, n + 1):
        new = net.dense1.get_submodule(f"layer{number}").new
        inputs = torch.randn(1, sum(parts[:number]), 3, 3, dtype=torch.float64, generator=stream("tests", "in"))
        jacobian = torch.autograd.functional.jacobian(new, inputs)
        by_source = jacobian.abs().sum((0, 1, 2, 3, 4, 6, 7)).split(parts[:number])
        connections += sum(bool((source > 0).all()) for source in by_source)
    assert connections == n * (n + 1) // 2 == net.connections / net.stages
    assert net.dense1(x)[:, :4].equal(x)


@pytest.mark.parametrize(("depth", "stages"), [(7, 2), (11, 2), (13, 3), (5, 1)])
def test_the_depth_is_the_number_of_weight_layers(depth, stages):
    net = densenet(depth=depth, stages=stages)
    assert sum(isinstance(module, nn.Conv2d | nn.Linear) for module in net.modules()) == depth


@pytest.mark.parametrize("bias", [False, True])
def test_number_of_parameters(bias):
    """Depth 40 with growth 12, the network of the paper on CIFAR, in closed form: three blocks of 12 layers."""
    n, k, size = 12, 12, 16
    weights, norms, biases = 3 * 9 * size, 0, size
    for block in range(3):
        weights += sum(9 * (size + i * k) * k for i in range(n))
        norms += 2 * sum(size + i * k for i in range(n))
        biases += n * k
        size += n * k
        norms += 2 * size  # of the transition, or the last one
        if block < 2:
            weights += size**2
            biases += size
    net = densenet(3, 10, depth=40, stages=3, width=16, growth=12, bias=bias, normalizer=nn.BatchNorm2d, scheme="zero")
    assert sum(p.numel() for p in net.parameters()) == weights + norms + bias * biases + size * 10 + 10
    assert net.connections == 3 * 78


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 8}, r"depth must be 2 stages · \(n \+ 1\) \+ 1 with n ≥ 1 \(5, 7, 9, …\), got 8"),
        ({"depth": 3}, "got 3"),
        ({"growth": 0}, "growth must be at least 1, got 0"),
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"stages": 0}, "stages must be at least 1, got 0"),
    ],
)
def test_it_says_what_is_wrong(options, message):
    with pytest.raises(ValueError, match=message):
        densenet(**options)


def test_images_must_be_large_enough_and_have_its_channels():
    with pytest.raises(ValueError, match="images of 3×5 pixels cannot be halved 2 times; take at least 4×4"):
        densenet(depth=7, stages=3)(torch.zeros(1, 2, 3, 5))
    with pytest.raises(
        ValueError, match=r"DenseNet takes images \[batch, 2, height, width\], got shape \[1, 3, 8, 8\]"
    ):
        densenet()(torch.zeros(1, 3, 8, 8))
