"""The scores of a trained classifier, with a loss that divergence cannot spoil."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from signalprop.train.loop import evaluate


def scores(module: nn.Module, x: Float[Tensor, "examples *shape"], y: Tensor, classes: int) -> Float[Tensor, "2"]:
    """Return (loss, accuracy) in evaluation mode, float64; the loss counts as at most ln K, that of a guess.

    A network that has diverged is so censored, not dropped.

    Parameters
    ----------
    module
        The classifier.
    x, y
        Examples and labels.
    classes
        K.

    Examples
    --------
    >>> scores(nn.Linear(1, 2), torch.full((3, 1), torch.nan), torch.tensor([0, 1, 1]), 2)[0].item()
    0.6931471805599453
    """
    loss, accuracy = evaluate(module, x, y)
    guess = math.log(classes)
    return torch.tensor([min(loss, guess) if math.isfinite(loss) else guess, accuracy], dtype=torch.float64)
