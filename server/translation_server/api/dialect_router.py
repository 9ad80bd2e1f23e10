"""Finds the route of a request among those of all dialects."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from translation_server.core.dialects.operations import ANYWHERE
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
            groups[route.pattern.method, route.pattern.expression].append(route)
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

        A route is left out if a request for another one could have the same prefix.
        """
        groups = self._groups.get("GET", [])
        found = {
            route.pattern.path.removesuffix("/{job_id}"): route
            for route, *others in groups
            if not others
            and _is_poll(route)
            and route.pattern.parameters == ["job_id"]
            and route.pattern.path.endswith("/{job_id}")
        }
        rivals = [re.compile(group[0].pattern.expression) for group in groups]
        return {
            prefix: route
            for prefix, route in found.items()
            if not any(
                rival.fullmatch(f"{prefix}/x") or group[0].pattern.path.startswith(f"{prefix}/")
                for rival, group in zip(rivals, groups, strict=True)
                if group[0] is not route and group[0].pattern.path.count("/") <= route.pattern.path.count("/")
            )
        }


def _is_poll(route: Route) -> bool:
    return route.action == "poll" and route.operation.where == ANYWHERE
