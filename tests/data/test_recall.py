import math

import pytest
import torch

from signalprop import stream
from signalprop.data import recall_task


def task(**options):
    options = {"noise": 0.5, "train": 3_000, "test": 500, **options}
    return recall_task(20, 8, generator=stream("test", "recall"), **options)


def test_first_step_is_the_label_with_mean_square_one():
    data = task()
    assert torch.equal(data.train_x[:, 0].argmax(1), data.train_y)
    assert torch.allclose(data.test_x[:, 0].square().mean(1), torch.ones(500))


def test_later_steps_are_noise_of_the_given_size():
    later = task().train_x[:, 1:]
    assert abs(later.std() - 0.5) < 0.003
    assert abs(later.mean()) < 0.003


def test_without_noise_later_steps_are_zero():
    assert not task(noise=0.0).train_x[:, 1:].any()


def test_labels_are_balanced():
    counts = task().train_y.bincount(minlength=8)
    assert (counts - 375).abs().max() < 5.5 * math.sqrt(375)


def test_shapes_and_classes():
    data = task()
    assert data.train_x.shape == (3_000, 20, 8)
    assert data.test_x.shape == (500, 20, 8)
    assert data.classes == tuple("01234567")


def test_same_stream_same_data():
    assert torch.equal(task().train_x, task().train_x)


@pytest.mark.parametrize("options", [{"noise": -0.1}, {"noise": math.inf}, {"train": 0}, {"test": 0}])
def test_bad_options_are_refused(options):
    with pytest.raises(ValueError, match=r"noise must|must be at least 1"):
        task(**options)


def test_one_symbol_is_nothing_to_recall():
    with pytest.raises(ValueError, match="classes at least 2"):
        recall_task(20, 1, noise=0.0, train=1, test=1, generator=stream("test", "recall"))
