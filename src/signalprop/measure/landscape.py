"""The loss around the present weights, along one or two directions."""

from collections.abc import Mapping, Sequence
from itertools import product

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.linalg import vector_norm

from signalprop.measure.checks import check_loss, trained_parameters
from signalprop.measure.displacement import LossOfModule, check_finite, displaced


def filter_normalized_direction(module: nn.Module, generator: Generator) -> dict[str, Tensor]:
    r"""Return a random direction among the weights of `module`, each filter of it as long as the module's own.

    Every trained parameter with two axes or more gets normal numbers, and then each row i of its first axis (the
    weights into one unit, or one filter) is scaled, :math:`d_i \leftarrow d_i\,\|w_i\|/\|d_i\|`; those with fewer axes
    (biases, scales of normalizers) get zeros (Li et al. 2018, arXiv:1712.09913, section 4). A filter of zeros gets
    zeros. A surface along such directions does not depend on the scale of filters that a normalizer divides out.

    Parameters
    ----------
    module
        Any module with trained parameters.
    generator
        Source of the numbers, which are drawn on the CPU.

    Returns
    -------
    dict
        From the name of each trained parameter to a tensor of its shape, type and device.

    Raises
    ------
    ValueError
        If no parameter is trained.

    Examples
    --------
    >>> from signalprop import stream
    >>> layer = nn.Linear(5, 2)
    >>> direction = filter_normalized_direction(layer, stream("doc", "direction"))
    >>> torch.allclose(direction["weight"].norm(dim=1), layer.weight.norm(dim=1)), direction["bias"].tolist()
    (True, [0.0, 0.0])
    """
    direction = {}
    for name, weight in trained_parameters(module).items():
        if weight.ndim < 2:
            direction[name] = torch.zeros_like(weight, requires_grad=False)
            continue
        drawn = torch.randn(weight.shape, generator=generator, dtype=weight.dtype, device="cpu").to(weight.device)
        axes = tuple(range(1, weight.ndim))
        lengths = [vector_norm(rows, dim=axes, keepdim=True) for rows in (weight.detach(), drawn)]
        direction[name] = drawn * (lengths[0] / lengths[1])
    return direction


def loss_surface(
    module: nn.Module,
    loss_fn: LossOfModule,
    directions: Sequence[Mapping[str, Tensor]],
    grid: Sequence[Float[Tensor, " _points"]],
) -> Tensor:
    r"""Return the loss at :math:`w + \sum_k a_k d_k` on a grid of coefficients a, around the present weights w.

    The module is left as it was, also after an exception, and random layers draw alike at every point. Modes are kept:
    in training mode batch normalization uses the batch; in evaluation mode its running statistics stay those of w.

    Parameters
    ----------
    module
        Any module with trained parameters.
    loss_fn
        Maps the module to a scalar loss, such as ``lambda net: cross_entropy(net(x), y)``.
    directions
        One or two directions, each from names of parameters to displacements, as from `filter_normalized_direction`.
    grid
        For each direction its coefficients.

    Returns
    -------
    Tensor
        Losses, shape [points] or [points, points], one axis a direction; float64 on the CPU. A loss that overflows away
        from w is inf or NaN.

    Raises
    ------
    ValueError
        If there are not one or two directions, or not as many lists of coefficients; if a direction does not fit the
        module; if the loss is not a scalar, or not finite at w.

    Examples
    --------
    >>> layer = nn.Linear(2, 1, bias=False)
    >>> _ = nn.init.ones_(layer.weight)
    >>> along = {"weight": torch.tensor([[1.0, 0.0]])}
    >>> loss_surface(layer, lambda net: net.weight.square().sum(), [along], [torch.tensor([-1.0, 0.0, 2.0])])
    tensor([ 1.,  2., 10.], dtype=torch.float64)
    """
    if len(directions) not in (1, 2) or len(grid) != len(directions):
        raise ValueError(
            f"there must be one or two directions and as many lists of coefficients; got {len(directions)} directions"
            f" and {len(grid)} lists"
        )
    check_finite(module, _loss_at(module, loss_fn, {}))
    losses = [
        _loss_at(module, loss_fn, _combined(directions, coefficients))
        for coefficients in product(*(axis.tolist() for axis in grid))
    ]
    return torch.tensor(losses, dtype=torch.float64, device="cpu").reshape([len(axis) for axis in grid])


def _loss_at(module: nn.Module, loss_fn: LossOfModule, displacement: Mapping[str, Tensor]) -> float:
    with displaced(module, displacement), torch.no_grad():
        return check_loss(loss_fn(module)).item()


def _combined(directions: Sequence[Mapping[str, Tensor]], coefficients: Sequence[float]) -> dict[str, Tensor]:
    """Return the sum of the directions times their coefficients; a name may be missing in one of them."""
    total: dict[str, Tensor] = {}
    for direction, coefficient in zip(directions, coefficients, strict=True):
        for name, step in direction.items():
            total[name] = total[name] + coefficient * step if name in total else coefficient * step
    return total
