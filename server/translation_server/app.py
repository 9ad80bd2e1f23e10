"""The composition root: the only place where parts are put together."""

import contextlib
import logging
import os
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.routing import Route

from translation_server.api import documentation, problems
from translation_server.api.addresses import Proxies
from translation_server.api.application import Application
from translation_server.api.auth.authenticator import NO_PASSWORDS, Authenticator
from translation_server.api.auth.credentials import Scheme, scheme
from translation_server.api.auth.open_authenticator import OpenAuthenticator
from translation_server.api.cors import Cors
from translation_server.api.dashboard.live import LiveApi
from translation_server.api.dashboard.pages import DashboardApi
from translation_server.api.dashboard.submissions import SubmissionsApi
from translation_server.api.dialect_endpoint import DialectEndpoint
from translation_server.api.dialect_router import DialectRouter
from translation_server.api.docs import Docs
from translation_server.api.faults.simulator import Simulator
from translation_server.api.files import FileApi
from translation_server.api.health import HealthChecks
from translation_server.api.metrics import METRICS_ROUTES, Measuring, Scraping
from translation_server.api.middleware import RequestMiddleware
from translation_server.api.mounts import Mounts
from translation_server.api.origins import OriginPolicy, own_names
from translation_server.api.own_routes import add_own_routes, own_routes
from translation_server.api.polls import PollEndpoint
from translation_server.api.reload import on_hangup, read_again
from translation_server.api.routes import NativeRoutes
from translation_server.api.sandbox import SandboxApi
from translation_server.api.shutdown import Drain, in_background
from translation_server.api.webhooks import WebhookApi
from translation_server.config import logs
from translation_server.config.dialect_files import read_dialects
from translation_server.config.fault_files import FaultsError
from translation_server.config.history_files import HistoryError
from translation_server.config.known_users import known_users, with_password
from translation_server.config.local_networks import hosts_of
from translation_server.config.output_files import OutputFilesError, read_output_files
from translation_server.config.sandbox_defaults import read_sandbox_defaults
from translation_server.config.settings import Settings, SettingsError
from translation_server.config.users import UsersError
from translation_server.core.clock import WallTime
from translation_server.core.dialects.authentication import SIGV4
from translation_server.core.dialects.builtin import DIALECTS
from translation_server.core.dialects.dialect import Dialect, DialectError
from translation_server.core.dialects.operations import CHANGING, RequestPattern
from translation_server.core.dialects.routes import routes
from translation_server.core.entropy import ENTROPY_BYTES
from translation_server.core.metrics import Metrics
from translation_server.core.sandbox import SandboxSettings
from translation_server.core.webhooks import RETRY_DELAYS
from translation_server.private_files import create_folder
from translation_server.service.files import TTL, Files, Library
from translation_server.service.jobs import Service
from translation_server.service.request_log import RequestLog
from translation_server.service.retention import purge_forever, purge_queued_forever
from translation_server.service.webhook_policy import WebhookPolicy
from translation_server.service.webhooks import open_deliveries
from translation_server.storage import Store, StoreError, is_shared, open_store, redact

if TYPE_CHECKING:
    from translation_server.api.tracing import Tracing

logger = logging.getLogger(__name__)

ALWAYS = (NativeRoutes, FileApi, HealthChecks, Docs)  # the resources that are served even without sandboxes
OWN_ROUTES = own_routes(*ALWAYS, SandboxApi, WebhookApi, LiveApi, SubmissionsApi, DashboardApi)
OWN_NAMES = {route.name for route in [*OWN_ROUTES, *METRICS_ROUTES]}  # the names that no dialect can have

REQUEST_LOG = 10_000  # how many requests a request log keeps
MAX_BODY = 256 * 1024  # how many bytes the body of a request may have
MAX_UPLOAD = 100 * 1024 * 1024  # how many bytes a form with files, or an upload, may have

FILE_ERRORS = (UsersError, DialectError, FaultsError, HistoryError, OutputFilesError)
SETUP_ERRORS = (SettingsError, logs.LogError, *FILE_ERRORS, StoreError)
"""The errors that a person has to correct before the server can start; each message is one line."""


def _wall_time() -> WallTime:
    return WallTime(time.time())


def create_app(settings: Settings, store: Store | None = None) -> Application:
    """Returns the server with these settings, as an ASGI application.

    Args:
        settings: the settings.
        store: where jobs are stored; by default the database of the settings.

    Raises:
        UsersError: the file of users is unusable.
        DialectError: the file of dialects is unusable.
        FaultsError: the file of fault rules is unusable.
        HistoryError: the file of durations is unusable.
        OutputFilesError: the folder of output files is unusable.
        SettingsError: the settings do not go together.
        StoreError: the database cannot be opened.
    """
    _check_workers(settings)
    users, passwords = known_users(settings) or (None, {})
    library = _library(settings)
    dialects = _dialects(settings, library)
    sandbox_defaults = read_sandbox_defaults(settings)

    def replace_sandbox_defaults(defaults: SandboxSettings) -> None:
        nonlocal sandbox_defaults
        sandbox_defaults = defaults

    async def reload() -> None:
        if users is not None:
            await read_again(
                "users",
                lambda: known_users(with_password(settings)),
                lambda known: app.state.replace_users(*known),
                SETUP_ERRORS,
            )
        await read_again("faults", lambda: read_sandbox_defaults(settings), replace_sandbox_defaults, SETUP_ERRORS)

    app = assemble(
        store or open_store(settings.database_url),
        lambda: sandbox_defaults,
        users,
        dialects,
        passwords=passwords,
        simulating=settings.sandbox == "on",
        request_log=settings.request_log,
        max_body=settings.max_body,
        max_upload=settings.max_upload,
        retention=settings.retention,
        library=library,
        file_ttl=settings.file_ttl,
        hosts=_listed(settings.allowed_hosts) or own_names(settings.host),
        origins=_listed(settings.trusted_origins),
        cors_origins=_listed(settings.cors_origins),
        read_only=settings.read_only_dashboard == "on",
        proxies=Proxies(settings.forwarded_allow_ips) if settings.forwarded_allow_ips else None,
        webhook_allow=_webhook_hosts(settings),
        webhook_retries=settings.webhook_retries,
        scraping=_scraping(settings),
        reload=reload,
    )
    if is_tracing_on(os.environ):
        app.trace_by(_tracing())
    place = redact(settings.database_url)
    logger.info("jobs are stored in %s; users: %s", place, "anyone" if users is None else len(users))
    return app


def is_tracing_on(environment: Mapping[str, str]) -> bool:
    """Whether the environment variables of OpenTelemetry ask for traces."""
    endpoint = environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or environment.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    is_off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return bool(endpoint) and not is_off and environment.get("OTEL_TRACES_EXPORTER") != "none"


def assemble(
    store: Store,
    sandbox_defaults: Callable[[], SandboxSettings],
    users: Mapping[str, str] | None,
    dialects: Sequence[Dialect] = (),
    *,
    passwords: Mapping[str, str] = MappingProxyType({}),
    simulating: bool = True,
    request_log: int = REQUEST_LOG,
    max_body: int = MAX_BODY,
    max_upload: int = MAX_UPLOAD,
    retention: float | None = None,
    library: Library | None = None,
    file_ttl: float = TTL,
    hosts: Collection[str] = (),
    origins: Collection[str] = (),
    cors_origins: Collection[str] = (),
    read_only: bool = False,
    proxies: Proxies | None = None,
    webhook_allow: Iterable[str] = (),
    webhook_retries: tuple[float, ...] = RETRY_DELAYS,
    scraping: Scraping | None = None,
    reload: Callable[[], Awaitable[None]] | None = None,
    clock: Callable[[], WallTime] = _wall_time,
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> Application:
    """Puts the parts of the server together.

    Args:
        store: where jobs are stored; closed when the application ends.
        sandbox_defaults: returns the settings of users who have set nothing.
        users: the hash of each user's password by name; None lets anyone in on the loopback interface.
        dialects: wire formats besides the built-in ones, each served below the mount of its API.
        passwords: the passwords by user name, to check signatures with; empty if only their hashes are known.
        simulating: whether users may change their sandboxes.
        request_log: how many requests each user's request log keeps.
        max_body: how many bytes the body of a request may have.
        max_upload: how many bytes a form with files, or an upload, may have.
        retention: how long jobs are stored after their end, in seconds; None stores them for ever.
        library: the output files; the server's own if it is missing.
        file_ttl: how long the URL of an output file is valid, in seconds.
        hosts: the host names that the server answers to, besides IP addresses; empty for those of this machine.
        origins: the origins of pages that may send unsafe requests, besides the server's own.
        cors_origins: the origins of pages that may read answers, too; ``*`` lets all others only read.
        read_only: whether the server's own pages may change nothing.
        proxies: the proxies that are trusted to say where requests come from.
        webhook_allow: where webhooks may be delivered besides this machine: host names, addresses and networks.
        webhook_retries: how long after an attempt of a delivery the next one follows, in seconds.
        scraping: who may read the metrics; None for no metrics.
        reload: called on SIGHUP; None leaves that signal to the host.
        clock: wall time, in seconds since the epoch.
        random: ``random(n)`` returns n random bytes, for fates, faults and the ids of jobs.
    """
    metrics = Metrics()
    service = Service(
        store,
        sandbox_defaults,
        clock=clock,
        entropy=lambda: random(ENTROPY_BYTES),
        changeable=simulating,
        files=Files(store.file_key, library or Library(), file_ttl),
        metrics=metrics,
    )
    requests = RequestLog(store, service.sandboxes, request_log if simulating else 0, metrics=metrics)
    measuring = Measuring(metrics, scraping, store, service.sandboxes, add_record=requests.add, clock=clock)
    apis = {dialect.api.mount: dialect.api for dialect in dialects if dialect.api.mount}
    schemes = {mount: [scheme(auth) for auth in api.auth] for mount, api in apis.items()}
    by_mount = Mounts[Sequence[Scheme]](schemes)
    signed = [api.name for api in apis.values() if SIGV4 in api.auth]
    if signed and users is not None and not passwords:
        logger.info("the callers of %s get 403: %s", ", ".join(signed), NO_PASSWORDS)
    authenticator = (
        OpenAuthenticator(by_mount)
        if users is None
        else Authenticator(users, by_mount, time.monotonic, passwords if signed else {}, clock, metrics=metrics)
    )
    all_routes = routes([*DIALECTS, *dialects])
    origin_policy = OriginPolicy(
        hosts or own_names(),
        [*origins, *cors_origins],
        tokens=[one.header for listed in schemes.values() for one in listed],
        changing=[route.pattern for route in all_routes if route.action in CHANGING],
        read_only=read_only,
    )
    drain = Drain(service.end_waits)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        purging = [purge_forever(store, service.sandboxes, retention, clock)] if retention else []
        with drain.on_signals():
            async with (
                in_background(purge_queued_forever(store), deliveries.run(), *purging, *measuring.tasks()),
                on_hangup(reload) if reload else contextlib.nullcontext(),
            ):
                yield
        await deliveries.close()
        authenticator.close()
        await measuring.close()
        await requests.close()
        await store.close()

    deliveries = open_deliveries(
        store,
        service.sandboxes,
        dialects=dialects,
        files=service.files,
        faults=service.faults,
        policy=WebhookPolicy.of(webhook_allow),
        retry_delays=webhook_retries,
        clock=clock,
        metrics=metrics,
    )
    service.deliver_by(deliveries)
    simulator = Simulator(service)
    served = [*OWN_ROUTES, *measuring.routes]
    middleware = RequestMiddleware(
        served,
        origin_policy,
        authenticator,
        measuring.add_record,
        requests.count_refused,
        files=service.files,
        apis=apis,
        max_body=max_body,
        max_upload=max_upload,
        metrics=metrics,
    )
    router = DialectRouter(all_routes, [RequestPattern(one.method, one.path) for one in own_routes(NativeRoutes)])
    polls = PollEndpoint(
        router,
        service=service,
        origin_policy=origin_policy,
        authenticator=authenticator,
        add_record=measuring.add_record,
        metrics=measuring.metrics,
    )
    polls.set_users(len(users or ()))
    endpoint = DialectEndpoint(
        all_routes,
        router,
        service=service,
        simulator=simulator,
        polls=polls,
        middleware=middleware,
        random=random,
    )
    app = Application(
        endpoint,
        proxies,
        Cors(cors_origins) if cors_origins else None,
        [route for route in served if route.is_public],
        title=documentation.TITLE,
        openapi_url=None,  # the framework's own route ignores parameters that it does not know
        redirect_slashes=False,
        lifespan=lifespan,
    )
    NativeRoutes(service, simulator, add_record=measuring.add_record).add_to(app)
    FileApi(service, simulator, DIALECTS[0].name).add_to(app)
    own = OWN_ROUTES if simulating else own_routes(*ALWAYS)
    document = partial(documentation.document, all_routes, own, simulating=simulating, secured=users is not None)
    resources: list[object] = [HealthChecks(service, lambda: drain.draining), Docs(document)]
    if simulating:
        resources += [SandboxApi(service, requests, DIALECTS[0]), WebhookApi(service, deliveries)]
        resources += [LiveApi(service, requests), SubmissionsApi(dialects, endpoint), DashboardApi(read_only=read_only)]
    for resource in [*resources, *measuring.resources(authenticator)]:
        add_own_routes(app, resource)
    app.add_middleware(middleware.around)
    own_patterns = (RequestPattern("", route.path) for route in app.routes if isinstance(route, Route))
    middleware.know_routes([*(route.pattern for route in all_routes), *own_patterns])
    problems.install(app, router.methods)

    def replace_users(users: Mapping[str, str], passwords: Mapping[str, str]) -> None:
        if isinstance(authenticator, Authenticator):
            authenticator.replace_users(users, passwords if signed else {})
            polls.set_users(len(users))

    app.state.end_waits = service.end_waits
    app.state.replace_users = replace_users
    return app


def check(settings: Settings) -> None:
    """Checks the settings and reads the files that they name; raises as `create_app` does."""
    _check_workers(settings)
    known_users(settings)
    _dialects(settings, _library(settings))
    read_sandbox_defaults(settings)


def _check_workers(settings: Settings) -> None:
    url = settings.database_url
    if settings.workers > 1 and not is_shared(url):
        raise SettingsError(
            f"WORKERS={settings.workers}: must be 1 with DATABASE_URL={url}, which only one process can use"
        )


def _tracing() -> "Tracing":
    try:
        from translation_server.api.tracing import Tracing
    except ImportError as error:
        raise SettingsError(f"OTEL_EXPORTER_OTLP_ENDPOINT: needs the extra translation-server[otel]: {error}") from None
    return Tracing()


def _scraping(settings: Settings) -> Scraping | None:
    if settings.metrics == "off":
        return None
    token, folder = settings.metrics_token, settings.metrics_folder
    try:
        if folder:
            create_folder(folder)
            os.scandir(folder).close()  # fails if it is no folder
    except OSError as error:
        raise SettingsError(f"METRICS_FOLDER={folder}: must be a folder: {error.strerror}") from None
    kind = settings.database_url.partition(":")[0]
    return Scraping(token.get_secret_value() if token else None, folder, kind)


def _dialects(settings: Settings, library: Library) -> Sequence[Dialect]:
    return read_dialects(settings.dialects, OWN_NAMES, library.types)


def _library(settings: Settings) -> Library:
    return Library(read_output_files(settings.output_files) if settings.output_files else {})


def _webhook_hosts(settings: Settings) -> list[str]:
    return [host for name in _listed(settings.webhook_allow) for host in hosts_of(name)]


def _listed(text: str | None) -> list[str]:
    return [part.strip() for part in text.split(",")] if text else []
