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


class DialectRouter:
    """Matches requests; where several patterns match, the most specific one counts.

    Args:
        routes: the routes of all dialects, the most specific ones first.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        groups = defaultdict[tuple[str, str], list[Route]](list)
        for route in routes:
            groups[route.pattern.form].append(route)
        self._groups = defaultdict[str, list[list[Route]]](list)
        for (method, _), group in groups.items():
            self._groups[method].append(group)
        self._polls = {id(group) for group in groups.values() if all(map(_is_poll, group))}
        self._expressions = {
            method: re.compile("|".join(f"(?P<_{n}>{group[0].pattern.expression})" for n, group in enumerate(groups)))
            for method, groups in self._groups.items()
        }

    def match(self, method: str, path: str) -> Match | None:
        """Returns the routes of a method and path; None if there are none."""
        expression = self._expressions.get(method)
        found = expression and expression.fullmatch(path)
        if not found or found.lastgroup is None:
            return None
        routes = self._groups[method][int(found.lastgroup[1:])]
        first = found.re.groupindex[found.lastgroup]
        values = found.groups()[first : first + len(routes[0].pattern.parameters)]
        return Match(routes, values, id(routes) in self._polls)

    def methods(self, path: str) -> set[str]:
        """Returns the methods of all routes of a path."""
        return {method for method in self._expressions if self.match(method, path)}

    def polls_by_prefix(self) -> dict[str, Route]:
        """Returns the routes of polls whose paths are a prefix and the job's id, by prefix, for a quick search.

        A route is left out if a more specific pattern may match such a path too, such as ``/{kind}/summary`` besides
        ``/jobs/{job_id}``.
        """
        found = dict[str, Route]()
        patterns = [group[0].pattern for group in self._groups.get("GET", ())]
        for position, (route, *others) in enumerate(self._groups.get("GET", ())):
            prefix, _, parameter = route.pattern.path.rpartition("/")
            alone = not others and _is_poll(route) and "{" not in prefix and parameter == "{job_id}"
            if alone and not any(_may_continue(prefix, pattern) for pattern in patterns[:position]):
                found[prefix] = route
        return found


def _may_continue(prefix: str, pattern: RequestPattern) -> bool:
    """Whether a pattern may match a prefix and one more segment; True in doubt."""
    start, path = pattern.path.partition("{")[0], f"{prefix}/"
    many = pattern.is_open_ended or pattern.path.count("/") == path.count("/")
    return many and (start.startswith(path) or path.startswith(start))


def _is_poll(route: Route) -> bool:
    return route.action == "poll" and route.operation.where == ANYWHERE
