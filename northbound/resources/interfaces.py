"""What it takes for a port to be an interface of a router, or its gateway, whoever changes the port.

A port is either by its `device_owner` and `device_id`. Requests to the router alone make it one, so no two of a
router's ports share an address, and every next hop of its routes is on one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_network

from controller.errors import (
    BadRouter,
    ForeignDevice,
    InterfaceInUseByRoute,
    InvalidRoutes,
    RouterAddressStays,
    UnsupportedOwner,
)
from controller.model.records import (
    FLOATING,
    GATEWAY,
    ROUTER_INTERFACES,
    Address,
    FixedIp,
    FloatingIp,
    HostRoute,
    Port,
    Resource,
    Router,
    Subnet,
)
from controller.model.store import Rows, Transaction


def owner_of_interfaces(router: Router) -> str:
    """The `device_owner` of a router's interfaces, by what sort of router it was asked to be (neutron-lib)."""
    if router.distributed:
        return "network:router_interface_distributed"
    return "network:ha_router_replicated_interface" if router.ha else "network:router_interface"


def interfaces(rows: Rows, router: Router) -> list[Port]:
    """The ports that are a router's interfaces."""
    return [port for port in rows.where(Port, device_id=router.id) if port.device_owner in ROUTER_INTERFACES]


def gateway(rows: Rows, router: Router) -> Port | None:
    """The port that holds the addresses of a router's gateway."""
    for port in rows.where(Port, device_id=router.id):
        if port.device_owner == GATEWAY:
            return port
    return None


def attached(rows: Rows, router: Router) -> list[Port]:
    """The interfaces of a router, and its gateway."""
    door = gateway(rows, router)
    return [*interfaces(rows, router), *((door,) if door else ())]


def router_of(rows: Rows, port: Port) -> Router | None:
    """The router that a port is an interface of."""
    return rows.get(Router, port.device_id) if port.device_owner in ROUTER_INTERFACES else None


def keeper(rows: Rows, port: Port) -> Resource | None:
    """What a port is a part of: a router, by its interface or its gateway, or a floating IP."""
    if port.device_owner == GATEWAY:
        return rows.get(Router, port.device_id)
    return rows.get(FloatingIp, port.device_id) if port.device_owner == FLOATING else router_of(rows, port)


def check_interface(tx: Transaction, router: Router, port: Port) -> None:
    """`port`, as it shall be, can be an interface of `router` beside its others. Raises BadRouter, NotFound."""
    subnets = [tx.need(Subnet, ip.subnet_id) for ip in port.fixed_ips]
    if not subnets:
        raise BadRouter("Router port must have at least one fixed IP")
    for subnet in subnets:
        check_advertised_here(subnet)
    others = [other for other in attached(tx, router) if other.id != port.id]
    if any(subnet.ip_version == 6 for subnet in subnets):
        _check_only_ipv6(others, port)
    for subnet in subnets:
        check_apart(tx, others, subnet)
    if sum(subnet.ip_version == 4 for subnet in subnets) > 1:
        raise BadRouter("Cannot have multiple IPv4 subnets on router port")


def check_advertised_here(subnet: Subnet) -> None:
    """Nobody but the router tells a subnet's guests where the router is. Raises BadRouter."""
    if subnet.ip_version == 6 and subnet.ipv6_ra_mode is None and subnet.ipv6_address_mode is not None:
        raise BadRouter(
            f"IPv6 subnet {subnet.id} configured to receive RAs from an external router cannot be added to "
            "Neutron Router"
        )


def _check_only_ipv6(others: Iterable[Port], port: Port) -> None:
    """The IPv6 subnets of a network are on one interface of a router. Raises BadRouter."""
    if other := with_ipv6(others, port.network_id):
        raise BadRouter(
            f"Router already contains IPv6 port {other.id} belonging to network id {port.network_id}. Only one IPv6 "
            "port from the same network subnet can be connected to a router."
        )


def with_ipv6(ports: Iterable[Port], network_id: str) -> Port | None:
    """The port on a network that has IPv6 addresses."""
    for port in ports:
        if port.network_id == network_id and any(":" in ip.ip_address for ip in port.fixed_ips):
            return port
    return None


def check_apart(tx: Transaction, others: Iterable[Port], subnet: Subnet) -> None:
    """`subnet` shares no address with those that `others` are on. Raises BadRouter."""
    mine = ip_network(subnet.cidr)
    for other in others:
        if subnet.id in other.subnets:
            raise BadRouter(f"Router already has a port on subnet {subnet.id}")
        for beside in _reached(tx, other):
            if mine.version == beside.ip_version and mine.overlaps(ip_network(beside.cidr)):
                raise BadRouter(
                    f"Cidr {subnet.cidr} of subnet {subnet.id} overlaps with cidr {beside.cidr} of subnet {beside.id}"
                )


def _reached(tx: Transaction, port: Port) -> Sequence[Subnet]:
    """The subnets that a router is on by a port; by its gateway it may come to be on any of the network."""
    if port.device_owner == GATEWAY:
        return tx.where(Subnet, network_id=port.network_id)
    return [tx.need(Subnet, id) for id in dict.fromkeys(ip.subnet_id for ip in port.fixed_ips)]


def check_given(tx: Transaction, network_id: str, addresses: Iterable[Address]) -> None:
    """None of the addresses that somebody chose for a gateway is one of those beyond it. Raises BadRouter."""
    beyond = {subnet.gateway_ip for subnet in tx.where(Subnet, network_id=network_id)}
    for address in addresses:
        if address in beyond:
            raise BadRouter(f"External IP {address} is the same as the gateway IP")


def check_gateway(tx: Transaction, router: Router, port: Port) -> None:
    """`port`, as it shall be, can be the gateway of `router`. Raises BadRouter."""
    for id in dict.fromkeys(ip.subnet_id for ip in port.fixed_ips):
        check_apart(tx, interfaces(tx, router), tx.need(Subnet, id))


def check_routes(tx: Transaction, routes: Sequence[HostRoute], ports: Iterable[Port]) -> None:
    """A router that has these ports can follow the routes. Raises InvalidRoutes."""
    held = [ip for port in ports for ip in port.fixed_ips]
    own = {ip.ip_address for ip in held}
    cidrs = [ip_network(tx.need(Subnet, id).cidr) for id in dict.fromkeys(ip.subnet_id for ip in held)]
    told = [{"destination": each.destination, "nexthop": each.nexthop} for each in routes]
    for route in routes:
        if not any(ip_address(route.nexthop) in cidr for cidr in cidrs):
            raise InvalidRoutes(told, "the nexthop is not connected with router")
        if route.nexthop in own:
            raise InvalidRoutes(told, "the nexthop is used by router")


def check_needless(tx: Transaction, router: Router, gone: Iterable[str]) -> None:
    """No route of the router goes by the subnets that it leaves. Raises InterfaceInUseByRoute."""
    for id in gone:
        cidr = ip_network(tx.need(Subnet, id).cidr)
        if any(ip_address(route.nexthop) in cidr for route in router.routes):
            raise InterfaceInUseByRoute(router.id, id)


def check_made(rows: Rows, port: Port) -> None:
    """No port becomes a part of a router or a floating IP but by these. Raises ForeignDevice."""
    if keeper(rows, port):
        raise ForeignDevice(port.device_id)


def check_changed(tx: Transaction, old: Port, new: Port) -> None:
    """What a client may change of a router's or a floating IP's ports, and what of others.

    Raises ForeignDevice, UnsupportedOwner, RouterAddressStays, BadRouter, InterfaceInUseByRoute, InvalidRoutes.
    """
    kept_by = keeper(tx, old)
    if kept_by is None:
        check_made(tx, new)
        return
    for attribute in ("device_id", "device_owner"):
        if getattr(new, attribute) != getattr(old, attribute):
            raise UnsupportedOwner(f"{attribute} update", old.device_owner, old.id)
    if new.fixed_ips == old.fixed_ips:
        return
    if not isinstance(kept_by, Router):
        raise UnsupportedOwner("fixed_ips update", old.device_owner, old.id)
    if old.device_owner == GATEWAY:
        check_given(tx, new.network_id, (ip.ip_address for ip in new.fixed_ips if ip not in old.fixed_ips))
        check_gateway(tx, kept_by, new)
        check_routes(tx, kept_by.routes, [*interfaces(tx, kept_by), new])
        return
    if _ipv4(old) != _ipv4(new):
        raise RouterAddressStays(old.id)
    check_interface(tx, kept_by, new)
    check_needless(tx, kept_by, sorted(old.subnets - new.subnets))


def _ipv4(port: Port) -> set[FixedIp]:
    return {ip for ip in port.fixed_ips if ":" not in ip.ip_address}
