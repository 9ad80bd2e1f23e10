"""Forms with files (RFC 7578), read as they arrive. The server stores the name, type, size and SHA-256 of a file."""

import hashlib
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from translation_server.api.problems import Problem

MAX_FIELDS = 1000
"""How many fields and files a form may have."""

MAX_SEMICOLONS = 20
"""How many semicolons the Content-Disposition of a part may have. The library takes long for each."""


class MultipartForm:
    """Reads a form.

    Args:
        content_type: the value of the request's Content-Type.
        max_text: how many bytes the texts of all fields and the headers of all parts may have together.
        max_size: how many bytes the whole form may have.

    Raises:
        Problem: 400 if the boundary is missing.
    """

    def __init__(self, content_type: str, *, max_text: int, max_size: int) -> None:
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if not boundary:
            raise Problem(HTTPStatus.BAD_REQUEST, "The Content-Type multipart/form-data has no boundary.")
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._add(self._name, data[start:end]),
                "on_header_value": lambda data, start, end: self._add(self._value, data[start:end]),
                "on_header_end": self._end_header,
                "on_headers_finished": self._describe,
                "on_part_data": self._take,
                "on_part_end": self._end,
                "on_end": self._finish,
            },
        )
        self._fields: dict[str, list[object]] = {}
        self._lists = set[str]()  # the names that are sent as `name[]`
        self._max_text, self._max_size = max_text, max_size
        self._count = 0
        self._is_complete = False

    async def read(self, chunks: AsyncIterator[bytes]) -> dict[str, Any]:
        """Returns the fields by name: a text or a description of a file, and a list of them where a name is repeated.

        Raises:
            Problem: 400 for a malformed form, 413 for one that is too large.
        """
        size = 0
        try:
            async for chunk in chunks:
                size += len(chunk)
                if size > self._max_size:
                    raise too_large(f"A form may have {self._max_size} bytes (MAX_UPLOAD).")
                self._parser.write(chunk)
            self._parser.finalize()
        except MultipartParseError as error:
            raise Problem(HTTPStatus.BAD_REQUEST, f"The form is malformed: {error}.") from None
        if not self._is_complete:
            raise Problem(HTTPStatus.BAD_REQUEST, "The form is malformed: its end is missing.")
        return {
            name: values if name in self._lists or len(values) > 1 else values[0]
            for name, values in self._fields.items()
        }

    def _begin(self) -> None:
        self._count += 1
        if self._count > MAX_FIELDS:
            raise too_large(f"A form may have {MAX_FIELDS} fields.")
        self._headers: dict[bytes, bytes] = {}
        self._name, self._value = bytearray(), bytearray()
        self._text, self._digest, self._size = bytearray(), hashlib.sha256(), 0

    def _end_header(self) -> None:
        self._headers[bytes(self._name).lower()] = bytes(self._value)
        self._name, self._value = bytearray(), bytearray()

    def _describe(self) -> None:
        disposition = self._headers.get(b"content-disposition", b"")
        if disposition.count(b";") > MAX_SEMICOLONS:
            raise too_large(f"The Content-Disposition of a part of a form may have {MAX_SEMICOLONS} semicolons.")
        _, options = parse_options_header(disposition)
        if b"name" not in options:
            raise Problem(HTTPStatus.BAD_REQUEST, "The form is malformed: a part has no name.")
        self._field = options[b"name"].decode(errors="replace")
        filename = options.get(b"filename")
        self._filename = None if filename is None else filename.decode(errors="replace")

    def _take(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if self._filename is not None:
            self._digest.update(memoryview(data)[start:end])
            return
        self._add(self._text, data[start:end])

    def _add(self, text: bytearray, more: bytes) -> None:
        self._max_text -= len(more)
        if self._max_text < 0:
            raise too_large("The texts of the form are too long (MAX_BODY).")
        text += more

    def _end(self) -> None:
        value: object = self._text.decode(errors="replace")
        if self._filename is not None:
            content_type = self._headers.get(b"content-type", b"application/octet-stream").decode("latin-1")
            value = file_description(self._filename, content_type, self._size, self._digest.hexdigest())
        name = self._field.removesuffix("[]")
        if name != self._field:
            self._lists.add(name)
        self._fields.setdefault(name, []).append(value)

    def _finish(self) -> None:
        self._is_complete = True


def file_description(name: str | None, content_type: str, size: int, sha256: str) -> dict[str, object]:
    """Returns the description of a file that is stored in its place."""
    return {"filename": name, "content_type": content_type, "size": size, "sha256": sha256}


def too_large(detail: str) -> Problem:
    """Returns the problem of a body that is too large; the rest of it is not read."""
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, {"Connection": "close"})
