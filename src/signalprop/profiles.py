"""How large a run is and where it runs: one of three profiles, one device.

``SIGNALPROP_PROFILE`` is ``quick`` (default), ``standard`` or ``full``; ``SIGNALPROP_DEVICE`` names a torch
device. A page holds its sizes for the three profiles in one dictionary at its top and picks one with `choose`.
"""

import os
import platform
from collections.abc import Mapping
from typing import TypeVar

import torch

PROFILES = ("quick", "standard", "full")

T = TypeVar("T")


def profile() -> str:
    """Return the profile of this run.

    Raises
    ------
    ValueError
        If ``SIGNALPROP_PROFILE`` is set to an unknown name.
    """
    name = os.environ.get("SIGNALPROP_PROFILE", "quick")
    if name not in PROFILES:
        raise ValueError(f"SIGNALPROP_PROFILE is {name!r}; set it to one of {', '.join(PROFILES)}")
    return name


def choose(sizes: Mapping[str, T]) -> T:
    """Return the entry of `sizes` for the current profile.

    Raises
    ------
    ValueError
        If a profile has no entry, so that a page cannot forget one.

    Examples
    --------
    >>> choose({"quick": 100, "standard": 1_000, "full": 10_000})
    100
    """
    if missing := [name for name in PROFILES if name not in sizes]:
        raise ValueError(f"no sizes for profile {', '.join(missing)}; give one entry for each of {PROFILES}")
    return sizes[profile()]


def device() -> torch.device:
    """Return the device of this run: ``SIGNALPROP_DEVICE`` if set, else CUDA, else MPS, else the CPU.

    Raises
    ------
    ValueError
        If ``SIGNALPROP_DEVICE`` is not a device that torch knows, or not one that is present here.
    """
    wanted = os.environ.get("SIGNALPROP_DEVICE")
    if wanted is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(wanted)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"SIGNALPROP_DEVICE is {wanted!r}, which cannot be used here ({reason}); "
            "set it to 'cpu', or unset it to let the book choose"
        ) from error
    return chosen


def describe() -> str:
    """Return one line that says what a page ran on: profile, device, threads, versions.

    Examples
    --------
    >>> describe().startswith("profile quick")
    True
    """
    where = device()
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else where.type
    threads = f"{torch.get_num_threads()} thread{'s' if torch.get_num_threads() > 1 else ''}"
    return (
        f"profile {profile()} · {name}, {threads} · Python {platform.python_version()} · "
        f"torch {torch.__version__.split('+')[0]}"
    )
