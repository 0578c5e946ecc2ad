"""What all networks are made of: weight layers without weights yet, activations by name, chains of modules."""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from signalprop.nets.initializers import initialize_
from signalprop.theory import ACTIVATIONS

Act = str | Callable[[Tensor], Tensor]
Normalizer = Callable[[int], nn.Module] | None


class Elementwise(nn.Module):
    """A module that applies an activation to every entry.

    Parameters
    ----------
    act
        A registered name, such as ``"relu"`` (see `signalprop.theory.activation`), or any function ``Tensor -> Tensor``
        of single entries.

    Raises
    ------
    ValueError
        If no activation has that name.

    Examples
    --------
    >>> Elementwise(torch.tanh), Elementwise("gelu")
    (Elementwise(tanh), Elementwise(gelu))
    """

    def __init__(self, act: Act) -> None:
        super().__init__()
        if isinstance(act, str):
            if act not in ACTIVATIONS:
                raise ValueError(f"unknown activation {act!r}; known: {', '.join(ACTIVATIONS)}")
            self.name, self.act = act, ACTIVATIONS[act].function
        else:
            self.name, self.act = getattr(act, "__name__", repr(act)), act

    def forward(self, z: Tensor) -> Tensor:
        """Return the activation of each entry, shape [...] as `z`."""
        return self.act(z)

    def extra_repr(self) -> str:
        """Return the name of the activation."""
        return self.name


class GlobalAverage(nn.Module):
    """The mean of each channel over the whole map."""

    def forward(self, x: Float[Tensor, "*batch channels height width"]) -> Float[Tensor, "*batch channels"]:
        """Return the means, one a channel."""
        return x.mean((-2, -1))


class Chain(nn.Sequential):
    """Modules one after the other, by name; those that are None are left out.

    Examples
    --------
    >>> Chain(layer1=nn.Linear(2, 3), norm1=None, act1=Elementwise("tanh"))
    Chain(
      (layer1): Linear(in_features=2, out_features=3, bias=True)
      (act1): Elementwise(tanh)
    )
    """

    def __init__(self, **modules: nn.Module | None) -> None:
        super().__init__()
        self.append_named(**modules)

    def append_named(self, **modules: nn.Module | None) -> None:
        """Add modules at the end."""
        for name, module in modules.items():
            if module is not None:
                self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the last module makes of what the others make of `x`."""
        for module in self:
            x = module(x)
        return x


class VectorNetwork(Chain):
    """A chain that takes vectors [..., inputs], and says so when it gets something else."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.inputs = inputs

    def forward(self, x: Float[Tensor, "*vector"]) -> Float[Tensor, "*batch outputs"]:
        """Return the outputs, [..., outputs]."""
        if x.shape[-1:] != (self.inputs,):
            raise ValueError(f"{type(self).__name__} takes inputs of shapes [..., {self.inputs}], got {list(x.shape)}")
        return super().forward(x)


class ImageNetwork(Chain):
    """A chain that takes images [batch, channels, height, width], and says so when it gets something else."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def append_classifier(self, name: str, features: int, outputs: int, dtype: torch.dtype | None) -> None:
        """End with the mean over the map and a linear layer of this name."""
        self.append_named(**{"pool": GlobalAverage(), name: linear(features, outputs, bias=True, dtype=dtype)})

    def forward(self, x: Float[Tensor, "*image"]) -> Float[Tensor, "*batch outputs"]:
        """Return the outputs, [batch, outputs]."""
        if x.ndim not in (3, 4) or x.shape[-3] != self.channels:
            raise ValueError(
                f"{type(self).__name__} takes images [batch, {self.channels}, height, width], got shape {list(x.shape)}"
            )
        return super().forward(x)


def linear(fan_in: int, fan_out: int, *, bias: bool, dtype: torch.dtype | None) -> nn.Linear:
    """Return a linear layer on the CPU whose weights are still to be drawn."""
    # skip_init: the default initialization would draw from the global generator
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, fan_in, fan_out, bias=bias, device="cpu", dtype=dtype)
    return layer


def convolution(
    fan_in: int,
    fan_out: int,
    *,
    kernel: int,
    stride: int,
    bias: bool,
    dtype: torch.dtype | None,
    groups: int = 1,
    padding_mode: str = "zeros",
) -> nn.Conv2d:
    """Return a convolution on the CPU whose weights are still to be drawn; with stride 1 it keeps the size of a map."""
    layer: nn.Conv2d = nn.utils.skip_init(
        nn.Conv2d,
        fan_in,
        fan_out,
        kernel,
        stride=stride,
        padding=kernel // 2,
        groups=groups,
        bias=bias,
        padding_mode=padding_mode,
        device="cpu",
        dtype=dtype,
    )
    return layer


def normalized(normalizer: Normalizer, features: int) -> nn.Module | None:
    """Return the normalizer of so many features, or None where there is none."""
    return None if normalizer is None else normalizer(features)


def stages_of(width: int, stages: int, per_stage: int) -> Iterator[tuple[int, int, int]]:
    """Yield channels in, channels out and stride of each layer or block: twice the channels on half the map.

    Examples
    --------
    >>> list(stages_of(16, stages=3, per_stage=2))
    [(16, 16, 1), (16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1)]
    """
    for stage in range(stages):
        out = width * 2**stage
        for place in range(per_stage):
            first = stage > 0 and place == 0
            yield (out // 2 if first else out), out, (2 if first else 1)


def whole_number(depth: int, end_layers: int, unit: int, rule: str) -> int:
    """Return n ≥ 1 with depth = unit · n + end layers, or say which depths there are."""
    n, rest = divmod(depth - end_layers, unit)
    if rest or n < 1:
        possible = ", ".join(str(unit * n + end_layers) for n in (1, 2, 3))
        raise ValueError(f"depth must be {rule} with n ≥ 1 ({possible}, …), got {depth}")
    return n


def check_positive(**numbers: int) -> None:
    """Raise a ValueError that names the first number below 1."""
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")


def finish_(
    net: nn.Module,
    *,
    scheme: str,
    gain: float | None,
    generator: Generator,
    device: torch.device | str,
    dtype: torch.dtype | None,
) -> None:
    """Draw the weights on the CPU and move the network to its device, so that it starts alike on each."""
    initialize_(net, scheme, gain=gain, generator=generator)
    net.to(device=device, dtype=dtype)
