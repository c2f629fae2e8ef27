"""The way of a packet through the cloud: from switch to switch, as far as its tunnels lead."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from controller.flows.conntrack import Connections
from controller.flows.fields import IN_PORT, TUN_DST, TUN_ID, TUN_IPV6_DST, tunnel_from, tunnel_to
from controller.flows.flow import Entry, Key
from controller.flows.packet import Packet, packet
from controller.flows.pipeline import TUNNEL_PORTS
from controller.flows.trace import End, Fate, Switch, Trace, trace
from controller.model.records import Address, Chassis, Link
from controller.model.store import Rows

MAX_TUNNELS: Final = 8
"""How many tunnels a packet is followed through; in this cloud it takes one."""

UNSEEN: Final = Switch(())
"""In the place of a switch that nobody has looked into."""

_TUNNELS: Final = frozenset(TUNNEL_PORTS.values())


@dataclass(frozen=True, slots=True)
class Host:
    """A hypervisor to trace through: its flows, where its tunnels end, the interfaces behind its OpenFlow ports.

    `connections` is the one thing here that remembers.
    """

    switch: Switch
    vtep: Address | None
    interfaces: Mapping[int, str]
    connections: Connections = field(default_factory=Connections)

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
    """Where a copy left the cloud: the interface of a guest, and the packet as it came out."""

    chassis: str
    interface: str
    packet: Packet


@dataclass(frozen=True, slots=True)
class Journey:
    """The way of a packet and of all its copies through the cloud.

    `lost` are copies that went into a tunnel nobody has the other end of, or round and round.
    """

    legs: tuple[Leg, ...]
    arrivals: tuple[Arrival, ...]
    lost: tuple[End, ...]


def hosts(rows: Rows, desired: Callable[[str], Mapping[Key, Entry]]) -> dict[str, Host]:
    """Every hypervisor, with what is desired of it and no connections."""
    return _hosts(rows, lambda name: Switch.of(desired(name)))


def _hosts(rows: Rows, switch: Callable[[str], Switch]) -> dict[str, Host]:
    return {
        chassis.id: Host(
            switch(chassis.id),
            chassis.encap_ip,
            {link.ofport: link.interface for link in rows.where(Link, chassis=chassis.id)},
            Connections(sctp_ports=chassis.datapath_type != "netdev"),
        )
        for chassis in rows.all(Chassis)
    }


class Explorer:
    """Follows packets whose connections nobody knows yet, and looks only into the hypervisors that they come to.

    There may be hundreds of hypervisors, and thousands of flows on each.
    """

    def __init__(self, rows: Rows, desired: Callable[[str], Mapping[Key, Entry]]) -> None:
        self._rows = rows
        self._desired = desired
        self._switches: dict[str, Switch] = {}

    def follow(self, chassis: str, sent: Packet) -> Journey:
        """What becomes of a packet that comes into a hypervisor by its `in_port`."""
        self._look(chassis)
        while True:
            journey = follow(_hosts(self._rows, lambda name: self._switches.get(name, UNSEEN)), chassis, sent)
            ahead = [leg.chassis for leg in journey.legs if leg.chassis not in self._switches]
            if not ahead:
                return journey
            for name in ahead:
                self._look(name)

    def _look(self, chassis: str) -> None:
        if chassis not in self._switches:
            self._switches[chassis] = Switch.of(self._desired(chassis))


def follow(cloud: Mapping[str, Host], chassis: str, sent: Packet) -> Journey:
    """What becomes of a packet that comes into a hypervisor by its `in_port`."""
    steps = [*_steps(cloud, chassis, sent, 0)]
    return Journey(
        tuple(step for step in steps if isinstance(step, Leg)),
        tuple(step for step in steps if isinstance(step, Arrival)),
        tuple(step for step in steps if isinstance(step, End)),
    )


def _steps(cloud: Mapping[str, Host], chassis: str, came: Packet, tunnels: int) -> Iterator[Leg | Arrival | End]:
    host = cloud[chassis]
    leg = Leg(chassis, trace(host.switch, came, host.connections))
    yield leg
    for end in leg.trace.sent:
        interface = host.interfaces.get(end.port or 0, "")
        if interface not in _TUNNELS:
            yield Arrival(chassis, interface, end.packet.bare)
            continue
        onward = None if tunnels == MAX_TUNNELS else _through(cloud, host, interface, end.packet)
        if onward is None:
            yield replace(end, fate=Fate.LOOPED if tunnels == MAX_TUNNELS else Fate.LOST)
        else:
            yield from _steps(cloud, *onward, tunnels + 1)


def _through(cloud: Mapping[str, Host], host: Host, interface: str, sent: Packet) -> tuple[str, Packet] | None:
    """The hypervisor at the other end of a tunnel, and the packet as it comes in there."""
    for name, other in cloud.items():
        port = other.port(interface)
        if host.vtep is None or other.vtep is None or port is None or other is host:
            continue
        to = tunnel_to(other.vtep)
        if sent[to.field] == to.value:
            came = packet(IN_PORT(port), tunnel_from(host.vtep), TUN_ID(sent[TUN_ID]))
            here = {TUN_DST.wire, TUN_IPV6_DST.wire} & sent.values.keys()
            kept = {wire: sent.values[wire] for wire in here}
            return name, Packet({**sent.bare.values, **came.values, **kept}, sent.length)
    return None
