"""The fleet: every hypervisor, what its switch should hold, and how far it has got.

One member a chassis. Its OVSDB says who it is and which interfaces are ports; its switch says which OpenFlow ports
there are and holds the flows; the engine says which. A member's switch is reconciled, deletions included, only once
the model, the chassis's database and its port description are all loaded: before that nobody knows what should be.

    engine.update ──delta──> member.pending ──> one bundle ──> barrier ──> member.applied_revision

What is pending is applied, and what others change on a switch is healed, by `keeping`. Why an entry stands is answered
by `explained`, what a switch holds in fact by `inspection`, and what works by now by `readiness`.

Everything here that is not a task is read-only to others: `/v1` reads the fleet through it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import cast

from controller import measures
from controller.errors import Disconnected, InUse, NotFound, SouthboundError, Unavailable
from controller.flows.app import App
from controller.flows.engine import Cost, Engine
from controller.flows.flow import Entry, Flow, Key
from controller.flows.packet import Packet
from controller.flows.pipeline import DELIVER, DST
from controller.flows.presence import WATCHED, Watched
from controller.flows.punted import Outgoing, Reply, Said
from controller.model import bindings
from controller.model.bindings import Hypervisor, Placed
from controller.model.protocols import NUMBERS
from controller.model.records import (
    KINDS,
    Chassis,
    Drained,
    Link,
    Port,
    Quarantine,
    Recovering,
    Severed,
    Tag,
)
from controller.model.store import Author, Change, Event, Model, Rows, Store, Transaction
from controller.model.view import View
from controller.southbound.dumps import Dump, Remembered
from controller.southbound.endings import let_go
from controller.southbound.explained import Explanations, about
from controller.southbound.hypervisor import own_datapath_id
from controller.southbound.inspection import Inspection
from controller.southbound.keeping import Keeper
from controller.southbound.member import Member, Members
from controller.southbound.messages import PacketIn, Transmitted
from controller.southbound.neighbours import Neighbours
from controller.southbound.openflow import encode_flow
from controller.southbound.ovsdb import SHOWN, OvsdbListener
from controller.southbound.packet_in import Answerer, answers_of
from controller.southbound.paths import Paths, Rate
from controller.southbound.patience import Turns
from controller.southbound.probes import Caught, Probe, Probes, caught
from controller.southbound.readiness import Readiness
from controller.southbound.reconcile import Pending, Refusal
from controller.southbound.recovery import Recovery
from controller.southbound.severed import Severing
from controller.southbound.switch import Applied, Switch
from controller.southbound.told import State, Status, Stranger
from controller.southbound.translations import Translations
from controller.southbound.zones import Zones

log = logging.getLogger(__name__)

PATIENCE_S = 5.0
"""How long a switch may wait for its hypervisor's database before the log says so."""
RETRY_S = 1.0
"""How long to wait before a switch's ports are recorded again when the store could not."""
ARRIVALS = 2
"""So many hypervisors, or their ports, are recorded at a time: an API request waits for no more of them."""
SYNCS = 4
"""So many switches are brought in step from a dump at a time; the others are only kept alive."""
LENT_S = 2.0
"""For so long an arrival, or a synchronisation, keeps others waiting at the most."""
ARRIVED_S = 20.0
"""For so long a synchronisation waits while hypervisors are arriving: each changes what the others should hold."""
CALLS_PER_SECOND, CALLS_BURST = 1000.0, 200.0
"""So many frames are sent ahead from all switches together: 3 % of a core."""


class Fleet:
    """All chassis; the one place that knows both the model's desire and the switches' state."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        *,
        ovsdb: bool = True,
        keep_foreign: bool = True,
        hold_s: float = 30.0,
        underlay_mtu: int = 1500,
    ) -> None:
        self._store = store
        self._engine = engine
        self._answers = answers_of(engine.apps)
        self.neighbours = Neighbours(store, self, engine.apps)
        self._ovsdb = ovsdb
        self._members = Members(lambda: engine.revision)
        self._attended: dict[int, Member] = {}
        self._known = asyncio.Condition()
        self.explained = Explanations(store, engine)
        self.probes = Probes(self._restored)
        self._refused: dict[str, Stranger] = {}
        self._arrivals = Turns(ARRIVALS, LENT_S)
        self._syncs = Turns(SYNCS, LENT_S)
        self._calls = Rate(CALLS_PER_SECOND, CALLS_BURST)
        self.databases: OvsdbListener | None = None
        self.recovery = Recovery(store, hold_s)
        self._keeper = Keeper(store, engine, self.explained, self.recovery, keep_foreign=keep_foreign)
        self.readiness = Readiness(store, engine, self._members)
        self.inspection = Inspection(store, engine, self._members, self.explained, self._keeper)
        self._underlay_mtu = underlay_mtu
        self.translations = Translations(store, self.view)
        for chassis in store.model.all(Chassis):
            self._members.of(chassis.id)

    # The model changes

    def follow(self, changes: Sequence[Change]) -> None:
        """Recompute, and put each switch's difference in its queue."""
        with measures.RECOMPUTE.time():
            shifts = self._engine.shifts(changes)
        measures.CELLS.inc(len(self._engine.ran))
        requests = [change.request for change in changes if change.request]
        deltas: dict[str, dict[Key, Pending]] = {}
        for key, entry, chassis in shifts:
            pending = Pending(key, entry)
            for name in chassis:
                deltas.setdefault(name, {})[key] = pending
        for name, delta in deltas.items():
            member = self._members.of(name)
            member.owe(changes[0].revision, changes[-1].revision)
            self._queue(member, delta, requests)
        self.translations.follow()
        self._follow_watched()
        for write in (write for change in changes for write in change.writes):
            if isinstance(write.new, Quarantine):
                self._members.of(write.new.chassis).quarantined.set()
            if isinstance(write.new, Severed):
                self._members.of(write.new.chassis).severed.set()
            if write.kind is Chassis and self._store.model.get(Chassis, write.id) is None:
                self._drop(write.id)
        self.neighbours.follow(changes)
        log.debug(
            "recomputed revision=%d cells=%d switches=%d requests=%s",
            self._engine.revision, len(self._engine.ran), len(deltas), ",".join(requests) or "-",
        )  # fmt: skip

    def _drop(self, name: str) -> None:
        """Have no member of a name whose chassis is gone, unless its switch is here."""
        if name in self._members and self._members[name].switch is None:
            del self._members[name]

    def _queue(self, member: Member, delta: Mapping[Key, Pending], requests: Iterable[str]) -> None:
        member.revision = self._engine.revision
        if not member.drawn:
            return  # what it should hold is yet to be taken whole from the engine
        member.pending.update(delta)
        member.requests.extend(requests)
        member.wake.set()

    # A hypervisor's database

    def watched(self, system_id: str) -> frozenset[Watched]:
        """The gateways that a hypervisor has to watch now."""
        return self._engine.gather(WATCHED, system_id)

    def _follow_watched(self) -> None:
        """Have databases looked at again that should hold other ports than before to watch gateways by."""
        sessions = self.databases.sessions if self.databases else {}
        for relation, system_id in self._engine.turned:
            if relation is WATCHED and (session := sessions.get(cast("str", system_id))) is not None:
                session.look()

    async def observed(self, seen: Hypervisor) -> None:
        """Record what a hypervisor's database says. Raises Unavailable."""
        known, recorded = replace(seen, underlay_mtu=self._underlay_mtu), self._members.of(seen.system_id).claims
        for portion in bindings.portions(self._store.model, known, recorded):
            await self._record(portion)
        member = self._members.of(seen.system_id)
        async with self._known:
            member.datapath_id = seen.datapath_id
            member.database = True
            self._part(member)
            self._known.notify_all()

    async def _record(self, seen: Hypervisor) -> None:
        recorded = self._members.of(seen.system_id).claims
        async with self._arrivals.turn():
            by = Author(chassis=seen.system_id)
            claims = await self._store.commit(lambda tx: bindings.observe(tx, seen, recorded), by=by)
        self._members.of(seen.system_id).claims = claims  # of another one if the chassis was forgotten meanwhile

    def _part(self, member: Member) -> None:
        """Let a switch go that is another hypervisor's than it was when it came; it comes back as what it is now.

        A hypervisor may change its system-id, or which of its bridges is the integration bridge.
        """
        if member.datapath_id is None:
            return
        if member.switch is not None and member.switch.datapath_id != member.datapath_id:
            member.switch.close(f"it is not the integration bridge of {member.name} any more")
        holder = self._attended.get(member.datapath_id)
        if holder is not None and holder.switch is not None and not holder.database:
            holder.switch.close(f"it is the integration bridge of {member.name} now, no more of {holder.name}")

    async def lost(self, system_id: str) -> None:
        """A hypervisor's database is gone; its flows stay."""
        member = self._members.of(system_id)
        member.database, member.claims = False, None

    # A switch

    async def attend(self, switch: Switch) -> None:
        """Keep one switch at what it should hold, until its connection ends."""
        member = await self._identify(switch)
        await self._succeed(member, switch)
        member.switch, member.since, member.complaints = switch, time.time(), switch.complaints
        self._attended[switch.datapath_id] = member
        member.left.clear()
        log.info("switch connected chassis=%s datapath=%016x", member.name, switch.datapath_id)
        try:
            member.answerer = Answerer(
                member.name, self._answers, self.view, time.monotonic, self.neighbours, handed=member.handed
            )
            switch.on_packets(lambda packet: self._handed_over(member, packet))
            switch.on_ports(lambda ports: self._ports_changed(member, switch, ports))
            member.paths = Paths(lambda vtep: self._keeper.call(member, switch, vtep), self._calls, time.monotonic)
            await self._record_links(member, await switch.ports())
            await self._arrivals.idle(ARRIVED_S)
            async with self._syncs.turn(), member.lock:
                switch.on_tampered(lambda seen: self._keeper.tampered(member, switch, seen))
                await switch.watch()
                await self._keeper.reconcile(member, switch, joins=True)
            self.neighbours.joined(member.name)

            async def empty(zones: Iterable[int]) -> None:
                await self._empty_zones(member, switch, zones)

            async def forget(severed: Iterable[Severed]) -> None:
                await self._sever(member, switch, severed)

            zones = Zones(self._store, member.name, empty, member.quarantined, member.emptied)
            severing = Severing(self._store, member.name, forget, member.severed)
            async with asyncio.TaskGroup() as chores:
                chores.create_task(self._keeper.keep_in_step(member, switch))
                chores.create_task(member.paths.run())
                chores.create_task(zones.run())
                chores.create_task(severing.run())
        except asyncio.CancelledError as error:
            let_go(error)
            raise
        finally:
            member.switch, member.paths, member.drawn, member.links = None, None, False, None
            if self._attended.get(switch.datapath_id) is member:
                del self._attended[switch.datapath_id]
            member.seen = time.time()
            member.pending.clear()
            member.database = member.database and self._ovsdb
            member.left.set()
            log.info("switch disconnected chassis=%s", member.name)

    async def _empty_zones(self, member: Member, switch: Switch, zones: Iterable[int]) -> None:
        """Empty conntrack zones, once no flow leads to them any more."""
        async with member.lock:
            await self._keeper.apply_pending(member, switch)
            await switch.empty_zones(zones)

    async def _sever(self, member: Member, switch: Switch, severed: Iterable[Severed]) -> None:
        """Have connections forgotten, once no flow makes more of them."""
        async with member.lock:
            await self._keeper.apply_pending(member, switch)
            for each in severed:
                protocol, address = NUMBERS[each.protocol], ip_address(each.address).packed
                await switch.sever(each.zone, protocol, address, range(each.port_first, each.port_last + 1))

    def _handed_over(self, member: Member, packet: PacketIn) -> Iterable[Outgoing]:
        """What to send when a switch hands a packet over."""
        if caught(packet):
            return self.probes.take(member.name, packet)
        return member.answerer(packet) if member.answerer else ()

    def _restored(self, chassis: str, table: int, registers: Packet, frame: bytes) -> Sequence[Outgoing]:
        """Where a guest's packet goes that was caught for a probe: out of the port that it was for."""
        tags = self.rows.where(Tag, space="port", number=registers[DST]) if table == DELIVER.number else ()
        port = self.rows.get(Port, tags[0].id.partition("/")[2]) if tags else None
        placed = bindings.place(self.rows, port) if port else None
        link = self.rows.get(Link, f"{chassis}/{placed.interface}") if isinstance(placed, Placed) else None
        return (Reply(link.ofport, frame),) if link else ()

    async def probe(self, probe: Probe) -> list[Caught]:
        """Send a marked frame as if it had come by a port, and tell where it was found. Raises NotFound,
        Disconnected."""
        switches = {name: self._switch(name) for name in (probe.chassis, *sorted(probe.on))}
        return await self.probes.send(switches, probe)

    async def transmitted(self, chassis: str, port: int) -> Transmitted:
        """What a switch has sent out of a port. Raises NotFound, Disconnected, Rejected."""
        return await self._switch(chassis).transmitted(port)

    # What guests hear, and are asked

    def view(self) -> View:
        """The model as it is, and what is gathered from it."""
        self._store.tell()
        return self._engine.view()

    def say(self, said: Said) -> bool:
        """Have a switch send something now; whether it is there, and in step."""
        member = self._members.get(said.chassis)
        if member is None or member.switch is None or not member.drawn:
            return False
        try:
            member.switch.emit(said)
        except SouthboundError as error:
            log.info("nothing said chassis=%s: %s", said.chassis, error)
            return False
        return True

    async def send(self, chassis: str, outgoing: Sequence[Outgoing | Said]) -> bool:
        """Have a switch send something once it holds all that it should by now; whether it is there, and in step."""
        member = self._members.get(chassis)
        switch = member.switch if member else None
        if member is None or switch is None:
            return False
        try:
            async with member.lock:
                if member.switch is not switch or not member.drawn:
                    return False
                await self._keeper.apply_pending(member, switch)
                for each in outgoing:
                    switch.emit(each)
        except SouthboundError as error:
            switch.close(f"it did not do what it was told: {error}")
            return False
        return True

    def overrun(self, chassis: str, port: int, since: float) -> bool:
        """Was anything that a port's guest sent not looked at since then?"""
        member = self._members.get(chassis)
        return member is not None and member.answerer is not None and member.answerer.overrun(port, since)

    async def _succeed(self, member: Member, switch: Switch) -> None:
        """Wait until the place of a member's switch is free. Raises Disconnected when who has it is alive."""
        while (holder := member.switch) is not None:
            if await holder.alive():
                reason = f"{holder.peer} is the switch of {member.name} and is alive"
                self._refused[switch.peer.rpartition(":")[0]] = Stranger(switch.peer, reason)
                raise Disconnected(switch.name, reason)
            holder.close(f"it does not answer, and {switch.peer} is the same switch")
            await member.left.wait()
        self._refused.pop(switch.peer.rpartition(":")[0], None)

    async def _identify(self, switch: Switch) -> Member:
        """The member whose integration bridge this is, once its database is loaded; without OVSDB, a member alone."""
        if not self._ovsdb:
            await self.observed(bindings.alone(switch.datapath_id, await switch.ports()))
        patience: float | None = PATIENCE_S
        while True:
            for member in self._members.values():
                if member.database and member.datapath_id == switch.datapath_id:
                    return member
            try:
                async with self._known, asyncio.timeout(patience):
                    await self._known.wait()
            except TimeoutError:
                patience = None
                log.warning(
                    "switch waits datapath=%016x peer=%s: no connected hypervisor's database has this bridge as its "
                    "integration bridge; let the hypervisor join with `weft attach`",
                    switch.datapath_id, switch.peer,
                )  # fmt: skip

    async def _ports_changed(self, member: Member, switch: Switch, ports: Mapping[str, int]) -> None:
        if member.switch is switch:
            if member.answerer is not None:
                member.answerer.keep(ports.values())
            await self._record_links(member, ports)

    async def _record_links(self, member: Member, ports: Mapping[str, int]) -> None:
        def work(tx: Transaction) -> None:
            if not self._ovsdb and member.datapath_id is not None:
                bindings.observe(tx, bindings.alone(member.datapath_id, ports))
            bindings.observe_links(tx, member.name, ports, member.links)

        while True:
            try:
                async with member.recording, self._arrivals.turn():
                    await self._store.commit(work, by=Author(chassis=member.name))
                    member.links = ports
                    return
            except Unavailable:  # the store says so itself; a switch need not suffer from it
                await asyncio.sleep(RETRY_S)

    # What `/v1` reads

    async def events(self, about: str = "", before: int | None = None, limit: int = 100) -> list[Event]:
        """What changed of late, the newest first: everything, or what concerns the record of an id.

        Raises Unavailable.
        """
        return await self._store.events(about, before, limit)

    def copied(self) -> Model:
        """The model as it is now, for whoever goes on from there by himself."""
        model = self._store.model
        return Model(model.revision, [record for kind in KINDS for record in model.all(kind)])

    @property
    def apps(self) -> Sequence[App]:
        """Who computes what switches should hold."""
        return self._engine.apps

    def standing_at(self, cookie: int) -> tuple[Entry, list[str]] | None:
        """The flow with a cookie, and the chassis that should hold it; None if nobody should."""
        self._store.tell()
        for entry, _ in self._engine.entries():
            if isinstance(entry.item, Flow) and encode_flow(entry.item, entry.app).cookie == cookie:
                names = sorted(self._engine.chassis())
                return entry, [name for name in names if self._engine.entry(name, entry.key) == entry]
        return None

    @property
    def ovsdb(self) -> bool:
        """Do hypervisors' databases say who they are?"""
        return self._ovsdb

    @property
    def revision(self) -> int:
        """The revision of the model that is computed."""
        self._store.tell()
        return self._engine.revision

    def wanted_revision(self, name: str) -> int:
        """The newest revision that changed what a switch should hold."""
        self._store.tell()
        return self._members.of(name).revision

    @property
    def rows(self) -> Rows:
        """The model, of which everything is computed."""
        self._store.tell()
        return self._store.model

    def statuses(self) -> list[Status]:
        """Every chassis, by name."""
        return [self.status(chassis.id) for chassis in self._store.model.all(Chassis)]

    def status(self, name: str) -> Status:
        """One chassis. Raises NotFound."""
        self._store.tell()
        chassis = self._store.model.get(Chassis, name)
        if chassis is None:
            raise NotFound("Chassis", name)
        member = self._members.of(name)
        session = self.databases.sessions.get(name) if self.databases else None
        trouble = session.trouble if session else member.trouble
        problems = (chassis.problem, trouble, self._twin(chassis), self._clone(member), member.pace.problem)
        return Status(
            chassis,
            member,
            self._engine.count(name),
            self._state(member),
            " ".join(filter(None, problems)),
            self._store.model.get(Drained, name) is not None,
            self._store.model.get(Recovering, name) is not None,
        )

    def _twin(self, chassis: Chassis) -> str:
        """Two hypervisors with one tunnel address hear only half of what is meant for them.

        One that is here may have the address of one that is gone: it was perhaps installed anew, under another name.
        """
        if chassis.encap_ip is None:
            return ""
        others = [other.id for other in self._store.model.where(Chassis, encap_ip=chassis.encap_ip) if other != chassis]
        if self._is_here(chassis.id):
            others = [other for other in others if self._is_here(other)]
        return f"Its weft-encap-ip {chassis.encap_ip} is also that of {', '.join(others)}." if others else ""

    def _is_here(self, name: str) -> bool:
        member = self._members.of(name)
        return member.database or member.connected

    def _clone(self, member: Member) -> str:
        """A hypervisor that was copied from another one has the datapath id of that one's bridge."""
        holder = self._attended.get(member.datapath_id) if member.datapath_id is not None else None
        if holder is None or holder is member or not member.database:
            return ""
        chassis = self._store.model.get(Chassis, member.name)
        bridge = chassis.bridge if chassis else "BRIDGE"
        mend = f"ovs-vsctl set bridge {bridge} other_config:datapath-id={own_datapath_id(member.name, bridge)}"
        return f"Its {bridge} has the datapath id of the one of {holder.name}: run `{mend}` on it."

    def _state(self, member: Member) -> State:
        if self._ovsdb and not member.database:
            return State.DATABASE_LOST if member.connected else State.NO_DATABASE
        if not member.connected:
            return State.NO_SWITCH
        return State.IN_STEP if member.applied_revision == member.revision else State.BEHIND

    def strangers(self) -> list[Stranger]:
        """Who connected and is no member."""
        refused = list(self._refused.values())[-SHOWN:]
        if self.databases is None:
            return refused
        return [
            *refused,
            *(Stranger(each.address, each.reason) for each in self.databases.unidentified),
            *(
                Stranger(each.address, f"another hypervisor has the system-id {each.system_id}")
                for each in self.databases.refused
            ),
        ]

    async def forget(self, name: str) -> None:
        """Remove a chassis that is gone for good, with its claims. Raises NotFound, InUse while it is connected."""
        status = self.status(name)
        session = self.databases and self.databases.sessions.get(name)
        if session or status.member.database or status.member.switch is not None:
            bridge = session.seen.bridge if session and session.seen else "BRIDGE"
            leave = f"ovs-vsctl del-manager -- del-controller {bridge}"
            raise InUse("Chassis", name, "", f"Chassis {name} is connected; first run on it: {leave}")
        await self._store.commit(lambda tx: bindings.forget(tx, name))

    async def drain(self, name: str, drained: bool) -> None:
        """Have no gateway be active on a chassis, or let them again. Raises NotFound."""
        self.status(name)
        await self._store.commit(lambda tx: bindings.drain(tx, name, drained))

    def away(self) -> frozenset[str]:
        """The hypervisors whose switch is not connected, or was not when an archive was made."""
        return frozenset(each.id for each in self.rows.all(Chassis) if not self._members.of(each.id).connected)

    def remember(self, name: str, said: Remembered, kept: Dump | None) -> None:
        """Take a chassis for what an archive has of it. Raises NotFound."""
        self.status(name)
        member = self._members.of(name)
        member.datapath_id, member.database, member.trouble = said.datapath_id, said.database, said.trouble
        member.revision, member.applied_revision = said.revision, said.applied_revision
        member.flow_mods, member.mods_bytes = said.flow_mods, said.mods_bytes
        member.kept, member.was_connected = kept, said.connected
        if kept is not None:
            member.foreign = {flow.key: flow for flow in kept.installed.foreign}
        for key, entry in self._engine.desired(name).items() if said.refused else ():
            if (error := said.refused.get(text := str(entry.item))) is not None:
                member.refusals[key] = Refusal(key, text, error)

    def reported(self, name: str) -> Hypervisor | None:
        """What the database of a hypervisor says of it; None unless it is connected."""
        session = self.databases.sessions.get(name) if self.databases else None
        return session.seen if session else None

    def _switch(self, name: str) -> Switch:
        """Raises NotFound, Disconnected."""
        self.status(name)
        switch = self._members.of(name).switch
        if switch is None:
            raise Disconnected(name, "its switch is not connected")
        return switch

    async def repair(self, name: str, object: str = "") -> Applied:
        """Dump a switch and put right whatever is not as it should be; of one object, only what that wants there.

        Raises NotFound, Disconnected.
        """
        switch = self._switch(name)
        member = self._members.of(name)
        async with member.lock:
            if member.switch is not switch:
                raise Disconnected(name, "its switch is not connected")
            if object:
                return await self._keeper.mend(member, switch, object)
            applied, _ = await self._keeper.reconcile(member, switch)
        return applied

    def cost(self, id: str) -> list[Cost]:
        """What an object has on switches, by app and rule; a security group with its rules and members.

        Raises NotFound when there is no object of that id.
        """
        self._store.tell()
        rows = self._store.model
        kinds = [kind for kind in KINDS if rows.get(kind, id) is not None]
        if not kinds:
            raise NotFound("Object", id)
        found = [cost for kind in kinds for cost in self._engine.costs(kind, id)]
        records = {each for kind in kinds for each in about(rows, kind, id)}
        facts = self._engine.facts({(kind.__name__.lower(), each) for kind, each in records})
        made: Counter[tuple[str, str, int]] = Counter()
        for at in (*(each for each in records if each[1] != id), *facts):
            for cost in self._engine.costs(*at):
                made[cost.app, cost.rule, cost.hosts] += cost.flows
        return found + [Cost(app, rule, flows, hosts) for (app, rule, hosts), flows in sorted(made.items())]

    def counts(self) -> Mapping[str, int]:
        """How many records the model has, by kind."""
        return {kind.__name__.lower(): len(self._store.model.all(kind)) for kind in KINDS}

    def failures(self) -> Mapping[str, str]:
        """What could not be computed, by the name of the cell or value: its flows are missing everywhere."""
        self._store.tell()
        return self._engine.failures

    def recompute(self) -> int:
        """Compute everything from scratch beside what is; how many entries come out otherwise."""
        self._store.tell()
        fresh = Engine(self._store.model, self._engine.apps)
        names = fresh.chassis() | self._engine.chassis()
        return sum(_distance(fresh.desired(name), self._engine.desired(name)) for name in names)

    def problem(self) -> str:
        """What keeps the controller from its work, or ""."""
        return self._store.problem and f"the store cannot write: {self._store.problem}"


def _distance(one: Mapping[Key, Entry], other: Mapping[Key, Entry]) -> int:
    return sum(one.get(key) != other.get(key) for key in one.keys() | other.keys())
