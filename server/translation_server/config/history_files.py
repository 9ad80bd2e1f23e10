"""The durations of past jobs, from a history file of the client: JSON objects, one per line, the newest last.

Each holds the kind of a job and its duration in seconds. Jobs of different APIs have different kinds, so the durations
of one kind are used: the kind in the setting, or else the only one in the file.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from translation_server.core.delays import MAX_DURATIONS, Empirical

MAX_SIZE = 4 * 2**20  # how many bytes the file may have
MAX_SECONDS = 1e9
MAX_LISTED = 5  # how many kinds a message lists
LINE = '{"kind": "start api.example", "seconds": 61.5}'


class HistoryError(Exception):
    """A history file is unusable; the message is one line."""


@dataclass(frozen=True, slots=True)
class HistoryFile:
    """The durations of one kind of job in a file; the kind may be None if there is only one."""

    path: Path
    kind: str | None = None

    def delays(self) -> Empirical:
        """Returns the distribution of the newest durations.

        Raises:
            HistoryError: the file cannot be read, or has no such durations.
        """
        setting = f"DELAY=empirical({self.path}{'' if self.kind is None else f', {self.kind}'})"
        try:
            by_kind = _read(self.path)
            durations = by_kind[_chosen(list(by_kind), self.kind)]
        except OSError as error:
            raise HistoryError(f"{setting}: the file cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise HistoryError(f"{setting}: {error}") from None
        return Empirical(tuple(durations[-MAX_DURATIONS:]))


def _read(path: Path) -> dict[str, list[float]]:
    """Returns the durations in a file by their kinds; ValueError if a line is malformed, or there are no lines."""
    with path.open("rb") as file:
        content = file.read(MAX_SIZE + 1)
    if len(content) > MAX_SIZE:
        raise ValueError(f"the file must have {MAX_SIZE // 2**20} MiB at most")
    by_kind: dict[str, list[float]] = {}
    for number, line in enumerate(content.splitlines(), 1):
        try:
            match json.loads(line):
                case {"kind": str(kind), "seconds": int(seconds) | float(seconds)} if _is_duration(seconds):
                    by_kind.setdefault(kind, []).append(float(seconds))
                    continue
        except (ValueError, RecursionError):
            pass
        raise ValueError(f"line {number} of the file must be like {LINE}, with 0 to {MAX_SECONDS:.0f} seconds")
    if not by_kind:
        raise ValueError(f"the file must have a line like {LINE} for each past job")
    return by_kind


def _is_duration(seconds: float) -> bool:
    return not isinstance(seconds, bool) and 0 <= seconds <= MAX_SECONDS


def _chosen(kinds: list[str], kind: str | None) -> str:
    if kind is None and len(kinds) == 1:
        return kinds[0]
    if kind in kinds:
        return kind
    listed = ", ".join([*map(repr, kinds[:MAX_LISTED]), *(["…"] if len(kinds) > MAX_LISTED else [])])
    if kind is None:
        raise ValueError(f"name the kind of job after a comma, because the file has several: {listed}")
    raise ValueError(f"the file has no jobs of this kind; it has {listed}")
