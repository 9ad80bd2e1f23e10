"""Graceful shutdown: on SIGTERM the server is no longer ready, answers the running requests, and ends.

uvicorn shuts down gracefully on SIGINT and on SIGTERM, but at once, and after a SIGTERM it does not end with exit
status 0. So a SIGTERM is delayed here until load balancers have seen that `/readyz` fails, and is then passed on as a
SIGINT. On a second signal uvicorn aborts the running requests, so a repeated SIGTERM, which the workers of a process
group get, is not passed on. A worker process whose parent was killed gets no signal, and shuts down too.
"""

import asyncio
import logging
import multiprocessing
import signal
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NoReturn

logger = logging.getLogger(__name__)
DRAIN_TIME = 1.0  # the time from a SIGTERM until the server accepts no more connections, in seconds


class Drain:
    """Drains the server before it stops: calls ``end_waits``, which ends long polls and streams."""

    def __init__(self, end_waits: Callable[[], None]) -> None:
        self.draining = False  # whether the server is about to stop
        self._end_waits = end_waits

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Handles signals within the context. Only the main thread can; in another thread, this does nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        ending = False

        def end(*_: object) -> None:
            nonlocal ending
            ending = self.draining = True
            loop.call_soon_threadsafe(self._end_waits)
            if callable(host):
                host(signal.SIGINT, None)

        def end_unless_ending() -> None:
            if not ending:
                end()

        def begin() -> None:
            if not self.draining:
                logger.info("shutdown: no longer ready, answering running requests")
                self.draining = True
                self._end_waits()
                loop.call_later(DRAIN_TIME, end_unless_ending)

        before = {
            signal.SIGINT: signal.signal(signal.SIGINT, end),
            signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(begin)),
        }
        host = before[signal.SIGINT]
        try:
            with _ends_with_parent(loop, end_unless_ending):
                yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def _ends_with_parent(loop: asyncio.AbstractEventLoop, end: Callable[[], None]) -> Iterator[None]:
    """Shuts a worker process down when its parent ends, within the context."""
    parent = multiprocessing.parent_process()
    if parent is None:
        yield
        return
    sentinel = parent.sentinel

    def orphaned() -> None:
        loop.remove_reader(sentinel)
        end()

    loop.add_reader(sentinel, orphaned)
    try:
        yield
    finally:
        loop.remove_reader(sentinel)


@asynccontextmanager
async def in_background(*coroutines: Coroutine[Any, Any, NoReturn]) -> AsyncIterator[None]:
    """Runs coroutines until the end of the block."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
