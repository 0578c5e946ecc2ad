import pytest
import torch
from torch import nn

from signalprop.measure.checks import check_loss, check_module, first_tensor, trained_parameters


@pytest.fixture
def net():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def test_a_sound_module_passes(net):
    check_module(net, torch.ones(2, 3))
    check_module(nn.Embedding(3, 2), torch.tensor([1, 2]))


@pytest.mark.parametrize(
    ("name", "value"), [("0.bias", torch.nan), ("0.weight", torch.inf), ("1.running_var", torch.nan)]
)
def test_the_tensor_that_is_not_finite_is_named(net, name, value):
    net.state_dict()[name].view(-1)[-1] = value
    with pytest.raises(ValueError, match=rf"^{name} of Sequential holds NaN or infinity"):
        check_module(net, torch.ones(2, 3))


def test_the_tensor_on_another_device_is_named(net):
    net[1].to("meta")
    with pytest.raises(ValueError, match=r"^1.weight of Sequential is on meta and x on cpu"):
        check_module(net, torch.ones(2, 3))


def test_inputs_that_cannot_be_used(net):
    with pytest.raises(ValueError, match="x holds NaN"):
        check_module(net, torch.tensor([[1.0, torch.nan, 0.0]]))
    with pytest.raises(ValueError, match=r"x has shape \[0, 3\]"):
        check_module(net, torch.ones(0, 3))


def test_trained_parameters_are_those_not_frozen(net):
    net[0].requires_grad_(False)
    assert list(trained_parameters(net)) == ["1.weight", "1.bias"]
    with pytest.raises(ValueError, match="ReLU has no parameter that requires a gradient"):
        trained_parameters(nn.ReLU())


def test_a_loss_is_one_number():
    assert check_loss(torch.ones(1, 1)).shape == ()
    for loss, message in [
        (3.0, "a float"),
        (None, "a NoneType"),
        (torch.ones(2), r"shape \[2\]; it must return one number"),
        (torch.tensor(1), "torch.int64; it must return a floating-point number"),
    ]:
        with pytest.raises(ValueError, match=message):
            check_loss(loss)


def test_the_first_tensor_is_found_in_depth():
    tensor = torch.ones(2)
    assert first_tensor(([], {"a": None, "b": [torch.tensor(3), tensor]}, torch.zeros(1))) is tensor
    assert first_tensor(("none", 3)) is None
