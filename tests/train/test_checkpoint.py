from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import nn

from signalprop import load_data, stream
from signalprop.train import Checkpoint, fit


@pytest.fixture
def data():
    data = load_data("digits").standardized().flat()
    return replace(data, train_x=data.train_x[:200], train_y=data.train_y[:200])


class Interrupted(Exception):
    pass


def network(width=16):
    """One with buffers and with a layer that draws from the global generator."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return nn.Sequential(
            nn.Linear(64, width), nn.BatchNorm1d(width), nn.Tanh(), nn.Dropout(0.3), nn.Linear(width, 10)
        )


def run(net, data, *, steps=40, batch=32, checkpoint=None, optimizer="Adam", stop_after=None):
    """Train it with Adam, whose state matters; the run may be interrupted after some steps."""
    calls = []

    def loss_fn(scores, labels):
        calls.append(1)
        if stop_after is not None and len(calls) > stop_after:
            raise Interrupted
        return nn.functional.cross_entropy(scores, labels)

    return fit(
        net,
        data,
        getattr(torch.optim, optimizer)(net.parameters(), lr=0.01),
        steps=steps,
        batch=batch,
        generator=stream("tests", "checkpoint"),
        loss_fn=loss_fn,
        checkpoint=checkpoint,
    )


def assert_same(state, other):
    assert all(torch.equal(here, there) for here, there in zip(state.values(), other.values(), strict=True))


@pytest.fixture
def whole(data):
    """What a run of 40 steps without a checkpoint comes to."""
    net = network()
    torch.manual_seed(3)
    history = run(net, data)
    return net.state_dict(), history.loss


@pytest.mark.parametrize("stop_after", [0, 3, 5, 6, 17, 39])  # a round has six batches
def test_an_interrupted_run_goes_on_bitwise(data, whole, tmp_path, stop_after):
    keep = Checkpoint(tmp_path / "run.pt", every=3)
    torch.manual_seed(3)
    with pytest.raises(Interrupted):
        run(network(), data, checkpoint=keep, stop_after=stop_after)
    torch.manual_seed(99 if stop_after >= 3 else 3)  # the states of another process; none were saved before step 3
    net = network()
    history = run(net, data, checkpoint=keep)
    assert torch.equal(history.loss, whole[1])
    assert all(
        torch.equal(there, here) for there, here in zip(whole[0].values(), net.state_dict().values(), strict=True)
    )


def test_saving_changes_nothing(data, whole, tmp_path):
    torch.manual_seed(3)
    assert torch.equal(run(network(), data, checkpoint=Checkpoint(tmp_path / "run.pt", every=1)).loss, whole[1])


def test_a_finished_run_is_not_run_again(data, tmp_path):
    keep, net = Checkpoint(tmp_path / "run.pt", every=7), network()
    first = run(net, data, checkpoint=keep)
    again = network()
    second = run(again, data, checkpoint=keep, stop_after=0)
    assert torch.equal(first.loss, second.loss)
    assert torch.equal(net[0].weight, again[0].weight)


def test_more_steps_prolong_a_run(data, whole, tmp_path):
    keep = Checkpoint(tmp_path / "run.pt", every=100)
    torch.manual_seed(3)
    run(network(), data, steps=25, checkpoint=keep)
    assert torch.equal(run(network(), data, steps=40, checkpoint=keep).loss, whole[1])


def test_an_interrupted_saving_leaves_the_old_file(data, tmp_path, monkeypatch):
    keep = Checkpoint(tmp_path / "run.pt", every=10)
    run(network(), data, steps=10, checkpoint=keep)
    before = keep.path.read_bytes()

    def half(state, path):
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="no space"):
        run(network(), data, steps=20, checkpoint=keep)
    assert keep.path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["run.pt"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"net": network(17)}, "of another network"),
        ({"optimizer": "SGD"}, "of another optimizer: Adam, not SGD"),
        ({"batch": 16}, "of another batch size: 32, not 16"),
    ],
)
def test_of_another_run(data, tmp_path, change, message):
    keep = Checkpoint(tmp_path / "run.pt", every=10)
    run(network(), data, steps=10, checkpoint=keep)
    net = change.pop("net", network())
    before, states = deepcopy(net.state_dict()), torch.get_rng_state()
    with pytest.raises(ValueError, match=message):
        run(net, data, checkpoint=keep, **change)
    assert_same(net.state_dict(), before)
    assert torch.equal(states, torch.get_rng_state())


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", "cut", "code"])
def test_a_file_that_cannot_be_read(data, tmp_path, content):
    keep = Checkpoint(tmp_path / "run.pt", every=10)
    if content == "cut":
        run(network(), data, steps=10, checkpoint=keep)
        keep.path.write_bytes(keep.path.read_bytes()[:-500])
    elif content == "code":
        torch.save({"module": print}, keep.path)
    else:
        keep.path.write_bytes(content)
    with pytest.raises(ValueError, match=r"run\.pt is not a checkpoint that can be read .*delete it"):
        run(network(), data, checkpoint=keep)
    assert keep.path.exists()


def test_every_must_be_a_step(tmp_path):
    with pytest.raises(ValueError, match="at least 1 step, got 0"):
        Checkpoint(tmp_path / "run.pt", every=0)


def test_a_bar_goes_to_the_error_stream(data, capsys):
    net = network()
    fit(
        net,
        data,
        torch.optim.SGD(net.parameters(), lr=0.1),
        steps=3,
        batch=32,
        generator=stream("tests", "bar"),
        progress=True,
    )
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "3/3" in shown.err
