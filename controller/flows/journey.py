"""The way of a packet through the cloud: from switch to switch, as far as tunnels and physical networks lead."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

from controller.flows.action import Table
from controller.flows.conntrack import Connections
from controller.flows.fields import ETH_DST, IN_PORT, TUN_DST, TUN_ID, TUN_IPV6_DST, tunnel_from, tunnel_to
from controller.flows.flow import Group
from controller.flows.packet import Packet, packet
from controller.flows.pipeline import CLASSIFY, FROM_PHYS, GATE, RTR, TUNNEL_PORTS, Why, patch_port, probe_port
from controller.flows.trace import End, Fate, Switch, Trace, trace
from controller.model.records import Address, Chassis, Link
from controller.model.store import Rows

MAX_TUNNELS: Final = 8
"""How many tunnels and wires a packet is followed through; in this cloud it takes one, and more only through guests."""

_TUNNELS: Final = frozenset(TUNNEL_PORTS.values())
_OF_OTHERS: Final = frozenset({Why.UNKNOWN_VLAN, Why.UNKNOWN_UNICAST, Why.BACK_TO_WIRE})
"""Why a hypervisor drops what it hears from a wire and nobody of its own wants, unless that comes to a router first."""


@dataclass(frozen=True, slots=True)
class Host:
    """A hypervisor to trace through: its flows, where its tunnels end, the interfaces behind its OpenFlow ports.

    `wires` are the physical networks behind interfaces, `dead` the OpenFlow ports that are not alive; on one that is
    `away` no gateway is. `connections` is the one thing here that remembers.
    """

    switch: Switch
    vtep: Address | None
    interfaces: Mapping[int, str]
    wires: Mapping[str, str] = field(default_factory=dict)
    connections: Connections = field(default_factory=Connections)
    dead: frozenset[int] = frozenset()
    away: bool = False

    def port(self, interface: str) -> int | None:
        """The OpenFlow port of an interface."""
        return next((number for number, name in self.interfaces.items() if name == interface), None)


@dataclass(frozen=True, slots=True)
class Leg:
    """The way of one copy through one hypervisor."""

    chassis: str
    trace: Trace


@dataclass(frozen=True, slots=True)
class Arrival:
    """Where a copy left the cloud: the interface of a guest, or of a physical network, and the packet as it came out.

    `physical` is the name of that physical network, "" at a guest.
    """

    chassis: str
    interface: str
    packet: Packet
    physical: str = ""


@dataclass(frozen=True, slots=True)
class Journey:
    """The way of a packet and of all its copies through the cloud.

    `lost` are copies that went into a tunnel nobody has the other end of, or round and round.
    """

    legs: tuple[Leg, ...]
    arrivals: tuple[Arrival, ...]
    lost: tuple[End, ...]


class _Links(Mapping[int, str]):
    """The interfaces behind the OpenFlow ports of a hypervisor, read when they are wanted."""

    def __init__(self, rows: Rows, chassis: str) -> None:
        self._rows, self._chassis = rows, chassis

    @cached_property
    def _found(self) -> dict[int, str]:
        return {link.ofport: link.interface for link in self._rows.where(Link, chassis=self._chassis)}

    def __getitem__(self, ofport: int) -> str:
        return self._found[ofport]

    def __iter__(self) -> Iterator[int]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def hosts(rows: Rows, switch: Callable[[str], Switch], away: Set[str] = frozenset()) -> dict[str, Host]:
    """Every hypervisor, with its switch as it should be and no connections; gateways that are `away` are dead."""
    return {
        chassis.id: Host(
            switch(chassis.id),
            chassis.encap_ip,
            _Links(rows, chassis.id),
            {patch_port(physical): physical for physical, _ in chassis.bridge_mappings},
            Connections(sctp_ports=chassis.datapath_type != "netdev"),
            frozenset(link.ofport for each in away if (link := rows.get(Link, f"{chassis.id}/{probe_port(each)}"))),
            chassis.id in away,
        )
        for chassis in rows.all(Chassis)
    }


def follow(cloud: Mapping[str, Host], chassis: str, sent: Packet, table: Table = CLASSIFY) -> Journey:
    """What becomes of a packet that comes into a hypervisor by its `in_port`, or is in a table of it.

    A frame on a physical network arrives there, unless it is for a guest, or a router, of another hypervisor alone.
    """
    return _journey(_steps(cloud, chassis, sent, 0, table))


def arrive(cloud: Mapping[str, Host], physical: str, frame: Packet) -> Journey:
    """What becomes of a frame that a host of a physical network sends there; there it ends if nobody takes it."""
    taken = [*_on_wire(cloud, "", physical, frame, 0)]
    if not taken or frame[ETH_DST] & _GROUP:
        taken.append(Arrival("", "", frame, physical))
    return _journey(iter(taken))


def _journey(found: Iterator[Leg | Arrival | End]) -> Journey:
    steps = [*found]
    return Journey(
        tuple(step for step in steps if isinstance(step, Leg)),
        tuple(step for step in steps if isinstance(step, Arrival)),
        tuple(step for step in steps if isinstance(step, End)),
    )


def _steps(
    cloud: Mapping[str, Host], chassis: str, came: Packet, crossed: int, table: Table = CLASSIFY
) -> Iterator[Leg | Arrival | End]:
    host = cloud[chassis]
    leg = Leg(chassis, trace(host.switch, came, host.connections, table, host.dead))
    yield leg
    for end in leg.trace.sent:
        interface = host.interfaces.get(end.port or 0, "")
        physical = host.wires.get(interface, "")
        if interface not in _TUNNELS and not physical:
            yield Arrival(chassis, interface, end.packet.bare)
        elif crossed == MAX_TUNNELS:
            yield replace(end, fate=Fate.LOOPED)
        elif physical:
            taken = [*_on_wire(cloud, chassis, physical, end.packet.bare, crossed + 1)]
            if not taken or end.packet[ETH_DST] & _GROUP:
                yield Arrival(chassis, interface, end.packet.bare, physical)
            yield from taken
        elif onward := _through(cloud, host, interface, end.packet):
            yield from _steps(cloud, *onward, crossed + 1)
        else:
            yield replace(end, fate=Fate.LOST)


_GROUP: Final = 1 << 40
"""The bit of MAC addresses that makes them a group's (IEEE 802, section 8.2.2)."""


def _on_wire(
    cloud: Mapping[str, Host], sender: str, physical: str, frame: Packet, crossed: int
) -> Iterator[Leg | Arrival | End]:
    """What becomes of a frame of a physical network in the hypervisors there that somebody takes it at."""
    for name, other in cloud.items():
        wire = next((interface for interface, each in other.wires.items() if each == physical), "")
        if name == sender or (port := other.port(wire)) is None:
            continue
        steps = [*_steps(cloud, name, Packet({**frame.values, IN_PORT.wire: port}, frame.length), crossed)]
        if other.away and any(isinstance(step, Leg) and _is_gated(step) for step in steps):
            continue
        ends = [end for step in steps if isinstance(step, Leg) for end in step.trace.ends]
        if not all(map(_is_of_others, ends)):
            yield from steps


def _is_of_others(end: End) -> bool:
    """Is a frame of a wire left to others there?"""
    return end.why is Why.STANDBY or (end.why in _OF_OTHERS and not end.packet[RTR])


def _is_gated(leg: Leg) -> bool:
    """Is it asked there, of a frame from a wire, whether that hypervisor is the gateway?"""
    return any(isinstance(hop.met, Group) and hop.met.kind is GATE and hop.packet[FROM_PHYS] for hop in leg.trace.hops)


def _through(cloud: Mapping[str, Host], host: Host, interface: str, sent: Packet) -> tuple[str, Packet] | None:
    """The hypervisor at the other end of a tunnel, and the packet as it comes in there."""
    for name, other in cloud.items():
        if host.vtep is None or other.vtep is None or other is host:
            continue
        to = tunnel_to(other.vtep)
        if sent[to.field] == to.value and (port := other.port(interface)) is not None:
            came = packet(IN_PORT(port), tunnel_from(host.vtep), TUN_ID(sent[TUN_ID]))
            here = {TUN_DST.wire, TUN_IPV6_DST.wire} & sent.values.keys()
            kept = {wire: sent.values[wire] for wire in here}
            return name, Packet({**sent.bare.values, **came.values, **kept}, sent.length)
    return None
