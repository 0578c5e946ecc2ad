"""Images at a lower resolution."""

from dataclasses import replace

from torch.nn import functional

from signalprop.data.dataset import Data


def pooled(data: Data, side: int) -> Data:
    """Return square images at a lower resolution: each new pixel is the mean of the old ones that it covers.

    Where the old side is no multiple of the new one, neighbouring means share a row or a column, as in
    ``torch.nn.functional.adaptive_avg_pool2d``.

    Parameters
    ----------
    data
        Images [N, channels, height, width], not flat ones.
    side
        Pixels of the new height and width, at most those of the old.

    Raises
    ------
    ValueError
        If these are not images, or the side is not from 1 to theirs.

    Examples
    --------
    >>> from signalprop.data import load_data
    >>> pooled(load_data("fashion14"), 7).train_x.shape
    torch.Size([8000, 1, 7, 7])
    """
    if data.train_x.ndim != 4:
        raise ValueError(f"pooling needs images [N, channels, height, width], got shape {list(data.train_x.shape)}")
    if not 1 <= side <= min(data.train_x.shape[-2:]):
        raise ValueError(f"side must be from 1 to {min(data.train_x.shape[-2:])}, got {side}")
    train_x, test_x = (functional.adaptive_avg_pool2d(x, side) for x in (data.train_x, data.test_x))
    return replace(data, train_x=train_x, test_x=test_x)
