"""Fashion-MNIST as published: four gzipped IDX files."""

import gzip
import hashlib
import math
import zlib

import numpy as np
from jaxtyping import UInt8

from signalprop.data.dataset import Data, from_arrays
from signalprop.data.official import OfficialFile

CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
LICENCE = "MIT, Copyright © 2017 Zalando SE"
SOURCE = "H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST, arXiv:1708.07747 (2017)"

# SHA-256 of each file as published (those of TensorFlow Datasets; the files have the MD5 sums that Zalando publishes),
# and of its decompressed content: whoever compresses it again, as Debian does, keeps the second.
SHA256 = {
    "train-images-idx3-ubyte": (
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    "train-labels-idx1-ubyte": (
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    "t10k-images-idx3-ubyte": (
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    "t10k-labels-idx1-ubyte": (
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}
URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"


def load() -> Data:
    """Return Fashion-MNIST; see `load_data`."""
    train_x, train_y, test_x, test_y = read_official()
    return from_arrays(
        "fashion_mnist",
        *(train_x[:, None], train_y, test_x[:, None], test_y),
        scale=255.0,
        classes=CLASSES,
        licence=LICENCE,
        source=SOURCE,
    )


def read_official() -> list[UInt8[np.ndarray, "..."]]:
    """Return the arrays of the official files, read-only: training images and labels, test images and labels.

    Raises
    ------
    ValueError, FileNotFoundError
        As `load_data`.
    """
    return [_read(name) for name in SHA256]


def parse_idx(content: bytes, dimensions: int) -> UInt8[np.ndarray, "..."]:
    """Return the array of an IDX file of unsigned bytes.

    The file is the bytes 0, 0, 8 (for unsigned bytes) and the number of dimensions, then the length of each dimension
    as a big-endian 32-bit integer, then the values, the last index running fastest.

    Raises
    ------
    ValueError
        If the file starts otherwise, or is longer or shorter than it says.

    Examples
    --------
    >>> parse_idx(bytes([0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 3, 7, 8, 9]), 2)
    array([[7, 8, 9]], dtype=uint8)
    """
    magic, header = bytes([0, 0, 8, dimensions]), 4 + 4 * dimensions
    if content[:4] != magic:
        raise ValueError(f"starts with the bytes {list(content[:4])}; expected {list(magic)}, those of an IDX file")
    if len(content) < header:
        raise ValueError(f"ends in its header, after {len(content)} bytes; expected {header} bytes, then the values")
    shape = [int.from_bytes(content[at : at + 4]) for at in range(4, header, 4)]
    if len(content) != (expected := header + math.prod(shape)):
        raise ValueError(f"holds {len(content):,} bytes; expected {expected:,}, for its header says {shape}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _read(name: str) -> UInt8[np.ndarray, "..."]:
    """Return the array of one official file, after checking its form and its SHA-256."""
    published, expected = SHA256[name]
    file = OfficialFile(
        f"fashion-mnist/{name}.gz",
        f"{URL}/{name}.gz",
        published,
        "on Debian: apt-get install dataset-fashion-mnist",
    )
    path = file.find()
    try:
        content = gzip.decompress(path.read_bytes())
        array = parse_idx(content, 3 if "idx3" in name else 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise file.refused(path, f"is truncated or no gzip file ({error})") from error
    except ValueError as error:
        raise file.refused(path, f"is not the official file: decompressed, it {error}") from error
    if (got := hashlib.sha256(content).hexdigest()) != expected:
        raise file.refused(
            path,
            f"is not the official file (MNIST's have the same names). SHA-256 of its decompressed content:\n"
            f"  expected {expected}\n  got      {got}",
        )
    return array
