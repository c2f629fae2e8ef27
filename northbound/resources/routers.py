"""`/v2.0/routers` (api-ref, "Routers", "Extra routes atomic"): what joins networks.

A router's interfaces are ports. They are made and removed by the router's actions alone, and hold its addresses, so
what is unique about addresses needs no second book. Its gateway to an external network is in `gateways`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from controller.errors import (
    BadRouter,
    InUse,
    NoInterface,
    PortInUse,
    SubnetMismatch,
    TooManyRoutes,
)
from controller.model import ipam, quotas, security
from controller.model.ipam import Wanted
from controller.model.records import FixedIp, HostRoute, Network, Port, Router, Subnet
from controller.model.store import Transaction
from northbound.resources import associations, availability_zones, gateways, ports, values
from northbound.resources.attributes import Ask, Attribute, Body, Change, Collection, Filter, equal
from northbound.resources.interfaces import (
    attached,
    check_advertised_here,
    check_apart,
    check_interface,
    check_needless,
    check_routes,
    interfaces,
    owner_of_interfaces,
    with_ipv6,
)
from northbound.resources.schemas import STRING, UUID, says, table
from northbound.resources.standard import common, flag
from northbound.resources.values import Json


def _flag(name: str, show: Callable[[Router], bool]) -> Attribute[Router, bool | None]:
    """What sort of router it was asked to be; `null` leaves it to us."""
    return Attribute(
        name=name,
        parse=values.or_none(values.boolean),
        post=True,
        put=True,
        default=None,
        show=lambda _, router: show(router),
        filter=Filter(equal(values.boolean)),
        sort=True,
    )


DISTRIBUTED = _flag("distributed", lambda router: router.distributed)
HA = _flag("ha", lambda router: router.ha)
EXTERNAL: Attribute[Router, gateways.Way | None] = Attribute(
    name="external_gateway_info",
    parse=gateways.read,
    post=True,
    put=True,
    default=None,
    show=lambda scene, router: gateways.shown(scene.rows, router),
    names=lambda way: ((Network, way.network_id),) if way else (),
)
ROUTES: Attribute[Router, tuple[HostRoute, ...]] = Attribute(
    name="routes",
    parse=values.host_routes,
    put=True,
    default=(),
    show=lambda _, router: [{"destination": each.destination, "nexthop": each.nexthop} for each in router.routes],
)


def create(tx: Transaction, body: Body, ask: Ask) -> Router:
    """A router that joins nothing yet, or an external network alone. Raises what `gateways.settle` raises."""
    availability_zones.check(tx, body.fields["availability_zone_hints"])
    router = Router(**ask.stamp(), **body.fields, distributed=bool(body[DISTRIBUTED]), ha=bool(body[HA]))
    tx.tag("router", router.id)
    return tx.put(gateways.settle(tx, tx.insert(router), body[EXTERNAL], ask)[0])


def update(tx: Transaction, old: Router, new: Router, body: Body, ask: Ask) -> Router:
    """Raises BadRouter, InvalidRoutes, TooManyRoutes, and what `gateways.settle` raises."""
    if ROUTES in body:
        new = replace(new, routes=_checked(tx, old, body[ROUTES], ask))
    new = _converted(old, new, body)
    for port in interfaces(tx, old):
        ask.save(tx, port, replace(port, device_owner=owner_of_interfaces(new)))
    if EXTERNAL not in body:
        return ask.save(tx, old, new)
    new, moved = gateways.settle(tx, new, body[EXTERNAL], ask)
    return ask.touch(tx, new) if moved else ask.save(tx, old, new)


def _converted(old: Router, new: Router, body: Body) -> Router:
    """The router as the sort that was asked for, which only changes while it is down. Raises BadRouter."""
    distributed, ha = body[DISTRIBUTED], body[HA]
    if ha not in (None, old.ha):
        if new.admin_state_up:
            raise BadRouter(_down_first("HA attribute"))
        new = replace(new, ha=bool(ha))
    if distributed not in (None, old.distributed):
        if old.admin_state_up or new.admin_state_up:
            raise BadRouter(_down_first("the 'distributed' attribute"))
        new = replace(new, distributed=bool(distributed))
    return new


def _down_first(what: str) -> str:
    return f"Cannot change {what} of active routers. Please set router admin_state_up to False prior to upgrade"


def delete(tx: Transaction, router: Router, ask: Ask) -> None:
    """Raises InUse, RouterGatewayInUse."""
    if held := [port.id for port in interfaces(tx, router)]:
        said = f"Router {router.id} has ports still attached: {', '.join(held)}"
        raise InUse("Router", router.id, "its ports", said)
    gateways.close(tx, router, ask)
    tx.delete(Router, router.id)
    tx.untag("router", router.id)


_INTERFACE = {"type": "object", "properties": {"subnet_id": UUID, "port_id": UUID}, "minProperties": 1}
_GIVEN_ROUTES = table(("router",), router=table(("routes",), routes=ROUTES.takes))


# ---- interfaces -----------------------------------------------------------------------------------------------


@says(_INTERFACE)
def add_interface(body: Mapping[str, Json]) -> Change[Router]:
    """Raises BadRouter, NotFound, PortInUse, and what `ipam.assign` raises."""
    port_id, subnet_id = _asked(body)
    if port_id and subnet_id:
        raise BadRouter("Cannot specify both subnet-id and port-id")

    def add(tx: Transaction, router: Router, ask: Ask) -> Json:
        if port_id:
            port = _adopt(tx, router, port_id, ask)
            joined = [ip.subnet_id for ip in port.fixed_ips]
            return _told(router, port, joined[-1], joined)
        return _told(router, _join(tx, router, subnet_id, ask), subnet_id, [subnet_id])

    return add


@says(_INTERFACE)
def remove_interface(body: Mapping[str, Json]) -> Change[Router]:
    """Raises BadRouter, NotFound, NoInterface, SubnetMismatch, InterfaceInUseByFloatingIp,
    InterfaceInUseByRoute."""
    port_id, subnet_id = _asked(body)

    def remove(tx: Transaction, router: Router, ask: Ask) -> Json:
        if port_id:
            port = _by_port(tx, router, port_id, subnet_id)
            left = [*dict.fromkeys(ip.subnet_id for ip in port.fixed_ips)]
        else:
            port, left = _by_subnet(tx, router, subnet_id), [subnet_id]
        associations.check_needless(tx, router, left)
        check_needless(tx, router, left)
        kept = tuple(ip for ip in port.fixed_ips if ip.subnet_id not in left)
        if kept:
            _readdress(tx, port, kept, ask)
        else:
            ports.remove(tx, port, ask)
            ask.touch(tx, router)
        return _told(router, port, left[0], left)

    return remove


def _asked(body: Mapping[str, Json]) -> tuple[str, str]:
    """The port and the subnet that a request names. Raises BadRouter."""
    if not body.keys() & {"port_id", "subnet_id"}:
        raise BadRouter("Either subnet_id or port_id must be specified")
    try:
        port_id, subnet_id = (values.uuid(body[name]) if name in body else "" for name in ("port_id", "subnet_id"))
    except values.Unfit as reason:
        raise BadRouter(str(reason)) from None
    return port_id, subnet_id


def _told(router: Router, port: Port, subnet_id: str, subnet_ids: Sequence[str]) -> Json:
    return {
        "id": router.id,
        "project_id": port.project_id,
        "tenant_id": port.project_id,
        "port_id": port.id,
        "network_id": port.network_id,
        "subnet_id": subnet_id,
        "subnet_ids": [*subnet_ids],
    }


def _adopt(tx: Transaction, router: Router, port_id: str, ask: Ask) -> Port:
    """A port that somebody made becomes the router's; what guards guests does not guard it."""
    port = tx.need(Port, port_id)
    if port.device_id:
        raise PortInUse(port.id, port.network_id, port.device_id)
    check_interface(tx, router, port)
    owned = replace(
        port,
        device_id=router.id,
        device_owner=owner_of_interfaces(router),
        port_security_enabled=False,
        security_groups=(),
        allowed_address_pairs=(),
    )
    saved = ask.save(tx, port, owned)
    security.settle(tx, port, saved)
    ask.touch(tx, router)
    return saved


def _join(tx: Transaction, router: Router, subnet_id: str, ask: Ask) -> Port:
    """The router takes the gateway address of a subnet, on a port for it; IPv6 subnets of a network share one."""
    subnet = tx.need(Subnet, subnet_id)
    if subnet.gateway_ip is None:
        raise BadRouter("Subnet for router interface must have a gateway IP")
    check_advertised_here(subnet)
    check_apart(tx, attached(tx, router), subnet)
    wanted = Wanted(subnet.id, subnet.gateway_ip)
    shared = with_ipv6(interfaces(tx, router), subnet.network_id) if subnet.ip_version == 6 else None
    if shared is not None:
        held = [Wanted(ip.subnet_id, ip.ip_address) for ip in shared.fixed_ips]
        return _readdress(tx, shared, ipam.assign(tx, shared, [*held, wanted]), ask)
    ask.touch(tx, router)
    return ports.make_interface(tx, router, subnet, wanted, ask)


def _readdress(tx: Transaction, port: Port, fixed_ips: tuple[FixedIp, ...], ask: Ask) -> Port:
    """The same interface on other subnets."""
    associations.follow(tx, port, replace(port, fixed_ips=fixed_ips), ask)
    saved = ask.save(tx, port, replace(port, fixed_ips=fixed_ips))
    ipam.release(tx, port)
    security.settle(tx, port, saved)
    return saved


def _by_port(tx: Transaction, router: Router, port_id: str, subnet_id: str) -> Port:
    """The interface that is a port, which is on the subnet if one is named. Raises NoInterface, SubnetMismatch."""
    for port in interfaces(tx, router):
        if port.id == port_id:
            if subnet_id and subnet_id not in port.subnets:
                raise SubnetMismatch(port_id, subnet_id)
            return port
    raise NoInterface(router.id, port_id)


def _by_subnet(tx: Transaction, router: Router, subnet_id: str) -> Port:
    """The interface that is on a subnet. Raises NotFound, NoInterface."""
    tx.need(Subnet, subnet_id)
    for port in interfaces(tx, router):
        if subnet_id in port.subnets:
            return port
    raise NoInterface(router.id, subnet=subnet_id)


# ---- routes ---------------------------------------------------------------------------------------------------


@says(_GIVEN_ROUTES)
def add_routes(body: Mapping[str, Json]) -> Change[Router]:
    """Those that are there already stay as they are. Raises BadRouter, Invalid, InvalidRoutes, TooManyRoutes."""
    given = _given(body)

    def add(tx: Transaction, router: Router, ask: Ask) -> Router:
        routes = tuple(dict.fromkeys((*router.routes, *given)))
        return ask.save(tx, router, replace(router, routes=_checked(tx, router, routes, ask)))

    return add


@says(_GIVEN_ROUTES)
def remove_routes(body: Mapping[str, Json]) -> Change[Router]:
    """Those that are not there need not be removed. Raises BadRouter, Invalid."""
    given = _given(body)

    def remove(tx: Transaction, router: Router, ask: Ask) -> Router:
        return ask.save(tx, router, replace(router, routes=tuple(each for each in router.routes if each not in given)))

    return remove


def _given(body: Mapping[str, Json]) -> tuple[HostRoute, ...]:
    asked = body.get("router")
    if not isinstance(asked, dict) or "routes" not in asked:
        raise BadRouter("Missing 'routes' in the request body")
    return ROUTES.read(asked["routes"])


def _checked(tx: Transaction, router: Router, routes: tuple[HostRoute, ...], ask: Ask) -> tuple[HostRoute, ...]:
    """Routes whose next hops are on the router's subnets, and are not its own. Raises InvalidRoutes, TooManyRoutes."""
    check_routes(tx, routes, attached(tx, router))
    most = quotas.limits(tx, router.project_id, ask.settings.quotas)["router_route"]
    if 0 <= most < len(routes):
        raise TooManyRoutes(router.id, most)
    return routes


ROUTERS: Collection[Router] = Collection(
    "router",
    Router,
    (
        *common(Router),
        flag("admin_state_up", True, sort=True),
        Attribute(name="status", schema=STRING, show=lambda *_: "ACTIVE", filter=Filter(equal()), sort=True),
        EXTERNAL,
        DISTRIBUTED,
        HA,
        ROUTES,
        *availability_zones.zones(Router, sort=False),
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
