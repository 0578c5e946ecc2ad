import torch

from signalprop import stream
from signalprop.data import augment_signals


def source():
    return stream("tests", "augmentation")


def test_shifts_go_round_and_every_one_occurs():
    x = torch.arange(6.0).expand(500, 6)
    y = augment_signals(x, shift=2, scale=0.0, noise=0.0, generator=source())
    shifts = {int(row.argmin()) for row in y}
    assert shifts == {0, 1, 2, 4, 5}
    assert all(torch.equal(row, torch.roll(x[0], int(row.argmin()))) for row in y)


def test_sizes_stay_within_their_range():
    y = augment_signals(torch.ones(2_000, 3), shift=0, scale=0.2, noise=0.0, generator=source())
    assert torch.equal(y[:, 0], y[:, 2])
    assert 0.8 <= y.min() < 0.81
    assert 1.19 < y.max() <= 1.2


def test_noise_has_its_deviation_and_batches_any_shape():
    y = augment_signals(torch.zeros(20, 50, 40), shift=3, scale=0.5, noise=0.3, generator=source())
    assert y.shape == (20, 50, 40)
    assert abs(y.std() - 0.3) < 0.005
