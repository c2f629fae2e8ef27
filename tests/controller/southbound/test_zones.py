"""A conntrack zone that a port gave back is emptied, twice, before it is another port's."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

import pytest

from controller.errors import Rejected
from controller.model.records import Quarantine
from controller.model.store import Journal, Store
from controller.southbound import messages as of
from controller.southbound.switch import Switch
from controller.southbound.zones import Zones
from tests.controller.southbound.stages import Forgetful, stage
from tests.controller.southbound.switches import Bridge, OpenVSwitch, Peer, on_false, on_real, run, until

AGAIN_S = 0.6
BACK_S = 0.2

# ---- the switch ----------------------------------------------------------------------------------------------------


async def connect(ovs: OpenVSwitch, bridge: Bridge, zone: int) -> None:
    """Have the datapath remember a connection in a zone."""
    interface = f"{bridge.name}-{zone}"
    await bridge.plug(interface, zone)
    await bridge.ofctl("add-flow", f"in_port={zone},udp,actions=ct(commit,zone={zone})")
    packet = "eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=17,tos=0,ttl=64,frag=no),udp(src=1,dst=2)"
    await asyncio.to_thread(ovs.appctl, "netdev-dummy/receive", interface, packet)
    await until(lambda: zone in zones(ovs))


def zones(ovs: OpenVSwitch) -> set[int]:
    """Where the datapath remembers connections."""
    lines = ovs.appctl("dpctl/dump-conntrack").splitlines()
    return {int(part.removeprefix("zone=")) for line in lines for part in line.split(",") if part.startswith("zone=")}


@pytest.mark.ovs
def test_zones_are_emptied_and_no_others(ovs: OpenVSwitch) -> None:
    async def session(switch: Switch, bridge: Bridge) -> None:
        for zone in (5, 6, 7):
            await connect(ovs, bridge, zone)
        await switch.empty_zones([5, 7, 8])
        assert zones(ovs) == {6}
        assert switch.counters.errors == 0

    on_real(ovs, session)


@pytest.mark.ovs
def test_connections_to_some_ports_are_forgotten_in_their_zone_and_no_others(ovs: OpenVSwitch) -> None:
    async def session(switch: Switch, bridge: Bridge) -> None:
        before = zones(ovs)
        for zone in (8, 9):
            await connect(ovs, bridge, zone)
        to = ip_address("10.0.0.2").packed
        for other in (
            (10, 17, to, [2]),
            (8, 6, to, [2]),
            (8, 17, ip_address("10.0.0.1").packed, [2]),
            (8, 17, to, [1, 3]),
        ):
            await switch.sever(*other)
        assert zones(ovs) == before | {8, 9}
        await switch.sever(8, 17, to, range(1, 4))
        assert zones(ovs) == before | {9}
        assert switch.counters.errors == 0

    on_real(ovs, session)


def test_a_switch_that_knows_no_zones_says_so_and_the_connection_goes_on() -> None:
    async def refuses(peer: Peer) -> None:
        for zone in (1, 2):
            xid, body = await peer.expect(of.OFPT_EXPERIMENTER)
            assert body == struct.pack("!II6xH", 0x2320, 29, zone)
            peer.answer(of.OFPT_ERROR, xid, struct.pack("!HH", 1, 3))
        for _ in range(2):
            xid, _ = await peer.expect(of.OFPT_BARRIER_REQUEST)
            peer.answer(of.OFPT_BARRIER_REPLY, xid)
        await asyncio.Event().wait()

    async def session(switch: Switch) -> None:
        with pytest.raises(Rejected, match="to empty a conntrack zone"):
            await switch.empty_zones([1, 2])
        await switch.barrier()

    assert on_false(refuses, session) is None


# ---- what is in quarantine -----------------------------------------------------------------------------------------


@dataclass
class Emptied:
    """The zones that a switch was told to empty, in order."""

    zones: list[int] = field(default_factory=list)
    refuses: bool = False

    async def __call__(self, zones: Sequence[int]) -> None:
        if self.refuses:
            raise Rejected("to empty a conntrack zone", 1, 3)
        self.zones += zones


Story = Callable[[Store, Zones, asyncio.TaskGroup], Awaitable[None]]


def played(emptied: Emptied, story: Story, journal: Journal | None = None) -> None:
    """Run a story with a store, and the zones of hv1."""

    async def test() -> None:
        async with stage(journal) as on:
            keeping = Zones(on.store, "hv1", emptied, on.changed, again_s=AGAIN_S, back_s=BACK_S)
            await story(on.store, keeping, on.tasks)

    run(test())


async def quarantine(store: Store, *zones: int, chassis: str = "hv1") -> None:
    await store.commit(
        lambda tx: [tx.put(Quarantine(id=f"{chassis}/{zone}", chassis=chassis, zone=zone)) for zone in zones]
    )


def held(store: Store, chassis: str = "hv1") -> list[int]:
    return [record.zone for record in store.model.where(Quarantine, chassis=chassis)]


def test_a_zone_is_emptied_at_once_and_again_before_it_is_released() -> None:
    emptied = Emptied()

    async def story(store: Store, keeping: Zones, group: asyncio.TaskGroup) -> None:
        now = asyncio.get_running_loop().time
        running = group.create_task(keeping.run())
        began = now()
        await quarantine(store, 3, 4)
        await quarantine(store, 9, chassis="hv2")
        await until(lambda: emptied.zones == [3, 4])
        assert now() < began + 1
        first = now()
        await quarantine(store, 5)
        await until(lambda: not held(store))
        assert now() > first + AGAIN_S
        assert emptied.zones[2:3] == [5], "each has its own time"
        assert sorted(emptied.zones) == [3, 3, 4, 4, 5, 5]
        assert held(store, "hv2") == [9]
        running.cancel()

    played(emptied, story)


def test_a_restart_begins_at_the_beginning() -> None:
    emptied = Emptied()

    async def story(store: Store, keeping: Zones, group: asyncio.TaskGroup) -> None:
        await quarantine(store, 3)
        for _ in range(2):
            keeping = Zones(store, "hv1", emptied, keeping.changed, again_s=2.5 * AGAIN_S)
            running = group.create_task(keeping.run())
            await asyncio.sleep(1.5 * AGAIN_S)
            running.cancel()
        assert emptied.zones == [3, 3]
        assert held(store) == [3]

    played(emptied, story)


def test_zones_of_a_switch_that_keeps_going_away_are_released_in_time() -> None:
    """What is in quarantine would be more and more else."""
    emptied = Emptied()

    async def story(store: Store, keeping: Zones, group: asyncio.TaskGroup) -> None:
        await quarantine(store, 3)
        first = asyncio.get_running_loop().time()
        for _ in range(3):
            back = Zones(store, "hv1", emptied, keeping.changed, keeping.emptied, again_s=AGAIN_S, back_s=BACK_S)
            running = group.create_task(back.run())
            await asyncio.sleep(0.75 * BACK_S)
            running.cancel()
        running = group.create_task(keeping.run())
        await until(lambda: not held(store) and not keeping.emptied)
        assert asyncio.get_running_loop().time() > first + AGAIN_S
        assert emptied.zones == [3, 3]
        running.cancel()

    played(emptied, story)


def test_a_zone_whose_time_ended_while_its_switch_was_away_is_kept_until_that_has_settled() -> None:
    emptied = Emptied()

    async def story(store: Store, keeping: Zones, group: asyncio.TaskGroup) -> None:
        await quarantine(store, 3)
        now = asyncio.get_running_loop().time
        keeping.emptied[3] = now() - AGAIN_S
        began = now()
        running = group.create_task(keeping.run())
        await until(lambda: not held(store))
        assert now() >= began + BACK_S
        assert emptied.zones == [3]
        running.cancel()

    played(emptied, story)


def test_zones_that_a_switch_does_not_empty_stay_in_quarantine_and_that_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story(store: Store, keeping: Zones, group: asyncio.TaskGroup) -> None:
        running = group.create_task(keeping.run())
        await quarantine(store, 3)
        await asyncio.sleep(AGAIN_S)
        await quarantine(store, 4)
        await asyncio.sleep(AGAIN_S)
        assert held(store) == [3, 4]
        running.cancel()

    played(Emptied(refuses=True), story)
    assert len([line for line in caplog.messages if "stay in quarantine chassis=hv1" in line]) == 1


def test_zones_stay_in_quarantine_while_the_store_cannot_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.southbound.zones.RETRY_S", 0.1)
    journal = Forgetful()

    async def story(store: Store, keeping: Zones, group: asyncio.TaskGroup) -> None:
        running = group.create_task(keeping.run())
        await quarantine(store, 3)
        journal.broken = True
        await asyncio.sleep(2 * AGAIN_S)
        assert held(store) == [3]
        journal.broken = False
        await until(lambda: not held(store))
        running.cancel()

    played(Emptied(), story, journal)


def test_a_zone_that_comes_back_is_emptied_twice_again() -> None:
    emptied = Emptied()

    async def story(store: Store, keeping: Zones, group: asyncio.TaskGroup) -> None:
        running = group.create_task(keeping.run())
        await quarantine(store, 3)
        await until(lambda: not held(store))
        await quarantine(store, 3)
        await until(lambda: not held(store))
        assert emptied.zones == [3] * 4
        running.cancel()

    played(emptied, story)


def test_a_zone_that_was_released_while_its_switch_went_away_is_emptied_twice_when_it_comes_back() -> None:
    """The store writes what it was told to, also when nobody waits for it any more."""

    class LeftAtOnce(Emptied):
        """A switch that goes away as soon as it has emptied zones for the second time."""

        async def __call__(self, zones: Sequence[int]) -> None:
            await super().__call__(zones)
            if len(self.zones) == 2:
                asyncio.get_running_loop().call_soon(connections[0].cancel)

    emptied, connections = LeftAtOnce(), list[asyncio.Task[None]]()

    async def story(store: Store, keeping: Zones, group: asyncio.TaskGroup) -> None:
        connections.append(group.create_task(keeping.run()))
        await quarantine(store, 3)
        await until(lambda: connections[0].cancelled() and not held(store))
        assert emptied.zones == [3, 3]
        await quarantine(store, 3)
        back = Zones(store, "hv1", emptied, keeping.changed, keeping.emptied, again_s=AGAIN_S, back_s=BACK_S)
        connections.append(group.create_task(back.run()))
        await until(lambda: not held(store))
        assert emptied.zones == [3] * 4
        connections[1].cancel()

    played(emptied, story)
