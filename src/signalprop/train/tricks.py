"""Networks of one shape trained at once, each with tricks of its own: what a factorial experiment needs."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional

from signalprop.data import Data
from signalprop.streams import global_generators_kept
from signalprop.train.order import ShuffledBatches

OPTIMIZERS = ("sgd", "adam")


@dataclass(frozen=True)
class Tricks:
    r"""How one network is trained.

    Parameters
    ----------
    lr
        The largest learning rate η of the run.
    optimizer
        ``"sgd"``, with momentum 0.9, or ``"adam"`` with its usual numbers (0.9, 0.999, 1e-8).
    warmup
        Number of steps over which the rate rises to η, see `rate_schedule`.
    cosine
        Whether the rate then decays to zero along half a cosine.
    decay
        λ of ℓ2: λw is added to the gradient of every weight matrix, not of biases.
    augment
        Whether each batch goes through the augmentation.
    attack_steps
        Adversarial training: 0 for none, 1 for FGSM, more for steps of PGD (of 2.5 ε over their number each, without a
        random start). The network is then trained on the attacked batch alone.
    """

    lr: float
    optimizer: str = "sgd"
    warmup: int = 0
    cosine: bool = False
    decay: float = 0.0
    augment: bool = False
    attack_steps: int = 0


def rate_schedule(lr: float, steps: int, *, warmup: int = 0, cosine: bool = False) -> Float[Tensor, " steps"]:
    r"""Return the learning rate of each step.

    It is η times :math:`\min(1, (k+1)/\mathrm{warmup})`, and with `cosine` also times
    :math:`(1 + \cos(πk/\mathrm{steps}))/2`.

    Examples
    --------
    >>> rate_schedule(1.0, 4, warmup=2).tolist()
    [0.5, 1.0, 1.0, 1.0]
    """
    k = torch.arange(steps, dtype=torch.float64)
    rate = torch.full((steps,), lr, dtype=torch.float64)
    if warmup:
        rate = rate * ((k + 1) / warmup).clamp(max=1)
    return rate * (1 + torch.cos(math.pi * k / steps)) / 2 if cosine else rate


def fit_with_tricks(
    modules: Sequence[nn.Module],
    data: Data,
    tricks: Sequence[Tricks],
    *,
    steps: int,
    batch: int,
    generators: Sequence[Generator],
    noise: Generator,
    augment: Callable[[Tensor, Generator], Tensor] | None = None,
    epsilon: float = 0.0,
    watch: Mapping[int, Callable[[], object]] | None = None,
) -> Float[Tensor, "networks steps"]:
    """Train networks of one shape in place, all at once, and return their losses on the way.

    A network whose loss is not finite stays where it is, and the others go on.

    Parameters
    ----------
    modules
        R networks with the same parts and shapes; `torch.vmap` must be able to batch them. Buffers are taken as
        constants of a network: no running statistics.
    data
        As from `load_data`.
    tricks
        R of them, one a network.
    steps, batch
        As in `fit`.
    generators
        R generators of the order of the examples, one a network, on the CPU. Networks whose generators stand alike see
        the same examples, which pairs them.
    noise
        Of the augmentation and of dropout, for all networks together, on the CPU.
    augment
        Maps a batch of inputs and a generator to new inputs, such as `augment_signals`.
    epsilon
        Radius ε of the attack, in the maximum norm.
    watch
        Functions to be called when so many steps are done; the modules then hold the weights of that moment.

    Returns
    -------
    Tensor
        Loss on the mini-batch as it was trained on, before each step, shape [R, steps]; not all finite if some diverge.

    Raises
    ------
    ValueError
        If numbers of networks, tricks and generators differ, an optimizer is unknown, or a network is to be augmented
        and there is no augmentation.

    Examples
    --------
    >>> from signalprop import load_data, stream
    >>> from signalprop.nets import MLP
    >>> from signalprop.train import Tricks, fit_with_tricks
    >>> data = load_data("digits").standardized().flat()
    >>> nets = [MLP([64, 16, 10], "relu", bias=True, scheme="kaiming", gain=None, generator=stream("doc", "tricks", r))
    ...         for r in range(2)]
    >>> losses = fit_with_tricks(nets, data, [Tricks(0.1), Tricks(0.01, "adam", warmup=5)], steps=50, batch=32,
    ...                          generators=[stream("doc", "tricks order") for _ in nets],
    ...                          noise=stream("doc", "tricks noise"))
    >>> losses.shape, bool((losses[:, -1] < 0.5).all())
    (torch.Size([2, 50]), True)
    """
    _check(modules, tricks, generators, augment)
    ranked = sorted(range(len(modules)), key=lambda r: (tricks[r].optimizer, tricks[r].attack_steps))
    modules, tricks = [modules[r] for r in ranked], [tricks[r] for r in ranked]
    device = data.train_x.device
    run = _Run(modules, tricks, steps, device)
    orders = [ShuffledBatches(len(data.train_x), batch, generators[r]) for r in ranked]
    augmented = torch.tensor([t.augment for t in tricks], device=device).nonzero().flatten()
    losses = []
    with global_generators_kept(data.train_x):
        torch.manual_seed(int(torch.randint(2**31, (), generator=noise)))
        for module in modules:
            module.train()
        for step in range(steps):
            chosen = torch.stack([order.next() for order in orders]).to(device)
            x, y = data.train_x[chosen], data.train_y[chosen]
            if augment is not None and len(augmented):
                x[augmented] = augment(x[augmented].to(noise.device), noise).to(device)
            x = run.attacked(x, y, epsilon)
            losses.append(run.step(x, y, step))
            if watch and step + 1 in watch:
                run.write_back()
                watch[step + 1]()
    run.write_back()
    return torch.stack(losses, 1)[torch.tensor(ranked).argsort().to(device)].cpu()


class _Run:
    """The weights of all networks as one matrix [R, P], those of Adam first, and their descent."""

    def __init__(
        self, modules: Sequence[nn.Module], tricks: Sequence[Tricks], steps: int, device: torch.device
    ) -> None:
        self.modules = modules
        weights, self.buffers = stack_module_state(list(modules))
        self.shapes = {name: weight.shape[1:] for name, weight in weights.items()}
        sizes = [shape.numel() for shape in self.shapes.values()]
        self.ends = list(accumulate(sizes))
        self.flat = torch.cat([w.detach().flatten(1) for w in weights.values()], 1).requires_grad_()
        decayed = torch.cat(
            [torch.full((s,), float(len(w) > 1)) for s, w in zip(sizes, self.shapes.values(), strict=True)]
        )
        self.decay = torch.tensor([[t.decay] for t in tricks], device=device) * decayed.to(device)
        self.rates = torch.stack([rate_schedule(t.lr, steps, warmup=t.warmup, cosine=t.cosine) for t in tricks], 1).to(
            device, self.flat.dtype
        )
        self.first_sgd = sum(t.optimizer == "adam" for t in tricks)
        self.mean, self.velocity = torch.zeros_like(self.flat).tensor_split([self.first_sgd])
        self.square = torch.zeros_like(self.mean)
        attacks = torch.tensor([t.attack_steps for t in tricks])
        self.attacks = {int(n): (attacks == n).nonzero().flatten().to(device) for n in attacks.unique() if n}
        self.losses = vmap(self._loss_of_one, randomness="different")

    def _loss_of_one(self, weights: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(functional_call(self.modules[0], (weights, buffers), (x,)), y)

    def _named(self, flat: Tensor) -> dict[str, Tensor]:
        parts = flat.tensor_split(self.ends[:-1], 1)
        return {
            name: part.reshape(len(flat), *shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def attacked(self, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        for count, rows in self.attacks.items():
            weights = self._named(self.flat.detach()[rows])
            buffers = {name: buffer[rows] for name, buffer in self.buffers.items()}
            clean, labels = x[rows], y[rows]
            size = epsilon if count == 1 else 2.5 * epsilon / count
            here = clean
            for _ in range(count):
                leaf = here.clone().requires_grad_()
                (gradient,) = torch.autograd.grad(self.losses(weights, buffers, leaf, labels).sum(), leaf)
                here = (here + size * gradient.sign()).clamp(clean - epsilon, clean + epsilon)
            x[rows] = here
        return x

    def step(self, x: Tensor, y: Tensor, step: int) -> Tensor:
        loss = self.losses(self._named(self.flat), self.buffers, x, y)
        (gradient,) = torch.autograd.grad(loss.sum(), self.flat)
        with torch.no_grad():
            rates = self.rates[step].unsqueeze(1)
            gradient = gradient.addcmul_(self.decay, self.flat)
            stuck = ~loss.isfinite()
            if stuck.any():
                gradient[stuck] = 0.0
                rates = torch.where(stuck.unsqueeze(1), 0.0, rates)
            g, sgd = gradient.tensor_split([self.first_sgd])
            adam_weights, sgd_weights = self.flat.tensor_split([self.first_sgd])
            sgd_weights.addcmul_(rates[self.first_sgd :], self.velocity.mul_(0.9).add_(sgd), value=-1)
            self.mean.lerp_(g, 0.1)
            self.square.mul_(0.999).addcmul_(g, g, value=0.001)
            root = self.square.sqrt().div_(math.sqrt(1 - 0.999 ** (step + 1))).add_(1e-8)
            rates = rates[: self.first_sgd] / (1 - 0.9 ** (step + 1))
            adam_weights.addcmul_(rates, self.mean / root, value=-1)
        return loss.detach()

    def write_back(self) -> None:
        with torch.no_grad():
            named = self._named(self.flat)
            for row, module in enumerate(self.modules):
                for name, weight in module.named_parameters():
                    weight.copy_(named[name][row])


def _check(
    modules: Sequence[nn.Module], tricks: Sequence[Tricks], generators: Sequence[Generator], augment: object
) -> None:
    if not modules or not len(modules) == len(tricks) == len(generators):
        raise ValueError(f"got {len(modules)} networks, {len(tricks)} tricks and {len(generators)} generators")
    for number, t in enumerate(tricks):
        if t.optimizer not in OPTIMIZERS:
            raise ValueError(f"unknown optimizer {t.optimizer!r}; known: {', '.join(OPTIMIZERS)}")
        if t.augment and augment is None:
            raise ValueError(f"network {number} is to be augmented: give the augmentation, augment=…")
