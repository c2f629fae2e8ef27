"""A real Open vSwitch is brought to hold what it should."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping

import pytest

from controller.flows.match import ANY
from controller.flows.pipeline import DROP, FLOOD
from controller.southbound import messages as of
from controller.southbound.oxm import encode_match
from controller.southbound.probes import add
from controller.southbound.reconcile import Installed, Plan, full, partial
from controller.southbound.switch import Switch
from tests.controller.southbound.switches import (
    UNPREPARED,
    Bridge,
    OpenVSwitch,
    a_network,
    delivered,
    entries,
    everybody,
    flooded,
    forever,
    guest,
    listening,
    on_real,
    reconcile,
    run,
    until,
)


@pytest.mark.ovs
def test_a_switch_says_who_it_is_and_which_ports_it_has(ovs: OpenVSwitch) -> None:
    async def session(switch: Switch, bridge: Bridge) -> None:
        told: list[Mapping[str, int]] = []

        async def report(ports: Mapping[str, int]) -> None:
            told.append(ports)

        name = bridge.name
        switch.on_ports(report)
        assert await switch.ports() == {name: of.OFPP_LOCAL}
        await bridge.plug(f"{name}-a", 11)
        await bridge.plug(f"{name}-b", 12)
        await until(lambda: told[-1:] == [{name: of.OFPP_LOCAL, f"{name}-a": 11, f"{name}-b": 12}])
        await bridge.ctl("del-port", f"{name}-a")
        await until(lambda: told[-1] == {name: of.OFPP_LOCAL, f"{name}-b": 12})
        assert await switch.ports() == told[-1]
        assert f"{switch.datapath_id:016x}" in await bridge.ofctl("show")

    on_real(ovs, session)


@pytest.mark.ovs
def test_what_is_installed_reads_back_and_a_second_time_nothing_is_sent(ovs: OpenVSwitch) -> None:
    desired = a_network(200)

    async def first(switch: Switch, _bridge: Bridge) -> None:
        assert await switch.dump() == Installed({}, {})
        plan = full(desired, await switch.dump())
        applied = await switch.apply(plan)
        assert (applied.flow_mods, applied.group_mods, applied.bundles) == (401, 1, 1)
        sizes = [len(of.bundle_add(1, 1, step.message(1))) for step in plan.steps]
        assert applied.mods_bytes == switch.counters.mods_bytes == sum(sizes)

    async def second(switch: Switch, _bridge: Bridge) -> None:
        plan = full(desired, await switch.dump())
        assert plan == Plan()
        sent = switch.counters.bytes_sent
        await switch.apply(plan)
        assert (switch.counters.mods_bytes, switch.counters.bytes_sent) == (0, sent)

    on_real(ovs, first, second)


@pytest.mark.ovs
def test_a_long_first_programming_goes_in_parts(ovs: OpenVSwitch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Plan.parts, "__defaults__", (100,))

    async def session(switch: Switch, _bridge: Bridge) -> None:
        assert (await switch.apply(full(a_network(200), await switch.dump()))).bundles == 4
        assert full(a_network(200), await switch.dump()) == Plan()

    on_real(ovs, session)


@pytest.mark.ovs
def test_changes_arrive(ovs: OpenVSwitch) -> None:
    async def session(switch: Switch, bridge: Bridge) -> None:
        await reconcile(switch, a_network(3))
        was = {entry.key: entry for entry in a_network(3)}
        desired = {entry.key: entry for entry in a_network(2)}
        changes = {key: desired.get(key) for key in was if was[key] != desired.get(key)}
        assert len(changes) == 3
        await switch.apply(partial(changes))
        assert full(desired.values(), await switch.dump()) == Plan()
        await switch.apply(partial(dict.fromkeys(desired)))
        assert await switch.dump() == Installed({}, {})
        assert await bridge.ofctl("dump-flows") == "OFPST_FLOW reply (OF1.4) (xid=0x2):\n"

    on_real(ovs, session)


@pytest.mark.ovs
def test_what_was_done_by_hand_is_undone_and_what_is_of_others_stays(ovs: OpenVSwitch) -> None:
    desired = a_network(5)

    async def session(switch: Switch, bridge: Bridge) -> None:
        await reconcile(switch, desired)
        await bridge.ofctl("del-flows", "table=50")
        await bridge.ofctl("mod-flows", "table=0,in_port=3 actions=drop")
        await bridge.ofctl("add-flow", "table=0,cookie=0x77,priority=7,in_port=99 actions=drop")
        await bridge.ofctl("add-flow", f"table=0,cookie={0xA7 << 56},priority=8,in_port=99 actions=drop")
        await bridge.ofctl("add-flow", "table=0,cookie=0,priority=100,in_port=4 actions=drop")
        await bridge.ofctl("mod-group", f"group_id={FLOOD.id(7)},type=all")
        await bridge.ofctl("add-group", "group_id=9,type=all")
        plan = await reconcile(switch, desired)
        assert [step.text for step in plan.steps] == [
            str(everybody(7, 1, 2, 3, 4, 5)),
            *(str(delivered(port)) for port in range(1, 6)),
            str(guest(3)),
            str(guest(4)),
            "removal of table=0,priority=8,match=0001000c800000040000006300000000",
        ]
        assert [flow.cookie for flow in plan.replaced] == [0]
        installed = await switch.dump()
        assert full(desired, installed) == Plan()
        assert [flow.cookie for flow in installed.foreign] == [0x77]
        await switch.watch()
        await switch.push(bytearray(add(switch.xid(), DROP.number, encode_match(ANY))))
        await bridge.ofctl("add-flow", "table=0,cookie=0x78,priority=7,in_port=98 actions=drop")
        assert "cookie=0x57454654" in await bridge.ofctl("dump-flows")
        await until(lambda: 0x78 in {flow.cookie for flow in switch.foreign.values()})
        told, dumped = switch.foreign.values(), (await switch.dump()).foreign
        assert {flow.cookie for flow in told} == {flow.cookie for flow in dumped} == {0x77, 0x78}
        assert [group.id for group in installed.foreign_groups] == [9]

    on_real(ovs, session)


@pytest.mark.ovs
def test_a_flow_refused_at_commit_keeps_no_other_from_the_switch(ovs: OpenVSwitch) -> None:
    async def session(switch: Switch, _bridge: Bridge) -> None:
        desired = a_network(5)
        applied = await switch.apply(full([*desired, *entries(flooded(8))], await switch.dump()))
        (refusal,) = applied.refusals
        assert (refusal.key, refusal.what) == (flooded(8).key, str(flooded(8)))
        assert refusal.error == "OFPET_BAD_ACTION/OFPBAC_BAD_OUT_GROUP"
        assert (applied.flow_mods, applied.group_mods, applied.bundles) == (11, 1, 1)
        assert full(desired, await switch.dump()) == Plan()

    on_real(ovs, session)


@pytest.mark.ovs
def test_a_flow_refused_at_once_keeps_no_other_from_the_switch(ovs: OpenVSwitch) -> None:
    async def session(switch: Switch, _bridge: Bridge) -> None:
        desired = a_network(5)
        applied = await switch.apply(full([*desired, *entries(UNPREPARED)], await switch.dump()))
        (refusal,) = applied.refusals
        assert (refusal.key, refusal.what) == (UNPREPARED.key, str(UNPREPARED))
        assert refusal.error == "OFPET_BAD_MATCH/OFPBMC_BAD_PREREQ"
        assert full(desired, await switch.dump()) == Plan()
        assert switch.counters.errors == 1

    on_real(ovs, session)


@pytest.mark.ovs
def test_many_refused_flows_are_all_named(ovs: OpenVSwitch) -> None:
    async def session(switch: Switch, _bridge: Bridge) -> None:
        desired, bad = a_network(50), [flooded(net) for net in range(100, 130)]
        mixed = [entry for pair in itertools.zip_longest(desired, entries(*bad, UNPREPARED)) for entry in pair if entry]
        applied = await switch.apply(full(mixed, await switch.dump()))
        assert {refusal.key for refusal in applied.refusals} == {flow.key for flow in (*bad, UNPREPARED)}
        assert full(desired, await switch.dump()) == Plan()

    on_real(ovs, session)


@pytest.mark.ovs
def test_a_crashed_switch_comes_back_empty_and_is_programmed_again(ovs: OpenVSwitch) -> None:
    async def test() -> None:
        seen: list[int] = []

        async def on_switch(switch: Switch) -> None:
            seen.append(len((await switch.dump()).flows))
            await reconcile(switch, a_network(5))
            seen.append(len((await switch.dump()).flows))
            await forever(switch)

        async with listening(on_switch) as listener:
            bridge = await asyncio.to_thread(ovs.bridge, listener.port)
            await until(lambda: seen == [0, 11])
            await asyncio.to_thread(ovs.crash)
            await asyncio.to_thread(ovs.start)
            await until(lambda: seen == [0, 11, 0, 11])
        await bridge.ctl("del-br", bridge.name)

    run(test())
