"""What residual blocks do to the trunk: the signal that goes around the branches, block by block."""

from collections.abc import Callable
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.linalg import vecdot, vector_norm

from signalprop.measure.checks import check_examples, check_loss, check_module
from signalprop.nets import ResidualBlock
from signalprop.streams import global_generators_kept


def trunk_profile(
    module: nn.Module, x: Float[Tensor, "batch *shape"], loss_fn: Callable[[Any], Tensor]
) -> pd.DataFrame:
    r"""Run `module` forward and back once, and return one row for the trunk before the first block and after each.

    `signal_profile` looks at innermost modules, and the sum of trunk and branch is none. The module is left as it was:
    hooks are removed, also after an exception, no ``.grad`` is touched, buffers do not move, and random layers draw
    from a copy of the global generator. Modes are kept: in training mode batch normalization uses the batch.

    Parameters
    ----------
    module
        Any module with `ResidualBlock` parts that are called one after the other.
    x
        A batch of inputs, one example an entry of the first axis.
    loss_fn
        Maps the module's output to a scalar loss.

    Returns
    -------
    DataFrame
        Indexed by the number of blocks passed, 0 to L. Columns:

        - ``second_moment``: mean square over batch and units;
        - ``batch_variance``: variance over the batch (divided by its size), mean over units;
        - ``correlation``: the cosine for two inputs, not centred: examples 2k and 2k + 1, mean over the pairs; NaN
          where there is no pair;
        - ``gradient``: mean of :math:`(\partial\,\mathrm{loss}/\partial x_l)^2` over batch and units.

    Raises
    ------
    ValueError
        If there is no block, if the loss is not a scalar or does not depend on the trunk, or if a weight or `x` holds
        NaN or is on another device.

    Examples
    --------
    >>> block = ResidualBlock(nn.Sequential(nn.Identity()), skip=None, scale=None, act=None)
    >>> trunk_profile(nn.Sequential(block, block), torch.ones(2, 3), torch.sum).second_moment.tolist()
    [1.0, 4.0, 16.0]
    """
    check_examples(x)
    check_module(module, x)
    blocks = [part for part in module.modules() if isinstance(part, ResidualBlock)]
    if not blocks:
        raise ValueError(f"{type(module).__name__} has no residual block, so that there is no trunk")
    trunk: list[Tensor] = []

    def before(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor]:
        if not trunk:
            trunk.append(inputs[0] if inputs[0].requires_grad else inputs[0].detach().requires_grad_())
        return (trunk[-1],)

    def after(_: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        trunk.append(output)

    hooks = [block.register_forward_pre_hook(before) for block in blocks]
    hooks += [block.register_forward_hook(after) for block in blocks]
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    try:
        with torch.enable_grad(), global_generators_kept(x):
            loss = check_loss(loss_fn(torch.func.functional_call(module, buffers, (x,))))
            if not loss.requires_grad:
                raise ValueError("the loss does not depend on the trunk by way of autograd")
            gradients = torch.autograd.grad(loss, trunk)
    finally:
        for hook in hooks:
            hook.remove()
    rows = [_row(h.detach().flatten(1).double(), g.flatten(1).double()) for h, g in zip(trunk, gradients, strict=True)]
    return pd.DataFrame(rows, index=pd.RangeIndex(len(rows), name="block"))


def _row(h: Float[Tensor, "batch units"], g: Float[Tensor, "batch units"]) -> dict[str, float]:
    last = len(h) // 2 * 2
    one, other = h[:last:2], h[1::2]
    cosines = vecdot(one, other) / vector_norm(one, dim=1) / vector_norm(other, dim=1)
    return {
        "second_moment": h.square().mean().item(),
        "batch_variance": h.var(0, correction=0).mean().item(),
        "correlation": cosines.mean().item(),
        "gradient": g.square().mean().item(),
    }
