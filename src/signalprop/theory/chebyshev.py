"""Tables of smooth functions: piecewise Chebyshev interpolation to nearly all digits."""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

_NODES = 24


class ChebyshevTable:
    """A vector-valued function of one variable, tabulated on intervals that are halved until the series converge.

    Parameters
    ----------
    function
        From points [n] to values [n, k].
    low, high
        The interval.
    tolerance
        Of the last coefficients, relative to the largest value of the same component on the same piece, or on all
        components together (`jointly`).

    Raises
    ------
    ValueError
        If an interval has to be halved below a width of 1e-3.

    Examples
    --------
    >>> table = ChebyshevTable(lambda x: x.exp()[:, None], 0.0, 3.0, 1e-13)
    >>> f"{table(torch.tensor([1.0])).item():.12f}"
    '2.718281828459'
    """

    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        low: float,
        high: float,
        tolerance: float,
        jointly: bool = False,
    ):
        order = torch.arange(_NODES, dtype=torch.float64)
        phase = math.pi * (order + 0.5) / _NODES
        transform = 2 / _NODES * torch.cos(phase[:, None] * order)
        transform[:, 0] /= 2
        pieces: dict[float, tuple[float, Tensor]] = {}
        count = max(1, math.ceil((high - low) / 3))
        grid = torch.linspace(low, high, count + 1, dtype=torch.float64).tolist()
        work = list(pairwise(grid))
        while work:
            ends = torch.tensor(work, dtype=torch.float64)
            x = ends.mean(-1, keepdim=True) + (ends[:, 1:] - ends[:, :1]) / 2 * phase.cos()
            values = function(x.reshape(-1)).reshape(len(work), _NODES, -1)
            series = torch.einsum("pnk,nm->pkm", values, transform)
            size = values.abs().amax(1)
            if jointly:
                size = size.amax(-1, keepdim=True)
            rough = (series[..., -2:].abs().amax(-1) > tolerance * size).any(-1).tolist()
            todo = []
            for (a, b), part, again in zip(work, series, rough, strict=True):
                if not again:
                    pieces[a] = (b, part)
                elif b - a < 1e-3:
                    raise ValueError(f"the function is not smooth between {a:g} and {b:g}")
                else:
                    todo += [(a, (a + b) / 2), ((a + b) / 2, b)]
            work = todo
        self.starts = torch.tensor(sorted(pieces), dtype=torch.float64)
        self.ends = torch.tensor([pieces[a][0] for a in sorted(pieces)], dtype=torch.float64)
        self.series = torch.stack([pieces[a][1] for a in sorted(pieces)])

    def __call__(self, x: Float[Tensor, " n"]) -> Float[Tensor, "n k"]:
        """Return the values [n, k] at x [n]; outside the interval those at its end."""
        piece = (torch.searchsorted(self.starts, x.to(torch.float64), right=True) - 1).clamp_min(0)
        start, end = self.starts[piece], self.ends[piece]
        phase = ((2 * x - start - end) / (end - start)).clamp(-1, 1).acos()
        powers = torch.cos(phase[:, None] * torch.arange(_NODES))
        out = torch.empty(len(x), self.series.shape[1], dtype=torch.float64)
        for k in piece.unique().tolist():
            rows = piece == k
            out[rows] = powers[rows] @ self.series[k].T
        return out
