import pytest
import torch
from torch import nn

from signalprop import stream
from signalprop.nets import initialize_
from signalprop.nets.normalizers import (
    BatchNorm,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    SwitchNorm,
    is_normalizer,
    normalizer,
)

OPTIONS = {
    "batch": ({"eps": 0.1, "momentum": 0.2, "affine": True}, BatchNorm),
    "layer": ({"eps": 0.1, "affine": True}, GroupNorm),
    "instance": ({"eps": 0.1, "affine": True}, InstanceNorm),
    "group": ({"groups": 3, "eps": 0.1, "affine": True}, GroupNorm),
    "switchable": ({"eps": 0.1, "momentum": 0.2, "affine": True}, SwitchNorm),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_each_name_makes_normalizers_of_any_number_of_features(name):
    options, kind = OPTIONS[name]
    make = normalizer(name, **options)
    for features in (6, 9):
        norm = make(features)
        assert type(norm) is kind
        assert norm.eps == 0.1
        assert norm(torch.rand(4, features, 2, 3)).shape == (4, features, 2, 3)
        assert norm.weight.shape == (features,)
        assert (norm.weight == 1).all()
        assert (norm.bias == 0).all()
    assert make(6) is not make(6)


def test_layer_is_layer_norm_on_vectors():
    x = torch.randn(4, 6, generator=stream("tests", "layer"))
    torch.testing.assert_close(normalizer("layer", eps=0.1, affine=True)(6)(x), LayerNorm(6, eps=0.1, affine=True)(x))


@pytest.mark.parametrize("name", OPTIONS)
def test_they_are_made_on_the_cpu_and_can_be_moved(name):
    options, _ = OPTIONS[name]
    with torch.device("meta"):
        norm = normalizer(name, **options)(6)
    tensors = [*norm.parameters(), *norm.buffers()]
    assert {tensor.device.type for tensor in tensors} == {"cpu"}
    assert {tensor.dtype for tensor in norm.to(torch.float64).state_dict().values()} == {torch.float64}
    norm(torch.rand(4, 6, 2, 2, dtype=torch.float64))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("batch norm", {}, "no normalizer 'batch norm'; known: batch, layer, instance, group, switchable"),
        ("spectral", {}, "those of weights, weight_norm_ and spectral_norm_, are applied to a network"),
        ("batch", {"eps": 0.1, "affine": True}, "'batch': missing a required (keyword-only )?argument: 'momentum'"),
        ("layer", {"eps": 0.1, "affine": True, "momentum": 0.1}, "'layer': got an unexpected .* 'momentum'"),
        ("group", {"eps": 0.1, "affine": True}, "'group': missing a required (keyword-only )?argument: 'groups'"),
    ],
)
def test_it_says_what_is_wrong(name, options, message):
    with pytest.raises(ValueError, match=message):
        normalizer(name, **options)


def test_which_modules_are_normalizers():
    ours = [normalizer(name, **options)(6) for name, (options, _) in OPTIONS.items()]
    theirs = [nn.BatchNorm2d(3), nn.SyncBatchNorm(3), nn.InstanceNorm1d(3), nn.LayerNorm(3), nn.GroupNorm(1, 3)]
    assert all(is_normalizer(norm) for norm in [*ours, LayerNorm(3, eps=0.1, affine=True), *theirs, nn.RMSNorm(3)])
    assert not any(is_normalizer(part) for part in (nn.Linear(3, 3), nn.ReLU(), nn.Dropout(), nn.Sequential(theirs[0])))


@pytest.mark.parametrize("name", OPTIONS)
def test_initializers_leave_them_alone(name):
    options, _ = OPTIONS[name]
    net = nn.Sequential(nn.Conv2d(2, 6, 3), normalizer(name, **options)(6))
    before = {key: value.clone() for key, value in net[1].state_dict().items()}
    initialize_(net, "lecun", generator=stream("tests", "alone"))
    assert all(torch.equal(before[key], value) for key, value in net[1].state_dict().items())
