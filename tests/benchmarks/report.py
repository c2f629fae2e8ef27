"""What a benchmark finds: figures, some of them with a limit, and the table they are shown in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

COLUMNS = ("benchmark", "measured", "figure", "limit", "verdict")


@dataclass(frozen=True, slots=True)
class Limit:
    """What a figure must not exceed, or, if it is `least`, must reach."""

    value: float
    least: bool = False

    def holds(self, value: float) -> bool:
        """Whether a figure is within the limit."""
        return value >= self.value if self.least else value <= self.value

    def __str__(self) -> str:
        return f"{'≥' if self.least else '≤'} {shown(self.value)}"


def at_most(value: float) -> Limit:
    """A figure that is better when it is smaller."""
    return Limit(value)


def at_least(value: float) -> Limit:
    """A figure that is better when it is larger."""
    return Limit(value, least=True)


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table."""

    what: str
    value: float
    unit: str
    limit: Limit | None = None

    @property
    def missed(self) -> bool:
        """Whether it has a limit that does not hold."""
        return self.limit is not None and not self.limit.holds(self.value)

    def row(self, benchmark: str) -> tuple[str, ...]:
        """Its cells, in the order of `COLUMNS`."""
        limit = str(self.limit) if self.limit else ""
        verdict = ("**MISSED**" if self.missed else "ok") if self.limit else ""
        return (benchmark, self.what, f"{shown(self.value)} {self.unit}".strip(), limit, verdict)


def shown(value: float) -> str:
    """A number with three digits that count, and no fewer before the point than it has."""
    if value == round(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def table(rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table that is as readable unrendered."""
    lines = [COLUMNS, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    padded.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)
