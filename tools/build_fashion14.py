"""Build the embedded data set fashion14.npz from the four official Fashion-MNIST files, or check it against them.

    python tools/build_fashion14.py            write src/signalprop/fashion14.npz
    python tools/build_fashion14.py --check    compare it with a rebuild, write nothing

The official files come from where `load_data("fashion_mnist")` finds them. Of each class the first 800 images of the
training file and the first 200 of the test file are taken, in file order, and every 2x2 block of pixels is replaced
by its mean, rounded half up: 8,000 + 2,000 images of 14x14 pixels, uint8.
Files are zipped with a fixed date, so that the same zlib gives the same bytes; `--check` compares the arrays.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from signalprop.data.fashion_mnist import read_official

EMBEDDED = Path(__file__).resolve().parents[1] / "src" / "signalprop" / "fashion14.npz"


def first_of_each_class(labels: np.ndarray, count: int) -> np.ndarray:
    """Return the indices of the first `count` entries of each of the ten labels, in file order."""
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:count] for label in range(10)]))


def halve(images: np.ndarray) -> np.ndarray:
    """Return the means of the 2x2 pixel blocks of uint8 images ``[N, 2h, 2w]``, rounded half up."""
    n, height, width = images.shape
    sums = images.reshape(n, height // 2, 2, width // 2, 2).sum(axis=(2, 4), dtype=np.uint16)
    return ((sums + 2) // 4).astype(np.uint8)


def build() -> dict[str, np.ndarray]:
    """Return the arrays of fashion14.npz, built from the official files."""
    arrays = {}
    train_x, train_y, test_x, test_y = read_official()
    for part, images, labels, count in (("train", train_x, train_y, 800), ("test", test_x, test_y, 200)):
        chosen = first_of_each_class(labels, count)
        arrays[f"{part}_x"] = halve(images[chosen])
        arrays[f"{part}_y"] = labels[chosen]
    return arrays


def differences(arrays: dict[str, np.ndarray], embedded: Path) -> str:
    """Return one sentence that says how the file `embedded` differs from `arrays`, or an empty string."""
    if not embedded.is_file():
        return f"{embedded} is missing."
    with np.load(embedded, allow_pickle=False) as stored:
        if set(stored) != set(arrays):
            return f"{embedded} holds {', '.join(sorted(stored))}; a rebuild gives {', '.join(sorted(arrays))}."
        wrong = [
            name
            for name, array in arrays.items()
            if stored[name].dtype != array.dtype or not np.array_equal(stored[name], array)
        ]
    return f"{embedded} differs from a rebuild in {', '.join(wrong)}." if wrong else ""


def main(arguments: list[str] | None = None) -> None:
    """Build or check, and leave with a message and status 1 where that fails."""
    parser = argparse.ArgumentParser(description="Build fashion14.npz from the official Fashion-MNIST files.")
    parser.add_argument("--check", action="store_true", help="compare the embedded file with a rebuild, write nothing")
    options = parser.parse_args(arguments)
    try:
        arrays = build()
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    if not options.check:
        np.savez_compressed(EMBEDDED, **arrays)
        print(f"wrote {EMBEDDED}, {EMBEDDED.stat().st_size:,} bytes")
    elif different := differences(arrays, EMBEDDED):
        sys.exit(f"{different} Run this script without --check to write it anew.")
    else:
        print(f"{EMBEDDED} equals a rebuild from the official files")


if __name__ == "__main__":
    main()
