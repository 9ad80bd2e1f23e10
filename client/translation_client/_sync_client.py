"""Generated from client.py by `make generate`. Edit client.py instead."""

from collections.abc import Generator, Iterable, Mapping
from contextlib import closing
from os import PathLike
from pathlib import Path
from typing import Any, Self

from translation_client import validation
from translation_client.base_client import (
    BaseClient,
    Callback,
    OnProgress,
    Outcome,
    OwnCallback,
    OwnTimeout,
    chosen,
)
from translation_client.core import download, wait_many, wait_one
from translation_client.core.effects import Flow, WaitFailed
from translation_client.core.status import Status
from translation_client.drivers.base import Receiver
from translation_client.drivers.sync_driver import Driver
from translation_client.drivers.target_file import TargetFile
from translation_client.drivers.transport import Transport
from translation_client.http_library import SyncHttp, httpx
from translation_client.validation import FileLike


class Client(BaseClient[SyncHttp, Driver]):
    """A client for sync code. Threads may share one. Each process has its own connections, after a fork too.

    Close it, or use it as a context manager:

        with Client("http://127.0.0.1:8000", username="admin", password="secretpassword") as client:
            job = client.start(source_language="en", target_language="es")
            final = client.wait(job.id, timeout=60, on_update=print)
    """

    _driver_type = Driver

    @staticmethod
    def _open(base_url: httpx.URL) -> SyncHttp:
        return httpx.Client(transport=Transport(base_url))

    def start(
        self,
        *,
        source_language: str | None = None,
        target_language: str | None = None,
        video_length: float | None = None,
        job_id: str | None = None,
        simulate: dict[str, object] | None = None,
        input: Mapping[str, Any] | None = None,  # noqa: A002 - APIs call it so
        files: Mapping[str, FileLike] | None = None,
        idempotency_key: str | None = None,
        webhook: Receiver | None = None,
        timeout: float | None = None,
    ) -> Status:
        """Starts a job and returns its first status.

        Args:
            source_language: The language of the video, as the server names it.
            target_language: The language to translate it to.
            video_length: Seconds of video.
            job_id: An id of your own, if the dialect accepts one, as `translate` does.
            simulate: The fate of the job, if the server is this project's: `{"after_polls": 3}`, or some of `delay`,
                `outcome`, `message` and `paused`.
            input: Fields that only this API knows, such as `{"prompt": "a cat"}`.
            files: Files for an API that takes a multipart form, such as `{"video": "video.mp4"}`: paths, or files that
                are open in binary mode and seekable. They are sent in pieces, and from their beginning at each retry.
            idempotency_key: 1 to 255 visible ASCII characters without double quotes. Starts with the same key make one
                job. By default each call makes a new key, which covers its retries.
            webhook: Where the server posts the job's end: a `receivers.Listener`, or another object with a `url`. Give
                it to the wait, too. In another API, the url goes into the API's own field.
            timeout: Seconds, retries included; None for no limit.

        Raises:
            ValueError: An argument is unusable, or the dialect does not have it.
            OSError: A file cannot be read.
            AuthenticationError: The server refused the credentials.
            InvalidRequest: The server refused the job.
            TransportError: The retries or the time ran out. A job may exist; the message has the key to repeat.
            TranslationError: The server refused, or its answer could not be read.
        """
        fields = self._fields(
            job_id, source_language, target_language, video_length, simulate, own=input, webhook=webhook
        )
        key = validation.key(idempotency_key)
        flow = wait_one.submit(self._options, self._time(timeout), key, fields, self._uploads(files))
        return self._only(flow)

    def status(self, job_id: str, *, long_poll: float = 0.0) -> Status:
        """Polls a job once.

        Args:
            job_id: The job.
            long_poll: How many whole seconds the server may hold the poll until the job ends, if it supports that and
                the client's own `long_poll` allows it. Such a poll never comes too early.

        Raises:
            NotFound: The user has no such job.
            TranslationError: The status could not be read.
        """
        hold = int(min(validation.number("long_poll", long_poll), self._options.long_poll))
        return self._only(wait_one.poll(self._options, self._time(), self._job(job_id), hold))

    def cancel(self, job_id: str) -> Status:
        """Cancels a job and returns its status. A job that has ended does not change.

        Raises:
            NotFound: The user has no such job.
            TranslationError: The job could not be cancelled.
        """
        return self._only(wait_one.cancel(self._options, self._time(), self._job(job_id)))

    def delete(self, job_id: str) -> None:
        """Deletes a job, if the API has a request for this; afterwards the API answers as if the job did not exist.

        Raises:
            NotFound: The user has no such job.
            ValueError: The dialect has no `delete`.
            TranslationError: The job could not be deleted.
        """
        with closing(self._driver.run(wait_one.delete(self._options, self._time(), self._job(job_id)))) as flow:
            for _ in flow:
                pass

    def list(self) -> Generator[Status]:
        """Yields the status of every job of this user, newest first. Pages are fetched as you iterate.

        Raises:
            TranslationError: A page could not be read.
        """
        return self._driver.run(wait_one.list_jobs(self._options, self._time()))

    def watch(
        self,
        job_id: str,
        *,
        timeout: OwnTimeout = ...,
        cancel_on_timeout: bool = False,
        webhook: Receiver | None = None,
        kind: str | None = None,
    ) -> Generator[Status]:
        """Yields the status of a job, then each change of it, up to the final status.

        Args:
            job_id: The job's id.
            timeout: Seconds from now; None for no limit, `...` for the client's own.
            cancel_on_timeout: Whether to cancel the job when the time is up, which takes five seconds more at most. If
                the job has ended meanwhile, its final status is yielded. A job whose wait is interrupted goes on.
            webhook: The receiver that the job was started with. A delivery ends the wait at once. Polls go on, far more
                seldom, so a lost delivery costs only time.
            kind: The kind of job, instead of the client's own.

        Raises:
            JobTimeout: The time is up; the job goes on, unless `cancelled` is true.
            ValueError: An argument is unusable, or the API has no cancellation.
            NotFound: The user has no such job.
            TranslationError: The status could not be read.
        """
        options, time = self._options_for(kind, webhook), self._time(timeout)
        flow = wait_one.watch(options, time, self._job(job_id))
        return self._driver.run(self._cancelling(options, time, flow) if cancel_on_timeout else flow, webhook)

    def wait(
        self,
        job_id: str,
        *,
        timeout: OwnTimeout = ...,
        cancel_on_timeout: bool = False,
        webhook: Receiver | None = None,
        kind: str | None = None,
        on_update: OwnCallback = ...,
        on_completion: OwnCallback = ...,
    ) -> Status:
        """Waits for a job's end and returns its final status, whichever it is.

        `on_update` is called with the first status and each changed one, `on_completion` with the final one; `...`
        stands for the client's own. The other arguments and the errors are those of `watch`.
        """
        changes = self.watch(job_id, timeout=timeout, cancel_on_timeout=cancel_on_timeout, webhook=webhook, kind=kind)
        return self._finish(changes, on_update, on_completion)

    def run(
        self,
        *,
        source_language: str | None = None,
        target_language: str | None = None,
        video_length: float | None = None,
        job_id: str | None = None,
        simulate: dict[str, object] | None = None,
        input: Mapping[str, Any] | None = None,  # noqa: A002 - APIs call it so
        files: Mapping[str, FileLike] | None = None,
        idempotency_key: str | None = None,
        timeout: OwnTimeout = ...,
        cancel_on_timeout: bool = False,
        webhook: Receiver | None = None,
        kind: str | None = None,
        on_update: OwnCallback = ...,
        on_completion: OwnCallback = ...,
    ) -> Status:
        """Starts a job and waits for its end, with one timeout for both.

        The arguments and errors are those of `start` and `wait`. A `webhook` is for both.
        """
        fields = self._fields(
            job_id, source_language, target_language, video_length, simulate, own=input, webhook=webhook
        )
        key = validation.key(idempotency_key)
        options, time = self._options_for(kind, webhook), self._time(timeout)
        flow = wait_one.run(options, time, key, fields, self._uploads(files))
        changes = self._driver.run(self._cancelling(options, time, flow) if cancel_on_timeout else flow, webhook)
        return self._finish(changes, on_update, on_completion)

    def resume(
        self,
        token: str,
        *,
        timeout: OwnTimeout = ...,
        cancel_on_timeout: bool = False,
        webhook: Receiver | None = None,
        kind: str | None = None,
        on_update: OwnCallback = ...,
        on_completion: OwnCallback = ...,
    ) -> Status:
        """Continues the wait for a job by the token of a Status or of a JobTimeout, in this process or another.

        The other arguments and errors are those of `wait`.

        Raises:
            ValueError: The token is incomplete, or belongs to another dialect or a later version.
        """
        options, time = self._options_for(kind, webhook), self._time(timeout)
        flow = wait_one.watch(options, time, self._job_in(token), confirmed=True)
        changes = self._driver.run(self._cancelling(options, time, flow) if cancel_on_timeout else flow, webhook)
        return self._finish(changes, on_update, on_completion)

    def as_completed(
        self,
        ids: Iterable[str],
        *,
        timeout: OwnTimeout = ...,
        cancel_on_timeout: bool = False,
        webhook: Receiver | None = None,
        on_update: OwnCallback = ...,
    ) -> Generator[tuple[str, Outcome]]:
        """Waits for several jobs; yields each id as its wait ends, with the final status or the exception.

        All jobs share one event stream, or batch polls of up to a hundred, if the server has either. If the wait for
        one job fails, the others go on.

        Args:
            ids: The jobs; each is yielded once.
            timeout: Seconds from now for all of them; None for no limit, `...` for the client's own.
            cancel_on_timeout: Whether to cancel the pending jobs when the time is up, one after another, for five
                seconds more at most; each `JobTimeout` says whether its job is cancelled.
            webhook: The receiver that the jobs were started with, as in `watch`.
            on_update: Called with each job's first status and each changed one; `...` for the client's own.

        Raises:
            AuthenticationError: The server refused the credentials.
            ValueError: An id is unusable, or the schedule yields something other than seconds.
        """
        ids = validation.jobs_of(self._options.dialect, ids)
        if cancel_on_timeout:
            validation.has_cancel(self._options.dialect)
        options, time = self._options_for(None, webhook), self._time(timeout)
        flow = wait_many.as_completed(options, time, ids, cancel_on_timeout=cancel_on_timeout)
        return self._outcomes(self._driver.run(flow, webhook), chosen(on_update, self._on_update))

    def wait_all(
        self,
        ids: Iterable[str],
        *,
        timeout: OwnTimeout = ...,
        cancel_on_timeout: bool = False,
        webhook: Receiver | None = None,
        on_update: OwnCallback = ...,
    ) -> dict[str, Outcome]:
        """Waits for several jobs; returns for each id, in the order given, the final status or the exception.

        The arguments and errors are those of `as_completed`.
        """
        ids = validation.jobs_of(self._options.dialect, ids)
        results = self.as_completed(
            ids, timeout=timeout, cancel_on_timeout=cancel_on_timeout, webhook=webhook, on_update=on_update
        )
        outcomes = {job_id: outcome for job_id, outcome in results}
        return {job_id: outcomes[job_id] for job_id in ids}

    def download(
        self,
        final: Status,
        path: str | PathLike[str],
        *,
        url: str | None = None,
        overwrite: bool = True,
        timeout: OwnTimeout = ...,
        max_size: int = download.MAX_SIZE,
        on_progress: OnProgress | None = None,
    ) -> Path:
        """Downloads the output file of a job, and returns its path.

        The file gets its name only when it is complete. A download that breaks off is resumed where it stopped. The
        credentials go to no other server.

        Args:
            final: The final status of the job.
            path: Where to write the file. Its folder must exist.
            url: The address of the file, if the job's output has several.
            overwrite: Whether a file that exists is replaced.
            timeout: Seconds from now; None for no limit, `...` for the client's own.
            max_size: How many bytes the file may have; a larger one is a ProtocolError.
            on_progress: Called with the number of bytes so far and of the whole file, or None if that is unknown.

        Raises:
            JobFailed: The job has failed.
            ValueError: The job is pending, or its output does not have exactly one URL.
            OSError: The file cannot be written, or exists and must not be overwritten (FileExistsError).
            AuthenticationError: The server refused the file: its URL may have expired.
            NotFound: The server has no such file.
            TransportError: The retries or the time ran out.
            TranslationError: The server refused, or its answer could not be used.
        """
        source = validation.file_url(final, self.file_urls(final), url)
        with TargetFile(path, overwrite=overwrite) as target:
            job_id = final.id if url is None else None
            flow = download.download(self._options, self._time(timeout), source, job_id, max_size)
            with closing(self._driver.run(flow)) as pieces:
                for piece in pieces:
                    self._driver.write(target, piece)
                    self._driver.call(on_progress, piece.offset + len(piece.data), piece.size)
            target.commit()
        return target.path

    def close(self) -> None:
        """Closes the connections.

        An `http_client` that was given stays open.
        """
        if self._owns_http:
            self._driver.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _only(self, flow: Flow) -> Status:
        status: Status
        (status,) = [status for status in self._driver.run(flow)]
        return status

    def _outcomes(
        self, changes: Generator[Status | WaitFailed], on_update: Callback | None
    ) -> Generator[tuple[str, Outcome]]:
        with closing(changes) as results:
            for result in results:
                if isinstance(result, WaitFailed):
                    yield result.id, result.error
                    continue
                self._driver.call(on_update, result)
                if result.state.ended:
                    yield result.id, result

    def _finish(self, changes: Generator[Status], on_update: OwnCallback, on_completion: OwnCallback) -> Status:
        on_update, on_completion = chosen(on_update, self._on_update), chosen(on_completion, self._on_completion)
        with closing(changes):
            for status in changes:
                self._driver.call(on_update, status)
        self._driver.call(on_completion, status)
        return status
