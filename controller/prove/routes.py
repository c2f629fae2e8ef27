"""Which way routers take packets, by the model alone: from a network, by the MAC address of a router's interface, to a
guest, or to the outside.

Whose an address is the model says of fixed addresses, and of hosts on wires that were heard. Of others (address pairs,
what guests say) nobody knows for sure: what is for these, or for a router itself, is `Unsure`, and nothing is asked
about it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from controller.flows.attachment import attached, is_interface, joins
from controller.flows.fields import link_local
from controller.flows.holding import is_down
from controller.flows.pipeline import ECMP_ROUTES
from controller.flows.ways_out import gateway_port
from controller.model.records import ROUTED, Address, Cidr, HostRoute, Mac, Neighbour, Port, Router, Subnet
from controller.model.store import Rows
from controller.model.view import View
from controller.prove.sets import Set, Space, union
from controller.prove.values import block

IPV4, IPV6 = 0x0800, 0x86DD
MOST_ROUTERS: Final = 8
_EVERYWHERE: Final = {4: Cidr("0.0.0.0/0"), 6: Cidr("::/0")}
_Address = IPv4Address | IPv6Address
_Block = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Next:
    """Where a router sends packets: out of an interface, to a next hop, or (None) to the receiver itself."""

    interface: Port
    nexthop: Address | None


@dataclass(frozen=True, slots=True)
class Lead:
    """A block that a router knows, what is for it, and its next hops, of which any is taken; none of which nobody
    knows."""

    block: _Block
    packets: Set
    nexts: tuple[Next, ...]


@dataclass(frozen=True, slots=True)
class End:
    """To a guest: these of the packets that came to a router, over so many routers, from the MAC address of the last.

    `chosen` are the next hops that were taken where there were others.
    """

    packets: Set
    hops: int
    receiver: str
    source: Mac
    chosen: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Exit:
    """To the outside, by a router's gateway, and to a next hop there, or (None) to the receiver itself."""

    packets: Set
    hops: int
    router: str
    nexthop: Address | None


@dataclass(frozen=True, slots=True)
class Unsure:
    """Nobody knows, and why."""

    packets: Set
    why: str
    about: str


Fate = End | Exit | Unsure


@dataclass(frozen=True, slots=True)
class Way:
    """An end of what is sent on a network to the MAC address of a router there."""

    network: str
    mac: Mac
    end: End


class Routes:
    """Every router of a model."""

    def __init__(self, rows: Rows, space: Space) -> None:
        self.rows, self.view, self.space = rows, View(rows), space
        self._fates: dict[str, list[Fate]] = {}
        self._leads: dict[str, list[Lead]] = {}
        self._to: dict[str, Set] = {}

    @cached_property
    def _interfaces(self) -> list[Port]:
        return [port for port in self.rows.all(Port) if is_interface(port) and joins(self.view, port)]

    @cached_property
    def by_network(self) -> Mapping[str, list[Port]]:
        """The interfaces of routers, by network."""
        found = defaultdict(list)
        for port in self._interfaces:
            found[port.network_id].append(port)
        return found

    @cached_property
    def by_router(self) -> Mapping[str, list[Port]]:
        """The same by router."""
        found = defaultdict(list)
        for port in self._interfaces:
            found[port.device_id].append(port)
        return found

    def macs(self, network: str) -> list[Mac]:
        """The MAC addresses of routers on a network."""
        return [port.mac_address for port in self.by_network.get(network, ())]

    def fates(self, interface: Port) -> list[Fate]:
        """What becomes of all IP packets that come to a router by an interface, if they have hops enough."""
        known = self._fates.get(interface.id)
        if known is None:
            start = self.space.is_("eth_type", IPV4) | self.space.is_("eth_type", IPV6)
            known = self._fates[interface.id] = [*self._at(interface.device_id, interface, start, 1, ())]
        return known

    def ways(self, interface: Port) -> Iterator[Way]:
        """To guests."""
        for fate in self.fates(interface):
            if isinstance(fate, End):
                yield Way(interface.network_id, interface.mac_address, fate)

    # ---- at a router ------------------------------------------------------------------------------------------

    def _at(
        self, router: str, interface: Port | None, packets: Set, hops: int, chosen: tuple[tuple[str, str, str], ...]
    ) -> Iterator[Fate]:
        """At a router, which is the one of so many; `interface` is where they came in, if it is one inside."""
        if hops > MOST_ROUTERS:
            return
        own = packets & self.own(router, interface)
        if own != self.space.nothing:
            yield Unsure(own, "", "")
        yield from self.led(router, packets & ~own, hops, chosen)

    def own(self, router: str, interface: Port | None) -> Set:
        """What is for the router itself: the addresses of all its ports, link-local ones where it came in."""
        ports = self.rows.where(Port, device_id=router)
        found = [ip.ip_address for port in ports if port.device_owner in ROUTED for ip in port.fixed_ips]
        here = [port for port in ports if interface and port.network_id == interface.network_id]
        found += [link_local(port.mac_address) for port in here]
        return union(map(self.to, found), self.space.nothing)

    def to(self, address: str) -> Set:
        """What is for an address, or a block of them."""
        known = self._to.get(address)
        if known is None:
            sort, value, mask = block(address)
            slot, family = ("nw_dst", IPV4) if sort == "ip4" else ("ipv6_dst", IPV6)
            known = self._to[address] = self.space.is_("eth_type", family) & self.space.is_(slot, value, mask)
        return known

    def led(
        self, router: str, packets: Set, hops: int = 1, chosen: tuple[tuple[str, str, str], ...] = ()
    ) -> Iterator[Fate]:
        """By the longest prefix."""
        nothing, left = self.space.nothing, packets
        for lead in self.leads(router):
            taken = left & lead.packets
            if taken == nothing:
                continue
            left = left & ~taken
            if not lead.nexts:
                yield Unsure(
                    taken, "destinations with several next hops beyond the sixteenth", f"{router} {lead.block}"
                )
            for each in lead.nexts:
                several = (router, str(lead.block), str(each.nexthop))
                yield from self._beyond(
                    router, each, taken, hops, (*chosen, several) if len(lead.nexts) > 1 else chosen
                )

    def _beyond(
        self, router: str, way: Next, packets: Set, hops: int, chosen: tuple[tuple[str, str, str], ...]
    ) -> Iterator[Fate]:
        by, network = way.interface, way.interface.network_id
        if not is_interface(by):
            yield Exit(packets, hops, router, way.nexthop)
        elif way.nexthop is None:
            yield from self._connected(by, packets, hops, chosen)
        elif (guest := self.fixed(network).get(way.nexthop)) is not None:
            yield End(packets, hops, guest, by.mac_address, chosen)
        elif (onward := self._router_at(network, way.nexthop)) is not None:
            yield from self._at(onward.device_id, onward, packets, hops + 1, chosen)
        elif self.is_loose(network, way.nexthop):
            yield Unsure(packets, "next hops that only guests and hosts know", f"{router} {way.nexthop}")

    def _connected(self, by: Port, packets: Set, hops: int, chosen: tuple[tuple[str, str, str], ...]) -> Iterator[Fate]:
        """To whoever holds the address, on a network."""
        network, nothing = by.network_id, self.space.nothing
        for address, guest in self.fixed(network).items():
            if (found := packets & self.to(address)) != nothing:
                yield End(found, hops, guest, by.mac_address, chosen)
        doubtful = packets & self._doubtful(network)
        if doubtful != nothing:
            yield Unsure(doubtful, "", "")

    # ---- who is where -----------------------------------------------------------------------------------------

    def fixed(self, network: str) -> Mapping[Address, str]:
        """The fixed addresses of guests that are there, and whose they are."""
        return self._fixed.get(network, {})

    @cached_property
    def _fixed(self) -> Mapping[str, Mapping[Address, str]]:
        found: dict[str, dict[Address, str]] = defaultdict(dict)
        for port in self.rows.all(Port):
            if port.fixed_ips and attached(self.view, port.id):
                found[port.network_id].update({ip.ip_address: port.id for ip in port.fixed_ips})
        return found

    @cached_property
    def _loose(self) -> Mapping[str, list[str]]:
        """By network, the addresses, and blocks of them, of which the model does not say alone who has them: of
        routers and their kin, of pairs, and what was heard."""
        found: dict[str, list[str]] = defaultdict(list)
        for port in self.rows.all(Port):
            if port.device_owner in ROUTED:
                found[port.network_id] += [ip.ip_address for ip in port.fixed_ips]
                found[port.network_id].append(link_local(port.mac_address))
            found[port.network_id] += [pair.ip_address for pair in port.allowed_address_pairs]
        for each in self.rows.all(Neighbour):
            found[each.network_id].append(each.address)
        return found

    def is_loose(self, network: str, address: str) -> bool:
        """Is it one of these?"""
        target = ip_address(address)
        return address not in self.fixed(network) and any(
            target in ip_network(each, strict=False) for each in self._loose.get(network, ())
        )

    def _doubtful(self, network: str) -> Set:
        known = self._doubts.get(network)
        if known is None:
            nothing = self.space.nothing
            loose = union(map(self.to, {*self._loose.get(network, ())}), nothing)
            known = self._doubts[network] = loose & ~union(map(self.to, self.fixed(network)), nothing)
        return known

    @cached_property
    def _doubts(self) -> dict[str, Set]:
        return {}

    def _router_at(self, network: str, address: Address) -> Port | None:
        return next(
            (
                port
                for port in self.by_network.get(network, ())
                if any(ip.ip_address == address for ip in port.fixed_ips)
            ),
            None,
        )

    # ---- what routers know ------------------------------------------------------------------------------------

    def lead_to(self, router: str, address: str) -> Lead | None:
        """The one that an address goes by."""
        target = ip_address(address)
        return next((lead for lead in self.leads(router) if target in lead.block), None)

    def leads(self, router: str) -> list[Lead]:
        """Everything that a router knows, the longest prefix first, and its own subnets before others."""
        known = self._leads.get(router)
        if known is None:
            record = self.rows.get(Router, router)
            found = [*self._known(record)] if record is not None and record.admin_state_up else []
            known = [*self._own_subnets(router), *found]
            known.sort(key=lambda lead: -lead.block.prefixlen)  # of two alike the first stays the first
            self._leads[router] = known
        return known

    def _lead(self, to: str, *nexts: Next) -> Lead:
        return Lead(ip_network(to), self.to(to), nexts)

    def _own_subnets(self, router: str) -> Iterator[Lead]:
        for port in self.by_router.get(router, ()):
            for id in dict.fromkeys(ip.subnet_id for ip in port.fixed_ips):
                if (subnet := self.rows.get(Subnet, id)) is not None:
                    yield self._lead(subnet.cidr, Next(port, None))
        if (outer := gateway_port(self.view, router)) is not None:
            for subnet in self.rows.where(Subnet, network_id=outer.network_id):
                yield self._lead(subnet.cidr, Next(outer, None))

    def _known(self, router: Router) -> Iterator[Lead]:
        """Routes, and the default ones of a gateway. Next hops that are nobody's now are left out, unless all are."""
        outer = gateway_port(self.view, router.id)
        hops: dict[str, list[Next]] = defaultdict(list)
        for route in (*sorted(router.routes, key=lambda each: each.nexthop), *self._defaults(router, outer)):
            if (port := self._towards(router.id, outer, route)) is not None:
                hops[route.destination].append(Next(port, route.nexthop))
        alive = {to: [each for each in found if not self._is_down(each)] or found[:1] for to, found in hops.items()}
        several = sum(len(found) > 1 for found in alive.values())
        for to, found in alive.items():
            known = len(found) == 1 or several <= ECMP_ROUTES
            yield self._lead(to, *(found if known else ()))

    def _is_down(self, way: Next) -> bool:
        return way.nexthop is not None and is_down(self.view, way.interface.network_id, way.nexthop)

    def _defaults(self, router: Router, outer: Port | None) -> Iterator[HostRoute]:
        given: set[str] = {route.destination for route in router.routes}
        for ip in outer.fixed_ips if outer else ():
            subnet = self.rows.get(Subnet, ip.subnet_id)
            if subnet is not None and subnet.gateway_ip and (to := _EVERYWHERE[subnet.ip_version]) not in given:
                given.add(to)
                yield HostRoute(to, subnet.gateway_ip)

    def _towards(self, router: str, outer: Port | None, route: HostRoute) -> Port | None:
        target, ports = ip_address(route.nexthop), self._sides(router, outer)
        for port in ports:
            for ip in port.fixed_ips:
                subnet = self.rows.get(Subnet, ip.subnet_id)
                if subnet is not None and target in ip_network(subnet.cidr):
                    return port
        return None

    def _sides(self, router: str, outer: Port | None) -> Sequence[Port]:
        inner = self.by_router.get(router, [])
        return [*inner, outer] if outer else inner
