"""Noise that shifts and scales every feature anew at each step, to undo what a normalizer settles."""

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from signalprop.nets.normalizers.statistics import per_feature


class ShiftingNoise(nn.Module):
    r"""In train mode :math:`y = s_t x + m_t` with a random scale and shift of each feature, new at every call t.

    All examples of a batch are moved alike, so that this changes the distribution of what the next layer sees from step
    to step, and nothing else. s_t is log-normal, :math:`\exp N(0, a^2)`, m_t is :math:`N(0, b^2)`. In eval mode y = x.

    The noise of all steps is drawn beforehand and lies in a buffer ``noise``; another counts the calls, and after the
    last one the noise starts again.

    Parameters
    ----------
    features
        Length of the second axis.
    scale, shift
        a and b, not negative.
    steps
        Number of calls with noise of their own.
    generator
        On the CPU.

    Raises
    ------
    ValueError
        If a number is out of its range.

    References
    ----------
    After S. Santurkar, D. Tsipras, A. Ilyas, A. Madry, arXiv:1805.11604, section 2.2, who also draw anew for each
    example.

    Examples
    --------
    >>> noise = ShiftingNoise(3, scale=0.5, shift=1.0, steps=100, generator=torch.Generator())
    >>> x = torch.zeros(2, 3)
    >>> first, second = noise(x), noise(x)
    >>> bool((first[0] == first[1]).all()), bool((first == second).any())
    (True, False)
    """

    noise: Tensor
    calls: Tensor

    def __init__(self, features: int, *, scale: float, shift: float, steps: int, generator: Generator) -> None:
        super().__init__()
        if features < 1 or steps < 1 or scale < 0 or shift < 0:
            raise ValueError(
                "features and steps must be at least 1, scale and shift not negative: got"
                f" {features}, {steps}, {scale:g}, {shift:g}"
            )
        drawn = torch.randn(steps, 2, features, generator=generator)
        self.register_buffer("noise", torch.stack([(scale * drawn[:, 0]).exp(), shift * drawn[:, 1]], 1))
        self.register_buffer("calls", torch.zeros(1, dtype=torch.int64))

    def forward(self, x: Float[Tensor, "batch features *positions"]) -> Float[Tensor, "batch features *positions"]:
        """Return s x + m, shape as `x`."""
        if not self.training:
            return x
        # index_select: vmap can batch it
        scale, shift = self.noise.index_select(0, self.calls % len(self.noise))[0]
        self.calls.add_(1)
        return per_feature(scale, x.ndim) * x + per_feature(shift, x.ndim)
