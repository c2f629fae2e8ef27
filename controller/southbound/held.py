"""What a switch holds in fact, to look packets up in: entries of ours that are as they should be, and the rest.

The rest are `Stranger`s: flows of others, and ours that somebody altered. What they test is read, what they do is not:
a packet is followed up to there. A test that nobody here knows is taken to be passed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from controller.flows.action import Table
from controller.flows.flow import Entry, Flow, Group
from controller.flows.packet import Packet
from controller.flows.trace import Switch
from controller.southbound.openflow import EncodedFlow, EncodedGroup, encode_flow, encode_group
from controller.southbound.oxm import tests_of
from controller.southbound.reconcile import Installed
from controller.southbound.spoken import flow_text, group_text


@dataclass(frozen=True, slots=True)
class Stranger:
    """A flow that is not as any should be."""

    flow: EncodedFlow
    tests: tuple[tuple[str, int, int], ...]

    @classmethod
    def of(cls, flow: EncodedFlow) -> Stranger:
        """The stranger that a dump shows."""
        return cls(flow, tuple(tests_of(flow.match)))

    def passes(self, packet: Packet) -> bool:
        """Does a packet meet it, if nothing of a higher priority comes first?"""
        return all(packet.whole(wire) & mask == value & mask for wire, value, mask in self.tests)


class Held(Switch):
    """The switch that holds what a dump shows, where `desired` is what it should."""

    def __init__(self, desired: Iterable[Entry], installed: Installed) -> None:
        flows, groups = dict(installed.flows), dict(installed.groups)
        super().__init__(_unaltered(desired, flows, groups))
        self._strangers: dict[int, list[Stranger]] = {}
        for flow in sorted(flows.values(), key=lambda each: -each.priority):
            self._strangers.setdefault(flow.table, []).append(Stranger.of(flow))
        self._altered = {id: group_text(group) for id, group in groups.items()}

    def stranger(self, table: Table, packet: Packet, flow: Flow | None) -> str:
        """The flow that a packet meets instead of one that is as it should be, or ""."""
        least = -1 if flow is None else flow.priority
        for each in self._strangers.get(table.number, ()):
            if each.flow.priority < least:
                break
            if each.passes(packet):
                return flow_text(each.flow)
        return ""

    def altered(self, id: int) -> str:
        """The group of an id if it is not as it should be, or ""."""
        return self._altered.get(id, "")


def _unaltered(
    desired: Iterable[Entry], flows: dict[tuple[int, int, bytes], EncodedFlow], groups: dict[int, EncodedGroup]
) -> Iterator[Flow | Group]:
    """The entries that are as they should be; they are taken out of what was dumped."""
    for entry in desired:
        if isinstance(entry.item, Flow):
            wanted = encode_flow(entry.item, entry.app)
            if flows.get(wanted.key) == wanted:
                del flows[wanted.key]
                yield entry.item
        elif groups.get(entry.item.id) == encode_group(entry.item):
            del groups[entry.item.id]
            yield entry.item
