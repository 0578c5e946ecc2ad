r"""Laws of the squared singular values of random matrices, multiplied freely through their S-transforms.

The law of an N×N matrix :math:`A A^\top` as N → ∞ has moments m_k and the series :math:`\psi(z) = \sum_k m_k z^k`; with
χ its inverse, :math:`S(s) = \chi(s) (1 + s) / s`. For a product of matrices that are free of each other (independent,
and one of any two invariant under rotations) the S-transforms multiply (Voiculescu). An input-output Jacobian is such
a product: weights, slopes, weights, slopes, …

Every law here is kept as a few numbers,

.. math::

   \ln \frac{1}{S(s)} = a + b s + \sum_p k_p \ln(1 + s/p) + \sum_i n_i \ln \frac{s}{(1 + s)\, \omega_i(s)},
   \qquad \psi_i(\omega_i) = s,

to which a product adds; the last sum is over diagonal matrices without a closed form.

References
----------
J. Pennington, S. Schoenholz, S. Ganguli, *Resurrecting the sigmoid in deep learning through dynamical isometry: theory
and practice*, arXiv:1711.04735, and *The emergence of spectral universality in deep networks*, arXiv:1802.09979.
W. Tarnowski, P. Warchoł, S. Jastrzębski, J. Tabor, M. Nowak, *Dynamical isometry is achieved in residual networks in a
universal way for any activation function*, arXiv:1809.08848. S. Belinschi, *The atoms of the free multiplicative
convolution of two probability distributions*, Integr. Equ. Oper. Theory 46 (2003).
"""

import math
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import reduce
from typing import TypeVar

import torch
from jaxtyping import Complex128
from torch import Tensor

K = TypeVar("K", bound=Hashable)
_NEGLIGIBLE = 1e-12  # masses below are rounding


@dataclass(frozen=True, eq=False)
class Slopes:
    """The law of a diagonal matrix with values ≥ 0, of which `values` > 0 have the `weights`.

    Atoms among them are real. For the rest they are a quadrature rule, whose nodes may lie below the real axis.

    Attributes
    ----------
    atoms
        ((value, mass), …), ascending, 0 among them.
    lowest, highest
        The intervals that hold the lowest and the highest of the positive values and nothing else: an atom and the gap
        up to the next value, or empty, (end, end).
    reaches_zero
        Whether positive values come arbitrarily near to 0.
    """

    values: Complex128[Tensor, " nodes"]
    weights: Complex128[Tensor, " nodes"]
    atoms: tuple[tuple[float, float], ...]
    lowest: tuple[float, float]
    highest: tuple[float, float]
    reaches_zero: bool = False

    def moment(self, k: int) -> float:
        """Return E d^k for k ≥ 1."""
        return float((self.weights @ self.values**k).real)

    @property
    def zero_mass(self) -> float:
        """The frequency of the value 0."""
        return dict(self.atoms).get(0.0, 0.0)


@dataclass(frozen=True)
class SpectralLaw:
    r"""The limiting law of :math:`J J^\top` of N×N matrices, as the logarithm of its S-transform; see the module.

    Made by `gaussian_weights`, `orthogonal_weights`, `bernoulli_mask`, `discrete_slopes`, `activation_slopes` and
    `residual_blocks`, and combined by ``*`` (free product, in any order) and ``**`` (depth). Read by `s_transform`,
    `jacobian_moments`, `jacobian_edges`, `jacobian_density` and `jacobian_cdf`.

    Attributes
    ----------
    atoms
        ((λ, mass), …), ascending: the singular values squared that occur with a positive frequency, 0 among them.
    log_scale, tilt, roots, slopes
        a, b, ((p, k_p), …) and ((diagonal matrix, n_i), …) of the formula above.

    Examples
    --------
    Two ReLU layers with orthogonal weights of variance 2/N: half of the spectrum is zero.

    >>> law = (orthogonal_weights(2.0) * bernoulli_mask(0.5)) ** 2
    >>> law.atoms
    ((0.0, 0.5),)
    """

    log_scale: float = 0.0
    tilt: float = 0.0
    roots: tuple[tuple[float, int], ...] = ()
    slopes: tuple[tuple[Slopes, int], ...] = ()
    atoms: tuple[tuple[float, float], ...] = ((1.0, 1.0),)

    def __mul__(self, other: "SpectralLaw") -> "SpectralLaw":
        return SpectralLaw(
            self.log_scale + other.log_scale,
            self.tilt + other.tilt,
            _merge((*self.roots, *other.roots)),
            _merge((*self.slopes, *other.slopes)),
            _product_atoms(self, other),
        )

    def __pow__(self, depth: int) -> "SpectralLaw":
        if depth < 0:
            raise ValueError(f"depth must not be negative, got {depth}")
        if depth == 0:
            return SpectralLaw()
        return SpectralLaw(
            depth * self.log_scale,
            depth * self.tilt,
            tuple((p, depth * k) for p, k in self.roots),
            tuple((diagonal, depth * n) for diagonal, n in self.slopes),
            _atoms(self.zero_mass, ((a**depth, m) for a, m in self._positive_atoms(depth))),
        )

    def _positive_atoms(self, depth: int) -> list[tuple[float, float]]:
        """Return the atoms above 0 that are left after so many factors, with their masses then."""
        left = ((a, depth * mass - (depth - 1)) for a, mass in self.atoms if a > 0)
        return [(a, mass) for a, mass in left if mass > _NEGLIGIBLE]

    @property
    def zero_mass(self) -> float:
        """The frequency of the singular value 0."""
        return dict(self.atoms).get(0.0, 0.0)

    @property
    def continuous_mass(self) -> float:
        """What the atoms leave; exactly 0 if they leave nothing."""
        rest = 1 - math.fsum(mass for _, mass in self.atoms)
        return rest if rest > _NEGLIGIBLE else 0.0


def free_product(laws: Iterable[SpectralLaw]) -> SpectralLaw:
    """Return the law of the product of free matrices; the identity's if there is none.

    Examples
    --------
    >>> free_product([gaussian_weights(1.0), orthogonal_weights(3.0)]) == gaussian_weights(3.0)
    True
    """
    return reduce(SpectralLaw.__mul__, laws, SpectralLaw())


def gaussian_weights(sigma_w2: float) -> SpectralLaw:
    r"""Return the law of a square matrix of independent normals of variance σ_w²/N: :math:`S = 1/(\sigma_w^2 (1+s))`.

    The Marchenko–Pastur law on [0, 4σ_w²].

    Raises
    ------
    ValueError
        If σ_w² is not positive and finite.

    Examples
    --------
    >>> gaussian_weights(1.0).zero_mass
    0.0
    """
    return SpectralLaw(log_scale=_log_positive("sigma_w2", sigma_w2), roots=((1.0, 1),), atoms=())


def orthogonal_weights(sigma_w2: float) -> SpectralLaw:
    r"""Return the law of σ_w times a random orthogonal matrix, a unit mass at σ_w²: :math:`S = 1/\sigma_w^2`.

    Raises
    ------
    ValueError
        If σ_w² is not positive and finite.

    Examples
    --------
    >>> orthogonal_weights(2.0).atoms
    ((2.0, 1.0),)
    """
    return SpectralLaw(log_scale=_log_positive("sigma_w2", sigma_w2), atoms=((float(sigma_w2), 1.0),))


def bernoulli_mask(p: float) -> SpectralLaw:
    r"""Return the law of slopes that are 1 with probability p, else 0: :math:`S = (1+s)/(p+s)`.

    ReLU has p = ½; hard-tanh :math:`p = \mathrm{erf}(1/\sqrt{2q})` at pre-activation variance q.

    Raises
    ------
    ValueError
        If p is not in (0, 1].

    Examples
    --------
    >>> bernoulli_mask(0.25).atoms
    ((0.0, 0.75), (1.0, 0.25))
    """
    if not 0 < p <= 1:
        raise ValueError(f"p must lie in (0, 1], got {p:g}; with p = 0 no signal passes")
    if 1 - p < _NEGLIGIBLE:
        return SpectralLaw()
    return SpectralLaw(math.log(p), roots=((float(p), 1), (1.0, -1)), atoms=((0.0, 1 - p), (1.0, float(p))))


def residual_blocks(c: float) -> SpectralLaw:
    r"""Return the law of :math:`\prod_l (1 + Y_l)` of ever more, ever smaller branches: :math:`S = e^{-c(1+2s)}`.

    c is the limit of :math:`\sum_l E |Y_l|^2`, the mean squared singular values of the branches. The Y_l must be free
    of each other and invariant under rotations, as in a branch W₂ φ(W₁ x); then, whatever φ, the one number c decides
    the whole spectrum. For L such ReLU branches of which both matrices together have the variance σ_w²,
    :math:`c = L \sigma_w^2 / 2`. A c below 1e-12 counts as 0.

    Raises
    ------
    ValueError
        If c is negative or not finite.

    Examples
    --------
    >>> (residual_blocks(0.125) ** 2) == residual_blocks(0.25)
    True
    """
    if not 0 <= c < math.inf:
        raise ValueError(f"c must be finite and not negative, got {c:g}")
    return SpectralLaw(log_scale=float(c), tilt=2 * float(c), atoms=()) if c > _NEGLIGIBLE else SpectralLaw()


def discrete_slopes(atoms: Iterable[tuple[float, float]]) -> SpectralLaw:
    """Return the law of a diagonal matrix with the values ≥ 0 and masses ((d, mass), …), such as a leaky ReLU's.

    Raises
    ------
    ValueError
        If a value or a mass is negative, the masses do not add up to 1, or all values are 0.

    Examples
    --------
    >>> discrete_slopes([(0.0, 0.5), (3.0, 0.5)]) == orthogonal_weights(3.0) * bernoulli_mask(0.5)
    True
    """
    given = sorted((float(value), float(mass)) for value, mass in atoms if mass)
    values, masses = [value for value, _ in given], [mass for _, mass in given]
    if min(values + masses, default=-1.0) < 0 or abs(math.fsum(masses) - 1) > _NEGLIGIBLE:
        raise ValueError(f"values must not be negative and masses add up to 1, got {given}")
    positive = [(value, mass) for value, mass in given if value > 0]
    if not positive:
        raise ValueError("all slopes are 0: no signal passes backwards")
    if len(positive) == 1:
        value, mass = positive[0]
        return orthogonal_weights(value) * bernoulli_mask(min(mass, 1.0))
    d, weights = torch.tensor(positive, dtype=torch.complex128).unbind(1)
    lowest, highest = (positive[0][0], positive[1][0]), (positive[-2][0], positive[-1][0])
    return SpectralLaw(slopes=((Slopes(d, weights, tuple(given), lowest, highest), 1),), atoms=tuple(given))


def _log_positive(name: str, value: float) -> float:
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {value:g}")
    return math.log(value)


def _merge(terms: Iterable[tuple[K, int]]) -> tuple[tuple[K, int], ...]:
    total: Counter[K] = Counter()
    for key, count in terms:
        total[key] += count
    return tuple((key, count) for key, count in total.items() if count)


def _product_atoms(one: SpectralLaw, other: SpectralLaw) -> tuple[tuple[float, float], ...]:
    """Belinschi: the masses of two atoms add up to 1 + the mass of the product's; at 0 the larger mass wins."""
    pairs = ((a * b, m + n - 1) for a, m in one.atoms for b, n in other.atoms if a > 0 and b > 0)
    return _atoms(max(one.zero_mass, other.zero_mass), pairs)


def _atoms(zero_mass: float, others: Iterable[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    zero = ((0.0, zero_mass),) if zero_mass else ()
    return zero + tuple(sorted((a, mass) for a, mass in others if mass > _NEGLIGIBLE))
