"""`/v2.0/subnets` (api-ref, "Subnets").

A subnet has the CIDR that it is given, or one that is cut from a subnet pool. It is part of what its network is shown
with, so what changes it changes its network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_network
from typing import Final

from controller.errors import GatewayInUse, Inconsistent, InUse, MtuTooSmall, NotFound, Senseless, TooManyOptions
from controller.model import ipam, prefixes, security, sharing
from controller.model.addresses import block, check_pools, default_gateway, default_pools, eui64, number
from controller.model.records import (
    ROUTER_INTERFACES,
    Address,
    Cidr,
    FixedIp,
    HostRoute,
    Network,
    Pool,
    Port,
    Subnet,
    SubnetPool,
)
from controller.model.store import Rows, Transaction
from northbound.resources import gateways, values
from northbound.resources.attributes import Ask, Attribute, Body, Collection, Filter, Scene, equal, indexed, one
from northbound.resources.interfaces import router_of
from northbound.resources.schemas import BOOLEAN, STRING, nullable
from northbound.resources.standard import common, flag, network_of

LEAST_MTU = {4: 68, 6: 1280}
"""By IP version: the least that it works with, in bytes (RFC 791, section 3.2; RFC 8200, section 5)."""

IPV6_MODES = ("dhcpv6-stateful", "dhcpv6-stateless", "slaac")

AUTO_DELETED = frozenset({"network:dhcp", "network:distributed", "network:floatingip_agent_gateway"})
"""Owners of ports that hold up neither subnet nor network (neutron, `AUTO_DELETE_PORT_OWNERS`)."""

NETWORK: Attribute[Subnet, str] = network_of(Subnet)
IP_VERSION: Attribute[Subnet, int] = Attribute(
    name="ip_version",
    parse=values.choice((4, 6), values.integer),
    post=True,
    field="ip_version",
    filter=Filter(equal(values.integer)),
    sort=True,
)
CIDR: Attribute[Subnet, Cidr | None] = Attribute(
    name="cidr",
    parse=values.or_none(values.cidr),
    post=True,
    default=None,
    show=lambda _, subnet: subnet.cidr,
    filter=Filter(equal(values.cidr)),
    sort=True,
)
PREFIXLEN: Attribute[Subnet, int | None] = Attribute(
    name="prefixlen", parse=values.count, post=True, default=None, hidden=True
)
SUBNETPOOL: Attribute[Subnet, str | None] = Attribute(
    name="subnetpool_id",
    parse=values.or_none(values.uuid),
    post=True,
    default=None,
    show=lambda _, subnet: subnet.subnetpool_id or None,
    filter=Filter(equal(), indexed(Subnet, "subnetpool_id")),
    sort=True,
    names=one(SubnetPool),
)
FROM_DEFAULT: Attribute[Subnet, bool] = Attribute(
    name="use_default_subnetpool", parse=values.boolean, post=True, default=False, hidden=True
)
GATEWAY: Attribute[Subnet, Address | None] = Attribute(
    name="gateway_ip",
    parse=values.or_none(values.address),
    post=True,
    put=True,
    default=None,
    show=lambda _, subnet: subnet.gateway_ip,
    filter=Filter(equal(values.address_or_text)),
    sort=True,
)
POOLS: Attribute[Subnet, tuple[Pool, ...]] = Attribute(
    name="allocation_pools",
    parse=values.pools,
    post=True,
    put=True,
    default=(),
    show=lambda _, subnet: [{"start": pool.start, "end": pool.end} for pool in subnet.allocation_pools],
)
DNS: Attribute[Subnet, tuple[Address, ...]] = Attribute(
    name="dns_nameservers",
    parse=values.nameservers,
    post=True,
    put=True,
    default=(),
    field="dns_nameservers",
    show=lambda _, subnet: list(subnet.dns_nameservers),
)
HOST_ROUTES: Attribute[Subnet, tuple[HostRoute, ...]] = Attribute(
    name="host_routes",
    parse=values.host_routes,
    post=True,
    put=True,
    default=(),
    field="host_routes",
    show=lambda _, subnet: [
        {"destination": route.destination, "nexthop": route.nexthop} for route in subnet.host_routes
    ],
)
DHCP: Attribute[Subnet, bool] = flag("enable_dhcp", True, sort=True)


EXTERNAL: Attribute[Subnet, bool] = Attribute(
    name="router:external",
    schema=BOOLEAN,
    show=lambda scene, subnet: _is_external(scene.rows, subnet),
    filter=Filter(equal(values.boolean)),
)


def _is_external(rows: Rows, subnet: Subnet) -> bool:
    network = rows.get(Network, subnet.network_id)
    return network is not None and network.external


SERVICE_TYPES: Attribute[Subnet, tuple[str, ...]] = Attribute(
    name="service_types",
    parse=values.service_types,
    post=True,
    put=True,
    default=(),
    field="service_types",
    show=lambda _, subnet: [*subnet.service_types],
)


def _mode(name: str) -> Attribute[Subnet, str | None]:
    return Attribute(
        name=name,
        parse=values.choice(IPV6_MODES, values.text(16)),
        post=True,
        default=None,
        field=name,
        schema=nullable(STRING),
        filter=Filter(equal()),
        sort=True,
    )


def create(tx: Transaction, body: Body, ask: Ask) -> Subnet:
    """Raises NotFound, Senseless, Inconsistent, BadPool, PoolOutOfBounds, PoolsOverlap, GatewayInPool, MtuTooSmall, and
    what `prefixes` raises."""
    pool = _pool(tx, body, ask)
    cidr = _cidr(tx, body, pool)
    gateway = body.get(GATEWAY, default_gateway(cidr))
    subnet = Subnet(
        **ask.stamp(),
        **body.fields,
        cidr=cidr,
        gateway_ip=gateway,
        allocation_pools=body.get(POOLS, ()) or default_pools(cidr, gateway),
        subnetpool_id=pool.id if pool else "",
    )
    _check_cidr(subnet)
    if GATEWAY in body:
        _check_gateway(subnet)
    _check_options(subnet, "new subnet")
    _check_modes(subnet)
    network = tx.get(Network, subnet.network_id)
    if network is None:
        raise NotFound("Network", subnet.network_id)
    check_mtu(network.id, network.mtu, subnet.ip_version)
    others = tx.where(Subnet, network_id=network.id)
    _check_apart(subnet, others)
    prefixes.check_network(tx, network.id, subnet.ip_version, pool)
    check_pools(cidr, subnet.allocation_pools, gateway)
    subnet = replace(subnet, ordinal=max((each.ordinal for each in others), default=0) + 1)
    tx.insert(subnet)
    ask.touch(tx, network)
    if ipam.is_automatic(subnet):
        _address_everybody(tx, subnet, ask)
    elif network.external:
        gateways.come_to(tx, subnet, ask)
    return subnet


def check_mtu(network_id: str, mtu: int, version: int) -> None:
    """A network carries packets as large as a subnet's version works with. Raises MtuTooSmall."""
    for least in (LEAST_MTU[4], LEAST_MTU[version]):
        if mtu < least:
            raise MtuTooSmall(network_id, least)


def default_pool(tx: Transaction, version: int, ask: Ask) -> SubnetPool | None:
    """The pool that subnets of a version are cut from when nobody says which, if the asker sees it."""
    for pool in tx.where(SubnetPool, default_of=version):
        seen = ask.is_admin or pool.project_id == ask.project_id or sharing.is_shared(tx, pool.id, ask.project_id)
        return pool if seen else None
    return None


def _pool(tx: Transaction, body: Body, ask: Ask) -> SubnetPool | None:
    """The pool that a subnet is to be cut from, if it is. Raises Senseless, NotFound."""
    if body[CIDR] is not None and body[PREFIXLEN] is not None:
        raise Senseless("subnets", "cidr and prefixlen must not be supplied together")
    asked, version = body[SUBNETPOOL], body[IP_VERSION]
    if asked and body[FROM_DEFAULT]:
        raise Senseless("subnets", "subnetpool_id and use_default_subnetpool cannot both be specified")
    if body[FROM_DEFAULT]:
        default = default_pool(tx, version, ask)
        if default is None:
            raise Senseless("subnets", f"No default subnetpool found for IPv{version}")
        return default
    if asked:
        return tx.need(SubnetPool, asked)
    return None


def _cidr(tx: Transaction, body: Body, pool: SubnetPool | None) -> Cidr:
    """The CIDR that is asked for, or one of the pool. Raises Senseless, and what `prefixes.allocate` raises."""
    asked = body[CIDR]
    if pool is None:
        if asked is None:
            raise Senseless("subnets", "a subnetpool must be specified in the absence of a cidr")
        return asked
    if asked is None and POOLS in body:
        raise Senseless("subnets", "allocation_pools allowed only for specific subnet requests.")
    if body[IP_VERSION] != pool.ip_version:
        reason = f"Cannot allocate IPv{body[IP_VERSION]} subnet from IPv{pool.ip_version} subnet pool"
        raise Senseless("subnets", reason)
    length = body[PREFIXLEN] if asked is None else block(asked).prefix
    return prefixes.allocate(
        tx, pool, body.fields["project_id"], pool.default_prefixlen if length is None else length, asked, body[GATEWAY]
    )


def _check_cidr(subnet: Subnet) -> None:
    values.of_version(subnet.ip_version, "cidr", subnet.cidr)
    net = block(subnet.cidr)
    if net.prefix == 0:
        raise Inconsistent("0 is not allowed as CIDR prefix length")
    if net.version == 6 and net.first == 0:
        raise Inconsistent("IPv6 subnet '::' is not supported")
    if not subnet.enable_dhcp:
        return
    _check_dhcp(subnet)


def _check_dhcp(subnet: Subnet) -> None:
    """A subnet of this CIDR can be served by DHCP. Raises Inconsistent."""
    net = block(subnet.cidr)
    if net.prefix > (30 if net.version == 4 else 126):
        raise Inconsistent("Subnet has a prefix length that is incompatible with DHCP service enabled")
    for what, test in (("Multicast", "is_multicast"), ("Loopback", "is_loopback")):
        if getattr(ip_network(subnet.cidr), test):
            raise Inconsistent(f"{what} IP subnet is not supported if enable_dhcp is True")
    if net.first == 0:
        raise Inconsistent("First IP '0.0.0.0' of network is not supported if enable_dhcp is True.")


def _check_gateway(subnet: Subnet) -> None:
    """A gateway may lie outside of its subnet, but may not be its network or broadcast address."""
    if subnet.gateway_ip is None:
        return
    values.of_version(subnet.ip_version, "gateway_ip", subnet.gateway_ip)
    net = block(subnet.cidr)
    if net.version == 4 and number(subnet.gateway_ip) in (net.first, net.last):
        raise Inconsistent("Gateway is not valid on subnet")


MOST: Final[Mapping[str, int]] = {"DNS nameservers": 5, "host routes": 20}
"""What a subnet may have (neutron, `max_dns_nameservers` and `max_subnet_host_routes`)."""


def _check_options(subnet: Subnet, called: str) -> None:
    """Raises TooManyOptions, Inconsistent."""
    for what, given in (("DNS nameservers", subnet.dns_nameservers), ("host routes", subnet.host_routes)):
        if len(given) > MOST[what]:
            raise TooManyOptions(called, what, MOST[what])
    for server in subnet.dns_nameservers:
        values.of_version(subnet.ip_version, "dns_nameserver", server)
    for route in subnet.host_routes:
        values.of_version(subnet.ip_version, "nexthop", route.nexthop)
        values.of_version(subnet.ip_version, "destination", route.destination)


def _check_modes(subnet: Subnet) -> None:
    """What the two IPv6 modes allow (api-ref, "ipv6_address_mode")."""
    modes = {mode for mode in (subnet.ipv6_ra_mode, subnet.ipv6_address_mode) if mode is not None}
    if not modes:
        return
    if subnet.ip_version == 4:
        name = "ipv6_address_mode" if subnet.ipv6_ra_mode is None else "ipv6_ra_mode"
        raise Inconsistent(f"{name} is not valid when ip_version is 4")
    if not subnet.enable_dhcp:
        raise Inconsistent("ipv6_ra_mode or ipv6_address_mode cannot be set when enable_dhcp is set to False")
    if len(modes) > 1:
        raise Inconsistent(
            f"ipv6_ra_mode set to '{subnet.ipv6_ra_mode}' with ipv6_address_mode set to "
            f"'{subnet.ipv6_address_mode}' is not valid. If both attributes are set, they must be the same value"
        )
    if ipam.is_automatic(subnet) and block(subnet.cidr).prefix != 64:
        raise Inconsistent(
            f"Invalid CIDR {subnet.cidr} for IPv6 address mode. OpenStack uses the EUI-64 address format, "
            "which requires the prefix to be /64"
        )


def _check_apart(subnet: Subnet, others: Sequence[Subnet]) -> None:
    net = block(subnet.cidr)
    for other in others:
        against = block(other.cidr)
        if net.version == against.version and net.first <= against.last and against.first <= net.last:
            raise Inconsistent(
                f"Requested subnet with cidr: {subnet.cidr} for network: {subnet.network_id} "
                "overlaps with another subnet"
            )


def _address_everybody(tx: Transaction, subnet: Subnet, ask: Ask) -> None:
    """The guests that are there already form addresses on a new SLAAC subnet, too, and gateways that may."""
    for port in tx.where(Port, network_id=subnet.network_id):
        kept = port.device_owner in ipam.CHOOSERS or not ipam.serves(subnet, port.device_owner)
        if not kept and gateways.may_be_on(tx, port, subnet):
            ip = FixedIp(subnet.id, eui64(subnet.cidr, port.mac_address))
            security.settle(tx, port, ask.save(tx, port, replace(port, fixed_ips=(*port.fixed_ips, ip))))


def update(tx: Transaction, old: Subnet, new: Subnet, body: Body, ask: Ask) -> Subnet:
    """Raises Inconsistent, BadPool, PoolOutOfBounds, PoolsOverlap, GatewayInPool, GatewayInUse."""
    gateway = body.get(GATEWAY, old.gateway_ip)
    new = replace(new, gateway_ip=gateway, allocation_pools=body.get(POOLS, old.allocation_pools))
    if GATEWAY in body:
        _check_gateway(new)
    if gateway != old.gateway_ip:
        _check_gateway_free(tx, old)
    _check_options(new, new.id)
    if new.enable_dhcp and not old.enable_dhcp:
        _check_dhcp(new)
    if old.enable_dhcp and not new.enable_dhcp and (old.ipv6_ra_mode or old.ipv6_address_mode):
        raise Inconsistent("Cannot disable enable_dhcp with ipv6 attributes set")
    if gateway != old.gateway_ip or POOLS in body:
        check_pools(new.cidr, new.allocation_pools, gateway)
    if new.allocation_pools != old.allocation_pools:
        ipam.forget(tx, old.id)
    if new != old:
        ask.touch(tx, tx.need(Network, old.network_id))
    return ask.save(tx, old, new)


def _check_gateway_free(rows: Rows, subnet: Subnet) -> None:
    """No router is the subnet's gateway. Raises GatewayInUse."""
    if subnet.gateway_ip is None:
        return
    for port in rows.where(Port, reservations=(subnet.network_id, subnet.gateway_ip)):
        if router_of(rows, port):
            raise GatewayInUse(subnet.gateway_ip, port.id)


def delete(tx: Transaction, subnet: Subnet, ask: Ask) -> None:
    """Automatic addresses go with it; any other that a port holds keeps it. Raises InUse."""
    for port in tx.where(Port, subnets=subnet.id):
        goes = ipam.is_automatic(subnet) and port.device_owner not in ROUTER_INTERFACES
        if not goes and port.device_owner not in AUTO_DELETED:
            raise InUse("Subnet", subnet.id, "One or more ports have an IP allocation from this subnet")
        kept = tuple(ip for ip in port.fixed_ips if ip.subnet_id != subnet.id)
        security.settle(tx, port, ask.save(tx, port, replace(port, fixed_ips=kept)))
    ipam.forget(tx, subnet.id)
    tx.delete(Subnet, subnet.id)
    ask.touch(tx, tx.need(Network, subnet.network_id))


def _is_shared(scene: Scene, subnet: Subnet) -> bool:
    return sharing.is_shared(scene.rows, subnet.network_id, scene.project_id)


SUBNETS: Collection[Subnet] = Collection(
    "subnet",
    Subnet,
    (
        *common(Subnet),
        NETWORK,
        IP_VERSION,
        CIDR,
        GATEWAY,
        POOLS,
        DNS,
        HOST_ROUTES,
        DHCP,
        _mode("ipv6_ra_mode"),
        _mode("ipv6_address_mode"),
        SUBNETPOOL,
        PREFIXLEN,
        FROM_DEFAULT,
        EXTERNAL,
        Attribute(name="shared", show=_is_shared, hidden=True, filter=Filter(equal(values.boolean))),
        SERVICE_TYPES,
        Attribute(
            name="dns_publish_fixed_ip",
            parse=values.boolean,
            post=True,
            put=True,
            default=False,
            field="dns_publish_fixed_ip",
        ),
    ),
    create,
    update,
    delete,
)
