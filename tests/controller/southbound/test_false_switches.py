"""Switches that lie, are silent or refuse harm nobody, and are told of in one line."""

from __future__ import annotations

import asyncio
import contextlib
import re
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import Disconnected, Malformed, Rejected
from controller.flows.flow import Entry
from controller.southbound import messages as of
from controller.southbound import switch as module
from controller.southbound.openflow import encode_flow
from controller.southbound.reconcile import AddFlow, Installed, Plan, full, partial
from controller.southbound.switch import Switch
from tests.controller.southbound.switches import (
    APP,
    FAST,
    FEATURES,
    HELLO,
    Peer,
    complaints,
    connected,
    delivered,
    entries,
    forever,
    listening,
    on_false,
    port,
    ports,
    run,
    until,
)


@pytest.mark.parametrize(
    ("greeting", "said"),
    [
        (struct.pack("!BBHI", 1, 0, 8, 1), "it offers OpenFlow 1.0, and Weft speaks 1.4 alone"),
        (struct.pack("!BBHI", 4, 0, 8, 1), "it offers OpenFlow 1.0, 1.1, 1.2, 1.3, and Weft speaks 1.4 alone"),
        (
            struct.pack("!BBHIHHI", 6, 0, 16, 1, 1, 8, 1 << 6 | 1 << 4),
            "it offers OpenFlow 1.3, 1.5, and Weft speaks 1.4 alone",
        ),
    ],
)
def test_who_does_not_offer_1_4_is_told_so(caplog: pytest.LogCaptureFixture, greeting: bytes, said: str) -> None:
    async def test() -> None:
        async with listening(forever) as listener, connected(listener) as peer:
            head, body = await peer.hear()
            assert (head.version, head.type) == (5, of.OFPT_HELLO)
            assert of.hello_versions(body) == {5}
            peer.send(greeting)
            _, body = await peer.expect(of.OFPT_ERROR)
            assert body == bytes(4) + said.encode()
            await peer.closed()

    run(test())
    (line,) = complaints(caplog)
    assert line.endswith(f"is disconnected: {said}.")


def test_a_greeting_without_a_bitmap_offers_all_versions_up_to_its_own() -> None:
    async def test() -> None:
        seen: list[int] = []

        async def on_switch(switch: Switch) -> None:
            seen.append(switch.datapath_id)

        async with listening(on_switch) as listener, connected(listener) as peer:
            peer.send(struct.pack("!BBHI", 6, 0, 8, 1))
            await peer.expect(of.OFPT_HELLO)
            xid, _ = await peer.expect(of.OFPT_FEATURES_REQUEST)
            peer.answer(of.OFPT_FEATURES_REPLY, xid, FEATURES.pack(42, 0, 254, 0, 0))
            await until(lambda: seen == [42])
            await peer.closed()  # nobody attends to it any more

    run(test())


def test_auxiliary_connections_are_not_taken(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with listening(forever) as listener, connected(listener) as peer:
            await peer.greet(auxiliary_id=1)
            await peer.closed()

    run(test())
    (line,) = complaints(caplog)
    assert line.endswith("auxiliary connections are not taken.")


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        (b"GET / HTTP/1.1\r\nHost: here\r\n\r\n", "a message of type 69 instead of a greeting"),
        (of.message(of.OFPT_ECHO_REQUEST, 1), "a message of type 2 instead of a greeting"),
        (struct.pack("!BBHI", 5, 0, 7, 1), "a message of 7 bytes is shorter than its own header"),
        (struct.pack("!BBHIHH", 5, 0, 12, 1, 1, 400), "a hello element claims 400 bytes of 4"),
        (HELLO + struct.pack("!BBHI", 4, 2, 8, 1), "a message of version 4 after 1.4 was agreed on"),
        (HELLO + struct.pack("!BBHI", 5, 2, 0, 1), "a message of 0 bytes is shorter than its own header"),
        (HELLO + of.message(of.OFPT_FEATURES_REPLY, 2, bytes(8)), "a features reply ends after 8 of 24 bytes"),
        (HELLO + of.message(of.OFPT_ERROR, 9, bytes(3)), "an error message ends after 3 of 4 bytes"),
        (HELLO + of.message(of.OFPT_PORT_STATUS, 9, bytes(20)), "a port ends after 12 of 40 bytes"),
    ],
)
def test_garbage_ends_one_connection_with_one_line(
    caplog: pytest.LogCaptureFixture, said: bytes, complaint: str
) -> None:
    async def test() -> None:
        ended: list[None] = []

        async def on_switch(switch: Switch) -> None:
            await switch.ports()
            ended.append(None)

        async with listening(on_switch) as listener, connected(listener) as good, connected(listener) as bad:
            await good.greet()
            xid, _ = await good.expect(of.OFPT_MULTIPART_REQUEST)
            bad.send(said)
            await bad.closed()
            assert ended == []
            good.parts(xid, of.OFPMP_PORT_DESC, b"")
            await until(lambda: bool(ended))

    run(test())
    (line,) = complaints(caplog)
    assert line.startswith("switch dropped peer=127.0.0.1:")
    assert line.endswith(f"sent what cannot be read: {complaint}.")


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (of.OFPMP_PORT_DESC, port(1, "a")[:-1]),
        (of.OFPMP_PORT_DESC, struct.pack("!IH34x", 1, 4)),
        (of.OFPMP_PORT_DESC, struct.pack("!IH34x", 1, 4_000)),
        (of.OFPMP_FLOW, struct.pack("!H54x", 0)),
        (of.OFPMP_FLOW, struct.pack("!H54x", 60_000)),
        (of.OFPMP_FLOW, struct.pack("!H46xHH4x", 56, 1, 60_000)),
        (of.OFPMP_GROUP_DESC, struct.pack("!H6x", 0)),
        (of.OFPMP_GROUP_DESC, struct.pack("!H6x", 60_000)),
    ],
)
def test_a_reply_that_lies_about_its_lengths_ends_the_connection(kind: int, payload: bytes) -> None:
    async def lies(peer: Peer) -> None:
        while True:
            xid, body = await peer.expect(of.OFPT_MULTIPART_REQUEST)
            asked = int.from_bytes(body[:2])
            peer.parts(xid, asked, payload if asked == kind else b"")

    async def session(switch: Switch) -> None:
        await switch.ports()
        await switch.dump()

    ending = on_false(lies, session)
    assert isinstance(ending, Malformed)
    assert ending.peer.startswith("Switch 0000000000000001 at 127.0.0.1:")


def test_a_reply_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_BYTES", 4_000)

    async def goes_on(peer: Peer) -> None:
        xid, _ = await peer.expect(of.OFPT_MULTIPART_REQUEST)
        peer.parts(xid, of.OFPMP_PORT_DESC, *[port(1, "a")] * 200)

    ending = on_false(goes_on, ports)
    assert isinstance(ending, Malformed)
    assert ending.reason == "an answer of more than 4000 bytes"


def test_a_dump_comes_in_parts() -> None:
    async def answers(peer: Peer) -> None:
        xid, _ = await peer.expect(of.OFPT_MULTIPART_REQUEST)
        peer.parts(xid, of.OFPMP_PORT_DESC, port(1, "a"), b"", port(2, "b"))

    assert on_false(answers, ports) == {"a": 1, "b": 2}


@pytest.mark.parametrize("said", [b"", HELLO])
def test_who_does_not_finish_the_handshake_is_dropped(caplog: pytest.LogCaptureFixture, said: bytes) -> None:
    async def test() -> None:
        async with listening(forever, replace(FAST, dead_s=5)) as listener, connected(listener) as peer:
            peer.send(said)
            await peer.closed()

    run(test())
    (line,) = complaints(caplog)
    assert line.endswith("no handshake within 0.5 s.")


def test_a_silent_switch_is_asked_and_then_given_up() -> None:
    heard: list[int] = []

    async def listens(peer: Peer) -> None:
        while True:
            head, _ = await peer.hear()
            heard.append(head.type)

    async def session(switch: Switch) -> None:
        try:
            await forever(switch)
        finally:
            times.append(time.monotonic())

    times = [time.monotonic()]
    assert isinstance(on_false(listens, session, FAST), asyncio.CancelledError)
    assert set(heard) == {of.OFPT_ECHO_REQUEST}
    assert 0.5 <= times[1] - times[0] < 1.5


def test_a_switch_that_answers_echoes_lives_and_is_answered() -> None:
    echoed: list[bytes] = []

    async def answers(peer: Peer) -> None:
        peer.answer(of.OFPT_ECHO_REQUEST, 77, b"anybody?")
        while True:
            head, body = await peer.hear()
            if head.type == of.OFPT_ECHO_REQUEST:
                peer.answer(of.OFPT_ECHO_REPLY, head.xid, body)
            else:
                assert (head.type, head.xid) == (of.OFPT_ECHO_REPLY, 77)
                echoed.append(body)

    async def session(_switch: Switch) -> str:
        await asyncio.sleep(1)
        return "alive"

    assert on_false(answers, session, FAST) == "alive"
    assert echoed == [b"anybody?"]


def test_everybody_who_waits_hears_why_the_connection_ended() -> None:
    async def test() -> None:
        switches: list[Switch] = []

        async def on_switch(switch: Switch) -> None:
            switches.append(switch)
            await forever(switch)

        async with listening(on_switch) as listener, connected(listener) as peer:
            await peer.greet()
            await until(lambda: bool(switches))
            asked = [asyncio.ensure_future(switches[0].barrier()) for _ in range(2)]
            await peer.expect(of.OFPT_BARRIER_REQUEST)
            peer.writer.close()
            for end in (*asked, switches[0].barrier()):
                with pytest.raises(Disconnected, match="it closed the connection"):
                    await end

    run(test())


def test_a_switch_that_never_answers_though_it_lives_is_given_up() -> None:
    async def answers(peer: Peer) -> None:
        while True:
            head, body = await peer.hear()
            if head.type == of.OFPT_ECHO_REQUEST:
                peer.answer(of.OFPT_ECHO_REPLY, head.xid, body)

    ending = on_false(answers, ports, FAST)
    assert isinstance(ending, Disconnected)
    assert ending.reason == "no answer to the ports within 1 s"


def test_a_switch_that_does_not_read_is_given_up_and_others_go_on() -> None:
    async def test() -> None:
        endings: dict[int, BaseException | None] = {}
        flow = encode_flow(delivered(1), APP)
        flow = flow._replace(body=flow.match + bytes(60_000))
        plan = Plan((AddFlow(Entry(APP, delivered(1)), flow),) * 500)

        async def on_switch(switch: Switch) -> None:
            try:
                if switch.datapath_id == 1:
                    await switch.apply(plan)
                for _ in range(50):
                    await switch.barrier()
                    await asyncio.sleep(0.02)
                endings[switch.datapath_id] = None
            except BaseException as error:
                endings[switch.datapath_id] = error
                raise

        async def babbles(peer: Peer) -> None:
            while True:
                peer.answer(of.OFPT_ECHO_REPLY, 1)
                await asyncio.sleep(0.05)

        async def obeys(peer: Peer) -> None:
            while True:
                head, body = await peer.hear()
                reply = of.OFPT_ECHO_REPLY if head.type == of.OFPT_ECHO_REQUEST else of.OFPT_BARRIER_REPLY
                peer.answer(reply, head.xid, body)

        async with listening(on_switch, FAST) as listener, connected(listener) as stalled, connected(listener) as good:
            await asyncio.gather(stalled.greet(1), good.greet(2))
            behaving = [asyncio.ensure_future(babbles(stalled)), asyncio.ensure_future(obeys(good))]
            await until(lambda: len(endings) == 2)
            for behaviour in behaving:
                behaviour.cancel()
        assert endings[2] is None
        assert isinstance(endings[1], Disconnected)
        assert endings[1].reason == "it read nothing of what it was sent for 0.5 s"

    run(test())


def test_a_switch_that_only_asks_is_given_up_when_it_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHOKED_BYTES", 1 << 16)

    async def asks(peer: Peer) -> None:
        while True:
            peer.answer(of.OFPT_ECHO_REQUEST, 1, bytes(60_000))
            await peer.writer.drain()

    async def session(switch: Switch) -> None:
        try:
            await forever(switch)
        finally:
            with pytest.raises(Disconnected, match="it does not read what it is sent"):
                await switch.barrier()

    assert isinstance(on_false(asks, session), asyncio.CancelledError)


def test_a_flood_of_errors_is_told_by_its_first_and_counted_from_then_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.southbound.complaints.GATHER_S", 0.05)

    async def floods(peer: Peer) -> None:
        for xid in range(1000):
            peer.answer(of.OFPT_ERROR, xid + 100, struct.pack("!HH", 1, 5))
        await until(lambda: sum(counted()) == 990)
        await asyncio.sleep(0.5)
        peer.answer(of.OFPT_ERROR, 5000, struct.pack("!HH", 1, 2))

    def counted() -> list[int]:
        told = "errors unexpected switch=0000000000000001 more=(\\d+) newest=OFPET_BAD_REQUEST/OFPBRC_EPERM"
        return [int(found[1]) for line in complaints(caplog) if (found := re.fullmatch(told, line))]

    async def session(switch: Switch) -> tuple[int, str]:
        await until(lambda: " xid=5000 " in "".join(complaints(caplog)[-1:]))
        return switch.complaints.count, switch.complaints.newest

    assert on_false(floods, session) == (1001, "OFPET_BAD_REQUEST/OFPBRC_BAD_MULTIPART")
    first, later = complaints(caplog)[:10], complaints(caplog)[10 + len(counted()) :]
    assert [f"xid={xid + 100} " in line for xid, line in enumerate(first)] == [True] * 10
    assert len(counted()) < 10, "as many as it took times of gathering to say all this"
    assert ["error unexpected switch=0000000000000001 xid=5000 " in line for line in later] == [True]


def test_an_error_is_the_answer_to_its_question(caplog: pytest.LogCaptureFixture) -> None:
    async def refuses(peer: Peer) -> None:
        xid, body = await peer.expect(of.OFPT_MULTIPART_REQUEST)
        peer.answer(of.OFPT_ERROR, 12345, struct.pack("!HH", 1, 5))
        peer.answer(99, xid)
        peer.answer(of.OFPT_BARRIER_REPLY, xid)  # an answer to something else
        peer.parts(xid, of.OFPMP_FLOW, b"")
        peer.answer(of.OFPT_ERROR, xid, struct.pack("!HH", 1, 2) + body)

    ending = on_false(refuses, ports)
    assert isinstance(ending, Rejected)
    assert (ending.what, ending.type, ending.code) == ("the ports", 1, 2)
    unexpected, dropped = complaints(caplog)
    assert unexpected == "error unexpected switch=0000000000000001 xid=12345 error=OFPET_BAD_REQUEST/OFPBRC_EPERM"
    assert dropped.startswith("switch dropped peer=127.0.0.1:")
    assert dropped.endswith("The switch refused the ports with error 1/2.")


def test_all_ports_are_told_whenever_one_changes() -> None:
    told: list[Mapping[str, int]] = []

    def status(reason: int, number: int, name: str) -> bytes:
        return of.message(of.OFPT_PORT_STATUS, 0, struct.pack("!B7x", reason) + port(number, name))

    async def plugs(peer: Peer) -> None:
        peer.send(status(of.OFPPR_ADD, 8, "early"))
        xid, _ = await peer.expect(of.OFPT_MULTIPART_REQUEST)
        first, second = (struct.pack("!HH4x", of.OFPMP_PORT_DESC, more) for more in (1, 0))
        peer.answer(of.OFPT_MULTIPART_REPLY, xid, first + port(1, "a"))
        peer.send(status(of.OFPPR_ADD, 9, "between"))
        peer.answer(of.OFPT_MULTIPART_REPLY, xid, second + port(2, "b"))
        peer.send(status(of.OFPPR_MODIFY, 1, "a"))  # a link that goes down is no news here
        for change in ((of.OFPPR_ADD, 3, "c"), (of.OFPPR_MODIFY, 2, "bb"), (of.OFPPR_DELETE, 1, "a")):
            await asyncio.sleep(0.02)
            peer.send(status(*change))

    async def session(switch: Switch) -> dict[str, int]:
        async def report(ports: Mapping[str, int]) -> None:
            told.append(ports)

        switch.on_ports(report)
        first = await switch.ports()
        await until(lambda: len(told) == 3)
        return first

    assert on_false(plugs, session) == {"a": 1, "b": 2}
    assert told == [{"a": 1, "b": 2, "c": 3}, {"a": 1, "bb": 2, "c": 3}, {"bb": 2, "c": 3}]


def test_a_failure_of_ours_ends_one_connection_with_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        seen: list[int] = []

        async def on_switch(switch: Switch) -> None:
            seen.append(switch.datapath_id)
            if switch.datapath_id == 1:
                raise LookupError("no such thing")

        async with listening(on_switch) as listener, connected(listener) as one, connected(listener) as other:
            await one.greet(1)
            await one.closed()
            await other.greet(2)
            await until(lambda: seen == [1, 2])

    run(test())
    assert "LookupError: no such thing" in caplog.text
    assert len(complaints(caplog)) == 1


def test_when_serving_ends_connections_end(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with contextlib.AsyncExitStack() as stack:
            async with listening(forever) as listener:
                peers = [await stack.enter_async_context(connected(listener)) for _ in range(2)]
                await peers[0].greet()
            for peer in peers:
                await peer.closed()

    run(test())
    assert complaints(caplog) == []


@given(
    st.lists(
        st.tuples(st.sampled_from([1, 3, 6, 7, 10, 12, 19, 21, 33, 99]), st.integers(0, 5), st.binary(max_size=80)),
        max_size=20,
    ),
    st.binary(max_size=20),
)
def test_no_message_whatsoever_breaks_anything(said: list[tuple[int, int, bytes]], rest: bytes) -> None:
    async def babbles(peer: Peer) -> None:
        for kind, xid, body in said:
            peer.answer(kind, xid, body)
        peer.send(rest)
        peer.writer.close()

    async def session(switch: Switch) -> None:
        await switch.ports()
        await switch.dump()

    assert isinstance(on_false(babbles, session), Disconnected | Malformed | Rejected | None)


# ---- a switch that takes bundles, and refuses -----------------------------------------------------------------------


class Bundles:
    """A switch that refuses some tests of DST: at once, at commit by name, or at commit without saying which."""

    def __init__(self, *, at_once: Sequence[int] = (), named: Sequence[int] = (), unnamed: Sequence[int] = ()) -> None:
        self.at_once, self.named, self.unnamed = set(at_once), set(named), set(unnamed)
        self.committed: list[int] = []
        self.bundles = 0

    async def behave(self, peer: Peer) -> None:
        waiting: dict[int, int] = {}
        while True:
            head, body = await peer.hear()
            match head.type:
                case of.OFPT_BUNDLE_ADD_MESSAGE:
                    self.take(peer, head.xid, body, waiting)
                case of.OFPT_BUNDLE_CONTROL:
                    waiting = self.control(peer, head.xid, body, waiting)
                case of.OFPT_BARRIER_REQUEST:
                    peer.answer(of.OFPT_BARRIER_REPLY, head.xid)

    def take(self, peer: Peer, xid: int, body: bytes, waiting: dict[int, int]) -> None:
        """What is refused at once is not in the bundle, which goes on without (Open vSwitch, `handle_bundle_add`)."""
        value = int.from_bytes(body[8 + 48 + 8 :][:4])  # bundle, flow-mod, match header and OXM header
        if value in self.at_once:
            peer.answer(of.OFPT_ERROR, xid, struct.pack("!HH", 4, 9) + body[:64])
        else:
            waiting[xid] = value

    def control(self, peer: Peer, xid: int, body: bytes, waiting: dict[int, int]) -> dict[int, int]:
        bundle, kind, flags = struct.unpack("!IHH", body)
        if kind == of.OFPBCT_OPEN_REQUEST:
            self.bundles += 1
        elif kind == of.OFPBCT_COMMIT_REQUEST:
            bad = next((each for each, value in waiting.items() if value in self.named | self.unnamed), None)
            if bad is not None:
                if waiting[bad] in self.named:
                    peer.answer(of.OFPT_ERROR, bad, struct.pack("!HH", 2, 9))
                peer.answer(of.OFPT_ERROR, xid, struct.pack("!HH", 17, 13))
                return {}
            self.committed += waiting.values()
        peer.answer(of.OFPT_BUNDLE_CONTROL, xid, struct.pack("!IHH", bundle, kind + 1, flags))
        return {} if kind else waiting


@pytest.mark.parametrize(
    ("bundles", "error", "at_most"),
    [
        (Bundles(), "", 1),
        (Bundles(at_once=range(1, 100)), "OFPET_BAD_MATCH/OFPBMC_BAD_PREREQ", 1),
        (Bundles(named=[50]), "OFPET_BAD_ACTION/OFPBAC_BAD_OUT_GROUP", 2),
        (Bundles(named=range(20, 40)), "OFPET_BAD_ACTION/OFPBAC_BAD_OUT_GROUP", 60),
        (Bundles(unnamed=[1]), "OFPET_BUNDLE_FAILED/OFPBFC_MSG_FAILED", 20),
        (Bundles(unnamed=[3, 70, 128]), "OFPET_BUNDLE_FAILED/OFPBFC_MSG_FAILED", 50),
        (Bundles(unnamed=range(1, 129)), "OFPET_BUNDLE_FAILED/OFPBFC_MSG_FAILED", 260),
    ],
)
def test_whatever_way_flows_are_refused_the_others_are_committed(bundles: Bundles, error: str, at_most: int) -> None:
    flows = [delivered(number) for number in range(1, 129)]
    bad = bundles.at_once | bundles.named | bundles.unnamed
    plan = full(entries(*flows), Installed({}, {}))

    async def session(switch: Switch) -> None:
        applied = await switch.apply(plan)
        assert [refusal.what for refusal in applied.refusals] == [str(delivered(number)) for number in sorted(bad)]
        assert {refusal.error for refusal in applied.refusals} == ({error} if bad else set())
        assert applied.flow_mods == len(flows) - len(bad)

    assert on_false(bundles.behave, session) is None
    assert bundles.committed == [number for number in range(1, 129) if number not in bad]
    assert bundles.bundles <= at_most


def test_a_switch_that_takes_no_bundles_says_so() -> None:
    async def refuses(peer: Peer) -> None:
        while True:
            head, _ = await peer.hear()
            if head.type == of.OFPT_BARRIER_REQUEST:
                peer.answer(of.OFPT_BARRIER_REPLY, head.xid)
            else:
                peer.answer(of.OFPT_ERROR, head.xid, struct.pack("!HH", 1, 1))

    async def session(switch: Switch) -> None:
        await switch.apply(partial({delivered(1).key: Entry(APP, delivered(1))}))

    ending = on_false(refuses, session)
    assert isinstance(ending, Rejected)
    assert str(ending) == "The switch refused a bundle with error 1/1."
