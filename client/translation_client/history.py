"""The durations of past jobs in a small file that programs may share: one JSON object per line, the newest last.

A line is added in one write, so that lines of several programs do not mix. A file that has grown is written anew beside
itself and put in its place. What cannot be read is left out: a lost duration costs nothing but a little advice.
"""

import json
import logging
import os
from collections.abc import Sequence
from math import isfinite
from os import PathLike
from pathlib import Path
from threading import Lock

from translation_client.core.learning import KEPT, SHORTEST, History

logger = logging.getLogger("translation_client")

LARGEST = 1 << 18  # bytes: some five thousand lines


class HistoryFile:
    """A memory for `Learned` that outlasts the program. Threads and programs may share its file."""

    def __init__(self, path: str | PathLike[str]) -> None:
        """Read what the file has; it is made where there is none.

        Raises:
            ValueError: It cannot be read and written.
        """
        self._path, self._lock, self._history = Path(path), Lock(), History()
        try:
            if self._append(b"") > LARGEST:
                self._read()
                self._rewrite()
            else:
                self._read()
        except OSError as error:
            raise ValueError(
                f"history must be a file that can be read and written, not {str(path)!r}: {error.strerror}"
            ) from None

    def durations(self, kind: str) -> Sequence[float]:
        """How many seconds the latest jobs of a kind have taken, the oldest first."""
        return self._history.durations(kind)

    def add(self, kind: str, seconds: float) -> None:
        """Remember how long a job has taken; if the file cannot be written, only as long as this program lasts."""
        with self._lock:
            self._history.add(kind, seconds)
            try:
                if self._append(_line(kind, max(seconds, SHORTEST))) > LARGEST:
                    self._rewrite()
            except OSError as error:
                logger.warning("the history %s cannot be written: %s", self._path, error)

    def _append(self, line: bytes) -> int:
        """Add to the file and return its size."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line)
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    def _read(self) -> None:
        for line in self._path.read_bytes().splitlines():
            if found := _duration(line):
                self._history.add(*found)

    def _rewrite(self) -> None:
        beside = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
        kinds = self._history.kinds
        beside.write_bytes(b"".join(_line(kind, seconds) for kind in kinds for seconds in kinds[kind][-KEPT:]))
        beside.replace(self._path)


def _line(kind: str, seconds: float) -> bytes:
    return json.dumps({"kind": kind, "seconds": round(seconds, 3)}).encode() + b"\n"


def _duration(line: bytes) -> tuple[str, float] | None:
    try:
        match json.loads(line):
            case {"kind": str(kind), "seconds": int(seconds) | float(seconds)} if isfinite(seconds) and seconds >= 0:
                return kind, float(seconds)
    except (ValueError, RecursionError, OverflowError):
        pass
    return None
