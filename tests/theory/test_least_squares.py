import pytest
import torch
from scipy import stats

from signalprop import stream
from signalprop.theory import gaussian_design_curvature, least_squares_curvature

THREE = torch.tensor([[41.0, -19, -38], [-19, 11, 18], [-38, 18, 36]], dtype=torch.float64)


def kappa(*args, **options):
    smallest, largest = least_squares_curvature(*args, **options)
    return largest / smallest


def test_scaling_can_raise_the_condition_number():
    zero = torch.zeros(3)
    assert f"{kappa(THREE, zero):.2f} {kappa(THREE, zero, scaled=True):.2f}" == "212.58 269.37"


def test_it_is_the_hessian_of_the_loss():
    x = torch.randn(50, 4, generator=stream("tests", "least squares"), dtype=torch.float64) * 2 + 1
    with_one = torch.cat([x, torch.ones(50, 1).double()], 1)
    for intercept, features in ((False, x), (True, with_one)):
        hessian = torch.autograd.functional.hessian(
            lambda w, f=features: (f @ w).square().mean() / 2, torch.zeros(features.shape[1]).double()
        )
        expected = torch.linalg.eigvalsh(hessian)[[0, -1]]
        found = least_squares_curvature(torch.cov(x.T, correction=0), x.mean(0), intercept=intercept)
        assert found == pytest.approx(expected.tolist())


@pytest.mark.parametrize("seed", range(20))
def test_centring_with_an_intercept_never_raises_it(seed):
    draw = torch.randn(6, 5, generator=stream("tests", "centring", seed), dtype=torch.float64)
    covariance, mean = draw[:5].T @ draw[:5], 3 * draw[5]
    centred = kappa(covariance, mean, centred=True, intercept=True)
    assert centred <= kappa(covariance, mean, intercept=True) * (1 + 1e-9)


def test_centring_without_one_can():
    covariance, mean = torch.diag(torch.tensor([1.0, 0.01])).double(), torch.tensor([0.0, 1.0]).double()
    assert kappa(covariance, mean) == pytest.approx(1.01)
    assert kappa(covariance, mean, centred=True) == pytest.approx(100)


@pytest.mark.parametrize("mean", [0.0, 1.5])
def test_gaussian_designs_of_two_sizes_extrapolated(mean):
    """The edges, from d = 100 and 200, extrapolated in d^(-2/3)."""
    sizes = {}
    for d in (100, 200):
        rows = []
        for r in range(60):
            source = stream("tests", f"design {d} {mean}", r)
            x = torch.randn(4 * d, d, generator=source, dtype=torch.float64) + mean
            rows.append(torch.linalg.eigvalsh(x.T @ x / (4 * d))[[0, -1]])
        sizes[d] = torch.stack(rows)
    shrink = 2 ** (2 / 3)
    limit = (shrink * sizes[200] - sizes[100]) / (shrink - 1)
    predicted = torch.tensor(gaussian_design_curvature(100, 400, mean), dtype=torch.float64)
    if mean:  # the spike grows with d; both are compared at their own size
        for d in (100, 200):
            spike = gaussian_design_curvature(d, 4 * d, mean)[1]
            assert sizes[d][:, 1].mean().item() == pytest.approx(spike, rel=0.01)
        limit, predicted = limit[:, :1], predicted[:1]
    gate = stats.t.isf(1e-6, 59) * limit.std(0) / 60**0.5
    assert ((limit.mean(0) - predicted).abs() < gate).all()


def test_a_weak_mean_does_not_show():
    assert gaussian_design_curvature(100, 400, 0.05) == gaussian_design_curvature(100, 400)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        least_squares_curvature(torch.eye(2), torch.zeros(3))
    with pytest.raises(ValueError, match="without variance"):
        least_squares_curvature(torch.zeros(2, 2), torch.zeros(2), scaled=True)
    with pytest.raises(ValueError, match="more examples than features"):
        gaussian_design_curvature(5, 5)
