"""Named random streams: every number drawn in the book can be drawn again, alone.

A stream is named by page, claim and replicate and depends on nothing else but the base seed. Nothing adds integers
to a seed and nothing touches torch's global generator, so a cell can be moved, skipped or run twice without
changing what another cell draws.
"""

import hashlib
import os
from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import Tensor


def base_seed() -> int:
    """Return the base seed of the book, ``SIGNALPROP_SEED`` (default 0).

    Raises
    ------
    ValueError
        If ``SIGNALPROP_SEED`` is not an integer.
    """
    text = os.environ.get("SIGNALPROP_SEED", "0")
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"SIGNALPROP_SEED is {text!r}; set it to an integer such as 0 or 271828") from None


def stream(page: str, claim: str, replicate: int = 0) -> torch.Generator:
    """Return the generator of one replicate of one claim, on the CPU.

    Weights and data order are drawn here and then moved, so that a CPU and a GPU start alike.

    Parameters
    ----------
    page, claim
        Names, such as ``"01_gradient_explosion"`` and ``"chain.log-growth"``.
    replicate
        Number of the independently drawn network, from 0.

    Notes
    -----
    `torch.Generator.manual_seed` uses only the low 32 bits of a seed on the CPU, so that among 100,000 streams two
    would coincide with probability 0.69. The whole state of the Mersenne Twister is therefore filled from a 256-bit
    hash of the names, through numpy's `SeedSequence`.

    Examples
    --------
    >>> a, b = stream("page", "claim", 0), stream("page", "claim", 1)
    >>> bool(torch.randn((), generator=a) == torch.randn((), generator=b))
    False
    """
    name = repr((base_seed(), page, claim, replicate)).encode()
    entropy = int.from_bytes(hashlib.sha256(name).digest(), "little")
    words = np.random.MT19937(np.random.SeedSequence(entropy, pool_size=8)).state["state"]["key"]
    generator = torch.Generator(device="cpu").manual_seed(0)
    state = generator.get_state()
    # torch lays the state out as three 8-byte counters, which a fresh seed sets right, then 624 words of 8 bytes
    state[24 : 24 + 8 * 624] = torch.from_numpy(words.astype(np.uint64).view(np.uint8))
    return generator.set_state(state)


def global_generators_kept(*tensors: Tensor) -> AbstractContextManager[None]:
    """Return a context after which torch's global generators are as before: the CPU's, and those of the tensors' GPUs.

    Random layers of a reader's network draw from them; a measurement that runs the network must not move them.

    Examples
    --------
    >>> before = torch.get_rng_state()
    >>> with global_generators_kept():
    ...     _ = torch.rand(3)
    >>> torch.equal(torch.get_rng_state(), before)
    True
    """
    return torch.random.fork_rng({tensor.device for tensor in tensors if tensor.device.type == "cuda"})
