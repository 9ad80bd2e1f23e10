"""What the service asks of a store, whatever the database behind it.

The law of this floor: a job that ``add`` has returned is on disk, and an error means that nothing has changed.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from translation_server.core.change_feed import FeedPosition
from translation_server.core.job import Job, State

CHECKING = 1.0
"""Seconds that a check may take: who asks is a health check."""


class StoreError(Exception):
    """The store cannot be opened, or cannot answer now; the message is one line for a person."""


class KeyReused(Exception):  # noqa: N818 - says what happened, like the standard library's KeyError
    """An idempotency key came again with another request."""


class IdTaken(Exception):  # noqa: N818 - says what happened, like the standard library's KeyError
    """The owner has a job of this id already."""


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A caller's key for one submission, and the fingerprint that tells its body from another.

    ``former`` is the fingerprint that an older version has kept of the same body, if it has.
    """

    key: str
    fingerprint: bytes
    former: bytes | None = None

    def fits(self, kept: bytes) -> bool:
        """Whether a fingerprint that was kept is that of the same body."""
        return kept in {self.fingerprint, self.former}


@dataclass(frozen=True, slots=True)
class Stored:
    """The job that an ``add`` led to; ``replayed`` where an earlier request with the same key had made it."""

    job: Job
    replayed: bool


@dataclass(frozen=True, slots=True)
class StoreChange:
    """What another process has done: to the owner's jobs of these ordinals, or, without any, to their world."""

    owner: str
    ordinals: range = range(0)


@dataclass(frozen=True, slots=True)
class Old:
    """What is old of an owner.

    Attributes:
        moment: The jobs that had ended at this moment,
        before: if no fact of theirs has changed since this real time.
        entry: The entries of the journal up to this number.
    """

    moment: float
    before: float
    entry: int = 0


class Store(Protocol):
    """Keeps the jobs of all owners; every method may raise StoreError."""

    async def add(self, owner: str, accept: Callable[[int], Job], idempotency: Idempotency | None = None) -> Stored:
        """Adds the job that ``accept`` makes for the owner's next ordinal.

        Ordinals are given without gap or repetition, by whichever process. Where the owner has used the key before,
        ``accept`` is not called and the first job comes back.

        Raises:
            KeyReused: the key came before, with another fingerprint.
            IdTaken: the owner has a job of that id.
        """

    async def find(self, owner: str, job_id: str) -> Job | None:
        """One of the owner's jobs, or None."""

    async def find_many(self, owner: str, job_ids: Sequence[str]) -> list[Job]:
        """Those of the ids that are the owner's jobs, in any order."""

    async def page(self, owner: str, *, limit: int, before: int | None, state: State | None, now: float) -> list[Job]:
        """The owner's newest jobs with an ordinal less than ``before`` that are in ``state`` at the moment ``now``."""

    async def amend(self, owner: str, job_id: str, change: Callable[[Job], Job]) -> Job | None:
        """Puts what ``change`` makes of the owner's job in its place; the job as it then is, None for an unknown one.

        ``change`` is called once nothing can come in between any more; it leaves id, owner, ordinal and submission.
        """

    async def ending(self, owner: str, after: FeedPosition, limit: int) -> list[Job]:
        """The owner's next jobs behind a place in the order of their ends, at which they are over."""

    async def accepted(self, owner: str, after: int, limit: int) -> list[Job]:
        """The owner's next jobs behind an ordinal, in the order of their ordinals: those that are there have no gap."""

    async def amended(self, owner: str, after: FeedPosition, limit: int) -> list[Job]:
        """The owner's next jobs behind a place in the order of the real times at which something was done to them.

        Of an owner whose clock does not show the real time also those that were accepted.
        """

    async def news(self, seconds: float) -> Sequence[StoreChange] | None:
        """What other processes have done since the last time, as soon as there is something, or so many seconds later.

        None where the store cannot tell, or may have missed something: everything has to be asked.
        """

    async def version(self) -> object:
        """What becomes another whenever another process has written something; None where the store cannot tell."""

    async def sandbox(self, owner: str) -> str | None:
        """The text that was last kept of the owner's world."""

    async def change_sandbox(self, owner: str, change: Callable[[str | None], str], *, recount: bool = False) -> str:
        """Keeps what ``change`` makes of the text of the owner's world, and gives it; ``recount`` ends all tallies."""

    async def tally(
        self, owner: str, subject: str, rules: Sequence[str], draw: Callable[[int, Sequence[int]], Iterable[str]]
    ) -> None:
        """Counts one more of a subject, and of each rule that ``draw`` names, given the count and those of the rules.

        It may be lost in a power cut.
        """

    async def untally(self, owner: str, subject: str) -> None:
        """Takes back one count of a subject."""

    async def tallies(self, owner: str, subjects: Sequence[str]) -> list[int]:
        """How often each of the owner's subjects was counted."""

    async def record(self, entries: Sequence[tuple[str, str]], limit: int) -> None:
        """Adds owners' entries to their journals, each of which keeps its newest ``limit``.

        They may be lost in a power cut.
        """

    async def request_log(self, owner: str, *, after: int = 0, limit: int | None = None) -> list[tuple[int, str]]:
        """The owner's entries with a number over ``after``, the oldest first; the first of all had the number 1."""

    async def owner_after(self, name: str) -> str | None:
        """The owner whose name comes next, in an order of the store's own that begins with no name at all."""

    async def purge(self, owner: str, old: Old, limit: int) -> int:
        """Forgets what is old of an owner; of the jobs, no more than so many of those that ended first; tells how many.

        With a job goes how often it was asked for. Ordinals and numbers go on. It may be undone by a power cut.
        """

    async def clear(self, owner: str, sandbox: str | None = None) -> None:
        """Forgets everything of an owner at once, but for this text of their world.

        Ordinals, numbers, keys and tallies begin anew. What is forgotten is purged by `purge_emptied`.
        """

    async def purge_emptied(self, limit: int) -> bool:
        """Purges some rows, at most so many, of what was forgotten at once; tells whether there may be more.

        It may be undone by a power cut, and then goes on from there.
        """

    async def check(self) -> None:
        """Returns if jobs can be read and added now; commits what changes nothing, and takes `CHECKING` at most."""

    async def close(self) -> None:
        """Lets go of everything; the store is not used afterwards."""
