import pytest
import torch

from signalprop import load_data, stream
from signalprop.nets import OPERATIONS, OperationMLP
from signalprop.train import fit_many


def network(operations, replicate=0, width=6):
    return OperationMLP(5, 3, operations=operations, width=width, generator=stream("tests", "operations", replicate))


def test_each_operation_is_what_it_says():
    x = torch.randn(4, 5, generator=stream("tests", "x"))
    rules = {
        "linear": lambda h, z: z,
        "relu": lambda h, z: z.clamp(min=0),
        "tanh": lambda h, z: 2 * torch.sigmoid(2 * z) - 1,
        "residual": lambda h, z: h + z.clamp(min=0),
    }
    assert set(rules) == set(OPERATIONS)
    for name, rule in rules.items():
        net = network([name, "linear"])
        h = (x @ net.first.weight.T + net.first.bias).clamp(min=0)
        h = rule(h, h @ net.hidden[0].weight.T)
        expected = (h @ net.hidden[1].weight.T) @ net.last.weight.T
        torch.testing.assert_close(net(x), expected)


def test_operations_differ_in_gain_only():
    linear, relu = network(["linear"]), network(["relu"])
    torch.testing.assert_close(relu.hidden[0].weight, 2**0.5 * linear.hidden[0].weight)
    assert torch.equal(relu.first.weight, linear.first.weight)
    assert torch.equal(relu.last.weight, linear.last.weight)
    wide = network(["tanh"], width=400)
    assert wide.hidden[0].weight.var().item() == pytest.approx(1 / 400, rel=0.05)


def test_different_operations_train_together_as_alone():
    data = load_data("digits").standardized().flat()

    def net(operation):
        return OperationMLP(64, 10, operations=[operation] * 2, width=8, generator=stream("tests", operation))

    options = {"lr": 0.05, "momentum": 0.9, "steps": 5, "batch": 16}
    together = [net(name) for name in OPERATIONS]
    fit_many(together, data, generators=[stream("tests", "order") for _ in OPERATIONS], **options)
    for name, one in zip(OPERATIONS, together, strict=True):
        alone = net(name)
        fit_many([alone], data, generators=[stream("tests", "order")], **options)
        torch.testing.assert_close(one(data.test_x), alone(data.test_x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("operations", [[], ["relu", "sigmoid"]])
def test_refuses_what_it_does_not_know(operations):
    with pytest.raises(ValueError, match=r"operation"):
        network(operations)
