"""Finds the route of a request among those of all dialects."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from translation_server.core.dialects.operations import ANYWHERE, RequestPattern
from translation_server.core.dialects.routes import Route


class Match(NamedTuple):
    """The routes that share a method and a path, and the values of the path's parameters."""

    routes: Sequence[Route]
    values: Sequence[str]
    are_polls: bool  # whether all of them are polls that differ only in the kind of job; the job's id tells which

    def parameters(self, route: Route) -> Mapping[str, str]:
        """Returns the parameters of the path by the names that one of the routes gives them."""
        return dict(zip(route.pattern.parameters, self.values, strict=True))


class _Group(NamedTuple):
    """A form of patterns, and the dialects' routes with it. There are none if only other routes have this form."""

    pattern: RequestPattern
    routes: list[Route]


class DialectRouter:
    """Matches requests; where several patterns match, the most specific one counts.

    Args:
        routes: the routes of all dialects.
        others: the patterns of routes that are not those of dialects, but below one of their paths.
    """

    def __init__(self, routes: Sequence[Route], others: Sequence[RequestPattern] = ()) -> None:
        groups: dict[tuple[str, str], _Group] = {}
        for pattern in sorted((*others, *(route.pattern for route in routes)), key=lambda one: one.specificity):
            groups.setdefault(pattern.form, _Group(pattern, []))
        for route in routes:
            groups[route.pattern.form].routes.append(route)
        self._groups = defaultdict[str, list[_Group]](list)
        for (method, _), group in groups.items():
            self._groups[method].append(group)
        self._polls = {id(group.routes) for group in groups.values() if all(map(_is_poll, group.routes))}
        self._expressions = {
            method: re.compile("|".join(f"(?P<_{n}>{group.pattern.expression})" for n, group in enumerate(groups)))
            for method, groups in self._groups.items()
        }

    def match(self, method: str, path: str) -> Match | None:
        """Returns the routes of a method and path; None if there are none."""
        expression = self._expressions.get(method)
        found = expression and expression.fullmatch(path)
        if not found or found.lastgroup is None:
            return None
        pattern, routes = self._groups[method][int(found.lastgroup[1:])]
        first = found.re.groupindex[found.lastgroup]
        values = found.groups()[first : first + len(pattern.parameters)]
        return Match(routes, values, id(routes) in self._polls) if routes else None

    def methods(self, path: str) -> set[str]:
        """Returns the methods of all routes of a path."""
        return {method for method in self._expressions if self.match(method, path)}

    def polls_by_prefix(self) -> dict[str, Route]:
        """Returns the routes of polls whose paths are a prefix and the job's id, by prefix, for a quick search.

        A route is left out if a more specific pattern may match such a path too, such as ``/{kind}/summary`` besides
        ``/jobs/{job_id}``.
        """
        found = dict[str, Route]()
        groups = self._groups.get("GET", [])
        for position, (pattern, routes) in enumerate(groups):
            prefix, _, parameter = pattern.path.rpartition("/")
            by_id = "{" not in prefix and parameter in {"{job_id}", "{job_id:path}"}
            alone = len(routes) == 1 and not any(_may_continue(prefix, one.pattern) for one in groups[:position])
            if by_id and alone and _is_poll(routes[0]):
                found[prefix] = routes[0]
        return found


def _may_continue(prefix: str, pattern: RequestPattern) -> bool:
    """Whether a pattern may match a prefix and one more segment; True in doubt."""
    start, path = pattern.path.partition("{")[0], f"{prefix}/"
    slashes = pattern.path.count("/")
    has_room = slashes <= path.count("/") if pattern.is_open_ended else slashes == path.count("/")
    return has_room and (start.startswith(path) or path.startswith(start))


def _is_poll(route: Route) -> bool:
    return route.action == "poll" and route.operation.where == ANYWHERE
