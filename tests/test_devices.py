"""Everything runs where it is told to: proven on the CPU, without a GPU, and on a GPU where there is one.

While a test runs, torch's default device is `meta`, whose tensors have no data, and every operation that takes or
returns one raises. A tensor made without ``device=`` lands there, on the CPU as it would on a GPU. One thing this does
not see: torch's default device does not hold in Python code that autograd calls on its way back (`autograd.Function`).
"""

from contextlib import contextmanager

import curvlinops  # noqa: F401 (its first import makes tensors; let it be while there is no default device)
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from signalprop import load_data, stream
from signalprop.measure import (
    filter_normalized_direction,
    gradient_autocorrelation,
    gradient_cosine,
    hessian_density,
    hessian_extremes,
    jacobian_singular_values,
    loss_surface,
    sample_law,
    signal_profile,
    smoothness_along_gradient,
)
from signalprop.nets import (
    MLP,
    DeepResidualStack,
    DeepStack,
    ResidualBlock,
    initialize_,
    normal_biases_,
    random_linear_chain,
)
from signalprop.nets.normalizers import normalizer
from signalprop.train import Checkpoint, evaluate, fit, fit_many, pgd, pretrain_, trainability

DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
PLAIN = ("zero", "lecun", "xavier", "kaiming", "kaiming_fan_out", "geometric_mean", "orthogonal", "delta_orthogonal")
RESIDUAL = ("fixup", "skipinit", "rezero", "branch_scale")
SCHEMES = {
    **{scheme: {} for scheme in (*PLAIN, *RESIDUAL, "looks_linear")},
    **{scheme: {"gain": 0.1} for scheme in ("constant", "normal")},
    "sparse": {"nonzero": 2},
    "lsuv": {"tolerance": 1e-3, "max_iterations": 10},
}
NORMALIZERS = {
    "batch": {"momentum": 0.1},
    "layer": {},
    "group": {"groups": 2},
    "instance": {},
    "switchable": {"momentum": 0.1},
}


class ForgottenDevice(RuntimeError):
    """An operation took or returned a tensor on the default device."""


class NoMeta(TorchDispatchMode):
    """Raise at the first operation with a meta tensor."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves((args, kwargs, result)):
            if isinstance(leaf, Tensor) and leaf.device.type == "meta":
                raise ForgottenDevice(f"{func} met a tensor on the default device: give it device=")
        return result


@contextmanager
def meta_by_default():
    """Make `meta` the default device; there is none before and after."""
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def no_forgotten_device():
    """Let nothing use the default device."""
    with meta_by_default(), NoMeta():
        yield


def built(kind, device, **options):
    """Build a network while the default device is meta, without the mode: `skip_init` itself goes by way of meta."""
    with meta_by_default():
        net = kind.build(device=device, dtype=torch.float64, **options)
    assert {tensor.device.type for tensor in (*net.parameters(), *net.buffers())} == {device}
    return net


@pytest.fixture(autouse=True)
def the_default_comes_back():
    yield
    assert torch.get_default_device() == torch.device("cpu")


@pytest.mark.parametrize("device", DEVICES)
def test_networks_forward_and_back(kind, device):
    net, x = built(kind, device), kind.x(device=device).requires_grad_()
    with no_forgotten_device():
        output = net(x)
        output.square().sum().backward()
    assert {output.device.type, x.grad.device.type} == {device}


@pytest.mark.parametrize("device", DEVICES)
def test_networks_start_and_compute_alike_on_every_device(kind, device):
    there, here = built(kind, device), kind.build(dtype=torch.float64)
    assert all(torch.equal(a.cpu(), b) for a, b in zip(there.parameters(), here.parameters(), strict=True))
    with no_forgotten_device():
        output = there(kind.x(device=device)).cpu()
    torch.testing.assert_close(output, here(kind.x()))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", NORMALIZERS)
def test_normalizers(name, device):
    with meta_by_default():
        norm = normalizer(name, eps=1e-5, affine=True, **NORMALIZERS[name])(4).to(device)
    x = torch.randn(5, 4, 3, 2, generator=stream("tests", "normalizer")).to(device).requires_grad_()
    with no_forgotten_device():
        norm(x).square().sum().backward()
        norm.eval()
        norm(x)
    assert {tensor.device.type for tensor in (x.grad, *norm.parameters(), *norm.buffers())} == {device}


@pytest.mark.parametrize("device", DEVICES)
def test_networks_with_a_normalizer(kind, device):
    net = built(kind, device, normalizer=normalizer("batch", eps=1e-5, momentum=0.1, affine=True))
    with no_forgotten_device():
        net(kind.x(device=device)).square().sum().backward()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_initializers(kinds, scheme, device):
    kind = kinds["ResidualMLP-v2" if scheme in RESIDUAL else "PlainCNN"]
    net, here = built(kind, device), kind.build(dtype=torch.float64)
    options = [SCHEMES[scheme] | ({"x": kind.x(device=place)} if scheme == "lsuv" else {}) for place in (device, "cpu")]
    with no_forgotten_device():
        initialize_(net, scheme, generator=stream("tests", "devices"), **options[0])
    initialize_(here, scheme, generator=stream("tests", "devices"), **options[1])
    for a, b in zip(net.parameters(), here.parameters(), strict=True):
        torch.testing.assert_close(a.cpu(), b, rtol=1e-9 if scheme == "lsuv" else 0, atol=0)


@pytest.mark.parametrize("device", DEVICES)
def test_random_biases(device):
    layers = [nn.Linear(3, 5).to(place) for place in (device, "cpu")]
    for layer in layers:
        with no_forgotten_device():
            normal_biases_(layer, 0.5, stream("tests", "biases"))
    assert torch.equal(layers[0].bias.cpu(), layers[1].bias)


def test_random_linear_chains():
    with no_forgotten_device():
        weights = random_linear_chain([3, 5, 2], 1.0, [stream("tests", "chain", r) for r in range(4)])
    assert {weight.device.type for weight in weights} == {"cpu"}


@pytest.mark.parametrize("device", DEVICES)
def test_signal_profile(kind, device):
    net, x = built(kind, device), kind.x(device=device)
    with no_forgotten_device():
        profile = signal_profile(net, x, lambda output: output.square().mean())
    here = signal_profile(kind.build(dtype=torch.float64), kind.x(), lambda output: output.square().mean())
    pd.testing.assert_frame_equal(profile, here)


@pytest.mark.parametrize("device", DEVICES)
def test_gradient_correlation(kind, device):
    net, x = built(kind, device), kind.x(device=device)
    with no_forgotten_device():
        cosine = gradient_cosine(net, x, 2 * x)
        along = gradient_autocorrelation(net, x, [0, 1], centred=True)
    assert {cosine.device.type, along.device.type} == {device}
    here = kind.build(dtype=torch.float64)
    torch.testing.assert_close(cosine.cpu(), gradient_cosine(here, kind.x(), 2 * kind.x()))
    torch.testing.assert_close(along.cpu(), gradient_autocorrelation(here, kind.x(), [0, 1], centred=True))


@pytest.mark.parametrize("device", DEVICES)
def test_hessian(kinds, device):
    """With batch statistics; ends and density are those found on the CPU."""
    kind, measured = kinds["MLP"], []
    for place in (device, "cpu"):
        normalizer_ = normalizer("batch", eps=1e-5, momentum=0.1, affine=True)
        net, x = built(kind, place, normalizer=normalizer_), kind.x(device=place)

        def loss_fn(net, x=x):
            return net(x).square().mean()

        generator = stream("tests", "hessian")
        with no_forgotten_device():
            ends = hessian_extremes(net, loss_fn, generator=generator)
            density = hessian_density(net, loss_fn, steps=5, draws=1, points=20, generator=generator)
        measured.append((torch.tensor(ends, device="cpu"), *density))
    for there, here in zip(*measured, strict=True):
        assert there.device.type == "cpu"
        torch.testing.assert_close(there, here, rtol=1e-4, atol=1e-4 * here.abs().max().item())


@pytest.mark.parametrize("device", DEVICES)
def test_smoothness(kind, device):
    net, x, here = built(kind, device), kind.x(device=device), kind.build(dtype=torch.float64)
    with no_forgotten_device():
        found = smoothness_along_gradient(net, lambda net: net(x).square().mean(), [0.01, 0.1])
    expected = smoothness_along_gradient(here, lambda net: net(kind.x()).square().mean(), [0.01, 0.1])
    torch.testing.assert_close(found.losses, expected.losses)
    torch.testing.assert_close(found.gradient_changes, expected.gradient_changes)
    assert found.effective_beta == pytest.approx(expected.effective_beta)


@pytest.mark.parametrize("device", DEVICES)
def test_loss_surface(kind, device):
    net, x, here = built(kind, device), kind.x(device=device), kind.build(dtype=torch.float64)
    grid = [torch.tensor([-0.5, 0.5], device="cpu")]
    with no_forgotten_device():
        direction = filter_normalized_direction(net, stream("tests", "surface"))
        found = loss_surface(net, lambda net: net(x).square().mean(), [direction], grid)
    direction = filter_normalized_direction(here, stream("tests", "surface"))
    expected = loss_surface(here, lambda net: net(kind.x()).square().mean(), [direction], grid)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("device", DEVICES)
def test_jacobian(kind, device):
    net, x = built(kind, device), kind.x(device=device)
    with no_forgotten_device():
        values = jacobian_singular_values(net, x, chunk=2)
    assert values.device.type == device
    torch.testing.assert_close(values.cpu(), jacobian_singular_values(kind.build(dtype=torch.float64), kind.x()))


@pytest.mark.parametrize("device", DEVICES)
def test_training(device):
    data = load_data("digits").standardized().to(device)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).to(device)
    with no_forgotten_device():
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        history = fit(net, data, optimizer, steps=3, batch=32, generator=stream("tests", "fit"))
        loss, _ = evaluate(net, data.test_x, data.test_y)
    assert history.loss.device.type == "cpu"
    assert loss > 0


@pytest.mark.parametrize("device", DEVICES)
def test_training_of_many(device, tmp_path):
    data = load_data("digits").standardized().flat()
    found = []
    for place in (device, "cpu"):
        there = data.to(place)
        with meta_by_default():
            common = {"act": "tanh", "bias": True, "scheme": "lecun", "gain": 1.0, "device": place}
            nets = [MLP([64, 9, 10], generator=stream("tests", "net", r), **common) for r in range(3)]
        rates = torch.tensor([0.1, 1e38, 0.3], device="cpu")
        orders = [stream("tests", "order", r) for r in range(3)]
        with no_forgotten_device():
            many = fit_many(nets, there, lr=rates, momentum=0.9, steps=4, batch=32, generators=orders)
            keep = Checkpoint(tmp_path / f"{place}.pt", every=2)
            for steps in (2, 4):
                optimizer = torch.optim.SGD(nets[0].parameters(), lr=0.01, momentum=0.9)
                order = stream("tests", "fit")
                alone = fit(nets[0], there, optimizer, steps=steps, batch=32, generator=order, checkpoint=keep)
        assert nets[0].layer1.weight.device.type == place
        assert [run.diverged for run in many] == [False, True, False]
        found.append(torch.cat([many[0].loss, many[2].loss, alone.loss]))
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("act", ["tanh", "gelu"])
@pytest.mark.parametrize("fused_lr", [None, 0.1])
@pytest.mark.parametrize("kind", [DeepStack, DeepResidualStack])
def test_deep_stacks(kind, fused_lr, act, device):
    found = []
    scheme = "orthogonal" if kind is DeepStack else "branch_scale"
    for place in (device, "cpu"):
        with meta_by_default():
            net = kind(20, 6, act, scheme=scheme, gain=1.0, generator=stream("tests", "stack"), device=place)
            twin = net.unstacked()
        net.fused_lr = fused_lr
        with no_forgotten_device():
            x = torch.full((4, 6), 0.1, device=place, requires_grad=True)
            net(x).square().sum().backward()
            with torch.no_grad():
                output = net(x)
                torch.testing.assert_close(twin(x), output)
        weight = net.weight if net.weight.grad is None else net.weight.grad
        found.append([part.detach().cpu() for part in (output, x.grad, weight)])
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("device", DEVICES)
def test_trainability(device):
    setting = {"act": "tanh", "sigma_b2": 0.05, "width": 4, "steps": 3, "batch": 8, "lr": 0.1, "momentum": 0.9}
    data, found = load_data("digits").standardized().flat(), []
    for place in (device, "cpu"):
        moved = data.to(place)
        with meta_by_default():
            found.append(
                trainability(moved, 2, [1.0], replicates=2, source=lambda r: stream("tests", "t", r), **setting)
            )
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("norm", ["inf", 2])
def test_attacks(kinds, device, norm):
    kind, found = kinds["MLP"], []
    for place in (device, "cpu"):
        net, x = built(kind, place), kind.x(device=place)
        y = torch.tensor([0, 1, 2, 0], device=place)
        options = {"epsilon": 0.3, "step_size": 0.1, "steps": 3, "bounds": (-9.0, 9.0)}
        with no_forgotten_device():
            found.append(pgd(net, x, y, norm=norm, generator=stream("tests", "attack"), **options))
    assert found[0].device.type == device
    torch.testing.assert_close(found[0].cpu(), found[1])


@pytest.mark.parametrize("device", DEVICES)
def test_pretraining(device):
    data, losses = load_data("digits").flat(), []
    for place in (device, "cpu"):
        with meta_by_default():
            net = MLP(
                [64, 9, 5, 3],
                "sigmoid",
                bias=True,
                scheme="xavier",
                gain=1.0,
                generator=stream("tests", "net"),
                device=place,
            )
        there = data.to(place)
        with no_forgotten_device():
            histories = pretrain_(net, there, steps=3, batch=32, lr=0.1, generator=stream("tests", "fit"))
        losses.append(torch.stack([history.loss for history in histories]))
    torch.testing.assert_close(*losses, rtol=1e-4, atol=1e-4)


class Forgetful(nn.Module):
    """Does something that is right on the CPU and wrong on a GPU."""

    def __init__(self, how):
        super().__init__()
        self.how = how

    def forward(self, x):
        if self.how == "adds a tensor":
            return x + torch.zeros(3)
        if self.how == "counts":
            return x * len(torch.arange(2))
        if self.how == "one-hot":
            return x + functional.one_hot(torch.tensor(1), 3)
        return x + torch.zeros(3, device=x.device)


@pytest.mark.parametrize("how", ["adds a tensor", "counts", "one-hot"])
def test_a_forgetful_module_is_caught(how):
    """On the CPU it works, and there nobody would notice."""
    x = torch.ones(2, 3, requires_grad=True)
    Forgetful(how)(x).sum().backward()
    with pytest.raises(RuntimeError, match=r"meta|default device"), no_forgotten_device():
        Forgetful(how)(x).sum().backward()


def test_a_careful_module_passes():
    with no_forgotten_device():
        Forgetful("nothing")(torch.ones(2, 3, device="cpu", requires_grad=True)).sum().backward()


def test_a_forgetful_constructor_is_caught():
    """A scale without ``device=``, in a block that is otherwise right."""
    with meta_by_default():
        block = ResidualBlock(nn.Sequential(nn.Linear(2, 2, device="cpu")), skip=None, scale=1.0, act=None)
        assert block.scale.device.type == "cpu"
        block.scale = nn.Parameter(torch.tensor(1.0))
        assert block.scale.device.type == "meta"
    with pytest.raises(RuntimeError, match=r"meta|default device"), no_forgotten_device():
        block(torch.ones(3, 2, device="cpu"))


def test_the_default_device_comes_back_after_an_exception():
    with pytest.raises(ZeroDivisionError), no_forgotten_device():
        raise ZeroDivisionError
    assert torch.zeros(1).device.type == "cpu"


@pytest.mark.parametrize("device", DEVICES)
def test_networks_in_law(device):
    """Numbers are drawn alike, but they need not mean the same networks: a QR may turn a vector round."""
    x = torch.tensor([[1.0, 2.0], [-1.0, 0.5], [1.0, 2.0]], dtype=torch.float64, device="cpu").to(device)
    source = stream("tests", "law")
    options = {"sigma_w2": 1.5, "sigma_b2": 0.1, "replicates": 2, "generator": source, "output_error": "normal"}
    with no_forgotten_device():
        sample = sample_law([2, 5, 4, 3], "tanh", x=x, **options)
    assert {gram.device.type for gram in (sample.signal, sample.error, sample.weight)} == {device}
    assert sample.weight_square.min() > 0
