"""Flows that cannot be built, a programmer's error; and dumps in which they cannot be read.

    WeftError
    ├── BadDump               a flow or group in a dump that cannot be read
    └── FlowError             a programmer's error, raised when a flow is built
        ├── ConflictingMatch  one field tested for two values
        └── Undeclared        a table was asked for what it did not declare

What a switch says of flows that were built is in `switches`.
"""

from __future__ import annotations

from controller.errors.base import WeftError


class BadDump(WeftError):
    """Raised when a line of a dump is no flow or group as Open vSwitch tells them."""

    def __init__(self, line: str, reason: str) -> None:
        super().__init__(f"This is no flow or group as Open vSwitch tells them ({reason}): {line}")
        self.line, self.reason = line, reason


class FlowError(WeftError):
    """Base of a programmer's errors in flows; raised at construction, never at run time of a switch."""


class ConflictingMatch(FlowError):
    """Raised when two halves of a match test one field for different values."""

    def __init__(self, field: str, one: str, other: str) -> None:
        super().__init__(f"{field} cannot be both {one} and {other}.")
        self.field, self.one, self.other = field, one, other


class Undeclared(FlowError):
    """Raised when a flow asks a table for a match, set, jump or priority it did not declare."""

    def __init__(self, place: str, what: str, name: str) -> None:
        super().__init__(f"{place} does not declare {what} {name}.")
        self.place, self.what, self.name = place, what, name
