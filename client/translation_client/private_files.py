"""Files that hold users' data: what is made is for its owner alone, whatever the umask."""

import os
import stat

OWNERS = 0o600


def open_private(path: str, flags: int) -> int:
    """Open a file, as `open` has its `opener` do; one that is made is private from the beginning."""
    try:
        made = os.open(path, flags | os.O_CREAT | os.O_EXCL, OWNERS)
    except FileExistsError:
        return os.open(path, flags, OWNERS)
    _chmod(made, OWNERS)
    return made


def tighten(descriptor: int) -> None:
    """Make an open file private, as older versions did not; what is no regular file of this user stays as it is."""
    now = os.fstat(descriptor)
    if stat.S_ISREG(now.st_mode) and hasattr(os, "getuid") and now.st_uid == os.getuid():
        _chmod(descriptor, stat.S_IMODE(now.st_mode) & OWNERS)


def _chmod(descriptor: int, mode: int) -> None:
    if os.chmod in os.supports_fd:
        os.chmod(descriptor, mode)
