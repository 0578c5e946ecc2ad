"""What every public function of the theory owes its reader."""

import inspect

import pytest

from signalprop import theory

FUNCTIONS = [name for name in theory.__all__ if inspect.isfunction(getattr(theory, name))]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_it_has_an_example_that_is_run(name):
    assert ">>>" in inspect.getdoc(getattr(theory, name))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_it_says_what_it_raises(name):
    refuses_nothing = {
        *("chain_gradient", "free_product", "leaky_relu", "linear_chain_gradients", "tied_gradient"),
        *("batch_norm_gradient_square", "rescaled_rate", "scale_invariant_square"),
        *("adam_path", "design_resolution", "factorial_columns", "factorial_response", "sign_step_increase"),
        *("identity_kernel", "path_sums", "plain_weight", "unrolled_trunk", "weight_layers"),
    }
    text = inspect.getdoc(getattr(theory, name))
    assert name in refuses_nothing or "Raises" in text or "arguments as `" in text
