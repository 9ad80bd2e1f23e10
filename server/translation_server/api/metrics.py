"""The metrics of the server, as Prometheus reads them.

Theory of operation: every part of the server counts in the `Metrics` of its process. A request for the metrics adds
up those of all processes of the server: each writes its numbers to a file of its own, once a second and before it
answers such a request. So a sum never falls, whichever process answers. The files of processes that have ended stay.
"""

import asyncio
import hmac
import json
import os
import platform
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from fastapi import Request
from starlette.responses import Response

from translation_server.api.auth.authenticator import Authenticator
from translation_server.api.auth.open_authenticator import OpenAuthenticator
from translation_server.api.counting import counting
from translation_server.api.own_routes import OwnRoute, own_routes
from translation_server.api.preferences import values_of
from translation_server.api.problems import CredentialsRefused
from translation_server.api.request_record import AddRecord
from translation_server.core.clock import WallTime
from translation_server.core.metrics import Metrics, Saved
from translation_server.private_files import open_private
from translation_server.service.job_counts import JobCounts
from translation_server.service.sandbox_cache import SandboxCache
from translation_server.storage import Store
from translation_server.version import __version__

WRITE_INTERVAL = 1.0  # how often a process writes its numbers, in seconds


class Scraping(NamedTuple):
    """Who may read the metrics, and where the processes of a server share them.

    Attributes:
        token: A bearer token that is accepted instead of a user's credentials; None for none.
        folder: The folder of the files in which processes share their numbers; None if there is one process.
        store: The kind of store, for the build info.
    """

    token: str | None = None
    folder: Path | None = None
    store: str = ""


class MetricsApi:
    """The route of the metrics.

    Args:
        metrics: what this process has counted.
        counts: what all processes count together.
        authenticator: checks the credentials of requests without the token.
        scraping: who may read the metrics, and where processes share them.
    """

    def __init__(
        self,
        metrics: Metrics,
        counts: JobCounts,
        authenticator: Authenticator | OpenAuthenticator,
        scraping: Scraping,
    ) -> None:
        self._metrics = metrics
        self._counts = counts
        self._authenticator = authenticator
        self._token, self._folder = scraping.token, scraping.folder
        self._build = {"version": __version__, "python": platform.python_version(), "store": scraping.store}
        self._writing = asyncio.Lock()
        self._name = f"{os.getpid()}-{os.urandom(4).hex()}.json"

    @OwnRoute("GET", "/metrics", is_public=True)  # its credentials are checked here, as they may be a token
    async def read(self, request: Request) -> Response:
        """Returns the metrics, as text for Prometheus or as OpenMetrics."""
        if not self._has_token(request):
            try:
                await self._authenticator.user(request.scope)
            except CredentialsRefused:
                self._metrics.refused.add()
                raise
        await self._counts.settled()
        total, pending = await self._sum(), await self._counts.pending()
        # Imported here because prometheus-client takes time to load.
        from translation_server.api.exposition import expose

        text, media_type = expose(", ".join(values_of(request, "accept")), total, pending, self._build)
        return Response(text, headers={"Content-Type": media_type, "Vary": "Accept"})

    async def share(self) -> NoReturn:
        """Writes the numbers of this process to its file, again and again, if there may be other processes."""
        while True:
            await self.write()
            await asyncio.sleep(WRITE_INTERVAL)

    async def write(self) -> None:
        """Writes the numbers of this process to its file."""
        if self._folder is not None:
            async with self._writing:
                await asyncio.to_thread(_write, self._folder / self._name, json.dumps(self._metrics.save()))

    def _has_token(self, request: Request) -> bool:
        sent = values_of(request, "authorization")
        expected = f"Bearer {self._token}".encode()
        return self._token is not None and len(sent) == 1 and hmac.compare_digest(sent[0].encode(), expected)

    async def _sum(self) -> Metrics:
        total = Metrics()
        await self.write()
        total.add_up(self._metrics.save(), is_alive=True)
        if self._folder is not None:
            for process, saved in await asyncio.to_thread(_read_others, self._folder, self._name):
                total.add_up(saved, is_alive=_is_alive(process))
        return total


class Measuring:
    """The parts that count and serve the metrics; without ``scraping``, they do nothing.

    Attributes:
        metrics: What polls that are answered from memory count in; None for nothing.
        add_record: Counts what a record says, and adds it to the request log.
        routes: The route of the metrics.
    """

    def __init__(  # noqa: PLR0913 - the composition root names them
        self,
        metrics: Metrics,
        scraping: Scraping | None,
        store: Store,
        sandboxes: SandboxCache,
        *,
        add_record: AddRecord,
        clock: Callable[[], WallTime],
    ) -> None:
        self.metrics: Metrics | None = None
        self.add_record, self.routes = add_record, list[OwnRoute]()
        self._counts = JobCounts(store, sandboxes, metrics, clock)
        self._api: MetricsApi | None = None
        self._scraping = scraping
        if scraping:
            store.observe_commits(metrics.observe_commit)
            self.metrics, self.routes = metrics, METRICS_ROUTES
            self.add_record = counting(add_record, metrics, self._counts.count_end)

    def resources(self, authenticator: Authenticator | OpenAuthenticator) -> Sequence[object]:
        """Returns the resources to serve."""
        if self.metrics and self._scraping:
            self._api = MetricsApi(self.metrics, self._counts, authenticator, self._scraping)
        return [self._api] if self._api else []

    def tasks(self) -> Sequence[Coroutine[Any, Any, NoReturn]]:
        """Returns what runs in the background."""
        return [self._api.share()] if self._api and self._scraping and self._scraping.folder else []

    async def close(self) -> None:
        """Stops counting."""
        self._counts.close()
        if self._api:
            await self._api.write()


METRICS_ROUTES = own_routes(MetricsApi)


def _write(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    with open(new, "w", encoding="ascii", opener=open_private) as file:
        file.write(text)
    new.replace(path)


def _read_others(folder: Path, own: str) -> list[tuple[int, Mapping[str, Saved]]]:
    """Returns the numbers of all other processes, with the process's id."""
    paths = [path for path in folder.glob("*-*.json") if path.name != own]
    return [(int(path.name.partition("-")[0]), json.loads(path.read_text("ascii"))) for path in paths]


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
