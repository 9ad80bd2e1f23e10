"""Accepts jobs: draws their fates, and puts them on disk."""

import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from translation_server.core.clock import WallTime
from translation_server.core.entropy import seeded_entropy
from translation_server.core.job import NATIVE, TRANSLATION, FateOverride, Job, JobSnapshot, Submission, json_text
from translation_server.core.metrics import Metrics
from translation_server.core.webhooks import Webhook
from translation_server.service.sandbox_cache import SandboxCache
from translation_server.service.synchroniser import Synchroniser
from translation_server.storage import Idempotency, JobStore

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The first snapshot of a submitted job.

    ``replayed`` is set where an earlier submission with the same idempotency key had created the job.
    """

    snapshot: JobSnapshot
    replayed: bool


class Submitter:
    """Accepts jobs; the arguments are those of `Service` and its parts."""

    def __init__(  # noqa: PLR0913 - the options are keywords
        self,
        store: JobStore,
        sandboxes: SandboxCache,
        synchroniser: Synchroniser,
        *,
        clock: Callable[[], WallTime],
        entropy: Callable[[], bytes],
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._sandboxes = sandboxes
        self._synchroniser = synchroniser
        self._clock = clock
        self._entropy = entropy
        self._metrics = metrics

    async def submit(  # noqa: PLR0913 - the options are keywords
        self,
        owner: str,
        submission: Submission,
        *,
        api: str = NATIVE,
        kind: str = TRANSLATION,
        idempotency: Idempotency | None = None,
        job_id: str | None = None,
        chosen: bool = True,
        fate_override: FateOverride | None = None,
        job_input: Mapping[str, object] | None = None,
        echo: Mapping[str, object] | None = None,
        webhook: Webhook | None = None,
    ) -> Accepted:
        """Accepts a job; it is on disk when this returns.

        Args:
            owner: whose job it is.
            submission: the native fields that the caller has sent.
            api: the API that it is submitted to. Each API has idempotency keys of its own.
            kind: which of the API's kinds of job it is.
            idempotency: an idempotency key, and the fingerprint of the request.
            job_id: the job's id; without one, the job gets a new UUID.
            chosen: whether the caller has chosen the id, so that another job may have it, too.
            fate_override: the fate that the caller has chosen.
            job_input: everything that the caller has sent.
            echo: the parts of it that answers repeat, by the names of their placeholders.
            webhook: where the job's events are delivered.

        Raises:
            KeyReused: the idempotency key came before, with another request.
            IdTaken: the caller has a job of that id, of this API and kind.
            StoreError: the job was not accepted.
        """
        sandbox = await self._sandboxes.of(owner)
        settings, override = sandbox.settings, fate_override or FateOverride()
        if idempotency and api != NATIVE:
            idempotency = replace(idempotency, key=f"{api}\0{idempotency.key}")

        def accept(ordinal: int) -> Job:
            wall = self._clock()
            entropy = self._entropy() if settings.seed is None else seeded_entropy(settings.seed, ordinal)
            job = Job(
                job_id or str(uuid.uuid4()),
                owner,
                ordinal,
                sandbox.clock.virtual(wall),
                override.apply(settings.fate(entropy, submission.video_length)),
                submission,
                changed_at=wall,
                api=api,
                kind=kind,
                echo_text=json_text(echo) if echo else "",
                webhook=webhook,
            )
            paused = settings.paused if override.paused is None else override.paused
            return replace(job, paused_at=job.created_at) if paused else job

        stored = await self._store.add(owner, accept, idempotency, json_text(job_input) if job_input else None)
        if not stored.replayed:
            self._metrics.accepted.add(api)
            logger.info("job %s accepted for %s", stored.job.id, owner)
            self._synchroniser.add(stored.job, unique=job_id is None or not chosen)
        return Accepted(stored.job.beginning, stored.replayed)
