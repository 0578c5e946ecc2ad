import pytest
import torch

from signalprop import stream
from signalprop.train.order import ShuffledBatches

GROUPS = torch.tensor([0, 1, 2] * 7)  # seven of each


def order(batch=3, groups=GROUPS, replicate=0):
    return ShuffledBatches(21, batch, stream("tests", "order", replicate), groups)


def batches(some, count):
    return [some.next().tolist() for _ in range(count)]


def test_each_batch_is_of_one_group():
    assert all(len({int(GROUPS[i]) for i in batch}) == 1 for batch in batches(order(), 20))


def test_a_round_takes_no_example_twice_and_leaves_out_the_remainder_of_each_group():
    first = batches(order(), 6)
    assert len({i for batch in first for i in batch}) == 18
    assert sorted(int(GROUPS[batch[0]]) for batch in first) == [0, 0, 1, 1, 2, 2]


def test_groups_come_in_random_order():
    seen = {tuple(int(GROUPS[b[0]]) for b in batches(order(replicate=r), 6)) for r in range(10)}
    assert len(seen) > 5


def test_rounds_differ():
    some = order()
    assert batches(some, 6) != batches(some, 6)


def test_without_groups_batches_are_mixed():
    assert any(len({int(GROUPS[i]) for i in batch}) > 1 for batch in batches(order(groups=None), 7))


def test_it_can_be_resumed():
    some = order()
    batches(some, 8)
    state = some.state()
    expected = batches(some, 12)
    other = order(replicate=1)
    other.resume(state)
    assert batches(other, 12) == expected


def test_groups_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="one entry for each of 21 examples"):
        order(groups=GROUPS[:5])
    with pytest.raises(ValueError, match="no group has 8 examples"):
        order(batch=8)
