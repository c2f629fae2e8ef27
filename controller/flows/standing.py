"""What the engine desires of a switch, found as a packet meets it.

A switch may have to hold tens of thousands of flows, and a packet meets some twenty. They are found by what flows of a
table test (`Engine.patterns`) and by the values that the packet has there; nothing is gathered before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from controller.flows.action import Table
from controller.flows.engine import Engine
from controller.flows.flow import Flow, Group
from controller.flows.match import Match, Pattern
from controller.flows.packet import Packet
from controller.flows.trace import Switch, Tier


class Standing(Switch):
    """The switch of a chassis as it should be, as long as the engine does not change."""

    def __init__(self, engine: Engine, chassis: str) -> None:
        super().__init__(())
        self._engine, self._chassis = engine, chassis

    def tiers(self, table: Table) -> Sequence[Tier]:
        """The flows of a table, the highest priority first."""
        patterns = self._engine.patterns(table.number)
        priorities = sorted(patterns, reverse=True)
        return [_Tier(self._engine, self._chassis, table, priority, patterns[priority]) for priority in priorities]

    def group(self, id: int) -> Group | None:
        """The group, if there is one."""
        entry = self._engine.entry(self._chassis, ("group", id))
        return entry.item if entry and isinstance(entry.item, Group) else None


@dataclass(frozen=True, slots=True)
class _Tier:
    """The flows of one table and priority that should stand on a chassis."""

    engine: Engine
    chassis: str
    table: Table
    priority: int
    patterns: Collection[Pattern]

    def matching(self, packet: Packet) -> Iterator[Flow]:
        for pattern in self.patterns:
            if any(packet[field] & mask != value for field, mask, value in pattern.parts if value is not None):
                continue
            numbers = [packet[field] & mask for field, mask, value in pattern.parts if value is None]
            match = Match(pattern, tuple(numbers))
            entry = self.engine.entry(self.chassis, (self.table.number, self.priority, match))
            if entry is not None and isinstance(entry.item, Flow):
                yield entry.item
