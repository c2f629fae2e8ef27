"""A router's gateway to an external network: `external_gateway_info` (api-ref, "Routers", ext-gw-mode).

The gateway is a port on the external network that has no project and holds the router's addresses there, given or
allocated, of both IP versions. It comes and goes with requests to the router alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_network

from controller.errors import BadRouter, NoAddress, RouterGatewayInUse
from controller.model import ipam
from controller.model.ipam import Wanted
from controller.model.records import GATEWAY, Address, FloatingIp, Network, Port, Router, Subnet
from controller.model.store import Rows, Transaction
from northbound.resources import ports, values
from northbound.resources.attributes import Ask
from northbound.resources.interfaces import (
    attached,
    check_apart,
    check_gateway,
    check_given,
    check_routes,
    gateway,
    interfaces,
)
from northbound.resources.schemas import ADDRESS, BOOLEAN, UUID, list_of, nullable, says, shape, table
from northbound.resources.values import Json


@dataclass(frozen=True, slots=True)
class Way:
    """What a client asks for. Without `addresses` a gateway keeps those it has, or gets some."""

    network_id: str
    enable_snat: bool
    addresses: tuple[Wanted, ...]


_IPS = list_of(table(ip_address=ADDRESS, subnet_id=UUID))
_TAKES = table(("network_id",), network_id=UUID, external_fixed_ips=_IPS, enable_snat=shape(values.boolean).takes)
_GIVES = table(network_id=UUID, external_fixed_ips=_IPS, enable_snat=BOOLEAN)


@says(nullable(_TAKES), nullable(_GIVES))
def read(value: Json) -> Way | None:
    """A network, and perhaps addresses there and whether to translate; nothing is no gateway. Raises Unfit."""
    if not value:
        return None
    given = values.keyed(value, ("network_id",), ("external_fixed_ips", "enable_snat"))
    return Way(
        values.uuid(given["network_id"]),
        addresses=values.fixed_ips(given.get("external_fixed_ips", [])),
        enable_snat=values.boolean(given.get("enable_snat", True)),
    )


def shown(rows: Rows, router: Router) -> Json:
    """What clients see of it."""
    port = gateway(rows, router)
    if port is None:
        return None
    held: list[Json] = [{"subnet_id": ip.subnet_id, "ip_address": ip.ip_address} for ip in port.fixed_ips]
    return {"network_id": port.network_id, "enable_snat": router.enable_snat, "external_fixed_ips": held}


def settle(tx: Transaction, router: Router, way: Way | None, ask: Ask) -> tuple[Router, bool]:
    """The router with the gateway that was asked for, not yet written, and whether its port is another or changed.

    Raises NotFound, BadRouter, InvalidRoutes, RouterGatewayInUse, NoMac, and what `ipam.assign` raises.
    """
    before = gateway(tx, router)
    if way is None:
        close(tx, router, ask)
    else:
        network = _external(tx, way.network_id)
        if before is None or before.network_id != network.id:
            close(tx, router, ask)
            _open(tx, router, network, way.addresses, ask)
        elif way.addresses:
            _readdress(tx, router, before, way.addresses, ask)
    check_routes(tx, router.routes, attached(tx, router))
    return (
        replace(
            router,
            external_network_id=way.network_id if way else "",
            enable_snat=way.enable_snat if way else True,
        ),
        gateway(tx, router) != before,
    )


def _external(tx: Transaction, id: str) -> Network:
    network = tx.need(Network, id)
    if not network.external:
        raise BadRouter(f"Network {id} is not an external network")
    return network


def close(tx: Transaction, router: Router, ask: Ask) -> None:
    """The router has no gateway, if it had one. Raises RouterGatewayInUse."""
    if port := gateway(tx, router):
        if tx.holds(FloatingIp, router_id=router.id):
            raise RouterGatewayInUse(router.id, port.network_id)
        ports.remove(tx, port, ask)


def _open(tx: Transaction, router: Router, network: Network, addresses: Sequence[Wanted], ask: Ask) -> None:
    """It may come to be on any subnet of the network, so it has to be apart from all of them."""
    for subnet in tx.where(Subnet, network_id=network.id):
        check_apart(tx, interfaces(tx, router), subnet)
    check_given(tx, network.id, _chosen(addresses))
    ports.make_gateway(tx, router, network, addresses or None, ask)


def _readdress(tx: Transaction, router: Router, port: Port, addresses: Sequence[Wanted], ask: Ask) -> None:
    check_given(tx, port.network_id, _chosen(addresses))
    moved = replace(port, fixed_ips=ipam.assign(tx, port, addresses))
    check_gateway(tx, router, moved)
    ask.save(tx, port, moved)
    ipam.release(tx, port)


def _chosen(addresses: Sequence[Wanted]) -> list[Address]:
    return [wanted.address for wanted in addresses if wanted.address is not None]


def may_be_on(tx: Transaction, port: Port, subnet: Subnet) -> bool:
    """Whether a port can have an address on a subnet of its network: a router's gateway must keep them apart."""
    router = tx.get(Router, port.device_id) if port.device_owner == GATEWAY else None
    if router is None:
        return True
    mine = ip_network(subnet.cidr)
    beside = (tx.need(Subnet, id).cidr for door in interfaces(tx, router) for id in door.subnets)
    return not any(mine.version == other.version and mine.overlaps(other) for other in map(ip_network, beside))


def come_to(tx: Transaction, subnet: Subnet, ask: Ask) -> None:
    """Gateways on an external network that lack an address of a new subnet's IP version get one there, if they can
    (Neutron, `update_router_gw_ports`)."""
    for router in tx.where(Router, external_network_id=subnet.network_id):
        port = gateway(tx, router)
        if port is None or _is_served(tx, port, subnet.ip_version) or not may_be_on(tx, port, subnet):
            continue
        try:
            fixed_ips = ipam.assign(tx, port, [*ipam.chosen(tx, port), Wanted(subnet.id)])
        except NoAddress:
            return
        if all(may_be_on(tx, port, tx.need(Subnet, ip.subnet_id)) for ip in fixed_ips):
            ask.save(tx, port, replace(port, fixed_ips=fixed_ips))
            ask.touch(tx, router)


def _is_served(tx: Transaction, port: Port, version: int) -> bool:
    return any(tx.need(Subnet, wanted.subnet_id or "").ip_version == version for wanted in ipam.chosen(tx, port))
