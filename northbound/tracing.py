"""One packet through the flows that hypervisors should hold, told in logical words, to its fate.

    answer = trace(rows, switch, Question(sender="vm1", target="10.0.0.2"))

First the sender asks for the MAC that it needs, and a switch answers or does not; then it sends. The packet is the
first of its connection: conntrack knows nothing of it. What switches hold in fact may differ (`weft diff`).

On a physical network a host may be that nobody here knows: an address of it that the model gives to no port is taken to
be held, by `SOMEBODY` if its MAC is not known. Such a host may send, too (`northbound.outsiders`).

All ports of switches are taken to be alive, but those by which gateways are watched that are not connected to the
controller: routers go out by the next best.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from controller.flows import fields as f
from controller.flows.action import Table
from controller.flows.conntrack import Connection
from controller.flows.fields import ETH_DST, ETH_SRC
from controller.flows.flow import Bucket, Flow, Group
from controller.flows.frames import REPLY
from controller.flows.holding import neighbour_id
from controller.flows.journey import Host, Journey, arrive, follow, hosts
from controller.flows.match import Set
from controller.flows.packet import Packet
from controller.flows.pipeline import (
    ARRIVED,
    CLASSIFY,
    DST,
    FLOOD,
    GATED,
    L3_OUT,
    NEIGH_HIT,
    NEIGH_REPLY,
    NET,
    NH4,
    NH6,
    PART,
    PHYSICAL,
    Why,
)
from controller.flows.trace import End, Fate, Switch
from controller.model.bindings import Placed, place
from controller.model.records import ROUTED, Address, Mac, Neighbour, Network, Port
from controller.model.store import Rows
from northbound.admission import named, tagged
from northbound.narration import Step, narrate, outside
from northbound.outsiders import outsider_of, way_in
from northbound.sending import (
    SOMEBODY,
    Outsider,
    Question,
    check_mtu,
    check_size,
    find_port,
    message,
    parsed,
    request,
    sender_of,
    way_of,
)

UNSENT: Final = ("NO_GATEWAY", "was for an address on none of the sender's subnets, and none of them has a gateway")
ASTRAY: Final = ("NO_TUNNEL_END", "went into a tunnel of which no hypervisor of this cloud has the other end")
UNANSWERED: Final = ("NO_ANSWER", "was for an address of a port that is not there to answer: nobody else has it")
NOBODYS: Final = ("NO_ANSWER", "was for an address, or by a router, that no hypervisor answers for on its network")
NAMESAKE: Final = ("ANOTHER", "went to somebody else, who has that address where the sender is; not to {port}")
"""Why a packet ends that no switch drops: a name and a sentence, as those of `Why`."""
ADVERTISEMENT: Final = 136
"""The type of a neighbour advertisement (RFC 4861 section 4.4)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a packet, step by step; `reason` and `sentence` say why it was dropped, else both are empty.

    `physical` is the physical network that it was delivered to, "" if a guest, or a router, has it. `sent` is the
    packet that a guest sent, and `journey` what became of it; None if it did not come to that. `journeys` are all that
    were followed, in order: of the question for a MAC, of the packet, and of it on from a router that had to ask.
    """

    steps: tuple[Step, ...]
    reason: str = ""
    sentence: str = ""
    physical: str = ""
    sent: Packet | None = None
    journey: Journey | None = None
    journeys: tuple[Journey, ...] = ()

    @property
    def delivered(self) -> bool:
        """Did it arrive, or was it answered by a router?"""
        return not self.reason

    @property
    def chassis(self) -> tuple[str, ...]:
        """The hypervisors it came to, in order."""
        return tuple(dict.fromkeys(step.chassis for step in self.steps if step.chassis))


class Asked(Switch):
    """A switch that gives a broadcast to one of its guests, for all: none of them answers a question for a MAC.

    On the wire of a physical network such a question comes to everybody, of whom there may be thousands.
    """

    def __init__(self, switch: Switch) -> None:
        super().__init__(())
        self._switch = switch

    def alike(self, table: Table, packet: Packet) -> Sequence[Flow]:
        """As that switch."""
        return self._switch.alike(table, packet)

    def stranger(self, table: Table, packet: Packet, flow: Flow | None) -> str:
        """As that switch."""
        return self._switch.stranger(table, packet, flow)

    def altered(self, id: int) -> str:
        """As that switch."""
        return self._switch.altered(id)

    def group(self, id: int) -> Group | None:
        """The group, with one of the buckets that are for guests here."""
        found = self._switch.group(id)
        if found is None or found.kind not in (FLOOD, ARRIVED, PART):
            return found
        first = next(filter(_is_for_guest, found.buckets), None)
        return replace(found, buckets=tuple(each for each in found.buckets if each is first or not _is_for_guest(each)))


def _is_for_guest(bucket: Bucket) -> bool:
    return any(isinstance(action, Set) and action.field is DST for action in bucket.actions)


Known = Mapping[str, Sequence[tuple[int, Connection]]]
"""Connections that there are, by chassis, each with its zone."""


def trace(
    rows: Rows,
    switch: Callable[[str], Switch],
    asked: Question,
    away: AbstractSet[str] = frozenset(),
    known: Known | None = None,
    whole: bool = False,
) -> Answer:
    """What becomes of a packet; `switch` is what a hypervisor's should be, or is; gateways that are `away` take none.

    Conntrack knows nothing, or what is `known`. Unless the `whole` way of the question for a MAC is wanted, it is
    followed to one guest of each hypervisor. Raises BadRequest, NotFound, Ambiguous, Unplugged.
    """

    def asked_of() -> dict[str, Host]:
        return hosts(rows, switch if whole else lambda name: Asked(switch(name)), away)

    def hypervisors() -> dict[str, Host]:
        made = hosts(rows, switch, away)
        for name, connections in (known or {}).items():
            for zone, connection in connections if name in made else ():
                made[name].connections.remember(zone, connection)
        return made

    outsider = outsider_of(rows, asked)
    if outsider is not None:
        return _from_outside(rows, asked_of(), hypervisors(), outsider, asked)
    sender = sender_of(rows, asked.sender)
    way = way_of(rows, sender.port, asked)
    check_size(rows, sender.port, asked)
    sent = message(sender, way, asked)
    if way.neighbour is None:
        return Answer((), *UNSENT)
    question = follow(asked_of(), sender.chassis, request(sender, way, way.neighbour))
    steps = [*_asking(rows, question)]
    mac = _answered(rows, question, sender.port.network_id, way.neighbour)
    if mac is None:
        return Answer(tuple(steps), *_reason(question), journeys=(question,))
    cloud = hypervisors()
    sent = sent.put(ETH_DST, _number(mac))
    found = _fate(rows, cloud, steps, question, follow(cloud, sender.chassis, sent))
    return _checked(rows, asked, replace(found, sent=sent))


def _checked(rows: Rows, asked: Question, found: Answer) -> Answer:
    """The same, but what was for a port, by id or name, must not arrive at another one that has its address, too."""
    if parsed(asked.target) or not found.delivered or found.journey is None:
        return found
    port = find_port(rows, asked.target)
    ends = {(end.chassis, end.interface) for end in found.journey.arrivals}
    placed = place(rows, port)
    if port.device_owner in ROUTED or (isinstance(placed, Placed) and (placed.chassis, placed.interface) in ends):
        return found
    return replace(found, reason=NAMESAKE[0], sentence=NAMESAKE[1].format(port=named("port", port.id, port.name)))


def _from_outside(
    rows: Rows, asked_of: Mapping[str, Host], cloud: Mapping[str, Host], outsider: Outsider, asked: Question
) -> Answer:
    """What becomes of a packet of a host of a physical network; `asked_of` are all hypervisors, for its question."""
    way = way_in(rows, outsider, asked)
    check_mtu(outsider.network, asked)
    sent = message(outsider, way, asked)
    if way.neighbour is None:
        return Answer((), *UNSENT)
    wanted = request(outsider, way, way.neighbour)
    question = arrive(asked_of, outsider.physical, wanted)
    steps = [outside(outsider.network, outsider.address, wanted)]
    steps += (step for step in narrate(rows, question) if step.table in _ANSWERING)
    answers = (arrival.packet for arrival in question.arrivals if _is_answer(arrival.packet))
    mac = next((answer[ETH_SRC] for answer in answers), None)
    if mac is None:
        return Answer(tuple(steps), *NOBODYS, journeys=(question,))
    steps.append(outside(outsider.network, outsider.address, sent))
    return _fate(rows, cloud, steps, question, arrive(cloud, outsider.physical, sent.put(ETH_DST, mac)))


def _is_answer(packet: Packet) -> bool:
    """Does it tell a neighbour's MAC?"""
    return packet[f.ARP_OP] == REPLY or (packet[f.IPV6_PROTO] == f.ICMP6 and packet[f.ICMPV6_TYPE] == ADVERTISEMENT)


def _fate(rows: Rows, cloud: Mapping[str, Host], steps: list[Step], question: Journey, journey: Journey) -> Answer:
    """What becomes of a packet whose neighbour was found, by a question: its steps after those."""
    told, journeys = [*steps, *narrate(rows, journey)], [question, journey]
    if (onward := _resumed(rows, cloud, journey)) is not None:
        journey = onward
        told += narrate(rows, journey)
        journeys.append(journey)
    found = Answer(tuple(told), journey=journey, journeys=tuple(journeys))
    if journey.arrivals:
        return replace(found, physical=next(iter(journey.arrivals)).physical)
    reason, sentence = _reason(journey)
    return replace(found, reason=reason, sentence=sentence)


def _number(mac: Mac) -> int:
    return ETH_DST(mac).numbers[0]


def _asking(rows: Rows, question: Journey) -> Iterator[Step]:
    """How a MAC is asked for; of a question to everybody on a wire, not each guest that hears it."""
    everybody = any(arrival.physical for arrival in question.arrivals)
    for step in narrate(rows, question):
        if not everybody or step.table in _ASKING:
            yield step
        if everybody and step.table == PHYSICAL.name:
            return


_ASKING: Final = frozenset(table.name for table in (CLASSIFY, NEIGH_REPLY, PHYSICAL))
_ANSWERING: Final = frozenset(table.name for table in (GATED, NEIGH_REPLY))


def _answered(rows: Rows, question: Journey, network_id: str, address: Address) -> Mac | None:
    """The MAC of a sender's neighbour, as it was told; None if nobody answers."""
    for end in _ends(question):
        if end.fate is Fate.ANSWERED:
            return Mac(ETH_SRC.show(end.packet[ETH_SRC]))
    if any(arrival.physical for arrival in question.arrivals):
        return _physical(rows, network_id, address)
    return None


def _physical(rows: Rows, network_id: str, address: Address) -> Mac | None:
    """The MAC of a physical host; None if the address is a port's."""
    if rows.where(Port, reservations=(network_id, address)):
        return None
    heard = rows.get(Neighbour, neighbour_id(network_id, address))
    return heard.mac_address if heard else SOMEBODY


def _resumed(rows: Rows, cloud: Mapping[str, Host], journey: Journey) -> Journey | None:
    """How a packet goes on whose router had to ask on a physical network for its next hop; None if it had not."""
    for leg in journey.legs:
        for end in leg.trace.ends:
            if end.why is not Why.NO_NEIGHBOUR:
                continue
            network: Network | None = tagged(rows, Network, "network", end.packet[NET])
            mac = _physical(rows, network.id, _next_hop(end.packet)) if network and network.physical_network else None
            if mac is not None:
                known = end.packet.put(ETH_DST, _number(mac)).put(NEIGH_HIT, 1)
                return follow(cloud, leg.chassis, known, L3_OUT)
    return None


def _next_hop(packet: Packet) -> Address:
    return Address(f.ipv4_text(packet[NH4]) if packet[NH4] else f.IPV6_DST.show(packet[NH6]))


def _ends(journey: Journey) -> Iterator[End]:
    return (end for leg in journey.legs for end in leg.trace.ends)


def _reason(journey: Journey) -> tuple[str, str]:
    """Why nothing of a packet arrived: a packet to one receiver ends once."""
    if any(end.fate is Fate.LOST for end in journey.lost):
        return ASTRAY
    if journey.arrivals:
        return UNANSWERED
    end = next((end for end in _ends(journey) if end.fate is not Fate.SENT), None) or journey.lost[0]
    if end.words:
        return end.fate.name, f"{end.fate.value}: {end.words}"
    return (end.why.name, end.why.sentence) if end.why else (end.fate.name, end.fate.value)


def as_json(answer: Answer) -> dict[str, Any]:
    """The answer for machines; a delivered packet has neither reason nor sentence."""
    return {
        "fate": "delivered" if answer.delivered else "dropped",
        "reason": answer.reason or None,
        "sentence": answer.sentence or None,
        "physical_network": answer.physical or None,
        "hops": [
            {"chassis": step.chassis, "table": step.table, "words": step.words, **asdict(step.facts)}
            for step in answer.steps
        ],
    }


def happened(found: Mapping[str, Any]) -> Iterator[str]:
    """What became of the packet when it was really sent (`live`)."""
    for each in found["seen"]:
        yield f"live: found on {each['chassis']}, table {each['table']}, {each['words']}, after {found['after_ms']} ms"
    if found["trouble"]:
        yield f"live: {found['trouble']}"
    elif found["agrees"]:
        yield "live: as foretold"
    else:
        ends = "; ".join(f"{each['chassis']}, table {each['table']}, {each['words']}" for each in found["foretold"])
        yield f"live: NOT as foretold: {ends or 'no end where it could be caught'}"


def text(answer: Mapping[str, Any]) -> Iterator[str]:
    """A line a hop, one for each hypervisor that may not hold all this yet, and at last the fate."""
    width = max((len(hop["chassis"]) for hop in answer["hops"]), default=0)
    for hop in answer["hops"]:
        yield f"{hop['chassis']:<{width}} {hop['table']:<16} {hop['words']}"
    for name, state in answer.get("behind", {}).items():
        yield f"{name} may not hold all of this: {state}"
    for leg in answer.get("ofproto", ()):
        yield f"{leg['chassis']}: {shlex.join(('ovs-appctl', *leg['command']))}"
    if "live" in answer:
        yield from happened(answer["live"])
    yield fate(answer)


def fate(answer: Mapping[str, Any]) -> str:
    """What became of it at last."""
    if answer["fate"] != "delivered":
        return f"dropped: {answer['reason']} {answer['sentence']}"
    physical = answer.get("physical_network")
    return f"delivered to physical network {physical}" if physical else "delivered"
