"""`/v2.0/ports` (api-ref, "Ports", "Port binding extended attributes").

Where a port is plugged decides what it is bound to; `binding:host_id` only restricts it. A port that a client leaves to
the defaults is in its project's default security group; one that Neutron itself would own (`network:*`) is trusted: it
has no port security.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import cast
from uuid import uuid4

from controller.errors import (
    GroupsRemain,
    Inconsistent,
    MacInUse,
    MixedStates,
    NoGroupsUnguarded,
    NoMac,
    NotFound,
    OwnedPort,
    PairsUnguarded,
    RepeatedPair,
    UnsupportedOwner,
)
from controller.model import ipam, security, sharing
from controller.model.bindings import NOT_PLUGGED, Placed, Unplaced, hindrance, place
from controller.model.ipam import Wanted
from controller.model.records import (
    FLOATING,
    GATEWAY,
    TRUSTED,
    Address,
    AddressPair,
    Chassis,
    Cidr,
    FixedIp,
    Mac,
    Network,
    Port,
    PortBinding,
    Router,
    SecurityGroup,
    Subnet,
)
from controller.model.store import Rows, Transaction
from northbound.resources import associations, dhcp_options, dns, interfaces, values
from northbound.resources.attributes import (
    Ask,
    Attribute,
    Body,
    Collection,
    Filter,
    Scene,
    Test,
    any_of,
    equal,
    indexed,
    many,
)
from northbound.resources.schemas import MAC as MAC_ADDRESS
from northbound.resources.schemas import STRING
from northbound.resources.standard import common, flag, network_of, tags
from northbound.resources.values import Json

DRAWS = 16
"""How often a MAC address is drawn before giving up; a network would need millions of ports for a second draw."""


def _mac_or_text(value: str) -> str:
    try:
        return values.mac(value)
    except values.Unfit:
        return value


def _by_address(given: Sequence[str]) -> Test:
    """`fixed_ips=ip_address=..`, `subnet_id=` and `ip_address_substr=`, each of them once or more."""
    wanted = _pairs(given)
    addresses = {values.address_or_text(value) for value in wanted.get("ip_address", ())}
    subnets = set(wanted.get("subnet_id", ()))
    parts = wanted.get("ip_address_substr", [])

    def test(shown: Json) -> bool:
        ips = cast("list[dict[str, str]]", shown)
        return (
            (not addresses or any(ip["ip_address"] in addresses for ip in ips))
            and (not subnets or any(ip["subnet_id"] in subnets for ip in ips))
            and (not parts or any(part in ip["ip_address"] for ip in ips for part in parts))
        )

    return test


def _pairs(given: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for each in given:
        key, separator, value = each.partition("=")
        if not separator or not key.strip():
            raise Inconsistent(f"'{each}' is not of the form <key>=[value]")
        found.setdefault(key.strip(), []).append(value.strip())
    return found


def _with_address(rows: Rows, given: Sequence[str]) -> Sequence[Port]:
    """By subnet, or by address on any network: addresses have an index on each."""
    wanted = _pairs(given)
    if "subnet_id" in wanted:
        return [port for id in set(wanted["subnet_id"]) for port in rows.where(Port, subnets=id)]
    if "ip_address" not in wanted:
        return rows.all(Port)
    addresses = {values.address_or_text(value) for value in wanted["ip_address"]}
    networks = [network.id for network in rows.all(Network)]
    found = (rows.where(Port, reservations=(id, address)) for address in addresses for id in networks)
    return [port for ports in found for port in ports]


NETWORK: Attribute[Port, str] = network_of(Port)
MAC: Attribute[Port, Mac | None] = Attribute(
    name="mac_address",
    parse=values.or_none(values.mac),
    post=True,
    put=True,
    default=None,
    schema=MAC_ADDRESS,
    show=lambda _, port: port.mac_address,
    filter=Filter(
        equal(_mac_or_text),
        lambda rows, given: [port for mac in set(given) for port in rows.where(Port, mac_address=_mac_or_text(mac))],
    ),
    sort=True,
)
FIXED_IPS: Attribute[Port, tuple[Wanted, ...] | None] = Attribute(
    name="fixed_ips",
    parse=values.fixed_ips,
    post=True,
    put=True,
    default=None,
    show=lambda _, port: [{"subnet_id": ip.subnet_id, "ip_address": ip.ip_address} for ip in port.fixed_ips],
    filter=Filter(_by_address, _with_address),
    names=lambda wanted: [(Subnet, each.subnet_id) for each in wanted or () if each.subnet_id],
)
HOST: Attribute[Port, str | None] = Attribute(
    name="binding:host_id",
    parse=values.or_none(values.string),
    post=True,
    put=True,
    default=None,
    show=lambda scene, port: bound(scene, port).host,
    filter=Filter(equal()),
)
GUARDED: Attribute[Port, bool | None] = Attribute(
    name="port_security_enabled",
    parse=values.boolean,
    post=True,
    put=True,
    default=None,
    show=lambda _, port: port.port_security_enabled,
    filter=Filter(equal(values.boolean)),
)
GROUPS: Attribute[Port, tuple[str, ...] | None] = Attribute(
    name="security_groups",
    parse=values.uuids,
    post=True,
    put=True,
    default=None,
    show=lambda _, port: [*port.security_groups],
    filter=Filter(any_of, indexed(Port, "groups")),
    names=many(SecurityGroup),
)
PAIRS: Attribute[Port, tuple[tuple[Mac | None, Address | Cidr], ...]] = Attribute(
    name="allowed_address_pairs",
    parse=values.address_pairs,
    post=True,
    put=True,
    default=(),
    show=lambda _, port: [
        {"mac_address": pair.mac_address, "ip_address": pair.ip_address} for pair in port.allowed_address_pairs
    ],
)


@dataclass(frozen=True, slots=True)
class Bound:
    """What Nova is told: how to plug the port, and where."""

    vif_type: str
    details: dict[str, Json]
    host: str


def bound(scene: Scene, port: Port) -> Bound:
    """The binding of a port, worked out once an answer."""
    found = scene.memo.get(port.id)
    if not isinstance(found, Bound):
        found = scene.memo[port.id] = bind(scene.rows, port)
    return found


def bind(rows: Rows, port: Port) -> Bound:
    """Bound where it is plugged; else, if a client named a host, as it would be there. A router's is everywhere."""
    if kept_by := interfaces.keeper(rows, port):
        return Bound("distributed" if isinstance(kept_by, Router) else "unbound", {}, "")
    placed = place(rows, port)
    if isinstance(placed, Placed):
        chassis = rows.get(Chassis, placed.chassis)
        if chassis is not None:
            return Bound("ovs", _details(chassis), port.host or chassis.id)
    if port.host:
        return expected(rows, port, port.host)
    if isinstance(placed, Unplaced) and placed.failed:
        return Bound("binding_failed", {"reason": placed.reason}, "")
    claimed = isinstance(placed, Unplaced) and placed.reason != NOT_PLUGGED
    return Bound("unbound", {"reason": placed.reason} if isinstance(placed, Unplaced) and claimed else {}, "")


def expected(rows: Rows, port: Port, host: str) -> Bound:
    """The binding that a port would have on a host."""
    network = rows.get(Network, port.network_id)
    found = rows.get(Chassis, host)
    candidates = [found] if found is not None else rows.where(Chassis, hostname=host)
    if not candidates or network is None:
        return Bound("binding_failed", {"reason": f"no hypervisor is called {host}"}, host)
    hindrances = [hindrance(chassis, network) for chassis in candidates]
    if "" in hindrances:
        return Bound("ovs", _details(candidates[hindrances.index("")]), host)
    return Bound("binding_failed", {"reason": hindrances[0]}, host)


def _details(chassis: Chassis) -> dict[str, Json]:
    return {
        "port_filter": True,
        "connectivity": "l2",
        "ovs_hybrid_plug": False,
        "datapath_type": chassis.datapath_type or "system",
        "bridge_name": chassis.bridge,
    }


def create(tx: Transaction, body: Body, ask: Ask) -> Port:
    """Raises NotFound, ForeignDevice, MacInUse, NoMac, NoGroupsUnguarded, PairsUnguarded, MixedStates, RepeatedPair,
    and what `ipam.assign` raises."""
    network = tx.get(Network, body[NETWORK])
    if network is None:
        raise NotFound("Network", body[NETWORK])
    port = Port(
        **ask.stamp(),
        **body.fields,
        mac_address=_mac(tx, network.id, body[MAC], ask),
        host=body[HOST],
        extra_dhcp_opts=dhcp_options.merged((), body[dhcp_options.OPTIONS]),
        ip_allocation="none" if body[FIXED_IPS] == () else "immediate",
    )
    dns.check(port.dns_name, ask.settings)
    interfaces.check_made(tx, port)
    tx.tag("port", port.id)
    made = tx.insert(_made(tx, port, ipam.assign(tx, port, body[FIXED_IPS]), network, body, ask))
    security.settle(tx, None, made)
    return made


def _made(tx: Transaction, port: Port, fixed_ips: tuple[FixedIp, ...], network: Network, body: Body, ask: Ask) -> Port:
    """A new port with its addresses, and the security that was asked for, or the default."""
    if port.project_id:
        security.default_group(tx, port.project_id, ask.now)
    asked = body[GUARDED]
    enabled = network.port_security_enabled if asked is None else asked
    if port.device_owner.startswith(TRUSTED):
        enabled = False
    pairs, groups = _address_pairs(port.mac_address, body[PAIRS]), body[GROUPS]
    if pairs and not enabled:
        raise PairsUnguarded
    if groups and not enabled:
        raise NoGroupsUnguarded
    if groups is None:
        groups = (security.default_group(tx, port.project_id, ask.now).id,) if enabled else ()
    return replace(
        port,
        fixed_ips=fixed_ips,
        port_security_enabled=enabled,
        security_groups=_groups(tx, groups, port.project_id, ask),
        allowed_address_pairs=pairs,
    )


def _address_pairs(own: Mac, asked: Iterable[tuple[Mac | None, Address | Cidr]]) -> tuple[AddressPair, ...]:
    """A pair without a MAC address takes the port's, as it is now."""
    pairs: dict[AddressPair, None] = {}
    for mac, address in asked:
        pair = AddressPair(mac or own, address)
        if pair in pairs:
            raise RepeatedPair(pair.mac_address, pair.ip_address)
        pairs[pair] = None
    return tuple(pairs)


def _groups(tx: Transaction, asked: tuple[str, ...], project_id: str, ask: Ask) -> tuple[str, ...]:
    """Groups that a port of a project may be in at once: all of them there, and its own or shared with it, unless an
    administrator asks."""
    found = [group for group in (tx.get(SecurityGroup, id) for id in asked) if group is not None]
    usable = {
        group.id
        for group in found
        if ask.is_admin or group.project_id == project_id or sharing.is_shared(tx, group.id, project_id)
    }
    if missing := [id for id in asked if id not in usable]:
        raise NotFound("SecurityGroup", ", ".join(missing))
    if len({group.stateful for group in found}) > 1:
        raise MixedStates
    return asked


def _mac(tx: Transaction, network_id: str, asked: Mac | None, ask: Ask) -> Mac:
    """The MAC address that was asked for, or one that nobody on the network has."""
    if asked is not None:
        if tx.where(Port, network_id=network_id, mac_address=asked):
            raise MacInUse(network_id, asked)
        return asked
    for _ in range(DRAWS):
        drawn = Mac(f"{ask.settings.base_mac[:8]}:{secrets.token_bytes(3).hex(':')}")
        if not tx.where(Port, network_id=network_id, mac_address=drawn):
            return drawn
    raise NoMac(network_id)


def update(tx: Transaction, old: Port, new: Port, body: Body, ask: Ask) -> Port:
    """Raises MacInUse, NoMac, NotFound, NoGroupsUnguarded, GroupsRemain, PairsUnguarded, MixedStates, RepeatedPair,
    UnsupportedOwner, and what `ipam.assign`, `interfaces.check_changed` and `associations.follow` raise."""
    if HOST in body:
        new = replace(new, host=body[HOST] or "")
        tx.discard(PortBinding, f"{old.id}/{new.host}")
    if dns.NAME in body:
        dns.check(new.dns_name, ask.settings)
    new = replace(new, extra_dhcp_opts=dhcp_options.merged(old.extra_dhcp_opts, body[dhcp_options.OPTIONS]))
    if MAC in body and body[MAC] != old.mac_address:
        if (owner := new.device_owner or old.device_owner).startswith(TRUSTED):
            raise UnsupportedOwner("mac address update", owner, old.id)
        new = replace(new, mac_address=_mac(tx, old.network_id, body[MAC], ask))
    if FIXED_IPS in body:
        new = replace(new, fixed_ips=ipam.assign(tx, new, body[FIXED_IPS]))
    elif new.mac_address != old.mac_address:
        new = replace(new, fixed_ips=ipam.assign(tx, new, ipam.chosen(tx, old)))
    interfaces.check_changed(tx, old, new)
    associations.follow(tx, old, new, ask)
    saved = ask.save(tx, old, _reguarded(tx, new, body, ask))
    ipam.release(tx, old)
    security.settle(tx, old, saved)
    return saved


def _reguarded(tx: Transaction, port: Port, body: Body, ask: Ask) -> Port:
    """A port with the security that was asked for; without port security it can have neither groups nor pairs."""
    if PAIRS in body:
        port = replace(port, allowed_address_pairs=_address_pairs(port.mac_address, body[PAIRS]))
    groups, enabled = body[GROUPS], body[GUARDED]
    if groups is not None:
        port = replace(port, security_groups=_groups(tx, groups, port.project_id, ask))
    if enabled is not None:
        port = replace(port, port_security_enabled=enabled)
    if port.port_security_enabled:
        return port
    if port.allowed_address_pairs:
        raise PairsUnguarded
    if port.security_groups:
        raise GroupsRemain(port.id) if groups is None else NoGroupsUnguarded
    return port


def delete(tx: Transaction, port: Port, ask: Ask) -> None:
    """Raises OwnedPort, AssociatedByOthers."""
    if interfaces.keeper(tx, port):
        raise OwnedPort(port.id, port.device_owner)
    remove(tx, port, ask)


def remove(tx: Transaction, port: Port, ask: Ask) -> None:
    """Its addresses, its MAC address and its tag can be given to others. Raises AssociatedByOthers."""
    associations.leave(tx, port, ask)
    for binding in tx.where(PortBinding, port_id=port.id):
        tx.delete(PortBinding, binding.id)
    tx.delete(Port, port.id)
    tx.untag("port", port.id)
    ipam.release(tx, port)
    security.settle(tx, port, None)


def make_interface(tx: Transaction, router: Router, subnet: Subnet, wanted: Wanted, ask: Ask) -> Port:
    """An interface of a router on a subnet, owned by the router's project. Raises NoMac, and what `ipam.assign` raises.

    A router that comes back to a subnet has the MAC address it had: guests remember it.
    """
    owner = interfaces.owner_of_interfaces(router)
    port = _kept_by(tx, router, subnet.network_id, owner, f"{router.id} {subnet.id}", ask)
    port = replace(port, project_id=router.project_id)
    return tx.insert(replace(port, fixed_ips=ipam.assign(tx, port, [wanted])))


def make_gateway(tx: Transaction, router: Router, network: Network, wanted: Sequence[Wanted] | None, ask: Ask) -> Port:
    """What holds the addresses of a router's gateway. Raises NoMac, and what `ipam.assign` raises."""
    port = _kept_by(tx, router, network.id, GATEWAY, f"{router.id} {network.id}", ask)
    return tx.insert(replace(port, fixed_ips=ipam.assign(tx, port, wanted)))


def _kept_by(tx: Transaction, router: Router, network_id: str, owner: str, seed: str, ask: Ask) -> Port:
    """A port of a router, without addresses; its MAC address is always the same for a seed, if it is free."""
    mine = blake2b(seed.encode(), digest_size=3).hexdigest()
    mac = Mac(":".join((ask.settings.base_mac[:8], mine[:2], mine[2:4], mine[4:])))
    if tx.where(Port, network_id=network_id, mac_address=mac):
        mac = _mac(tx, network_id, None, ask)
    return _unguarded(tx, network_id, mac, owner, router.id, ask)


def make_floating(
    tx: Transaction, floating_ip: str, network: Network, wanted: Sequence[Wanted] | None, ask: Ask
) -> Port:
    """What holds the IPv4 and the MAC address of a floating IP. Raises NoMac, and what `ipam.assign` raises."""
    port = _unguarded(tx, network.id, _mac(tx, network.id, None, ask), FLOATING, floating_ip, ask)
    return tx.insert(replace(port, fixed_ips=ipam.assign(tx, port, wanted, versions=(4,))))


def _unguarded(tx: Transaction, network_id: str, mac: Mac, owner: str, device_id: str, ask: Ask) -> Port:
    """A port beside the resource that is asked for, with an id of its own; what guards guests does not guard it."""
    port = Port(
        **replace(ask, id=str(uuid4())).stamp(),
        network_id=network_id,
        mac_address=mac,
        device_id=device_id,
        device_owner=owner,
        port_security_enabled=False,
    )
    tx.tag("port", port.id)
    return port


def _text(name: str, narrow: Callable[[Rows, Sequence[str]], Iterable[Port]] | None = None) -> Attribute[Port, str]:
    return Attribute(
        name=name,
        parse=values.string,
        post=True,
        put=True,
        default="",
        field=name,
        filter=Filter(equal(), narrow),
        sort=True,
    )


PORTS: Collection[Port] = Collection(
    "port",
    Port,
    (
        *common(Port, tagged=False),
        *tags(post=True),
        NETWORK,
        MAC,
        FIXED_IPS,
        _text("device_id", indexed(Port, "device_id")),
        _text("device_owner"),
        flag("admin_state_up", True, sort=True),
        Attribute(
            name="status",
            schema=STRING,
            show=lambda scene, port: scene.wiring.port_status(port),
            filter=Filter(equal()),
            sort=True,
        ),
        HOST,
        Attribute(
            name="binding:vif_type",
            schema=STRING,
            show=lambda scene, port: bound(scene, port).vif_type,
            filter=Filter(equal()),
        ),
        Attribute(
            name="binding:vif_details", schema={"type": "object"}, show=lambda scene, port: bound(scene, port).details
        ),
        Attribute(
            name="binding:vnic_type",
            parse=values.choice(("normal",), values.text(64)),
            post=True,
            put=True,
            default="normal",
            field="vnic_type",
        ),
        Attribute(
            name="binding:profile",
            parse=values.profile,
            post=True,
            put=True,
            default="{}",
            field="profile",
            show=lambda _, port: cast("Json", json.loads(port.profile)),
        ),
        GUARDED,
        GROUPS,
        PAIRS,
        dhcp_options.OPTIONS,
        dns.NAME,
        dns.ASSIGNMENT,
        dns.PORT_DOMAIN,
        Attribute(
            name="propagate_uplink_status",
            parse=values.boolean,
            post=True,
            put=True,
            default=True,
            field="propagate_uplink_status",
        ),
        Attribute(name="ip_allocation", field="ip_allocation", schema=STRING, filter=Filter(equal()), sort=True),
    ),
    create,
    update,
    delete,
)
