import pytest
import torch
from torch import nn

from signalprop import stream
from signalprop.nets import MLP, Dropout, ResidualMLP, add_dropout_


def test_mean_is_kept_and_the_square_grows():
    torch.manual_seed(0)
    y = Dropout(0.8)(torch.ones(200_000))
    assert y.unique().tolist() == [0.0, 1.25]
    assert abs(y.mean() - 1) < 0.01
    assert abs(y.square().mean() - 1.25) < 0.01


def test_nothing_is_dropped_in_evaluation_mode():
    x = torch.randn(10)
    assert torch.equal(Dropout(0.1).eval()(x), x)


@pytest.mark.parametrize("keep", [0.0, -0.1, 1.1, float("nan")])
def test_keep_is_a_probability(keep):
    with pytest.raises(ValueError, match="keep is a probability"):
        Dropout(keep)


def test_it_stands_behind_every_activation():
    source = stream("tests", "dropout")
    options = {"act": "relu", "normalizer": None, "bias": True, "scheme": "lecun", "gain": 1.0, "generator": source}
    plain = add_dropout_(MLP([4, 5, 5, 2], **options), 0.5)
    shape = {"depth": 6, "width": 5, "branch_layers": 2, "block": "pre_activation", "scale": None}
    residual = add_dropout_(ResidualMLP(4, 2, **shape, **options), 0.5)
    for net, count in ((plain, 2), (residual, 5)):
        assert sum(isinstance(part, Dropout) for part in net.modules()) == count
        assert not any(isinstance(part, nn.Dropout) for part in net.modules())
        x = torch.randn(3, 4)
        assert not torch.equal(net(x), net(x))
        net.eval()
        assert torch.equal(net(x), net(x))


def test_entries_keep_their_type():
    assert Dropout(0.5)(torch.ones(4, dtype=torch.float64)).dtype == torch.float64
