"""Reading a server's answers about several jobs: the pages of a list, and batch polls."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from translation_client.core.decode import ParsedStatus, document_of, parsed_job, raw_id
from translation_client.core.dialects import Dialect, Listing, Operation, id_of, is_text, put_at, unquoted
from translation_client.core.effects import Reply
from translation_client.core.errors import NotFound, ProtocolError, TranslationError
from translation_client.core.refusals import SUCCESS, json_of, unexpected
from translation_client.core.status import State
from translation_client.core.templates import fits, paths, read


class Page(NamedTuple):
    """A page of a list."""

    jobs: Sequence[ParsedStatus]
    unread: Sequence[ProtocolError]  # why some of its jobs cannot be read
    next: str | None  # the cursor of the next page, if there is one


def read_page(dialect: Dialect, reply: Reply, cursor: str | None = None) -> Page:
    """Reads the page of a list at a cursor.

    Raises:
        TranslationError: The answer refuses, or does not match the dialect: none of its jobs can be read.
    """
    listing = dialect.listing
    if listing is None:
        raise ValueError(f"the dialect {dialect.name} has no list")
    page, jobs = _page(dialect, listing, reply)
    if not isinstance(jobs, list):
        raise unexpected(f"an array as {'.'.join(listing.jobs)!r}", reply)
    each = listing.each
    parsed, unread, ids = list[ParsedStatus](), list[ProtocolError](), list[str | None]()
    for body in (_as_polled(listing, job) for job in jobs):
        try:
            parsed.append(parsed_job(dialect, each, body, reply))
            ids.append(parsed[-1].status.id)
        except ProtocolError as error:
            unread.append(error)
            ids.append(id_of(raw_id(each, body)))
    if unread and not parsed:
        raise unread[0]
    return Page(parsed, unread, _next_cursor(listing.operation, page, ids, cursor, reply))


def _page(dialect: Dialect, listing: Listing, reply: Reply) -> tuple[object, object]:
    """Returns the document with several jobs, and its part with the jobs; the whole document may be an array."""
    if not listing.jobs and reply.code // 100 == SUCCESS and not reply.unread:
        document = json_of(reply.body)
        return document, document
    page = document_of(dialect, reply)
    return page, _value_at(page, listing.jobs)


def _as_polled(listing: Listing, item: object) -> object:
    """Returns an item of a list in the form of the answer to a poll."""
    if not listing.operation.item:
        return item
    body: dict[str, Any] = {}
    put_at(body, listing.operation.item, item)
    return body


def _next_cursor(
    operation: Operation, page: object, ids: Sequence[str | None], cursor: str | None, reply: Reply
) -> str | None:
    """Returns the cursor of the page after the one at a cursor; None where there is none.

    If the answer names no cursor, it is computed from the jobs, unless the answer says that they are the last ones.
    """
    found = paths(operation.answers[State.PENDING].body)
    if "next" in found:
        following = _value_at(page, found["next"])
        is_number = type(following) is int and operation.paging != "cursor"
        text = str(following) if is_number else _text_value(following, ".".join(found["next"]), reply)
        return text if text is None or operation.cursor is None or "://" not in text else _cursor_in(operation, text)
    headers = operation.answers[State.PENDING].headers
    if naming := [name for name, node in headers.items() if "next" in paths(node)]:
        return _cursor_in(operation, reply.headers.get(naming[0].lower(), ""))
    if operation.cursor is None or not ids:
        return None
    if "has_more" in found and _value_at(page, found["has_more"]) is not True:
        return None
    match operation.paging:
        case "cursor":
            return next((job_id for job_id in reversed(ids) if job_id), None)
        case "offset":
            following, last = int(cursor or 0) + len(ids), "count"
        case _:
            following, last = int(cursor or 1) + 1, "pages"
    end = _value_at(page, found.get(last, ()))
    is_last = type(end) is int and following >= end + (last == "pages")
    return None if is_last else str(following)


def _cursor_in(operation: Operation, text: str) -> str | None:
    """Returns the cursor in the address of a page; None if it has none."""
    parameter = re.search(rf"[?&]{re.escape(operation.cursor or '')}=([^&#>]*)", text)
    return unquoted(parameter[1]) if parameter else None


def read_batch(
    dialect: Dialect, listing: Listing, reply: Reply, ids: Sequence[str]
) -> dict[str, ParsedStatus | TranslationError]:
    """Reads the answer to a batch poll: for each id, the job's status or the error.

    Raises:
        TranslationError: The answer refuses, or does not match the dialect.
    """
    page, jobs = _page(dialect, listing, reply)
    unknown = [] if listing.unknown is None else _value_at(page, (listing.unknown,))
    if not isinstance(jobs, list) or not isinstance(unknown, list):
        names = [".".join(listing.jobs), *([listing.unknown] if listing.unknown else [])]
        raise unexpected(f"arrays as {' and '.join(map(repr, names))}", reply)
    unknown_ids = set(map(id_of, unknown))
    if (missing := listing.operation.missing) is not None:
        unknown_ids |= {id_of(read(missing, job).get("job_id")) for job in jobs if fits(missing, job)}
    each, bodies = listing.each, [_as_polled(listing, job) for job in jobs]
    numbered = {id_of(raw_id(each, job)): (number, job) for number, job in enumerate(bodies)}
    answers: dict[str, ParsedStatus | TranslationError] = {}
    for job_id in ids:
        try:
            if job_id in unknown_ids or (listing.unknown is None and job_id not in numbered):
                answers[job_id] = NotFound(f"the server has no job {job_id}. Check the job's id and owner.")
            else:
                number, job = numbered.get(job_id, (0, None))
                answers[job_id] = parsed_job(dialect, each, job, reply, job_id, number)
        except ProtocolError as error:
            answers[job_id] = error
    return answers


def _value_at(document: object, path: Sequence[str]) -> object:
    """Returns the value at the end of a path of keys; None if there is none, and for an empty path."""
    for key in path:
        match document:
            case Mapping():
                document = document.get(key)
            case list() if key.isdecimal() and int(key) < len(document):
                document = document[int(key)]
            case _:
                return None
    return document if path else None


def _text_value(value: object, where: str, reply: Reply) -> str | None:
    if value is None or is_text(value):
        return value
    raise unexpected(f"a text as {where!r}", reply)
