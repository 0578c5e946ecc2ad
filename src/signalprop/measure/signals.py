"""What a network does to a signal on its way forward and to the gradient on its way back, layer by layer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn

from signalprop.nets import Elementwise


def signal_profile(
    module: nn.Module, x: Float[Tensor, "batch *shape"], loss_fn: Callable[[Tensor], Tensor]
) -> pd.DataFrame:
    r"""Run `module` forward and back once, and return one row for every innermost module, in the order of the calls.

    Its hooks are removed, also after an exception, and no ``.grad`` is touched. Buffers are those of the forward pass:
    in training mode the running statistics of a batch normalization move on.

    Parameters
    ----------
    module
        Any module.
    x
        A batch of inputs.
    loss_fn
        Maps the module's output to a scalar loss.

    Returns
    -------
    DataFrame
        Indexed by the qualified name of the module (``layer1``, ``act1``, …; one row a call), with float columns

        - ``second_moment``: mean of the squared outputs, over batch and units;
        - ``gradient``: mean of :math:`(\partial\,\mathrm{loss}/\partial\,\mathrm{output})^2`, over batch and units;
        - ``slope``: mean of :math:`\varphi'^2` over batch and units, where the module is an `Elementwise` activation,
          else NaN;
        - ``weight``, ``weight_gradient``: mean square of the weights and of the loss's gradient with respect to them,
          where the module has a ``weight`` that is not frozen, else NaN.

    Raises
    ------
    ValueError
        If the loss is not a scalar, or does not depend on what the module computed; if an output was changed in place
        by a later module.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(3, 3, bias=False), Elementwise(torch.tanh))
    >>> with torch.no_grad():
    ...     _ = net[0].weight.copy_(2 * torch.eye(3))
    >>> profile = signal_profile(net, torch.zeros(1, 3), loss_fn=torch.sum)
    >>> profile.loc["1", ["second_moment", "gradient", "slope"]].tolist()
    [0.0, 1.0, 1.0]
    """
    calls: list[tuple[str, nn.Module, Tensor]] = []
    versions: list[int] = []
    rows: list[dict[str, float]] = []

    def keep(name: str, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls.append((name, layer, output))
        versions.append(output._version)
        rows.append({"second_moment": _mean_square(output), "slope": _slope(layer, inputs[0])})

    with torch.enable_grad(), _hooked(module, keep):
        loss = loss_fn(module(x.detach().clone().requires_grad_()))
    if loss.numel() != 1:
        raise ValueError(f"loss_fn returned shape {list(loss.shape)}; it must return one number, such as a mean")
    for (name, _, output), version in zip(calls, versions, strict=True):
        if output._version != version:
            raise ValueError(
                f"the output of {name} was changed in place afterwards; use inplace=False in what follows it"
            )
    outputs = [output for _, _, output in calls]
    candidates = ((name, getattr(layer, "weight", None)) for name, layer, _ in calls)
    weights = {name: weight for name, weight in candidates if isinstance(weight, Tensor) and weight.requires_grad}
    try:
        gradients = torch.autograd.grad(loss, [*outputs, *weights.values()])
    except RuntimeError as error:
        raise ValueError(
            f"the loss does not depend on every output and weight of the module by way of autograd ({error}); "
            "compute it from the module's output, without detach or no_grad"
        ) from error
    by_weight = dict(zip(weights, gradients[len(outputs) :], strict=True))
    for (name, _, _), row, gradient in zip(calls, rows, gradients, strict=False):
        row["gradient"] = _mean_square(gradient)
        row["weight"] = _mean_square(weights[name]) if name in weights else torch.nan
        row["weight_gradient"] = _mean_square(by_weight[name]) if name in weights else torch.nan
    columns = ["second_moment", "gradient", "slope", "weight", "weight_gradient"]
    return pd.DataFrame(rows, index=pd.Index([name for name, _, _ in calls], name="module"), columns=columns)


@contextmanager
def _hooked(module: nn.Module, keep: Callable[[str, nn.Module, Any, Tensor], None]) -> Iterator[None]:
    """Call `keep` after every innermost module, and remove the hooks at the end, whatever happens."""
    handles = [
        layer.register_forward_hook(lambda layer, inputs, output, name=name: keep(name, layer, inputs, output))
        for name, layer in _innermost(module)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _innermost(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules without children, by qualified name; an activation that is a module belongs to its wrapper."""
    children = [] if isinstance(module, Elementwise) else list(module.named_children())
    if not children:
        yield name, module
    for child, layer in children:
        yield from _innermost(layer, f"{name}.{child}" if name else child)


def _mean_square(values: Tensor) -> float:
    # in double precision: squares of float32 numbers below 1e-23 would underflow
    return values.detach().double().square().mean().item()


def _slope(layer: nn.Module, z: Tensor) -> float:
    if not isinstance(layer, Elementwise):
        return torch.nan
    z = z.detach().requires_grad_()  # a leaf of its own, so that only this activation is differentiated
    (slopes,) = torch.autograd.grad(layer.act(z).sum(), z)
    return _mean_square(slopes)
