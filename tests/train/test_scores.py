import math

import pytest
import torch
from torch import nn

from signalprop.train import evaluate, scores


def test_a_good_network_has_the_scores_of_evaluate():
    net = nn.Linear(4, 3)
    with torch.no_grad():
        net.weight.mul_(0.01)
        net.bias.zero_()
    x, y = torch.eye(4), torch.tensor([0, 1, 2, 0])
    loss, accuracy = evaluate(net, x, y)
    assert scores(net, x, y, 10).tolist() == pytest.approx([loss, accuracy])


@pytest.mark.parametrize("size", [math.nan, math.inf, 1e6])
def test_a_loss_beyond_a_guess_is_censored(size):
    x, y = torch.full((2, 1), size), torch.tensor([0, 1])
    net = nn.Linear(1, 2)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.0], [-1.0]]))
    assert scores(net, x, y, 2)[0].item() == pytest.approx(math.log(2))
