"""The user's own output files, from a folder."""

import os
from collections.abc import Mapping
from pathlib import Path


class OutputFilesError(Exception):
    """A folder of output files is unusable; the message is one line."""


def read_output_files(path: Path) -> Mapping[str, Path]:
    """Returns the files in a folder by their names, without those whose name begins with a dot.

    Raises:
        OutputFilesError: it is no folder, has no files, or has one that cannot be read.
    """
    where = f"OUTPUT_FILES={path}: must be a folder of readable files"
    try:
        files = {file.name: file.absolute() for file in sorted(path.iterdir()) if _is_shown(file)}
    except OSError as error:
        raise OutputFilesError(f"{where}: {error.strerror}") from None
    if not files:
        raise OutputFilesError(f"{where}: it has none")
    for name, file in files.items():
        if not os.access(file, os.R_OK):
            raise OutputFilesError(f"{where}: {name!r} cannot be read")
        if not name.isprintable() or not name.isascii():
            raise OutputFilesError(f"{where}: {name!r} must have a name of printable ASCII characters")
    return files


def _is_shown(file: Path) -> bool:
    return file.is_file() and not file.name.startswith(".")
