import pytest
import torch

from signalprop import stream
from signalprop.nets import DeepResidualStack, DeepResidualStacks, DeepStack, DeepStacks

LR = torch.tensor([0.001, 0.003])


def sources(name):
    return [stream("tests", f"stacks {name}", r) for r in range(2)]


def plain(name="plain"):
    return DeepStacks.drawn(12, 6, scheme="orthogonal", gain=1.1, generators=sources(name))


def residual(name="residual"):
    return DeepResidualStacks.drawn(3, 6, scheme="kaiming", generators=sources(name))


def batch(examples=5):
    return torch.randn(2, examples, 6, generator=stream("tests", "stacks x"))


def single(stacks, r):
    """The same network as a module of its own."""
    if isinstance(stacks, DeepStacks):
        net = DeepStack(12, 6, scheme="orthogonal", gain=1.1, generator=sources("plain")[r])
        return net, [net.weight]
    net = DeepResidualStack(3, 6, scheme="kaiming", gain=None, generator=sources("residual")[r])
    net.scale.requires_grad_(False)
    return net, [net.weight, net.second_weight]


@pytest.mark.parametrize("make", [plain, residual])
def test_forward_is_that_of_single_networks(make):
    stacks, x = make(), batch()
    out = stacks.forward(x)
    torch.testing.assert_close(stacks.forward(x, keep=False), out)
    for r in range(2):
        torch.testing.assert_close(out[r], single(stacks, r)[0](x[r]).detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [plain, residual])
def test_three_steps_are_those_of_torch_sgd_with_momentum(make):
    stacks, x = make(), batch()
    x = x / 10
    for _ in range(3):
        below = stacks.descend(stacks.forward(x) - 1, LR, 0.9)  # of half the squared distance to 1
    for r in range(2):
        net, weights = single(stacks, r)
        optimizer = torch.optim.SGD(weights, lr=LR[r].item(), momentum=0.9)
        for _ in range(3):
            leaf = x[r].clone().requires_grad_()
            optimizer.zero_grad()
            (0.5 * (net(leaf) - 1).square().sum()).backward()
            optimizer.step()
        torch.testing.assert_close(below[r], leaf.grad, rtol=1e-4, atol=1e-5)
        for ours, theirs in zip(stacks.weights, weights, strict=True):
            torch.testing.assert_close(ours[:, r], theirs.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [plain, residual])
def test_rate_zero_leaves_weights(make):
    stacks = make()
    before = [w.clone() for w in stacks.weights]
    stacks.descend(stacks.forward(batch()), torch.zeros(2), 0.9)
    assert all((w == b).all() for w, b in zip(stacks.weights, before, strict=True))


def test_memory_counts_weights_momentum_and_signals():
    stacks, numbers = plain(), 12 * 2 * 6 * 6
    assert stacks.memory() == 4 * numbers
    stacks.descend(stacks.forward(batch()), LR, 0.9)
    assert stacks.memory() == 4 * (2 * numbers + 13 * 2 * 5 * 6)


def test_workspace_follows_the_batch():
    stacks = plain()
    assert stacks.forward(batch(5)).shape == (2, 5, 6)
    assert stacks.descend(stacks.forward(batch(3)), LR, 0.0).shape == (2, 3, 6)


@pytest.mark.parametrize("stacks", [DeepStacks, lambda w, a="relu": DeepResidualStacks(w, w, a)])
def test_weights_of_another_shape_and_other_activations_are_refused(stacks):
    with pytest.raises(ValueError, match="weights have shape"):
        stacks(torch.zeros(3, 2, 4, 5))
    with pytest.raises(ValueError, match="slope of gelu"):
        stacks(torch.zeros(3, 2, 4, 4), "gelu")


def test_scaled_branches_are_refused():
    with pytest.raises(ValueError, match="scale of a branch"):
        DeepResidualStacks.drawn(3, 4, scheme="rezero", generators=sources("x"))
