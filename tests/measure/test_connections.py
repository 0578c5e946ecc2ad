import torch
from torch import nn

from signalprop.measure import direct_connections
from signalprop.nets import DenseLayer


def layers(count, width=3, growth=2):
    return [DenseLayer(nn.Conv2d(width + growth * place, growth, 3, padding=1)) for place in range(count)]


def test_every_pair_of_a_dense_block_is_connected():
    found = direct_connections(layers(4), torch.ones(1, 3, 5, 5))
    assert torch.equal(found, torch.ones(4, 4).tril().bool())


def test_a_source_with_zero_weights_is_not_connected():
    block = layers(3)
    with torch.no_grad():
        block[2].new.weight[:, 3:5] = 0  # what layer 1 has added
    found = direct_connections(block, torch.ones(1, 3, 5, 5))
    assert found.tolist() == [[True, False, False], [True, True, False], [True, False, True]]
