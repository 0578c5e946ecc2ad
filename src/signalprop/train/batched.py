"""Many networks of one shape trained at once, each on its own."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional
from tqdm import tqdm

from signalprop.data import Data
from signalprop.train.loop import History, one_number
from signalprop.train.order import ShuffledBatches


def fit_many(
    modules: Sequence[nn.Module],
    data: Data,
    *,
    lr: float | Float[Tensor, " networks"],
    momentum: float = 0.0,
    steps: int,
    batch: int,
    generators: Sequence[Generator],
    loss_fn: Callable[[Tensor, Tensor], Tensor] = functional.cross_entropy,
    groups: Int[Tensor, " train"] | None = None,
    progress: bool = False,
) -> list[History]:
    """Train networks of one shape in place, each as `fit` would with ``torch.optim.SGD``, but all at once.

    Their weights are stacked, so that a layer of all networks is one batched matrix product. A network that diverges
    is taken out with the weights it had when its loss left the finite numbers, and the others go on.

    Parameters
    ----------
    modules
        R networks with the same parts, shapes and settings, on the device of `data`. Parameters that require no
        gradient stay as they are. `torch.vmap` must be able to batch them: no branches that depend on values. Random
        layers such as dropout draw anew for each network, other numbers than in `fit`.
    data
        As from `load_data`.
    lr
        Learning rate, one for all or one a network, shape [R].
    momentum
        velocity ← momentum · velocity + gradient, then weight ← weight − lr · velocity, as in ``torch.optim.SGD``.
    steps, batch, loss_fn, groups, progress
        As in `fit`.
    generators
        R generators of the order of the examples, one a network, on the CPU.

    Raises
    ------
    ValueError
        If there is no network, if one is given twice, if they differ in their parts or differ in number from the
        learning rates or the generators, or as `fit` does.

    Examples
    --------
    >>> from signalprop import load_data, stream
    >>> from signalprop.nets import MLP
    >>> data = load_data("digits").standardized().flat()
    >>> nets = [MLP([64, 16, 10], "tanh", bias=False, scheme="lecun", gain=1.0, generator=stream("doc", "many", r))
    ...         for r in range(3)]
    >>> runs = fit_many(nets, data, lr=torch.tensor([0.0, 0.1, 1e38]), steps=50, batch=32,
    ...                 generators=[stream("doc", "many order", r) for r in range(3)])
    >>> [run.diverged for run in runs], bool(runs[1].loss[-1] < runs[0].loss[-1])
    ([False, False, True], True)
    """
    _check_alike(modules)
    rates = torch.as_tensor(lr, device=data.train_x.device)
    rates = rates.expand(len(modules)) if rates.ndim == 0 else rates
    if not len(modules) == len(rates) == len(generators):
        raise ValueError(f"got {len(modules)} networks, {len(rates)} learning rates and {len(generators)} generators")
    orders = [ShuffledBatches(len(data.train_x), batch, generator, groups) for generator in generators]

    def loss_of_one(weights: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return one_number(loss_fn(functional_call(modules[0], (weights, buffers), (x,)), y))

    losses_of_all = vmap(loss_of_one, randomness="different")
    for module in modules:
        module.train()
    losses: list[list[float]] = [[] for _ in modules]
    running = list(range(len(modules)))
    stack = _Stack(modules, rates, momentum)
    try:
        for _ in tqdm(range(steps), unit="step", disable=not progress):
            chosen = torch.stack([orders[r].next() for r in running]).to(data.train_x.device)
            loss = losses_of_all(stack.weights, stack.buffers, data.train_x[chosen], data.train_y[chosen])
            finite = loss.isfinite()
            for network, value in zip(running, loss.tolist(), strict=True):
                losses[network].append(value)
            stack.write_back([modules[r] for r in running], which=~finite)
            if not finite.any():
                running = []
                break
            stack.descend(loss[finite].sum())
            if not finite.all():
                stack.keep(finite)
                running = [r for r, kept in zip(running, finite.tolist(), strict=True) if kept]
    finally:
        stack.write_back([modules[r] for r in running])
    return [History.of(run, module) for run, module in zip(losses, modules, strict=True)]


class _Stack:
    """Weights and buffers of R networks as tensors [R, ...], and their descent."""

    def __init__(self, modules: Sequence[nn.Module], rates: Float[Tensor, " networks"], momentum: float) -> None:
        self.weights, self.buffers = stack_module_state(list(modules))
        self.rates, self.momentum = rates, momentum
        self.velocity = {name: torch.zeros_like(w) for name, w in self.weights.items() if momentum}

    def descend(self, loss: Float[Tensor, ""]) -> None:
        trained = {name: weight for name, weight in self.weights.items() if weight.requires_grad}
        gradients = torch.autograd.grad(loss, list(trained.values()), materialize_grads=True)
        with torch.no_grad():
            for (name, weight), gradient in zip(trained.items(), gradients, strict=True):
                step = self.velocity[name].mul_(self.momentum).add_(gradient) if self.momentum else gradient
                weight.addcmul_(self.rates.to(weight.dtype).view(-1, *[1] * (weight.ndim - 1)), step, value=-1)

    def keep(self, which: Bool[Tensor, " networks"]) -> None:
        for tensors in (self.weights, self.buffers, self.velocity):
            for name, tensor in tensors.items():
                tensors[name] = tensor.detach()[which].requires_grad_(tensor.requires_grad)
        self.rates = self.rates[which]

    def write_back(self, modules: Sequence[nn.Module], which: Bool[Tensor, " networks"] | None = None) -> None:
        rows = range(len(modules)) if which is None else which.nonzero().flatten().tolist()
        with torch.no_grad():
            for row in rows:
                for name, tensor in (*modules[row].named_parameters(), *modules[row].named_buffers()):
                    tensor.copy_((self.weights | self.buffers)[name][row])


def _check_alike(modules: Sequence[nn.Module]) -> None:
    if not modules:
        raise ValueError("there is no network to train")
    if len(set(modules)) < len(modules):
        raise ValueError("the same network is given twice; give each run a network of its own")
    first = _shapes(modules[0])
    for number, module in enumerate(modules):
        if (here := _shapes(module)) != first:
            name = next(name for name in (first | here) if first.get(name) != here.get(name))
            raise ValueError(
                f"network {number} differs from network 0 in {name}: {here.get(name, 'none')} instead of "
                f"{first.get(name, 'none')}; train networks that differ so with separate calls"
            )


def _shapes(module: nn.Module) -> dict[str, str]:
    """Type and shape of everything that is stacked, by name, and the plain numbers and texts that all must share."""
    state = (*module.named_parameters(), *module.named_buffers())
    shapes = {name: f"{tensor.dtype} {list(tensor.shape)}" for name, tensor in state}
    for path, part in module.named_modules():
        shared = {name: value for name, value in vars(part).items() if isinstance(value, (int, float, str, tuple))}
        shared.pop("training")  # the same for all once the run begins
        shared["type"] = type(part).__name__
        shapes |= {f"{path}.{name}".lstrip("."): repr(value) for name, value in shared.items()}
    return shapes
