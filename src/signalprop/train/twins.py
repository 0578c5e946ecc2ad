"""Twins of any module: all of it trained, or only its readout, and what lies between."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from signalprop.data import Data
from signalprop.train.linear_probe import linear_probe
from signalprop.train.loop import evaluate, fit
from signalprop.train.statistics import renew_statistics_

NUMBERS = [
    *("trained loss", "trained accuracy", "frozen loss", "frozen accuracy", "probe loss", "probe accuracy"),
    *("loss as trained", "loss, all hidden weights reset"),
    *(f"{what} {tenth}" for what in ("loss, reset tenth", "change of tenth") for tenth in range(1, 11)),
]
STATISTICS, PER_BATCH = 1_024, 256  # examples for the statistics of normalizers


@dataclass(frozen=True)
class Twins:
    """A trained network beside what it is without its training, or without a part of it.

    Attributes
    ----------
    trained, frozen
        (loss, accuracy) on the test part of the trained network and of its twin, of which only the readout was trained.
    probe
        The same of softmax regression, fitted to its minimum, on what the last layer of the twin's readout takes in.
    kept, reset
        Test loss on a part of the test part, as trained, and of the trained readout on the hidden part of the start.
    reset_tenths
        The same with the hidden weights of one tenth of the depth reset to their start, all else as trained, [10].
    change
        Norm of the change of a hidden part's weights over their norm at the start, its median over each tenth, [10].
    """

    trained: tuple[float, float]
    frozen: tuple[float, float]
    probe: tuple[float, float]
    kept: float
    reset: float
    reset_tenths: Float[Tensor, " tenths"]
    change: Float[Tensor, " tenths"]

    def numbers(self) -> Float[Tensor, " number"]:
        """Return all of them in the order of `NUMBERS`, as a stored result keeps them."""
        first = torch.tensor([*self.trained, *self.frozen, *self.probe, self.kept, self.reset], dtype=torch.float64)
        return torch.cat([first, self.reset_tenths, self.change])


def fit_twin(
    module: nn.Module,
    readout: Sequence[str],
    data: Data,
    *,
    frozen: bool,
    steps: int,
    batch: int,
    lr: float,
    readout_lr: float,
    momentum: float,
    generator: Generator,
) -> tuple[float, float]:
    """Train a classifier in place by SGD, or only its readout, and return (loss, accuracy) on the test part.

    Parameters
    ----------
    module
        The network, on the device of `data`.
    readout
        Names of the submodules that make up its readout, such as ``["norm", "layer20"]``.
    data
        As `fit` takes it.
    frozen
        Whether everything but the readout stays as it is.
    steps, batch, generator
        As in `fit`.
    lr, readout_lr, momentum
        Of SGD: the rate of the hidden part, that of the readout, and the momentum of both. In the last third of the
        steps the rates are a tenth of that.

    Returns
    -------
    tuple
        A loss above ln K, that of a guess among K classes, counts as ln K, and so does that of a run that diverged.
        Statistics of batch normalization are taken anew before the test, from up to 1,024 training examples.

    Raises
    ------
    AttributeError
        If the module has no submodule of such a name.
    ValueError
        As `fit` does.

    Examples
    --------
    >>> from signalprop import load_data, stream
    >>> from signalprop.nets import MLP
    >>> def run(frozen):
    ...     net = MLP([64, 32, 32, 10], "tanh", bias=True, scheme="lecun", gain=1.0, generator=stream("doc", "twin"))
    ...     data = load_data("digits").standardized().flat()
    ...     return fit_twin(net, ["layer3"], data, frozen=frozen, steps=50, batch=32, lr=0.05, readout_lr=0.05,
    ...                     momentum=0.9, generator=stream("doc", "twin order"))
    >>> run(frozen=False)[0] < run(frozen=True)[0]
    True
    """
    ends = [parameter for name in readout for parameter in module.get_submodule(name).parameters()]
    known = {id(parameter) for parameter in ends}
    hidden = [parameter for parameter in module.parameters() if id(parameter) not in known]
    groups = [{"params": ends, "lr": readout_lr}]
    if frozen:
        for parameter in hidden:
            parameter.requires_grad_(False)
    else:
        groups.append({"params": hidden, "lr": lr})
    optimizer = torch.optim.SGD(groups, momentum=momentum)
    late = steps // 3
    for count, factor in ((steps - late, 1.0), (late, 0.1)):
        for group in optimizer.param_groups:
            group["lr"] *= factor
        history = fit(module, data, optimizer, steps=count, batch=batch, generator=generator)
        if history.diverged:
            return math.log(len(data.classes)), 1 / len(data.classes)
    return _tested(module, data)


def fit_twins(
    module: nn.Module,
    readout: Sequence[str],
    data: Data,
    *,
    steps: int,
    batch: int,
    lr: float,
    readout_lr: float,
    momentum: float,
    generator: Generator,
    few: int = 500,
) -> Twins:
    """Train a network in place, and a copy with all but its readout frozen on the same batches; compare them.

    Parameters
    ----------
    module
        The network. Those of its children that have weights and are not of the readout are its hidden part, the
        lowest first; there must be ten of them, or more.
    readout, data, steps, batch, lr, readout_lr, momentum, generator
        As `fit_twin` takes them. The last of the readout is the linear layer.
    few
        How many test examples (and four times as many training examples for the probe) serve for what is reset.

    Raises
    ------
    ValueError
        If the hidden part has fewer than ten children with weights, or as `fit_twin` does.

    Examples
    --------
    >>> from signalprop import load_data, stream
    >>> from signalprop.nets import MLP
    >>> net = MLP([64] + 12 * [32] + [10], "tanh", bias=True, scheme="orthogonal", gain=1.1,
    ...           generator=stream("doc", "twins"))
    >>> data = load_data("digits").standardized().flat()
    >>> twins = fit_twins(net, ["layer13"], data, steps=100, batch=32, lr=0.05, readout_lr=0.05, momentum=0.9,
    ...                   generator=stream("doc", "twins order"), few=200)
    >>> twins.trained[0] < twins.frozen[0], twins.trained[0] < twins.reset, twins.change.shape
    (True, True, torch.Size([10]))
    """
    hidden = [name for name, child in module.named_children() if name not in readout and _weights(child)]
    if len(hidden) < 10:
        raise ValueError(f"tenths of the depth need ten hidden children with weights, got {len(hidden)}: {hidden}")
    start, still = copy.deepcopy(module), copy.deepcopy(module)
    again = Generator().set_state(generator.get_state())
    rates = {"steps": steps, "batch": batch, "lr": lr, "readout_lr": readout_lr, "momentum": momentum}
    trained = fit_twin(module, readout, data, frozen=False, generator=generator, **rates)  # type: ignore[arg-type]
    frozen = fit_twin(still, readout, data, frozen=True, generator=again, **rates)  # type: ignore[arg-type]

    cut = {"train_x": 4 * few, "train_y": 4 * few, "test_x": few, "test_y": few}
    small = replace(data, **{name: getattr(data, name)[:count] for name, count in cut.items()})

    def loss_without(children: Sequence[str]) -> float:
        mixed = copy.deepcopy(module)
        for name in children:
            mixed.get_submodule(name).load_state_dict(start.get_submodule(name).state_dict())
        return _tested(mixed, small)[0]

    moved = [_change(module.get_submodule(name), start.get_submodule(name)) for name in hidden]
    tenths = [slice(tenth * len(hidden) // 10, (tenth + 1) * len(hidden) // 10) for tenth in range(10)]
    return Twins(
        trained=trained,
        frozen=frozen,
        probe=linear_probe(
            *(_taken_in(still, readout[-1], small.train_x), small.train_y),
            *(_taken_in(still, readout[-1], small.test_x), small.test_y),
            classes=len(data.classes),
        ),
        kept=loss_without([]),
        reset=loss_without(hidden),
        reset_tenths=torch.tensor([loss_without(hidden[part]) for part in tenths], dtype=torch.float64),
        change=torch.tensor([torch.tensor(moved[part]).median() for part in tenths], dtype=torch.float64),
    )


def _weights(module: nn.Module) -> list[Tensor]:
    """Return the matrices and kernels among the parameters."""
    return [parameter for parameter in module.parameters() if parameter.ndim > 1]


def _change(module: nn.Module, start: nn.Module) -> float:
    """Return the norm of the change of all weights over their norm at the start."""
    old, new = (nn.utils.parameters_to_vector(_weights(part)).detach() for part in (start, module))
    return float((new - old).norm() / old.norm())


def _tested(module: nn.Module, data: Data) -> tuple[float, float]:
    """Return loss and accuracy on the test part with new statistics, at worst those of a guess."""
    renew_statistics_(module, data.train_x[:STATISTICS], min(PER_BATCH, len(data.train_x)))
    loss, accuracy = evaluate(module, data.test_x, data.test_y)
    guess = math.log(len(data.classes))
    return (min(loss, guess), accuracy) if math.isfinite(loss) else (guess, 1 / len(data.classes))


def _taken_in(module: nn.Module, name: str, x: Tensor) -> Float[Tensor, "examples features"]:
    """Return what the submodule of this name takes in, in evaluation mode."""
    seen: list[Tensor] = []
    hook = module.get_submodule(name).register_forward_pre_hook(lambda part, inputs: seen.append(inputs[0]))
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            module(x)
    finally:
        hook.remove()
        for part, training in modes.items():
            part.training = training
    return seen[0]
