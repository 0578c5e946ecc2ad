"""How far a map is from a linear one."""

import torch
from jaxtyping import Float
from torch import Tensor


def nonlinear_share(
    x: Float[Tensor, "*networks examples n"], y: Float[Tensor, "*networks examples m"]
) -> Float[Tensor, "*networks"]:
    r"""Return the part of y's mean square that no linear map of x explains, one number for each network.

    That is the residual of least squares without intercept, over the mean square; times N/(N − n), for the n
    coefficients that are fitted to N examples.

    Parameters
    ----------
    x, y
        Inputs and outputs of networks, N examples each, more than n.

    Raises
    ------
    ValueError
        If there are not more examples than inputs.

    Examples
    --------
    The part of :math:`z^3`, z standard normal, is :math:`1 - 3^2/15`:

    >>> z = torch.randn(100_000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> bool(abs(nonlinear_share(z, z**3) - 0.4) < 0.01)
    True
    """
    examples, inputs = x.shape[-2:]
    if examples <= inputs:
        raise ValueError(f"{examples} examples do not determine a linear map of {inputs} inputs; pass more examples")
    rest = y - x @ torch.linalg.lstsq(x, y).solution
    share: Tensor = rest.square().mean((-2, -1)) / y.square().mean((-2, -1))
    return share * (examples / (examples - inputs))
