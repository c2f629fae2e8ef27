"""A switch is kept at what it should hold: what is pending is applied, and what others change is healed.

Entries of ours are put back as they should be, and flows of others are kept (and shown) or removed. Who keeps changing
them is answered ever later (`pace`). All this goes by the member's lock: one thing at a time is done to a switch.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import NoReturn, cast

from controller import measures
from controller.errors import NotFound
from controller.flows.engine import Engine
from controller.flows.flow import Key
from controller.model.records import Address
from controller.model.store import Store
from controller.southbound.dumps import Dump
from controller.southbound.explained import Explanations
from controller.southbound.member import Member
from controller.southbound.paths import FRAME, Way, leading, way
from controller.southbound.reconcile import Comparison, Pending, Plan, Refusal, brought, wanted_at
from controller.southbound.recovery import Recovery
from controller.southbound.switch import Applied, Switch
from controller.southbound.watch import Tampering

log = logging.getLogger(__name__)

REFUSALS = 20
"""So many refused flows of one change are told one by one."""
SLICE = 500
"""After comparing so many entries every other task gets its turn: 3 ms."""
TOLD_PER_SECOND = 800.0
"""So often all switches together are told what is new while more of it is on its way: a fifth of a core."""
LOOK_S = 1.0
"""How far apart to look whether what others added stands where a flow of ours should."""


class Keeper:
    """What is done to the switches of all members; flows of others are kept, or removed."""

    def __init__(
        self, store: Store, engine: Engine, explained: Explanations, recovery: Recovery, *, keep_foreign: bool
    ) -> None:
        self._store, self._engine, self._explained, self._recovery = store, engine, explained, recovery
        self._keep_foreign = keep_foreign
        self._kept = 0

    async def keep_in_step(self, member: Member, switch: Switch) -> NoReturn:
        """Apply what comes to be pending, until cancelled.

        At once; but a switch that was told something a moment ago waits for what is being committed, to be told all of
        it together: so changes that come faster than switches can be told of each are told of many at a time.
        """
        told_s = float("-inf")
        self._kept += 1
        try:
            while True:
                await member.wake.wait()
                wait_s = told_s + self._kept / TOLD_PER_SECOND - time.monotonic()
                if wait_s > 0:
                    await self._store.calm(wait_s)
                async with member.lock:
                    told_s = time.monotonic()
                    await self.apply_pending(member, switch)
        finally:
            self._kept -= 1

    async def reconcile(self, member: Member, switch: Switch, *, joins: bool = False) -> tuple[Applied, int]:
        """Make of what the switch holds what it should hold, under the member's lock; with how much was pending."""
        began = time.perf_counter()
        installed = await switch.dump()
        if joins and installed.dark:
            await self._recovery.dark(member.name)
        member.foreign = switch.foreign
        with _taken(member, switch) as pending:
            member.refusals.clear()
            revision, desired = member.revision, iter(self._engine.desired(member.name).values())
            member.drawn = True
            comparison = Comparison(installed, keep_foreign=self._keep_foreign)
            vteps: set[Address] = set()
            while some := [*islice(desired, SLICE)]:
                comparison.take(some)
                vteps.update(leading(entry.item for entry in some))
                await asyncio.sleep(0)
            applied = await self._apply(member, switch, comparison.plan(), revision, vteps)
        member.reconcile_s = time.perf_counter() - began
        measures.RECONCILE.observe(member.reconcile_s)
        return applied, len(pending)

    async def tampered(self, member: Member, switch: Switch, seen: Tampering) -> None:
        """Heal a switch if what others did concerns us; one call at a time (see `Switch.on_tampered`)."""
        if not seen.own:
            await asyncio.sleep(LOOK_S)
        if not self._concerns(member, seen):
            return
        await member.pace.wait()
        async with member.lock:
            if member.switch is not switch:
                return
            applied, asked = await self.reconcile(member, switch)
        if applied.flow_mods + applied.group_mods > asked:
            member.pace.healed()
            measures.HEALED.labels(member.name).inc()
            log.warning(
                "healed chassis=%s flows=%d groups=%d in_a_row=%d",
                member.name, applied.flow_mods, applied.group_mods, member.pace.in_a_row,
            )  # fmt: skip

    def _concerns(self, member: Member, seen: Tampering) -> bool:
        """Flows of others that stand where none of ours should only concern us if they are to be removed."""
        if seen.own:
            return True
        if not self._keep_foreign:
            return bool(seen.keys) or seen.foreign_groups
        return bool(seen.keys) and wanted_at(seen.keys, self._engine.desired(member.name).values())

    async def apply_pending(self, member: Member, switch: Switch) -> None:
        """Apply what is pending by now, under the member's lock."""
        member.wake.clear()
        if not member.pending:
            return
        with _taken(member, switch) as pending:
            plan = brought(pending.values())
            vteps = {vtep for each in pending.values() for vtep in each.leads}
            await self._apply(member, switch, plan, member.revision, vteps)

    def call(self, member: Member, switch: Switch, vtep: Address) -> Way:
        """Send a frame ahead to a tunnel endpoint (see `paths`)."""
        found = way(self._store.model, member.name, vtep)
        if isinstance(found, Way):
            return found
        switch.treat(found, FRAME)
        return Way.CALLED

    async def _apply(
        self, member: Member, switch: Switch, plan: Plan, revision: int, vteps: Iterable[Address]
    ) -> Applied:
        """Bring a plan about that leads to these tunnel endpoints."""
        requests = ",".join(dict.fromkeys(member.requests)) or "-"
        member.requests.clear()
        with measures.APPLY.time():
            applied = await switch.apply(plan)
        member.flow_mods += applied.flow_mods
        member.mods_bytes += applied.mods_bytes
        for step in plan.steps if member.refusals else ():
            member.refusals.pop(step.key, None)
        member.refusals.update((refusal.key, refusal) for refusal in applied.refusals)
        self._tell_refusals(member, applied.refusals)
        if member.paths is not None:
            member.paths.lead(vteps)
        member.applied_revision = revision
        self._store.acknowledge(member.name, member.had(revision))
        log.info(
            "applied chassis=%s revision=%d flow_mods=%d group_mods=%d requests=%s",
            member.name,
            revision,
            applied.flow_mods,
            applied.group_mods,
            requests,
        )
        return applied

    def _tell_refusals(self, member: Member, refusals: Sequence[Refusal]) -> None:
        """The first of them line by line; `/v1/chassis` has them all."""
        for refusal in refusals[:REFUSALS]:
            log.error(
                "flow refused chassis=%s flow=%s error=%s cells=%s",
                member.name, refusal.what, refusal.error, ",".join(self._cells_of(refusal, member.name)),
            )  # fmt: skip
        if len(refusals) > REFUSALS:
            log.error("flows refused chassis=%s more=%d", member.name, len(refusals) - REFUSALS)

    def _cells_of(self, refusal: Refusal, chassis: str) -> Iterator[str]:
        return (cell.name for cell in self._engine.wanting(cast("Key", refusal.key), chassis))

    async def mend(self, member: Member, switch: Switch, id: str) -> Applied:
        """Put right what an object wants on a switch, and nothing else, under the member's lock. Raises NotFound."""
        await self.apply_pending(member, switch)
        wanted = [
            entry
            for key, entry in self._engine.desired(member.name).items()
            if any(
                named.id == id
                for cell in self._engine.wanting(key, member.name)
                for named in self._explained.named(cell)
            )
        ]
        if not wanted:
            raise NotFound("Object", id, f"Nothing by the name or id {id} wants a flow on {member.name}.")
        comparison = Comparison(await switch.dump())
        comparison.take(wanted)
        vteps = leading(entry.item for entry in wanted)
        return await self._apply(member, switch, comparison.additions(), member.revision, vteps)

    async def in_step(self, member: Member) -> Switch | Dump:
        """Who tells what a switch holds once it has what it should, under the member's lock. Raises Disconnected."""
        self._store.tell()
        while member.pending and member.switch is not None:
            await self.apply_pending(member, member.switch)
            self._store.tell()
        return member.reached()


@contextmanager
def _taken(member: Member, switch: Switch) -> Iterator[Mapping[Key, Pending]]:
    """What is pending, which it is no more; but again if what is done with it fails, or is cancelled."""
    pending, member.pending = member.pending, {}
    try:
        yield pending
    except BaseException:
        if member.switch is switch:
            member.pending = pending | member.pending
            member.wake.set()
        raise
