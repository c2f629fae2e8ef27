"""What switches hand over: read from the bytes of a real Open vSwitch, answered in measure, and sent back by it."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from os_ken.lib import pcaplib
from os_ken.ofproto import ofproto_parser, ofproto_protocol
from prometheus_client import REGISTRY

from apps import APPS
from controller.errors import Malformed
from controller.flows.action import Output, Punt
from controller.flows.app import Answer
from controller.flows.flow import Flow, Group
from controller.flows.pipeline import APPS as NUMBERS
from controller.flows.pipeline import NET, NET_IN, RTR, SRC, TRAP, TRAP_BYTES, WHY, Why
from controller.flows.punted import Announced, Heard, Outcome, Outgoing, Punted, Reply, Sought
from controller.model.records import Address, Mac
from controller.model.view import View
from controller.southbound import messages, openflow
from controller.southbound.actions import encode_action
from controller.southbound.messages import PacketIn
from controller.southbound.openflow import encode_flow, encode_group
from controller.southbound.packet_in import BURST, PER_SECOND, PORT_BURST, Answerer, Bucket, Tally, answers_of
from controller.southbound.switch import Switch
from tests.cloud import Cloud, hypervisor, interface, network, port, router, subnet
from tests.controller.southbound.connections import Connection, Ovs
from tests.controller.southbound.switches import Peer, on_false, ports, until

VM, RED, BLUE = "02:00:00:00:00:01", "02:00:00:00:0a:01", "02:00:00:00:0a:02"
TAP = 10


def joined() -> Cloud:
    """vm of red on hv1, OpenFlow port 10; router r between red and blue."""
    cloud = Cloud()
    cloud.commit(network("red", 100), network("blue", 200), router("r"))
    cloud.commit(subnet("red4", "red", "10.0.0.0/24"), subnet("blue4", "blue", "10.1.0.0/24"))
    cloud.commit(interface("r-red", "r", "red", RED, red4="10.0.0.254"))
    cloud.commit(interface("r-blue", "r", "blue", BLUE, blue4="10.1.0.254"))
    cloud.commit(port("vm", "red", VM, "10.0.0.1", guarded=False), hypervisor(1, "vm"))
    return cloud


CLOUD = joined()
VIEW = View(CLOUD.model)
KEYS = {
    SRC: VIEW.tag("port", "vm"),
    RTR: VIEW.tag("router", "r"),
    NET_IN: VIEW.tag("network", "red"),
    NET: VIEW.tag("network", "red"),
}


def frame(ttl: int = 1, target: bytes = bytes([10, 1, 0, 7]), payload: bytes = b"question") -> bytes:
    """A UDP datagram from the guest to its router."""
    total = 28 + len(payload)
    head = struct.pack("!BBHHHBBH", 0x45, 0, total, 1, 0, ttl, 17, 0) + bytes([10, 0, 0, 1]) + target
    words = sum(struct.unpack("!10H", head))
    check = struct.pack("!H", ~((words & 0xFFFF) + (words >> 16)) & 0xFFFF)
    datagram = struct.pack("!HHHH", 1000, 9, 8 + len(payload), 0) + payload
    link = bytes.fromhex((RED + VM).replace(":", "")) + b"\x08\x00"
    return link + head[:10] + check + head[12:] + datagram


# ---- a real switch --------------------------------------------------------------------------------------------


class Guest:
    """The guest's interface, a dummy that says what was sent out of it."""

    def __init__(self, ovs: Ovs, switch: Connection) -> None:
        self._ovs, self._switch, self._sent = ovs, switch, ovs.home / "sent.pcap"
        ovs.vsctl(
            "add-port", "br0", "tap", "--", "set", "interface", "tap", "type=dummy", f"ofport_request={TAP}",
            f"options:tx_pcap={self._sent}",
        )  # fmt: skip

    def sends(self, sent: bytes) -> bytes:
        """The body of the packet-in about a frame."""
        self._ovs.run(
            "ovs-appctl", f"--target={self._ovs.home}/ovs-vswitchd.ctl", "netdev-dummy/receive", "tap", sent.hex()
        )
        while (received := self._switch.receive())[0].type != messages.OFPT_PACKET_IN:
            pass
        return received[1]

    def hears(self) -> list[bytes]:
        """Everything that was sent out of the interface."""
        with self._sent.open("rb") as file:
            return [bytes(data) for _, data in pcaplib.Reader(file)]


@pytest.fixture(scope="module")
def ovs(tmp_path_factory: pytest.TempPathFactory) -> Ovs:
    return Ovs(tmp_path_factory.mktemp("ovs"))


@pytest.fixture(scope="module")
def switch(ovs: Ovs) -> Iterator[Connection]:
    """A switch that holds what is desired of hv1."""
    with ovs.running() as connection:
        entries = [*CLOUD.engine.desired("hv1").values()]
        groups = [encode_group(entry.item) for entry in entries if isinstance(entry.item, Group)]
        flows = [encode_flow(entry.item, entry.app) for entry in entries if isinstance(entry.item, Flow)]
        connection.do(*(openflow.group_put(1, group) for group in groups))
        connection.do(*(openflow.flow_add(1, flow) for flow in flows))
        yield connection


@pytest.fixture(scope="module")
def guest(ovs: Ovs, switch: Connection) -> Guest:
    return Guest(ovs, switch)


@pytest.mark.ovs
@pytest.mark.parametrize(
    ("sent", "handed", "why"),
    [
        (frame(), frame(), Why.TTL_EXCEEDED),
        (frame(9, bytes([192, 0, 2, 7])), frame(8, bytes([192, 0, 2, 7])), Why.NO_ROUTE),
        (frame(9, bytes([10, 0, 0, 254])), frame(9, bytes([10, 0, 0, 254])), Why.ROUTER_ADDRESS),
    ],
    ids=lambda value: value.name if isinstance(value, Why) else "",
)
def test_a_switch_hands_over_a_packet_with_what_it_knew(guest: Guest, sent: bytes, handed: bytes, why: Why) -> None:
    """What has no route has been counted by the router already."""
    body = guest.sends(sent)
    found = messages.decode_packet_in(body)
    trap = encode_flow(Flow(TRAP, "reason", WHY(why), (Punt(TRAP_BYTES),)), NUMBERS["routing"])
    assert (found.cookie, found.in_port, found.frame) == (trap.cookie, TAP, handed)
    for field, value in {**KEYS, WHY: why}.items():
        assert found.registers[int(field.wire.removeprefix("reg"))] == value
    read = osken_packet_in(body)
    assert (read.cookie, read.match["in_port"], bytes(read.data)) == (found.cookie, found.in_port, found.frame)
    assert {name: value for name, value in read.match.items() if name.startswith("reg")} == {
        f"reg{number}": value for number, value in found.registers.items()
    }


@pytest.mark.ovs
def test_open_vswitch_hands_over_all_of_a_packet_though_asked_for_its_start(guest: Guest) -> None:
    """It has kept no buffers since 2.7, and cuts only what it buffers. When this fails, `TRAP_BYTES` says too little."""
    sent = frame(payload=bytes(range(256)) * 5)
    assert len(sent) > TRAP_BYTES
    assert messages.decode_packet_in(guest.sends(sent)).frame == sent


@pytest.mark.ovs
def test_what_is_answered_leaves_by_the_port_that_the_question_came_by(guest: Guest, switch: Connection) -> None:
    before = guest.hears()
    (reply,) = answerer()(messages.decode_packet_in(guest.sends(frame())))
    assert isinstance(reply, Reply)
    switch.do(messages.packet_out(7, encode_action(Output(reply.port)), reply.frame))
    assert guest.hears() == [*before, reply.frame]
    assert reply.frame[:6] == bytes.fromhex(VM.replace(":", ""))
    assert reply.frame[-len(frame()) + 14 :] == frame()[14:]


# ---- bytes ----------------------------------------------------------------------------------------------------

OSKEN = ofproto_protocol.ProtocolDesc(messages.VERSION)


def osken_packet_in(body: bytes) -> Any:
    whole = messages.message(messages.OFPT_PACKET_IN, 1, body)
    return ofproto_parser.msg(OSKEN, messages.VERSION, messages.OFPT_PACKET_IN, len(whole), 1, whole)


BODY = bytes.fromhex("""
    ffffffff 002a 01 3c a70a123456789abc
    0001 002c
      80000004 0000000a
      00010204 00000003
      00010e04 00000001
      00011004 00000024
      00011204 00000001
    00000000 0000
""") + frame(payload=b"")  # fmt: skip
"""ofp_packet_in of 42 bytes: no buffer, OFPR_ACTION, table 60, cookie; in_port, reg1, reg7, reg8 and reg9; padding."""

FRAME_AT = len(BODY) - len(frame(payload=b""))


def test_a_packet_in_is_read_as_the_specification_draws_it() -> None:
    registers = {1: 3, 7: 1, 8: 0x24, 9: 1}
    assert messages.decode_packet_in(BODY) == PacketIn(
        0xA70A123456789ABC, TAP, registers, frame(payload=b""), len(frame(payload=b""))
    )


def test_fields_that_are_no_whole_registers_are_passed_over() -> None:
    others = bytes.fromhex(
        "0001 03 08 00000003 000000ff  80000604 00000001  0001e002 0001  0001 20 04 00000007  00010e04 00000001"
    )
    head = BODY[:18] + (4 + len(others)).to_bytes(2) + others
    padded = head + bytes(-(len(head) - 16) % 8 + 2)
    assert messages.decode_packet_in(padded).registers == {7: 1}


@pytest.mark.parametrize("length", range(FRAME_AT))
def test_a_packet_in_that_is_cut_is_malformed(length: int) -> None:
    with pytest.raises(Malformed):
        messages.decode_packet_in(BODY[:length])


@pytest.mark.parametrize(
    ("at", "lie"),
    [(4, "0029"), (16, "0000"), (18, "0000"), (18, "0003"), (18, "002b"), (18, "002d"), (18, "ffff"), (23, "ff"), (55, "05")],
    ids=["more than the packet", "another match", "no match", "3 bytes", "too short", "too long", "65535 bytes",
         "first field", "last field"],
)  # fmt: skip
def test_a_packet_in_that_lies_about_its_lengths_is_malformed(at: int, lie: str) -> None:
    said = bytes.fromhex(lie)
    with pytest.raises(Malformed):
        messages.decode_packet_in(BODY[:at] + said + BODY[at + len(said) :])


@given(st.binary(max_size=64), st.integers(0, len(BODY)))
def test_no_bytes_raise_anything_but_malformed(noise: bytes, at: int) -> None:
    for body in (noise, BODY[:at], BODY[:at] + noise, BODY[:at] + noise + BODY[at + len(noise) :]):
        with contextlib.suppress(Malformed):
            messages.decode_packet_in(body)


def test_a_packet_out_is_the_one_that_osken_writes() -> None:
    parser = OSKEN.ofproto_parser
    actions = [parser.OFPActionOutput(TAP, 0)]
    wanted = parser.OFPPacketOut(OSKEN, 0xFFFFFFFF, messages.OFPP_CONTROLLER, actions, frame())
    wanted.set_xid(7)
    wanted.serialize()
    assert messages.packet_out(7, encode_action(Output(TAP)), frame()) == bytes(wanted.buf)


# ---- connections ----------------------------------------------------------------------------------------------


def answered(body: bytes) -> tuple[bytes, object]:
    """What a switch that hands over a packet hears, and what its session ends with."""
    heard = bytearray()

    async def hands_over(peer: Peer) -> None:
        xid, _ = await peer.expect(messages.OFPT_MULTIPART_REQUEST)
        peer.answer(messages.OFPT_PACKET_IN, 0, body)
        peer.parts(xid, messages.OFPMP_PORT_DESC, b"")
        _, said = await peer.expect(messages.OFPT_PACKET_OUT)
        heard.extend(said)

    async def session(switch: Switch) -> object:
        switch.on_packets(lambda packet: [Reply(packet.in_port, b"answer")])
        found = await ports(switch)
        await until(lambda: bool(heard))
        return found

    ending = on_false(hands_over, session)
    return bytes(heard), ending


def test_a_connection_sends_what_is_answered_and_goes_on() -> None:
    heard, ending = answered(BODY)
    assert (heard, ending) == (messages.packet_out(0, encode_action(Output(TAP)), b"answer")[8:], {})


def test_a_packet_in_that_is_malformed_ends_its_connection() -> None:
    heard, ending = answered(BODY[:40])
    assert (heard, type(ending)) == (b"", Malformed)


# ---- in measure -----------------------------------------------------------------------------------------------

steps = st.lists(st.floats(0, 0.1), max_size=400)


@given(steps)
def test_no_more_is_answered_than_a_burst_and_what_time_allows(waits: Sequence[float]) -> None:
    bucket, now, taken = Bucket(at=5.0), 5.0, 0
    for wait in waits:
        now += wait
        taken += bucket.take(now)
        assert taken <= BURST + (now - 5.0) * PER_SECOND + 1e-6
    assert taken + bucket.dropped == len(waits)


def test_a_burst_is_answered_whole_and_again_when_time_has_passed() -> None:
    bucket = Bucket()
    assert [bucket.take(100.0) for _ in range(int(BURST) + 1)] == [True] * int(BURST) + [False]
    assert [bucket.take(100.0 + 1.5 / PER_SECOND) for _ in range(2)] == [True, False]
    assert all(bucket.take(200.0) for _ in range(int(BURST)))


# ---- answers --------------------------------------------------------------------------------------------------


def tell(view: View, punted: Punted) -> Iterator[Outcome]:
    yield Reply(punted.in_port, b"unreachable")


class Nobody:
    """Who is told what guests seek and say; it finds nothing."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def seek(self, chassis: str, port: int, sought: Sought, otherwise: Sequence[Outgoing]) -> Sequence[Outgoing]:
        self.told.append((chassis, port, sought, [*otherwise]))
        return ()

    def hear(self, heard: Heard) -> None:
        self.told.append(heard)

    def announce(self, announced: Announced) -> None:
        self.told.append(announced)


def answerer(found: Nobody | None = None, **answers: Sequence[Answer]) -> Answerer:
    """Of the apps, or of these by the names of reasons."""
    wanted = {Why[name]: several for name, several in answers.items()} or answers_of(APPS)
    return Answerer("hv1", wanted, CLOUD.engine.view, lambda: 1000.0, found or Nobody())


def handed(why: int = Why.TTL_EXCEEDED, cookie: int = 0xA70A << 48, data: bytes = b"", port: int = TAP) -> PacketIn:
    values = {**KEYS, WHY: why}
    registers = {int(field.wire.removeprefix("reg")): value for field, value in values.items()}
    return PacketIn(cookie, port, registers, data or frame())


def test_an_answer_gets_the_packet_and_what_the_switch_knew() -> None:
    seen: list[Punted] = []

    def answer(view: View, punted: Punted) -> Iterator[Reply]:
        seen.append(punted)
        yield Reply(punted.in_port, b"answer")

    assert [*answerer(NO_ROUTE=[answer])(handed(Why.NO_ROUTE))] == [Reply(TAP, b"answer")]
    registers = handed(Why.NO_ROUTE).registers
    assert seen == [Punted(Why.NO_ROUTE, TAP, KEYS[SRC], KEYS[RTR], KEYS[NET_IN], KEYS[NET], frame(), registers, "hv1")]


def test_what_is_handed_over_is_counted_by_why_answered_or_not() -> None:
    asked = answerer(NO_ROUTE=[lambda view, punted: iter(())], TOO_BIG=[lambda view, punted: iter(())])
    for why in (Why.NO_ROUTE, *[Why.TOO_BIG] * 30):
        asked(handed(why)._replace(length=1400))
    assert asked.handed == {Why.NO_ROUTE: Tally(1, 1400), Why.TOO_BIG: Tally(30, 42_000)}


def test_metrics_tell_by_app_what_was_handed_over_and_what_was_let_go() -> None:
    def told(name: str, app: str, why: Why) -> float:
        return REGISTRY.get_sample_value(f"weft_packet_ins{name}_total", {"app": app, "reason": why.name}) or 0.0

    apps = (("router_errors", Why.TTL_EXCEEDED), ("neighbours,router_errors,wire", Why.NO_NEIGHBOUR))
    asked = answerer()
    for app, why in apps:
        before, over = told("", app, why), told("_unanswered", app, why)
        for _ in range(30):
            asked(handed(why))
        assert told("", app, why) - before == 30
        assert told("_unanswered", app, why) - over >= 10


def test_while_something_is_sought_nothing_is_answered() -> None:
    sought = Sought("red", Address("10.0.0.9"), (), lambda mac: Reply(TAP, b"found"))
    heard = Heard("red", Address("10.0.0.8"), Mac(VM), "vm", unasked=True)

    def seek(view: View, punted: Punted) -> Iterator[Outcome]:
        yield sought
        yield heard

    nobody = Nobody()
    assert [*answerer(nobody, NO_ROUTE=[tell, seek])(handed(Why.NO_ROUTE))] == []
    assert nobody.told == [heard, ("hv1", TAP, sought, [Reply(TAP, b"unreachable")])]


@pytest.mark.parametrize(
    "packet",
    [
        handed(0),
        handed(0xFFFFFFFF),
        handed(Why.TAGGED),
        handed(cookie=0),
        handed(cookie=0xA8 << 56),
        PacketIn(0xA70A << 48, TAP, {}, frame()),
    ],
    ids=["no reason", "unknown reason", "nobody answers", "no cookie", "a flow of others", "no registers"],
)
def test_what_is_none_of_ours_is_not_answered_and_costs_nothing(packet: PacketIn) -> None:
    answers = answerer()
    for _ in range(1000):
        assert [*answers(packet)] == []
    assert answers.bucket == Bucket()
    assert len([*answers(handed())]) == 1


def test_one_bad_packet_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def answer(view: View, punted: Punted) -> Iterator[Reply]:
        yield Reply(punted.in_port, b"answer")
        if punted.frame == b"bad":
            raise ValueError("bad")

    answers = answerer(NO_ROUTE=[answer])
    assert [*answers(handed(Why.NO_ROUTE, data=b"bad"))] == [], "no half of an answer"
    assert "answer failed why=NO_ROUTE frame=626164" in caplog.text
    assert [*answers(handed(Why.NO_ROUTE))] == [Reply(TAP, b"answer")]


def test_too_many_at_once_are_let_go() -> None:
    answers = answerer()
    assert sum(len([*answers(handed(port=port))]) for _ in range(10) for port in range(100)) == BURST
    assert answers.bucket.dropped == 1000 - BURST


def test_a_port_that_sends_without_end_takes_nothing_from_others() -> None:
    answers = answerer()
    assert sum(len([*answers(handed())]) for _ in range(1000)) == PORT_BURST
    assert [len([*answers(handed(port=TAP + 1))]) for _ in range(5)] == [1] * 5


def test_not_even_many_such_ports_do() -> None:
    now = 1000.0
    answers = answerer()
    answers.clock = lambda: now
    heard = []
    for _ in range(50):
        now += 0.1
        for many in range(100, 200):
            for _ in range(5):
                answers(handed(port=many))
        heard.append(len([*answers(handed(port=TAP))]))
    assert heard[5:] == [1] * 45, "ten a second, beside a hundred that send fifty each"


def test_what_a_port_tells_is_heard_beside_all_that_it_wants() -> None:
    def hear(view: View, punted: Punted) -> Iterator[Outcome]:
        yield Heard("red", Address("10.0.0.8"), Mac(VM), "vm", unasked=True)

    nobody = Nobody()
    answers = answerer(nobody, NO_ROUTE=[tell], TOLD=[hear])
    for _ in range(1000):
        answers(handed(Why.NO_ROUTE))
    answers(handed(Why.TOLD))
    assert len(nobody.told) == 1
    assert (answers.overrun(TAP, since=999.0), answers.overrun(TAP + 1, since=999.0)) == (True, False)


def test_shares_go_with_their_ports() -> None:
    """Or a switch whose guests come and go would have more and more of them."""
    answers = answerer()
    for turn in range(100):
        answers(handed(port=TAP))
        answers(handed(port=100 + turn))
        answers.keep([1, TAP])
    assert [*answers.shares] == [(TAP, False)]
    assert [len([*answers(handed())]) for _ in range(5)] == [0] * 5, "what is left of a share stays what it was"
