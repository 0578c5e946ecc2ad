"""Twins of any module: all of it trained, or only its readout."""

import math
from collections.abc import Sequence

import torch
from torch import Generator, nn

from signalprop.data import Data
from signalprop.train.loop import evaluate, fit


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
        Of SGD: the rate of the hidden part, that of the readout, and the momentum of both.

    Returns
    -------
    tuple
        A loss above ln K, that of a guess among K classes, counts as ln K, and so does that of a run that diverged.

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
    history = fit(module, data, optimizer, steps=steps, batch=batch, generator=generator)
    loss, accuracy = evaluate(module, data.test_x, data.test_y)
    guess = math.log(len(data.classes))
    lost = history.diverged or not math.isfinite(loss)
    return (guess, 1 / len(data.classes)) if lost else (min(loss, guess), accuracy)
