import pytest
import torch
from torch import nn

from signalprop import stream
from signalprop.measure import distribution_drift, feature_moments
from signalprop.nets import MLP, normalizer


def network(norm=None):
    source = stream("tests", "drift", 0)
    options = {"bias": True, "scheme": "kaiming", "gain": None, "generator": source}
    return MLP([4, 6, 3], "relu", normalizer=norm, **options)


X = torch.randn(10, 4, generator=stream("tests", "drift x", 0))


def test_moments_of_a_layer():
    net = network()
    found = feature_moments(net, X)
    z = net.layer1(X)
    assert list(found) == ["layer1", "act1", "layer2"]
    torch.testing.assert_close(found["layer1"], torch.stack([z.mean(0), z.std(0, correction=0)]))


def test_positions_count_as_examples():
    images = torch.randn(5, 2, 3, 3, generator=stream("tests", "drift images", 0))
    found = feature_moments(nn.Identity(), images)["Identity"]
    torch.testing.assert_close(found[0], images.mean((0, 2, 3)))


def test_running_statistics_stay():
    net = network(normalizer("batch", eps=1e-5, momentum=0.1, affine=True))
    before = {name: buffer.clone() for name, buffer in net.named_buffers()}
    feature_moments(net, X)
    assert all(torch.equal(before[name], buffer) for name, buffer in net.named_buffers())


def test_drift_of_a_shifted_bias():
    net = network()
    before = feature_moments(net, X)
    with torch.no_grad():
        net.layer1.bias += 0.5
    drift = distribution_drift(before, feature_moments(net, X))
    spread = before["layer1"][1].square().sum().sqrt()
    assert drift["layer1"] == pytest.approx((6**0.5 * 0.5 / spread).item(), rel=1e-4)


def test_the_scale_does_not_matter():
    before = {"a": torch.rand(2, 5, generator=stream("tests", "drift moments", 0))}
    after = {"a": torch.rand(2, 5, generator=stream("tests", "drift moments", 1))}
    scaled = distribution_drift({"a": 7 * before["a"]}, {"a": 7 * after["a"]})
    assert scaled["a"] == pytest.approx(distribution_drift(before, after)["a"], rel=1e-5)


def test_outputs_without_features_are_refused():
    with pytest.raises(ValueError, match="returned no floating-point tensor"):
        feature_moments(nn.Flatten(0), X)


def test_different_calls_are_refused():
    with pytest.raises(ValueError, match="different calls"):
        distribution_drift({"a": torch.ones(2, 1)}, {"b": torch.ones(2, 1)})
