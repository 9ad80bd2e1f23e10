"""The flow that downloads a job's file.

A download that breaks off is resumed where it stopped, if the server can say whether the file is still the same
(`If-Range`, RFC 9110, section 13.1.5). Else it begins again. A try that received something resets the count of
failures. After a refusal (401, 403, 404, 410), the URL has most likely expired. The job is polled for a new one, up to
three times in a row.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from translation_client.core.deadline import FlowTime
from translation_client.core.effects import Chunk, Failure, Flow, Input, Listen, Piece, Reply, Send
from translation_client.core.errors import (
    AuthenticationError,
    InvalidRequest,
    NotFound,
    ProtocolError,
    TranslationError,
    TransportError,
)
from translation_client.core.refusals import problem_of
from translation_client.core.requests import TRANSIENT, Failures, FlowOptions, Step, sleep
from translation_client.core.text import one_line
from translation_client.core.wait_one import poll_job

URL = re.compile(r"https?://[^\s/?#]+\S*", re.IGNORECASE)
SUCCESS = frozenset({200, 206})
REDIRECTS = frozenset({301, 302, 303, 307, 308})
REFUSED = frozenset({401, 403, 404, 410})
PARTIAL, NOT_SATISFIABLE = 206, 416
MOST_REDIRECTS = 5
PART = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", re.ASCII | re.IGNORECASE)
LENGTH = re.compile(r"\d{1,18}", re.ASCII)
WRONG_PART = "the server answered with another part of the file"
NEXT_STEP = "Download it again when the server is well."


MAX_SIZE = 64 * 2**30
"""How many bytes a file may have unless the caller says otherwise: 64 GiB."""


@dataclass
class Part:
    """The part of a file that has arrived, and how many bytes the file may have."""

    max_size: int = MAX_SIZE
    received: int = 0  # how many bytes
    size: int | None = None  # how many bytes the whole file has, if the server says so
    validator: str = ""  # the file's strong ETag or date, which changes with the file; empty if there is neither

    def request(self, url: str) -> Send:
        """Returns the request for the rest of the file; for all of it, if nothing shows whether it is the same."""
        if not self.validator:
            self.received = 0
        headers = {"Accept": "*/*"}
        if self.received:
            headers |= {"Range": f"bytes={self.received}-", "If-Range": self.validator}
        return Send("GET", url, headers=headers)

    def check(self, origin: str) -> None:
        """Raises ProtocolError if the file is larger than it may be."""
        if max(self.received, self.size or 0) > self.max_size:
            raise ProtocolError(
                f"the file of {origin} has more than {self.max_size:,} bytes, which is the limit: set max_size"
            )

    def begin(self, reply: Reply) -> bool:
        """Prepares for the body of an answer; returns whether it continues the part, or is the whole file."""
        headers = reply.headers
        if reply.code == PARTIAL:
            match = PART.fullmatch(headers.get("content-range", ""))
            size = self.size if match is None or match[2] == "*" else int(match[2])
            if match is None or int(match[1]) != self.received or self.size not in {None, size}:
                self.validator = ""
                return False
            self.size = size
            return True
        self.received, length = 0, LENGTH.fullmatch(headers.get("content-length", ""))
        self.size = int(length[0]) if length else None
        tag = headers.get("etag", "")
        self.validator = tag if tag.startswith('"') else headers.get("last-modified", "")
        return True


def urls_in(output: object) -> list[str]:
    """Returns the addresses in the output of a job, each once."""
    return list(dict.fromkeys(text for text in _texts(output) if URL.fullmatch(text)))


def download(
    options: FlowOptions, time: FlowTime, url: str, job_id: str | None = None, max_size: int = MAX_SIZE
) -> Flow:
    """Yields the pieces of a file. The file is complete when the flow ends.

    Args:
        options: The caller's options.
        time: The flow's time.
        url: The file's address.
        job_id: The job whose output has this address and no other; None if it must not be polled for a new one.
        max_size: How many bytes the file may have.

    Raises:
        AuthenticationError: The server refused the file.
        NotFound: The server has no such file.
        InvalidRequest: The server refused the request.
        TransportError: The retries or the time ran out.
        ProtocolError: An answer cannot be used.
    """
    failures, part = Failures(options), Part(max_size)
    while True:
        before = part.received
        result = yield from _try(options, time, part, url)
        if result is None:
            return
        if part.received > before:
            failures = Failures(options)
        error = _refusal(options, result, _origin(url))
        if error and (job_id is None or not isinstance(result, Reply) or result.code not in REFUSED):
            raise error
        if not failures.record(error) or not time.left:
            message = f"the download from {_origin(url)} failed ({failures.count} in a row): {result}. {NEXT_STEP}"
            raise error or TransportError(message, str(result), failures.count)
        delay = failures.pause(result)
        yield failures.warning(f"download from {_origin(url)}: {result}", delay)
        yield from sleep(time, delay)
        if error and job_id is not None:
            _, parsed = yield from poll_job(options, time, job_id, confirmed=True)
            url = next(iter(urls_in(parsed.status.output)), url)


def _try(options: FlowOptions, time: FlowTime, part: Part, url: str) -> Step[Reply | Failure | None]:
    """Downloads the rest of a file; returns None if the file is complete, else why it is not."""
    result = yield from _open(options, time, part, url)
    if not isinstance(result, Reply):
        return result
    if result.code in SUCCESS and not result.unread:
        if not part.begin(result):
            return Failure(WRONG_PART, time.now)
        return (yield from _receive(options, time, part, _origin(url)))
    if result.code == NOT_SATISFIABLE and part.received:  # the file has changed
        part.validator = ""
        return Failure(WRONG_PART, time.now)
    return result


def _open(options: FlowOptions, time: FlowTime, part: Part, url: str) -> Step[Reply | Failure]:
    """Requests the rest of a file; follows redirects."""
    for _ in range(MOST_REDIRECTS + 1):
        if not time.left:
            return Failure("the time was up", time.now)
        result = yield Listen(part.request(url), min(options.request_timeout, time.left), file=True)
        time.now = result.at
        if not isinstance(result, Reply):
            return _failure(result)
        if result.code not in REDIRECTS:
            return result
        source, url = _origin(url), result.headers.get("location", "")
        if not URL.fullmatch(url):
            raise ProtocolError(
                f"{source} redirects the download to {one_line(url)!r}, which is no http or https address."
            )
    raise ProtocolError(f"the download was redirected more than {MOST_REDIRECTS} times. Check the URL of the file.")


def _receive(options: FlowOptions, time: FlowTime, part: Part, origin: str) -> Step[Failure | None]:
    """Yields the pieces of a body; returns None if the file is complete, else why it is not."""
    part.check(origin)
    while part.size is None or part.received < part.size:
        if not time.left:
            return Failure("the time was up", time.now)
        chunk = yield Listen(None, min(options.request_timeout, time.left), file=True)
        time.now = chunk.at
        if not isinstance(chunk, Chunk):
            return _failure(chunk)
        if not chunk.data:
            return None if part.size is None else Failure(f"{part.size - part.received} bytes are missing", time.now)
        offset, part.received = part.received, part.received + len(chunk.data)
        if part.size is not None and part.received > part.size:
            part.validator = ""
            return Failure(f"the server sent more than the {part.size} bytes that it had announced", time.now)
        part.check(origin)
        time.now = (yield Piece(offset, chunk.data, part.size)).at
    return None


def _failure(result: Input) -> Failure:
    """Returns an input that must be a failure."""
    return result if isinstance(result, Failure) else Failure(str(result), result.at)


def _refusal(options: FlowOptions, reply: Reply | Failure, origin: str) -> TranslationError | None:
    """Returns the exception for an answer that is no file; None if it is worth a retry."""
    if isinstance(reply, Failure) or reply.code in TRANSIENT:
        return None
    text, own_code, _ = problem_of(options.dialect, reply)
    problem = f"{origin} refused the file ({reply.code}): {text or 'without a reason'}"
    match reply.code:
        case 401 | 403:
            return AuthenticationError(
                f"{problem}. The next poll of the job may give another URL.", reply.code, own_code
            )
        case 404 | 410:
            return NotFound(f"{problem}. The next poll of the job may give another URL.", own_code)
        case code if code // 100 == 4:  # noqa: PLR2004 - the class of a status code
            return InvalidRequest(f"{problem}. Check the URL of the file.", code, code=own_code)
        case code:
            return ProtocolError(
                reply.unread or f"{origin} answered {code} instead of a file. Check the URL of the file."
            )


def _origin(url: str) -> str:
    """Returns the scheme and the host of an address. The rest may be a secret."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{re.split('[/?#]', rest, maxsplit=1)[0].rpartition('@')[2]}"


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for member in value.values():
            yield from _texts(member)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
