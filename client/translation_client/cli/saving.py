"""`--output`: writes the output files of completed jobs."""

import re
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from translation_client.cli.display import write
from translation_client.cli.errors import UsageError
from translation_client.cli.options import Options
from translation_client.cli.tracking import TrackedJob
from translation_client.client import AsyncClient
from translation_client.core.errors import ProtocolError
from translation_client.core.status import State, Status
from translation_client.core.text import visible

ID = "{id}"  # in `--output`: stands for the job's id
UNSAFE = re.compile(r"[^\w.~-]|^\.")  # the characters of an id that are replaced in the name of a file
ENDING = re.compile(r"/[^/?#]*(\.\w{1,10})(?:[?#].*)?$", re.ASCII)


def check_output(options: Options) -> None:
    """Checks `--output` before anything is sent.

    Raises:
        UsageError: Its folder is missing, or several jobs would have one file.
    """
    if options.output is None:
        return
    path = Path(options.output)
    folder = path if path.is_dir() else path.parent
    if not folder.is_dir():
        raise UsageError(f"--output {options.output}: there is no folder {str(folder)!r}; create it first")
    several = options.jobs > 1 or len(options.ids) > 1 or options.pending
    if several and not path.is_dir() and ID not in path.name:
        raise UsageError(
            f"--output {options.output}: with several jobs, give a folder that exists, or a name with {ID}"
        )


async def save(client: AsyncClient, options: Options, jobs: Sequence[TrackedJob]) -> None:
    """Writes the files of the completed jobs, one after the other."""
    for job in jobs:
        final = job.status
        if options.output is not None and final is not None and final.state is State.COMPLETED:
            with job.recording_failure():
                await _save(client, options, options.output, final)


async def _save(client: AsyncClient, options: Options, output: str, final: Status) -> None:
    urls = client.file_urls(final)
    if len(urls) != 1:
        found = f"{len(urls)} URLs" if urls else "no URL"
        raise ProtocolError(f"the output of job {final.id} has {found}: nothing was saved. --json shows all of it.")
    path = _path(output, final.id, urls[0])
    with closing(_Progress(path, shown=sys.stderr.isatty() and not options.quiet)) as progress:
        await client.download(final, path, on_progress=progress.show)
    if not options.json and not options.quiet:
        write(f"{final.id} saved as {path}")


def _path(output: str, job_id: str, url: str) -> Path:
    """Returns where the file of a job goes. An id from a server cannot lead out of the folder."""
    name = UNSAFE.sub(lambda unsafe: "".join(f"%{byte:02X}" for byte in unsafe[0].encode()), job_id)
    path = Path(output)
    if path.is_dir():
        ending = ENDING.search(url.partition("://")[2])
        return path / f"{name}{ending[1] if ending else ''}"
    return path.with_name(path.name.replace(ID, name))


class _Progress:
    """A line on stderr that shows how much of a file has arrived; `shown` only on a terminal."""

    def __init__(self, path: Path, *, shown: bool) -> None:
        self._path, self._shown, self._last = path, shown, ""

    def show(self, received: int, size: int | None) -> None:
        """Shows the progress, if that changes the line."""
        line = f"{self._path.name}: " + (
            f"{received:,} bytes" if size is None else f"{received / (size or 1):.0%} of {size:,} bytes"
        )
        if self._shown and line != self._last:
            self._last = line
            sys.stderr.write(f"\r\x1b[K{visible(line)}")
            sys.stderr.flush()

    def close(self) -> None:
        """Removes the line."""
        if self._last:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
