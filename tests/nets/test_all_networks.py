"""What every network promises."""

import inspect

import pytest
import torch
from torch import nn

import signalprop.nets
from signalprop import stream
from signalprop.nets.stack import Stack

CLASSES = [  # deep stacks are parts of networks: no normalizers, and tests of their own
    cls
    for cls in vars(signalprop.nets).values()
    if inspect.isclass(cls) and "scheme" in inspect.signature(cls).parameters and not issubclass(cls, Stack)
]


def group_norm(features):
    return nn.GroupNorm(1, features)


def test_gradients_flow_to_every_parameter(kind):
    net = kind.build(dtype=torch.float64)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim == 1:  # biases away from zero
                parameter.normal_(0, 0.1, generator=stream("tests", "biases"))
    net(kind.x()).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad != 0).any(), name


def test_gradients_are_those_of_finite_differences(kind):
    net = kind.build(act="silu", dtype=torch.float64)
    assert torch.autograd.gradcheck(net, (kind.x().requires_grad_(),))


def test_the_output_has_one_row_an_example(kind):
    assert kind.build(dtype=torch.float64)(kind.x()).shape == (kind.shape[0], 3)


def test_examples_do_not_mix(kind):
    net, x = kind.build(dtype=torch.float64), kind.x()
    alone = torch.cat([net(example) for example in x.split(1)])
    torch.testing.assert_close(net(x), alone, rtol=1e-12, atol=1e-14)


def test_one_stream_gives_one_network(kind):
    a, b = kind.build(), kind.build()
    other = kind.build(generator=stream("tests", "another"))
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert not all(torch.equal(p, q) for p, q in zip(a.parameters(), other.parameters(), strict=True))


def test_the_global_generator_is_left_alone(kind):
    before = torch.get_rng_state()
    kind.build()(kind.x(torch.float32))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_have_the_type_asked_for(kind, dtype):
    net = kind.build(dtype=dtype, normalizer=group_norm)
    assert {tensor.dtype for tensor in (*net.parameters(), *net.buffers())} == {dtype}
    assert net(kind.x(dtype)).dtype == dtype


def test_double_precision_is_drawn_not_cast(kind):
    weights = [weight for weight in kind.build(dtype=torch.float64).parameters() if weight.ndim > 1]
    assert all((weight.float().double() != weight).any() for weight in weights)


def test_a_normalizer_sees_what_it_normalizes(kind):
    """Group normalization refuses any other number of features than its own."""
    net = kind.build(normalizer=group_norm, dtype=torch.float64)
    assert sum(isinstance(module, nn.GroupNorm) for module in net.modules()) >= 2
    assert net(kind.x()).isfinite().all()


def test_there_is_none_without_a_normalizer(kind):
    parts = {type(module).__name__ for module in kind.build().modules()}
    assert not any("Norm" in name for name in parts)


def test_the_activation_is_a_name_or_a_function(kind):
    by_name, by_function = kind.build(act="gelu"), kind.build(act=torch.nn.functional.gelu)
    x = kind.x(torch.float32)
    torch.testing.assert_close(by_name(x), by_function(x))


def test_bad_arguments_are_refused(kind):
    with pytest.raises(ValueError, match="unknown activation 'rleu'; known: linear, tanh"):
        kind.build(act="rleu")
    with pytest.raises(ValueError, match="no scheme 'glorot'"):
        kind.build(scheme="glorot")


def test_another_number_of_features_is_refused(kind):
    axis = -3 if len(kind.shape) == 4 else -1
    x = kind.x().repeat_interleave(2, dim=axis)
    with pytest.raises(ValueError, match=r"takes .*, got"):
        kind.build(dtype=torch.float64)(x)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_nothing_that_matters_has_a_default(cls):
    parameters = inspect.signature(cls).parameters.values()
    optional = {p.name for p in parameters if p.default is not p.empty}
    assert optional <= {"device", "dtype"} | ({"normalizer"} if cls.__name__ == "MLP" else set())
    assert {"act", "normalizer", "scheme", "gain", "generator"} <= {p.name for p in parameters}
    assert {"depth", "width"} <= {p.name for p in parameters} or "widths" in {p.name for p in parameters}


def test_all_classes_are_tested():
    assert len(CLASSES) == 10
