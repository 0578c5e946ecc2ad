from copy import deepcopy

import pytest
import torch
from torch import nn

from signalprop import stream
from signalprop.nets import DeepResidualStack, DeepStack, initialize_

PRECISION = {torch.float32: 1e-5, torch.float64: 1e-12}
ACTIVATIONS = ["tanh", "relu", "sigmoid", "linear", "gelu", "lecun_tanh", torch.sin]


def stack(depth=40, width=12, activation="tanh", bias=True, **options):
    usual = {"scheme": "lecun", "gain": 1.2, "generator": stream("tests", "stack"), "dtype": torch.float64}
    made = DeepStack(depth, width, activation, bias, **(usual | options))
    if bias:
        nn.init.normal_(made.bias, 0, 0.2, generator=stream("tests", "stack bias"))
    return made


def residual(blocks=20, width=12, activation="relu", **options):
    usual = {"scheme": "branch_scale", "gain": None, "generator": stream("tests", "stack"), "dtype": torch.float64}
    made = DeepResidualStack(blocks, width, activation, **(usual | options))
    nn.init.normal_(made.scale, 0.3, 0.1, generator=stream("tests", "stack scale"))
    return made


def batch(dtype=torch.float64, examples=7, name="x"):
    return torch.randn(examples, 12, generator=stream("tests", f"stack {name}"), dtype=torch.float64).to(dtype)


def target(output):
    """A loss with another weight for every output."""
    return (output * batch(output.dtype, len(output), "target")).sum()


def plain_gradients(module, x):
    """Gradients by autograd through a chain of ordinary layers: of the parameters by name, and of the input."""
    chain, leaf = module.unstacked(), x.clone().requires_grad_()
    output = chain(leaf)
    target(output).backward()
    gradients = {name: p.grad for name, p in chain.named_parameters()}
    if isinstance(module, DeepResidualStack):
        scales = [gradients.pop(f"block{i + 1}.scale") for i in range(module.blocks)]
        gradients["scales"] = torch.stack(scales)
    return output.detach(), gradients, leaf.grad


def by_layer(module):
    """Gradients of a stack under the names that they have in the chain."""
    if isinstance(module, DeepStack):
        found = {f"layer{i}.weight": g for i, g in enumerate(module.weight.grad, 1)}
        if module.bias is not None:
            found |= {f"layer{i}.bias": g for i, g in enumerate(module.bias.grad, 1)}
        return found
    found = {f"block{i}.branch.layer1.weight": g for i, g in enumerate(module.weight.grad, 1)}
    found |= {f"block{i}.branch.layer2.weight": g for i, g in enumerate(module.second_weight.grad, 1)}
    return found | {"scales": module.scale.grad}


def assert_close(ours, theirs, bound):
    """Every tensor to a relative precision in norm."""
    assert ours.keys() == theirs.keys()
    for name, there in theirs.items():
        assert (ours[name] - there).norm() <= bound * there.norm(), name
        assert there.norm() > 0, name


@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("make", [stack, residual])
def test_gradients_are_those_of_autograd(make, activation, dtype):
    shallow = {"depth": 6} if make is stack and activation == "sigmoid" else {}  # it vanishes by 0.06 a layer
    module, x = make(activation=activation, dtype=dtype, **shallow), batch(dtype).requires_grad_()
    output = module(x)
    target(output).backward()
    plain, gradients, of_input = plain_gradients(module, x.detach())
    bound = PRECISION[dtype]
    assert (output - plain).norm() <= bound * plain.norm()
    assert_close(by_layer(module), gradients, bound)
    assert (x.grad - of_input).norm() <= bound * of_input.norm()


def test_a_thousand_layers_without_biases():
    module, x = stack(1_000, bias=False, scheme="orthogonal", gain=1.0), batch() * 0.1
    target(module(x)).backward()
    _, gradients, _ = plain_gradients(module, x)
    assert_close(by_layer(module), gradients, 1e-12)


@pytest.mark.parametrize("make", [stack, residual])
def test_without_gradients_the_output_is_the_same(make):
    module, x = make(), batch()
    with torch.no_grad():
        silent = module(x)
    torch.testing.assert_close(silent, module(x).detach(), rtol=1e-13, atol=1e-14)
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    assert not module(x).requires_grad


@pytest.mark.parametrize("make", [stack, residual])
@pytest.mark.parametrize("optimizer", [torch.optim.Adam, lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9)])
def test_trains_like_the_chain_of_layers(make, optimizer):
    ours = make()
    theirs = deepcopy(ours).unstacked()
    optimizers = [optimizer(net.parameters(), lr=1e-3) for net in (ours, theirs)]
    for step in range(5):
        for net, descent in zip((ours, theirs), optimizers, strict=True):
            descent.zero_grad()
            target(net(batch(name=f"step {step}"))).backward()
            descent.step()
    for p, q in zip(ours.unstacked().parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("make", [stack, residual])
@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_the_fused_step_is_that_of_sgd(make, activation):
    fused, plain = make(activation=activation), make(activation=activation)
    fused.fused_lr = 1e-3
    scales = [p for name, p in fused.named_parameters() if name == "scale"]
    for step in range(3):
        x = batch(name=f"fused {step}").requires_grad_()
        plain.zero_grad()
        target(plain(x)).backward()
        wanted = x.grad.clone()
        with torch.no_grad():
            for p in plain.parameters():
                p -= 1e-3 * p.grad
        x.grad = None
        target(fused(x)).backward()
        assert (x.grad - wanted).norm() <= 1e-12 * wanted.norm()
        with torch.no_grad():
            for p in scales:  # left to an optimizer
                p -= 1e-3 * p.grad
                p.grad = None
    start = make(activation=activation).weight
    assert (plain.weight - start).norm() > 1e-6 * start.norm()
    assert all(p.grad is None for p in fused.parameters())
    for p, q in zip(fused.parameters(), plain.parameters(), strict=True):
        assert (p - q).norm() <= 1e-12 * q.norm()


@pytest.mark.parametrize("make", [stack, residual])
def test_what_is_frozen_stays_and_lets_the_gradient_through(make):
    module = make()
    module.weight.requires_grad_(False)
    before, x = module.weight.clone(), batch().requires_grad_()
    module.fused_lr = 0.1
    target(module(x)).backward()
    assert torch.equal(module.weight, before)
    _, _, of_input = plain_gradients(make(), batch())
    torch.testing.assert_close(x.grad, of_input)


def test_a_second_forward_pass_before_backward_is_refused():
    module = stack()
    first = module(batch())
    module(batch(name="other"))
    with pytest.raises(RuntimeError, match=r"call backward before the next forward pass.*no_grad"):
        first.sum().backward()


def test_evaluation_in_between_is_no_second_pass():
    module, x = stack(), batch()
    output = module(x)
    with torch.no_grad():
        module(batch(name="other"))
    target(output).backward()
    assert_close(by_layer(module), plain_gradients(module, x)[1], 1e-12)


def test_weights_changed_in_between_are_noticed():
    module = stack()
    output = module(batch())
    with torch.no_grad():
        module.weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


def test_the_output_is_not_of_the_workspace():
    module = stack()
    first = module(batch())
    kept = first.detach().clone()
    module(batch(name="other"))
    assert torch.equal(first.detach(), kept)


def test_batches_of_several_sizes():
    module = stack()
    for examples in (7, 3, 7):
        module.zero_grad()
        x = batch(examples=examples)
        target(module(x)).backward()
        assert_close(by_layer(module), plain_gradients(module, x)[1], 1e-12)


def test_the_workspace_is_allocated_once():
    module = stack()
    module(batch()).sum().backward()
    kept = dict(module._kept)
    module(batch(name="other")).sum().backward()
    assert module._kept.keys() == kept.keys()
    assert all(module._kept[name] is tensors for name, tensors in kept.items())


@pytest.mark.parametrize("make", [stack, residual])
def test_weights_may_move_and_change(make):
    """The views of single layers follow the parameter."""
    module, x = make(), batch()
    module(x)
    module.weight.data = torch.zeros_like(module.weight)
    changed = module(x).detach()
    with torch.no_grad():
        assert torch.equal(changed, module(x))
    torch.testing.assert_close(changed, module.unstacked()(x))
    module.float()
    target(module(x.float())).backward()
    assert module.weight.grad.dtype == torch.float32


def test_copies_share_nothing_and_leave_the_workspace_out():
    module = stack()
    module(batch()).sum().backward()
    other = deepcopy(module)
    assert other._kept == {}
    assert other.weight.data_ptr() != module.weight.data_ptr()
    assert torch.equal(other(batch()), module(batch()))


@pytest.mark.parametrize("scheme", ["orthogonal", "lecun"])
def test_drawn_as_a_chain_is_drawn(scheme):
    """From the same stream, also beyond the number of layers that are drawn at once."""
    module = stack(300, 4, bias=False, scheme=scheme, gain=1.5)
    chain = nn.Sequential(*(nn.Linear(4, 4, bias=False, dtype=torch.float64) for _ in range(300)))
    initialize_(chain, scheme, gain=1.5, generator=stream("tests", "stack"))
    assert torch.equal(module.weight, torch.stack([layer.weight for layer in chain]))


@pytest.mark.parametrize("scheme", ["kaiming", "fixup", "rezero", "branch_scale"])
def test_residual_schemes_are_those_of_initialize(scheme):
    """Size of each part against the same scheme on a chain of blocks: 48,000 weights a part."""
    blocks, width = 30, 40
    module = DeepResidualStack(blocks, width, scheme=scheme, gain=None, generator=stream("tests", "law"))
    chain = module.unstacked()
    initialize_(chain, scheme, generator=stream("tests", "other law"), gain=None)
    drawn = DeepResidualStack(blocks, width, scheme=scheme, gain=None, generator=stream("tests", "law again"))
    for name in ("weight", "second_weight"):
        here, there = getattr(drawn, name).square().mean(), getattr(module, name).square().mean()
        assert (here - there).abs() <= 5.5 * (4 / 48_000) ** 0.5 * there
    torch.testing.assert_close(drawn.scale, module.scale)
    assert scheme != "kaiming" or (drawn.scale == 1).all()


def test_fixup_starts_as_the_identity():
    module = DeepResidualStack(1_000, 12, scheme="fixup", gain=None, generator=stream("tests", "fixup"))
    x = batch(torch.float32)
    output = module(x)
    assert torch.equal(output, x)
    output.sum().backward()
    assert module.second_weight.grad.abs().max() > 0
    assert (module.weight.grad == 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 0}, "depth must be at least 1"),
        ({"width": 0}, "width must be at least 1"),
        ({"activation": "tan"}, "unknown activation 'tan'"),
        ({"scheme": "fixup"}, "layers one by one, by zero, .*; got 'fixup'"),
        ({"gain": -1.0}, "gain must be positive"),
    ],
)
def test_bad_numbers_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        stack(bias=False, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blocks": 0}, "blocks must be at least 1"),
        ({"scheme": "lsuv"}, "no scheme 'lsuv' for a residual stack; known: kaiming"),
        ({"gain": float("nan")}, "gain must be positive"),
    ],
)
def test_bad_numbers_of_blocks_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        residual(**change)


@pytest.mark.parametrize("make", [stack, residual])
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(3, 11, dtype=torch.float64), r"inputs of shape \[batch, 12\], got \[3, 11\]"),
        (torch.zeros(12, dtype=torch.float64), r"inputs of shape \[batch, 12\], got \[12\]"),
        (torch.zeros(3, 12), "x is torch.float32 on cpu and the weights are torch.float64 on cpu"),
    ],
)
def test_bad_inputs_are_named(make, x, message):
    with pytest.raises(ValueError, match=message):
        make()(x)
