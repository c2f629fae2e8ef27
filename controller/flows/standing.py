"""What the engine desires of a switch, found as a packet meets it.

A switch may have to hold tens of thousands of flows, and a packet meets some twenty. They are found by what flows of a
table test (`Engine.shapes`) and by the values that the packet has there; nothing is gathered before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from controller.flows.engine import Engine, Shape
from controller.flows.flow import Flow, Group, Table, Test, matching
from controller.flows.packet import Packet
from controller.flows.trace import Switch, Tier


class Standing(Switch):
    """The switch of a chassis as it should be, as long as the engine does not change."""

    def __init__(self, engine: Engine, chassis: str) -> None:
        super().__init__(())
        self._engine, self._chassis = engine, chassis

    def tiers(self, table: Table) -> Sequence[Tier]:
        """The flows of a table, the highest priority first."""
        shapes = self._engine.shapes(table.number)
        priorities = sorted(shapes, reverse=True)
        return [_Tier(self._engine, self._chassis, table, priority, shapes[priority]) for priority in priorities]

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
    shapes: Collection[Shape]

    def matching(self, packet: Packet) -> Iterator[Flow]:
        for shape in self.shapes:
            match = matching(*[Test(field, packet[field] & mask, mask) for field, mask in shape])
            entry = self.engine.entry(self.chassis, (self.table.number, self.priority, match))
            if entry is not None and isinstance(entry.item, Flow):
                yield entry.item
