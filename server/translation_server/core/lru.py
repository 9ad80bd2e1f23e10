"""A bounded cache."""

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class LRU(OrderedDict[K, V]):
    """A dictionary that evicts the items that were set longest ago, and calls ``on_evict`` with their key and value."""

    def __init__(self, capacity: int, on_evict: Callable[[K, V], object] | None = None) -> None:
        super().__init__()
        self.capacity = capacity  # how many items it holds; may be changed later
        self._on_evict = on_evict

    def __setitem__(self, key: K, value: V) -> None:
        """Sets an item, which becomes the newest one."""
        super().__setitem__(key, value)
        self.move_to_end(key)
        while len(self) > self.capacity:
            evicted = self.popitem(last=False)
            if self._on_evict:
                self._on_evict(*evicted)
