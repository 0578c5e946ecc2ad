"""The law of the squared slopes of an activation, as a factor of a Jacobian's law."""

import math

import torch
from jaxtyping import Float
from numpy.polynomial import legendre
from torch import Tensor

from signalprop.theory.activations import Activation, ActivationLike, activation
from signalprop.theory.s_transform import Slopes, SpectralLaw, diagonal

_REACH = 8.5  # standard deviations: what lies beyond has probability 2e-17
_PANEL, _CONTRAST, _RARE = 0.7, 4.0, 1e-8  # widest panel, largest ratio of slopes² on it, unless it is as rare as that


def activation_slopes(act: ActivationLike, q: float, nodes: int = 12) -> SpectralLaw:
    r"""Return the law of D², the diagonal matrix of :math:`\varphi'(\sqrt q z)^2` with z ~ N(0, 1).

    Piecewise linear activations get their exact law, :math:`S = (1+s)/(p+s)` for ReLU and hard-tanh. The others are
    represented by a Gauss rule between the kinks, whose error in a product with at least one more random layer falls
    exponentially with the number of nodes.

    Parameters
    ----------
    act
        A registered activation, or any that `activation` makes.
    q
        Variance of the pre-activations, at a fixed point of the variance map if one law is to serve all layers.
    nodes
        Gauss nodes on each panel.

    Raises
    ------
    ValueError
        If q is negative or not finite, or the slope is not finite, or 0 wherever the input can be.

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
    values, weights, steps = [], [], []
    for low, high in _pieces(phi, q):
        squared, weight = _rule(phi, q, low, high, nodes)
        if bool((squared - squared[0]).abs().max() <= 1e-14 * squared[0]):
            # one value on the whole piece, an atom
            steps.append((float(squared[0]), (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2))) / 2))
        else:
            values.append(squared)
            weights.append(weight)
    return diagonal(_collect(steps, values, weights, _reaches_zero(phi, q)))


def _pieces(phi: Activation, q: float) -> list[tuple[float, float]]:
    """Return the intervals of z between the kinks; the first and the last one are unbounded."""
    root = math.sqrt(q)
    inner = sorted(kink / root for kink in phi.kinks if abs(kink) < _REACH * root)
    ends = [-math.inf, *inner, math.inf]
    return list(zip(ends[:-1], ends[1:], strict=True))


def _rule(phi: Activation, q: float, low: float, high: float, nodes: int) -> tuple[Tensor, Tensor]:
    """Return φ′² at the nodes of a rule for the normal density on [low, high], and its weights.

    Panels lie in t of z = s sinh t, s = min(1, 1/√q); they are halved until ln φ′² changes little on each, so that
    slopes are resolved on every scale, near a zero of φ′ as in its tails.
    """
    root = math.sqrt(q)
    scale = min(1.0, 1 / root) if root else 1.0
    begin, end = (math.asinh(max(-_REACH, min(_REACH, z)) / scale) for z in (low, high))
    x, w = (torch.from_numpy(part) for part in legendre.leggauss(nodes))
    edges = torch.linspace(begin, end, math.ceil((end - begin) / _PANEL) + 1, dtype=torch.float64)
    left, width = edges[:-1, None], edges.diff()[:, None]
    values, weights = [], []
    while len(left):
        t = left + width * (x + 1) / 2
        z = scale * t.sinh()
        weight = w * width / 2 * scale * t.cosh() * (-z.square() / 2).exp() / math.sqrt(2 * math.pi)
        squared = phi.slope(root * z).square()
        if not squared.isfinite().all():
            raise ValueError(f"the slope of {phi.name} is not finite at q = {q:g}")
        lowest, highest = squared.aminmax(dim=1)
        rough = (highest > _CONTRAST * lowest) & (highest > 1e-30) & (weight.sum(1) > _RARE)
        values.append(squared[~rough].reshape(-1))
        weights.append(weight[~rough].reshape(-1))
        width = width[rough].repeat(2, 1) / 2
        left = torch.cat([left[rough], left[rough] + width[: len(width) // 2]])
    return torch.cat(values), torch.cat(weights)


def _collect(
    steps: list[tuple[float, float]], values: list[Tensor], weights: list[Tensor], reaches_zero: bool
) -> Slopes:
    masses: dict[float, float] = {}
    for value, mass in steps:
        masses[value] = masses.get(value, 0.0) + mass
    atoms = tuple(sorted(masses.items()))
    everything = torch.cat([torch.tensor(list(masses), dtype=torch.float64), *values])
    weight = torch.cat([torch.tensor(list(masses.values()), dtype=torch.float64), *weights])
    distinct, where = everything.unique(return_inverse=True)
    merged = torch.zeros_like(distinct).index_add(0, where, weight)
    return Slopes(distinct, merged / merged.sum(), atoms, reaches_zero and bool(values))


def _reaches_zero(phi: Activation, q: float) -> bool:
    """Say whether the smooth pieces come arbitrarily near to slope 0: by a change of sign, or in a tail."""
    far = 100.0 * max(1.0, math.sqrt(q))
    x = torch.sinh(torch.linspace(-math.asinh(far), math.asinh(far), 4001, dtype=torch.float64))
    slope = phi.slope(x)
    low: Float[Tensor, ""] = slope.abs().min()
    return bool(low < 1e-3 * slope.abs().max()) or bool(slope.min() < 0 < slope.max())
