import pytest
import torch
from torch import nn

from signalprop import stream
from signalprop.nets import initialize_
from signalprop.nets.looks_linear import ConcatenatedReLU


def concatenated():
    return nn.Sequential(
        nn.Linear(5, 7), ConcatenatedReLU(), nn.Linear(14, 9), ConcatenatedReLU(), nn.Linear(18, 9), ConcatenatedReLU(),
        nn.Linear(18, 4),
    ).double()  # fmt: skip


def ordinary():
    return nn.Sequential(
        nn.Linear(5, 14), nn.ReLU(), nn.Linear(14, 18), nn.ReLU(), nn.Linear(18, 18), nn.ReLU(), nn.Linear(18, 4)
    ).double()


def convolutional(rectifier, widening):
    return nn.Sequential(
        nn.Conv2d(2, 6, 3), rectifier, nn.Conv2d(6 * widening, 8, (3, 1)), rectifier, nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(8 * widening * 4, 6), rectifier, nn.Linear(6 * widening, 3),
    ).double()  # fmt: skip


NETWORKS = {
    "concatenated": (concatenated, (5,)),
    "ordinary": (ordinary, (5,)),
    "convolutional concatenated": (lambda: convolutional(ConcatenatedReLU(), 2), (2, 8, 7)),
    "convolutional": (lambda: convolutional(nn.ReLU(), 1), (2, 8, 7)),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_network_is_linear(kind):
    build, shape = NETWORKS[kind]
    net = build()
    initialize_(net, "looks_linear", generator=stream("tests", kind), gain=1.2)
    x, y = torch.randn(2, 6, *shape, generator=stream("tests", "points"), dtype=torch.float64)
    torch.testing.assert_close(net(2 * x - 3 * y), 2 * net(x) - 3 * net(y), rtol=1e-12, atol=1e-13)
    assert net(x).abs().max() > 0.01


@pytest.mark.parametrize("kind", NETWORKS)
def test_it_is_the_rectifiers_that_make_it_so(kind):
    """The same weights with one sign wrong are not linear."""
    build, shape = NETWORKS[kind]
    net = build()
    initialize_(net, "looks_linear", generator=stream("tests", kind))
    with torch.no_grad():
        net[2].weight[0, 0] *= -1
    x = torch.randn(6, *shape, generator=stream("tests", "points"), dtype=torch.float64)
    assert (net(x) + net(-x)).abs().max() > 1e-3


@pytest.mark.parametrize("build", [concatenated, ordinary])
def test_it_is_a_product_of_semi_orthogonal_matrices(build):
    """5 → 7 → 9 → 9 is an isometry times gain³, and the last layer keeps 4 of the 9 dimensions."""
    net = build()
    initialize_(net, "looks_linear", generator=stream("tests", "product"), gain=1.2)
    jacobian = torch.autograd.functional.jacobian(net, torch.ones(5, dtype=torch.float64).unsqueeze(0))[0, :, 0]
    hidden = torch.autograd.functional.jacobian(net[:5], torch.ones(1, 5, dtype=torch.float64))[0, :, 0]
    top = hidden[:9]  # of the mirrored rows, one half
    torch.testing.assert_close(top.T @ top, 1.2**6 * torch.eye(5, dtype=torch.float64))
    last = net[6].weight[:, :9]
    torch.testing.assert_close(last @ last.T, 1.2**2 * torch.eye(4, dtype=torch.float64))
    torch.testing.assert_close(jacobian, last @ top)


def test_gradients_do_not_depend_on_the_input():
    net = concatenated()
    initialize_(net, "looks_linear", generator=stream("tests", "gradients"))
    x = torch.randn(6, 5, generator=stream("tests", "points"), dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(net(x)[:, 0].sum(), x)
    assert (gradient - gradient[0]).abs().max() < 1e-14


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.branch = nn.Sequential(nn.Linear(4, 4))


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)), "in pairs, and .* has 5"),
        (nn.Sequential(nn.Linear(4, 6), ConcatenatedReLU(), nn.Linear(6, 3)), "should take 12"),
        (nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(8, 3)), "should take 6"),
        (nn.Sequential(nn.Conv1d(4, 6, 1), nn.ReLU(), nn.Conv1d(6, 6, 1, groups=2)), "convolutions in groups"),
        (Block(), "residual blocks"),
    ],
)
def test_it_says_which_network_it_needs(net, message):
    with pytest.raises(ValueError, match=message):
        initialize_(net, "looks_linear", generator=stream("tests", "needs"))
