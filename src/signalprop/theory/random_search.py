r"""Random search, exactly: how good the best of m candidates is, and how much better it looks than it is.

Ranks are of the whole space, 1 for the best of N candidates. References: order statistics, derived here.
"""

import math

import torch
from scipy import special

from signalprop.theory.gaussian import gaussian_expectation


def best_rank(candidates: int, draws: int) -> float:
    r"""Return :math:`(N + 1)/(m + 1)`, the mean rank of the best of m candidates drawn without replacement from N.

    The m drawn ranks cut the numbers 1, …, N into m + 1 gaps that are alike in law.

    Parameters
    ----------
    candidates
        N.
    draws
        m, from 1 to N.

    Raises
    ------
    ValueError
        If there are fewer candidates than draws, or no draw.

    Examples
    --------
    >>> best_rank(256, 1), best_rank(256, 256), f"{best_rank(256, 16):.2f}"
    (128.5, 1.0, '15.12')
    """
    _check(candidates, draws)
    return (candidates + 1) / (draws + 1)


def chance_of_top(candidates: int, top: int, draws: int) -> float:
    r"""Return :math:`1 - \binom{N-k}{m} / \binom{N}{m}`, the chance that one of the k best of N is among m draws.

    Parameters
    ----------
    candidates
        N.
    top
        k, from 0 to N.
    draws
        m, from 1 to N, without replacement.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> f"{chance_of_top(100, 5, 20):.6f}", chance_of_top(100, 5, 96)
    ('0.680691', 1.0)
    """
    _check(candidates, draws)
    if not 0 <= top <= candidates:
        raise ValueError(f"top must be from 0 to {candidates}, got {top}")
    return 1 - math.comb(candidates - top, draws) / math.comb(candidates, draws)


def expected_maximum(draws: int) -> float:
    r"""Return E of the largest of m independent standard normals, :math:`\int z\, d\Phi(z)^m`.

    Parameters
    ----------
    draws
        m ≥ 1.

    Raises
    ------
    ValueError
        If there is no draw.

    Examples
    --------
    >>> f"{expected_maximum(2):.10f} {math.pi**-0.5:.10f} {expected_maximum(100):.4f}"
    '0.5641895835 0.5641895835 2.5076'
    """
    _check(draws, draws)
    if draws == 1:
        return 0.0

    def weighted(z: torch.Tensor) -> torch.Tensor:
        return draws * z * torch.from_numpy(special.ndtr(z.numpy())) ** (draws - 1)

    return float(gaussian_expectation(weighted, 1.0))


def winners_curse(draws: int, signal: float, noise: float) -> float:
    r"""Return by how much the best of m noisy scores exceeds, on average, the true score of that candidate.

    True scores are N(·, s²), a measured one adds noise N(0, τ²). A measured score is to τ²/(s² + τ²) of its deviation
    noise, so that the excess is :math:`\tau^2 / \sqrt{s^2 + \tau^2}` times `expected_maximum`.

    Parameters
    ----------
    draws
        m ≥ 1.
    signal, noise
        s and τ, standard deviations, not both zero.

    Raises
    ------
    ValueError
        If there is no draw, or the standard deviations are negative or both zero.

    Examples
    --------
    >>> winners_curse(1, 1.0, 1.0), f"{winners_curse(100, 0.0, 1.0):.4f}"
    (0.0, '2.5076')
    """
    if min(signal, noise) < 0 or signal == noise == 0:
        raise ValueError(f"standard deviations must not be negative, nor both zero; got {signal} and {noise}")
    return noise**2 / math.hypot(signal, noise) * expected_maximum(draws)


def _check(candidates: int, draws: int) -> None:
    if not 1 <= draws <= candidates:
        raise ValueError(f"draws must be from 1 to {candidates}, got {draws}")
