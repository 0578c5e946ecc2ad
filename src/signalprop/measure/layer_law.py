r"""A random layer in law, without its weights: exact at every finite width, in O(n) instead of O(n²).

A fresh Gaussian layer is isotropic. Let the rows of Q be orthonormal and span its inputs, :math:`H = C Q` (a row an
input). Of W only :math:`W Q^\top = σ G^\top` meets them, with :math:`σ^2 = σ_w^2 / n_{l-1}` and a standard normal G of
as many rows as Q: :math:`H W^\top = σ C G`, and W is never drawn. What the forward pass leaves open of W is how it acts
beside the span, :math:`\tilde W (1 - Q^\top Q)` with a fresh :math:`\tilde W`. Errors Δ (a row an input), which depend
on W through G alone, therefore go back as

.. math::

   Δ W = σ\, Δ G^\top Q + Δ \tilde W (1 - Q^\top Q), \qquad Δ \tilde W = σ K N,

where :math:`K K^\top = Δ Δ^\top` and N is standard normal, with a row for each column of K. Nothing is divided by a
small number: if inputs are equal, collapse or vanish, Q has more rows than they need, and any will do. Biases are the
weights of one more input that is constant, :math:`\sqrt{n_{l-1} σ_b^2 / σ_w^2}`.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

Normal = Callable[[int, int], Tensor]
"""From numbers of rows and columns to standard normal numbers, [R, rows, columns]."""


class LayerLaw(NamedTuple):
    """What the forward pass knows of the weights and biases of R random layers: W Qᵀ = σ Gᵀ, and the output.

    Q is not kept, since half the memory of a pass can be had again from the inputs.
    """

    sigma: float
    constant: float  # the input by which biases are weights; 0 if there are none
    g: Float[Tensor, "networks rank _fan_out"]
    coordinates: Float[Tensor, "networks inputs rank"]  # σ C

    def output(self, inputs: Tensor | slice = slice(None)) -> Float[Tensor, "networks _inputs _fan_out"]:
        """Return z = H Wᵀ, with the biases, of the inputs with these numbers."""
        return self.coordinates[:, inputs] @ self.g

    def output_gram(self) -> Float[Tensor, "networks inputs inputs"]:
        """Return the inner products z zᵀ in float64, in which the squares neither overflow nor vanish."""
        coordinates = self.coordinates.double()
        return coordinates @ (self.g @ self.g.mT).double() @ coordinates.mT

    def pull_back(
        self,
        error: Float[Tensor, "networks errors _fan_out"],
        factor: Float[Tensor, "networks errors _rank"],
        h: Float[Tensor, "networks inputs _fan_in"],
        normal: Normal,
    ) -> Float[Tensor, "networks errors _extended_fan_in"]:
        """Return Δ W, and after it the errors of the biases if there are any, from Δ, its factor K, and the inputs.

        To be called once: the fresh part is drawn anew.
        """
        q = _basis(_extended(h, self.constant))
        factor = self.sigma * factor
        fresh = normal(factor.shape[-1], q.shape[-1])
        inside = self.sigma * (error @ self.g.mT) - factor @ (fresh @ q.mT)
        return (factor @ fresh).baddbmm_(inside, q)


def draw_layer(
    h: Float[Tensor, "networks inputs _fan_in"], fan_out: int, sigma_w2: float, sigma_b2: float, normal: Normal
) -> LayerLaw:
    """Draw what the inputs `h` meet of R layers with weights N(0, σ_w²/n) and biases N(0, σ_b²)."""
    fan_in = h.shape[-1]
    constant = math.sqrt(fan_in * sigma_b2 / sigma_w2)
    h = _extended(h, constant)
    q = _basis(h)
    sigma = math.sqrt(sigma_w2 / fan_in)
    return LayerLaw(sigma, constant, normal(q.shape[1], fan_out), sigma * (h @ q.mT))


def error_factor(error: Float[Tensor, "networks errors _fan_out"]) -> Float[Tensor, "networks errors _rank"]:
    """Return K with K Kᵀ = Δ Δᵀ."""
    r: Tensor = torch.linalg.qr(error.mT, mode="r")[1]
    return r.mT


def _extended(h: Tensor, constant: float) -> Tensor:
    return functional.pad(h, (0, 1), value=constant) if constant else h


def _basis(h: Tensor) -> Tensor:
    """Return Q."""
    q: Tensor = torch.linalg.qr(h.mT)[0]
    return q.mT
