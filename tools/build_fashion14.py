"""Build the embedded data set fashion14.npz from the four official Fashion-MNIST files, or check it against them.

    python tools/build_fashion14.py [FOLDER]            write src/signalprop/fashion14.npz
    python tools/build_fashion14.py [FOLDER] --check    compare it with a rebuild, write nothing

Of each class the first 800 images of the training file and the first 200 of the test file are taken, in file order,
and every 2x2 block of pixels is replaced by its mean, rounded half up: 8,000 + 2,000 images of 14x14 pixels, uint8.
Files are zipped with a fixed date, so that the same zlib gives the same bytes; `--check` compares the arrays.
"""

import argparse
import gzip
import hashlib
import sys
import zlib
from pathlib import Path

import numpy as np

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
EMBEDDED = Path(__file__).resolve().parents[1] / "src" / "signalprop" / "fashion14.npz"

# SHA-256 of the decompressed contents: whoever compresses the files again, as Debian does, keeps these. They were
# taken from Debian's files after putting the original gzip header (file name and time) back had given the four
# MD5 sums that Zalando publishes.
SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}

HOW_TO_GET = """The four official files can be had in three ways:
  apt-get install dataset-fashion-mnist                        and run this script without FOLDER
  git clone https://github.com/zalandoresearch/fashion-mnist   and FOLDER is fashion-mnist/data/fashion
  a folder of your own that holds them under the same names    such as torchvision's FashionMNIST/raw"""


def read_official(folder: Path, name: str) -> bytes:
    """Return the decompressed content of ``folder/name.gz``, if it is that of the official file.

    Raises
    ------
    FileNotFoundError
        If the file is not there; the message says how to get it.
    ValueError
        If it is truncated, no gzip file, or holds other data.
    """
    path = folder / f"{name}.gz"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing.\n{HOW_TO_GET}")
    try:
        content = gzip.decompress(path.read_bytes())
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is truncated or no gzip file ({error}); fetch it again.\n{HOW_TO_GET}") from error
    got = hashlib.sha256(content).hexdigest()
    if got != SHA256[name]:
        raise ValueError(
            f"{path} is not the official file. SHA-256 of its decompressed content:\n"
            f"  expected {SHA256[name]}\n  got      {got}\n{HOW_TO_GET}"
        )
    return content


def first_of_each_class(labels: np.ndarray, count: int) -> np.ndarray:
    """Return the indices of the first `count` entries of each of the ten labels, in file order."""
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:count] for label in range(10)]))


def halve(images: np.ndarray) -> np.ndarray:
    """Return the means of the 2x2 pixel blocks of uint8 images ``[N, 2h, 2w]``, rounded half up."""
    n, height, width = images.shape
    sums = images.reshape(n, height // 2, 2, width // 2, 2).sum(axis=(2, 4), dtype=np.uint16)
    return ((sums + 2) // 4).astype(np.uint8)


def build(folder: Path) -> dict[str, np.ndarray]:
    """Return the arrays of fashion14.npz, built from the official files in `folder`."""
    arrays = {}
    for part, prefix, count in (("train", "train", 800), ("test", "t10k", 200)):
        # an idx file is a header (16 bytes for images, 8 for labels) and then the bytes of the array
        images = np.frombuffer(read_official(folder, f"{prefix}-images-idx3-ubyte"), np.uint8, offset=16)
        labels = np.frombuffer(read_official(folder, f"{prefix}-labels-idx1-ubyte"), np.uint8, offset=8)
        chosen = first_of_each_class(labels, count)
        arrays[f"{part}_x"] = halve(images.reshape(-1, 28, 28)[chosen])
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
    parser.add_argument(
        "folder", nargs="?", type=Path, default=DEBIAN, help="where the four .gz files are (%(default)s)"
    )
    parser.add_argument("--check", action="store_true", help="compare the embedded file with a rebuild, write nothing")
    options = parser.parse_args(arguments)
    try:
        arrays = build(options.folder)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    if not options.check:
        np.savez_compressed(EMBEDDED, **arrays)
        print(f"wrote {EMBEDDED}, {EMBEDDED.stat().st_size:,} bytes")
    elif different := differences(arrays, EMBEDDED):
        sys.exit(f"{different} Run this script without --check to write it anew.")
    else:
        print(f"{EMBEDDED} equals a rebuild from {options.folder}")


if __name__ == "__main__":
    main()
