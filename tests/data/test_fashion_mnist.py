import gzip
import hashlib
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from signalprop.data import fashion_mnist, load_data

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
TRAIN = "train-images-idx3-ubyte"
COUNTS = {TRAIN: 20, "train-labels-idx1-ubyte": 20, "t10k-images-idx3-ubyte": 10, "t10k-labels-idx1-ubyte": 10}


def idx(array):
    lengths = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + lengths + array.tobytes()


@pytest.fixture
def arrays():
    """Images whose pixels all differ from image to image, and labels 9, 8, ..., 0, 9, ..."""
    made = {}
    for name, count in COUNTS.items():
        counting = np.arange(count * 784) % 251 if "images" in name else 9 - np.arange(count) % 10
        made[name] = counting.astype(np.uint8).reshape((count, 28, 28) if "images" in name else count)
    return made


@pytest.fixture
def small(arrays, monkeypatch, own_cache, server):
    """The four files as published, but small: their names and bytes."""
    files = {}
    for name, array in arrays.items():
        content = idx(array)
        files[name] = gzip.compress(content)
        sums = tuple(hashlib.sha256(part).hexdigest() for part in (files[name], content))
        monkeypatch.setitem(fashion_mnist.SHA256, name, sums)
    monkeypatch.setattr(fashion_mnist, "URL", server.url)
    return files


@pytest.fixture
def folder(small, tmp_path, monkeypatch):
    """A local folder that has the four files."""
    monkeypatch.setenv("SIGNALPROP_DATA", str(tmp_path / "named"))
    where = tmp_path / "named" / "fashion-mnist"
    where.mkdir(parents=True)
    for name, content in small.items():
        (where / f"{name}.gz").write_bytes(content)
    return where


def agrees(data, arrays):
    for part, name in zip(("train_x", "train_y", "test_x", "test_y"), COUNTS, strict=True):
        expected = torch.tensor(arrays[name])
        expected = expected.unsqueeze(1).double() / 255 if part.endswith("x") else expected
        torch.testing.assert_close(getattr(data, part).to(expected.dtype), expected, rtol=0, atol=1e-7)


def test_local_files(folder, arrays, server):
    agrees(load_data("fashion_mnist"), arrays)
    assert server.asked == []


def test_download(small, arrays, server, own_cache):
    server.files.update({f"/{name}.gz": content for name, content in small.items()})
    agrees(load_data("fashion_mnist"), arrays)
    assert sorted(server.asked) == sorted(server.files)
    load_data("fashion_mnist")
    assert len(server.asked) == 4


def test_compressed_again_is_the_same_file(folder, arrays):
    path = folder / f"{TRAIN}.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), compresslevel=1, mtime=1))
    agrees(load_data("fashion_mnist"), arrays)


CORRUPT = {
    "truncated": (lambda gz, content: gz[:-9], "truncated or no gzip"),
    "header only": (lambda gz, content: gz[:4], "truncated or no gzip"),
    "empty": (lambda gz, content: b"", "decompressed, it starts with the bytes \\[\\]"),
    "not gzip": (lambda gz, content: content, "truncated or no gzip"),
    "bit flipped": (lambda gz, content: gz[:200] + bytes([gz[200] ^ 1]) + gz[201:], "truncated or no gzip"),
    "another kind": (lambda gz, content: gzip.compress(b"abcd"), r"starts with .*97.*expected \[0, 0, 8, 3\]"),
    "too short": (lambda gz, content: gzip.compress(content[:-1]), r"holds 15,695 bytes; expected 15,696"),
    "too long": (lambda gz, content: gzip.compress(content + b"x"), r"holds 15,697 bytes; expected 15,696"),
    "short header": (lambda gz, content: gzip.compress(content[:9]), r"header, after 9 bytes; expected 16"),
    "other images": (lambda gz, content: gzip.compress(content[:-1] + b"x"), r"MNIST.*SHA-256.*expected \w{64}\n"),
}


@pytest.mark.parametrize("corruption", CORRUPT)
def test_corrupt_file_is_named_with_three_ways(folder, server, corruption):
    corrupt, complaint = CORRUPT[corruption]
    path = folder / f"{TRAIN}.gz"
    path.write_bytes(corrupt(path.read_bytes(), gzip.decompress(path.read_bytes())))
    with pytest.raises(ValueError, match=rf"(?s)^{path} is .*{complaint}.*Three ways.*{server.url}") as caught:
        load_data("fashion_mnist")
    assert caught.match(rf"\$SIGNALPROP_DATA/fashion-mnist/{TRAIN}\.gz.*\n.*apt-get install dataset-fashion-mnist")
    assert server.asked == []  # a corrupt file is not silently passed over


def test_missing_file_is_named_with_three_ways(small, own_cache):
    with pytest.raises(FileNotFoundError, match=rf"(?s)^{own_cache}/fashion-mnist/{TRAIN}\.gz is missing.*404.*Three"):
        load_data("fashion_mnist")


def test_order_of_dimensions():
    content = idx(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
    assert fashion_mnist.parse_idx(content, 3)[1, 2].tolist() == [20, 21, 22, 23]


@pytest.fixture(scope="module")
def real():
    if not DEBIAN.is_dir() and os.environ.get("SIGNALPROP_REQUIRE_ALL") != "1":
        pytest.skip(f"no official files in {DEBIAN}; apt-get install dataset-fashion-mnist")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SIGNALPROP_DATA", raising=False)
        patch.setitem(sys.modules, "pooch", None)  # a local folder needs neither it nor a network
        return load_data("fashion_mnist")


def test_real_files(real):
    assert real.train_x.shape == (60000, 1, 28, 28)
    assert real.test_x.shape == (10000, 1, 28, 28)
    assert real.train_y.bincount().tolist() == [6000] * 10
    assert real.test_y.bincount().tolist() == [1000] * 10
    assert (real.train_x.min(), real.train_x.max()) == (0, 1)


def test_real_files_agree_with_the_embedded_part(real):  # the mean of 2x2 pixels, there rounded to 8 bits
    embedded = load_data("fashion14")
    chosen = torch.cat([(real.test_y == label).nonzero()[:200, 0] for label in range(10)]).sort().values
    assert torch.equal(real.test_y[chosen], embedded.test_y)
    means = torch.nn.functional.avg_pool2d(real.test_x[chosen], 2)
    torch.testing.assert_close(means, embedded.test_x, rtol=0, atol=0.5 / 255 + 1e-6)
    assert real.classes == embedded.classes
