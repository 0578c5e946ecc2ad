import pytest
import torch

from signalprop import stream
from signalprop.measure import chain_signals
from signalprop.nets import random_linear_chain


@pytest.fixture
def chain():
    """Five rectangular networks, an input and an error."""
    weights = random_linear_chain([3, 4, 2, 5], 1.0, [stream("tests", "chain_signals", r) for r in range(5)])
    x, error = torch.tensor([1.0, -2.0, 0.5]).double(), torch.tensor([0.3, -1.0, 2.0, 0.0, 1.0]).double()
    return weights, x, error


def test_a_chain_small_enough_for_pencil_and_paper():
    """W_1 = (3, 4)ᵀ and W_2 = (1, 2) on the input 2, error −1: h = 2, (6, 8), 22 and δ = −11, (−1, −2), −1."""
    weights = [torch.tensor([[[3.0], [4.0]]]), torch.tensor([[[1.0, 2.0]]])]
    signals = chain_signals(weights, torch.tensor([2.0]), torch.tensor([-1.0]))
    assert signals.forward.tolist() == [[4.0, 100.0, 484.0]]
    assert signals.backward.tolist() == [[121.0, 5.0, 1.0]]
    assert signals.weight.tolist() == [[4.0 * 5.0, 100.0 * 1.0]]


def test_norms_are_those_of_dense_products(chain):
    (first, second, third), x, error = chain
    signals = chain_signals(*chain)
    for m, (a, b, c) in enumerate(zip(first, second, third, strict=True)):
        forward = [x, a @ x, b @ a @ x, c @ b @ a @ x]
        backward = [(c @ b @ a).T @ error, (c @ b).T @ error, c.T @ error, error]
        weight = [torch.outer(backward[layer + 1], forward[layer]) for layer in range(3)]
        for ours, true in [(signals.forward, forward), (signals.backward, backward), (signals.weight, weight)]:
            torch.testing.assert_close(ours[m], torch.stack([t.square().sum() for t in true]), rtol=1e-12, atol=0)


def test_ends_are_the_given_input_and_error(chain):
    _, x, error = chain
    signals = chain_signals(*chain)
    torch.testing.assert_close(signals.forward[:, 0], x.dot(x).expand(5))
    torch.testing.assert_close(signals.backward[:, -1], error.dot(error).expand(5))


def test_each_network_is_measured_alone(chain):
    weights, x, error = chain
    alone = chain_signals([w[2:3] for w in weights], x, error)
    torch.testing.assert_close(chain_signals(*chain).weight[2], alone.weight[0])


def test_measuring_leaves_the_weights_alone(chain):
    weights, x, error = chain
    before = [w.clone() for w in weights]
    chain_signals(weights, x, error)
    assert all(torch.equal(a, b) for a, b in zip(before, weights, strict=True))
    assert not any(t.requires_grad or t.grad is not None for t in (*weights, x, error))


def test_results_hold_no_graph_even_for_weights_that_train(chain):
    weights, x, error = chain
    signals = chain_signals([w.requires_grad_() for w in weights], x, error)
    assert not any(t.requires_grad for t in (signals.forward, signals.backward, signals.weight))
    assert all(w.grad is None for w in weights)


@pytest.mark.parametrize(("inputs", "outputs"), [(4, 5), (3, 2)])
def test_input_and_error_must_fit_the_chain(chain, inputs, outputs):
    with pytest.raises(ValueError, match=rf"x has {inputs} .* error {outputs}; the chain takes 3 inputs and has 5"):
        chain_signals(chain[0], torch.ones(inputs).double(), torch.ones(outputs).double())
