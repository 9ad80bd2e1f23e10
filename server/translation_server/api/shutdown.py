"""Leaving service in order: on SIGTERM the server first says that it is going, then serves what has come, then ends.

The host (uvicorn) ends in order on SIGINT and on SIGTERM, but at once, and after SIGTERM it dies of that signal rather
than with exit status 0. So a SIGTERM is held back here for as long as a load balancer needs to see `/readyz` say no,
and is then passed on as a SIGINT. The host takes a second signal for impatience and cuts what runs, so a SIGTERM that
comes again, as it does to the workers of a process group, is not passed on. A worker process whose parent was killed
has nobody left to tell it, and ends too.
"""

import asyncio
import logging
import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)

NOTICE = 1.0
"""Seconds from a SIGTERM to the moment when no more connections are taken."""


class Drain:
    """Whether the server is about to stop; once it is, ``release`` is called, so that nobody waits any longer."""

    def __init__(self, release: Callable[[], None]) -> None:
        self.draining = False
        self._release = release

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Within it, signals are heeded; only the main thread can listen to them, another leaves them be."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        ending = False

        def end(*_: object) -> None:
            nonlocal ending
            ending = self.draining = True
            loop.call_soon_threadsafe(self._release)
            if callable(host):
                host(signal.SIGINT, None)

        def end_unless_ending() -> None:
            if not ending:
                end()

        def begin() -> None:
            if not self.draining:
                logger.info("stopping: no longer ready, running requests end first")
                self.draining = True
                self._release()
                loop.call_later(NOTICE, end_unless_ending)

        before = {
            signal.SIGINT: signal.signal(signal.SIGINT, end),
            signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(begin)),
        }
        host = before[signal.SIGINT]
        try:
            with _orphaned(loop, end_unless_ending):
                yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def _orphaned(loop: asyncio.AbstractEventLoop, end: Callable[[], None]) -> Iterator[None]:
    """Within it, a worker process ends when its parent does."""
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
