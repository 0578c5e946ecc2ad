import pytest
import torch
from torch import nn

from signalprop import stream
from signalprop.nets import normalizer
from signalprop.train import renew_statistics_

KINDS = {
    "torch": nn.BatchNorm2d,
    "batch": normalizer("batch", eps=1e-5, momentum=0.1, affine=True),
    "switchable": normalizer("switchable", eps=1e-5, momentum=0.1, affine=True),
}


@pytest.fixture
def x():
    return 3 + 2 * torch.randn(20, 4, 3, 3, generator=stream("tests", "renew"))


@pytest.mark.parametrize("kind", KINDS)
def test_statistics_are_plain_averages_over_batches(kind, x):
    norm = KINDS[kind](4)
    net = nn.Sequential(nn.Identity(), norm)
    net(x)  # something to forget
    renew_statistics_(net, x, batch=5)
    parts = x.split(5)
    means = torch.stack([part.mean((0, 2, 3)) for part in parts]).mean(0)
    torch.testing.assert_close(norm.running_mean.flatten(), means)
    if kind != "switchable":
        variances = torch.stack([part.transpose(0, 1).flatten(1).var(1) for part in parts]).mean(0)
        torch.testing.assert_close(norm.running_var, variances)


def test_deeper_layers_see_what_training_mode_gives_them(x):
    net = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4))
    renew_statistics_(net, x, batch=20)
    net.train()
    torch.testing.assert_close(net[2].running_mean, net[1](net[0](x)).mean((0, 2, 3)))


def test_weights_modes_and_momenta_stay(x):
    net = nn.Sequential(nn.BatchNorm2d(4), nn.BatchNorm2d(4, momentum=0.3)).eval()
    net[0].train()
    before = [parameter.clone() for parameter in net.parameters()]
    renew_statistics_(net, x, batch=8)
    assert [part.training for part in net] == [True, False]
    assert [part.momentum for part in net] == [0.1, 0.3]
    assert all(map(torch.equal, before, net.parameters()))


def test_network_without_normalizers_runs(x):
    renew_statistics_(nn.Conv2d(4, 2, 1), x, batch=20)


def test_too_few_examples(x):
    with pytest.raises(ValueError, match="20 examples do not fill a batch of 21"):
        renew_statistics_(nn.BatchNorm2d(4), x, batch=21)
