import hashlib

import pytest

from signalprop.data import official
from signalprop.data.official import OfficialFile

CONTENT = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
WAYS = (
    r"(?s)Three ways to get data\.gz:\n  - with a network.*\n  - .*\$SIGNALPROP_DATA/toy/data\.gz.*\n  - ask a friend$"
)


@pytest.fixture
def file(own_cache, server):
    server.files["/data.gz"] = CONTENT
    return OfficialFile("toy/data.gz", f"{server.url}/data.gz", SHA256, "ask a friend")


def put(folder, content):
    path = folder / "toy" / "data.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def everything_below(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_download_arrives_in_the_cache_with_progress(file, own_cache, capsys):
    path = file.find()
    assert path == own_cache / "toy" / "data.gz"
    assert path.read_bytes() == CONTENT
    assert everything_below(own_cache) == [path]
    assert "100%" in capsys.readouterr().err


def test_second_time_comes_from_the_cache(file, server):
    first = file.find()
    server.files.clear()
    assert file.find() == first
    assert server.asked == ["/data.gz"]


def test_damaged_copy_in_the_cache_is_replaced(file, own_cache):
    path = put(own_cache, CONTENT[:-1])
    assert file.find() == path
    assert path.read_bytes() == CONTENT


def test_damaged_copy_in_the_cache_that_cannot_be_replaced_is_named(file, own_cache, server):
    path = put(own_cache, CONTENT[:-1])
    server.files.clear()
    with pytest.raises(FileNotFoundError, match=rf"^{path} is damaged and could not be downloaded"):
        file.find()


def break_off(server):
    server.sent = 1000


def other_content(server):
    server.files["/data.gz"] = CONTENT[::-1]


def not_there(server):
    server.files.clear()


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (break_off, r"IncompleteRead\(1000 bytes read, 255000 more expected\)"),
        (other_content, hashlib.sha256(CONTENT[::-1]).hexdigest()),
        (not_there, "404"),
    ],
)
def test_failed_download_leaves_nothing_and_says_why(file, own_cache, server, trouble, reason):
    trouble(server)
    with pytest.raises(FileNotFoundError, match=WAYS) as caught:
        file.find()
    message = str(caught.value)
    assert message.startswith(f"{own_cache}/toy/data.gz is missing and could not be downloaded from {server.url}")
    assert f"Expected a file with SHA-256 {SHA256}" in message
    with pytest.raises(FileNotFoundError, match=reason):
        file.find()
    assert everything_below(own_cache) == []


def test_no_server(file, server):
    gone = OfficialFile(file.path, "http://127.0.0.1:1/data.gz", file.sha256, file.another_way)
    with pytest.raises(FileNotFoundError, match=WAYS):
        gone.find()


def test_read_only_cache(file, monkeypatch):
    def refuse(*args, **kwargs):  # by hand, because root may write anywhere
        raise PermissionError(13, "Permission denied", str(kwargs.get("dir")))

    monkeypatch.setattr("tempfile.NamedTemporaryFile", refuse)
    with pytest.raises(FileNotFoundError, match=r"(?s)could not be downloaded.*Permission denied.*Three ways"):
        file.find()


def test_file_where_the_cache_should_be(file, own_cache, server):
    own_cache.parent.mkdir()
    own_cache.write_text("")
    with pytest.raises(FileNotFoundError, match=WAYS):
        file.find()


@pytest.mark.parametrize("place", ["named", "debian"])
def test_local_folder_comes_first(file, tmp_path, monkeypatch, server, place):
    path = put(tmp_path / place, b"whatever; its reader checks it")
    if place == "named":
        put(tmp_path / "debian", b"another")
        monkeypatch.setenv("SIGNALPROP_DATA", str(tmp_path / place))
    assert file.find() == path
    assert server.asked == []


def test_folder_without_the_file_is_passed_over(file, tmp_path, monkeypatch, own_cache):
    monkeypatch.setenv("SIGNALPROP_DATA", str(tmp_path))
    assert file.find() == own_cache / "toy" / "data.gz"


def test_home_folder_may_be_abbreviated(file, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SIGNALPROP_DATA", "~/named")
    path = put(tmp_path / "named", b"")
    assert file.find() == path


def test_named_folder_must_exist(file, tmp_path, monkeypatch, server):
    monkeypatch.setenv("SIGNALPROP_DATA", str(tmp_path / "misspelt"))
    with pytest.raises(ValueError, match=r"SIGNALPROP_DATA is '.*misspelt', which is no folder") as caught:
        file.find()
    assert caught.match(WAYS)
    assert server.asked == []


def test_refusal_names_the_file_and_the_ways(file, tmp_path):
    error = file.refused(tmp_path / "x.gz", "is green")
    assert str(error).startswith(f"{tmp_path}/x.gz is green. Remove or replace it.\nThree ways")


def test_downloads_are_kept_below_the_users_cache():
    assert official.cache().name == "signalprop"
