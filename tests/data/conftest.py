"""A cache and data folders of the test's own, and a server that can fail."""

import gc
import threading
import warnings
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from signalprop.data import official


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """The folder of downloads, not yet there; no local folder has anything."""
    monkeypatch.delenv("SIGNALPROP_DATA", raising=False)
    monkeypatch.setattr(official, "DEBIAN", tmp_path / "debian")
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path / "cache" / project)
    return tmp_path / "cache" / "signalprop"


@dataclass
class Server:
    """What is served: a body for each path, of which only the first `sent` bytes are sent."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    sent: int | None = None
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def server(monkeypatch):
    """A server on this machine that answers 404 until it has files."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            content = serving.files.get(self.path)
            serving.asked.append(self.path)
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: serving.sent])

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        serving = Server(f"http://127.0.0.1:{http.server_port}")
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield serving
        http.shutdown()
        thread.join()
    with warnings.catch_warnings():  # pooch leaves the connection of a failed download to the garbage collector
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
