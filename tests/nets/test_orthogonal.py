import math

import pytest
import torch
from torch import nn

from signalprop import stream
from signalprop.nets import initialize_
from signalprop.nets.orthogonal import haar


@pytest.mark.parametrize(("rows", "columns"), [(7, 7), (9, 4), (4, 9)])
def test_semi_orthogonal(rows, columns):
    q = haar(rows, columns, stream("tests", "haar"))
    singular_values = torch.linalg.svdvals(q)
    assert (singular_values - 1).abs().max() < 1e-14


def test_the_measure_is_haar():
    """Traces of Haar matrices of O(n), n ≥ 4, have moments 0, 1, 0, 3 (Diaconis & Shahshahani, 1994).

    Without the signs, LAPACK's Householder reflections leave a trace with a mean well away from 0.
    """
    source = stream("tests", "trace")
    traces = torch.stack([haar(6, 6, source).trace() for _ in range(4000)])
    for power, moment, second in ((1, 0, 1), (2, 1, 3), (3, 0, 15), (4, 3, 105)):
        error = ((second - moment**2) / 4000) ** 0.5
        assert abs(traces.pow(power).mean() - moment) < 5 * error


@pytest.mark.parametrize("layer", [nn.Linear(12, 5), nn.Linear(5, 12), nn.Conv2d(6, 8, (1, 3)), nn.Conv1d(4, 30, 3)])
def test_singular_values_are_the_gain(layer):
    layer = layer.double()
    initialize_(layer, "orthogonal", generator=stream("tests", "orthogonal"), gain=1.3)
    assert (torch.linalg.svdvals(layer.weight.flatten(1)) - 1.3).abs().max() < 1e-13


def test_groups_are_drawn_one_by_one():
    layer = nn.Conv1d(6, 10, 1, groups=2, dtype=torch.float64)
    initialize_(layer, "orthogonal", generator=stream("tests", "groups"))
    first, second = layer.weight.flatten(1).chunk(2)
    for block in (first, second):
        assert (torch.linalg.svdvals(block) - 1).abs().max() < 1e-13
    assert (first - second).abs().max() > 0.1


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_single_and_half_precision_round_one_draw(dtype):
    exact, rounded = nn.Linear(20, 20, dtype=torch.float64), nn.Linear(20, 20, dtype=dtype)
    for layer in (exact, rounded):
        initialize_(layer, "orthogonal", generator=stream("tests", "rounded"))
    assert torch.equal(rounded.weight, exact.weight.to(dtype))


def circular(channels_in, channels_out, kernel, groups=1):
    padding = tuple(side // 2 for side in kernel)
    return nn.Conv2d(
        channels_in, channels_out, kernel, padding=padding, padding_mode="circular", bias=False, groups=groups
    )


def test_delta_orthogonal_convolutions_are_isometries_at_any_depth():
    net = nn.Sequential(circular(3, 16, (3, 5)), *(circular(16, 16, (3, 3)) for _ in range(1000))).double()
    initialize_(net, "delta_orthogonal", generator=stream("tests", "isometry"))
    x = torch.randn(2, 3, 7, 6, generator=stream("tests", "isometry.x"), dtype=torch.float64)
    with torch.no_grad():
        y = net(x)
    inner_products = torch.einsum("bchw,dchw->bd", x, x)
    torch.testing.assert_close(torch.einsum("bchw,dchw->bd", y, y), inner_products, rtol=1e-9, atol=1e-9)


def test_the_jacobian_of_a_delta_orthogonal_convolution_is_orthogonal():
    layer = circular(4, 4, (3, 3)).double()
    initialize_(layer, "delta_orthogonal", generator=stream("tests", "jacobian"), gain=0.7)
    jacobian = torch.autograd.functional.jacobian(layer, torch.zeros(1, 4, 5, 6, dtype=torch.float64))
    matrix = jacobian.reshape(120, 120)
    assert (matrix.T @ matrix - 0.49 * torch.eye(120, dtype=torch.float64)).abs().max() < 1e-14


def test_orthogonal_kernels_of_many_taps_are_no_isometries():
    """Why there is another scheme for convolutions."""
    layer = circular(4, 4, (3, 3)).double()
    initialize_(layer, "orthogonal", generator=stream("tests", "no isometry"))
    jacobian = torch.autograd.functional.jacobian(layer, torch.zeros(1, 4, 5, 6, dtype=torch.float64))
    singular_values = torch.linalg.svdvals(jacobian.reshape(120, 120))
    assert singular_values.max() / singular_values.min() > 2


def test_delta_orthogonal_has_one_tap_and_groups_stay_apart():
    layer = circular(6, 9, (3, 5), groups=3).double()
    initialize_(layer, "delta_orthogonal", generator=stream("tests", "tap"), gain=2.0)
    centre = layer.weight[:, :, 1, 2].detach().clone()
    assert layer.weight.count_nonzero() == centre.count_nonzero() == math.prod(centre.shape)
    for block in centre.chunk(3):
        torch.testing.assert_close(block.T @ block, 4 * torch.eye(2, dtype=torch.float64))


def test_linear_layers_of_a_delta_orthogonal_network_may_shrink():
    net = nn.Sequential(nn.Conv1d(2, 8, 3), nn.Flatten(), nn.Linear(40, 3)).double()
    initialize_(net, "delta_orthogonal", generator=stream("tests", "shrink"))
    assert (torch.linalg.svdvals(net[2].weight) - 1).abs().max() < 1e-13


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Conv2d(8, 6, 3), "shrinks from 8 to 6"),
        (nn.Conv2d(6, 8, (3, 2)), "odd sides"),
    ],
)
def test_delta_orthogonal_says_what_it_cannot_do(layer, message):
    net = nn.Sequential(nn.Conv2d(4, layer.in_channels, 3), layer)
    before = net[0].weight.clone()
    with pytest.raises(ValueError, match=message):
        initialize_(net, "delta_orthogonal", generator=stream("tests", "cannot"))
    assert torch.equal(net[0].weight, before)
