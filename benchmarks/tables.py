"""Measurements with their targets, as tables in Markdown and in the pages of docs/."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).parents[1] / "docs"


class Measurement(NamedTuple):
    """A measured value and its target; the value is None where this machine cannot measure it."""

    name: str
    value: float | None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def passed(self) -> bool | None:
        """Whether the value meets the target; None without a value or a target."""
        if self.value is None or (self.at_least is None and self.at_most is None):
            return None
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    def __str__(self) -> str:
        value = "not measured here" if self.value is None else number(self.value)
        target = "" if self.at_least is None else f"≥ {self.at_least:g}"
        target = target if self.at_most is None else f"≤ {self.at_most:g}"
        met = {True: "yes", False: "**missed**", None: ""}[self.passed]
        return f"| {self.name} | {value} | {target} | {met} |"


def number(value: float) -> str:
    """Returns a number with three significant digits, or as a whole number from 100 on."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def table(measurements: Iterable[Measurement]) -> str:
    """Returns the measurements as a table in Markdown."""
    return "\n".join(["| what | measured | target | met |", "|---|---|---|---|", *map(str, measurements)])


def write(page: str, name: str, text: str) -> None:
    """Replaces what a page of docs/ has between the marks with this name."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    path = DOCS / page
    before, _, rest = path.read_text(encoding="utf-8").partition(begin)
    after = rest.partition(end)[2]
    path.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")
