import pytest
import torch

from signalprop import stream
from signalprop.measure import chain_signals, weight_gradients
from signalprop.nets import random_linear_chain


def draw(widths, networks):
    """Networks of three layers, an input and an error."""
    weights = random_linear_chain(widths, 1.0, [stream("tests", "chain_signals", r) for r in range(networks)])
    x, error = (torch.linspace(-1.0, 2.0, n, dtype=torch.float64) for n in (widths[0], widths[-1]))
    return weights, x, error


@pytest.fixture
def chain():
    return draw([3, 3, 3, 3], networks=5)


def assert_dense_products_have_these_norms(chain):
    (first, second, third), x, error = chain
    signals = chain_signals(*chain)
    for m, (a, b, c) in enumerate(zip(first, second, third, strict=True)):
        forward = [x, a @ x, b @ a @ x, c @ b @ a @ x]
        backward = [(c @ b @ a).T @ error, (c @ b).T @ error, c.T @ error, error]
        weight = [torch.outer(backward[layer + 1], forward[layer]) for layer in range(3)]
        for ours, true in [(signals.forward, forward), (signals.backward, backward), (signals.weight, weight)]:
            torch.testing.assert_close(ours[m], torch.stack([t.square().sum() for t in true]), rtol=1e-12, atol=0)


def test_a_chain_small_enough_for_pencil_and_paper():
    """The signals are (1, 1), (3, 1), (6, 2), the errors (4, 6), (4, −2), (1, 2)."""
    weights = [torch.tensor([[[1.0, 2.0], [0.0, 1.0]]]), torch.tensor([[[2.0, 0.0], [1.0, -1.0]]])]
    signals = chain_signals(weights, torch.tensor([1.0, 1.0]), torch.tensor([1.0, 2.0]))
    assert signals.forward.tolist() == [[2, 10, 40]]
    assert signals.backward.tolist() == [[52, 20, 5]]
    assert signals.weight.tolist() == [[20 * 2, 5 * 10]]


def test_norms_are_those_of_dense_products(chain):
    assert_dense_products_have_these_norms(chain)


def test_norms_in_rectangular_chains_are_those_of_dense_products():
    """Ten of them: beartype looks at one layer of a list, drawn by chance."""
    for networks in range(1, 11):
        assert_dense_products_have_these_norms(draw([3, 4, 2, 5], networks))


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


@pytest.mark.parametrize(("inputs", "outputs"), [(4, 3), (3, 2)])
def test_input_and_error_must_fit_the_chain(chain, inputs, outputs):
    with pytest.raises(ValueError, match=rf"x has {inputs} .* error {outputs}; the chain takes 3 inputs and has 3"):
        chain_signals(chain[0], torch.ones(inputs).double(), torch.ones(outputs).double())


def assert_gradients_are_error_times_signal(chain):
    """Of ½‖CBAx − t‖², through dense products, for the first network."""
    weights, x, target = chain
    a, b, c = (w[0] for w in weights)
    error = c @ b @ a @ x - target
    by_hand = [torch.outer((c @ b).T @ error, x), torch.outer(c.T @ error, a @ x), torch.outer(error, b @ a @ x)]
    torch.testing.assert_close(weight_gradients([a, b, c], x, target), by_hand, rtol=1e-12, atol=1e-12)


def test_weight_gradients_are_error_times_signal(chain):
    assert_gradients_are_error_times_signal(chain)


def test_weight_gradients_in_rectangular_chains_are_error_times_signal():
    """Ten of them: beartype looks at one layer of a list, drawn by chance."""
    for outputs in range(6, 16):
        assert_gradients_are_error_times_signal(draw([3, 4, 2, outputs], networks=1))


@pytest.mark.parametrize("training", [False, True])
def test_weight_gradients_leave_the_weights_alone(chain, training):
    weights, x, target = chain
    layers = [w[0].clone().requires_grad_(training) for w in weights]
    gradients = weight_gradients(layers, x, target)
    assert all(layer.grad is None and layer.requires_grad == training for layer in layers)
    assert not any(g.requires_grad for g in gradients)
