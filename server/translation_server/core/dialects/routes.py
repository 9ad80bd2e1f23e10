"""Routes: the requests of all dialects, and which dialects share one."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

from translation_server.core.dialects.dialect import Api, Dialect, DialectError
from translation_server.core.dialects.operations import WITH_ID, Action, Operation, RequestPattern


class Route(NamedTuple):
    """A request pattern, its operation, and the dialects that share it. An operation without a job has no dialects.

    The first one is the dialect of the operation; others may share it, such as those of a list of all kinds of jobs.
    """

    pattern: RequestPattern
    operation: Operation
    api: Api
    dialects: tuple[Dialect, ...] = ()

    @property
    def action(self) -> Action:
        """The action of the operation."""
        return self.operation.action

    @property
    def names(self) -> Sequence[str]:
        """The names of the dialects that share it."""
        return [dialect.name for dialect in self.dialects] or [self.api.name]


def routes(dialects: Iterable[Dialect]) -> list[Route]:
    """Returns the routes of all dialects, the more specific ones first.

    Several kinds of jobs of one API may share a request about a job: the job's id determines the kind.

    Raises:
        DialectError: two dialects would answer the same request differently.
    """
    by_form = defaultdict[tuple[str, str], list[Route]](list)
    for route in _routes(dialects):
        same = by_form[route.pattern.form]
        clash = next((other for other in same if not route.operation.where.differs(other.operation.where)), None)
        if clash is None:
            same.append(route)
        elif route.dialects and clash.dialects and _behaviour(route) == _behaviour(clash):
            same[same.index(clash)] = clash._replace(dialects=clash.dialects + route.dialects)
        elif _shares_jobs(route, clash):
            same.append(route)
        else:
            other = clash.dialects[0].name if clash.dialects else clash.api.name
            raise DialectError(f"{route.pattern} is taken by the dialect {other}: choose another path")
    return sorted(chain.from_iterable(by_form.values()), key=lambda route: route.pattern.specificity)


def _routes(dialects: Iterable[Dialect]) -> Iterator[Route]:
    dialects, seen = list(dialects), set[str]()
    for dialect in dialects:
        others = [one for one in dialects if one.api is dialect.api and one is not dialect]
        operations: list[tuple[Operation, tuple[Dialect, ...]]] = [
            (one, (dialect, *others) if one.all_kinds else (dialect,)) for one in dialect.operations
        ]
        if dialect.api.name not in seen:
            operations += [(one, ()) for one in dialect.api.fixed]
        seen.add(dialect.api.name)
        for operation, sharing in operations:
            for pattern in operation.requests:
                for path in (pattern.path, "") if pattern.path == "/" else (pattern.path,):  # of /, both forms
                    mounted = replace(pattern, path=dialect.api.mount + path)
                    yield Route(mounted, operation, dialect.api, sharing)


def _shares_jobs(one: Route, other: Route) -> bool:
    """Whether two routes do the same for jobs of two kinds, and have the job's id at the same place."""
    return (
        one.action == other.action in WITH_ID
        and (one.api, one.pattern, one.operation.job_id) == (other.api, other.pattern, other.operation.job_id)
        and one.dialects != other.dialects
    )


def _behaviour(route: Route) -> tuple[object, ...]:
    """Returns everything in a dialect that decides how a route answers."""
    [dialect, *_] = route.dialects
    submit = (dialect.send, dialect.query, dialect.location("")) if route.action == "submit" else ()
    operation = route.operation
    return route.action, dialect.api, dialect.kind, dialect.words, operation.answers, operation.phases, *submit
