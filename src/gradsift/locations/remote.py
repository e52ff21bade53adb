"""Paths in a store, named by URLs, with the methods of :class:`pathlib.Path` that the program uses."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeAlias

import fsspec

from gradsift.errors import LocationError
from gradsift.locations.requests import request

ATOMIC = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "r2", "memory")
"""Stores in which a file appears whole, or not at all; others get it under another name first."""
VERSION_KEYS = ("ETag", "etag", "generation", "md5Hash", "content_md5", "LastModified", "mtime", "modified", "created")
"""What stores call that which changes with a file's content."""
AT_A_TIME = 16
"""Requests that are under way at a time."""


class RemotePath:
    """A file, or what begins like a folder, in a store.

    Args:
        protocol: Which kind of store, such as ``s3``.
        key: Its name there, with the bucket.

    Attributes:
        protocol: Kind of the store.
        key: Its name there.

    Raises:
        LocationError: The name has a part ``..``, which no store takes for the folder above.
    """

    def __init__(self, protocol: str, key: str) -> None:
        self.protocol, self.key = protocol, key.rstrip("/")
        if ".." in key.replace("\\", "/").split("/"):  # a local copy would lie outside of its folder
            raise LocationError(f"{self} has the part .. in its name: give the name without it")

    @property
    def fs(self) -> Any:
        """The file system of fsspec; options come from its own configuration and from the environment."""
        return fsspec.filesystem(self.protocol, use_listings_cache=False)

    def __str__(self) -> str:
        """The URL."""
        return f"{self.protocol}://{self.key.lstrip('/')}"

    def __repr__(self) -> str:
        """The URL."""
        return f"RemotePath({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        """Whether it is the same place."""
        return isinstance(other, RemotePath) and str(self) == str(other)

    def __hash__(self) -> int:
        """Of the URL."""
        return hash(str(self))

    def __lt__(self, other: RemotePath) -> bool:
        """Order of names."""
        return str(self) < str(other)

    def __truediv__(self, name: str | PurePosixPath) -> RemotePath:
        """A place below."""
        return RemotePath(self.protocol, f"{self.key}/{PurePosixPath(name)}")

    @property
    def _pure(self) -> PurePosixPath:
        return PurePosixPath(self.key)

    @property
    def name(self) -> str:
        """Last part of the name."""
        return self._pure.name

    @property
    def stem(self) -> str:
        """Last part without its ending."""
        return self._pure.stem

    @property
    def suffix(self) -> str:
        """Ending, with the full stop."""
        return self._pure.suffix

    @property
    def parent(self) -> RemotePath:
        """What it lies in."""
        return RemotePath(self.protocol, str(self._pure.parent))

    def with_name(self, name: str) -> RemotePath:
        """A place beside.

        Args:
            name: Its last part.

        Returns:
            The place.
        """
        return RemotePath(self.protocol, str(self._pure.with_name(name)))

    def relative_to(self, other: RemotePath) -> PurePosixPath:
        """Its name from another place on.

        Args:
            other: What it lies in.

        Returns:
            The relative name.
        """
        return self._pure.relative_to(other._pure)

    def exists(self) -> bool:
        """Whether there is such a file, or files below."""
        return self._ask(lambda: self.fs.exists(self.key))

    def is_file(self) -> bool:
        """Whether there is such a file."""
        return self._ask(lambda: self.fs.isfile(self.key))

    def is_dir(self) -> bool:
        """Whether there are files below."""
        return not self.is_file() and self._ask(lambda: self.fs.isdir(self.key))

    def is_symlink(self) -> bool:
        """No store has links."""
        return False

    def version(self) -> str:
        """What changes with the content, as the store tells it; empty for what begins like a folder.

        Raises:
            FileNotFoundError: There is no such file, and none below.
        """
        about = self._ask(lambda: self.fs.info(self.key))
        if about["type"] == "directory":
            return ""
        known = [about[name] for name in VERSION_KEYS if about.get(name) is not None]
        return repr([about["size"], *known])

    def size(self) -> int:
        """Bytes of the file.

        Raises:
            FileNotFoundError: There is no such file.
        """
        return int(self._ask(lambda: self.fs.info(self.key))["size"])

    def files(self) -> list[RemotePath]:
        """All files below, by name; one listing."""
        try:
            keys = self._ask(lambda: self.fs.find(self.key))
        except FileNotFoundError:
            return []
        return sorted(RemotePath(self.protocol, key) for key in keys if key.rstrip("/") != self.key)

    def rglob(self, _pattern: str = "*") -> list[RemotePath]:
        """All files below, and what begins like a folder.

        Args:
            _pattern: Always ``"*"``.

        Returns:
            The places, by name.
        """
        places = {file.relative_to(self) for file in self.files()}
        places |= {above for place in places for above in place.parents if above != PurePosixPath(".")}
        return [self / place for place in sorted(places)]

    def glob(self, pattern: str) -> list[RemotePath]:
        """Places below whose relative name fits a pattern.

        Args:
            pattern: With ``*`` for any characters but ``/``.

        Returns:
            The places, by name.
        """
        depth = len(PurePosixPath(pattern).parts)
        relative = [(place, place.relative_to(self)) for place in self.rglob()]
        return [place for place, name in relative if len(name.parts) == depth and name.match(pattern)]

    def matching(self) -> list[RemotePath]:
        """The files whose names fit this one, taken as a pattern with ``*`` and ``**``; one listing."""
        return [RemotePath(self.protocol, key) for key in self._ask(lambda: self.fs.glob(self.key))]

    def iterdir(self) -> Iterator[RemotePath]:
        """What lies directly below, by name; one listing, of this level alone."""
        try:
            keys = self._ask(lambda: self.fs.ls(self.key, detail=False))
        except FileNotFoundError:
            return
        yield from sorted(RemotePath(self.protocol, key) for key in keys if key.rstrip("/") != self.key)

    def open(self, mode: str = "rb") -> IO[bytes]:
        """Opens the file for reading by ranges.

        Args:
            mode: Always ``"rb"``.

        Returns:
            A binary file; each range is read when it is asked for.

        Raises:
            FileNotFoundError: There is no such file.
        """
        if mode != "rb":
            raise LocationError(f"{self} is opened for reading alone: write it through gradsift.writing.new_file")
        return io.BufferedReader(_Ranges(self))

    def read_bytes(self) -> bytes:
        """The whole content.

        Raises:
            FileNotFoundError: There is no such file.
        """
        return bytes(self._ask(lambda: self.fs.cat_file(self.key)))

    def read_range(self, start: int, stop: int) -> bytes:
        """Some consecutive bytes.

        Args:
            start: Place of the first.
            stop: Place behind the last.

        Returns:
            The bytes.
        """
        return bytes(self._ask(lambda: self.fs.cat_file(self.key, start=start, end=stop)))

    def write_bytes(self, content: bytes, *, new: bool = False) -> None:
        """Writes a file, whole or not at all.

        Args:
            content: What it shall hold.
            new: Whether a file that is there stays and is refused.

        Raises:
            FileExistsError: There is one, and it was to be new.
            LocationError: It cannot be written.
        """
        mode = "create" if new else "overwrite"
        try:
            request(str(self), "write", lambda: self.fs.pipe_file(self.key, content, mode=mode))
        except FileExistsError:  # a first try may have been done, and its answer lost
            if self.read_bytes() != content:
                raise

    def upload(self, file: Path, *, new: bool = False) -> None:
        """Writes a local file's content, whole or not at all.

        Args:
            file: The local file.
            new: Whether a file that is there stays and is refused.

        Raises:
            FileExistsError: There is one, and it was to be new.
            LocationError: It cannot be written.
        """
        mode = "create" if new else "overwrite"
        if self.protocol in ATOMIC:
            try:
                request(str(self), "write", lambda: self.fs.put_file(str(file), self.key, mode=mode))
            except FileExistsError:  # as above; the packages below try again, too, and do not say so
                if self.size() != file.stat().st_size or self.read_bytes() != file.read_bytes():
                    raise
            return
        if new and self.exists():
            raise FileExistsError(str(self))
        aside = self.with_name(f".{self.stem}.part{self.suffix}")
        request(str(self), "write", lambda: self.fs.makedirs(self.parent.key, exist_ok=True))
        request(str(self), "write", lambda: self.fs.put_file(str(file), aside.key))
        request(str(self), "write", lambda: self.fs.mv(aside.key, self.key))

    def copy_to(self, other: RemotePath) -> None:
        """Copies the file within the store; no byte comes here.

        Args:
            other: Its new name.
        """
        request(str(other), "write", lambda: self.fs.cp_file(self.key, other.key))

    def unlink(self, missing_ok: bool = False) -> None:
        """Removes the file.

        Args:
            missing_ok: Whether it may be missing.

        Raises:
            FileNotFoundError: It is missing.
        """
        try:
            request(str(self), "remove", lambda: self.fs.rm_file(self.key))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def mkdir(self, **_: Any) -> None:
        """Nothing: stores have no folders. Same as :meth:`pathlib.Path.mkdir` to who calls it."""

    def resolve(self) -> RemotePath:
        """Itself."""
        return self

    def _ask(self, action: Any) -> Any:
        return request(str(self), "read", action)


Location: TypeAlias = Path | RemotePath
"""A local path, or one in a store."""


class _Ranges(io.RawIOBase):
    """A file that is read by ranges, through :func:`gradsift.locations.requests.request`."""

    def __init__(self, place: RemotePath) -> None:
        super().__init__()
        self._place, self._at, self._size = place, 0, place.size()

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As of any file."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        """As of any file."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """As of any file; one request."""
        stop = min(self._at + len(buffer), self._size)
        if stop <= self._at:
            return 0
        content = self._place.read_range(self._at, stop)
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)


def each(action: Any, places: Sequence[Any]) -> list[Any]:
    """Does something with several places at a time.

    Args:
        action: What is done with each.
        places: The places.

    Returns:
        What it gave, in the order of the places.
    """
    if len(places) < 2:
        return [action(place) for place in places]
    with ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="gradsift-store") as threads:
        return list(threads.map(action, places))
