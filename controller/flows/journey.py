"""The way of a packet through the cloud: from switch to switch, as far as its tunnels lead."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

from controller.flows.conntrack import Connections
from controller.flows.fields import IN_PORT, TUN_DST, TUN_ID, TUN_IPV6_DST, tunnel_from, tunnel_to
from controller.flows.packet import Packet, packet
from controller.flows.pipeline import TUNNEL_PORTS
from controller.flows.trace import End, Fate, Switch, Trace, trace
from controller.model.records import Address, Chassis, Link
from controller.model.store import Rows

MAX_TUNNELS: Final = 8
"""How many tunnels a packet is followed through; in this cloud it takes one."""

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


def hosts(rows: Rows, switch: Callable[[str], Switch]) -> dict[str, Host]:
    """Every hypervisor, with its switch as it should be and no connections."""
    return {
        chassis.id: Host(
            switch(chassis.id),
            chassis.encap_ip,
            _Links(rows, chassis.id),
            Connections(sctp_ports=chassis.datapath_type != "netdev"),
        )
        for chassis in rows.all(Chassis)
    }


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
        if host.vtep is None or other.vtep is None or other is host:
            continue
        to = tunnel_to(other.vtep)
        if sent[to.field] == to.value and (port := other.port(interface)) is not None:
            came = packet(IN_PORT(port), tunnel_from(host.vtep), TUN_ID(sent[TUN_ID]))
            here = {TUN_DST.wire, TUN_IPV6_DST.wire} & sent.values.keys()
            kept = {wire: sent.values[wire] for wire in here}
            return name, Packet({**sent.bare.values, **came.values, **kept}, sent.length)
    return None
