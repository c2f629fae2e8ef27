"""What a topology that runs from the shell asks, what it expects and what it sees; and how it ends."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mininet_scenarios.errors import LabError
from mininet_scenarios.processes import end_on_sigterm


@dataclass(frozen=True, slots=True)
class Row:
    """A question that was asked with packets: what had to be seen, and what was."""

    question: str
    expected: str
    seen: str
    right: bool

    @classmethod
    def equal(cls, question: str, expected: str, seen: str) -> Row:
        """A question whose answer must be exactly the expected one."""
        return cls(question, expected, seen, expected == seen)


def show(rows: Sequence[Row]) -> str:
    """The rows as a table."""
    lines = [("", "question", "expected", "seen")]
    lines += [("ok" if row.right else "WRONG", row.question, row.expected, row.seen) for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    return "\n".join("  ".join([*map(str.ljust, line[:3], widths), line[3]]).rstrip() for line in lines)


def concluded(play: Callable[[], Iterable[Row]]) -> int:
    """Play, and answer the exit code: 0 when every row is right, 1 when one is not, 2 when the lab failed."""
    end_on_sigterm()
    try:
        rows = [*play()]
    except LabError as error:
        print(error, *getattr(error, "__notes__", ()), sep="\n", file=sys.stderr)
        return 2
    return 0 if all(row.right for row in rows) else 1
