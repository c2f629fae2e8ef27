"""What it takes for a port to be an interface of a router, whoever changes the port.

A port is an interface by its `device_owner` and `device_id`. The router's actions alone make it one, so no two
interfaces of a router share an address, and every next hop of its routes is on one of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network

from controller.errors import (
    BadRouter,
    ForeignDevice,
    InterfaceInUseByRoute,
    RouterAddressStays,
    UnsupportedOwner,
)
from controller.model.records import ROUTER_INTERFACES, FixedIp, Port, Router, Subnet
from controller.model.store import Rows, Transaction


def owner_of_interfaces(router: Router) -> str:
    """The `device_owner` of a router's interfaces, by what sort of router it was asked to be (neutron-lib)."""
    if router.distributed:
        return "network:router_interface_distributed"
    return "network:ha_router_replicated_interface" if router.ha else "network:router_interface"


def interfaces(rows: Rows, router: Router) -> list[Port]:
    """The ports that are a router's."""
    return [port for port in rows.where(Port, device_id=router.id) if port.device_owner in ROUTER_INTERFACES]


def router_of(rows: Rows, port: Port) -> Router | None:
    """The router that a port is an interface of."""
    return rows.get(Router, port.device_id) if port.device_owner in ROUTER_INTERFACES else None


def check_interface(tx: Transaction, router: Router, port: Port) -> None:
    """`port`, as it shall be, can be an interface of `router` beside its others. Raises BadRouter, NotFound."""
    subnets = [tx.need(Subnet, ip.subnet_id) for ip in port.fixed_ips]
    if not subnets:
        raise BadRouter("Router port must have at least one fixed IP")
    for subnet in subnets:
        check_advertised_here(subnet)
    others = [other for other in interfaces(tx, router) if other.id != port.id]
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
    for id in dict.fromkeys(ip.subnet_id for other in others for ip in other.fixed_ips):
        if id == subnet.id:
            raise BadRouter(f"Router already has a port on subnet {subnet.id}")
        other = tx.need(Subnet, id)
        if mine.version == other.ip_version and mine.overlaps(ip_network(other.cidr)):
            raise BadRouter(
                f"Cidr {subnet.cidr} of subnet {subnet.id} overlaps with cidr {other.cidr} of subnet {other.id}"
            )


def check_needless(tx: Transaction, router: Router, gone: Iterable[str]) -> None:
    """No route of the router goes by the subnets that it leaves. Raises InterfaceInUseByRoute."""
    for id in gone:
        cidr = ip_network(tx.need(Subnet, id).cidr)
        if any(ip_address(route.nexthop) in cidr for route in router.routes):
            raise InterfaceInUseByRoute(router.id, id)


def check_made(rows: Rows, port: Port) -> None:
    """No port becomes a router's but by the router. Raises ForeignDevice."""
    if router_of(rows, port):
        raise ForeignDevice(port.device_id)


def check_changed(tx: Transaction, old: Port, new: Port) -> None:
    """What a client may change of an interface, and what of other ports.

    Raises ForeignDevice, UnsupportedOwner, RouterAddressStays, BadRouter, InterfaceInUseByRoute.
    """
    router = router_of(tx, old)
    if router is None:
        check_made(tx, new)
        return
    for attribute in ("device_id", "device_owner"):
        if getattr(new, attribute) != getattr(old, attribute):
            raise UnsupportedOwner(f"{attribute} update", old.device_owner, old.id)
    if _ipv4(old) != _ipv4(new):
        raise RouterAddressStays(old.id)
    if new.fixed_ips != old.fixed_ips:
        check_interface(tx, router, new)
        check_needless(tx, router, sorted(old.subnets - new.subnets))


def _ipv4(port: Port) -> set[FixedIp]:
    return {ip for ip in port.fixed_ips if ":" not in ip.ip_address}
