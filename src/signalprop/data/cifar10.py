"""CIFAR-10, the binary version: one archive with five training batches and a test batch. No pickle is read."""

import hashlib
import tarfile
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from signalprop.data.dataset import Data, from_arrays
from signalprop.data.official import OfficialFile

# The sum is the one that TensorFlow Datasets and others publish; CIFAR-10's own page gives only an MD5.
ARCHIVE = OfficialFile(
    "cifar-10/cifar-10-binary.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    "copy the folder cifar-10 of that cache from a machine on which load_data('cifar10') has run",
)
BATCHES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")


def load(records: int = 10_000) -> Data:
    """Return CIFAR-10; see `load_data`. Each batch holds `records` images, which only the tests change."""
    path = ARCHIVE.find()
    with path.open("rb") as file:
        got = hashlib.file_digest(file, "sha256").hexdigest()
    if got != ARCHIVE.sha256:
        size = path.stat().st_size
        raise ARCHIVE.refused(
            path,
            f"({size:,} bytes) is truncated or not the official file. SHA-256:\n"
            f"  expected {ARCHIVE.sha256}\n  got      {got}",
        )
    try:
        batches = [parse_batch(content, records) for content in read_members(path, BATCHES)]
    except ValueError as error:
        raise ARCHIVE.refused(path, str(error)) from error
    *train, (test_x, test_y) = batches
    return from_arrays(
        "cifar10",
        *(np.concatenate([x for x, _ in train]), np.concatenate([y for _, y in train]), test_x, test_y),
        scale=255.0,
        classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        licence="no explicit licence; its page, www.cs.toronto.edu/~kriz/cifar.html, asks to cite the report",
        source="A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, technical report (2009)",
    )


def read_members(archive: Path, names: tuple[str, ...]) -> list[bytes]:
    """Return the contents of the files of these names in a ``.tar.gz``, whatever folder they are in.

    They are read from the archive: nothing is written to the disk, so that no path in it can lead anywhere.

    Raises
    ------
    ValueError
        If one of them is missing, or the archive is truncated or none.
    """
    contents = {}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                name = member.name.rpartition("/")[2]
                if name in names and member.isfile() and (file := tar.extractfile(member)):
                    contents[name] = file.read()
    except (EOFError, OSError, tarfile.TarError, zlib.error) as error:
        raise ValueError(f"is truncated or no .tar.gz file ({error})") from error
    if missing := [name for name in names if name not in contents]:
        raise ValueError(f"lacks {', '.join(missing)}")
    return [contents[name] for name in names]


def parse_batch(
    content: bytes, records: int = 10_000
) -> tuple[UInt8[np.ndarray, "records 3 32 32"], UInt8[np.ndarray, " records"]]:
    """Return the images and labels of one batch, read-only.

    Each record is a byte for the label, 0 to 9, and 3,072 for the pixels: red, green, blue, each row by row.

    Raises
    ------
    ValueError
        If the batch is of another length, or a label is above 9.

    Examples
    --------
    >>> x, y = parse_batch(bytes([9, *[255] * 1024, *[0] * 2048]), records=1)
    >>> y.item(), x[0, :, 31, 31].tolist()
    (9, [255, 0, 0])
    """
    if len(content) != (expected := records * 3073):
        raise ValueError(f"has a batch of {len(content):,} bytes; expected {expected:,}, {records:,} records of 3,073")
    rows = np.frombuffer(content, np.uint8).reshape(records, 3073)
    if (label := rows[:, 0].max()) > 9:
        raise ValueError(f"has a batch with the label {label}; expected 0 to 9")
    return rows[:, 1:].reshape(records, 3, 32, 32), rows[:, 0]
