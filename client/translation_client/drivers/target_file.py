"""The file that a download writes, under a temporary name until it is complete."""

import errno
import os
import secrets
import shutil
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import BinaryIO, Self

from translation_client.core.effects import Piece

LONGEST = 100  # how many characters of the name are part of the temporary one


class TargetFile:
    """A context manager: the temporary file is deleted at its end, unless `commit` has given it its own name.

    Args:
        path: Where the complete file will be.
        overwrite: Whether it replaces a file that exists.

    Raises:
        FileExistsError: There is a file, and it must not be overwritten.
        OSError: The folder is missing or cannot be written, or the path is a folder.
    """

    def __init__(self, path: str | PathLike[str], *, overwrite: bool) -> None:
        self.path = Path(path)
        self._overwrite = overwrite
        self._written = 0  # up to which place
        if self.path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder: name a file in it", str(self.path))
        if not overwrite and self.path.exists():
            raise self._exists()
        self._temporary = self.path.with_name(f".{self.path.name[:LONGEST]}.{secrets.token_hex(4)}.part")
        self._file: BinaryIO = self._temporary.open("xb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def write(self, piece: Piece) -> None:
        """Writes a piece at its place, and removes everything after it."""
        if piece.offset != self._written:
            self._file.seek(piece.offset)
            self._file.truncate()
        self._file.write(piece.data)
        self._written = piece.offset + len(piece.data)

    def commit(self) -> None:
        """Gives the file its final name, after all its data is on the disk, so a power cut loses nothing."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        if self._overwrite:
            with suppress(FileNotFoundError):
                shutil.copymode(self.path, self._temporary)
            self._temporary.replace(self.path)
            return
        try:
            self.path.hardlink_to(self._temporary)  # unlike a rename, it never replaces a file
        except FileExistsError:
            raise self._exists() from None
        except OSError:  # this file system has no links
            if self.path.exists():
                raise self._exists() from None
            self._temporary.replace(self.path)

    def _exists(self) -> FileExistsError:
        return FileExistsError(errno.EEXIST, "exists already: choose another name, or overwrite it", str(self.path))
