"""One small network of every kind, for the tests that hold for all of them."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from signalprop import stream
from signalprop.nets import (
    MLP,
    DenseNet,
    Highway,
    HighwayCNN,
    MinimalRNN,
    PlainCNN,
    ResidualMLP,
    ResNet,
    ResNeXt,
    VanillaRNN,
)


@dataclass(frozen=True)
class Kind:
    """How to build a network of one kind, with what changes from test to test, and the shape of a batch for it."""

    make: Callable[..., nn.Module]
    shape: tuple[int, ...]

    def build(self, **options):
        usual = {"act": "tanh", "normalizer": None, "bias": True, "scheme": "lecun", "gain": 1.0}
        return self.make(**(usual | {"generator": stream("tests", "kind")} | options))

    def x(self, dtype=torch.float64, device="cpu"):
        x = torch.randn(self.shape, generator=stream("tests", "kind", 1), dtype=torch.float64, device="cpu")
        return x.to(device, dtype)


def _mlp(act, **options):
    return MLP([5, 7, 6, 3], act, **options)


def _residual(block):
    return lambda **o: ResidualMLP(5, 3, depth=8, width=6, branch_layers=3, block=block, scale=0.5, **o)


def _resnet(block, shortcut):
    return lambda **o: ResNet(2, 3, depth=6, stages=2, width=4, block=block, shortcut=shortcut, scale=None, **o)


KINDS = {
    "MLP": Kind(_mlp, (4, 5)),
    "PlainCNN": Kind(
        lambda **o: PlainCNN(2, 3, depth=6, stages=2, width=4, padding_mode="circular", **o), (5, 2, 7, 6)
    ),
    "ResidualMLP-v1": Kind(_residual("post_activation"), (4, 5)),
    "ResidualMLP-v2": Kind(_residual("pre_activation"), (4, 5)),
    "ResNet-v1": Kind(_resnet("post_activation", "B"), (5, 2, 7, 6)),
    "ResNet-v2": Kind(_resnet("pre_activation", "A"), (5, 2, 7, 6)),
    "Highway": Kind(lambda **o: Highway(5, 3, depth=4, width=6, gate_bias=-1.0, **o), (4, 5)),
    "HighwayCNN": Kind(lambda **o: HighwayCNN(2, 3, depth=6, stages=2, width=4, gate_bias=-1.0, **o), (5, 2, 7, 6)),
    "DenseNet": Kind(lambda **o: DenseNet(2, 3, depth=7, stages=2, width=4, growth=3, **o), (5, 2, 7, 6)),
    "ResNeXt": Kind(
        lambda **o: ResNeXt(2, 3, depth=8, stages=2, width=4, cardinality=3, path_width=2, scale=None, **o),
        (5, 2, 7, 6),
    ),
    "VanillaRNN": Kind(lambda **o: VanillaRNN(2, 3, depth=2, width=6, **o), (4, 5, 2)),
    "MinimalRNN": Kind(lambda **o: MinimalRNN(2, 3, depth=2, width=6, gate_bias=1.0, **o), (4, 5, 2)),
}


@pytest.fixture(params=KINDS)
def kind(request):
    """Every kind of network in turn."""
    return KINDS[request.param]


@pytest.fixture
def kinds():
    """All kinds by name."""
    return KINDS
