from dataclasses import FrozenInstanceError

import pytest
import torch

from signalprop.data import Data, load_data


def test_standardized_uses_training_statistics_for_both_parts():
    data = Data(
        "toy",
        torch.tensor([[0.0], [2.0]]),  # mean 1, sd 1
        torch.tensor([0, 1]),
        torch.tensor([[5.0], [5.0], [6.0]]),
        torch.tensor([1, 1, 1]),
        *(("a", "b"), "none", "here"),
    )
    assert data.standardized().test_x.flatten().tolist() == [4, 4, 5]
    assert data.test_x.flatten().tolist() == [5, 5, 6]


def test_flat_keeps_every_value_in_order():
    data = load_data("digits")
    assert torch.equal(data.flat().test_x.reshape(382, 1, 8, 8), data.test_x)


def test_to_moves_all_tensors():
    data = load_data("digits").to("meta")
    assert {part.device.type for part in (data.train_x, data.train_y, data.test_x, data.test_y)} == {"meta"}


def test_data_is_frozen():
    with pytest.raises(FrozenInstanceError):
        load_data("digits").name = "other"


def test_data_prints_on_one_line():
    assert repr(load_data("digits")).count("\n") == 0
