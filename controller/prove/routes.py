"""Which way routers take packets, by the model alone: from a network, by the MAC address of a router's interface, to a
port's address.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from controller.flows.attachment import attached, is_interface, joins
from controller.model.records import ROUTED, Address, Mac, Port, Router, Subnet
from controller.model.store import Rows
from controller.model.view import View

MOST_ROUTERS: Final = 8
_Address = IPv4Address | IPv6Address
_Block = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Way:
    """To `address`, from a network, for the MAC address of a router there, over so many routers."""

    network: str
    mac: Mac
    address: Address
    hops: int


@dataclass(frozen=True, slots=True)
class _Next:
    """What a router knows: a block, the interface that leads there, and the next hop, if it is not the receiver."""

    block: _Block
    interface: Port
    nexthop: _Address | None


class _Several(Exception):
    """Raised where a route has several next hops: which of them is taken, nobody knows."""


class Routes:
    """Every router of a model."""

    def __init__(self, rows: Rows) -> None:
        self.rows, self.view = rows, View(rows)

    @cached_property
    def _interfaces(self) -> list[Port]:
        return [port for port in self.rows.all(Port) if is_interface(port) and joins(self.view, port)]

    @cached_property
    def _by_network(self) -> Mapping[str, list[Port]]:
        found = defaultdict(list)
        for port in self._interfaces:
            found[port.network_id].append(port)
        return found

    @cached_property
    def _by_router(self) -> Mapping[str, list[Port]]:
        found = defaultdict(list)
        for port in self._interfaces:
            found[port.device_id].append(port)
        return found

    def macs(self, network: str) -> list[Mac]:
        """The MAC addresses of routers on a network."""
        return [port.mac_address for port in self._by_network.get(network, ())]

    def plain(self, networks: Iterable[str]) -> Iterator[Address]:
        """The addresses of guests to which every way is one: over several next hops none leads, and no router has
        them."""
        ports = [port for network in networks for port in self.rows.where(Port, network_id=network)]
        own = {ip.ip_address for port in ports if port.device_owner in ROUTED for ip in port.fixed_ips}
        for address in {ip.ip_address for port in ports for ip in port.fixed_ips} - own:
            if not self._is_unsure(address):
                yield address

    def _is_unsure(self, address: Address) -> bool:
        """Does some router have several ways to an address, or is it somebody's beyond what the model knows?"""
        target = ip_address(address)
        return any(target in block for block in self._several)

    @cached_property
    def _several(self) -> list[_Block]:
        found = []
        for router in self.rows.all(Router):
            destinations = [route.destination for route in router.routes]
            found += [ip_network(each) for each in {*destinations} if destinations.count(each) > 1]
        return found

    def to(self, receiver: Port) -> Iterator[Way]:
        """Each way to each address of a port."""
        for ip in receiver.fixed_ips if self._interfaces else ():
            if self._is_unsure(ip.ip_address):
                continue
            for interface in self._reaching(receiver.network_id):
                hops = self._hops(interface, ip_address(ip.ip_address), receiver.id)
                if hops is not None:
                    yield Way(interface.network_id, interface.mac_address, ip.ip_address, hops)

    def _reaching(self, network: str) -> list[Port]:
        """The interfaces of all routers that are joined, however far, with a network."""
        found, ahead = {network}, [network]
        interfaces: dict[str, Port] = {}
        while ahead:
            for port in self._by_network.get(ahead.pop(), ()):
                interfaces[port.id] = port
                for other in self._by_router[port.device_id]:
                    if other.network_id not in found:
                        found.add(other.network_id)
                        ahead.append(other.network_id)
        return [*interfaces.values()]

    def _hops(self, interface: Port, target: _Address, receiver: str) -> int | None:
        """Over how many routers a packet comes from an interface to a port; None if it does not."""
        for passed in range(1, MOST_ROUTERS + 1):
            router = self.rows.get(Router, interface.device_id)
            if router is None or self._is_own(router, target):
                return None
            best = self._best(router, target)
            if best is None:
                return None
            nexthop = best.nexthop or target
            guest = self._holder(best.interface.network_id, nexthop)
            if guest is not None:
                return passed if guest == receiver else None
            onward = self._router_at(best.interface.network_id, nexthop)
            if onward is None or best.nexthop is None:
                return None
            interface = onward
        return None

    def _is_own(self, router: Router, target: _Address) -> bool:
        return any(ip_address(ip.ip_address) == target for port in self._by_router[router.id] for ip in port.fixed_ips)

    def _best(self, router: Router, target: _Address) -> _Next | None:
        ways = [way for way in self._ways(router) if target in way.block]
        return max(ways, key=lambda way: (way.block.prefixlen, way.nexthop is None), default=None)

    def _ways(self, router: Router) -> list[_Next]:
        known = self._known.get(router.id)
        if known is None:
            connected = [
                _Next(ip_network(subnet.cidr), port, None)
                for port in self._by_router[router.id]
                for ip in port.fixed_ips
                if (subnet := self.rows.get(Subnet, ip.subnet_id)) is not None
            ]
            static = [
                _Next(ip_network(route.destination), way.interface, hop)
                for route in router.routes
                for hop in [ip_address(route.nexthop)]
                for way in [way for way in connected if hop in way.block][:1]
            ]
            known = self._known[router.id] = [*connected, *static]
        return known

    @cached_property
    def _known(self) -> dict[str, list[_Next]]:
        return {}

    def _holder(self, network: str, address: _Address) -> str | None:
        ports = self.rows.where(Port, reservations=(network, Address(str(address))))
        return next((port.id for port in ports if attached(self.view, port.id)), None)

    def _router_at(self, network: str, address: _Address) -> Port | None:
        return next(
            (
                port
                for port in self._by_network.get(network, ())
                if any(ip_address(ip.ip_address) == address for ip in port.fixed_ips)
            ),
            None,
        )
