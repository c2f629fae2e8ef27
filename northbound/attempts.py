"""`weft prove --live`: the packets that are against a claim, really sent, and what became of each.

One behind the other, each goes as a marked probe (`controller.flows.probe`) through the pipeline of its sender's
hypervisor, as if the sender had sent it. It is caught where it may end (`controller.southbound.probes`), so that no
guest gets it; but not in a table that does not hold just what it should, since what such a table does with it is to be
seen. Whether it left by the port in question that port's counter then tells, and a guest may have got one packet.

Not sent is what would go round, what would teach a bridge a wrong place for somebody's MAC address, what no port sends,
and what cannot bear the mark.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from controller.errors import Invalid, NotFound, SouthboundError
from controller.flows import probe
from controller.flows.fields import (
    ETH_DST,
    HOP_LIMIT,
    ICMP6,
    IPV4,
    IPV6,
    PACKET4,
    PACKET6,
    TCP,
    TCP_FLAGS,
    TTL,
    VLAN_TCI,
)
from controller.flows.journey import follow, hosts
from controller.flows.match import Field, Match
from controller.flows.packet import Packet
from controller.flows.pipeline import DELIVER, PHYSICAL, TUNNEL_PORTS, patch_port
from controller.model.bindings import Placed, place
from controller.model.records import Link, Port, Tag
from controller.model.store import Rows
from controller.prove.proof import Violation
from controller.southbound.fleet import Fleet
from controller.southbound.messages import Transmitted
from controller.southbound.probes import Caught, Probe
from northbound import live
from northbound.admission import tagged
from northbound.live import Found

log = logging.getLogger(__name__)

MOST: Final = 20
"""So many are sent at the most,"""
LONGEST_S: Final = 60.0
"""and none any more after so long."""
PATIENCE_S: Final = 1.0
_SIZES: Final = range(200, 400)
"""Bytes of a frame: one is drawn, so that a port's counter tells it from others."""
_TAG: Final = 0x8100
_EXTENSIONS: Final = frozenset({0, 43, 44, 50, 51, 60, 135})
"""Headers of IPv6 that others follow (RFC 8200, section 4)."""
_DISCOVERY: Final = frozenset({130, 131, 132, 133, 134, 135, 136, 137, 143})
"""The types of ICMPv6 whose messages guests believe: MLD and neighbour discovery (RFC 3810, RFC 4861)."""
_LEARNING: Final = ("NORMAL", "learn(")
_OUT: Final = (DELIVER.number, PHYSICAL.number)


@dataclass(frozen=True, slots=True)
class Left:
    """What a port sent out while a packet was on its way: the interface, and how much."""

    interface: str
    packets: int
    bytes: int

    def has(self, length: int) -> bool | None:
        """Did a frame so long leave? None if it may be one of several."""
        tagged_too = (length, length + 4, length - 4)
        if self.packets < 2:
            return self.packets == 1 and self.bytes in tagged_too
        return None if self.bytes >= length else False


async def made(fleet: Fleet, against: Sequence[Violation], ends: Mapping[str, Collection[int]]) -> list[dict[str, Any]]:
    """What became of each, as far as `MOST` and `LONGEST_S` allow.

    `ends` are by hypervisor the tables that hold what they should.
    """
    until, sent, told = time.monotonic() + LONGEST_S, 0, []
    for each in against:
        reason = _unsendable(fleet.rows, each)
        if not reason and sent == MOST:
            reason = f"{MOST} were"
        if not reason and time.monotonic() > until:
            reason = f"it would take more than {LONGEST_S:.0f} s"
        found = _unsent(reason) if reason else await _attempt(fleet, each, ends)
        sent += found["sent"]
        told.append(found)
    return told


def summed(told: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many were sent, and of how many it was seen that they are as proven (`real`), or are not (`unreal`)."""
    sent = [each for each in told if each["sent"]]
    counts = {name: sum(each["real"] is real for each in sent) for name, real in (("real", True), ("unreal", False))}
    return {"sent": len(sent), **counts}


# ---- what is not sent -----------------------------------------------------------------------------------------


def _unsent(reason: str) -> dict[str, Any]:
    return {"sent": False, "real": None, "trouble": f"not sent: {reason}", "seen": [], "left": None, "after_ms": None}


def _unsendable(rows: Rows, each: Violation) -> str:
    """Why a packet is not sent, or ""."""
    if not each.sender_chassis:
        return f"{each.sender} is outside, and only what an interface of a hypervisor sends can be sent"
    if each.claim == "zone":
        return "in which zone conntrack looks it up, nobody but conntrack sees"
    if each.how:
        return "it may arrive as something else, or by another of several ways, and neither would be seen"
    if each.rounds is None:
        return "its way was not worked out, and it might go round and round"
    if each.rounds or each.claim == "loop":
        return "it would go round and round"
    if unmarked := _unmarked(each):
        return f"the mark of a probe is in IP, and {unmarked}"
    if any(word in met.flow for met in each.way for word in _LEARNING):
        port = rows.get(Port, each.sender_port)
        if port is None or ETH_DST(port.mac_address).numbers[0] != each.values["eth_src"]:
            return "a flow on its way would learn from it a wrong place for a MAC address"
    return ""


def _unmarked(each: Violation) -> str:
    """Why a packet cannot bear the mark, or ""."""
    family, number = each.values["eth_type"], each.values["nw_proto"]
    if family not in (_number(IPV4), _number(IPV6)):
        return "this is something else"
    if each.values["ip_frag"]:
        return "this is a fragment"
    if family == _number(IPV6) and number in _EXTENSIONS:
        return "this has an extension header"
    if family == _number(IPV6) and number == ICMP6 and each.values["tp_src"] in _DISCOVERY:
        return "this is discovery, which guests believe"
    if number == TCP and not each.values["tcp_flags"]:
        return "this has no flag of TCP"
    return "" if each.marked else "with it, this would not be against the claim"


def _number(family: Match) -> int:
    number: int = family.tests[0].value
    return number


# ---- what is sent ---------------------------------------------------------------------------------------------


async def _attempt(fleet: Fleet, each: Violation, ends: Mapping[str, Collection[int]]) -> dict[str, Any]:
    """Send one, and say what became of it."""
    sent = _packet(each)
    mark = probe.MARK + secrets.token_bytes(probe.MARK_BYTES - len(probe.MARK))
    rows = fleet.rows
    journey = follow(hosts(rows, fleet.inspection.standing, fleet.away()), each.sender_chassis, sent)
    packets = (sent, *(hop.packet for leg in journey.legs for hop in leg.trace.hops))
    catches = list(dict.fromkeys(live.tuples(packets)))
    on = {each.chassis, *each.reached, *(met.chassis for met in each.way), *(leg.chassis for leg in journey.legs)}
    interface = _counted(rows, each)
    try:
        frame = _frame(sent, mark)
        before = await fleet.transmitted(each.chassis, each.end) if interface and each.end else None
        probed = Probe(
            chassis=each.sender_chassis, in_port=each.ofport, frame=frame, on=on, catches=catches, ends=ends,
            patience_s=PATIENCE_S,
        )  # fmt: skip
        caught = await fleet.probe(probed)
    except (SouthboundError, Invalid, NotFound) as error:
        return _unsent(str(error))
    after = await _counter(fleet, each.chassis, each.end) if before and each.end else None
    left = _left(interface, before, after)
    found = live.ends_of(caught)
    real = _real(rows, each, _came(rows, each, found, left, len(frame)), caught, found)
    return {
        "sent": True,
        "real": real,
        "trouble": None,
        "seen": [live.told(rows, end) for end in found],
        "left": left and {"chassis": each.chassis, "interface": left.interface, "packets": left.packets,
                          "bytes": left.bytes, "frame_bytes": len(frame)},
        "after_ms": round(max(one.after_s for one in caught) * 1e3, 1) if caught else None,
    }  # fmt: skip


async def _counter(fleet: Fleet, chassis: str, port: int) -> Transmitted | None:
    """What a port has sent by now; None if its switch went away meanwhile, and then nobody can tell what left."""
    try:
        return await fleet.transmitted(chassis, port)
    except (SouthboundError, NotFound) as error:
        log.info("counter not read chassis=%s port=%d: %s", chassis, port, error)
        return None


def _packet(each: Violation) -> Packet:
    """What is sent, but for its mark."""
    values = each.values
    six = values["eth_type"] == _number(IPV6)
    headers, number = PACKET6 if six else PACKET4, values["nw_proto"]
    made = Packet({name: values[name] for name in ("eth_src", "eth_dst", "eth_type")} | {"in_port": each.ofport})
    parts: dict[Field[Any], int] = {
        VLAN_TCI: values["vlan_tci"],
        headers.proto: number,
        headers.source: values["ipv6_src" if six else "nw_src"],
        headers.destination: values["ipv6_dst" if six else "nw_dst"],
        HOP_LIMIT if six else TTL: values["nw_ttl"],
    }
    for of, slot in ((headers.low, "tp_src"), (headers.high, "tp_dst")):
        if number in of:
            parts[of[number]] = values[slot] & of[number].full
    if number == TCP:
        parts[TCP_FLAGS] = values["tcp_flags"]
    for field, value in parts.items():
        made = made.put(field, value)
    return Packet(made.values, secrets.choice(_SIZES))


def _frame(sent: Packet, mark: bytes) -> bytes:
    """Raises Invalid."""
    frame = probe.frame(sent, mark)
    if not (tag := sent[VLAN_TCI]):
        return frame
    return frame[:12] + _TAG.to_bytes(2) + (tag & 0xEFFF).to_bytes(2) + frame[12:]


# ---- what is seen ---------------------------------------------------------------------------------------------


def _counted(rows: Rows, each: Violation) -> str:
    """The interface whose counter says whether it left where the proof says, "" if none does: by tunnels go many."""
    if each.end is None:
        return ""
    links = (link.interface for link in rows.where(Link, chassis=each.chassis) if link.ofport == each.end)
    name = next(links, f"port {each.end}")
    return "" if name in TUNNEL_PORTS.values() else name


def _left(interface: str, before: Transmitted | None, after: Transmitted | None) -> Left | None:
    if before is None or after is None:
        return None
    return Left(interface, after.packets - before.packets, after.bytes - before.bytes)


def _came(rows: Rows, each: Violation, found: Sequence[Found], left: Left | None, length: int) -> bool | None:
    """Did it come to where the proof says that it does, or does not? None if nobody can tell."""
    if any((end.chassis, _leads(rows, end)) == (each.chassis, each.end) for end in found if each.end is not None):
        return True
    return left.has(length) if left else None


def _leads(rows: Rows, end: Found) -> int | None:
    """The OpenFlow port by which it would have left from where it was caught, if by any."""
    name = ""
    if end.table == DELIVER.number:
        port: Port | None = tagged(rows, Port, "port", end.what)
        placed = place(rows, port) if port else None
        name = placed.interface if isinstance(placed, Placed) else ""
    elif end.table == PHYSICAL.number:
        names = [tag.id.partition("/")[2] for tag in rows.where(Tag, space="physical", number=end.what)]
        name = patch_port(names[0]) if names else ""
    link = rows.get(Link, f"{end.chassis}/{name}") if name else None
    return link.ofport if link else None


def _real(
    rows: Rows, each: Violation, came: bool | None, caught: Sequence[Caught], found: Sequence[Found]
) -> bool | None:
    """Is it as it was proven? None if nobody can tell."""
    match each.claim:
        case "missing":
            return None if came is None else not came
        case "hole" | "astray":
            return not found
        case "rewritten" if came:
            port = rows.get(Port, each.receiver_port)
            macs = {
                one.frame[:6].hex(":") for one in caught if (one.chassis, one.table) == (each.chassis, DELIVER.number)
            }
            return macs != {port.mac_address} if macs and port else None
        case "spoofing":
            if any(end.table in _OUT or end.chassis != each.sender_chassis for end in found):
                return True
            return False if found and not came else came
        case _:
            return came
