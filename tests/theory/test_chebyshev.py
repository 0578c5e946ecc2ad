import pytest
import torch

from signalprop.theory.chebyshev import ChebyshevTable


def test_a_table_reproduces_functions_of_different_scales():
    def f(x):
        return torch.stack([torch.sin(5 * x), 1e-9 * torch.exp(x), 1 / (1 + 25 * x * x)], -1)

    table = ChebyshevTable(f, -7.0, 4.0, 1e-13)
    x = torch.linspace(-7, 4, 1000, dtype=torch.float64)
    torch.testing.assert_close(table(x)[:, 0], f(x)[:, 0], rtol=0, atol=1e-12)
    torch.testing.assert_close(table(x)[:, 1:], f(x)[:, 1:], rtol=1e-10, atol=1e-20)


def test_components_may_share_one_scale():
    table = ChebyshevTable(lambda x: torch.stack([x.cos(), 1e-14 * torch.randn(len(x))], -1), 0.0, 2.0, 1e-12, True)
    assert len(table.starts) == 1


def test_a_jump_is_refused():
    with pytest.raises(ValueError, match="not smooth between"):
        ChebyshevTable(lambda x: (x > 1.0)[:, None].to(x.dtype), 0.0, 3.0, 1e-12)
