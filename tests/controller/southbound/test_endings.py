"""Guests and hypervisors that come and go leave nothing behind in the controller, and connections go when they end."""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter
from collections.abc import Awaitable, Callable

from apps import APPS
from controller.flows.engine import Engine
from controller.model import security
from controller.model.records import Chassis, Port, Quarantine, SecurityGroup
from controller.model.store import MemoryJournal, Store, Transaction
from controller.southbound.fleet import Fleet
from controller.southbound.ovsdb import OvsdbListener
from controller.southbound.switch import OpenflowListener
from controller.southbound.told import State
from tests.benchmarks.fakes import Guest, Hypervisor, Spec
from tests.census import is_ours, remembered
from tests.cloud import egress, group, ingress, network, no_port, port

PATIENCE_S = 20.0
ROUNDS = 4

Story = Callable[[Fleet, Store, Hypervisor], Awaitable[None]]


def played(story: Story) -> None:
    """Run a story with all of a controller but its API, and one hypervisor on two sockets, which forwards nothing."""

    async def run() -> None:
        store = await Store.open(MemoryJournal())
        fleet = Fleet(store, Engine(store.model, APPS))
        store.follow(fleet.follow)
        openflow = OpenflowListener()
        hypervisor = Hypervisor(Spec("hv1", "192.0.2.1", ()))
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(each) for each in (store.run(), fleet.neighbours.run())]
            running.append(tasks.create_task(openflow.serve("127.0.0.1", 0, fleet.attend)))
            await openflow.ready.wait()
            databases = OvsdbListener(fleet, openflow.port)
            running.append(tasks.create_task(databases.serve("127.0.0.1", 0)))
            await databases.listening.wait()
            running += [tasks.create_task(hypervisor.keep_database(databases.port))]
            running += [tasks.create_task(hypervisor.keep_switch())]
            await until(lambda: in_step(fleet, store))
            await store.commit(network("red", 100))
            await story(fleet, store, hypervisor)
            for each in running:
                each.cancel()
        await store.close()

    asyncio.run(run())


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not true():  # noqa: ASYNC110 what is waited for sets no event
            await asyncio.sleep(0.01)


def in_step(fleet: Fleet, store: Store) -> bool:
    return store.model.get(Chassis, "hv1") is not None and fleet.status("hv1").state is State.IN_STEP


async def guest_comes_and_goes(fleet: Fleet, store: Store, hypervisor: Hypervisor, turn: int) -> None:
    """A port in a group of its own is made, plugged in, taken out and deleted, with its group."""
    vm, web = f"vm{turn}", f"web{turn}"
    rules = group(web, egress(), ingress("tcp", 80, remote_ip_prefix=f"198.51.100.{turn}/32"))
    made = port(vm, "red", f"02:00:00:00:00:{turn:02x}", f"10.0.0.{turn}", groups=[web])
    await store.commit(lambda tx: [work(tx) for work in (rules, made)])
    guest = Guest(f"tap{turn}", vm)
    hypervisor.plug([guest])
    await until(lambda: fleet.readiness.acknowledged(Port, vm, "hv1"))
    hypervisor.unplug([guest])
    await until(lambda: store.model.count(Quarantine, chassis="hv1") == 1)

    def gone(tx: Transaction) -> None:
        no_port(vm)(tx)
        security.remove_group(tx, tx.need(SecurityGroup, web))
        for zone in tx.all(Quarantine):  # its switch has forgotten connections by then
            tx.delete(Quarantine, zone.id)

    await store.commit(gone)
    await until(lambda: in_step(fleet, store))


async def starts_again(fleet: Fleet, store: Store, hypervisor: Hypervisor) -> None:
    """Both connections of the hypervisor end, and begin."""
    before = fleet.status("hv1").member.switch
    hypervisor.restart()
    await until(lambda: fleet.status("hv1").member.switch not in (before, None) and in_step(fleet, store))


def test_guests_and_connections_that_come_and_go_leave_nothing_behind() -> None:
    async def story(fleet: Fleet, store: Store, hypervisor: Hypervisor) -> None:
        async def turns(first: int, last: int) -> None:
            for turn in range(first, last):
                await guest_comes_and_goes(fleet, store, hypervisor, turn)
                await starts_again(fleet, store, hypervisor)
            await asyncio.sleep(0.5)  # conntrack zones are emptied, acknowledgements gathered

        await turns(1, 3)
        before = remembered()
        await turns(3, 3 + ROUNDS)
        assert await left_behind(before) == Counter()

    played(story)


async def left_behind(before: Counter[str]) -> Counter[str]:
    """What is remembered now and was not, once what is still to be done by itself is done."""
    ending = time.monotonic() + PATIENCE_S / 2
    while (more := remembered() - before) and time.monotonic() < ending:  # noqa: ASYNC110 nothing tells
        await asyncio.sleep(0.1)
    return more


def test_what_a_connection_held_goes_with_it_and_waits_for_no_collector() -> None:
    async def story(fleet: Fleet, store: Store, hypervisor: Hypervisor) -> None:
        await guest_comes_and_goes(fleet, store, hypervisor, 1)
        await starts_again(fleet, store, hypervisor)
        gc.collect()
        gc.disable()
        try:
            for _ in range(2):
                await starts_again(fleet, store, hypervisor)
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            found = Counter(type(each).__qualname__ for each in gc.garbage if is_ours(type(each).__module__))
        finally:
            gc.set_debug(0)
            gc.enable()
            gc.garbage.clear()
        assert found == Counter()

    played(story)
