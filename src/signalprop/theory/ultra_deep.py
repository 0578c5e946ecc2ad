r"""Networks of thousands of layers on the edge of chaos: what adds up over the layers.

References
----------
J. Pennington, S. Schoenholz, S. Ganguli, *The emergence of spectral universality in deep networks*, arXiv:1802.09979,
on lengths that shrink as 1/√L; derived on the page on ultra-deep training.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from signalprop.theory.activations import ActivationLike, activation
from signalprop.theory.gaussian import gaussian_expectation
from signalprop.theory.mean_field import chi1, second_moment, slope_second_moment


def linear_share(act: ActivationLike, q: float | Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    r"""Return the part of a layer's output that is linear in its input, :math:`(E u\varphi(u))^2/(q\,E\varphi(u)^2)`.

    u is N(0, q). It is the squared correlation of φ(u) with u, what the best straight line explains; in a wide network
    the shares of the layers multiply. For tanh it is :math:`1 - \tfrac23 q^2` at small q.

    Parameters
    ----------
    act, q
        As `second_moment`; q positive.

    Raises
    ------
    ValueError
        As `second_moment`.

    Examples
    --------
    >>> f"{(1 - linear_share('tanh', 0.01)) / (2 / 3 * 0.01**2):.3f}"
    '0.943'
    """
    phi = activation(act)
    variance = torch.as_tensor(q, dtype=torch.float64)
    product = gaussian_expectation(lambda u: u * phi.function(u), variance, phi.kinks)
    return product**2 / (variance * second_moment(act, variance))


def squared_gradient_sum(
    act: ActivationLike, q: float | Float[Tensor, "..."], sigma_w2: float | Float[Tensor, "..."], depth: int
) -> Float[Tensor, "..."]:
    r"""Return :math:`E\varphi'^2 \sum_{l=1}^{L} \chi_1^{L-l}`: squared gradients in all z_l, that in h_L being 1.

    Times ‖h‖², it is the sum of squared gradients of all weights, by which a function falls in a step of gradient
    descent on itself, per unit of learning rate.

    Parameters
    ----------
    act, q, sigma_w2
        As `chi1`, of a network whose layers all have this q.
    depth
        L.

    Raises
    ------
    ValueError
        As `chi1`.

    Examples
    --------
    On the edge of chaos every layer does the same:

    >>> f"{squared_gradient_sum('linear', 0.1, 1.0, 500):.1f}"
    '500.0'
    """
    growth = chi1(act, q, sigma_w2)
    powers = growth[..., None] ** torch.arange(depth, dtype=torch.float64)
    return slope_second_moment(act, q) * powers.sum(-1)
