"""The recall task: say at the end of a sequence which symbol stood at its beginning."""

import torch
from torch import Generator

from signalprop.data.dataset import Data


def recall_task(length: int, classes: int, *, noise: float, train: int, test: int, generator: Generator) -> Data:
    r"""Draw sequences that begin with one of K symbols and go on with noise; the label is the symbol.

    It is the shortest form of the copy task: one symbol is to be kept over ``length - 1`` steps, past distractors. The
    first step is :math:`\sqrt K` times a unit vector, so that its entries have mean square 1; every later step is K
    normal numbers of standard deviation ``noise``. A guess costs ln K.

    Parameters
    ----------
    length
        T, the number of steps.
    classes
        K, the number of symbols and of inputs at each step.
    noise
        Standard deviation of the entries after the first step.
    train, test
        Numbers of sequences.
    generator
        Where labels and noise come from, on the CPU.

    Returns
    -------
    Data
        Inputs ``[N, T, K]``, labels below K.

    Raises
    ------
    ValueError
        If a number is below 1, there are fewer than two symbols, or the noise is negative or not finite.

    References
    ----------
    S. Hochreiter, J. Schmidhuber, *Long short-term memory*, Neural Computation 9 (1997), experiment 2, on which the
    task is modelled; M. Arjovsky, A. Shah, Y. Bengio, *Unitary evolution recurrent neural networks*, arXiv:1511.06464,
    for the copy task.

    Examples
    --------
    >>> from signalprop import stream
    >>> data = recall_task(50, 4, noise=0.1, train=100, test=20, generator=stream("doc", "recall"))
    >>> data.train_x.shape, bool((data.train_x[:, 0].argmax(1) == data.train_y).all())
    (torch.Size([100, 50, 4]), True)
    """
    if min(length, train, test) < 1 or classes < 2:
        raise ValueError(
            "length, train and test must be at least 1 and classes at least 2, "
            f"got {length}, {train}, {test} and {classes}"
        )
    if not 0 <= noise < float("inf"):
        raise ValueError(f"noise must be finite and not negative, got {noise:g}")
    labels = torch.randint(classes, (train + test,), generator=generator)
    x = noise * torch.randn(train + test, length, classes, generator=generator)
    x[:, 0] = classes**0.5 * torch.nn.functional.one_hot(labels, classes)
    return Data(
        "recall",
        x[:train],
        labels[:train],
        x[train:],
        labels[train:],
        classes=tuple(map(str, range(classes))),
        licence="none needed: generated",
        source="signalprop.data.recall_task",
    )
