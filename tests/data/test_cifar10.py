import hashlib
import io
import tarfile
from dataclasses import replace

import pytest

from signalprop.data import cifar10, load_data

RECORDS = 4


def batch(number, records=RECORDS):
    """Records whose label and colours are told by `number` and their place: (label, red, green, blue)."""
    return b"".join(
        bytes([(number + i) % 10]) + bytes([10 * number + i]) * 1024 + bytes([100 + i]) * 1024 + bytes(range(256)) * 4
        for i in range(records)
    )


def archive(files):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return made.getvalue()


@pytest.fixture
def files():
    """What is in the archive, in an order that is not that of the batches."""
    names = ("data_batch_4.bin", "data_batch_1.bin", "data_batch_3.bin", "test_batch.bin", "data_batch_2.bin")
    made = {"cifar-10-batches-bin/readme.html": b"<html>"}
    for name in (*names, "data_batch_5.bin"):
        made[f"cifar-10-batches-bin/{name}"] = batch(int(name[11]) if name[11].isdigit() else 6)
    return made


@pytest.fixture
def publish(monkeypatch, own_cache, server):
    """Return a function that makes its bytes the published archive."""

    def as_published(content):
        sha256 = hashlib.sha256(content).hexdigest()
        monkeypatch.setattr(
            cifar10, "ARCHIVE", replace(cifar10.ARCHIVE, url=f"{server.url}/cifar.tar.gz", sha256=sha256)
        )
        server.files["/cifar.tar.gz"] = content

    return as_published


@pytest.fixture
def put(tmp_path, monkeypatch):
    """Return a function that puts an archive into a local folder."""

    def put(content):
        monkeypatch.setenv("SIGNALPROP_DATA", str(tmp_path / "named"))
        path = tmp_path / "named" / "cifar-10" / "cifar-10-binary.tar.gz"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        return path

    return put


def check(data):
    assert data.train_x.shape == (5 * RECORDS, 3, 32, 32)
    assert data.test_x.shape == (RECORDS, 3, 32, 32)
    assert data.train_y.tolist() == [(number + i) % 10 for number in range(1, 6) for i in range(RECORDS)]
    assert data.test_y.tolist() == [6, 7, 8, 9]
    red, green, blue = (data.test_x[2] * 255).round().int()
    assert red.unique().tolist() == [62]
    assert green.unique().tolist() == [102]
    assert blue[7:10, 31].tolist() == [255, 31, 63]  # rows of 32, the pixels of a row side by side


def test_download(publish, files, server):
    publish(archive(files))
    check(cifar10.load(RECORDS))
    check(cifar10.load(RECORDS))
    assert server.asked == ["/cifar.tar.gz"]


def test_local_archive(publish, put, files, server):
    publish(content := archive(files))
    put(content)
    check(cifar10.load(RECORDS))
    assert server.asked == []


def test_nothing_is_unpacked(publish, files, own_cache, tmp_path):
    publish(archive({f"../../{name}": content for name, content in files.items()}))
    check(cifar10.load(RECORDS))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [own_cache / "cifar-10/cifar-10-binary.tar.gz"]


@pytest.mark.parametrize(
    "corrupt",
    [lambda good: good[:-100], lambda good: b"", lambda good: good[:50] + b"x" + good[51:]],
    ids=["truncated", "empty", "changed"],
)
def test_corrupt_archive_is_named_with_three_ways(publish, put, files, server, corrupt):
    publish(good := archive(files))
    path = put(corrupt(good))
    got = hashlib.sha256(path.read_bytes()).hexdigest()
    expected = hashlib.sha256(good).hexdigest()
    with pytest.raises(
        ValueError, match=rf"(?s)^{path} \([\d,]+ bytes\) is truncated or not.*expected {expected}\n  got      {got}"
    ) as caught:
        cifar10.load(RECORDS)
    assert caught.match(rf"(?s)Three ways.*{server.url}.*SIGNALPROP_DATA/cifar-10/cifar-10-binary.tar.gz.*machine")
    assert server.asked == []


def test_missing_archive(publish, files, server, own_cache):
    publish(archive(files))
    server.sent = 100
    with pytest.raises(FileNotFoundError, match=r"(?s)cifar-10-binary\.tar\.gz is missing.*IncompleteRead.*Three ways"):
        load_data("cifar10")
    assert [path for path in own_cache.rglob("*") if path.is_file()] == []


def without(name):
    return lambda files: archive({path: content for path, content in files.items() if name not in path})


def with_test_batch(content):
    return lambda files: archive(files | {"cifar-10-batches-bin/test_batch.bin": content})


@pytest.mark.parametrize(
    ("build", "complaint"),
    [
        (without("data_batch_3"), "lacks data_batch_3.bin"),
        (with_test_batch(batch(6)[:-1]), r"a batch of 12,291 bytes; expected 12,292, 4 records of 3,073"),
        (with_test_batch(b"\x0a" + batch(6)[1:]), "label 10; expected 0 to 9"),
        (lambda files: archive(files)[:-200], "truncated or no .tar.gz"),
        (lambda files: b"no archive", "truncated or no .tar.gz"),
    ],
    ids=["missing batch", "short batch", "wrong label", "truncated", "no archive"],
)
def test_archive_is_checked_beyond_its_sum(publish, files, build, complaint):
    publish(build(files))
    with pytest.raises(ValueError, match=rf"(?s)cifar-10-binary\.tar\.gz .*{complaint}.*Three ways"):
        cifar10.load(RECORDS)


def test_a_link_is_no_batch(tmp_path):
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as tar:
        link = tarfile.TarInfo("test_batch.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(ValueError, match=r"lacks test_batch\.bin"):
        cifar10.read_members(tmp_path / "x.tar.gz", ("test_batch.bin",))


def test_published_batches_have_ten_thousand_records(publish, files):
    images, labels = cifar10.parse_batch(bytes(30_730_000))
    assert (images.shape, labels.shape) == ((10_000, 3, 32, 32), (10_000,))
    publish(archive(files))
    with pytest.raises(ValueError, match=r"12,292 bytes; expected 30,730,000, 10,000 records"):
        load_data("cifar10")
