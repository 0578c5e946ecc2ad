import pytest
import torch
from torch import nn

from signalprop.measure import innermost_calls
from signalprop.nets import Elementwise


class Block(nn.Module):
    """A child that is called twice, one that is not called, and one inside an activation."""

    def __init__(self):
        super().__init__()
        self.layer, self.idle, self.act = nn.Linear(3, 3), nn.Linear(3, 3), Elementwise(nn.Sequential(nn.Tanh()))

    def forward(self, x):
        return self.layer(self.act(self.layer(x)))


def names_of(module, x):
    names = []
    with innermost_calls(module, lambda name, layer, output: names.append(name)):
        module(x)
    return names


def hooks_of(module):
    return [hook for layer in module.modules() for hook in (*layer._forward_hooks, *layer._forward_pre_hooks)]


def test_names_in_the_order_of_the_calls():
    assert names_of(nn.Sequential(Block(), nn.ReLU()), torch.ones(2, 3)) == ["0.layer", "0.act", "0.layer (2)", "1"]


def test_a_module_without_children_goes_by_its_class():
    assert names_of(nn.Linear(3, 2), torch.ones(2, 3)) == ["Linear"]


def test_a_parametrization_belongs_to_its_layer():
    net = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)))
    assert names_of(net, torch.ones(2, 3)) == ["0"]


def test_every_context_counts_anew():
    net = nn.Sequential(nn.ReLU())
    assert names_of(net, torch.ones(1, 3)) == names_of(net, torch.ones(1, 3)) == ["0"]


def test_outputs_and_inputs_may_be_replaced():
    net = nn.Sequential(nn.Identity(), nn.Identity())
    with innermost_calls(
        net,
        after=lambda name, layer, output: 10 * output if name == "0" else None,
        before=lambda layer, inputs: (inputs[0] + 1,) if layer is net[1] else None,
    ):
        assert net(torch.ones(1)).item() == 11
    assert net(torch.ones(1)).item() == 1


@pytest.mark.parametrize("fails", [False, True])
def test_hooks_are_removed(fails):
    net = nn.Sequential(nn.Linear(3, 2), nn.Linear(4, 2) if fails else nn.ReLU())
    if fails:
        with pytest.raises(RuntimeError, match="cannot be multiplied") as raised:
            names_of(net, torch.ones(1, 3))
        assert raised.value.__notes__ == ["raised in the module 1"]
    else:
        names_of(net, torch.ones(1, 3))
    assert hooks_of(net) == []


def test_hooks_are_removed_after_an_exception_of_ones_own():
    net = Block()
    with pytest.raises(KeyError, match="mine") as raised:
        fail_after_a_call(net)
    assert not hasattr(raised.value, "__notes__")
    assert hooks_of(net) == []


def fail_after_a_call(net):
    with innermost_calls(net, lambda name, layer, output: None):
        net(torch.ones(1, 3))
        raise KeyError("mine")


def test_hooks_of_others_stay():
    net = Block()
    net.layer.register_forward_hook(lambda layer, inputs, output: None)
    names_of(net, torch.ones(1, 3))
    assert len(hooks_of(net)) == 1
