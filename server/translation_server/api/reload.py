"""SIGHUP makes the server read its files again."""

import asyncio
import logging
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

logger = logging.getLogger(__name__)
T = TypeVar("T")


@asynccontextmanager
async def on_hangup(reload: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Calls ``reload`` for each SIGHUP within the context, or once for several that come while it runs.

    A process that blocks the signal from its start on loses none: one that came before counts too, and after the
    context it is ignored. Only the main thread can handle signals; in another thread, nothing is called.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGHUP"):
        yield
        return
    loop, requested = asyncio.get_running_loop(), asyncio.Event()

    async def reload_forever() -> None:
        while True:
            await requested.wait()
            requested.clear()
            await reload()

    before = signal.signal(signal.SIGHUP, lambda *_: loop.call_soon_threadsafe(requested.set))
    reloading = asyncio.create_task(reload_forever())
    mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGHUP, signal.SIG_IGN if signal.SIGHUP in mask else before)
        reloading.cancel()


async def read_again(
    what: str, read: Callable[[], T | None], use: Callable[[T], None], expected: tuple[type[Exception], ...]
) -> None:
    """Reads something again in a thread and uses it. After an expected error, the server keeps what it has."""
    try:
        found = await asyncio.to_thread(read)
    except expected as error:
        reason = "; ".join(str(error).splitlines())
        logger.error("reload: %s not reloaded, the old ones stay in use: %s", what, reason)  # noqa: TRY400 - one line
    else:
        if found is not None:
            use(found)
            logger.info("reload: %s reloaded", what)
