"""Files with users' data: new ones are readable by their owner alone, whatever the umask."""

import os
import stat

OWNER_ONLY = 0o600


def open_private(path: str, flags: int) -> int:
    """Returns an `opener` for `open`: a file that it creates is private from the beginning."""
    try:
        made = os.open(path, flags | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    except FileExistsError:
        return os.open(path, flags, OWNER_ONLY)
    _chmod(made, OWNER_ONLY)
    return made


def tighten(descriptor: int) -> None:
    """Makes an open file private, if it is a regular file of this user."""
    now = os.fstat(descriptor)
    if stat.S_ISREG(now.st_mode) and hasattr(os, "getuid") and now.st_uid == os.getuid():
        _chmod(descriptor, stat.S_IMODE(now.st_mode) & OWNER_ONLY)


def _chmod(descriptor: int, mode: int) -> None:
    if os.chmod in os.supports_fd:
        os.chmod(descriptor, mode)
