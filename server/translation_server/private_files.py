"""Files that hold users' data: only the user that the server runs as may read them, whatever the umask is.

What is made is private from the beginning, so that nobody can open it before. What is there already is made private
too, and that is logged: older versions left their files open to everybody who may read in their folder.
"""

import contextlib
import logging
import os
import stat
from pathlib import Path

logger = logging.getLogger(__name__)

FILE, FOLDER = 0o600, 0o700
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make_folder(path: Path) -> None:
    """Makes a folder, and those above it, where there are none; one that is there stays as it is.

    Raises:
        OSError: it cannot be made.
    """
    for folder in reversed([one for one in (path, *path.parents) if not one.exists()]):
        with contextlib.suppress(FileExistsError):  # another process was faster
            folder.mkdir(FOLDER)
            folder.chmod(FOLDER)


def make_file(path: Path) -> None:
    """Makes an empty file where there is none.

    One that is there is not opened: to close it again would end the locks that this process has on it.

    Raises:
        OSError: it cannot be made.
    """
    with contextlib.suppress(FileExistsError):
        os.close(open_private(path.resolve(), os.O_WRONLY | os.O_CREAT | os.O_EXCL))


def open_private(path: str | Path, flags: int) -> int:
    """Opens a file as `open` has its ``opener`` do; one that is made is private from the beginning."""
    try:
        made = os.open(path, flags | os.O_CREAT | os.O_EXCL, FILE)
    except FileExistsError:
        if flags & os.O_EXCL:
            raise
        return os.open(path, flags, FILE)
    os.fchmod(made, FILE)
    return made


def tighten(path: Path) -> None:
    """Makes a file private that is open to other users, if it is there; what is no regular file stays as it is."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode) and mode & OTHERS:
            path.chmod(stat.S_IMODE(mode) & ~OTHERS)
            logger.warning("%s was open to other users (mode %04o): it no longer is", path, stat.S_IMODE(mode))
    except FileNotFoundError:
        return
    except OSError as error:
        logger.warning("%s is open to other users, and cannot be closed to them: %s", path, error.strerror)
