"""Files with users' data: only their owner can read and write them, whatever the umask is."""

import os
import stat

OWNER_ONLY = 0o600


def open_private(path: str, flags: int) -> int:
    """Opens a file, as an ``opener`` for `open`; creates a missing file with mode 0600."""
    try:
        created = os.open(path, flags | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    except FileExistsError:
        return os.open(path, flags, OWNER_ONLY)
    _chmod(created, OWNER_ONLY)
    return created


def tighten(descriptor: int) -> None:
    """Removes the permissions of other users from an open file, if it is a regular file of this user."""
    now = os.fstat(descriptor)
    if stat.S_ISREG(now.st_mode) and hasattr(os, "getuid") and now.st_uid == os.getuid():
        _chmod(descriptor, stat.S_IMODE(now.st_mode) & OWNER_ONLY)


def _chmod(descriptor: int, mode: int) -> None:
    if os.chmod in os.supports_fd:
        os.chmod(descriptor, mode)
