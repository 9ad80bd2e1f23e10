"""Leaving service in order: on SIGTERM the server first says that it is going, then serves what has come, then ends.

The host (uvicorn) ends in order on SIGINT and on SIGTERM, but at once, and after SIGTERM it dies of that signal rather
than with exit status 0. So a SIGTERM is held back here for as long as a load balancer needs to see `/readyz` say no,
and is then passed on as a SIGINT. A worker process whose parent was killed has nobody left to tell it, and ends too.
"""

import asyncio
import logging
import multiprocessing
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)

NOTICE = 1.0
"""Seconds from a SIGTERM to the moment when no more connections are taken."""


class Drain:
    """Whether the server is about to stop."""

    def __init__(self) -> None:
        self.draining = False

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Within it, signals are heeded; only the main thread can listen to them, another leaves them be."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()

        def begin() -> None:
            logger.info("stopping: no longer ready, running requests end first")
            self.draining = True
            loop.call_later(NOTICE, signal.raise_signal, signal.SIGINT)

        def handle(*_: object) -> None:
            signal.signal(signal.SIGTERM, before)
            loop.call_soon_threadsafe(begin)

        before = signal.signal(signal.SIGTERM, handle)
        try:
            with _orphaned(loop):
                yield
        finally:
            signal.signal(signal.SIGTERM, before)


@contextmanager
def _orphaned(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Within it, a worker process ends when its parent does."""
    parent = multiprocessing.parent_process()
    if parent is None:
        yield
        return
    sentinel = parent.sentinel

    def end() -> None:
        loop.remove_reader(sentinel)
        signal.raise_signal(signal.SIGINT)

    loop.add_reader(sentinel, end)
    try:
        yield
    finally:
        loop.remove_reader(sentinel)
