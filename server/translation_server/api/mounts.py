"""Values for all paths below a mount, such as the API and its authentication."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


class Mounts(Generic[T]):
    """Finds the value for a path: that of its longest mount.

    Args:
        values: the values by mount.
    """

    def __init__(self, values: Mapping[str, T]) -> None:
        self._by_segment = defaultdict[str, list[tuple[str, T]]](list)
        for mount in sorted(values, key=len, reverse=True):
            self._by_segment["/" + mount.split("/")[1]].append((mount, values[mount]))

    def get(self, path: str) -> T | None:
        """Returns the value of the mount of a path; None if it is below none."""
        end = path.find("/", 1)
        for mount, value in self._by_segment.get(path[:end] if end > 0 else path, ()):
            if path.startswith(mount) and path[len(mount) :][:1] in {"", "/"}:
                return value
        return None
