"""A stored result as a page reads it: its samples, how they were made, and whether the code has changed since."""

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

FOLDER = Path(__file__).parent
PACKAGE = FOLDER.parent


@dataclass(frozen=True, eq=False)
class Stored:
    """Samples from an earlier run; printed, they say how they were made.

    Attributes
    ----------
    name
        Of the result.
    samples
        One row a sample: a column for each axis, and ``value``.
    about
        ``command, date, cpu_seconds, base_seed, device, python, torch, numpy`` of the run, and ``code``, a digest of
        each file of the package in which it called a function or read data. ``renewed`` is the date on which another
        state of the code was last found to agree.
    changed
        Those of the files that are no longer what they were.
    """

    name: str
    samples: pd.DataFrame
    about: dict[str, Any]
    changed: tuple[str, ...]

    @property
    def stale(self) -> bool:
        """Whether the code has changed since."""
        return bool(self.changed)

    @property
    def label(self) -> str:
        """The name, with a warning if the result is stale: what a claim takes as `stored`."""
        return f"{self.name}, stale" if self.stale else self.name

    def __str__(self) -> str:
        sizes = self.samples.drop(columns="value").nunique()
        axes = " × ".join(sizes.index) + ": " + " × ".join(map(str, sizes))
        about = self.about
        made = (
            f"stored result {self.name}: {len(self.samples)} samples ({axes}), made by `{about['command']}` on "
            f"{about['date']} in {about['cpu_seconds'] / 60:.0f} min of one core ({about['device']}, "
            f"Python {about['python']}, torch {about['torch']}, base seed {about['base_seed']})"
        )
        if self.stale:
            have = "has" if len(self.changed) == 1 else "have"
            return f"{made}\nSTALE: {', '.join(self.changed)} {have} changed since; run make verify-stored"
        if "renewed" in about:
            return f"{made}\nthe code has changed since; a part of it run again on {about['renewed']} agreed"
        return f"{made}\nthe code is still the one it was made with"


def load_stored(name: str) -> Stored:
    """Return a stored result of this package.

    Parameters
    ----------
    name
        Such as ``trainability_map``.

    Raises
    ------
    ValueError
        If there is none of that name, or its file is damaged.

    Examples
    --------
    >>> result = load_stored("trainability_map")
    >>> list(result.samples.columns), len(result.samples)
    (['depth', 'replicate', 'sigma_w', 'value'], 704)
    """
    known = sorted(path.stem for path in FOLDER.glob("*.json"))
    if name not in known:
        raise ValueError(f"there is no stored result {name!r}; there is {', '.join(known) or 'none'}")
    return read(FOLDER / f"{name}.json")


def read(path: Path, package: Path = PACKAGE) -> Stored:
    """Return the stored result in a file, held against the code under `package`.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        grid, within, about = content["grid"], content["within"], content["about"]
        code: dict[str, str] = about["code"]
        values = np.array(content["cells"], dtype=np.float64)
        wanted = (size(grid), size(within))
        if values.shape != wanted:
            raise ValueError(f"{wanted[0]} cells of {wanted[1]} samples are due, it holds {values.shape}")
        index = pd.MultiIndex.from_product([*grid.values(), *within.values()], names=[*grid, *within])
        samples = index.to_frame(index=False).assign(value=values.ravel())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is not a whole stored result ({type(error).__name__}: {error}); restore it from version control, "
            f"or make it again: python tools/stored.py run {path.stem}"
        ) from error
    changed = tuple(name for name, made_with in code.items() if digest(package / name) != made_with)
    return Stored(path.stem, samples, about, changed)


def size(axes: dict[str, list[Any]]) -> int:
    """Return the number of points of a grid."""
    return math.prod(map(len, axes.values()))


def digest(path: Path) -> str:
    """Return a digest of a file, the same for both kinds of line ends; of a file that is not there, an empty one."""
    if not path.is_file():
        return ""
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()[:16]
