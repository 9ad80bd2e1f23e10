"""What a process knows of the deliveries of an owner while it makes them."""

import asyncio
import math
import time
from dataclasses import dataclass, field

from translation_server.core.change_feed import FeedPosition
from translation_server.core.clock import VirtualTime
from translation_server.core.webhooks import Delivery

SCAN_PAUSE = 1.0  # how long changes by other processes may be unknown, in seconds
SCAN_FACTOR = 20.0  # the least pause between two scans, as a multiple of the duration of the last one
EARLIEST, NEVER = VirtualTime(-math.inf), VirtualTime(math.inf)
START = FeedPosition(EARLIEST, 0)


def pause_after(seconds: float) -> float:
    """Returns how long to wait after a scan that has taken so many seconds."""
    return max(SCAN_PAUSE, SCAN_FACTOR * seconds)


@dataclass(eq=False)
class Worker:
    """The state of an owner's deliveries. Times without a type are on the monotonic clock."""

    owner: str
    known: dict[str, asyncio.Task[None]] = field(default_factory=dict)  # the attempts in progress, by delivery id
    busy: set[tuple[int, float]] = field(default_factory=set)  # the jobs whose next event an attempt will start
    recent: set[str] = field(default_factory=set)  # those stored since the current read began, which misses them
    attempted: list[Delivery] = field(default_factory=list)  # the deliveries that have to be stored
    storing: asyncio.Lock = field(default_factory=asyncio.Lock)
    gone: set[str] = field(default_factory=set)  # the URLs that have answered 410
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    position: FeedPosition = START  # up to which all due events were read
    retried: tuple[float, str] = EARLIEST, ""  # the time and id up to which all due retries were read
    retry_at: VirtualTime = EARLIEST  # when the next retry is due
    read_at: float = -math.inf  # when the last read of everything due began
    read_again_at: float = -math.inf  # when the next one begins
    leased_at: float = -math.inf  # when the lease was taken or renewed
    task: asyncio.Task[None] | None = None

    def change(self, *, read_all: bool) -> None:
        """Wakes the task, which reads everything due again, or only what follows its position."""
        if read_all:
            self.read_again_at = -math.inf
        self.changed.set()

    def read_from_start(self) -> None:
        """Begins to read everything due."""
        self.position, self.retried, self.retry_at = START, (EARLIEST, ""), EARLIEST
        self.read_at, self.read_again_at = time.monotonic(), math.inf

    def everything_was_read(self) -> None:
        """Plans when everything due is read again, unless that was done already."""
        if self.read_again_at == math.inf:
            now = time.monotonic()
            self.read_again_at = now + pause_after(now - self.read_at)

    def retry(self, at: VirtualTime | None) -> None:
        """Expects a retry at a time, if there is one."""
        if at is not None:
            self.retry_at = min(self.retry_at, at)
            self.retried = min(self.retried, (at, ""))

    def has_begun(self, delivery_id: str) -> bool:
        """Whether the attempt of a delivery that was read as due is in progress, or was made and stored meanwhile."""
        return delivery_id in self.known or delivery_id in self.recent

    def cancel_attempts(self) -> None:
        """Cancels all attempts in progress."""
        for attempt in self.known.values():
            attempt.cancel()

    def drop(self, delivery_id: str) -> None:
        """Removes a delivery from the attempts in progress, and wakes the task."""
        self.known.pop(delivery_id, None)
        self.changed.set()
