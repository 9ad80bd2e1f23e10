"""The durations of past jobs in a small file that programs may share: one JSON object per line, the newest last.

A line is added in one write, so lines of several programs do not mix. When the file has doubled in size, it is read
again, with the lines of other programs, and replaced by a shorter one. Unreadable lines are skipped: a lost duration
only makes the estimate a little worse.
"""

import json
import logging
import os
import shutil
from math import isfinite
from os import PathLike
from pathlib import Path
from threading import Lock

from translation_client.core.estimator import SHORTEST, History
from translation_client.private_files import open_private

logger = logging.getLogger("translation_client")

LARGEST = 1 << 18  # bytes: about 5,000 lines


class HistoryFile(History):
    """The durations for `Learned` in a file. Threads and programs may share it."""

    def __init__(self, path: str | PathLike[str]) -> None:
        """Reads the file, or creates it.

        Raises:
            ValueError: The file cannot be read and written.
        """
        super().__init__()
        self._locks, self._largest = dict[int, Lock](), LARGEST
        try:
            self._path = Path(path)
            size = self._append(b"")
            self.kinds = self._read().kinds
            if size > self._largest:
                self._rewrite()
        except (OSError, TypeError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise ValueError(f"history must be a file that can be read and written, not {str(path)!r}: {why}") from None

    def add(self, kind: str, seconds: float) -> None:
        """Adds a job's duration; if the file cannot be written, logs a warning and keeps it in memory."""
        with self._locks.setdefault(os.getpid(), Lock()):  # a forked child may inherit a lock that stays locked
            super().add(kind, seconds)
            try:
                if self._append(_line(kind, max(seconds, SHORTEST))) > self._largest:
                    self._rewrite()
            except OSError as error:
                logger.warning("the history file %s cannot be written, durations stay in memory: %s", self._path, error)

    def _append(self, line: bytes) -> int:
        """Appends a line, after a line break if the last line was cut off, and returns the file's size."""
        descriptor = open_private(os.fspath(self._path), os.O_RDWR | os.O_APPEND | os.O_CREAT)
        try:
            if line and os.fstat(descriptor).st_size:
                os.lseek(descriptor, -1, os.SEEK_END)
                line = line if os.read(descriptor, 1) == b"\n" else b"\n" + line
            os.write(descriptor, line)
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    def _read(self) -> History:
        history = History()
        for line in self._path.read_bytes().splitlines():
            if duration := _duration(line):
                history.add(*duration)
        return history

    def _rewrite(self) -> None:
        self.kinds = self._read().kinds
        content = b"".join(_line(kind, seconds) for kind, durations in self.kinds.items() for seconds in durations)
        replacement = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
        replacement.unlink(missing_ok=True)
        with open(replacement, "xb", opener=open_private) as file:
            file.write(content)
        shutil.copymode(self._path, replacement)
        replacement.replace(self._path)
        self._largest = max(LARGEST, 2 * len(content))


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
