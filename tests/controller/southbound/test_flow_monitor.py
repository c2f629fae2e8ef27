"""What others do to a switch is noticed, once and whole; what we do is not; what is only theirs is only remembered."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import struct
from collections.abc import Awaitable, Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import Malformed
from controller.flows.pipeline import FLOOD, OWNER
from controller.southbound import messages as of
from controller.southbound import pace as pace_module
from controller.southbound.openflow import EncodedFlow, encode_flow
from controller.southbound.pace import Pace
from controller.southbound.reconcile import Plan, full
from controller.southbound.switch import Switch
from controller.southbound.watch import Tampering
from tests.controller.southbound.switches import (
    APP,
    Bridge,
    OpenVSwitch,
    Peer,
    a_network,
    complaints,
    delivered,
    on_false,
    on_real,
    reconcile,
    until,
)

QUIET_S = 0.5
"""So long after a change nothing more is reported: more than twice `SETTLE_S`."""
DESIRED = a_network(5)
FIRST = encode_flow(delivered(1), APP)
"""The flow of table 50 that outputs to port 1."""


def on_watched(ovs: OpenVSwitch, test: Callable[[Switch, Bridge, list[Tampering]], Awaitable[None]]) -> None:
    """Run a test on a real switch that is watched and holds DESIRED; nothing was reported so far."""

    async def session(switch: Switch, bridge: Bridge) -> None:
        seen: list[Tampering] = []

        async def report(tampering: Tampering) -> None:
            seen.append(tampering)

        switch.on_tampered(report)
        assert await switch.watch()
        await reconcile(switch, DESIRED)
        await asyncio.sleep(QUIET_S)
        assert seen == []
        await test(switch, bridge, seen)

    on_real(ovs, session)


# ---- a real switch -----------------------------------------------------------------------------------------------

HARM = {
    "all flows deleted": ["del-flows"],
    "a flow deleted": ["del-flows", "table=50,reg2=1"],
    "a flow altered": ["mod-flows", "table=50,reg2=1 actions=drop"],
    "a flow altered in a bundle": ["mod-flows", "--bundle", "table=50,reg2=1 actions=drop"],
    "a flow added under our cookie": ["add-flow", f"table=50,priority=1,cookie={OWNER << 56},actions=drop"],
    "all groups deleted": ["del-groups"],
    "a group deleted": ["del-groups", f"group_id={FLOOD.id(7)}"],
    "a group altered": ["mod-group", f"group_id={FLOOD.id(7)},type=all"],
    "a group altered in a bundle": ["mod-group", "--bundle", f"group_id={FLOOD.id(7)},type=all"],
    "a group added under our number": ["add-group", f"group_id={FLOOD.id(8)},type=all"],
}


@pytest.mark.ovs
@pytest.mark.parametrize("command", HARM.values(), ids=HARM)
def test_what_others_do_to_ours_is_reported_and_then_can_be_undone(ovs: OpenVSwitch, command: list[str]) -> None:
    async def test(switch: Switch, bridge: Bridge, seen: list[Tampering]) -> None:
        await bridge.ofctl(*command)
        await until(lambda: bool(seen))
        assert [each.own for each in seen] == [True]
        assert (await reconcile(switch, DESIRED)).steps != ()
        await asyncio.sleep(QUIET_S)
        assert len(seen) == 1
        assert full(DESIRED, await switch.dump()) == Plan()

    on_watched(ovs, test)


REPLACEMENTS = {
    "added in its place": ["add-flow", "table=50,priority=100,reg2=1,cookie=0x77,actions=drop"],
    "with another cookie, by 1.0": ["mod-flows", "-O", "OpenFlow10", "table=50,reg2=1,cookie=0x77,actions=drop"],
}


@pytest.mark.ovs
@pytest.mark.parametrize("command", REPLACEMENTS.values(), ids=REPLACEMENTS)
@pytest.mark.parametrize("removed", [False, True], ids=["stays", "is removed"])
def test_a_flow_of_others_in_the_place_of_ours_is_named_even_when_it_is_gone_again(
    ovs: OpenVSwitch, command: list[str], removed: bool
) -> None:
    async def test(switch: Switch, bridge: Bridge, seen: list[Tampering]) -> None:
        await bridge.ofctl(*command)
        if removed:
            await bridge.ofctl("del-flows", "cookie=0x77/-1")
        await until(lambda: bool(seen))
        named = {key for each in seen for key in each.keys}
        assert named == {FIRST.key}
        assert set(switch.foreign) == (set() if removed else named)
        await reconcile(switch, DESIRED)
        assert switch.foreign == {}

    on_watched(ovs, test)


@pytest.mark.ovs
def test_what_we_do_is_not_reported(ovs: OpenVSwitch) -> None:
    async def test(switch: Switch, _bridge: Bridge, seen: list[Tampering]) -> None:
        for guests in (9, 0, 4):
            await reconcile(switch, a_network(guests))
        await reconcile(switch, [])
        await asyncio.sleep(QUIET_S)
        assert (seen, switch.foreign) == ([], {})

    on_watched(ovs, test)


@pytest.mark.ovs
def test_flows_of_others_are_known_without_a_dump_and_as_a_dump_would_show_them(ovs: OpenVSwitch) -> None:
    async def test(switch: Switch, bridge: Bridge, seen: list[Tampering]) -> None:
        lines = [f"cookie={n},table={n % 60},priority={n % 9},reg1={n}/0xffff,actions=drop" for n in range(1_000)]
        burst = ovs.directory / "burst"
        burst.write_text("\n".join(lines))
        dumps = switch.counters.dumps
        await bridge.ofctl("add-flows", str(burst))
        await until(lambda: len(switch.foreign) == 1_000)
        await bridge.ofctl("mod-flows", "table=7 actions=resubmit(,8)")
        await bridge.ofctl("del-flows", "cookie=999/-1")
        await until(lambda: len(switch.foreign) == 999)
        await asyncio.sleep(QUIET_S)
        assert switch.counters.dumps == dumps
        assert not any(each.own for each in seen)
        known = dict(switch.foreign)
        assert known == {flow.key: flow for flow in (await switch.dump()).foreign}
        assert switch.foreign == known

    on_watched(ovs, test)


@pytest.mark.ovs
def test_a_known_flow_of_others_is_no_news(ovs: OpenVSwitch) -> None:
    async def test(switch: Switch, bridge: Bridge, seen: list[Tampering]) -> None:
        flow = "cookie=0x77,table=9,priority=7,in_port=99"
        await bridge.ofctl("add-flow", f"{flow},actions=drop")
        await until(lambda: bool(seen))
        (key,) = switch.foreign
        assert seen == [Tampering(keys=frozenset({key}))]
        await bridge.ofctl("add-flow", f"{flow},actions=1")
        await bridge.ofctl("mod-flows", "table=9,in_port=99,actions=2")
        await until(lambda: b"\0\0\0\2" in switch.foreign[key].instructions)
        await bridge.ofctl("del-flows", "table=9")
        await until(lambda: not switch.foreign)
        await asyncio.sleep(QUIET_S)
        assert len(seen) == 1

    on_watched(ovs, test)


@pytest.mark.ovs
def test_flows_of_others_that_go_with_a_group_or_by_themselves_are_forgotten(ovs: OpenVSwitch) -> None:
    async def test(switch: Switch, bridge: Bridge, seen: list[Tampering]) -> None:
        await bridge.ofctl("add-group", "group_id=9,type=all")
        await until(lambda: seen == [Tampering(foreign_groups=True)])
        await bridge.ofctl("add-flow", "table=9,in_port=98,actions=group:9")
        await bridge.ofctl("add-flow", "table=9,in_port=99,hard_timeout=1,actions=drop")
        await until(lambda: len(switch.foreign) == 2)
        await bridge.ofctl("del-groups", "group_id=9")
        await until(lambda: not switch.foreign)
        assert not any(each.own for each in seen)

    on_watched(ovs, test)


@pytest.mark.ovs
def test_ports_are_told_as_before(ovs: OpenVSwitch) -> None:
    async def test(switch: Switch, bridge: Bridge, _seen: list[Tampering]) -> None:
        told: list[int] = []

        async def report(ports: Mapping[str, int]) -> None:
            told.append(len(ports))

        switch.on_ports(report)
        await switch.ports()
        await bridge.plug(f"{bridge.name}-a", 11)
        await until(lambda: told[-1:] == [2])

    on_watched(ovs, test)


# ---- a false switch ----------------------------------------------------------------------------------------------

MONITORED, METER_MOD = 16, 29  # ofp_multipart_type and ofp_type
FULL = struct.Struct("!HHBBHHH4xQ")


def update(event: int, flow: EncodedFlow) -> bytes:
    """An ofp_flow_update_full (OpenFlow 1.4.1 section 7.3.5.15)."""
    rest = flow.match + flow.instructions
    return FULL.pack(24 + len(rest), event, flow.table, 0, 0, 0, flow.priority, flow.cookie) + rest


def with_match(kind: int, length: int) -> bytes:
    """An update of 32 bytes whose match claims something."""
    return FULL.pack(32, of.OFPFME_ADDED, 0, 0, 0, 0, 0, 0) + struct.pack("!HH4x", kind, length)


def short(event: int) -> bytes:
    """An ofp_flow_update_abbrev or ofp_flow_update_paused."""
    return struct.pack("!HHI", 8, event, 0)


def updates(*payload: bytes) -> bytes:
    return of.message(of.OFPT_MULTIPART_REPLY, 0, struct.pack("!HH4x", MONITORED, 0) + b"".join(payload))


def forwarded(kind: int, body: bytes) -> bytes:
    return of.message(of.OFPT_REQUESTFORWARD, 0, of.message(kind, 0, body))


def group_mod(id: int) -> bytes:
    return forwarded(of.OFPT_GROUP_MOD, struct.pack("!HBxI", 1, 0, id))


def others(cookie: int, table: int = 9) -> EncodedFlow:
    return EncodedFlow.of(table, 1, FIRST.match, b"", cookie)


def told(*said: bytes, gap_s: float = 0.0, wait: int = 1) -> list[Tampering] | BaseException:
    """What is reported when a switch that is watched says something; at least `wait` reports."""

    async def says(peer: Peer) -> None:
        await peer.expect(of.OFPT_SET_ASYNC)
        xid, _ = await peer.expect(of.OFPT_MULTIPART_REQUEST)
        peer.parts(xid, MONITORED, b"")
        for each in said:
            peer.send(each)
            await asyncio.sleep(gap_s)

    async def session(switch: Switch) -> list[Tampering]:
        seen: list[Tampering] = []

        async def report(tampering: Tampering) -> None:
            seen.append(tampering)

        switch.on_tampered(report)
        assert await switch.watch()
        await until(lambda: len(seen) >= wait)
        await asyncio.sleep(QUIET_S)
        return seen

    return on_false(says, session)


def test_after_a_pause_anything_may_have_happened() -> None:
    assert told(updates(short(of.OFPFME_PAUSED)), updates(short(of.OFPFME_RESUMED))) == [Tampering(own=True)]


def test_nothing_is_reported_while_the_monitor_pauses() -> None:
    assert told(updates(short(of.OFPFME_ABBREV), short(of.OFPFME_PAUSED)), wait=0) == []


def test_what_comes_together_is_reported_together() -> None:
    theirs = [update(of.OFPFME_ADDED, others(0, table)) for table in range(100)]
    (seen,) = told(updates(*theirs[:50]), group_mod(9), updates(*theirs[50:]))  # type: ignore[misc]
    assert seen == Tampering(keys=frozenset(others(0, table).key for table in range(100)), foreign_groups=True)


def test_there_is_one_report_at_a_time_and_the_next_has_all_that_came_meanwhile() -> None:
    running, most, seen = 0, 0, list[Tampering]()

    async def says(peer: Peer) -> None:
        await peer.expect(of.OFPT_SET_ASYNC)
        xid, _ = await peer.expect(of.OFPT_MULTIPART_REQUEST)
        peer.parts(xid, MONITORED, b"")
        for table in range(40):
            peer.send(updates(update(of.OFPFME_ADDED, others(0, table))))
            await asyncio.sleep(0.03)

    async def session(switch: Switch) -> None:
        async def report(tampering: Tampering) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.5)
            seen.append(tampering)
            running -= 1

        switch.on_tampered(report)
        await switch.watch()
        await until(lambda: sum(len(each.keys) for each in seen) == 40)

    assert on_false(says, session) is None
    assert most == 1
    assert len(seen) <= 5


def test_too_many_suspects_are_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.southbound.watch.SUSPECTS", 10)
    some = [update(of.OFPFME_ADDED, others(0, table)) for table in range(11)]
    assert told(updates(*some)) == [Tampering(own=True)]


def test_a_meter_of_others_is_no_news() -> None:
    assert told(forwarded(METER_MOD, bytes(8)), wait=0) == []


@pytest.mark.parametrize(
    ("id", "own", "foreign"), [(9, False, True), (FLOOD.id(9), True, False), (of.OFPG_ALL, True, True)]
)
def test_a_group_is_ours_by_its_id(id: int, own: bool, foreign: bool) -> None:
    assert told(group_mod(id)) == [Tampering(own=own, foreign_groups=foreign)]


@pytest.mark.parametrize("event", [of.OFPFME_ADDED, of.OFPFME_REMOVED, of.OFPFME_MODIFIED])
def test_a_cookie_of_ours_makes_any_event_our_concern(event: int) -> None:
    assert told(updates(update(event, FIRST))) == [Tampering(own=True)]


LIES = {
    "a flow update ends after 2 of 4 bytes": updates(b"\0\x08"),
    "a flow update of kind 5 claims 0 bytes of 8": updates(struct.pack("!HHI", 0, of.OFPFME_PAUSED, 0)),
    "a flow update of kind 5 claims 16 bytes of 8": updates(struct.pack("!HHI", 16, of.OFPFME_PAUSED, 0)),
    "a flow update of kind 1 claims 8 bytes of 8": updates(struct.pack("!HHI", 8, of.OFPFME_ADDED, 0)),
    "a flow update of kind 2 claims 24 bytes of 24": updates(FULL.pack(24, of.OFPFME_REMOVED, 0, 0, 0, 0, 0, 0)),
    "a flow update of 32 bytes has a match of type 1 and 9 bytes": updates(with_match(1, 9)),
    "a flow update of 32 bytes has a match of type 1 and 0 bytes": updates(with_match(1, 0)),
    "a flow update of 32 bytes has a match of type 0 and 4 bytes": updates(with_match(0, 4)),
    "a flow update of unknown kind 7": updates(short(7)),
    "a header ends after 0 of 8 bytes": of.message(of.OFPT_REQUESTFORWARD, 0),
    "a forwarded message of 90 bytes has 8": of.message(of.OFPT_REQUESTFORWARD, 0, struct.pack("!BBHI", 5, 15, 90, 0)),
    "a forwarded group-mod ends after 2 of 8 bytes": forwarded(of.OFPT_GROUP_MOD, b"\0\0"),
}


@pytest.mark.parametrize(("complaint", "said"), LIES.items(), ids=LIES)
def test_an_update_that_lies_ends_the_connection(caplog: pytest.LogCaptureFixture, complaint: str, said: bytes) -> None:
    told(said)
    (line,) = complaints(caplog)
    assert line.startswith("switch dropped peer=127.0.0.1:")
    assert line.endswith(f"sent what cannot be read: {complaint}.")


@given(st.lists(st.one_of(st.binary(max_size=60), st.builds(update, st.integers(0, 3), st.just(FIRST)))))
def test_decoders_of_updates_raise_malformed_or_nothing(parts: list[bytes]) -> None:
    for decode in (of.decode_flow_updates, of.decode_request_forward):
        with contextlib.suppress(Malformed):
            decode(b"".join(parts))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 254), st.integers(0, 2**64 - 1)), max_size=9))
def test_updates_are_read_as_they_were_written(said: list[tuple[int, int, int]]) -> None:
    flows = [
        (event, EncodedFlow.of(table, 1, FIRST.match, FIRST.instructions, cookie)) for event, table, cookie in said
    ]
    mixed = itertools.chain.from_iterable((update(event, flow), short(of.OFPFME_ABBREV)) for event, flow in flows)
    found = [each for each in of.decode_flow_updates(b"".join(mixed)) if each.event != of.OFPFME_ABBREV]
    assert [(each.event, EncodedFlow.of(each.table, each.priority, each.match, each.instructions, each.cookie))
            for each in found] == flows  # fmt: skip


def test_a_switch_that_has_no_monitor_is_used_without_and_named(caplog: pytest.LogCaptureFixture) -> None:
    async def refuses(peer: Peer) -> None:
        for _ in range(2):
            head, body = await peer.hear()
            peer.answer(of.OFPT_ERROR, head.xid, struct.pack("!HH", 1, 2) + body[:64])
        xid, _ = await peer.expect(of.OFPT_BARRIER_REQUEST)
        peer.answer(of.OFPT_BARRIER_REPLY, xid)

    async def session(switch: Switch) -> bool:
        can = await switch.watch()
        await switch.barrier()
        return can

    assert on_false(refuses, session) is False
    assert "switch tells no changes of others switch=0000000000000001 error=OFPET_BAD_REQUEST/OFPBRC_BAD_MULTIPART" in (
        complaints(caplog)
    )


# ---- who does not give in ----------------------------------------------------------------------------------------


def test_who_keeps_tampering_is_answered_ever_later_and_named_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr("controller.southbound.pace.time.monotonic", lambda: now)
    pace = Pace()
    waits = []
    for _ in range(9):
        waits.append(max(0.0, round(pace.wait_s(), 3)))
        now += waits[-1]
        pace.healed()
    assert waits == [0, 0.2, 0.4, 0.8, 1.6, 3, 3, 3, 3]
    assert pace.problem == "Somebody else keeps changing its flows: they were healed 9 times in a row."
    now += pace_module.CALM_S + 1
    assert (pace.problem, pace.wait_s() <= 0) == ("", True)
    pace.healed()
    assert (pace.in_a_row, pace.problem) == (1, "")
