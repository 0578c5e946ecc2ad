"""Trainability: what a few steps of training make of networks, by the scale of their initial weights."""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from signalprop.data import Data
from signalprop.nets import MLP, normal_biases_
from signalprop.train.batched import fit_many
from signalprop.train.loop import evaluate


def trainability(
    data: Data,
    depth: int,
    sigma_w: Sequence[float],
    *,
    act: str,
    sigma_b2: float,
    width: int,
    steps: int,
    batch: int,
    lr: float,
    momentum: float,
    replicates: int,
    source: Callable[[int], Generator],
) -> Float[Tensor, "replicates sigma_w"]:
    r"""Train plain networks of one depth and return their test losses, at most that of guessing.

    Weights are drawn from :math:`N(0, \sigma_w^2/n)`, biases from :math:`N(0, \sigma_b^2)`. All networks are trained at
    once, with one learning rate. A replicate sees the same Gaussian numbers and the same order of examples at every
    σ_w, so that the columns are paired.

    Parameters
    ----------
    data
        Flat, as from ``load_data(name).standardized().flat()``.
    depth
        Number of weight matrices, at least one.
    sigma_w
        σ_w of the networks.
    act, sigma_b2, width
        The activation, σ_b² and the width of the hidden layers.
    steps, batch, lr, momentum
        Of stochastic gradient descent on the cross-entropy, as in `fit_many`.
    replicates, source
        Number of replicates, and the generator of each, made anew at every call: ``lambda r: stream(page, name, r)``.

    Returns
    -------
    Tensor
        The mean cross-entropy on the test part. One above ln K, that of a guess among K classes, counts as ln K, and so
        does that of a network which diverged.

    Raises
    ------
    ValueError
        As `MLP`, `normal_biases_` and `fit_many` do.

    Examples
    --------
    >>> from signalprop import load_data, stream
    >>> digits = load_data("digits").standardized().flat()
    >>> losses = trainability(digits, 3, [0.01, 1.0], act="tanh", sigma_b2=0.0, width=16, steps=100, batch=32, lr=0.1,
    ...                       momentum=0.9, replicates=2, source=lambda r: stream("doc", "trainability", r))
    >>> losses.shape, bool((losses[:, 1] < losses[:, 0]).all())
    (torch.Size([2, 2]), True)
    """
    widths = [data.train_x.shape[1], *[width] * (depth - 1), len(data.classes)]
    nets, orders = [], []
    for replicate in range(replicates):
        for scale in sigma_w:
            generator = source(replicate)
            net = MLP(widths, act, bias=True, scheme="lecun", gain=scale, generator=generator)
            normal_biases_(net, sigma_b2, generator)
            nets.append(net.to(data.train_x.device))
            orders.append(generator)
    fit_many(nets, data, lr=lr, momentum=momentum, steps=steps, batch=batch, generators=orders)
    guess = math.log(len(data.classes))
    losses = [evaluate(net, data.test_x, data.test_y)[0] for net in nets]
    return torch.tensor(losses, device="cpu").nan_to_num(nan=guess).clamp(max=guess).reshape(replicates, len(sigma_w))
