"""The output files of jobs, and the signed URLs at which they are downloaded.

A URL contains the user, the job and the time of expiry, signed with the key in the store. So it needs no credentials,
and every server accepts it. For half of its lifetime, all polls of the job give the same URL: it is a function of the
job and of time, so answers can be cached.
"""

import asyncio
import hashlib
import hmac
import io
import json
import math
import mimetypes
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, NamedTuple
from urllib.parse import quote

from pydantic_core import to_json

from translation_server.core.clock import VirtualTime
from translation_server.core.job import JobKey, JobSnapshot
from translation_server.core.media.samples import SAMPLES

FILES = "/files/"  # where the paths of all files begin
TTL = 3600.0  # how long a URL is valid by default, in seconds
PREFERRED = "output."  # the file whose name begins like this is the default for its type
UNKNOWN_TYPE = "application/octet-stream"

MEDIA_TYPES = MappingProxyType(
    {
        "mp4": "video/mp4",
        "wav": "audio/wav",
        "png": "image/png",
        "json": "application/json",
        "txt": "text/plain; charset=utf-8",
    }
)
"""The media types of the server's own files, by ending; operating systems disagree on some."""

TYPES = mimetypes.MimeTypes()


class FilePath(NamedTuple):
    """The path of a file's URL, and the virtual time from which polls give another one."""

    path: str
    until: VirtualTime


class Grant(NamedTuple):
    """The permission in a signed URL: to download a file as the output of a job, before a virtual time."""

    owner: str
    job: JobKey
    name: str
    expires: float


@dataclass(frozen=True, slots=True)
class OpenFile:
    """An open file. Its entity tag changes with its content."""

    name: str
    media_type: str
    size: int
    tag: str
    _file: BinaryIO

    async def read(self, start: int, stop: int) -> bytes:
        """Returns a part of the file.

        Raises:
            OSError: it cannot be read, or has become shorter.
        """
        return await asyncio.to_thread(self._read, start, stop)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _read(self, start: int, stop: int) -> bytes:
        self._file.seek(start)
        part = self._file.read(stop - start)
        if len(part) < stop - start:
            raise OSError(f"{self.name} has become shorter while it was sent")
        return part


class Library:
    """The files that jobs can have as output: the server's own, and those of a folder, which come first.

    Args:
        folder: the user's files by their names.
    """

    def __init__(self, folder: Mapping[str, Path] = MappingProxyType({})) -> None:
        self._folder = folder
        own = sorted(folder, key=lambda name: (not name.startswith(PREFERRED), name))
        self._by_type: dict[str, str] = {}
        for name in (*own, *SAMPLES):
            self._by_type.setdefault(_ending(name), name)

    @property
    def types(self) -> Collection[str]:
        """The endings and names of the files."""
        return [*self._by_type, *self._folder, *SAMPLES]

    def name_of(self, kind: str) -> str | None:
        """Returns the name of the file for a kind, an ending such as ``mp4`` or a name; None if there is none."""
        return kind if kind in self._folder or kind in SAMPLES else self._by_type.get(kind)

    async def open(self, name: str) -> OpenFile | None:
        """Opens a file; returns None if there is no file of this name, or none any more.

        Raises:
            OSError: it cannot be opened now, for example because no file descriptor is left.
        """
        if path := self._folder.get(name):
            return await asyncio.to_thread(_open, name, path)
        if name not in SAMPLES:
            return None
        content = SAMPLES[name]()
        return OpenFile(name, _media_type(name), len(content), _tag(content), io.BytesIO(content))


class Files:
    """Signs and verifies the URLs of files.

    Args:
        key: what they are signed with.
        library: the files.
        ttl: how long a URL is valid at most, in seconds of virtual time; it is valid for at least half of that.
    """

    def __init__(self, key: bytes, library: Library, ttl: float = TTL) -> None:
        self.library = library
        self._key = key
        self._ttl = ttl

    def path(self, snapshot: JobSnapshot, kind: str) -> FilePath:
        """Returns the path of the URL that a poll of a completed job shows for the file of a kind.

        Raises:
            LookupError: there is no file of this kind.
        """
        name = self.library.name_of(kind)
        if name is None:
            raise LookupError(f"there is no file of the kind {kind}")
        job, half = snapshot.job, self._ttl / 2
        until = job.ends_at + half * (math.floor((snapshot.now - job.ends_at) / half) + 1)
        payload = _encoded(to_json([job.owner, job.key, until + half]))
        return FilePath(f"{FILES}{payload}.{self._signature(payload, name)}/{_quoted(name)}", VirtualTime(until))

    def grant(self, path: str) -> Grant | None:
        """Returns the permission in the path of a URL, which may have expired; None if this key has not signed it."""
        token, _, name = path.removeprefix(FILES).partition("/")
        payload, _, signature = token.partition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(payload, name).encode()):
            return None
        owner, key, expires = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return Grant(owner, JobKey(*key), name, expires)

    def _signature(self, payload: str, name: str) -> str:
        return _encoded(hmac.digest(self._key, f"{payload}/{name}".encode(), "sha256"))


_quoted = cache(quote)  # the names of files, which are few


def _encoded(content: bytes) -> str:
    return urlsafe_b64encode(content).decode().rstrip("=")


def _open(name: str, path: Path) -> OpenFile | None:
    try:
        file = path.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        return None
    status = os.fstat(file.fileno())
    tag = _tag(f"{status.st_ino} {status.st_mtime_ns} {status.st_size}".encode())
    return OpenFile(name, _media_type(name), status.st_size, tag, file)


def _tag(content: bytes) -> str:
    return f'"{hashlib.blake2b(content, digest_size=16).hexdigest()}"'


def _media_type(name: str) -> str:
    return MEDIA_TYPES.get(_ending(name)) or TYPES.guess_type(name)[0] or UNKNOWN_TYPE


def _ending(name: str) -> str:
    return name.rpartition(".")[2].lower()
