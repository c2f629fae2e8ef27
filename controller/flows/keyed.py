"""A dict by what entries of switches are known by, in which there is little of each key.

Keys that differ in nothing but numbers lie together: what they have in common is kept once for all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Generic, TypeVar

from controller.flows.flow import Key
from controller.flows.match import Match, Pattern

V = TypeVar("V")

_Place = tuple[int, int, Pattern] | str
"""Table, priority and pattern of flows; the word that group keys begin with."""
_Numbers = tuple[int, ...] | int
"""Those of a match, or a group's id."""


class Keyed(Generic[V]):
    """Values by key of a flow or group. `patterns` tells what the flows of a table test."""

    __slots__ = ("_parts", "_patterns")

    def __init__(self) -> None:
        self._parts: dict[_Place, dict[_Numbers, V]] = {}
        self._patterns: dict[int, dict[int, dict[Pattern, None]]] = {}

    def get(self, key: Key) -> V | None:
        """The value, or None."""
        place, numbers = _parted(key)
        part = self._parts.get(place)
        return None if part is None else part.get(numbers)

    def __setitem__(self, key: Key, value: V) -> None:
        place, numbers = _parted(key)
        part = self._parts.get(place)
        if part is None:
            part = self._parts[place] = {}
            if not isinstance(place, str):
                table, priority, pattern = place
                self._patterns.setdefault(table, {}).setdefault(priority, {})[pattern] = None
        part[numbers] = value

    def drop(self, key: Key) -> None:
        """Hold nothing under a key under which there is something."""
        place, numbers = _parted(key)
        part = self._parts[place]
        del part[numbers]
        if not part:
            del self._parts[place]
            if not isinstance(place, str):
                table, priority, pattern = place
                del self._patterns[table][priority][pattern]

    def items(self) -> Iterator[tuple[Key, V]]:
        """Every key with its value."""
        for place, part in self._parts.items():
            for numbers, value in part.items():
                yield _key(place, numbers), value

    def values(self) -> Iterator[V]:
        """Every value."""
        return (value for part in self._parts.values() for value in part.values())

    def keys(self) -> set[Key]:
        """Every key."""
        return {key for key, _ in self.items()}

    def patterns(self, table: int) -> Mapping[int, Collection[Pattern]]:
        """By priority, what flows of a table test, whatever the value."""
        return self._patterns.get(table, {})


def _parted(key: Key) -> tuple[_Place, _Numbers]:
    if len(key) == 2:
        return key
    table, priority, (pattern, numbers) = key
    return (table, priority, pattern), numbers


def _key(place: _Place, numbers: _Numbers) -> Key:
    if isinstance(place, str):
        assert isinstance(numbers, int)
        return place, numbers
    assert isinstance(numbers, tuple)
    table, priority, pattern = place
    return table, priority, Match(pattern, numbers)
