"""`/v2.0/routers` (api-ref, "Routers", "Extra routes atomic"): what joins networks.

A router's interfaces are ports. They are made and removed by the router's actions alone, and hold its addresses, so
what is unique about addresses needs no second book. Gateways to external networks are refused until those exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_network

from controller.errors import (
    BadRouter,
    InterfaceInUseByRoute,
    InUse,
    InvalidRoutes,
    NoInterface,
    PortInUse,
    SubnetMismatch,
)
from controller.model import ipam, security
from controller.model.ipam import Wanted
from controller.model.records import ROUTER_INTERFACES, HostRoute, Port, Router, Subnet
from controller.model.store import Rows, Transaction
from northbound.resources import ports, values
from northbound.resources.attributes import Ask, Attribute, Body, Change, Collection, Filter, common, equal
from northbound.resources.values import Json

MOST_ROUTES = 30
"""How many routes a router may have (Neutron, `max_routes`)."""

OWNER = "network:router_interface"

ROUTES: Attribute[Router, tuple[HostRoute, ...]] = Attribute(
    name="routes",
    parse=values.host_routes,
    put=True,
    default=(),
    show=lambda _, router: [{"destination": each.destination, "nexthop": each.nexthop} for each in router.routes],
)


def create(tx: Transaction, body: Body, ask: Ask) -> Router:
    """A router that joins nothing yet."""
    router = Router(**ask.stamp(), **body.fields)
    tx.tag("router", router.id)
    return tx.insert(router)


def update(tx: Transaction, old: Router, new: Router, body: Body, ask: Ask) -> Router:
    """Raises InvalidRoutes."""
    if ROUTES in body:
        new = replace(new, routes=_checked(tx, old, body[ROUTES]))
    return ask.save(tx, old, new)


def delete(tx: Transaction, router: Router, _: Ask) -> None:
    """Raises InUse."""
    if interfaces(tx, router):
        raise InUse("Router", router.id, "ports", f"Router {router.id} still has ports")
    tx.delete(Router, router.id)
    tx.untag("router", router.id)


# ---- interfaces -----------------------------------------------------------------------------------------------


def interfaces(rows: Rows, router: Router) -> list[Port]:
    """The ports that are a router's."""
    return [port for port in rows.where(Port, device_id=router.id) if port.device_owner in ROUTER_INTERFACES]


def add_interface(body: Mapping[str, Json]) -> Change[Router]:
    """Raises BadRouter, NotFound, PortInUse, and what `ipam.assign` raises."""
    port_id, subnet_id = _asked(body)
    if port_id and subnet_id:
        raise BadRouter("Cannot specify both subnet-id and port-id")

    def add(tx: Transaction, router: Router, ask: Ask) -> Mapping[str, Json]:
        if port_id:
            port, subnet = _adopt(tx, router, port_id, ask)
        else:
            port, subnet = _join(tx, router, subnet_id, ask)
        return _told(router, port, subnet)

    return add


def remove_interface(body: Mapping[str, Json]) -> Change[Router]:
    """Raises BadRouter, NotFound, NoInterface, SubnetMismatch, InterfaceInUseByRoute."""
    port_id, subnet_id = _asked(body)

    def remove(tx: Transaction, router: Router, ask: Ask) -> Mapping[str, Json]:
        port, subnet = _found(tx, router, port_id, subnet_id)
        gone = frozenset({subnet}) if not port_id and len(port.fixed_ips) > 1 else port.subnets
        kept = tuple(ip for ip in port.fixed_ips if ip.subnet_id not in gone)
        _check_needless(tx, router, gone)
        if kept:
            ask.save(tx, port, replace(port, fixed_ips=kept))
            ipam.release(tx, port)
        else:
            ports.remove(tx, port)
        return _told(router, port, subnet)

    return remove


def _asked(body: Mapping[str, Json]) -> tuple[str, str]:
    port, subnet = (body.get(name) for name in ("port_id", "subnet_id"))
    if not port and not subnet:
        raise BadRouter("Either subnet_id or port_id must be specified")
    return values.uuid(port) if port else "", values.uuid(subnet) if subnet else ""


def _told(router: Router, port: Port, subnet_id: str) -> Mapping[str, Json]:
    return {
        "id": router.id,
        "project_id": port.project_id,
        "tenant_id": port.project_id,
        "port_id": port.id,
        "network_id": port.network_id,
        "subnet_id": subnet_id,
        "subnet_ids": [*dict.fromkeys(ip.subnet_id for ip in port.fixed_ips)],
    }


def _adopt(tx: Transaction, router: Router, port_id: str, ask: Ask) -> tuple[Port, str]:
    """A port that somebody made becomes the router's; what guards guests does not guard it."""
    port = tx.need(Port, port_id)
    if port.device_id:
        raise PortInUse(port.id, port.network_id, port.device_id)
    subnets = [tx.need(Subnet, id) for id in dict.fromkeys(ip.subnet_id for ip in port.fixed_ips)]
    if not subnets:
        raise BadRouter("Router port must have at least one fixed IP")
    if sum(subnet.ip_version == 4 for subnet in subnets) > 1:
        raise BadRouter("Cannot have multiple IPv4 subnets on router port")
    for subnet in subnets:
        _check_apart(tx, router, subnet)
    owned = replace(
        port,
        device_id=router.id,
        device_owner=OWNER,
        port_security_enabled=False,
        security_groups=(),
        allowed_address_pairs=(),
    )
    saved = ask.save(tx, port, owned)
    security.settle(tx, port, saved)
    return saved, subnets[-1].id


def _join(tx: Transaction, router: Router, subnet_id: str, ask: Ask) -> tuple[Port, str]:
    """The router takes the gateway address of a subnet, on a port for it; IPv6 subnets of a network share one."""
    subnet = tx.need(Subnet, subnet_id)
    if subnet.gateway_ip is None:
        raise BadRouter("Subnet for router interface must have a gateway IP")
    if subnet.ip_version == 6 and subnet.ipv6_ra_mode is None and subnet.ipv6_address_mode is not None:
        raise BadRouter(
            f"IPv6 subnet {subnet.id} configured to receive RAs from an external router cannot be added to "
            "Neutron Router"
        )
    _check_apart(tx, router, subnet)
    wanted = Wanted(subnet.id, subnet.gateway_ip)
    shared = _with_ipv6(tx, router, subnet) if subnet.ip_version == 6 else None
    if shared is not None:
        held = [Wanted(ip.subnet_id, ip.ip_address) for ip in shared.fixed_ips]
        more = replace(shared, fixed_ips=ipam.assign(tx, shared, [*held, wanted]))
        return ask.save(tx, shared, more), subnet.id
    return ports.make_interface(tx, router.id, router.project_id, subnet, wanted, OWNER, ask), subnet.id


def _with_ipv6(rows: Rows, router: Router, subnet: Subnet) -> Port | None:
    """The router's port on the network that has IPv6 addresses."""
    for port in interfaces(rows, router):
        if port.network_id == subnet.network_id and any(":" in ip.ip_address for ip in port.fixed_ips):
            return port
    return None


def _check_apart(rows: Transaction, router: Router, subnet: Subnet) -> None:
    """No two of a router's subnets may share an address. Raises BadRouter."""
    mine = ip_network(subnet.cidr)
    for port in interfaces(rows, router):
        for id in port.subnets:
            if id == subnet.id:
                raise BadRouter(f"Router already has a port on subnet {subnet.id}")
            other = rows.need(Subnet, id)
            if mine.version == other.ip_version and mine.overlaps(ip_network(other.cidr)):
                raise BadRouter(
                    f"Cidr {subnet.cidr} of subnet {subnet.id} overlaps with cidr {other.cidr} of subnet {other.id}"
                )


def _found(tx: Transaction, router: Router, port_id: str, subnet_id: str) -> tuple[Port, str]:
    """The interface that is meant, and its subnet."""
    own = interfaces(tx, router)
    if port_id:
        port = next((port for port in own if port.id == port_id), None)
        if port is None:
            raise NoInterface(router.id, port_id)
        if subnet_id and subnet_id not in port.subnets:
            raise SubnetMismatch(port_id, subnet_id)
        return port, subnet_id or port.fixed_ips[0].subnet_id
    tx.need(Subnet, subnet_id)
    for port in own:
        if subnet_id in port.subnets:
            return port, subnet_id
    raise NoInterface(router.id, subnet=subnet_id)


def _check_needless(tx: Transaction, router: Router, gone: frozenset[str]) -> None:
    """No route of the router goes by subnets that it leaves. Raises InterfaceInUseByRoute."""
    for id in gone:
        cidr = ip_network(tx.need(Subnet, id).cidr)
        if any(ip_address(route.nexthop) in cidr for route in router.routes):
            raise InterfaceInUseByRoute(router.id, id)


# ---- routes ---------------------------------------------------------------------------------------------------


def add_routes(body: Mapping[str, Json]) -> Change[Router]:
    """Raises InvalidRoutes."""
    given = _given(body)

    def add(tx: Transaction, router: Router, ask: Ask) -> Router:
        routes = tuple(dict.fromkeys((*router.routes, *given)))
        return ask.save(tx, router, replace(router, routes=_checked(tx, router, routes)))

    return add


def remove_routes(body: Mapping[str, Json]) -> Change[Router]:
    """Routes that are not there need not be removed."""
    given = _given(body)

    def remove(tx: Transaction, router: Router, ask: Ask) -> Router:
        return ask.save(tx, router, replace(router, routes=tuple(each for each in router.routes if each not in given)))

    return remove


def _given(body: Mapping[str, Json]) -> tuple[HostRoute, ...]:
    asked = body.get("router")
    if not isinstance(asked, dict) or "routes" not in asked:
        raise BadRouter("Missing 'routes' in the request body")
    return ROUTES.read(asked["routes"])


def _checked(tx: Transaction, router: Router, routes: tuple[HostRoute, ...]) -> tuple[HostRoute, ...]:
    """Routes whose next hops are on the router's subnets, and are not its own addresses. Raises InvalidRoutes."""
    if len(routes) > MOST_ROUTES:
        raise InvalidRoutes(
            f"Unable to complete operation for {router.id}. The number of routes exceeds the maximum {MOST_ROUTES}."
        )
    own = interfaces(tx, router)
    addresses = {ip.ip_address for port in own for ip in port.fixed_ips}
    cidrs = [ip_network(tx.need(Subnet, id).cidr) for port in own for id in port.subnets]
    told = [{"destination": each.destination, "nexthop": each.nexthop} for each in routes]
    said = f"Invalid format for routes: {told}"
    for route in routes:
        if not any(ip_address(route.nexthop) in cidr for cidr in cidrs):
            raise InvalidRoutes(f"{said}, the nexthop is not connected with router")
        if route.nexthop in addresses:
            raise InvalidRoutes(f"{said}, the nexthop is used by router")
    return routes


def _no_gateway(value: Json) -> None:
    if value:
        raise values.Unfit("external networks are not supported yet")


def _flag(name: str, default: bool) -> Attribute[Router, bool]:
    return Attribute(
        name=name,
        parse=values.boolean,
        post=True,
        put=True,
        default=default,
        field=name,
        filter=Filter(equal(values.boolean)),
        sort=True,
    )


ROUTERS: Collection[Router] = Collection(
    "router",
    Router,
    (
        *common(Router),
        _flag("admin_state_up", True),
        Attribute(name="status", show=lambda *_: "ACTIVE", filter=Filter(equal()), sort=True),
        Attribute(
            name="external_gateway_info", parse=_no_gateway, post=True, put=True, default=None, show=lambda *_: None
        ),
        _flag("distributed", False),
        _flag("ha", False),
        ROUTES,
        Attribute(
            name="availability_zone_hints",
            parse=values.nothing_yet("availability zones"),
            post=True,
            default=None,
            show=lambda *_: [],
        ),
        Attribute(name="availability_zones", show=lambda *_: []),
    ),
    create,
    update,
    delete,
    actions={
        "add_router_interface": add_interface,
        "remove_router_interface": remove_interface,
        "add_extraroutes": add_routes,
        "remove_extraroutes": remove_routes,
    },
)
