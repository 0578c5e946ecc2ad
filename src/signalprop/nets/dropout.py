"""Dropout whose keep rate is a number of the network, so that networks of other rates can be trained at once."""

import torch
from torch import Tensor, nn

from signalprop.nets.layers import Chain, Elementwise


class Dropout(nn.Module):
    """In training mode each entry is kept with probability ρ and divided by ρ, else set to zero.

    It is `torch.nn.Dropout` of rate 1 − ρ, but ρ is a buffer, ``keep``: networks that differ in it can be stacked
    (`signalprop.train.fit_with_tricks`). The masks come from torch's global generator.

    Parameters
    ----------
    keep
        ρ, in (0, 1]; at 1 nothing changes.

    Raises
    ------
    ValueError
        If ρ is out of range.

    Examples
    --------
    >>> layer = Dropout(1.0)
    >>> x = torch.randn(3)
    >>> torch.equal(layer(x), x)
    True
    """

    keep: Tensor

    def __init__(self, keep: float) -> None:
        super().__init__()
        if not 0 < keep <= 1:
            raise ValueError(f"keep is a probability above 0 and at most 1, got {keep:g}")
        self.register_buffer("keep", torch.tensor(keep, device="cpu"))

    def forward(self, x: Tensor) -> Tensor:
        """Return the entries that are kept over ρ, the others as zero, shape [...] as `x`."""
        if not self.training:
            return x
        return x * ((torch.rand_like(x) < self.keep) / self.keep.to(x.dtype))

    def extra_repr(self) -> str:
        """Return ρ."""
        return f"keep={self.keep.item():g}"


def add_dropout_(net: nn.Module, keep: float) -> nn.Module:
    """Put a `Dropout` behind every activation (`Elementwise`) of a network, in place, and return it.

    Examples
    --------
    >>> from signalprop import stream
    >>> from signalprop.nets import MLP
    >>> net = MLP([8, 16, 3], "relu", bias=True, scheme="kaiming", gain=None, generator=stream("doc", "dropout"))
    >>> add_dropout_(net, 0.9).act1
    Chain(
      (act): Elementwise(relu)
      (dropout): Dropout(keep=0.9)
    )
    """
    for name, child in list(net.named_children()):
        if isinstance(child, Elementwise):
            device = next((p.device for p in net.parameters()), None)
            setattr(net, name, Chain(act=child, dropout=Dropout(keep).to(device)))
        else:
            add_dropout_(child, keep)
    return net
