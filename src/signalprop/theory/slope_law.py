"""The law of the squared slopes of an activation, as a factor of a Jacobian's law."""

import math
from itertools import pairwise

import torch
from jaxtyping import Complex128, Float
from numpy.polynomial import legendre
from scipy import optimize
from torch import Tensor

from signalprop.theory.activations import Activation, ActivationLike, activation
from signalprop.theory.spectral_law import Slopes, SpectralLaw, discrete_slopes

_REACH = 8.5  # standard deviations: what lies beyond has probability 2e-17
_PANEL = 0.35  # widest panel, in t of z = s sinh t
_CONTRAST, _RARE = 4.0, 1e-9  # largest ratio of slopes² on a panel, unless it is as rare as that
_DEPTH = 0.35  # of the path below the real axis, in widths of a panel


def activation_slopes(act: ActivationLike, q: float, nodes: int = 16) -> SpectralLaw:
    r"""Return the law of D², the diagonal matrix of :math:`\varphi'(\sqrt q z)^2` with z ~ N(0, 1).

    Piecewise linear activations get their exact law, :math:`S = (1+s)/(p+s)` for ReLU and hard-tanh. For the others
    :math:`\psi(\omega) = E[\omega d / (1 - \omega d)]` is integrated over z along a path beside the real axis, on which
    d has a negative imaginary part: the pole, d = 1/ω, is then never near, though ω may come near to the real axis.

    Parameters
    ----------
    act
        A registered activation, or any that `activation` makes.
    q
        Variance of the pre-activations, at a fixed point of the variance map if one law is to serve all layers.
    nodes
        Gauss nodes on each panel of the path.

    Raises
    ------
    ValueError
        If q is negative or not finite, or 0 at a kink; if the slope is not finite, or 0 wherever the input can be.

    References
    ----------
    J. Pennington, S. Schoenholz, S. Ganguli, arXiv:1711.04735, section 2.

    Examples
    --------
    >>> activation_slopes("hardtanh", 1.0).atoms[1][1] == math.erf(1 / math.sqrt(2))
    True
    """
    if not 0 <= q < math.inf:
        raise ValueError(f"q must be finite and not negative, got {q:g}")
    phi = activation(act)
    if q == 0 and 0.0 in phi.kinks:
        raise ValueError(f"at q = 0 the input sits on the kink of {phi.name}; take a q > 0")
    masses: dict[float, float] = {}
    smooth = []
    for low, high in _pieces(phi, q):
        piece = _Piece(phi, q, low, high)
        if piece.constant is None:
            smooth.append(piece)
        else:
            mass = (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2))) / 2
            masses[piece.constant] = masses.get(piece.constant, 0.0) + mass
    if not smooth:
        return discrete_slopes(masses.items())
    atoms = tuple(sorted(masses.items()))
    rules = [piece.rule(nodes) for piece in smooth]
    positive = torch.tensor([atom for atom in atoms if atom[0] > 0], dtype=torch.complex128).reshape(-1, 2)
    values = torch.cat([positive[:, 0], *(d for d, _ in rules)])
    weights = torch.cat([positive[:, 1], *(w for _, w in rules)])
    lowest = min([piece.lowest for piece in smooth] + positive[:, 0].real.tolist())
    highest = max([piece.highest for piece in smooth] + positive[:, 0].real.tolist())
    slopes = Slopes(values, weights, atoms, (lowest, lowest), (highest, highest), any(p.reaches_zero for p in smooth))
    return SpectralLaw(slopes=((slopes, 1),), atoms=atoms)


def _pieces(phi: Activation, q: float) -> list[tuple[float, float]]:
    """Return the intervals of z between the kinks that it reaches; the first and the last one are unbounded."""
    inner = sorted(kink / math.sqrt(q) for kink in phi.kinks if abs(kink) < _REACH * math.sqrt(q))
    return list(pairwise([-math.inf, *inner, math.inf]))


class _Piece:
    """φ′ between two kinks, as a function of t in z = s sinh t with s = min(1, 1/√q)."""

    def __init__(self, phi: Activation, q: float, low: float, high: float) -> None:
        self.phi, self.root = phi, math.sqrt(q)
        self.scale = min(1.0, 1 / self.root) if q else 1.0
        self.begin, self.end = (math.asinh(max(-_REACH, min(_REACH, z)) / self.scale) for z in (low, high))
        # an even number, strictly inside, so that neither a kink nor the middle is on the grid
        grid = torch.linspace(self.begin, self.end, 2002, dtype=torch.float64)[1:-1]
        squared = self.slope(grid).square()
        if not squared.isfinite().all():
            raise ValueError(f"the slope of {phi.name} is not finite at q = {q:g}")
        first = float(squared[0])
        self.constant = first if bool((squared - first).abs().max() <= 1e-14 * first) else None
        self.turns = self._turning_points(grid)
        ends = self.slope(torch.tensor([*self.turns, float(grid[0]), float(grid[-1])], dtype=torch.float64)).square()
        self.lowest, self.highest = float(ends.min()), float(ends.max())

    @property
    def reaches_zero(self) -> bool:
        """Whether the slope comes arbitrarily near to 0: by a change of sign, or in a tail, however far."""
        far = math.asinh(100 * max(1.0, self.root) / (self.root * self.scale))
        inner = self.begin if self.begin > -math.asinh(_REACH / self.scale) else -far
        outer = self.end if self.end < math.asinh(_REACH / self.scale) else far
        slope = self.slope(torch.linspace(inner, outer, 4002, dtype=torch.float64)[1:-1])
        return bool(slope.abs().min() < 1e-3 * slope.abs().max()) or bool(slope.min() < 0 < slope.max())

    def slope(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return self.phi.slope(self.root * self.scale * t.sinh())

    def _turning_points(self, grid: Float[Tensor, " points"]) -> list[float]:
        """Return where φ′² has an extremum."""

        def trend(t: Tensor) -> Tensor:
            x = self.root * self.scale * t.sinh()
            return self.phi.slope(x) * self.phi.curvature(x)

        signs = trend(grid).sign()
        grid, signs = grid[signs != 0], signs[signs != 0]
        return [
            float(optimize.brentq(lambda t: float(trend(torch.tensor(t, dtype=torch.float64))), *bracket, xtol=1e-15))
            for k in (signs.diff() != 0).nonzero().flatten().tolist()
            for bracket in [(float(grid[k]), float(grid[k + 1]))]
        ]

    def rule(self, nodes: int) -> tuple[Complex128[Tensor, " n"], Complex128[Tensor, " n"]]:
        """Return φ′² on the path, and weights for the normal density.

        φ′ is continued from the panel of the real axis above by the polynomial through its values there.
        """
        x, w = legendre.leggauss(nodes)
        edges, contrast = self._panels(torch.from_numpy(x))
        width = edges.diff()
        heights = torch.zeros_like(edges)
        trend = self.slope(edges).square().diff().sign() * (contrast <= _CONTRAST)
        same = trend[1:] == trend[:-1]
        heights[1:-1] = torch.where(same, -_DEPTH * trend[1:] * torch.minimum(width[1:], width[:-1]), 0.0)
        left, right = torch.complex(edges, heights)[:-1, None], torch.complex(edges, heights)[1:, None]
        t = (left + right) / 2 + (right - left) / 2 * torch.from_numpy(x)
        local = (t - (edges[:-1, None] + edges[1:, None]) / 2) / (width[:, None] / 2)
        inverse = torch.from_numpy(legendre.legvander(x, nodes - 1)).inverse()
        coefficients = self.slope(_nodes(edges, torch.from_numpy(x))) @ inverse.T
        basis = torch.from_numpy(legendre.legvander(local.numpy(), nodes - 1))
        slope = (basis * coefficients[:, None, :]).sum(-1)
        z = self.scale * t.sinh()
        density = self.scale * t.cosh() * (-z.square() / 2).exp() / math.sqrt(2 * math.pi)
        weights = torch.from_numpy(w) * (right - left) / 2 * density
        return slope.square().reshape(-1), weights.reshape(-1)

    def _panels(self, x: Float[Tensor, " nodes"]) -> tuple[Float[Tensor, " edges"], Float[Tensor, " panels"]]:
        """Return the panels' edges on the real axis, halved until φ′² varies little on each, and how much it does."""
        marks = [self.begin, *self.turns, self.end]
        edges = torch.cat(
            [torch.linspace(a, b, math.ceil((b - a) / _PANEL) + 1, dtype=torch.float64) for a, b in pairwise(marks)]
        ).unique()
        while True:
            t = _nodes(edges, x)
            low, high = self.slope(t).square().aminmax(dim=1)
            z = self.scale * t.sinh()
            mass = ((-z.square() / 2).exp() * self.scale * t.cosh()).mean(1) * edges.diff()
            rough = (high > _CONTRAST * low) & (high > 1e-30) & (mass > _RARE)
            if not rough.any():
                return edges, high / low
            middle = (edges[:-1] + edges[1:]) / 2
            edges = torch.cat([edges, middle[rough]]).sort().values


def _nodes(edges: Float[Tensor, " edges"], x: Float[Tensor, " nodes"]) -> Float[Tensor, "panels nodes"]:
    return edges[:-1, None] + edges.diff()[:, None] * (x + 1) / 2
