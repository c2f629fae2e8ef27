"""Probes: what catches them, and what becomes of packets that are none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from os_ken.ofproto import ofproto_v1_4, ofproto_v1_4_parser
from os_ken.ofproto.ofproto_protocol import ProtocolDesc

from controller.errors import Disconnected
from controller.flows.action import Action
from controller.flows.fields import IPV4_DST, IPV4_PROTO
from controller.flows.packet import Packet
from controller.flows.pipeline import DELIVER, DROP, PROBE_COOKIE
from controller.flows.probe import DSCP
from controller.flows.punted import Outgoing, Reply
from controller.model.records import Address
from controller.southbound.messages import PacketIn
from controller.southbound.probes import Caught, Probe, Probes, caught

MATCH = IPV4_PROTO(17) & IPV4_DST(Address("10.0.0.2"))
FRAME = b"frame weft0123456789ab tail"


class Wire:
    """The other end of a connection, which hands the probe over when it is sent."""

    def __init__(self, catcher: Probes, tables: Sequence[int]) -> None:
        self.catcher, self.tables = catcher, tables
        self.sent: list[bytes] = []

    def xid(self) -> int:
        return 1

    def treat(self, actions: Iterable[Action], frame: bytes, in_port: int) -> None:
        assert [str(action) for action in actions] == ["resubmit(,0)"]
        for table in self.tables:
            packet = PacketIn(PROBE_COOKIE | table, in_port, {8: 10}, frame)
            assert caught(packet)
            assert self.catcher.take("hv1", packet) == ()

    async def push(self, modifications: bytearray) -> None:
        self.sent.append(bytes(modifications))

    async def barrier(self) -> None: ...


def restored(chassis: str, table: int, registers: Packet, frame: bytes) -> Sequence[Outgoing]:
    return (Reply(table, frame),)


def probe(
    on: Sequence[str] = ("hv1",), ends: Mapping[str, Sequence[int]] | None = None, patience_s: float = 2.0
) -> Probe:
    """One that comes by port 7 of hv1."""
    return Probe(
        chassis="hv1", in_port=7, frame=FRAME, on=on, catches=[MATCH], ends=ends, patience_s=patience_s
    )  # fmt: skip


def test_a_probe_is_caught_at_every_end_for_a_while_and_no_longer() -> None:
    catcher = Probes(restored)
    wire = Wire(catcher, [DROP.number])
    found = asyncio.run(catcher.send({"hv1": wire}, probe()))
    assert [(each.chassis, each.table, each.registers) for each in found] == [("hv1", 62, Packet({"reg8": 10}))]
    added, removed = wire.sent
    described = ProtocolDesc(version=ofproto_v1_4.OFP_VERSION)
    tables = []
    for messages, command in ((added, 0), (removed, 4)):
        at = 0
        while at < len(messages):
            length = int.from_bytes(messages[at + 2 : at + 4])
            mod = ofproto_v1_4_parser.OFPFlowMod.parser(
                described, 5, 14, length, 1, bytearray(messages[at : at + length])
            )
            assert (mod.command, mod.priority, mod.match["ip_dscp"], mod.match["ipv4_dst"]) == (
                command, 0xFFFF, DSCP, "10.0.0.2",
            )  # fmt: skip
            assert (mod.hard_timeout, mod.cookie >> 32) == ((10, 0x57454654) if command == 0 else (0, 0))
            tables.append(mod.table_id)
            at += length
    assert tables == [50, 55, 60, 62] * 2
    assert catcher.take("hv1", PacketIn(PROBE_COOKIE | 62, 7, {}, FRAME)) == (), "a late copy"
    assert found == [Caught("hv1", 62, Packet({"reg8": 10}), FRAME, found[0].after_s)]


def test_a_probe_is_caught_in_those_tables_alone_that_are_said() -> None:
    catcher = Probes(restored)
    wires = {name: Wire(catcher, []) for name in ("hv1", "hv2")}
    sent = probe(on=["hv1", "hv2"], ends={"hv1": [DROP.number]}, patience_s=0.01)
    assert asyncio.run(catcher.send(wires, sent)) == []
    assert [[message[24] for message in wires["hv1"].sent], wires["hv2"].sent] == [[DROP.number] * 2, [b"", b""]]


def test_flows_of_a_probe_are_removed_wherever_that_can_be() -> None:
    class Gone(Wire):
        async def push(self, modifications: bytearray) -> None:
            if self.sent:
                raise Disconnected("hv1", "its switch is not connected")
            await super().push(modifications)

    catcher = Probes(restored)
    wires = {"hv1": Gone(catcher, []), "hv2": Wire(catcher, [])}
    assert asyncio.run(catcher.send(wires, probe(on=["hv1", "hv2"], patience_s=0.01))) == []
    assert [len(wire.sent) for wire in wires.values()] == [1, 2]


def test_a_packet_of_somebody_else_goes_where_it_was_going() -> None:
    packet = PacketIn(PROBE_COOKIE | DELIVER.number, 7, {2: 4}, b"a guest's own")
    assert Probes(restored).take("hv1", packet) == (Reply(50, b"a guest's own"),)


def test_what_other_flows_hand_over_is_not_taken_for_a_probe() -> None:
    assert not caught(PacketIn(0xA7_01_0000_0000_0000, 7, {}, FRAME))
    assert not caught(PacketIn(PROBE_COOKIE | 0x100, 7, {}, FRAME))
