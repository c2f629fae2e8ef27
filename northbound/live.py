"""`weft trace --live`: a marked packet is really sent, and where it was found is compared with what was foretold.

It goes through the pipeline of the sender's hypervisor as if it had come from the sender's port; it is caught wherever
it may end (`controller.southbound.probes`), so that no guest gets it. Conntrack takes it for the first packet of a
connection and remembers that, as of any guest's, until it times out.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from controller.errors import Invalid, SouthboundError
from controller.flows import probe
from controller.flows.fields import ETH_TYPE, IPV6, PACKET4, PACKET6
from controller.flows.match import Match
from controller.flows.packet import Packet
from controller.flows.pipeline import DELIVER, DROP, DST, FROM_PHYS, PHYS, PHYSICAL, TRAP, WHY, Why
from controller.flows.trace import Fate
from controller.model.records import Address, Port, Tag
from controller.model.store import Rows
from controller.southbound.fleet import Fleet
from controller.southbound.probes import Caught, Probe
from northbound import sending
from northbound.admission import named, tagged
from northbound.sending import Question, parsed, sender_of
from northbound.tracing import Answer

NAMES: Final = {table.number: table.name for table in (DELIVER, PHYSICAL, TRAP, DROP)}


@dataclass(frozen=True, slots=True, order=True)
class Found:
    """Where a packet ended: on which chassis, in which table, and for whom or why, as a number."""

    chassis: str
    table: int
    what: int


async def live(fleet: Fleet, asked: Question, answer: Answer) -> dict[str, Any]:
    """Send what was traced, and compare. Raises Invalid."""
    if parsed(asked.sender):
        nobodys = f"not sent: {asked.sender} is outside, and only what a port sends can be sent"
        return _told(fleet.rows, (), (), 0.0, nobodys)
    if answer.journey is None or answer.sent is None:
        return _told(fleet.rows, (), (), 0.0, f"not sent: {answer.sentence or 'nobody answers for the next hop'}")
    sender = sender_of(fleet.rows, asked.sender)
    expected = sorted(set(foretold(answer)))
    mark = probe.MARK + secrets.token_bytes(probe.MARK_BYTES - len(probe.MARK))
    legs = [leg for journey in answer.journeys[1:] for leg in journey.legs]
    catches = list(dict.fromkeys(tuples(hop.packet for leg in legs for hop in leg.trace.hops)))
    frame = probe.frame(answer.sent, mark)
    on = {leg.chassis for leg in legs}
    try:
        probed = Probe(
            chassis=sender.chassis, in_port=sender.ofport, frame=frame, on=on, catches=catches, expected=len(expected)
        )
        caught = await fleet.probe(probed)
    except SouthboundError as error:
        return _told(fleet.rows, (), (), 0.0, f"not sent: {error}")
    seen = ends_of(caught)
    after_s = max((each.after_s for each in caught), default=0.0)
    return _told(fleet.rows, expected, seen, after_s, "" if seen else "not found at any end within 2 s")


def ends_of(caught: Iterable[Caught]) -> list[Found]:
    """Where a probe was found, each end once."""
    return sorted({Found(each.chassis, each.table, _what(each.table, each.registers)) for each in caught})


def foretold(answer: Answer) -> Iterator[Found]:
    """The ends that were foretold where a probe is caught: not those behind a wire, or behind a router that has to ask
    for its next hop, for it is caught there."""
    _, *sent = answer.journeys
    for leg in sent[0].legs if sent else ():
        if any(hop.packet[FROM_PHYS] for hop in leg.trace.hops):
            return
        for end in leg.trace.ends:
            if end.fate in (Fate.DROPPED, Fate.PUNTED, Fate.SENT) and end.table.number in NAMES:
                yield Found(leg.chassis, end.table.number, _what(end.table.number, end.packet))


def _what(table: int, packet: Packet) -> int:
    told = {DELIVER.number: DST, PHYSICAL.number: PHYS}.get(table, WHY)
    return packet[told]


def tuples(packets: Iterable[Packet]) -> Iterator[Match]:
    """By what a packet is known on its way: it may be translated."""
    for packet in packets:
        headers = PACKET6 if packet[ETH_TYPE] == IPV6.tests[0].value else PACKET4
        number = packet[headers.proto]
        match = headers.proto(number)
        for end in (headers.source, headers.destination):
            match = match & end(Address(end.show(packet[end])))
        if number in headers.low:
            for part in (headers.low[number], headers.high[number]):
                match = match & part(packet[part])
        yield match


def _told(rows: Rows, expected: Iterable[Found], seen: Iterable[Found], after_s: float, trouble: str) -> dict[str, Any]:
    foretold, found = [told(rows, each) for each in expected], [told(rows, each) for each in seen]
    return {
        "sent": not trouble.startswith("not sent"),
        "agrees": not trouble and foretold == found,
        "trouble": trouble or None,
        "seen": found,
        "foretold": foretold,
        "after_ms": round(after_s * 1e3, 1) if found else None,
    }


def told(rows: Rows, found: Found) -> dict[str, Any]:
    """An end in logical words."""
    if found.table == DELIVER.number:
        port: Port | None = tagged(rows, Port, "port", found.what)
        words = f"for {named('port', port.id, port.name)}" if port else f"for the port with key {found.what}"
    elif found.table == PHYSICAL.number:
        names = [tag.id.partition("/")[2] for tag in rows.where(Tag, space="physical", number=found.what)]
        words = f"for physical network {names[0] if names else found.what}"
    else:
        known = found.what in Why._value2member_map_
        words = Why(found.what).name if known else f"for a reason {found.what} that is none of Weft's"
    return {"chassis": found.chassis, "table": NAMES[found.table], "words": words}


@dataclass(frozen=True, slots=True)
class Way:
    """How a packet is traced: `sent`, too; through what is `installed`; among the connections of these dumps; with what
    asks Open vSwitch the same (`ofproto`)."""

    sent: bool = False
    ofproto: bool = False
    installed: bool = False
    conntrack: Mapping[str, str] = field(default_factory=dict)


def question(asked: Mapping[str, object]) -> tuple[Question, Way]:
    """What is asked, and how. Raises BadRequest."""
    ours = {name: asked[name] for name in ("live", "installed", "ofproto", "conntrack") if name in asked}
    for name in ("live", "installed", "ofproto"):
        if not isinstance(ours.get(name, False), bool):
            raise Invalid(name, f"{ours[name]!r} is neither true nor false")
    dumps = ours.get("conntrack", {})
    if not isinstance(dumps, dict) or not all(isinstance(text, str) for text in dumps.values()):
        raise Invalid("conntrack", "the text of ovs-appctl dpctl/dump-conntrack is needed, by chassis")
    said = {name: ours.get(name) is True for name in ("live", "ofproto", "installed")}
    way = Way(said["live"], said["ofproto"], said["installed"], dumps)
    return sending.question({name: value for name, value in asked.items() if name not in ours}), way
