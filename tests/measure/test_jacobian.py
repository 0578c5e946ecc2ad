import pytest
import torch
from torch import nn

from signalprop import stream
from signalprop.measure import jacobian_singular_values
from signalprop.nets import MLP


def draw(*shape):
    return torch.randn(shape, dtype=torch.float64, generator=stream("tests", "jacobian x"))


def mlp(widths, act="tanh", **options):
    usual = {"bias": True, "scheme": "lecun", "gain": 1.5, "dtype": torch.float64}
    return MLP(widths, act, generator=stream("tests", "jacobian net"), **(usual | options))


@pytest.mark.parametrize("widths", [[5, 7, 6, 3], [3, 7, 6, 5], [4, 4]])
@pytest.mark.parametrize("act", ["tanh", "relu"])
def test_they_are_those_of_the_product_of_weights_and_slopes(widths, act):
    net, x = mlp(widths, act), draw(6, widths[0])
    for got, example in zip(jacobian_singular_values(net, x), x, strict=True):
        product, h = torch.eye(widths[0], dtype=torch.float64), example
        for layer in (child for child in net.children() if isinstance(child, nn.Linear)):
            product, z = layer.weight @ product, layer(h)
            slopes = 1 - z.tanh() ** 2 if act == "tanh" else (z > 0).double()
            if layer is not net[-1]:
                product, h = slopes.diag() @ product, z.tanh() if act == "tanh" else z.relu()
        expected = torch.linalg.eigvalsh(product @ product.T).flip(0)[: min(widths[0], widths[-1])]
        torch.testing.assert_close(got.square(), expected, rtol=1e-9, atol=1e-12)
        assert len(got) == min(widths[0], widths[-1])


def test_a_deep_orthogonal_linear_network_is_an_isometry():
    net = mlp([20] * 201, "linear", scheme="orthogonal", gain=1.0)
    values = jacobian_singular_values(net, draw(3, 20))
    assert values.shape == (3, 20)
    assert (values - 1).abs().max() < 1e-10


@pytest.mark.parametrize("chunk", [1, 4, 5, 100])
def test_chunks_change_nothing(chunk):
    net, x = mlp([6, 8, 10]), draw(4, 6)
    torch.testing.assert_close(jacobian_singular_values(net, x, chunk=chunk), jacobian_singular_values(net, x))


def images():
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, stride=2), nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(12, 5)
    ).double()


def test_images_through_a_convolutional_network():
    net, x = images().eval(), draw(3, 2, 5, 6)
    full = torch.autograd.functional.jacobian(net, x)
    expected = torch.stack([torch.linalg.svdvals(full[i, :, i].flatten(1)) for i in range(3)])
    assert expected.shape == (3, 5)
    torch.testing.assert_close(jacobian_singular_values(net, x), expected)


@pytest.mark.parametrize("net", [images(), nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)).double()])
def test_modules_that_mix_examples_are_refused(net):
    x = draw(3, 2, 5, 6) if isinstance(net[0], nn.Conv2d) else draw(3, 4)
    before = {name: buffer.clone() for name, buffer in net.named_buffers()}
    with pytest.raises(ValueError, match=r"depends on the other examples of x, as with batch normalization .* \.eval"):
        jacobian_singular_values(net, x)
    assert all(torch.equal(before[name], buffer) for name, buffer in net.named_buffers())
    jacobian_singular_values(net.eval(), x)


def test_dead_examples_are_not_taken_for_mixed_ones():
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    nn.init.zeros_(net[0].weight)
    nn.init.constant_(net[0].bias, -1.0)
    assert jacobian_singular_values(net, torch.ones(3, 2)).tolist() == [[0, 0]] * 3


def test_double_precision_on_request():
    net = mlp([10] * 60, "linear", scheme="orthogonal", gain=1.0, dtype=torch.float32)
    x = draw(2, 10).float()
    exact = jacobian_singular_values(net.to(torch.float64), x.double())
    net.to(torch.float32)
    got = jacobian_singular_values(net, x, dtype=torch.float64)
    assert got.dtype == torch.float64
    torch.testing.assert_close(got, exact, rtol=1e-12, atol=0)
    assert jacobian_singular_values(net, x).dtype == torch.float32
    assert {p.dtype for p in net.parameters()} == {torch.float32}


def test_nothing_of_the_module_moves():
    net = nn.Sequential(nn.Linear(6, 4), nn.Dropout(0.5), nn.Linear(4, 3)).double()
    x, state = draw(2, 6), torch.get_rng_state()
    net[0].weight.requires_grad_(False)
    with torch.no_grad():
        first, second = jacobian_singular_values(net, x), jacobian_singular_values(net, x)
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)
    assert not first.requires_grad
    assert [p.requires_grad for p in net.parameters()] == [False, True, True, True]
    assert all(p.grad is None for p in net.parameters())
    assert x.grad is None
    assert not x.requires_grad


def test_a_module_without_parameters_that_works_in_place():
    x = torch.tensor([[0.5, 3.0]])
    assert jacobian_singular_values(nn.Hardtanh(inplace=True), x).tolist() == [[1, 0]]
    assert x.tolist() == [[0.5, 3.0]]


class Returns(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: (x, x), "it is tuple"),
        (lambda x: x.sum(), r"with 2 examples as x has; it is shape \[\]"),
        (lambda x: x.T, r"it is shape \[3, 2\]"),
        (lambda x: x.detach(), "does not depend on x"),
        (lambda x: 1 / (x - x.detach()), "NaN or infinity"),
    ],
)
def test_outputs_that_have_no_jacobian(function, message):
    with pytest.raises(ValueError, match=message):
        jacobian_singular_values(Returns(function), torch.ones(2, 3))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.ones(2, 3, dtype=torch.int64), "x is of torch.int64"),
        (torch.ones(0, 3), "there is no example in it"),
        (torch.full((2, 3), torch.nan), "x holds NaN"),
    ],
)
def test_inputs_that_cannot_be_used(x, message):
    with pytest.raises(ValueError, match=message):
        jacobian_singular_values(Returns(torch.sin), x)


def test_weights_that_are_not_finite_are_named():
    net = mlp([3, 4, 2])
    net.layer2.weight.data[1, 2] = torch.nan
    with pytest.raises(ValueError, match=r"layer2.weight of MLP holds NaN"):
        jacobian_singular_values(net, draw(2, 3))
    with pytest.raises(ValueError, match="chunk must be at least 1, got 0"):
        jacobian_singular_values(net, draw(2, 3), chunk=0)
