import torch

from signalprop import stream
from signalprop.nets import BatchNorm, batch_norm_least_squares_loss, least_squares_loss


def sample():
    source = stream("tests", "least squares", 0)
    x = torch.randn(50, 4, generator=source, dtype=torch.float64)
    x -= x.mean(0)
    w, target = torch.randn(2, 4, generator=source, dtype=torch.float64)
    return x, x.T @ x / len(x), w, target


def test_it_is_half_the_mean_squared_error():
    x, covariance, w, target = sample()
    true = (x @ w - x @ target).square().mean() / 2
    torch.testing.assert_close(least_squares_loss(w[None], covariance, target)[0], true)


def test_with_a_real_batch_normalization():
    x, covariance, w, target = sample()
    norm = BatchNorm(1, eps=0.0, momentum=0.1, affine=False, dtype=torch.float64)
    true = (1.7 * norm((x @ w)[:, None])[:, 0] - x @ target).square().mean() / 2
    start = torch.cat([w, torch.tensor([1.7], dtype=torch.float64)])[None]
    torch.testing.assert_close(batch_norm_least_squares_loss(start, covariance, target)[0], true)


def test_each_start_has_a_loss_of_its_own():
    _, covariance, w, target = sample()
    both = torch.stack([w, target])
    assert least_squares_loss(both, covariance, target)[1] == 0
