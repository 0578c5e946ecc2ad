r"""Initializers: one function that fills the weights of a network in place, by the name of a scheme.

Every weight is a gain g times a draw of unit gain. In the dense schemes it is :math:`N(0, g^2/\mathrm{fan})`, and they
differ in what they count:

====================  ==============================================  ========================================
scheme                fan                                             preserved at g = 1 by a linear network
====================  ==============================================  ========================================
``lecun``             fan-in                                          the signal
``kaiming``           fan-in, and g = √2 unless given                 the signal, with ReLU at √2
``kaiming_fan_out``   fan-out, and g = √2 unless given                the gradient, with ReLU at √2
``xavier``            (fan-in + fan-out)/2                            neither, unless the fans are equal
``geometric_mean``    √(fan-in · fan-out)                             gradient²/weight², alike in all layers
====================  ==============================================  ========================================

``zero``, ``constant`` (every weight is g) and ``normal`` (N(0, g²), g the σ of every layer) count nothing, and
``sparse`` gives a unit N(0, g²) weights for some of its inputs. The others have files of their own: `orthogonal`,
`looks_linear`, `data_dependent` (LSUV) and `residual_schemes` (Fixup, SkipInit, ReZero, 1/√L).

References
----------
Y. LeCun, L. Bottou, G. Orr, K.-R. Müller, *Efficient BackProp*, 1998; X. Glorot, Y. Bengio, *Understanding the
difficulty of training deep feedforward neural networks*, 2010 (with uniform weights of this variance); K. He, X. Zhang,
S. Ren, J. Sun, *Delving deep into rectifiers*, arXiv:1502.01852; A. Defazio, L. Bottou, arXiv:1906.04267.
"""

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Generator, nn

from signalprop.nets.data_dependent import lsuv_
from signalprop.nets.looks_linear import looks_linear_
from signalprop.nets.orthogonal import delta_orthogonal_, orthogonal_
from signalprop.nets.residual_schemes import branch_scale_, fixup_, zero_scale_
from signalprop.nets.weight_layers import WeightLayer, fans, fill_, gaussian, weight_layers, weight_shape

_HE = math.sqrt(2)


def initialize_(
    module: nn.Module, scheme: str, *, generator: Generator, gain: float | None = None, **options: Any
) -> None:
    r"""Draw the weights of every linear and convolutional layer, and set their biases to zero.

    Nothing else changes, parameters of normalizers included; only Fixup, SkipInit, ReZero and ``branch_scale`` set the
    scales of residual branches.

    Parameters
    ----------
    module
        Any module; its `torch.nn.Linear`, `Conv1d` and `Conv2d` layers are filled, in the order of `named_modules`.
    scheme
        ``zero``, ``constant``, ``normal``, ``sparse``, ``lecun``, ``xavier``, ``kaiming``, ``kaiming_fan_out``,
        ``geometric_mean``, ``orthogonal``, ``delta_orthogonal``, ``looks_linear``, ``lsuv``, ``fixup``, ``skipinit``,
        ``rezero`` or ``branch_scale``.
    generator
        Where the numbers come from, such as ``stream(page, claim, replicate)``. They are drawn on its device and then
        moved, so that a CPU and a GPU start alike.
    gain
        σ_w, a standard deviation; for ``lsuv`` that of every layer's output. Unless given it is √2, the gain of ReLU,
        for the schemes that are He's (``kaiming``, ``kaiming_fan_out`` and those for residual networks), 1 for the
        others; ``constant`` and ``normal`` have no usual one. Exact gains of other activations come from
        `signalprop.theory.gain`.
    options
        ``sparse``: ``nonzero`` (see `sparse_`). ``fixup``: ``fan`` (see `fixup_`). ``lsuv``: ``x``, ``tolerance``,
        ``max_iterations`` (see `lsuv_`).

    Raises
    ------
    ValueError
        If the scheme or an option is unknown or missing, the gain not positive and finite, there is no layer to fill or
        a weight matrix of another kind of layer, or the scheme does not fit the network. Nothing is changed then,
        except by ``lsuv``.

    Examples
    --------
    >>> from signalprop import stream
    >>> layer = nn.Linear(400, 300)
    >>> initialize_(layer, "lecun", generator=stream("doc", "lecun"), gain=2.0)
    >>> bool(abs(layer.weight.var() * 400 - 4) < 0.2), bool((layer.bias == 0).all())
    (True, True)
    """
    if scheme not in _SCHEMES:
        raise ValueError(f"there is no scheme {scheme!r}; known: {', '.join(_SCHEMES)}")
    fill, usual = _SCHEMES[scheme]
    gain = usual if gain is None else gain
    if gain is None:
        raise ValueError(f"{scheme} has no usual gain; give gain=, the size of its weights")
    if not 0 < gain < math.inf:
        raise ValueError(f"gain must be positive and finite, got {gain:g}")
    _check_options(scheme, fill, options)
    fill(module, list(weight_layers(module).values()), gain, generator, **options)


def sparse_(
    network: nn.Module, layers: Sequence[WeightLayer], gain: float, generator: Generator, *, nonzero: int = 15
) -> None:
    r"""Give every unit N(0, gain²) weights for k of its inputs, drawn without replacement, and zeros for the others.

    The sum a unit takes then depends on k and not on the width; a layer multiplies second moments by k · gain². In a
    convolution an input is one tap of one channel.

    Parameters
    ----------
    network, layers, gain, generator
        As in `initialize_`.
    nonzero
        k. Sutskever et al. describe Martens' scheme with 15 inputs and unit Gaussians for logistic units; for tanh they
        take a quarter of the weights and biases of 0.5.

    Raises
    ------
    ValueError
        If k is below 1 or exceeds a layer's fan-in.

    Notes
    -----
    `torch.nn.init.sparse_` zeroes entries in the columns of a weight [out, in]: it limits how many units an input
    reaches, and leaves a unit with a random number of inputs.

    References
    ----------
    J. Martens, *Deep learning via Hessian-free optimization*, 2010; I. Sutskever, J. Martens, G. Dahl, G. Hinton, *On
    the importance of initialization and momentum in deep learning*, 2013, section 3.1.
    """
    if nonzero < 1:
        raise ValueError(f"nonzero must be at least 1, got {nonzero}")
    weights = {}
    for layer in layers:
        fan_in, _ = fans(layer)
        if nonzero > fan_in:
            raise ValueError(
                f"sparse connects a unit to {nonzero} inputs, and {layer} has {fan_in}; give a smaller nonzero="
            )
        dense = gaussian(layer, gain, generator).flatten(1)
        order = torch.rand(dense.shape, generator=generator, dtype=torch.float64, device=generator.device).argsort(1)
        weights[layer] = dense.masked_fill(order >= nonzero, 0).reshape(weight_shape(layer))
    fill_(weights)


def _zero_(network: nn.Module, layers: Sequence[WeightLayer], gain: float, generator: Generator) -> None:
    fill_({layer: torch.zeros(weight_shape(layer), device=generator.device) for layer in layers})


def _constant_(network: nn.Module, layers: Sequence[WeightLayer], gain: float, generator: Generator) -> None:
    ones = {layer: torch.ones(weight_shape(layer), dtype=torch.float64, device=generator.device) for layer in layers}
    fill_({layer: gain * one for layer, one in ones.items()})


def _dense(fan: Callable[[int, int], float]) -> Callable[..., None]:
    """Return the scheme of independent N(0, gain²/fan) weights."""

    def fill_dense_(network: nn.Module, layers: Sequence[WeightLayer], gain: float, generator: Generator) -> None:
        fill_({layer: gaussian(layer, gain / fan(*fans(layer)) ** 0.5, generator) for layer in layers})

    return fill_dense_


def _check_options(scheme: str, fill: Callable[..., None], options: dict[str, Any]) -> None:
    known = {
        name: parameter.default is parameter.empty
        for name, parameter in inspect.signature(fill).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    if unknown := [name for name in options if name not in known]:
        raise ValueError(f"{scheme} has no option {unknown[0]!r}; known: {', '.join(known) or 'none'}")
    if missing := [name for name, needed in known.items() if needed and name not in options]:
        raise ValueError(f"{scheme} needs {', '.join(f'{name}=' for name in missing)}")


_SCHEMES: dict[str, tuple[Callable[..., None], float | None]] = {
    "zero": (_zero_, 1.0),
    "constant": (_constant_, None),
    "normal": (_dense(lambda fan_in, fan_out: 1), None),
    "sparse": (sparse_, 1.0),
    "lecun": (_dense(lambda fan_in, fan_out: fan_in), 1.0),
    "xavier": (_dense(lambda fan_in, fan_out: (fan_in + fan_out) / 2), 1.0),
    "kaiming": (_dense(lambda fan_in, fan_out: fan_in), _HE),
    "kaiming_fan_out": (_dense(lambda fan_in, fan_out: fan_out), _HE),
    "geometric_mean": (_dense(lambda fan_in, fan_out: math.sqrt(fan_in * fan_out)), 1.0),
    "orthogonal": (orthogonal_, 1.0),
    "delta_orthogonal": (delta_orthogonal_, 1.0),
    "looks_linear": (looks_linear_, 1.0),
    "lsuv": (lsuv_, 1.0),
    "fixup": (fixup_, _HE),
    "skipinit": (zero_scale_, _HE),
    "rezero": (zero_scale_, _HE),
    "branch_scale": (branch_scale_, _HE),
}
