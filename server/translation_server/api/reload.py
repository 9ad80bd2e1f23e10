"""SIGHUP has the server read its files again, as servers have it."""

import asyncio
import logging
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

logger = logging.getLogger(__name__)


@asynccontextmanager
async def on_hangup(reload: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Within it, ``reload`` is called for each SIGHUP, or once for several that come while it runs.

    Only the main thread can listen to signals; another leaves them be.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGHUP"):
        yield
        return
    loop, asked = asyncio.get_running_loop(), asyncio.Event()

    async def reload_for_ever() -> None:
        while True:
            await asked.wait()
            asked.clear()
            await reload()

    before = signal.signal(signal.SIGHUP, lambda *_: loop.call_soon_threadsafe(asked.set))
    reloading = asyncio.create_task(reload_for_ever())
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)
        reloading.cancel()
