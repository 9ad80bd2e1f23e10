"""Files with users' data, which only the user that runs the server may read, whatever the umask is.

New files and folders are created private. `make_private` corrects the mode of existing files and logs it, because older
versions left them readable for everybody who can read their folder.
"""

import contextlib
import logging
import os
import stat
from pathlib import Path

logger = logging.getLogger(__name__)
FILE, FOLDER = 0o600, 0o700  # the modes of private files and folders
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def create_folder(path: Path) -> None:
    """Creates a folder and its missing parents. Existing ones keep their mode.

    Raises:
        OSError: a folder cannot be created.
    """
    for folder in reversed([folder for folder in (path, *path.parents) if not folder.exists()]):
        with contextlib.suppress(FileExistsError):  # another process has created it
            folder.mkdir(FOLDER)
            folder.chmod(FOLDER)  # the umask may have removed bits


def create_file(path: Path) -> None:
    """Creates an empty file where there is none.

    An existing one is not opened: closing it again would release the locks that this process has on it.

    Raises:
        OSError: the file cannot be created.
    """
    with contextlib.suppress(FileExistsError):
        os.close(open_private(path.resolve(), os.O_WRONLY | os.O_CREAT | os.O_EXCL))


def open_private(path: str | Path, flags: int) -> int:
    """Opens a file; an ``opener`` for `open`. A new file is private from the beginning."""
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, FILE)
    except FileExistsError:
        if flags & os.O_EXCL:
            raise
        return os.open(path, flags, FILE)
    os.fchmod(descriptor, FILE)
    return descriptor


def make_private(path: Path) -> None:
    """Makes an existing regular file private if other users may read or write it."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode) and mode & OTHERS:
            path.chmod(stat.S_IMODE(mode) & ~OTHERS)
            logger.warning("%s was open to other users (mode %04o): made it private", path, stat.S_IMODE(mode))
    except FileNotFoundError:
        return
    except OSError as error:
        logger.warning("%s is open to other users, and cannot be made private: %s", path, error.strerror)
