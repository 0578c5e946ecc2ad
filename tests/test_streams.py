import numpy as np
import pytest
import torch

from signalprop import stream
from signalprop.streams import base_seed


def test_same_name_same_numbers():
    first = torch.randn(5, generator=stream("page", "claim", 3))
    again = torch.randn(5, generator=stream("page", "claim", 3))
    assert torch.equal(first, again)


@pytest.mark.parametrize("other", [("pagec", "laim", 3), ("page", "claim", 4), ("page", "claim2", 3)])
def test_every_part_of_the_name_counts(other):
    a = torch.randn(5, generator=stream("page", "claim", 3))
    assert not torch.equal(a, torch.randn(5, generator=stream(*other)))


def test_base_seed_counts(monkeypatch):
    a = torch.randn(5, generator=stream("page", "claim"))
    monkeypatch.setenv("SIGNALPROP_SEED", str(2**32))  # torch itself would drop these bits
    assert not torch.equal(a, torch.randn(5, generator=stream("page", "claim")))


def test_global_generators_are_left_alone():
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    torch.randn(5, generator=stream("page", "claim"))
    assert torch.equal(torch_state, torch.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])  # noqa: NPY002


def test_torch_takes_the_whole_state():
    """The raw words torch draws are those of a Mersenne Twister with exactly this state."""
    generator = stream("page", "claim")
    words = generator.get_state()[24 : 24 + 8 * 624].numpy().view(np.uint64).astype(np.uint32)
    twister = np.random.MT19937()
    twister.state = {"bit_generator": "MT19937", "state": {"key": words, "pos": 624}}
    drawn = torch.empty(2000, dtype=torch.int64).random_(0, 2**16, generator=generator).numpy()
    assert np.array_equal(drawn, twister.random_raw(2000) % 2**16)


def test_streams_are_independent():
    """First normals of 4,000 consecutive replicates: right mean, right variance, no serial correlation."""
    z = torch.tensor([torch.randn((), generator=stream("p", "c", r)).item() for r in range(4000)])
    assert abs(z.mean()) < 5 / 4000**0.5
    assert abs(z.var() - 1) < 5 * (2 / 4000) ** 0.5
    assert abs((z[1:] * z[:-1]).mean()) < 5 / 4000**0.5


def test_bad_base_seed(monkeypatch):
    monkeypatch.setenv("SIGNALPROP_SEED", "lucky")
    with pytest.raises(ValueError, match="set it to an integer"):
        base_seed()
