"""What switches hold, count and drop: asked of them when somebody wants to know, and told beside what they should hold.

A switch is first brought in step, so that what is only on its way is not told as missing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import cast

from controller.errors import NotFound, SouthboundError
from controller.flows.action import Goto, Table
from controller.flows.engine import Engine
from controller.flows.flow import Entry, Flow, Item
from controller.flows.match import Set
from controller.flows.pipeline import DROP, TRAP, WHY, Why
from controller.flows.standing import Standing
from controller.model.records import Chassis
from controller.model.store import Store
from controller.southbound.counts import Count
from controller.southbound.differences import Difference, compare
from controller.southbound.dumps import Dump
from controller.southbound.explained import Explanation, Explanations
from controller.southbound.held import Held
from controller.southbound.keeping import Keeper
from controller.southbound.member import Member, Members
from controller.southbound.openflow import encode_flow, encode_group
from controller.southbound.oxm import encode_match
from controller.southbound.packet_in import Tally
from controller.southbound.reconcile import AddFlow, Installed, Plan, PutGroup, RemoveFlow, WireKey, full
from controller.southbound.spoken import flow_text, group_text
from controller.southbound.told import Culprit, Dropped

log = logging.getLogger(__name__)

REASONS = {encode_match(WHY(why)): why for why in Why}
"""What the flows that end packets match: the reason, in a register."""


class Inspection:
    """The switches of all members as whoever asks sees them."""

    def __init__(self, store: Store, engine: Engine, members: Members, explained: Explanations, keeper: Keeper) -> None:
        self._store, self._engine, self._members = store, engine, members
        self._explained, self._keeper = explained, keeper

    def _known(self, name: str) -> Member:
        """Raises NotFound."""
        self._store.tell()
        if self._store.model.get(Chassis, name) is None:
            raise NotFound("Chassis", name)
        return self._members.of(name)

    def flows(self, name: str) -> list[Explanation]:
        """What one switch should hold, in pipeline order. Raises NotFound."""
        self._known(name)
        entries = self._engine.desired(name).values()
        found = [self._explanation(entry, name) for entry in entries]
        return sorted(found, key=lambda each: (each.place, each.text))

    async def counted(self, name: str) -> Mapping[int, Count]:
        """What a switch's flows have counted, by cookie. Raises NotFound, Disconnected."""
        return {count.cookie: count for count in await self._known(name).reached().counts()}

    async def diff(self) -> tuple[list[Difference], list[str]]:
        """Dump every connected switch and compare; and the chassis that are not connected."""
        differences, unreachable = [], []
        for chassis in self._store.model.all(Chassis):
            member = self._members.of(chassis.id)
            try:
                differences.append(await self._difference(member))
            except SouthboundError as error:
                log.info("switch not compared chassis=%s: %s", chassis.id, error)
                unreachable.append(chassis.id)
        return differences, unreachable

    async def _difference(self, member: Member) -> Difference:
        async with member.lock:
            source = await self._keeper.in_step(member)
            desired = self._engine.desired(member.name)
            installed = await source.dump()
        plan = full(desired.values(), installed)
        found = compare(member.name, plan, installed, member.refusals)
        conflicts = (each for each in self._engine.conflicts.values() if each.chassis == member.name)
        return replace(
            found,
            conflicts=tuple(f"{each.cells[0]} wins over {', '.join(each.cells[1:])}" for each in conflicts),
            why=dict(self._reasons(member.name, plan, await self._once(plan, installed))),
        )

    async def _once(self, plan: Plan, installed: Installed) -> Mapping[str, Explanation]:
        """Why what is unwanted was once there, if its cookie tells, by its words."""
        gone = [installed.flows.get(cast("WireKey", step.key)) for step in plan.steps if isinstance(step, RemoveFlow)]
        known = (await self._explained.looked_up()).flows if gone else {}
        return {flow.text: known[flow.cookie] for flow in gone if flow is not None and flow.cookie in known}

    def _reasons(self, name: str, plan: Plan, once: Mapping[str, Explanation]) -> Iterator[tuple[str, Explanation]]:
        """Why there should be what is missing or altered, and why what is unwanted was once there."""
        yield from once.items()
        for step in plan.steps:
            if isinstance(step, (AddFlow, PutGroup)):
                yield step.text, self._explanation(step.entry, name)

    async def dumped(self, name: str) -> tuple[int, Dump]:
        """All that a switch holds, and the revision up to which it has what it should.

        Raises NotFound, Disconnected.
        """
        member = self._known(name)
        async with member.lock:
            source = await self._keeper.in_step(member)
            revision = member.revision
            return revision, await source.whole()

    def lines(self, name: str, installed: Installed) -> tuple[list[str], list[str]]:
        """The flows and the groups of a dump of a switch, ours and others', as Open vSwitch tells them."""
        left, groups = dict(installed.flows), dict(installed.groups)
        flows, grouped = [], []
        for entry in self._engine.desired(name).values():
            if isinstance(entry.item, Flow):
                wanted = encode_flow(entry.item, entry.app)
                if left.get(wanted.key) == wanted:
                    del left[wanted.key]
                    flows.append(f"cookie={wanted.cookie:#x}, {entry.item}")
            elif groups.get(entry.item.id) == encode_group(entry.item):
                del groups[entry.item.id]
                grouped.append(str(entry.item))
        return [*flows, *map(flow_text, left.values())], [*grouped, *map(group_text, groups.values())]

    def unaltered(self, name: str, installed: Installed, tables: Iterable[Table]) -> frozenset[int]:
        """Those of some tables that, as a dump of a switch shows, hold just what they should."""
        asked = {table.number for table in tables}
        wanted = {
            flow.key: flow
            for entry in self._engine.desired(name).values()
            if isinstance(entry.item, Flow) and entry.item.table.number in asked
            for flow in [encode_flow(entry.item, entry.app)]
        }
        shown = {key: flow for key, flow in installed.flows.items() if flow.table in asked}
        odd = {key[0] for key in wanted.keys() | shown.keys() if wanted.get(key) != shown.get(key)}
        return frozenset(asked - odd)

    async def held(self) -> Callable[[str], Held | Standing]:
        """What a switch holds in fact, to look packets up in, by its name; what it should, if it cannot be dumped."""
        found: dict[str, Held] = {}
        for chassis in self._store.model.all(Chassis):
            member = self._members.of(chassis.id)
            try:
                async with member.lock:
                    installed = await (await self._keeper.in_step(member)).dump()
            except SouthboundError as error:
                log.info("switch not dumped chassis=%s: %s", chassis.id, error)
                continue
            found[chassis.id] = Held(self._engine.desired(chassis.id).values(), installed)
        return lambda name: found.get(name) or self.standing(name)

    def standing(self, name: str) -> Standing:
        """What one switch should hold, to look packets up in; nothing of a hypervisor that nobody knows."""
        self._store.tell()
        return Standing(self._engine, name)

    async def dropped(self, name: str) -> list[Dropped]:
        """What a switch has dropped, or handed over instead, by reason. Raises NotFound, Disconnected."""
        member = self._known(name)
        source = member.reached()
        counts = [count for table in (DROP, TRAP) for count in await source.counts(table.number)]
        return [*_ended(member, counts).values()]

    async def culprits(self, name: str) -> list[Culprit]:
        """The flows of a switch that decided that packets are dropped, most first. Raises NotFound, Disconnected.

        A flow counts what Open vSwitch takes out of its way afterwards, too (BFD at an interface that is no port), so
        none is told to have decided more than came to the end of its reason. What no flow decided that is there (a
        bucket of a group did, or a flow that is gone) is told of the flow that counts the reason.
        """
        member, counted = self._known(name), await self.counted(name)
        ended = _ended(member, counted.values())
        found: list[Culprit] = []
        counters: list[tuple[Why, Entry]] = []
        for entry in self._engine.desired(name).values():
            if (why := _ends(entry.item)) is not None:
                counters.append((why, entry))
            elif (why := _decides(entry.item)) in ended:
                flow = self._explanation(entry, name)
                count, end = counted.get(flow.cookie), ended[why]
                if count and (packets := min(count.packets, end.packets)):
                    found.append(Culprit(why, packets, min(count.bytes, end.bytes), flow))
        for why, entry in counters:
            told = [each for each in found if each.why is why]
            end = ended.get(why, Dropped(why, 0, 0))
            if (packets := end.packets - sum(each.packets for each in told)) > 0:
                counted_bytes = max(0, end.bytes - sum(each.bytes for each in told))
                found.append(Culprit(why, packets, counted_bytes, self._explanation(entry, name)))
        return sorted(found, key=lambda each: -each.packets)

    def _explanation(self, entry: Entry, name: str) -> Explanation:
        return self._explained.explanation(entry, self._engine.wanting(entry.key, name))


MEASURED = frozenset({Why.TOO_BIG, Why.TRANSIT_TOO_BIG})
"""Of a packet that is measured Open vSwitch counts both ways that it may go (`check_pkt_larger`, ovs-actions(7))."""


def _ended(member: Member, counts: Iterable[Count]) -> dict[Why, Dropped]:
    """What came to the end of each reason that drops; of what is measured, as much as was really handed over."""
    found = {}
    for count in counts:
        why = REASONS.get(count.match) if count.table in (DROP.number, TRAP.number) else None
        if why in MEASURED:
            handed = member.handed.get(why, Tally())
            found[why] = Dropped(why, handed.packets, handed.bytes)
        elif why is not None and why is not Why.TOLD:  # whoever tells something is heard, and the packet goes on
            found[why] = Dropped(why, count.packets, count.bytes)
    return found


def _decides(item: Item) -> Why | None:
    """Why a flow has packets dropped, if it does."""
    actions = item.actions if isinstance(item, Flow) else ()
    if not any(isinstance(each, Goto) and each.table in (DROP, TRAP) for each in actions):
        return None
    return next((Why(each.value) for each in actions if isinstance(each, Set) and each.field is WHY), None)


def _ends(item: Item) -> Why | None:
    """For which reason packets end in a flow, if they do."""
    if not isinstance(item, Flow) or item.table not in (DROP, TRAP):
        return None
    return REASONS.get(encode_match(item.match))
