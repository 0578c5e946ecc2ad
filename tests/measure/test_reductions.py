import pytest
import torch

from signalprop import stream
from signalprop.measure.reductions import Reduction


def sums(tensors):
    """Sum and number of entries; overwrites its argument, as it may."""
    totals = tensors.sum((1, 2))
    tensors.zero_()
    return torch.stack([totals, torch.full_like(totals, tensors[0].numel())], 1)


@pytest.mark.parametrize("shape", [(64, 64), (3,), (2, 5, 4), (), (1, 300_000)])
def test_every_tensor_gets_its_own_numbers(shape):
    """Of tensors with 4,096 entries 32 are reduced at once; of the largest, one."""
    count = 3 if len(shape) == 2 and shape[0] == 1 else 100
    tensors = [torch.randn(shape, generator=stream("tests", "reduction", r)) for r in range(count)]
    reduction = Reduction(sums)
    for place, tensor in enumerate(tensors):
        reduction.add(f"t{place}", tensor)
        reduction.add(f"other{place}", torch.ones(2, 2))
    numbers = reduction.to_host()
    for place, tensor in enumerate(tensors):
        assert numbers[f"t{place}"] == pytest.approx([tensor.double().sum().item(), tensor.numel()], rel=1e-12)
        assert numbers[f"other{place}"] == [4, 4]


def test_a_tensor_may_be_overwritten_after_it_was_added():
    reduction, tensor = Reduction(sums), torch.ones(2, 3)
    reduction.add("it", tensor)
    tensor.zero_()
    assert reduction.to_host() == {"it": [6, 6]}


def test_sums_are_done_in_double_precision():
    reduction = Reduction(lambda tensors: tensors.square_().sum((1, 2)).unsqueeze(1))
    reduction.add("tiny", torch.full((2, 2), 1e-30))
    assert reduction.to_host()["tiny"] == pytest.approx([4e-60], rel=1e-6)


def test_nothing_was_added():
    assert Reduction(sums).to_host() == {}
