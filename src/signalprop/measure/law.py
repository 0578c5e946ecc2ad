"""Random networks in law, without their weights: signals and errors as they are at a finite width, in O(n) a layer."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from signalprop.measure.layer_law import LayerLaw, Normal, draw_layer, error_factor
from signalprop.theory.activations import Activation, ActivationLike, activation
from signalprop.theory.finite_width import check_widths

OutputError = Tensor | Callable[[Tensor], Tensor] | str


@dataclass(frozen=True)
class LawSample:
    r"""Inner products along R random networks of depth L, for every pair of B inputs; all float64.

    Attributes
    ----------
    signal
        :math:`\langle z_{l,a}, z_{l,b} \rangle / n_l` of the pre-activations for l = 1, …, L, shape [R, L, B, B].
    error
        :math:`\langle g_{l,a}, g_{l,b} \rangle` of the errors :math:`g_{l,a} = ∂F/∂z_{l,a}`, shape [R, L, B, B]; None,
        as `weight` and what follows from the two, if no error was sent back.
    weight
        :math:`\langle ∂F_a/∂W_l, ∂F_b/∂W_l \rangle` of what each input contributes to the gradient,
        :math:`∂F_a/∂W_l = g_{l,a} h_{l-1,a}^\top`, shape [R, L, B, B].
    """

    signal: Float[Tensor, "networks depth inputs inputs"]
    error: Float[Tensor, "networks depth inputs inputs"] | None
    weight: Float[Tensor, "networks depth inputs inputs"] | None

    @property
    def second_moment(self) -> Float[Tensor, "networks depth inputs"]:
        """The second moments q = ‖z_l‖²/n_l of each input."""
        return self.signal.diagonal(dim1=-2, dim2=-1)

    @property
    def correlation(self) -> Float[Tensor, "networks depth inputs inputs"]:
        """Cosines c of the pre-activations of two inputs; NaN where one of them is zero."""
        norm = self.second_moment.sqrt()
        return (self.signal / norm[..., None] / norm[..., None, :]).clamp(-1, 1)

    @property
    def error_square(self) -> Float[Tensor, "networks depth inputs"] | None:
        """‖g_l‖² of each input."""
        return None if self.error is None else self.error.diagonal(dim1=-2, dim2=-1)

    @property
    def weight_square(self) -> Float[Tensor, "networks depth"] | None:
        """‖∂F/∂W_l‖² (Frobenius) of F, the sum over the inputs; the diagonal of `weight` has those of single inputs."""
        return None if self.weight is None else self.weight.sum((-2, -1))


def sample_law(
    widths: Sequence[int],
    act: ActivationLike,
    *,
    x: Float[Tensor, "inputs _features"],
    sigma_w2: float | Sequence[float],
    sigma_b2: float | Sequence[float] = 0.0,
    replicates: int,
    generator: Generator,
    output_error: OutputError | None = None,
    dtype: torch.dtype | None = None,
) -> LawSample:
    r"""Draw forward and backward statistics of R random networks, with the joint law that explicit weights give them.

    The networks are :math:`z_l = W_l h_{l-1} + b_l`, :math:`h_l = φ(z_l)`, :math:`h_0 = x`, with independent weights
    :math:`N(0, σ_w^2/n_{l-1})` and biases :math:`N(0, σ_b^2)`; no activation follows z_L. All inputs pass the same
    network. Widths need not be large: `signalprop.measure.layer_law` says why. Time is O(R L n B²); until an error is
    back, R L n B numbers are held.

    Parameters
    ----------
    widths
        n_0, …, n_L.
    act
        φ: a registered name or any elementwise function ``Tensor -> Tensor``; see `signalprop.theory.activation`.
    x
        B inputs, shape [B, n_0]. Everything is computed, and returned, on its device.
    sigma_w2, sigma_b2
        σ_w² and σ_b²: one number, or one for each layer.
    replicates
        R, the number of independent networks.
    generator
        Draws all random numbers, on its own device, from where they are moved to that of `x`.
    output_error
        :math:`g_L`: a tensor [B, n_L], the same for all networks; ``"normal"``, independent standard normal numbers for
        each network and input; or a function that makes it of z_L, [R, B, n_L], such as the derivative of a loss. None
        sends nothing back.
    dtype
        Precision of the random numbers and of the computation, float32 or float64; None for that of `x`. float32
        is about four times faster, and its cosines are right to about 1e-7.

    Raises
    ------
    ValueError
        If there are fewer than two widths or one, a variance or R is out of its range; if x or the error does not fit
        the widths, is not finite or is elsewhere; if a signal or an error grows or vanishes beyond the floating-point
        range; or as `signalprop.theory.activation` does.

    Examples
    --------
    >>> from signalprop import stream
    >>> x = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0]])
    >>> source = stream("doc", "law")
    >>> sample = sample_law(
    ...     [4, 100_000, 5], "relu", x=x, sigma_w2=2.0, replicates=4, generator=source, output_error="normal"
    ... )
    >>> sample.second_moment.shape, sample.weight_square.shape
    (torch.Size([4, 2, 2]), torch.Size([4, 2]))
    >>> sample.second_moment[:, 0].mean(0).round(decimals=1)  # σ_w² ‖x‖² / n_0
    tensor([0.5000, 2.0000], dtype=torch.float64)
    """
    check_widths(widths)
    dtype = x.dtype if dtype is None else dtype
    _check(x, widths[0], replicates, dtype)
    weight_variances = _per_layer("sigma_w2", sigma_w2, len(widths) - 1)
    bias_variances = _per_layer("sigma_b2", sigma_b2, len(widths) - 1)
    if min(weight_variances) <= 0:
        raise ValueError(f"sigma_w2 must be positive, got {sigma_w2}")
    phi = activation(act)

    def normal(rows: int, columns: int) -> Tensor:
        shape = (replicates, rows, columns)
        return torch.randn(shape, generator=generator, dtype=dtype, device=generator.device).to(x.device)

    x = x.detach().to(dtype)
    # equal inputs pass as one, or chaos would amplify a difference in the last bit until they part
    first = torch.stack([(x == row).all(1).int().argmax() for row in x])
    distinct, which = first.unique(return_inverse=True)
    h = x[distinct].expand(replicates, -1, -1)
    layers: list[LayerLaw] = []
    signals: list[Tensor] = []
    received: list[Tensor] = []
    for fan_out, weight_variance, bias_variance in zip(widths[1:], weight_variances, bias_variances, strict=True):
        if signals:
            h = phi.function(layers[-1].output())
        layer = draw_layer(h, fan_out, weight_variance, bias_variance, normal)
        signals.append(layer.output_gram()[:, which[:, None], which] / fan_out)
        received.append(_gram(h)[:, which[:, None], which])
        if output_error is None:
            layers.clear()  # only the way back needs them all
        layers.append(layer)
    signal = _stacked(signals, "signal", dtype)
    if output_error is None:
        return LawSample(signal, None, None)
    start = _output_error(output_error, layers[-1].output(which), normal)
    error = _stacked(_errors(start, layers, phi, which, normal), "error", torch.float64)
    weight = [error[:, number] * gram for number, gram in enumerate(received)]
    return LawSample(signal, error, _stacked(weight, "weight gradient", torch.float64))


def _errors(error: Tensor, layers: Sequence[LayerLaw], phi: Activation, which: Tensor, normal: Normal) -> list[Tensor]:
    """Send the output errors back to z_1 and return their inner products on the way, in the order of the layers.

    Error number b belongs to the input number which[b] of the layers.
    """
    norm = torch.ones_like(error[..., 0], dtype=torch.float64)  # by which the errors of each input were divided
    grams = []
    for layer, before in zip(layers[:0:-1], layers[-2::-1], strict=True):
        factor = error_factor(error)
        grams.append(norm[..., None] * _gram(factor.double()) * norm[..., None, :])
        # to norm 1 at every layer, or the errors of deep networks leave the range of float32
        size = torch.linalg.vector_norm(factor, dim=-1, keepdim=True)
        size.masked_fill_(size == 0, 1)
        norm *= size[..., 0]
        z = before.output()
        error = layer.pull_back(error.div_(size), factor / size, phi.function(z), normal)[..., : z.shape[-1]]
        error = error.mul_(phi.slope(z[:, which]))
    grams.append(norm[..., None] * _gram(error) * norm[..., None, :])
    return grams[::-1]


def _gram(rows: Tensor) -> Tensor:
    return (rows @ rows.mT).double()


def _stacked(grams: Sequence[Tensor], what: str, dtype: torch.dtype) -> Tensor:
    """Return them as [R, L, B, B]; raise a `ValueError` if squares came near the ends of the range of `dtype`."""
    stacked = torch.stack(list(grams), 1)
    squares, range_ = stacked.diagonal(dim1=-2, dim2=-1), torch.finfo(dtype)
    lost = ~squares.isfinite() | (squares > range_.max) | ((squares > 0) & (squares < range_.tiny / range_.eps))
    if lost.any():
        _, layer, _ = lost.nonzero()[lost.nonzero()[:, 1].argmin()].tolist()
        hint = "" if dtype == torch.float64 else ", or compute with dtype=torch.float64"
        raise ValueError(
            f"the {what} of layer {layer + 1} leaves the range of {dtype}: take fewer layers or other variances{hint}"
        )
    return stacked


def _check(x: Tensor, features: int, replicates: int, dtype: torch.dtype) -> None:
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"the law is computed in torch.float32 or torch.float64, not in {dtype}; give one as dtype=")
    if replicates < 1:
        raise ValueError(f"replicates must be at least 1, got {replicates}")
    if x.ndim != 2 or x.shape[1] != features or len(x) == 0:
        raise ValueError(f"x has shape {list(x.shape)}; it must be [B, {features}], a row for each of B >= 1 inputs")
    if not x.isfinite().all():
        raise ValueError("x holds NaN or infinity")


def _per_layer(name: str, variance: float | Sequence[float], depth: int) -> list[float]:
    values = [variance] * depth if isinstance(variance, int | float) else list(variance)
    if len(values) != depth:
        raise ValueError(f"{name} has {len(values)} entries for {depth} layers; give one number, or one for each layer")
    if not all(0 <= value < math.inf for value in values):
        raise ValueError(f"{name} must be finite and not negative, got {variance}")
    return values


def _output_error(output_error: OutputError, z: Tensor, normal: Normal) -> Tensor:
    if isinstance(output_error, str):
        if output_error != "normal":
            raise ValueError(f"unknown output_error {output_error!r}; give 'normal', a tensor or a function of z_L")
        return normal(z.shape[1], z.shape[2])
    error = output_error if isinstance(output_error, Tensor) else output_error(z)
    expected = z.shape[1:] if isinstance(output_error, Tensor) else z.shape
    if not isinstance(error, Tensor) or error.shape != expected or error.device != z.device:
        found = f"{list(error.shape)} on {error.device}" if isinstance(error, Tensor) else type(error).__name__
        raise ValueError(f"the output error is {found}; it must be {list(expected)} on {z.device}")
    if not error.isfinite().all():
        raise ValueError("the output error holds NaN or infinity")
    return error.detach().to(z.dtype).expand_as(z).clone()
