"""External networks by the model alone: which hypervisors take whose packets there, and whom they reach there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address, ip_network

from controller.flows.attachment import attached
from controller.flows.pipeline import probe_port
from controller.flows.presence import way
from controller.flows.ways_out import gateway_port, gateways
from controller.model.records import (
    ROUTED,
    Address,
    FloatingIp,
    Link,
    Mac,
    Neighbour,
    Network,
    Port,
    PortForwarding,
    Router,
    Subnet,
)
from controller.model.segments import PHYSICAL
from controller.prove.cloud import Cloud
from controller.prove.routes import Exit, Routes, Unsure
from controller.prove.sets import Set, union


@dataclass(frozen=True, slots=True)
class Translated:
    """Where a floating IP is translated, and whether that is where its guest is."""

    chassis: tuple[str, ...] = ()
    distributed: bool = False


class Externals:
    """External networks, and who takes what there."""

    def __init__(self, cloud: Cloud, routes: Routes) -> None:
        self.cloud, self.space, self.rows, self.view, self.routes = cloud, cloud.space, cloud.rows, routes.view, routes
        self._ranked: dict[str, tuple[str, ...]] = {}
        self._hosts: dict[str, list[tuple[Address, Mac]]] = {}
        self._doubts: dict[str, Set] = {}

    @cached_property
    def networks(self) -> list[Network]:
        """The networks that routers have their gateways on, and that are on a wire."""
        used = {router.external_network_id for router in self.rows.all(Router) if router.admin_state_up}
        found = (self.rows.get(Network, id) for id in sorted(used - {""}))
        return [each for each in found if each is not None and each.network_type in PHYSICAL]

    # ---- who takes what outside -------------------------------------------------------------------------------

    def ranked(self, router: str) -> tuple[str, ...]:
        """The gateways of a router, the best first."""
        known = self._ranked.get(router)
        if known is None:
            known = self._ranked[router] = gateways(self.view, router)
        return known

    def takes(self, router: str, chassis: str) -> bool:
        """May it come to be a gateway's turn? Only if it watches all that are better."""
        ranked = self.ranked(router)
        return chassis in ranked and all(self._watches(chassis, better) for better in ranked[: ranked.index(chassis)])

    def _watches(self, chassis: str, other: str) -> bool:
        linked = self.rows.get(Link, f"{chassis}/{probe_port(other)}") is not None
        return linked and way(self.view, (chassis, other)) is not None

    def led(self, router: str, chassis: str) -> Iterator[str]:
        """The gateways that may take what begins on a hypervisor."""
        for gateway in self.ranked(router):
            if gateway == chassis:
                yield gateway
                return
            if self._watches(chassis, gateway) and self.takes(router, gateway):
                yield gateway

    def translated(self, floating: FloatingIp) -> Translated | None:
        """Where a floating IP is translated; None where only guests know who holds what it stands for."""
        router = self.rows.get(Router, floating.router_id)
        if router is None or not router.admin_state_up or router.external_network_id != floating.floating_network_id:
            return Translated()
        if not floating.port_id:
            forwards = self.rows.where(PortForwarding, floatingip_id=floating.id)
            return Translated(self.ranked(router.id) if forwards else ())
        port, inner = self.rows.get(Port, floating.port_id), floating.fixed_ip_address
        if port is None or inner is None:
            return Translated()
        guest = self.routes.fixed(port.network_id).get(inner)
        if guest is None:
            return None if self.routes.is_loose(port.network_id, inner) else Translated()
        placed, network = attached(self.view, guest), self.rows.get(Network, floating.floating_network_id)
        assert placed is not None
        if network is not None and self.port_to(placed.chassis, network) is not None:
            return Translated((placed.chassis,), distributed=True)
        return Translated(self.ranked(router.id))

    def port_to(self, chassis: str, network: Network) -> int | None:
        """The port of a hypervisor to the wire of a network."""
        host = self.cloud.hosts.get(chassis)
        wires = host.wires.items() if host else ()
        return next((port for port, physical in wires if physical == network.physical_network), None)

    @cached_property
    def floating(self) -> Mapping[str, list[FloatingIp]]:
        found: dict[str, list[FloatingIp]] = defaultdict(list)
        for each in self.rows.all(FloatingIp):
            found[each.router_id].append(each)
        return found

    # ---- who is outside ---------------------------------------------------------------------------------------

    def hosts(self, network: str) -> list[tuple[Address, Mac]]:
        """The physical hosts of an external network that were heard, by address."""
        known = self._hosts.get(network)
        if known is None:
            blocks = [ip_network(each.cidr) for each in self.rows.where(Subnet, network_id=network)]
            known = self._hosts[network] = [
                (each.address, each.mac_address)
                for each in self._neighbours.get(network, ())
                if not each.port_id
                and any(ip_address(each.address) in each_block for each_block in blocks)
                and not self._is_ports(network, each.address)
            ]
        return known

    @cached_property
    def _neighbours(self) -> Mapping[str, list[Neighbour]]:
        found: dict[str, list[Neighbour]] = defaultdict(list)
        for each in self.rows.all(Neighbour):
            found[each.network_id].append(each)
        return found

    def _is_ports(self, network: str, address: Address) -> bool:
        owners = self.rows.where(Port, reservations=(network, address))
        return any(port.device_owner in ROUTED or attached(self.view, port.id) for port in owners)

    def _of_ports(self, network: str) -> Set:
        """What is for ports of an external network."""
        known = self._doubts.get(network)
        if known is None:
            found: list[str] = []
            for port in self.rows.where(Port, network_id=network):
                found += [ip.ip_address for ip in port.fixed_ips]
                found += [pair.ip_address for pair in port.allowed_address_pairs]
            found += [each.address for each in self._neighbours.get(network, ()) if each.port_id]
            known = self._doubts[network] = union(map(self.routes.to, {*found}), self.space.nothing)
        return known

    def _is_doubtful(self, network: str, address: Address) -> bool:
        return self._of_ports(network) & self.routes.to(address) != self.space.nothing

    def unsure(self, exit: Exit) -> Iterator[Unsure]:
        """What leaves for a port of the external network, and may come in again."""
        outer = gateway_port(self.view, exit.router)
        if outer is None:
            return
        if exit.nexthop is None:
            found = exit.packets & self._of_ports(outer.network_id)
        else:
            found = exit.packets if self._is_doubtful(outer.network_id, exit.nexthop) else self.space.nothing
        if found != self.space.nothing:
            yield Unsure(found, "external networks, as guests ask for addresses there", outer.network_id)

    def reached(self, exit: Exit, network: str) -> Iterator[tuple[Set, Mac]]:
        """The packets that leave for each host of the wire. What is for others goes nowhere."""
        for address, mac in self.hosts(network):
            if exit.nexthop == address:
                yield exit.packets, mac
            elif exit.nexthop is None:
                yield exit.packets & self.routes.to(address), mac
