import pytest
import torch
from torch import nn
from torch.nn import functional

from signalprop import stream
from signalprop.nets import ResidualBlock, ResNet, initialize_


class Block(nn.Module):
    def __init__(self, branch, scale=None):
        super().__init__()
        self.branch = branch
        self.register_parameter("scale", None if scale is None else nn.Parameter(torch.tensor(scale)))

    def forward(self, x):
        return x + self.branch(x) * (1 if self.scale is None else self.scale)


def branch(width, layers, norm=None, bias=True):
    parts = []
    for _ in range(layers):
        parts += [nn.ReLU(), nn.Linear(width, width, bias=bias)]
    return nn.Sequential(*parts, *([norm] if norm else []))


def network(blocks, layers=2, scale=None, width=80, outputs=7, norm=None, bias=True):
    return nn.Sequential(
        nn.Linear(30, width),
        *(Block(branch(width, layers, norm, bias), scale) for _ in range(blocks)),
        nn.ReLU(),
        nn.Linear(width, outputs),
    ).double()


def narrowing(blocks):
    """Branches whose layers have different fans: 80 → 40 → 80."""
    block = lambda: Block(nn.Sequential(nn.Linear(80, 40), nn.ReLU(), nn.Linear(40, 80)), 0.3)  # noqa: E731
    return nn.Sequential(nn.Linear(30, 80), *(block() for _ in range(blocks)), nn.Linear(80, 7)).double()


def std(weights, scale):
    """Standard deviation and its gate of 5 standard errors, both times a scale."""
    values = torch.cat([weight.detach().flatten() for weight in weights]) * scale
    return values.square().mean().sqrt().item(), 5 * (1 / (2 * len(values))) ** 0.5


@pytest.mark.parametrize(("layers", "factor"), [(2, 9**-0.5), (3, 9**-0.25), (4, 9 ** (-1 / 6))])
def test_fixup_scales_the_inner_layers(layers, factor):
    """L^(−1/(2m−2)) for L = 9 blocks of m layers."""
    net = network(9, layers)
    initialize_(net, "fixup", generator=stream("tests", f"fixup.{layers}"))
    blocks = [part for part in net if isinstance(part, Block)]
    inner = [layer.weight for block in blocks for layer in block.branch[1:-2:2]]
    assert len(inner) == 9 * (layers - 1)
    value, gate = std(inner, 80**0.5 / factor)
    assert value == pytest.approx(2**0.5, rel=gate)
    value, gate = std([net[0].weight], 30**0.5)
    assert value == pytest.approx(2**0.5, rel=gate)
    assert all((block.branch[-1].weight == 0).all() for block in blocks)
    assert (net[-1].weight == 0).all()


@pytest.mark.parametrize(("fan", "count"), [("in", 80), ("out", 40)])
def test_fixup_counts_the_fan_it_is_told(fan, count):
    net = narrowing(16)
    initialize_(net, "fixup", generator=stream("tests", fan), fan=fan, gain=1.0)
    value, gate = std([block.branch[0].weight for block in net[1:-1]], count**0.5 * 16**0.5)
    assert value == pytest.approx(1, rel=gate)
    assert all(block.scale == 1 for block in net[1:-1])


def test_fixup_with_one_layer_a_branch_is_zero():
    net = network(3, 1)
    initialize_(net, "fixup", generator=stream("tests", "one layer"))
    assert all((block.branch[-1].weight == 0).all() for block in net[1:4])


def test_fixup_starts_at_the_uniform_prediction():
    net = network(20)
    initialize_(net, "fixup", generator=stream("tests", "uniform"))
    x = torch.randn(11, 30, generator=stream("tests", "uniform.x"), dtype=torch.float64)
    loss = functional.cross_entropy(net(x), torch.arange(11) % 7)
    assert loss.item() == pytest.approx(1.9459101490553132, abs=1e-15)  # ln 7


def change_of_one_step(scheme, blocks, rate, bias, replicate):
    """|Δf|/η of one step of SGD, with a random classifier: were it zero, nothing else would move in the first step."""
    net = network(blocks, bias=bias)
    source = stream("tests", f"step.{scheme}.{blocks}", replicate)
    initialize_(net, scheme, generator=source)
    initialize_(net[-1], "lecun", generator=source)
    x = torch.randn(16, 30, generator=source, dtype=torch.float64)
    before = net(x)
    grads = torch.autograd.grad(functional.cross_entropy(before, torch.arange(16) % 7), list(net.parameters()),
                                allow_unused=True)  # fmt: skip
    with torch.no_grad():
        for parameter, gradient in zip(net.parameters(), grads, strict=True):
            if gradient is not None:
                parameter -= rate * gradient
        return ((net(x) - before).norm() / rate).item()


def test_one_step_with_fixup_changes_the_function_alike_at_any_depth():
    """He's weights grow by 2 a block; and biases behind the zero layers would add up to a change that grows with L."""

    def growth(scheme, shallow, deep, bias):
        mean = [sum(change_of_one_step(scheme, blocks, 1e-12, bias, r) for r in range(6)) for blocks in (shallow, deep)]
        return mean[1] / mean[0]

    assert 0.5 < growth("fixup", 10, 200, bias=False) < 2
    assert growth("kaiming", 5, 20, bias=False) > 1000
    assert growth("fixup", 10, 400, bias=True) > 2


@pytest.mark.parametrize("scheme", ["skipinit", "rezero"])
def test_blocks_start_as_the_identity(scheme):
    net = network(6, scale=1.0)
    initialize_(net, scheme, generator=stream("tests", scheme))
    x = torch.randn(5, 80, generator=stream("tests", "identity"), dtype=torch.float64)
    assert torch.equal(net[1:7](x), x)
    assert all(block.scale == 0 and block.scale.requires_grad for block in net[1:7])
    value, gate = std([block.branch[i].weight for block in net[1:7] for i in (1, 3)], 80**0.5)
    assert value == pytest.approx(2**0.5, rel=gate)


@pytest.mark.parametrize("scale", [None, 0.3])
def test_branch_scale_divides_branches_by_the_root_of_their_number(scale):
    net, plain = network(9, scale=scale), network(9, scale=1.0)
    initialize_(net, "branch_scale", generator=stream("tests", "branch"))
    initialize_(plain, "kaiming", generator=stream("tests", "branch"))
    x = torch.randn(5, 80, generator=stream("tests", "branch.x"), dtype=torch.float64)
    for block, whole in zip(net[1:10], plain[1:10], strict=True):
        torch.testing.assert_close(block(x) - x, (whole(x) - x) / 3)


def test_one_over_root_l_makes_growth_finite():
    """Branches of L^(−1/2) times He's, which repeat the second moment: (1 + 1/L)^L → e against 2^L."""
    growth = {}
    for scheme in ("branch_scale", "kaiming"):
        net = network(40, width=100, scale=1.0)
        initialize_(net, scheme, generator=stream("tests", "growth"))
        x = torch.randn(50, 100, generator=stream("tests", "growth.x"), dtype=torch.float64)
        growth[scheme] = (net[1:41](x).square().mean() / x.square().mean()).item()
    assert growth["branch_scale"] == pytest.approx((1 + 1 / 40) ** 40, rel=0.4)
    assert growth["kaiming"] > 2**30


@pytest.mark.parametrize(
    ("net", "scheme", "options", "message"),
    [
        (network(2), "skipinit", {}, "this Block has none; build the network with scales"),
        (network(2), "rezero", {}, "this Block has none"),
        (network(2, norm=nn.BatchNorm1d(80)), "fixup", {}, "branch.4, a BatchNorm1d"),
        (network(2, norm=nn.LayerNorm(80)), "branch_scale", {}, "branch.4, a LayerNorm"),
        (network(2), "fixup", {"fan": "both"}, "fan must be 'in' or 'out'"),
        (nn.Sequential(nn.Linear(2, 2), Block(nn.Sequential(nn.Tanh()))), "fixup", {}, "has no weight layer"),
    ],
)
def test_it_says_which_network_it_needs(net, scheme, options, message):
    before = net[0].weight.clone()
    with pytest.raises(ValueError, match=message):
        initialize_(net, scheme, generator=stream("tests", "needs"), **options)
    assert torch.equal(net[0].weight, before)


def test_branch_scale_goes_into_the_scale_behind_a_normalizer():
    net = network(4, norm=nn.LayerNorm(80, dtype=torch.float64), scale=1.0)
    initialize_(net, "branch_scale", generator=stream("tests", "behind"))
    assert all(block.scale == 0.5 for block in net[1:5])


def resnet(scale):
    return ResNet(
        2, 3, depth=14, stages=2, width=4, block="pre_activation", shortcut="B", act="relu", normalizer=None,
        bias=False, scale=scale, scheme="kaiming", gain=2**0.5, generator=stream("tests", "resnet"),
        dtype=torch.float64,
    )  # fmt: skip


@pytest.mark.parametrize(("scheme", "scale"), [("fixup", None), ("fixup", 0.5), ("rezero", 0.5)])
def test_the_residual_networks_of_the_book(scheme, scale):
    """Blocks pass on what the skip makes of the input, and Fixup's scores are zero."""
    net, added = resnet(scale), []

    def keep(block, inputs, output):
        added.append(output - (inputs[0] if block.skip is None else block.skip(inputs[0])))

    for part in net.modules():
        if isinstance(part, ResidualBlock):
            part.register_forward_hook(keep)
    x = torch.randn(2, 2, 8, 7, generator=stream("tests", "resnet.x"), dtype=torch.float64)
    net(x)
    assert all((branch != 0).any() for branch in added)
    added.clear()
    initialize_(net, scheme, generator=stream("tests", "book"))
    scores = net(x)
    assert len(added) == 6
    assert all((branch == 0).all() for branch in added)
    assert (scores == 0).all() == (scheme == "fixup")


def test_a_residual_network_without_scales_has_none_to_set():
    with pytest.raises(ValueError, match="this ResidualBlock has none"):
        initialize_(resnet(None), "rezero", generator=stream("tests", "book"))
