import pytest
import torch
from torch import nn
from torch.nn import functional

from signalprop import stream
from signalprop.claims.gates import gate
from signalprop.nets import Elementwise, ResidualBlock, ResidualMLP
from signalprop.theory import residual_profile

BLOCKS = ["post_activation", "pre_activation", "two_layer"]


def mlp(inputs=5, outputs=3, **options):
    usual = {"depth": 8, "width": 6, "branch_layers": 2, "block": "pre_activation", "act": "relu", "normalizer": None}
    usual |= {"bias": True, "scale": None, "scheme": "kaiming", "gain": None, "generator": stream("tests", "residual")}
    return ResidualMLP(inputs, outputs, **(usual | options))


def randomize(net):
    """Biases and scales away from where they start."""
    with torch.no_grad():
        for number, parameter in enumerate(net.parameters()):
            if parameter.ndim < 2:
                parameter.normal_(generator=stream("tests", "randomize", number))


def test_a_branch_of_zero_leaves_the_identity():
    branch = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    nn.init.zeros_(branch[2].weight)
    nn.init.zeros_(branch[2].bias)
    x = torch.randn(3, 4, generator=stream("tests", "x"))
    assert torch.equal(ResidualBlock(branch, skip=None, scale=None, act=None)(x), x)
    assert torch.equal(ResidualBlock(nn.Sequential(nn.Linear(4, 4)), skip=None, scale=0.0, act=None)(x), x)


def test_a_block_is_skip_plus_scaled_branch_and_then_its_activation():
    branch, skip = nn.Sequential(nn.Linear(4, 5)), nn.Linear(4, 5)
    x = torch.randn(3, 4, generator=stream("tests", "x"))
    block = ResidualBlock(branch, skip=skip, scale=-0.25, act=Elementwise("sigmoid"))
    expected = torch.sigmoid(x @ skip.weight.T + skip.bias - 0.25 * (x @ branch[0].weight.T + branch[0].bias))
    torch.testing.assert_close(block(x), expected)


def test_the_scale_is_trained():
    block = ResidualBlock(nn.Sequential(nn.Linear(4, 4)), skip=None, scale=0.5, act=None)
    x = torch.randn(3, 4, generator=stream("tests", "x"))
    block(x).sum().backward()
    torch.testing.assert_close(block.scale.grad, block.branch(x).sum())


def test_without_scale_there_is_no_such_parameter():
    block = ResidualBlock(nn.Sequential(nn.Linear(4, 4)), skip=None, scale=None, act=None)
    assert block.scale is None
    assert [name for name, _ in block.named_parameters()] == ["branch.0.weight", "branch.0.bias"]


def test_branch_and_skip_must_agree():
    """Shapes [3, 1] and [3, 4] would be added without a complaint."""
    with pytest.raises(ValueError, match=r"turned \[3, 4\] into \[3, 1\], the way around into \[3, 4\]"):
        ResidualBlock(nn.Sequential(nn.Linear(4, 1)), skip=None, scale=None, act=None)(torch.zeros(3, 4))


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("branch_layers", [1, 2, 3])
def test_the_order_of_operations(block, normalized, branch_layers):
    """Weights one after the other as they are stored, put together here once more."""
    net = mlp(
        block=block,
        branch_layers=branch_layers,
        depth=2 * branch_layers + 2,
        normalizer=nn.BatchNorm1d if normalized else None,
        scale=0.7,
        act="tanh",
        dtype=torch.float64,
    )
    randomize(net)
    values = {name: value.detach() for name, value in net.named_parameters()}

    def layer(name, h):
        return h @ values[f"{name}.weight"].T + values[f"{name}.bias"]

    def norm(name, h):
        if not normalized:
            return h
        return functional.batch_norm(h, None, None, values[f"{name}.weight"], values[f"{name}.bias"], training=True)

    x = torch.randn(7, 5, dtype=torch.float64, generator=stream("tests", "x"))
    h = layer("layer1", x)
    if block == "post_activation":
        h = norm("norm1", h).tanh()
    for b in (1, 2):
        f = h
        for m in range(1, branch_layers + 1):
            place = f"block{b}.branch."
            if block == "pre_activation":
                f = layer(f"{place}layer{m}", norm(f"{place}norm{m}", f).tanh())
            else:
                f = norm(f"{place}norm{m}", layer(f"{place}layer{m}", f))
                f = f.tanh() if m < branch_layers else f
        h = h + values[f"block{b}.scale"] * f
        h = h.tanh() if block == "post_activation" else h
    if block == "pre_activation":
        h = norm("norm", h).tanh()
    torch.testing.assert_close(net(x), layer(f"layer{2 * branch_layers + 2}", h))


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize(("depth", "branch_layers"), [(8, 2), (8, 3), (12, 2), (5, 1)])
def test_the_depth_is_the_number_of_weight_layers(block, depth, branch_layers):
    net = mlp(depth=depth, branch_layers=branch_layers, block=block)
    assert sum(isinstance(module, nn.Linear) for module in net.modules()) == depth
    assert sum(isinstance(module, ResidualBlock) for module in net.modules()) == (depth - 2) // branch_layers


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("scale", [None, 1.0])
def test_number_of_parameters(bias, scale):
    net = mlp(depth=8, width=6, bias=bias, scale=scale)
    expected = 5 * 6 + 6 * 36 + 6 * 3 + bias * (7 * 6 + 3) + 3 * (scale is not None)
    assert sum(p.numel() for p in net.parameters()) == expected


@pytest.mark.parametrize("block", ["pre_activation", "two_layer"])
def test_scales_of_zero_leave_the_two_end_layers(block):
    net = mlp(scale=0.0, block=block, depth=42)
    x = torch.randn(4, 5, generator=stream("tests", "x"))
    h = net.layer1(x)
    torch.testing.assert_close(net(x), net.layer42(h.relu() if block == "pre_activation" else h), rtol=0, atol=0)


def growth(block, width, blocks, replicate, scale=None):
    """q_l/q_{l−1} of each block of a network with He's weights, for one input."""
    generator = stream("tests", f"growth.{block}", replicate)
    net = mlp(
        *(width, 2),
        depth=2 * blocks + 2,
        width=width,
        block=block,
        bias=False,
        scale=scale,
        generator=generator,
    )
    signals = []
    hooks = [
        module.register_forward_hook(lambda block, inputs, output: signals.extend([inputs[0], output]))
        for module in net.children()
        if isinstance(module, ResidualBlock)
    ]
    with torch.no_grad():
        net(torch.randn(1, width, generator=generator))
    for hook in hooks:
        hook.remove()
    q = torch.stack([signal.double().square().mean() for signal in signals])
    return q[1::2] / q[::2]


@pytest.mark.parametrize(("block", "bias"), [("pre_activation", 2 / 128), ("two_layer", 0.0)])
def test_the_signal_doubles_or_triples_in_every_block(block, bias):
    """A replicate is a network: the mean of its growth over 10 blocks.

    Given x the mean of x + W2 φ(W1 x) is three times x² at any width. In x + W2 φ(W1 φ(x)) the branch has twice φ(x)²,
    which is x² but for a correlation of signs of order 1/n.
    """
    means = torch.stack([growth(block, 128, 10, replicate).mean() for replicate in range(100)])
    predicted = residual_profile(1, block)[1].item()
    error = means.std() / len(means) ** 0.5
    assert abs(means.mean() - predicted) < gate(100) * error + bias
    assert gate(100) * error + bias < 0.12  # narrow enough to tell 2, 2.4 and 3 apart


def test_the_first_post_activation_block_and_a_scaled_one():
    """The trunk starts as the ReLU of a Gaussian, so that the outer ReLU cuts less than half."""
    for block, scale in (("post_activation", None), ("pre_activation", 0.5)):
        first = torch.stack([growth(block, 128, 1, replicate, scale)[0] for replicate in range(100)])
        predicted = residual_profile(1, block, scale or 1.0)[1].item()
        assert abs(first.mean() - predicted) < gate(100) * first.std() / 10 + 2 / 128


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 7}, r"depth must be 2 layers a branch · n \+ 2 with n ≥ 1 \(4, 6, 8, …\), got 7"),
        ({"depth": 2}, "got 2"),
        ({"branch_layers": 0}, "branch_layers must be at least 1, got 0"),
        ({"block": "v3"}, "unknown block 'v3'; known: post_activation, pre_activation, two_layer"),
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"inputs": 0}, "inputs must be at least 1"),
        ({"outputs": 0}, "outputs must be at least 1"),
    ],
)
def test_it_says_what_is_wrong(options, message):
    with pytest.raises(ValueError, match=message):
        mlp(**options)
