"""Published files: found in a local folder or downloaded once, and refused with directions if they are not right."""

import os
from dataclasses import dataclass
from pathlib import Path

DEBIAN = Path("/usr/share/datasets")


@dataclass(frozen=True)
class OfficialFile:
    """A file as its authors publish it.

    Attributes
    ----------
    path
        Where it lies below a data folder or the cache, such as ``"cifar-10/cifar-10-binary.tar.gz"``.
    url
        Where it is published.
    sha256
        Its SHA-256 as published; what is downloaded must have it.
    another_way
        How to get it without a network and without fetching it by hand: one line for the error messages.
    """

    path: str
    url: str
    sha256: str
    another_way: str

    def find(self) -> Path:
        """Return where the file is: in a local folder (its content not yet checked) or, checked, in the cache.

        Raises
        ------
        ValueError
            If ``SIGNALPROP_DATA`` is set, but not to a folder.
        FileNotFoundError
            If the file is nowhere and cannot be downloaded; nothing half-written stays.
        """
        for folder in self._local_folders():
            if (path := folder / self.path).is_file():
                return path
        return self._download()

    def refused(self, path: Path, problem: str) -> ValueError:
        """Return the error that says what is wrong with the file at `path`, and how to get the right one."""
        return ValueError(f"{path} {problem}. Remove or replace it.\n{self._three_ways()}")

    def _local_folders(self) -> list[Path]:
        named = os.environ.get("SIGNALPROP_DATA")
        if not named:
            return [DEBIAN]
        folder = Path(named).expanduser()
        if not folder.is_dir():
            raise ValueError(
                f"SIGNALPROP_DATA is {named!r}, which is no folder; set it to the folder that holds {self.path}, or "
                f"unset it.\n{self._three_ways()}"
            )
        return [folder, DEBIAN]

    def _download(self) -> Path:
        import pooch  # here, for whoever has the file in a local folder, or needs none, does without

        path = cache() / self.path
        state = "is damaged" if path.is_file() else "is missing"
        try:
            pooch.retrieve(self.url, f"sha256:{self.sha256}", fname=path.name, path=path.parent, progressbar=True)
        except (OSError, ValueError) as error:  # no network, refused, broken off; no room, no right; another content
            raise FileNotFoundError(
                f"{path} {state} and could not be downloaded from {self.url}: {error}\n"
                f"Expected a file with SHA-256 {self.sha256}.\n{self._three_ways()}"
            ) from error
        return path

    def _three_ways(self) -> str:
        return (
            f"Three ways to get {Path(self.path).name}:\n"
            f"  - with a network, load_data downloads it from {self.url} into {cache()}\n"
            f"  - fetch it by hand and put it at $SIGNALPROP_DATA/{self.path}, a folder that you name\n"
            f"  - {self.another_way}"
        )


def cache() -> Path:
    """Return the folder that downloads are kept in, such as ``~/.cache/signalprop``."""
    import pooch

    return Path(pooch.os_cache("signalprop"))
