"""Weight and spectral normalization: parametrizations of the weights, in place of the signal.

References
----------
T. Salimans, D. Kingma, *Weight normalization*, arXiv:1602.07868; T. Miyato, T. Kataoka, M. Koyama, Y. Yoshida,
*Spectral normalization for generative adversarial networks*, arXiv:1802.05957.
"""

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrize import register_parametrization

from signalprop.nets.weight_layers import weight_layers


class WeightNorm(nn.Module):
    """The parametrization w = g v/‖v‖ of each unit's weights: a length g and a direction v.

    Examples
    --------
    >>> g, v = torch.tensor([[10.0]]), torch.tensor([[3.0, 4.0]])
    >>> WeightNorm()(g, v)
    tensor([[6., 8.]])
    """

    def forward(self, g: Float[Tensor, "out *ones"], v: Float[Tensor, "out *rest"]) -> Float[Tensor, "out *rest"]:
        """Return the weights, of the shape of v."""
        return g * v / _lengths(v)

    def right_inverse(self, weight: Float[Tensor, "out *rest"]) -> tuple[Tensor, Tensor]:
        """Return lengths and directions with these weights: v is the weights themselves."""
        lengths = _lengths(weight)
        if not bool((lengths > 0).all()):
            raise ValueError("weight normalization needs weights with a direction, and a unit's are all zero or NaN")
        return lengths, weight


class SpectralNorm(nn.Module):
    r"""The parametrization W/σ of a matrix [out, the rest], with σ its largest singular value as far as it is known.

    σ = uᵀWv, where u and v are kept from call to call. In train mode each use of the weights improves them by power
    iterations, v → u ∝ Wv → v ∝ Wᵀu, so that they follow a W that changes slowly; gradients take them as constants. In
    eval mode they stay.

    Parameters
    ----------
    start
        The v that iterations start from, [fan-in], such as a Gaussian vector.
    iterations
        How many there are at each use in train mode.
    start_iterations
        How many there are when weights are set.
    eps
        Smallest length that u and v are divided by.

    Raises
    ------
    ValueError
        If an iteration count is below 1 or ε negative; when weights are set, if they are zero or not finite.
    """

    start: Tensor
    u: Tensor
    v: Tensor

    def __init__(self, start: Float[Tensor, " fan_in"], *, iterations: int, start_iterations: int, eps: float) -> None:
        super().__init__()
        if min(iterations, start_iterations) < 1 or eps < 0:
            raise ValueError(
                "iterations and start_iterations must be at least 1 and eps not negative,"
                f" got {iterations}, {start_iterations} and {eps:g}"
            )
        self.iterations, self.start_iterations, self.eps = iterations, start_iterations, eps
        self.register_buffer("start", start)
        self.register_buffer("u", start[:0])
        self.register_buffer("v", start.clone())

    def forward(self, weight: Float[Tensor, "out *rest"]) -> Float[Tensor, "out *rest"]:
        """Return the weights over σ."""
        matrix = weight.flatten(1)
        if self.training:
            self._iterate(matrix, self.iterations)
        return weight / torch.dot(self.u, torch.mv(matrix, self.v))

    def right_inverse(self, weight: Float[Tensor, "out *rest"]) -> Tensor:
        """Take weights, and find σ anew from the start vector."""
        if not bool(weight.isfinite().all()) or not bool(weight.any()):
            raise ValueError(
                "spectral normalization divides by the largest singular value, and the weights are zero or"
                " not finite; initialize them first"
            )
        self.v = self.start.clone()
        self._iterate(weight.flatten(1), self.start_iterations)
        return weight

    @torch.no_grad()
    def _iterate(self, matrix: Tensor, iterations: int) -> None:
        for _ in range(iterations):
            # new tensors: the graph of an earlier call holds the old ones
            self.u = functional.normalize(torch.mv(matrix, self.v), dim=0, eps=self.eps)
            self.v = functional.normalize(torch.mv(matrix.T, self.u), dim=0, eps=self.eps)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"iterations={self.iterations}, start_iterations={self.start_iterations}, eps={self.eps:g}"


def weight_norm_(module: nn.Module) -> None:
    """Put every weight of a module's linear and convolutional layers under weight normalization, unchanged at first.

    Raises
    ------
    ValueError
        If there is no such layer or another kind of weight matrix, or a unit's weights are all zero.

    Examples
    --------
    >>> layer = nn.Linear(3, 2)
    >>> weight_norm_(layer)
    >>> [(name.split(".")[-1], tuple(p.shape)) for name, p in layer.named_parameters()]
    [('bias', (2,)), ('original0', (2, 1)), ('original1', (2, 3))]
    """
    for layer in weight_layers(module).values():
        register_parametrization(layer, "weight", WeightNorm())


def spectral_norm_(
    module: nn.Module, *, iterations: int, start_iterations: int, eps: float, generator: Generator
) -> None:
    """Put every weight of a module's linear and convolutional layers under spectral normalization.

    A convolution's weight counts as the matrix [out, in · taps], whose norm is not that of the convolution.

    Parameters
    ----------
    module
        A network whose weights are drawn.
    iterations, start_iterations, eps
        As in `SpectralNorm`; `torch.nn.utils.parametrizations.spectral_norm` has 1, 15 and 1e-12.
    generator
        Where the start vectors come from.

    Raises
    ------
    ValueError
        If there is no such layer or another kind of weight matrix, or as `SpectralNorm` does.

    Examples
    --------
    >>> from signalprop import stream
    >>> layer = nn.Linear(3, 2)
    >>> settings = {"iterations": 1, "start_iterations": 50, "eps": 1e-12}
    >>> spectral_norm_(layer, **settings, generator=stream("doc", "spectral"))
    >>> f"{torch.linalg.matrix_norm(layer.weight, 2).item():.4f}"
    '1.0000'
    """
    for layer in weight_layers(module).values():
        matrix = layer.weight.flatten(1)
        start = torch.randn(matrix.shape[1], generator=generator, dtype=matrix.dtype, device=generator.device)
        norm = SpectralNorm(start.to(matrix.device), iterations=iterations, start_iterations=start_iterations, eps=eps)
        register_parametrization(layer, "weight", norm)


def _lengths(v: Tensor) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(v.flatten(1), dim=1)
    return lengths.view(-1, *[1] * (v.ndim - 1))
