import math

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError
from torch import nn

from signalprop import stream
from signalprop.measure import gradient_autocorrelation, gradient_cosine
from signalprop.nets import MLP, PlainCNN, normalizer


class Given(nn.Module):
    """f(x_t) = g_t · x_t: its gradients are given."""

    def __init__(self, gradients):
        super().__init__()
        self.gradients = gradients

    def forward(self, x):
        return x * self.gradients


def autocorrelation_of(gradients, lags, centred):
    return gradient_autocorrelation(Given(gradients), torch.ones_like(gradients), lags, centred=centred)


def noise(*shape):
    return torch.randn(shape, dtype=torch.float64, generator=stream("tests", "gradients"))


@pytest.fixture
def net():
    return MLP(
        [5, 7, 6, 3],
        "relu",
        bias=True,
        scheme="kaiming",
        gain=None,
        generator=stream("tests", "net"),
        dtype=torch.float64,
    )


@pytest.mark.parametrize("centred", [True, False])
def test_the_estimator_by_hand(centred):
    gradients = noise(7, 2, 3) + 1
    series = gradients.flatten(1).numpy()
    series = series - series.mean(0) if centred else series
    expected = [sum(series[t] @ series[t + k] for t in range(7 - k)) / (series**2).sum() for k in (3, 0, 6)]
    assert autocorrelation_of(gradients, [3, 0, 6], centred).tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("centred", [True, False])
def test_white_noise_is_uncorrelated(centred):
    measured = autocorrelation_of(noise(20_000, 2), range(6), centred)
    assert measured[0] == pytest.approx(1, rel=1e-12)
    assert measured[1:].abs().max() < 5 / math.sqrt(2 * 20_000)


def test_autoregression():
    """ρ_k = φ^k, with Bartlett's standard error for an AR(1) series."""
    phi, points, lags = 0.8, 20_000, np.arange(1, 9)
    series = noise(points + 200)
    for t in range(1, len(series)):
        series[t] += phi * series[t - 1]
    measured = autocorrelation_of(series[200:].unsqueeze(1), lags.tolist(), centred=True).numpy()
    squares = phi ** (2 * lags)
    variance = ((1 + phi**2) * (1 - squares) / (1 - phi**2) - 2 * lags * squares) / points
    assert (np.abs(measured - phi**lags) < 5 * np.sqrt(variance)).all()


def test_a_constant_gradient():
    ones = torch.ones(8, 3)
    measured = gradient_autocorrelation(nn.Linear(3, 2), ones, [0, 2], centred=False)
    assert measured.tolist() == pytest.approx([1, 6 / 8])
    deep = nn.Sequential(*[nn.Linear(3, 3) for _ in range(5)])
    with pytest.raises(ValueError, match="same at every point"):
        gradient_autocorrelation(deep, torch.randn(8, 3, generator=stream("tests", "x")), [0], centred=True)


def test_gradients_too_small_to_square():
    gradients = noise(9, 2).float()
    measured = autocorrelation_of(1e-30 * gradients, [1], True)
    torch.testing.assert_close(measured, autocorrelation_of(gradients, [1], True))
    cosine = gradient_cosine(Given(torch.tensor([[1e-30, 1e-30]])), *torch.ones(2, 1, 2))
    assert cosine.item() == pytest.approx(1)


def gradient_by_chain(net, x, read):
    """∂f/∂x = W1ᵀ D1 W2ᵀ D2 W3ᵀ r for one x, with the slopes D of the ReLU."""
    w = [layer.weight.detach() for layer in (net.layer1, net.layer2, net.layer3)]
    b = [layer.bias.detach() for layer in (net.layer1, net.layer2, net.layer3)]
    z1 = w[0] @ x + b[0]
    z2 = w[1] @ z1.clamp(min=0) + b[1]
    return w[0].T @ torch.diag((z1 > 0).double()) @ w[1].T @ torch.diag((z2 > 0).double()) @ w[2].T @ read


@pytest.mark.parametrize("read", [None, torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)])
def test_cosine_by_the_chain_of_weights_and_slopes(net, read):
    x1, x2 = noise(2, 4, 5)
    measured = gradient_cosine(net, x1, x2, read_out=None if read is None else lambda output: output @ read)
    ones = torch.ones(3, dtype=torch.float64) if read is None else read
    for i in range(4):
        a, b = (gradient_by_chain(net, x[i], ones).numpy() for x in (x1, x2))
        assert measured[i].item() == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), rel=1e-12)


def test_autocorrelation_of_a_network_by_the_chain(net):
    start, end = noise(2, 5)
    path = start + torch.linspace(0, 1, 30, dtype=torch.float64).unsqueeze(1) * (end - start)
    gradients = torch.stack([gradient_by_chain(net, x, torch.ones(3, dtype=torch.float64)) for x in path])
    measured = gradient_autocorrelation(net, path, [1, 4], centred=True)
    torch.testing.assert_close(measured, autocorrelation_of(gradients, [1, 4], True), rtol=1e-12, atol=0)


def test_a_zero_gradient_has_no_direction():
    x = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    cosine = gradient_cosine(nn.ReLU(), x, x.abs())
    assert cosine[0] == pytest.approx(1)
    assert cosine[1].isnan()
    with pytest.raises(ValueError, match="zero at every point"):
        gradient_autocorrelation(nn.ReLU(), -x.abs(), [0], centred=True)


def test_the_module_is_left_as_it_was():
    norm = normalizer("batch", eps=1e-5, momentum=0.1, affine=True)
    net = PlainCNN(
        2, 3, depth=4, stages=1, width=4, padding_mode="circular", act="relu", normalizer=norm, bias=False,
        scheme="kaiming", gain=None, generator=stream("tests", "cnn"), dtype=torch.float64,
    )  # fmt: skip
    net = nn.Sequential(net, nn.Dropout(0.5))
    before, state = {k: v.clone() for k, v in net.state_dict().items()}, torch.get_rng_state()
    x = noise(6, 2, 5, 4)
    torch.testing.assert_close(gradient_cosine(net, x, x), torch.ones(6, dtype=torch.float64))
    gradient_autocorrelation(net, x, [1], centred=True)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in net.parameters())


def test_the_input_is_not_touched():
    x = torch.tensor([[2.0, -3.0]])
    gradient_cosine(nn.ReLU(inplace=True), x, x)
    assert x.tolist() == [[2.0, -3.0]]
    assert not x.requires_grad


@pytest.mark.parametrize("lags", [[], [-1], [4]])
def test_lags_outside_the_path(lags):
    with pytest.raises(ValueError, match="from 0 to 3"):
        autocorrelation_of(noise(4, 2), lags, True)


def test_bad_input(net):
    x = noise(4, 5)
    with pytest.raises((ValueError, TypeCheckError), match=r"shape \[4, 5\] and x2 \[3, 5\]|Type-check error"):
        gradient_cosine(net, x, x[:3])
    with pytest.raises(ValueError, match=r"each of the 4 inputs; its shape is \[4, 3\]"):
        gradient_cosine(net, x, x, read_out=lambda output: output)
    with pytest.raises(ValueError, match="does not depend on x"):
        gradient_cosine(net, x, x, read_out=lambda output: output.detach().sum(1))
    with torch.no_grad():
        net.layer2.weight[1, 2] = torch.nan
    with pytest.raises(ValueError, match=r"layer2\.weight of MLP holds NaN"):
        gradient_cosine(net, x, x)
