"""The store protocol in parts: each service needs only the part that it uses.

Every method may raise StoreError; then nothing has changed. A job that `JobStore.add` has returned is on disk.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from translation_server.core.change_feed import LAST, FeedPosition
from translation_server.core.clock import VirtualTime
from translation_server.core.job import Job, State
from translation_server.core.webhooks import Delivery

KEY_BYTES = 32  # how many bytes a secret key has
CHECK_TIMEOUT = 1.0  # how long a check may take, in seconds: health checks wait for it


class StoreError(Exception):
    """The store cannot be opened, or does not answer; the message is one line for the operator."""


class KeyReused(Exception):  # noqa: N818 - says what happened, like the standard library's KeyError
    """The idempotency key was used before, with another request."""


class IdTaken(Exception):  # noqa: N818 - says what happened, like the standard library's KeyError
    """The owner already has a job with this id, of the same API and kind."""


class AmbiguousId(Exception):  # noqa: N818 - says what happened, like the standard library's KeyError
    """Several jobs of the owner, of different APIs or kinds, have this id."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        super().__init__(jobs[0].id)
        self.jobs = jobs


@dataclass(frozen=True, slots=True)
class Idempotency:
    """An idempotency key, and the fingerprint of the request that it came with.

    ``former`` is the fingerprint that an older version computed for the same request, if it differs.
    """

    key: str
    fingerprint: bytes
    former: bytes | None = None

    def matches(self, stored: bytes) -> bool:
        """Whether a stored fingerprint belongs to the same request."""
        return stored in {self.fingerprint, self.former}


@dataclass(frozen=True, slots=True)
class Stored:
    """The job that `JobStore.add` returns; ``replayed`` if an earlier request with the same key has created it."""

    job: Job
    replayed: bool


@dataclass(frozen=True, slots=True)
class StoreChange:
    """A change by another process: of the owner's jobs with these ordinals, or, without any, of the owner's sandbox."""

    owner: str
    ordinals: range = range(0)


@dataclass(frozen=True, slots=True)
class Cutoff:
    """The limits up to which retention deletes an owner's jobs and request records."""

    ended_by: float  # jobs that ended by this virtual time,
    changed_by: float  # unless they were changed after this wall time
    request: int = 0  # request records up to this number


OnCommit = Callable[[Sequence[float], bool], None]
"""Is called with how long each submission of a commit has waited, in seconds, and whether the commit has succeeded."""


class ShownEnd(NamedTuple):
    """The end of a job that an answer has shown to its owner."""

    owner: str
    ordinal: int
    job_id: str


class TooLarge(Exception):  # noqa: N818 - says what happened, like the standard library's KeyError
    """The jobs are too large to be read together: larger than `MAX_PAGE_SIZE`."""


def sole(jobs: Sequence[Job]) -> Job | None:
    """Returns the only job, or None without a job.

    Raises:
        AmbiguousId: there are several.
    """
    if len(jobs) > 1:
        raise AmbiguousId(jobs)
    return jobs[0] if jobs else None


class ChangeSource(Protocol):
    """Announces changes by other processes."""

    async def wait_for_changes(self, seconds: float) -> Sequence[StoreChange] | None:
        """Returns the changes by other processes since the last call; waits for one for at most ``seconds``.

        None means that changes may have been missed: then everything has to be read again.
        """

    async def version(self) -> object:
        """Returns a value that differs from the last one once another process has written; None if unknown."""


class JobStore(ChangeSource, Protocol):
    """Stores the jobs of all owners. ``api`` and ``kind`` restrict a method to jobs of these.

    A method with a ``limit`` returns fewer jobs where these are larger than `MAX_PAGE_SIZE`; see `is_full`.
    """

    async def add(
        self,
        owner: str,
        accept: Callable[[int], Job],
        idempotency: Idempotency | None = None,
        job_input: str | None = None,
    ) -> Stored:
        """Adds the job that ``accept`` creates for the owner's next ordinal, and its input as JSON text.

        Ordinals have no gaps and do not repeat, even across processes. If the owner has used the idempotency key
        before, ``accept`` is not called and the first job is returned.

        Raises:
            KeyReused: the key was used before, with another fingerprint.
            IdTaken: the owner already has a job with this id, of the same API and kind.
        """

    async def find(self, owner: str, job_id: str, *, api: str | None = None, kind: str | None = None) -> Job | None:
        """Returns one of the owner's jobs, or None.

        Raises:
            AmbiguousId: several jobs have this id.
        """

    async def find_many(
        self, owner: str, job_ids: Sequence[str], *, api: str | None = None, kind: str | None = None
    ) -> list[Job]:
        """Returns the owner's jobs with these ids, in any order; ignores unknown ids."""

    async def page(  # noqa: PLR0913 - the options are keywords
        self,
        owner: str,
        *,
        limit: int,
        before: int | None,
        state: State | None,
        now: float,
        api: str | None = None,
        kind: str | None = None,
    ) -> list[Job]:
        """Returns the owner's newest jobs with an ordinal below ``before`` that are in ``state`` at ``now``.

        Deleted jobs are left out if ``api`` or ``kind`` is given.
        """

    async def ids(  # noqa: PLR0913 - the options are keywords
        self,
        owner: str,
        *,
        api: str,
        kind: str | None = None,
        before: int | None = None,
        state: State | None = None,
        now: float = 0.0,
        limit: int = LAST,
    ) -> list[tuple[int, str]]:
        """Returns the ordinals and ids of the owner's newest jobs of an API and kind, with an ordinal below ``before``.

        They are the newest first, without deleted jobs; with ``state``, only those in this state at ``now``. Their
        number is bounded, also by ``limit``; there are none only if there are no more.
        """

    async def change(
        self, owner: str, job_id: str, change: Callable[[Job], Job], *, api: str | None = None, kind: str | None = None
    ) -> Job | None:
        """Replaces the owner's job by the result of ``change``; returns the new version, None for an unknown job.

        No other write comes between the call of ``change`` and its commit. ``change`` must not alter the id, API and
        kind, the owner, the ordinal or the submission.

        Raises:
            AmbiguousId: several jobs have this id.
        """

    async def read_input(self, owner: str, ordinal: int) -> str | None:
        """Returns the input that was added with a job, or None."""

    async def accepted_after(self, owner: str, ordinal: int, limit: int) -> list[Job]:
        """Returns the owner's next jobs after an ordinal, in the order of their ordinals."""

    async def ending_after(self, owner: str, position: FeedPosition, limit: int) -> list[Job]:
        """Returns the owner's next jobs after a position in the order of their ends; paused jobs have none."""

    async def changed_after(self, owner: str, position: FeedPosition, limit: int) -> list[Job]:
        """Returns the owner's next changed jobs after a position in the order of the wall times of their changes.

        If the owner's clock differs from wall time, accepted jobs count as changed.
        """


class SandboxStore(ChangeSource, Protocol):
    """Stores the sandboxes of all owners, each as a text."""

    async def read_sandbox(self, owner: str) -> str | None:
        """Returns the text of the owner's sandbox, or None."""

    async def change_sandbox(
        self, owner: str, change: Callable[[str | None], str], *, reset_counts: bool = False
    ) -> str:
        """Replaces the text of the owner's sandbox by the result of ``change``, and returns it.

        With ``reset_counts``, the owner's fault counts start again at 0.
        """

    async def reset_sandbox(self, owner: str, text: str | None = None) -> None:
        """Deletes everything that an owner has, and stores this text as the new sandbox.

        Ordinals, numbers of request records and fault counts start again. The method takes the same time for any number
        of jobs: it only queues the rows for `RetentionStore.purge_queued`.
        """


class FaultCountStore(Protocol):
    """Stores how often requests came and fault rules fired. A power cut may lose the last counts."""

    async def count_faults(
        self, owner: str, subject: str, rules: Sequence[str], draw: Callable[[int, Sequence[int]], Iterable[str]]
    ) -> None:
        """Adds 1 to the count of a subject, and to the count of each rule that ``draw`` returns.

        ``draw`` is called with the subject's new count and with the counts of the rules.
        """

    async def uncount_fault(self, owner: str, subject: str) -> None:
        """Subtracts 1 from the count of a subject."""

    async def fault_counts(self, owner: str, subjects: Sequence[str]) -> list[int]:
        """Returns the counts of the owner's subjects."""


class RequestLogStore(Protocol):
    """Stores the request logs of all owners. A power cut may lose the last records."""

    async def add_requests(self, records: Sequence[tuple[str, str]], limit: int) -> None:
        """Adds records, each with its owner, to the request logs; each log keeps its newest ``limit`` records."""

    async def read_requests(self, owner: str, *, after: int = 0, limit: int | None = None) -> list[tuple[int, str]]:
        """Returns the owner's records with a number above ``after``, oldest first; the first one ever had number 1."""


class MetricsStore(Protocol):
    """What all processes together have to count. A power cut may lose the last ends that were added.

    An owner's sandbox has a clock of its own if its text does not contain ``unset_clock``.
    """

    def observe_commits(self, on_commit: OnCommit) -> None:
        """Calls ``on_commit`` after each commit of submissions from now on."""

    async def add_shown_ends(self, ends: Sequence[ShownEnd]) -> list[bool]:
        """Adds ends that answers have shown; returns for each whether it is new and its job is there."""

    async def count_pending(self, now: float, unset_clock: str) -> int:
        """Returns how many jobs are pending at ``now``, without those of owners who have a clock of their own."""

    async def count_pending_of(self, owner: str, now: float) -> int:
        """Returns how many of the owner's jobs are pending at ``now``."""

    async def owners_with_clock(self, unset_clock: str) -> list[str]:
        """Returns the owners who have a clock of their own."""


class RetentionStore(RequestLogStore, Protocol):
    """Deletes old data. A power cut may undo the last deletions."""

    async def next_owner(self, name: str) -> str | None:
        """Returns the owner after this one in the store's own order, which starts with the empty name."""

    async def purge(self, owner: str, cutoff: Cutoff, limit: int) -> int:
        """Deletes old data of an owner, at most ``limit`` jobs, starting with the earliest end; returns how many jobs.

        A job whose webhook still has an event to deliver stays.

        The input and the fault counts of a job go with it. Ordinals and numbers of request records do not start again.
        """

    async def purge_queued(self, limit: int) -> bool:
        """Deletes at most ``limit`` rows of sandboxes that were reset; returns whether there may be more."""


class DeliveryStore(ChangeSource, Protocol):
    """Stores deliveries of webhooks and their attempts. A power cut may lose the last attempts, but no delivery."""

    async def owners_to_notify(self) -> Mapping[str, VirtualTime]:
        """Returns, for each owner who has any, when the next event happens or the next attempt is due."""

    async def jobs_to_notify(self, owner: str, position: FeedPosition, now: VirtualTime, limit: int) -> list[Job]:
        """Returns the owner's next jobs after a position in the order of their next events, up to now.

        It returns fewer than ``limit`` if they are larger than `MAX_PAGE_SIZE` together.
        """

    async def deliveries_due(
        self, owner: str, position: tuple[float, str], now: VirtualTime, limit: int
    ) -> list[Delivery]:
        """Returns the owner's deliveries whose next attempt is due, in the order of its times and of their ids.

        Those up to a position, a time and an id, are left out.
        """

    async def record_deliveries(self, owner: str, deliveries: Sequence[Delivery]) -> None:
        """Stores deliveries after an attempt, and marks their jobs' events as attempted.

        Deliveries of jobs that are gone are ignored.
        """

    async def change_delivery(
        self, owner: str, delivery_id: str, change: Callable[[Delivery], Delivery]
    ) -> Delivery | None:
        """Changes one of the owner's deliveries and returns it; returns None if there is none.

        ``change`` gets the stored delivery. No attempt can be stored between its call and the end of the change.
        """

    async def deliveries(self, owner: str, *, limit: int, before: tuple[int, int] | None = None) -> list[Delivery]:
        """Returns the owner's newest deliveries, by the ordinals and stages of their jobs, below ``before``."""

    async def find_delivery(self, owner: str, delivery_id: str) -> Delivery | None:
        """Returns one of the owner's deliveries, or None."""

    async def gone_urls(self, owner: str) -> set[str]:
        """Returns the URLs that answered 410: the owner's events are no longer delivered there."""

    async def allow_url(self, owner: str, url: str) -> None:
        """Removes a URL from the owner's `gone_urls`."""

    async def lease(self, owner: str, holder: str, seconds: float) -> bool:
        """Takes or renews the lease of an owner's deliveries for one process; returns whether this process holds it.

        The lease ends after ``seconds`` on the store's clock, so another process can take over from one that was
        killed.
        """

    async def release(self, owner: str, holder: str) -> None:
        """Ends a lease, if this process holds it."""


class SecretStore(Protocol):
    """Stores secrets that all processes share.

    Attributes:
        file_key: The key that signs the URLs of files. The first process that opens the store creates it.
    """

    file_key: bytes


class Store(
    JobStore, SandboxStore, FaultCountStore, RetentionStore, DeliveryStore, MetricsStore, SecretStore, Protocol
):
    """All parts of a store."""

    async def check(self) -> None:
        """Checks that jobs can be read and added now, by a commit without effect; takes `CHECK_TIMEOUT` at most."""

    async def close(self) -> None:
        """Closes the store; it cannot be used afterwards."""
