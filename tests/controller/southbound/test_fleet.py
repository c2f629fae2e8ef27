"""The fleet: whoever attends a switch, nothing that it should hold is lost on the way, and its status says the truth."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from apps import APPS
from controller.errors import Disconnected, InUse, NotFound, Rejected
from controller.flows.action import Action
from controller.flows.engine import Engine
from controller.model import bindings
from controller.model import store as store_module
from controller.model.bindings import Attendance, Claim, Hypervisor
from controller.model.records import Address, Chassis, FixedIp, FloatingIp, Network, Port, Quarantine, Router
from controller.model.store import Change, MemoryJournal, Store, Transaction
from controller.southbound import keeping
from controller.southbound.complaints import Complaints
from controller.southbound.differences import compare
from controller.southbound.fleet import Fleet
from controller.southbound.packet_in import Bucket
from controller.southbound.paths import FRAME
from controller.southbound.reconcile import Installed, Plan, Refusal
from controller.southbound.switch import Applied, PortsReport, Switch
from controller.southbound.told import Outside, State
from tests.cloud import floating_ip, gateway, interface, network, port, router, subnet, wire

PATIENCE_S = 10.0


def _set() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass(eq=False)
class Wire:
    """The other end of a connection: it acknowledges plans, hangs, or is dead; the fleet cannot tell it from a switch."""

    datapath_id: int = 1
    peer: str = "192.0.2.1:4000"
    answers: bool = True
    plans: list[Plan] = field(default_factory=list)
    foreign: Mapping[Any, Any] = field(default_factory=dict)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    holding: asyncio.Event | None = None
    dumps: asyncio.Event = field(default_factory=_set)
    emptied: list[int] = field(default_factory=list)
    plans_before_emptied: int = 0
    emitted: list[tuple[int, str, bytes]] = field(default_factory=list)
    refuses: tuple[Refusal, ...] = ()
    rejects: int = 0
    complaints: Complaints = field(default_factory=Complaints)
    report: PortsReport | None = None

    @property
    def name(self) -> str:
        return f"Switch at {self.peer}"

    def on_packets(self, answer: object) -> None: ...
    def on_ports(self, report: PortsReport) -> None:
        self.report = report

    def on_tampered(self, report: object) -> None: ...

    async def watch(self) -> bool:
        return True

    async def ports(self) -> dict[str, int]:
        return {"weft-vxlan": 1, "tap": 10}

    async def dump(self) -> Installed:
        await self.dumps.wait()
        return Installed({}, {})

    async def apply(self, plan: Plan) -> Applied:
        if not self.answers:
            await self.over.wait()
            raise Disconnected(self.name, "dead")
        if self.rejects:
            self.rejects -= 1
            raise Rejected("a bundle", 17, 3)
        self.plans.append(plan)
        return Applied(self.refuses, flow_mods=len(plan.steps))

    def treat(self, actions: Iterable[Action], frame: bytes) -> None:
        self.emitted.append((len(self.plans), ",".join(map(str, actions)), frame))

    async def empty_zones(self, zones: Iterable[int]) -> None:
        self.emptied += zones
        self.plans_before_emptied = len(self.plans)

    async def alive(self) -> bool:
        return self.answers

    def close(self, reason: str) -> None:
        self.over.set()

    async def attended(self, fleet: Fleet) -> None:
        """What `Switch.run` does: the attendance ends with the connection."""
        async with asyncio.TaskGroup() as group:
            task = group.create_task(fleet.attend(cast("Switch", self)))
            await self.over.wait()
            task.cancel()

    def sent(self) -> set[str]:
        return {step.text for plan in self.plans for step in plan.steps}


HV1 = Hypervisor(
    system_id="hv1", hostname="host1", encap_ip=Address("192.0.2.1"), encap_types=("vxlan",), bridge="br-int",
    datapath_type="netdev", bridge_mappings=(), gateway_priority=None, datapath_id=1, claims=(Claim("tap", "vm1"),),
)  # fmt: skip

Story = Callable[[Fleet, Store, asyncio.TaskGroup], Awaitable[None]]


def played(story: Story) -> None:
    """Run a story with a real store, engine and fleet."""

    async def run() -> None:
        store = await Store.open(MemoryJournal())
        fleet = Fleet(store, Engine(store.model, APPS))
        store.follow(fleet.follow)
        async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
            serving = group.create_task(store.run())
            await fleet.observed(HV1)
            await store.commit(network("red", 100))
            await story(fleet, store, group)
            serving.cancel()
        await store.close()

    asyncio.run(run())


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 what is waited for sets no event
        await asyncio.sleep(0.005)


def in_step(fleet: Fleet) -> bool:
    return fleet.status("hv1").state is State.IN_STEP


VM1 = port("vm1", "red", "02:00:00:00:00:01", "10.0.0.1")
OUTSIDE = (
    wire("ext", None, "phys", external=True),
    subnet("ext4", "ext", "203.0.113.0/24", "203.0.113.1"),
    subnet("red4", "red", "10.0.0.0/24", "10.0.0.254"),
    router("r", external_network_id="ext"),
    gateway("r-ext", "r", "ext", "02:00:00:00:0e:10", ext4="203.0.113.2"),
    interface("r-red", "r", "red", "02:00:00:00:0a:01", red4="10.0.0.254"),
)
"""A router of the network red with a way to the outside."""


def test_what_changes_while_a_dead_connection_is_in_the_way_reaches_the_switch_that_came_back() -> None:
    async def story(fleet: Fleet, store: Store, group: asyncio.TaskGroup) -> None:
        old, new = Wire(), Wire(peer="192.0.2.1:4001")
        group.create_task(old.attended(fleet))
        await until(lambda: in_step(fleet))
        old.answers = False
        group.create_task(new.attended(fleet))
        await store.commit(VM1)
        await until(lambda: old.over.is_set() and in_step(fleet))
        desired = {each.text for each in fleet.inspection.flows("hv1")}
        assert desired <= new.sent()
        assert fleet.readiness.port_status(store.model.all(Port)[0]) == "ACTIVE"
        new.over.set()

    played(story)


def test_a_connection_that_claims_a_living_switch_is_refused_and_shown() -> None:
    async def story(fleet: Fleet, store: Store, group: asyncio.TaskGroup) -> None:
        real, impostor = Wire(), Wire(peer="198.51.100.7:999")
        group.create_task(real.attended(fleet))
        await until(lambda: in_step(fleet))
        with pytest.raises(Disconnected, match="is the switch of hv1 and is alive"):
            await fleet.attend(cast("Switch", impostor))
        assert [stranger.address for stranger in fleet.strangers()] == ["198.51.100.7:999"]
        await store.commit(VM1)
        await until(lambda: in_step(fleet))
        assert {each.text for each in fleet.inspection.flows("hv1")} <= real.sent()
        assert impostor.plans == []
        real.over.set()

    played(story)


def test_a_hypervisor_that_changes_its_name_takes_its_switch_along() -> None:
    async def story(fleet: Fleet, store: Store, group: asyncio.TaskGroup) -> None:
        before, after = Wire(), Wire(peer="192.0.2.1:4001")
        group.create_task(before.attended(fleet))
        await store.commit(VM1)
        await until(lambda: in_step(fleet))
        await fleet.lost("hv1")
        await fleet.observed(replace(HV1, system_id="hv2"))
        assert before.over.is_set()
        group.create_task(after.attended(fleet))
        await until(lambda: fleet.status("hv2").state is State.IN_STEP)
        assert {each.text for each in fleet.inspection.flows("hv2")} <= after.sent()
        assert fleet.readiness.port_status(store.model.all(Port)[0]) == "ACTIVE"
        assert fleet.status("hv2").problem == ""
        assert fleet.status("hv1").problem == "Its weft-encap-ip 192.0.2.1 is also that of hv2."
        after.over.set()

    played(story)


def test_a_switch_that_is_not_the_integration_bridge_any_more_is_let_go() -> None:
    async def story(fleet: Fleet, store: Store, group: asyncio.TaskGroup) -> None:
        old, new = Wire(), Wire(datapath_id=2)
        group.create_task(old.attended(fleet))
        await until(lambda: in_step(fleet))
        await fleet.observed(replace(HV1, bridge="br-new", datapath_id=None))
        assert not old.over.is_set()
        await fleet.observed(replace(HV1, bridge="br-new", datapath_id=2))
        assert old.over.is_set()
        await until(lambda: fleet.status("hv1").state is State.NO_SWITCH)
        group.create_task(new.attended(fleet))
        await until(lambda: in_step(fleet))
        new.over.set()

    played(story)


def test_a_copied_hypervisor_is_told_how_to_become_one_of_its_own() -> None:
    async def story(fleet: Fleet, store: Store, group: asyncio.TaskGroup) -> None:
        real = Wire()
        group.create_task(real.attended(fleet))
        await until(lambda: in_step(fleet))
        await fleet.observed(replace(HV1, system_id="copy", encap_ip=Address("192.0.2.2")))
        assert fleet.status("hv1").problem == ""
        assert fleet.status("copy").problem == (
            "Its br-int has the datapath id of the one of hv1: "
            "run `ovs-vsctl set bridge br-int other_config:datapath-id=04b63fff786667b3` on it."
        )
        assert not real.over.is_set()
        real.over.set()

    played(story)


def test_what_is_told_with_the_answer_of_a_change_counts_the_change() -> None:
    async def story(fleet: Fleet, store: Store, group: asyncio.TaskGroup) -> None:
        switch = Wire()
        group.create_task(switch.attended(fleet))
        await store.commit(VM1)
        await until(lambda: in_step(fleet))
        (vm1,) = store.model.all(Port)
        assert fleet.readiness.port_status(vm1) == "ACTIVE"
        before = fleet.wanted_revision("hv1")

        async def change(address: str) -> None:
            await until(lambda: in_step(fleet))
            await store.commit(port("vm1", "red", "02:00:00:00:00:01", address), at_once=True)

        await change("10.0.0.2")
        assert fleet.readiness.port_status(vm1) == "DOWN"
        await change("10.0.0.3")
        assert fleet.status("hv1").state is State.BEHIND
        await change("10.0.0.4")
        assert fleet.wanted_revision("hv1") == before + 3
        await change("10.0.0.5")
        assert any("10.0.0.5" in each.text for each in fleet.inspection.flows("hv1"))
        await change("10.0.0.6")
        assert any("10.0.0.6" in each.text for each in fleet.explained.dictionary().flows.values())
        switch.over.set()

    played(story)


@pytest.mark.parametrize("asked", ["diff", "repair"])
def test_what_a_switch_did_not_take_when_somebody_asked_is_not_lost(asked: str) -> None:
    """It has no room for a bundle at the moment: who asked is told, and nobody but he."""

    async def story(fleet: Fleet, store: Store, group: asyncio.TaskGroup) -> None:
        switch = Wire()
        group.create_task(switch.attended(fleet))
        await until(lambda: in_step(fleet))
        before = switch.sent()
        switch.rejects = 1
        await store.commit(VM1, at_once=True)
        if asked == "diff":
            assert (await fleet.inspection.diff())[1] == ["hv1"]
        else:
            store.tell()
            with pytest.raises(Rejected):
                await fleet.repair("hv1")
        await until(lambda: in_step(fleet))
        assert any("02:00:00:00:00:01" in text for text in switch.sent() - before)
        switch.over.set()

    played(story)


def test_a_change_that_changes_no_flow_leaves_a_port_active() -> None:
    async def story(fleet: Fleet, store: Store, group: asyncio.TaskGroup) -> None:
        switch = Wire()
        group.create_task(switch.attended(fleet))
        both = port("vm1", "red", "02:00:00:00:00:01", "10.0.0.1", "10.0.0.2")
        await store.commit(both)
        await until(lambda: in_step(fleet))
        plans = len(switch.plans)
        await store.commit(port("vm1", "red", "02:00:00:00:00:01", "10.0.0.2", "10.0.0.1"))
        (vm1,) = store.model.all(Port)
        assert vm1.fixed_ips[0] == FixedIp("red-subnet", Address("10.0.0.2"))
        assert fleet.readiness.port_status(vm1) == "ACTIVE"
        assert len(switch.plans) == plans
        switch.over.set()

    played(story)


def test_an_interface_of_a_router_is_active_while_all_it_needs_is_up() -> None:
    async def story(fleet: Fleet, store: Store, group: asyncio.TaskGroup) -> None:
        def work(tx: Transaction) -> Port:
            tx.insert(Router(id="r1"))
            return replace(vm1, id="door", device_id="r1", device_owner="network:router_interface")

        await store.commit(VM1)
        (vm1,) = store.model.all(Port)
        door = await store.commit(work)
        assert fleet.readiness.port_status(door) == "ACTIVE"
        assert fleet.readiness.port_status(replace(door, admin_state_up=False)) == "DOWN"
        assert fleet.readiness.port_status(replace(door, device_id="r2")) == "DOWN", "there is no such router"
        await store.commit(lambda tx: tx.put(Router(id="r1", admin_state_up=False)))
        assert fleet.readiness.port_status(door) == "DOWN"
        await store.commit(lambda tx: tx.put(Router(id="r1")))
        await store.commit(lambda tx: tx.put(replace(tx.need(Network, "red"), admin_state_up=False)))
        assert fleet.readiness.port_status(door) == "DOWN"

    played(story)


def test_a_floating_ip_is_active_when_whoever_translates_it_says_so() -> None:
    async def story(fleet: Fleet, store: Store, group: asyncio.TaskGroup) -> None:
        def status() -> str:
            (found,) = store.model.all(FloatingIp)
            return fleet.readiness.floatingip_status(found)

        await fleet.observed(replace(HV1, bridge_mappings=(("phys", "br-ex"),)))
        for work in (
            VM1,
            *OUTSIDE,
            floating_ip("f", "ext", "02:00:00:00:0e:64", "203.0.113.9", "r", "vm1", "10.0.0.1"),
        ):
            await store.commit(work)
        assert status() == "DOWN", "its guest's hypervisor is not connected"
        switch = Wire()
        attended = group.create_task(switch.attended(fleet))
        await until(lambda: in_step(fleet))
        assert status() == "DOWN", "there is no zone to translate in"
        zones = group.create_task(fleet.translations.run())
        await until(lambda: in_step(fleet) and status() == "ACTIVE")
        assert fleet.readiness.translated("f") == Outside(("hv1",), "hv1", distributed=True)
        switch.over.set()
        await attended
        assert status() == "DOWN"
        group.create_task((again := Wire()).attended(fleet))
        await until(lambda: in_step(fleet))
        assert status() == "ACTIVE"
        await store.commit(lambda tx: tx.put(replace(tx.need(Router, "r"), admin_state_up=False)))
        assert status() == "DOWN"
        await store.commit(lambda tx: tx.put(replace(tx.need(Router, "r"), admin_state_up=True)))
        await until(lambda: in_step(fleet) and status() == "ACTIVE")
        await store.commit(floating_ip("f", "ext", "02:00:00:00:0e:64", "203.0.113.9"))
        assert status() == "DOWN"
        again.over.set()
        zones.cancel()

    played(story)


def test_what_comes_while_more_is_being_committed_is_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "TOLD_PER_SECOND", 0.01)
    gate = threading.Semaphore(0)
    written: list[Sequence[Change]] = []

    def append(_: MemoryJournal, changes: Sequence[Change]) -> None:
        written.append(changes)
        gate.acquire()

    async def story(fleet: Fleet, store: Store, group: asyncio.TaskGroup) -> None:
        switch = Wire()
        group.create_task(switch.attended(fleet))
        await until(lambda: in_step(fleet))
        await store.commit(VM1)
        await until(lambda: in_step(fleet))
        told = len(switch.plans)
        monkeypatch.setattr(MemoryJournal, "append", append)
        group.create_task(store.commit(lambda tx: tx.put(replace(tx.need(Port, "vm1"), admin_state_up=False))))
        await until(lambda: len(written) == 1)
        group.create_task(store.commit(network("blue", 200)))
        gate.release()
        await until(lambda: len(written) == 2 and bool(fleet.status("hv1").member.pending))
        await asyncio.sleep(0.05)
        assert len(switch.plans) == told, "the next change is being written"
        gate.release()
        await until(lambda: in_step(fleet))
        assert len(switch.plans) == told + 1
        gate.release(9)
        switch.over.set()

    played(story)


def test_nothing_piles_up_for_a_hypervisor_that_is_away() -> None:
    async def story(fleet: Fleet, store: Store, group: asyncio.TaskGroup) -> None:
        await store.commit(VM1)
        member = fleet.status("hv1").member
        assert not member.pending
        assert member.revision == store.model.revision
        switch = Wire()
        group.create_task(switch.attended(fleet))
        await until(lambda: in_step(fleet))
        assert {each.text for each in fleet.inspection.flows("hv1")} <= switch.sent()
        with pytest.raises(InUse):
            await fleet.forget("hv1")
        switch.over.set()

    played(story)


def test_who_is_here_is_known_and_who_left_and_when() -> None:
    async def story(fleet: Fleet, store: Store, group: asyncio.TaskGroup) -> None:
        assert fleet.readiness.attendance("hv1") == fleet.readiness.attendance("nobody") == Attendance()
        switch = Wire()
        group.create_task(switch.attended(fleet))
        await until(lambda: in_step(fleet))
        here = fleet.readiness.attendance("hv1")
        assert here.alive
        assert (here.since or 0) <= (here.seen or 0) != 0
        switch.over.set()
        await until(lambda: not fleet.readiness.attendance("hv1").alive)
        gone = fleet.readiness.attendance("hv1")
        assert (gone.since, (gone.seen or 0) >= (here.seen or 0)) == (here.since, True)
        await store.commit(lambda tx: bindings.forget(tx, "hv1"))
        assert fleet.readiness.attendance("hv1") == Attendance(), "whoever removed it"

    played(story)


def test_request_ids_reach_the_barrier(caplog: pytest.LogCaptureFixture) -> None:
    async def story(fleet: Fleet, store: Store, group: asyncio.TaskGroup) -> None:
        switch = Wire()
        group.create_task(switch.attended(fleet))
        await until(lambda: in_step(fleet))
        await store.commit(VM1, request="req-1")
        await until(lambda: in_step(fleet))
        switch.over.set()

    with caplog.at_level("INFO", logger="controller.southbound.keeping"):
        played(story)
    assert [line for line in caplog.messages if line.startswith("applied chassis=hv1") and "requests=req-1" in line]


def test_it_is_remembered_when_a_switch_had_a_change_also_one_of_while_it_was_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store_module, "NOTE_S", 0.0)

    async def story(fleet: Fleet, store: Store, group: asyncio.TaskGroup) -> None:
        await store.commit(VM1, request="req-away")
        ((away, _),) = [(event.change, event.acknowledged) for event in await store.events(limit=1)]
        switch = Wire()
        group.create_task(switch.attended(fleet))
        await until(lambda: in_step(fleet))
        await store.commit(port("vm1", "red", "02:00:00:00:00:01", "10.0.0.9"), request="req-here")
        await until(lambda: in_step(fleet))
        await store.commit(network("blue", 200), request="req-nobody")
        had: dict[str, set[str]] = {}
        while "hv1" not in had.get("req-here", ()):
            had = {event.change.request: {*event.acknowledged} for event in await store.events("", None, 3)}
            await asyncio.sleep(0.01)
        (event,) = await store.events("vm1", away.revision + 1, 1)
        assert event.acknowledged["hv1"] >= away.at > 0
        assert had["req-nobody"] == set()
        switch.over.set()

    played(story)


def test_what_one_object_wants_is_put_right_alone() -> None:
    async def story(fleet: Fleet, store: Store, group: asyncio.TaskGroup) -> None:
        switch = Wire()
        await store.commit(VM1)
        await store.commit(port("vm2", "red", "02:00:00:00:00:02", "10.0.0.2"))
        group.create_task(switch.attended(fleet))
        await until(lambda: in_step(fleet))
        switch.plans.clear()
        applied = await fleet.repair("hv1", "vm1")
        flows = fleet.inspection.flows("hv1")
        wanted = {each.text for each in flows if "vm1" in {one.id for one in each.objects}}
        assert switch.sent() == wanted < {each.text for each in flows}
        assert applied.flow_mods == len(wanted) > 3
        with pytest.raises(NotFound, match="Nothing by the name or id vm9 wants a flow on hv1"):
            await fleet.repair("hv1", "vm9")
        switch.over.set()

    played(story)


def test_how_many_flows_a_switch_should_hold_is_kept_count_of() -> None:
    async def story(fleet: Fleet, store: Store, group: asyncio.TaskGroup) -> None:
        def held() -> int:
            return sum(each.table != "group" for each in fleet.inspection.flows("hv1"))

        await store.commit(VM1)
        assert fleet.status("hv1").flows == held() < len(fleet.inspection.flows("hv1"))
        await store.commit(lambda tx: tx.delete(Port, "vm1"))
        assert fleet.status("hv1").flows == held()

    played(story)


# ---- many at once --------------------------------------------------------------------------------------------------


def test_a_zone_that_a_port_gave_back_is_emptied_once_its_flows_are_gone() -> None:
    async def emptied(switch: Wire) -> list[int]:
        async with asyncio.timeout(1):
            await until(lambda: bool(switch.emptied))
        assert switch.plans_before_emptied == len(switch.plans), "nothing that leads to it was left to do"
        return switch.emptied

    async def story(fleet: Fleet, store: Store, group: asyncio.TaskGroup) -> None:
        await store.commit(VM1)
        switch = Wire()
        group.create_task(switch.attended(fleet))
        await until(lambda: in_step(fleet))
        await fleet.observed(replace(HV1, claims=()))
        (record,) = store.model.all(Quarantine)
        assert await emptied(switch) == [record.zone]
        switch.over.set()

    played(story)


def test_a_switch_that_hangs_keeps_the_others_from_being_brought_in_step_for_a_while_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("controller.southbound.fleet.LENT_S", 0.3)
    monkeypatch.setattr("controller.southbound.fleet.SYNCS", 1)

    async def story(fleet: Fleet, store: Store, group: asyncio.TaskGroup) -> None:
        hanging, well = Wire(answers=False), Wire(datapath_id=2, peer="192.0.2.2:4000")
        await fleet.observed(replace(HV1, system_id="hv2", encap_ip=Address("192.0.2.2"), datapath_id=2, claims=()))
        await store.commit(VM1)
        group.create_task(hanging.attended(fleet))
        await until(lambda: fleet.status("hv1").member.drawn)
        group.create_task(well.attended(fleet))
        await until(lambda: fleet.status("hv2").state is State.IN_STEP)
        assert fleet.status("hv1").state is State.BEHIND
        hanging.over.set()
        well.over.set()

    played(story)


def test_of_many_refused_flows_the_first_are_told_and_all_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    refused = tuple(Refusal(("group", id), f"group_id={id}", "OFPET_GROUP_MOD_FAILED/8") for id in range(1000))

    async def story(fleet: Fleet, store: Store, group: asyncio.TaskGroup) -> None:
        switch = Wire(refuses=refused)
        await store.commit(VM1)
        group.create_task(switch.attended(fleet))
        await until(lambda: in_step(fleet))
        assert [*fleet.status("hv1").member.refusals.values()] == [*refused]
        switch.over.set()

    played(story)
    told = [line for line in caplog.messages if "refused" in line]
    assert sum(line.startswith("flow refused chassis=hv1 flow=group_id=") for line in told) == 20
    assert told[20:] == ["flows refused chassis=hv1 more=980"]


def test_a_frame_is_sent_ahead_to_where_flows_lead_once_they_stand() -> None:
    ahead = (1, "set_field:0x0->tun_id,set_field:192.0.2.2->tun_dst,output:1", FRAME)

    async def story(fleet: Fleet, store: Store, group: asyncio.TaskGroup) -> None:
        await store.commit(VM1)
        await store.commit(port("vm2", "red", "02:00:00:00:00:02", "10.0.0.2"))
        claims = (Claim("tap-vm2", "vm2"),)
        there = replace(HV1, system_id="hv2", encap_ip=Address("192.0.2.2"), datapath_id=2, claims=claims)
        await fleet.observed(there)
        switch = Wire()
        group.create_task(switch.attended(fleet))
        await until(lambda: bool(switch.emitted))
        assert switch.emitted[0] == ahead
        await fleet.observed(replace(there, encap_ip=Address("192.0.2.3")))
        await until(lambda: "192.0.2.3" in switch.emitted[-1][1])
        assert switch.emitted[-1][0] == len(switch.plans), "not before what leads there is acknowledged"
        switch.over.set()

    played(story)


def test_what_changes_while_a_switch_waits_for_its_turn_reaches_it() -> None:
    async def story(fleet: Fleet, store: Store, group: asyncio.TaskGroup) -> None:
        await store.commit(VM1)
        switch = Wire(dumps=asyncio.Event())
        group.create_task(switch.attended(fleet))
        await until(lambda: fleet.status("hv1").member.switch is not None)
        await store.commit(network("blue", 101))
        await store.commit(port("vm1", "red", "02:00:00:00:00:02", "10.0.0.1"))
        switch.dumps.set()
        await until(lambda: in_step(fleet))
        assert {each.text for each in fleet.inspection.flows("hv1")} <= switch.sent()
        switch.over.set()

    played(story)


def test_what_is_refused_is_told_once() -> None:
    refusal = Refusal(("group", 1), "group 1", "too large")
    told = compare("hv1", Plan(refusals=(refusal,)), Installed({}, {}), {refusal.key: refusal})
    assert told.refused == ("group 1: too large",)


def test_a_hypervisor_that_came_and_went_while_nobody_looked_is_nothing() -> None:
    async def story(fleet: Fleet, store: Store, _group: asyncio.TaskGroup) -> None:
        def come(tx: Transaction) -> None:
            tx.put(Chassis(id="hv9"))

        def go(tx: Transaction) -> None:
            tx.delete(Chassis, "hv9")

        await asyncio.gather(store.commit(come), store.commit(go))
        assert [each.chassis.id for each in fleet.statuses()] == ["hv1"]

    played(story)


@pytest.mark.parametrize("turns", range(1, 7))
def test_a_hypervisor_that_comes_back_while_it_is_forgotten_is_here(turns: int) -> None:
    """Whether both are written together or one after the other."""

    async def story(fleet: Fleet, store: Store, group: asyncio.TaskGroup) -> None:
        await fleet.lost("hv1")
        forgotten = group.create_task(fleet.forget("hv1"))
        for _ in range(turns):
            await asyncio.sleep(0)
        await fleet.observed(HV1)
        await forgotten
        assert fleet.status("hv1").member.database
        switch = Wire()
        group.create_task(switch.attended(fleet))
        await until(lambda: in_step(fleet))
        switch.over.set()

    played(story)


def test_what_an_earlier_connection_had_emptied_waits_on_and_is_not_emptied_anew() -> None:
    async def emptied(fleet: Fleet, store: Store, group: asyncio.TaskGroup, zone: int) -> list[int]:
        """What one connection is told to empty when another zone is given back."""
        switch = Wire()
        group.create_task(switch.attended(fleet))
        await until(lambda: in_step(fleet))
        await store.commit(lambda tx: tx.put(Quarantine(id=f"hv1/{zone}", chassis="hv1", zone=zone)))
        await until(lambda: bool(switch.emptied))
        switch.over.set()
        await until(lambda: fleet.status("hv1").member.switch is None)
        await fleet.observed(HV1)
        return switch.emptied

    async def story(fleet: Fleet, store: Store, group: asyncio.TaskGroup) -> None:
        assert await emptied(fleet, store, group, 7) == [7]
        assert await emptied(fleet, store, group, 8) == [8]

    played(story)


def test_what_a_port_may_ask_goes_with_the_port() -> None:
    """Open vSwitch gives a port another number each time that it comes."""

    async def story(fleet: Fleet, store: Store, group: asyncio.TaskGroup) -> None:
        switch = Wire()
        group.create_task(switch.attended(fleet))
        await until(lambda: in_step(fleet))
        answerer = fleet.status("hv1").member.answerer
        assert answerer is not None
        assert switch.report is not None
        answerer.shares.update({(number, False): Bucket() for number in (1, 10, 11)})
        await switch.report({"weft-vxlan": 1, "tap": 12})
        assert [*answerer.shares] == [(1, False)]
        switch.over.set()

    played(story)
