import pytest
import torch
from torch import nn
from torch.nn import functional

from signalprop import stream
from signalprop.nets import ResNeXt


def resnext(channels=2, outputs=3, **options):
    usual = {"depth": 14, "stages": 2, "width": 4, "cardinality": 3, "path_width": 2, "act": "tanh"}
    usual |= {"normalizer": None, "bias": True, "scale": None, "scheme": "kaiming", "gain": None}
    return ResNeXt(channels, outputs, **(usual | {"generator": stream("tests", "resnext")} | options))


def randomized(net):
    with torch.no_grad():
        for number, parameter in enumerate(net.parameters()):
            if parameter.ndim < 2:
                parameter.normal_(generator=stream("tests", "randomize", number))
    return net


@pytest.mark.parametrize("normalized", [False, True])
def test_every_block_adds_its_paths(normalized):
    """Each path has its own slices of the weights: channels in, d of them in the middle, and their share of the sum."""
    net = randomized(resnext(normalizer=nn.BatchNorm2d if normalized else None, scale=0.7, dtype=torch.float64))
    values = {name: value.detach() for name, value in net.named_parameters()}

    def norm(name, h, part=slice(None)):
        if not normalized:
            return h
        weight, bias = values[f"{name}.weight"][part], values[f"{name}.bias"][part]
        return functional.batch_norm(h, None, None, weight, bias, training=True)

    x = torch.randn(5, 2, 7, 6, dtype=torch.float64, generator=stream("tests", "x"))
    h = functional.conv2d(x, values["layer1.weight"], values["layer1.bias"], padding=1)
    h = norm("norm1", h).tanh()
    for number, (d, stride) in enumerate([(2, 1), (2, 1), (4, 2), (4, 1)], start=1):
        branch = f"block{number}.branch."
        w1, w2, w3 = (values[f"{branch}layer{m}.weight"] for m in (1, 2, 3))
        b1, b2, b3 = (values[f"{branch}layer{m}.bias"] for m in (1, 2, 3))
        total = b3[:, None, None]
        for path in range(3):
            own = slice(path * d, (path + 1) * d)
            t = norm(f"{branch}norm1", functional.conv2d(h, w1[own], b1[own]), own).tanh()
            t = functional.conv2d(t, w2[own], b2[own], stride=stride, padding=1)
            t = norm(f"{branch}norm2", t, own).tanh()
            total = total + functional.conv2d(t, w3[:, own])
        total = norm(f"{branch}norm3", total)
        if number in (1, 3):
            skip = f"block{number}.skip."
            h = functional.conv2d(h, values[f"{skip}layer.weight"], values[f"{skip}layer.bias"], stride=stride)
            h = norm(f"{skip}norm", h)
        h = (h + values[f"block{number}.scale"] * total).tanh()
    assert h.shape == (5, 32, 4, 3)
    torch.testing.assert_close(net(x), h.flatten(2).mean(2) @ values["layer14.weight"].T + values["layer14.bias"])


@pytest.mark.parametrize(("depth", "stages"), [(14, 2), (20, 2), (11, 3), (29, 3)])
def test_the_depth_counts_all_weight_layers_but_projections(depth, stages):
    net = resnext(depth=depth, stages=stages)
    layers = {name for name, module in net.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    projections = {name for name in layers if ".skip." in name}
    assert len(layers - projections) == depth
    assert len(projections) == stages


@pytest.mark.parametrize(("cardinality", "path_width"), [(1, 64), (8, 64), (16, 4)])
def test_number_of_parameters(cardinality, path_width):
    """29 layers on CIFAR in closed form: a path of d channels costs in · d + 9d² + d · out weights."""
    count, fan_in = 3 * 9 * 64 + 2 * 64, 64
    for stage in range(3):
        d, out = path_width * 2**stage, 256 * 2**stage
        count += fan_in * out + 2 * out  # the projection
        for _ in range(3):
            count += cardinality * (fan_in * d + 9 * d * d + d * out) + 2 * (2 * cardinality * d + out)
            fan_in = out
    count += 1024 * 10 + 10
    net = resnext(
        *(3, 10),
        depth=29,
        stages=3,
        width=64,
        cardinality=cardinality,
        path_width=path_width,
        normalizer=nn.BatchNorm2d,
        bias=False,
        scheme="zero",
    )
    assert sum(p.numel() for p in net.parameters()) == count


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 21, "stages": 3}, r"depth must be 3 · 3 stages · n \+ 2 with n ≥ 1 \(11, 20, 29, …\), got 21"),
        ({"depth": 15}, r"\(8, 14, 20, …\), got 15"),
        ({"cardinality": 0}, "cardinality must be at least 1, got 0"),
        ({"path_width": 0}, "path_width must be at least 1, got 0"),
    ],
)
def test_it_says_what_is_wrong(options, message):
    with pytest.raises(ValueError, match=message):
        resnext(**options)


def test_only_images_with_its_channels():
    with pytest.raises(ValueError, match=r"ResNeXt takes images \[batch, 2, height, width\], got shape \[5, 3, 7, 6\]"):
        resnext()(torch.zeros(5, 3, 7, 6))
