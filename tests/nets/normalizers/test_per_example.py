import pytest
import torch
from torch import nn

from signalprop import stream
from signalprop.nets.normalizers import GroupNorm, InstanceNorm, LayerNorm

DOUBLE = {"eps": 1e-3, "dtype": torch.float64}


def data(shape, name="x"):
    return torch.randn(shape, generator=stream("tests", f"example.{name}"), dtype=torch.float64) * 3 + 2


def alike(ours, theirs):
    """Give both the same random γ and β."""
    with torch.no_grad():
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            a.copy_(data(a.shape, "affine"))
            b.copy_(a)
    return ours, theirs


def equal(ours, theirs, x):
    """The same outputs and gradients, in train and eval mode."""
    x = x.requires_grad_()
    for mode in (True, False):
        y, expected = ours.train(mode)(x), theirs.train(mode)(x)
        torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
        direction = data(y.shape, "direction")
        for found, wanted in zip(
            torch.autograd.grad(y, [x, *ours.parameters()], direction),
            torch.autograd.grad(expected, [x, *theirs.parameters()], direction),
            strict=True,
        ):
            torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(("shape", "x"), [(6, (4, 6)), (6, (4, 3, 6)), ([6, 3, 5], (4, 6, 3, 5)), ([5], (4, 6, 3, 5))])
def test_layer_norm_equals_torch(shape, x, affine):
    ours = LayerNorm(shape, affine=affine, **DOUBLE)
    theirs = nn.LayerNorm(shape, elementwise_affine=affine, **DOUBLE)
    equal(*alike(ours, theirs), data(x))


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("x", [(4, 6, 7), (4, 6, 3, 5)])
def test_instance_norm_equals_torch(x, affine):
    theirs = {3: nn.InstanceNorm1d, 4: nn.InstanceNorm2d}[len(x)](6, affine=affine, **DOUBLE)
    equal(*alike(InstanceNorm(6, affine=affine, **DOUBLE), theirs), data(x))


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("groups", [1, 2, 3, 6])
@pytest.mark.parametrize("x", [(4, 6, 7), (4, 6, 3, 5)])
def test_group_norm_equals_torch(groups, x, affine):
    ours = GroupNorm(groups, 6, affine=affine, **DOUBLE)
    theirs = nn.GroupNorm(groups, 6, affine=affine, **DOUBLE)
    equal(*alike(ours, theirs), data(x))


def test_group_norm_lies_between_layer_and_instance_norm():
    x = data((4, 6, 3, 5))
    layer, instance = LayerNorm([6, 3, 5], affine=False, **DOUBLE), InstanceNorm(6, affine=False, **DOUBLE)
    one, two, six = (GroupNorm(groups, 6, affine=False, **DOUBLE) for groups in (1, 2, 6))
    torch.testing.assert_close(one(x), layer(x), rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(six(x), instance(x), rtol=1e-13, atol=1e-13)
    for other in (layer, instance):
        assert (two(x) - other(x)).abs().max() > 0.1
    flat = data((4, 6))
    torch.testing.assert_close(one(flat), LayerNorm(6, affine=False, **DOUBLE)(flat), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    "norm",
    [
        LayerNorm([6, 3, 5], affine=True, **DOUBLE),
        InstanceNorm(6, affine=True, **DOUBLE),
        GroupNorm(2, 6, affine=True, **DOUBLE),
    ],
    ids=["layer", "instance", "group"],
)
def test_examples_do_not_see_each_other(norm):
    x = data((4, 6, 3, 5))
    torch.testing.assert_close(norm(x)[1:2], norm(x[1:2]), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LayerNorm([], eps=0.1, affine=True), "shape must be positive"),
        (lambda: LayerNorm([3, 0], eps=0.1, affine=True), "shape must be positive"),
        (lambda: LayerNorm(3, eps=-0.1, affine=True), "eps not negative"),
        (lambda: GroupNorm(4, 6, eps=0.1, affine=True), "groups must divide the 6 features, got 4"),
        (lambda: GroupNorm(0, 6, eps=0.1, affine=True), "groups must divide"),
        (lambda: InstanceNorm(0, eps=0.1, affine=True), "features must be at least 1"),
    ],
)
def test_numbers_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("norm", "shape", "message"),
    [
        (LayerNorm([6, 3], eps=0.1, affine=True), (2, 3, 6), r"end in \[6, 3\], got \[2, 3, 6\]"),
        (LayerNorm([6, 3], eps=0.1, affine=True), (3,), r"end in \[6, 3\]"),
        (GroupNorm(2, 6, eps=0.1, affine=True), (2, 3, 6), r"GroupNorm takes \[batch, 6, …\]"),
        (InstanceNorm(6, eps=0.1, affine=True), (2, 6), "averages over positions"),
        (InstanceNorm(6, eps=0.1, affine=True), (2, 6, 1, 1), "averages over positions"),
    ],
)
def test_inputs_of_another_shape(norm, shape, message):
    with pytest.raises(ValueError, match=message):
        norm(torch.ones(shape))
