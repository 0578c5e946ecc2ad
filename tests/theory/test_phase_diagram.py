import math

import pytest
import torch

from signalprop import stream
from signalprop.theory import (
    ACTIVATIONS,
    chi1,
    chi_q,
    correlation_fixed_point,
    critical_point,
    depth_scales,
    fixed_point,
    phase_diagram,
)

close = pytest.approx
WEIGHTS, BIASES = torch.linspace(0.1, 4, 200, dtype=torch.float64), torch.linspace(0, 1, 200, dtype=torch.float64)


def drawn_points(name, count):
    generator = stream("tests", f"phase_diagram.{name}")
    return torch.randint(200, (count, 2), generator=generator).tolist()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_grid_agrees_with_single_solves(name):
    diagram = phase_diagram(name, WEIGHTS, BIASES)
    assert diagram.q.shape == diagram.chi1.shape == diagram.chi_q.shape == (200, 200)
    assert diagram.c is None
    for i, j in drawn_points(name, 3):
        sigma_w2, sigma_b2 = WEIGHTS[i].item(), BIASES[j].item()
        q = fixed_point(name, sigma_w2, sigma_b2)
        at = min(q, 1e60)
        slope = chi_q(name, at, sigma_w2).item()
        assert diagram.q[i, j].item() == close(q, rel=1e-9 + 1e-12 / abs(1 - slope))
        assert diagram.chi1[i, j].item() == close(chi1(name, at, sigma_w2).item(), rel=1e-9)
        assert diagram.chi_q[i, j].item() == close(slope, rel=1e-9)


@pytest.mark.parametrize("name", ["tanh", "hardtanh", "elu"])
def test_correlations_agree_with_single_solves(name):
    weights = torch.linspace(0.5, 1.95 if name == "elu" else 4, 200, dtype=torch.float64)
    diagram = phase_diagram(name, weights, BIASES[20::20], correlation=True)
    assert diagram.c is not None
    assert diagram.xi_c is not None
    for i, j in drawn_points(name, 4):
        sigma_w2, sigma_b2 = weights[i].item(), diagram.sigma_b2[j % 9].item()
        excess = abs(diagram.chi1[i, j % 9].item() - 1)
        wanted = depth_scales(name, sigma_w2, sigma_b2)[1]
        assert diagram.xi_c[i, j % 9].item() == close(wanted, rel=1e-9 + 1e-12 / excess)
        assert diagram.c[i, j % 9].item() == close(correlation_fixed_point(name, sigma_w2, sigma_b2), abs=1e-9)


def test_the_line_is_where_chi1_is_one():
    for name in ("tanh", "erf", "selu"):
        sigma_w2, q = critical_point(name, 0.25)
        weights = torch.tensor([sigma_w2 * (1 + e) for e in (-1e-6, 0.0, 1e-6)], dtype=torch.float64)
        diagram = phase_diagram(name, weights, torch.tensor([0.25], dtype=torch.float64))
        below, on, above = diagram.chi1[:, 0].tolist()
        assert below < 1 < above
        assert on == close(1, abs=1e-11)
        assert diagram.q[1, 0].item() == close(q, rel=1e-9)


def test_erf_in_closed_form():
    """χ1 = 4σ_w²/(π√(1 + 4q)) at every finite point of the grid."""
    diagram = phase_diagram("erf", WEIGHTS, BIASES)
    wanted = 4 / math.pi * WEIGHTS[:, None] / (1 + 4 * diagram.q).sqrt()
    torch.testing.assert_close(diagram.chi1, wanted, rtol=1e-11, atol=0)
    again = WEIGHTS[:, None] * 2 / math.pi * torch.asin(2 * diagram.q / (1 + 2 * diagram.q)) + BIASES
    torch.testing.assert_close(again, diagram.q, rtol=1e-12, atol=1e-14)


def test_dead_diverging_and_homogeneous_points():
    weights, biases = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.0, 0.5])
    diagram = phase_diagram("relu", weights, biases, correlation=True)
    assert diagram.q.tolist() == [[0, close(1)], [close(1), math.inf], [math.inf, math.inf]]
    torch.testing.assert_close(diagram.chi1, (weights[:, None] / 2).expand(3, 2).to(torch.float64), rtol=1e-12, atol=0)
    assert diagram.c is not None
    assert diagram.xi_c is not None
    assert diagram.c[:2, 0].tolist() == [1, 1]
    assert diagram.xi_c[1, 0].item() == math.inf
    assert diagram.xi_c[2].isnan().all()
    tanh = phase_diagram("tanh", torch.tensor([0.5, 1.0]), torch.tensor([0.0]))
    assert tanh.q.tolist() == [[0], [0]]
    assert tanh.chi1.tolist() == [[close(0.5)], [close(1)]]


def test_a_callable_of_ones_own():
    sine = phase_diagram(torch.sin, torch.tensor([3.0]), torch.tensor([0.1], dtype=torch.float64))
    assert sine.q.item() == close(fixed_point(torch.sin, 3.0, 0.1), rel=1e-11)


@pytest.mark.parametrize("weights", [[-1.0], [math.inf], [math.nan]])
def test_impossible_variances_are_refused(weights):
    with pytest.raises(ValueError, match="sigma_w2 and sigma_b2"):
        phase_diagram("tanh", torch.tensor(weights), torch.tensor([0.1]))


def test_an_oscillating_activation_is_followed_only_so_far():
    with pytest.raises(ValueError, match="exceeds 100"):
        phase_diagram(torch.sin, torch.tensor([300.0]), torch.tensor([0.0]))
