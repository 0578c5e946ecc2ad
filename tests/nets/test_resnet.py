import pytest
import torch
from torch import nn
from torch.nn import functional

from signalprop import stream
from signalprop.nets import PlainCNN, ResNet
from signalprop.nets.resnet import PaddedShortcut

BLOCKS = ["post_activation", "pre_activation", "two_layer"]


def resnet(channels=2, outputs=3, **options):
    usual = {"depth": 10, "stages": 2, "width": 4, "block": "post_activation", "shortcut": "A", "act": "relu"}
    usual |= {"normalizer": None, "bias": False, "scale": None, "scheme": "kaiming", "gain": None}
    return ResNet(channels, outputs, **(usual | {"generator": stream("tests", "resnet")} | options))


def count(net):
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("shortcut", ["A", "B"])
@pytest.mark.parametrize("normalized", [False, True])
def test_the_order_of_operations(block, shortcut, normalized):
    """Two stages of two blocks, put together once more from the stored weights; 7×6 becomes 4×3."""
    net = resnet(
        block=block,
        shortcut=shortcut,
        normalizer=nn.BatchNorm2d if normalized else None,
        scale=0.7,
        bias=True,
        act="tanh",
        dtype=torch.float64,
    )
    with torch.no_grad():
        for number, parameter in enumerate(net.parameters()):
            if parameter.ndim < 2:
                parameter.normal_(generator=stream("tests", "randomize", number))
    values = {name: value.detach() for name, value in net.named_parameters()}

    def conv(name, h, stride=1):
        weight = values[f"{name}.weight"]
        return functional.conv2d(h, weight, values[f"{name}.bias"], stride=stride, padding=weight.shape[-1] // 2)

    def norm(name, h):
        if not normalized:
            return h
        return functional.batch_norm(h, None, None, values[f"{name}.weight"], values[f"{name}.bias"], training=True)

    x = torch.randn(5, 2, 7, 6, dtype=torch.float64, generator=stream("tests", "x"))
    h = conv("layer1", x)
    if block == "post_activation":
        h = norm("norm1", h).tanh()
    for number, stride in enumerate([1, 1, 2, 1], start=1):
        branch = f"block{number}.branch."
        if block == "pre_activation":
            f = conv(f"{branch}layer1", norm(f"{branch}norm1", h).tanh(), stride)
            f = conv(f"{branch}layer2", norm(f"{branch}norm2", f).tanh())
        else:
            f = norm(f"{branch}norm1", conv(f"{branch}layer1", h, stride)).tanh()
            f = norm(f"{branch}norm2", conv(f"{branch}layer2", f))
        if stride == 2 and shortcut == "A":
            small = h[:, :, [0, 2, 4, 6]][:, :, :, [0, 2, 4]]
            h = torch.cat([small, torch.zeros_like(small)], dim=1)
        elif stride == 2:
            h = conv(f"block{number}.skip.layer", h, stride)
            h = h if block == "pre_activation" else norm(f"block{number}.skip.norm", h)
        h = h + values[f"block{number}.scale"] * f
        h = h.tanh() if block == "post_activation" else h
    if block == "pre_activation":
        h = norm("norm", h).tanh()
    expected = h.flatten(2).mean(2) @ values["layer10.weight"].T + values["layer10.bias"]
    torch.testing.assert_close(net(x), expected)


def test_the_padded_shortcut_by_hand():
    x = torch.arange(24.0).reshape(1, 2, 3, 4)
    expected = torch.zeros(1, 5, 2, 2)
    expected[0, 0] = torch.tensor([[0.0, 2.0], [8.0, 10.0]])
    expected[0, 1] = torch.tensor([[12.0, 14.0], [20.0, 22.0]])
    assert torch.equal(PaddedShortcut(new_channels=3, stride=2)(x), expected)


@pytest.mark.parametrize(
    ("depth", "published"), [(20, 0.27e6), (32, 0.46e6), (44, 0.66e6), (56, 0.85e6), (110, 1.7e6), (1202, 19.4e6)]
)
def test_parameters_of_the_networks_on_cifar(depth, published):
    """Closed form, and the digits printed by He et al. (table 6); with their shortcut A."""
    n = (depth - 2) // 6
    convolutions = 3 * 16 * 9 + 9 * sum((2 * n - 1) * w * w + w * (w if w == 16 else w // 2) for w in (16, 32, 64))
    norms = 2 * (16 + 2 * n * (16 + 32 + 64))
    net = resnet_on_cifar(depth, "A")
    assert count(net) == convolutions + norms + 64 * 10 + 10
    digits = 1 if published > 1e6 else 2
    assert round(count(net) / 1e6, digits) == published / 1e6


def resnet_on_cifar(depth, shortcut):
    return resnet(3, 10, depth=depth, stages=3, width=16, shortcut=shortcut, normalizer=nn.BatchNorm2d, scheme="zero")


def test_projections_add_two_convolutions_and_their_norms():
    """Type B has kernels 16 → 32 and 32 → 64, 2,752 parameters more: 32 layers then have 0.47 million, not 0.46."""
    more = 16 * 32 + 32 * 64 + 2 * (32 + 64)
    for depth in (20, 32):
        assert count(resnet_on_cifar(depth, "B")) == count(resnet_on_cifar(depth, "A")) + more
    assert round(count(resnet_on_cifar(32, "B")) / 1e6, 2) == 0.47


@pytest.mark.parametrize("depth", [8, 20, 56])
def test_shortcuts_of_type_a_cost_nothing(depth):
    """A residual network has the parameters of the plain network of the same depth."""
    common = {"depth": depth, "stages": 3, "width": 4, "act": "relu", "normalizer": nn.BatchNorm2d, "bias": False}
    common |= {"scheme": "zero", "gain": None, "generator": stream("tests", "plain")}
    plain = PlainCNN(3, 10, padding_mode="zeros", **common)
    assert count(ResNet(3, 10, block="post_activation", shortcut="A", scale=None, **common)) == count(plain)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_the_depth_counts_all_weight_layers_but_projections(block, shortcut):
    net = resnet(depth=20, stages=3, block=block, shortcut=shortcut)
    layers = {name for name, module in net.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    projections = {name for name in layers if ".skip." in name}
    assert len(layers - projections) == 20
    assert len(projections) == (2 if shortcut == "B" else 0)


@pytest.mark.parametrize("block", ["pre_activation", "two_layer"])
def test_branches_of_zero_leave_stem_subsampling_and_classifier(block):
    net = resnet(scale=0.0, block=block)
    x = torch.randn(5, 2, 7, 6, generator=stream("tests", "x"))
    h = net.layer1(x)[:, :, ::2, ::2]
    h = torch.cat([h, torch.zeros_like(h)], 1)
    h = h.relu() if block == "pre_activation" else h
    torch.testing.assert_close(net(x), net.layer10(h.mean((2, 3))))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 21, "stages": 3}, r"depth must be 2 · 3 stages · n \+ 2 with n ≥ 1 \(8, 14, 20, …\), got 21"),
        ({"depth": 2}, "got 2"),
        ({"block": "v2"}, "unknown block 'v2'"),
        ({"shortcut": "C"}, "unknown shortcut 'C'; known: A, B"),
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"stages": 0}, "stages must be at least 1, got 0"),
    ],
)
def test_it_says_what_is_wrong(options, message):
    with pytest.raises(ValueError, match=message):
        resnet(**options)


def test_only_images_with_its_channels():
    with pytest.raises(ValueError, match=r"ResNet takes images \[batch, 2, height, width\], got shape \[5, 3, 7, 6\]"):
        resnet()(torch.zeros(5, 3, 7, 6))
