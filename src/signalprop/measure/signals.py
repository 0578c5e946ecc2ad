"""What a network does to a signal on its way forward and to the gradient on its way back, layer by layer."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.linalg import vecdot, vector_norm
from torch.nn.modules import activation
from torch.nn.utils import parametrize

from signalprop.measure.checks import check_examples, check_loss, check_module, first_tensor
from signalprop.measure.hooks import innermost_calls
from signalprop.measure.reductions import Reduction
from signalprop.nets import Elementwise
from signalprop.streams import global_generators_kept

_NOT_ELEMENTWISE = {"MultiheadAttention", "GLU", "Softmax", "Softmin", "Softmax2d", "LogSoftmax"}
_ACTIVATIONS = (Elementwise, *(getattr(activation, name) for name in {*activation.__all__} - _NOT_ELEMENTWISE))


def signal_profile(
    module: nn.Module, x: Shaped[Tensor, "batch *shape"], loss_fn: Callable[[Any], Tensor]
) -> pd.DataFrame:
    r"""Run `module` forward and back once, and return one row for every innermost call, in the order of the calls.

    The module is left as it was: hooks are removed, also after an exception, no ``.grad`` is touched, buffers (such as
    running statistics) do not move, and random layers draw from a copy of the global generator. Modes are kept: in
    training mode dropout drops, and batch normalization uses the batch.

    Parameters
    ----------
    module
        Any module.
    x
        A batch of inputs, one example an entry of the first axis, which is also the first axis of every output.
    loss_fn
        Maps the module's output to a scalar loss.

    Returns
    -------
    DataFrame
        Indexed by the qualified name of the module (``layer1``, ``act1``, …; the second call of one module is
        ``act1 (2)``). Of an output that holds several tensors the first one counts. A unit is an entry of the output
        for one example. Float columns, NaN where they have no meaning:

        - ``mean``, ``second_moment``: of the outputs, over batch and units;
        - ``correlation``: the cosine :math:`h\cdot h'/\|h\|\|h'\|` of the outputs for two inputs, not centred, as in
          mean field theory. The pairs are examples 2k and 2k + 1, so that whoever chooses the batch chooses the
          angles; their mean is taken, without pairs of which one output is zero. NaN where there is no pair;
        - ``slope``: mean of :math:`\varphi'^2` over batch and units, for activations (`Elementwise`, and torch's own);
        - ``dead``: share of units of an activation with slope zero for every example, through which no gradient
          passes: those that are off for the whole batch for a ReLU, saturated for a hard tanh;
        - ``gradient``: mean of :math:`(\partial\,\mathrm{loss}/\partial\,\mathrm{output})^2`, over batch and units;
          NaN where the loss does not depend on the output;
        - ``weight``, ``weight_gradient``: mean square of the module's ``weight`` and of the loss's gradient with
          respect to it, all calls together, in the row of its first call, if it is not frozen;
        - ``gradient_to_weight``: root of their ratio, :math:`\mathrm{rms}(\partial\,\mathrm{loss}/\partial W) /
          \mathrm{rms}(W)`.

    Raises
    ------
    ValueError
        If the loss is not a scalar, or does not depend on what the module computed; if a parameter, a buffer or `x`
        is on another device or makes the loss NaN; if an innermost module returns no floating-point tensor.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(3, 3, bias=False), Elementwise(torch.tanh))
    >>> with torch.no_grad():
    ...     _ = net[0].weight.copy_(2 * torch.eye(3))
    >>> profile = signal_profile(net, torch.zeros(1, 3), loss_fn=torch.sum)
    >>> profile.loc["1", ["second_moment", "gradient", "slope"]].tolist()
    [0.0, 1.0, 1.0]
    """
    check_examples(x)
    record = _Record()
    # running statistics move on clones
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    run = partial(torch.func.functional_call, module, buffers) if buffers else module
    with torch.enable_grad(), global_generators_kept(x), parametrize.cached():
        try:
            with innermost_calls(module, record.after, record.before):
                start = _tracked(x) if x.is_floating_point() else x.clone()
                loss = check_loss(loss_fn(run(start)))
        except RuntimeError:
            check_module(module, x)
            raise
        if not math.isfinite(loss.item()):
            check_module(module, x)
        return record.table(loss)


class _Record:
    """What the hooks see, by the name of the call; it stays on the device until the end."""

    def __init__(self) -> None:
        self.shapes: dict[str, torch.Size] = {}
        self.edges: dict[str, GradientEdge] = {}  # of the outputs: where gradients arrive
        self.weights: dict[str, Tensor] = {}
        self.signals = Reduction(_signal_sums)
        self.slopes = Reduction(_slope_sums)
        self._entered: dict[nn.Module, GradientEdge] = {}
        self._weighed: set[nn.Module] = set()

    def before(self, layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Note where the input of an activation is in the graph: the activation may overwrite its values."""
        if not inputs or not isinstance(layer, _ACTIVATIONS):
            return None
        z = inputs[0] if inputs[0].requires_grad else _tracked(inputs[0])
        self._entered[layer] = get_gradient_edge(z)
        return (z, *inputs[1:])

    def after(self, name: str, layer: nn.Module, output: Any) -> Tensor | None:
        """Take what is needed of an output at once, before a later module may overwrite it."""
        h = first_tensor(output)
        if h is None:
            raise ValueError(f"{name} returned no floating-point tensor to measure, but a {type(output).__name__}")
        self.shapes[name] = h.shape
        self.signals.add(name, h.detach())
        if (entry := self._entered.pop(layer, None)) is not None and (slopes := _slopes(h, entry)) is not None:
            self.slopes.add(name, slopes)
        if layer not in self._weighed:
            self._weighed.add(layer)
            weight = getattr(layer, "weight", None)
            if isinstance(weight, Tensor) and weight.requires_grad:
                self.weights[name] = weight
        replaced = None
        if h is output and not h.requires_grad:
            h = replaced = _tracked(h)
        elif h is output and h._is_view():  # what is changed in place through a view leaves its place in the graph
            h = replaced = h.clone()
        if h.requires_grad:
            self.edges[name] = get_gradient_edge(h)
        return replaced

    def table(self, loss: Tensor) -> pd.DataFrame:
        """Send the loss back, and bring everything to the host."""
        targets: list[Any] = [*self.edges.values(), *self.weights.values()]
        found: Sequence[Tensor | None] = [None] * len(targets)
        if loss.requires_grad:
            found = torch.autograd.grad(loss, targets, allow_unused=True)
        if all(gradient is None for gradient in found):
            raise ValueError(
                "the loss does not depend on any output or weight of the module by way of autograd; "
                "compute it from the module's output, without detach or no_grad"
            )
        gradients = _mean_squares(dict(zip(self.edges, found, strict=False)))
        weight_gradients = _mean_squares(dict(zip(self.weights, found[len(self.edges) :], strict=True)))
        weights = _mean_squares(self.weights)
        signals, slopes = self.signals.to_host(), self.slopes.to_host()
        rows = []
        for name, shape in self.shapes.items():
            total, squares, cosine = signals[name]
            slope, alive = slopes.get(name, (math.nan, math.nan))
            weight, weight_gradient = weights.get(name, math.nan), weight_gradients.get(name, math.nan)
            rows.append(
                {
                    "mean": total / shape.numel(),
                    "second_moment": squares / shape.numel(),
                    "correlation": cosine,
                    "slope": slope / shape.numel(),
                    "dead": 1 - alive / shape[1:].numel(),
                    "gradient": gradients.get(name, math.nan),
                    "weight": weight,
                    "weight_gradient": weight_gradient,
                    "gradient_to_weight": (weight_gradient / weight) ** 0.5 if weight else math.nan,
                }
            )
        return pd.DataFrame(rows, index=pd.Index(self.shapes, name="module"))


def _signal_sums(h: Float[Tensor, "calls batch units"]) -> Float[Tensor, "calls 3"]:
    """Return the sum, the sum of squares, and the mean cosine of the pairs of examples without a zero."""
    lengths = vector_norm(h, dim=2)
    last = h.shape[1] // 2 * 2
    products = vecdot(h[:, :last:2], h[:, 1::2])
    cosines = products / lengths[:, :last:2] / lengths[:, 1::2]
    return torch.stack([h.sum((1, 2)), lengths.square().sum(1), cosines.nanmean(1)], 1)


def _slope_sums(slopes: Float[Tensor, "calls batch units"]) -> Float[Tensor, "calls 2"]:
    """Return the sum of squares, and the number of units where they do not vanish for the whole batch."""
    units = slopes.square_().sum(1)
    return torch.stack([units.sum(1), units.count_nonzero(1).to(units.dtype)], 1)


def _slopes(h: Tensor, entry: GradientEdge) -> Tensor | None:
    """Return φ'(z) where h = φ(z), or None where autograd knows nothing of it."""
    node: Any = h.grad_fn
    if node is None:
        return None
    ones = torch.ones_like(h)
    if node.next_functions == ((entry.node, entry.output_nr),):
        with torch.no_grad():  # φ is one operation: ask it, without starting the engine
            slopes: Tensor = node(ones)
        return slopes
    return torch.autograd.grad(h, entry, ones, retain_graph=True, allow_unused=True)[0]


def _tracked(values: Tensor) -> Tensor:
    """Return a copy that autograd follows; it may be changed in place, as a leaf may not."""
    with torch.enable_grad():
        return values.detach().requires_grad_().clone()


def _mean_squares(tensors: Mapping[str, Tensor | None]) -> dict[str, float]:
    """Return the mean square of each tensor that there is."""
    found = {name: tensor.detach().reshape(-1) for name, tensor in tensors.items() if tensor is not None}
    squares = torch.stack([vecdot(tensor, tensor) for tensor in found.values()]).tolist() if found else []
    means = {}
    for (name, tensor), total in zip(found.items(), squares, strict=True):
        if not 1e-24 < total < 1e24:  # squares may be out of the range of single precision
            tensor = tensor.cpu().double()
            total = vecdot(tensor, tensor).item()
        means[name] = total / len(tensor)
    return means
