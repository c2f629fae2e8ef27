"""`/v2.0/networks` (api-ref, "Networks", "Provider network extended attributes", "MTU").

A network is carried by one tunnel segment. Networks of VLANs and flat ones are refused until something carries them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from controller.errors import (
    DefaultExternalExists,
    ExternalInUse,
    Inconsistent,
    InUse,
    MtuTooSmall,
    NoSegment,
    SegmentInUse,
    SharedByOthers,
)
from controller.model import security
from controller.model.records import FloatingIp, Network, Port, Router, Subnet
from controller.model.store import Rows, Transaction
from northbound.resources import associations, ports, subnets, values
from northbound.resources.attributes import Ask, Attribute, Body, Collection, Filter, Settings, common, equal
from northbound.resources.subnets import AUTO_DELETED, IPV6_MTU
from northbound.resources.values import Json

OVERHEAD = {"vxlan": 50, "geneve": 50, "gre": 42}
"""What each network type takes of the underlay's MTU, in bytes, over IPv4."""

IPV6_MORE = 20
"""What each takes more over IPv6, whose header is that much longer."""

IPV4_MTU = 68
"""The least that IPv4 works with, in bytes (RFC 791, section 3.2)."""


def _mtu(value: Json) -> int:
    size = values.integer(value)
    if size < 0:
        raise values.Unfit(f"'{size}' should be non-negative")
    return size


NETWORK_TYPE: Attribute[Network, str] = Attribute(
    name="provider:network_type",
    parse=values.text(32),
    post=True,
    put=True,
    default="",
    show=lambda _, network: network.network_type,
    filter=Filter(equal()),
)
PHYSICAL_NETWORK: Attribute[Network, str] = Attribute(
    name="provider:physical_network",
    parse=values.text(64),
    post=True,
    put=True,
    default="",
    show=lambda _, network: network.physical_network,
    filter=Filter(equal()),
)
SEGMENTATION_ID: Attribute[Network, int | None] = Attribute(
    name="provider:segmentation_id",
    parse=values.integer,
    post=True,
    put=True,
    default=None,
    show=lambda _, network: network.segmentation_id,
    filter=Filter(equal(values.integer)),
)
MTU: Attribute[Network, int] = Attribute(
    name="mtu",
    parse=_mtu,
    post=True,
    put=True,
    default=0,
    show=lambda _, network: network.mtu,
    filter=Filter(equal(values.integer)),
    sort=True,
)
SHARED: Attribute[Network, bool] = Attribute(
    name="shared",
    parse=values.boolean,
    post=True,
    put=True,
    default=False,
    field="shared",
    filter=Filter(equal(values.boolean)),
)


def _external(name: str, narrow: str) -> Attribute[Network, bool]:
    """What only an external network can be, or what makes it one."""
    return Attribute(
        name=name,
        parse=values.boolean,
        post=True,
        put=True,
        default=False,
        field=narrow,
        filter=Filter(equal(values.boolean), lambda rows, given: _flagged(rows, narrow, given)),
        sort=narrow == "is_default",
    )


def _flagged(rows: Rows, name: str, given: Sequence[str]) -> list[Network]:
    wanted = {values.boolean(value) for value in given}
    return [network for value in wanted for network in rows.where(Network, **{name: value})]


EXTERNAL = _external("router:external", "external")
DEFAULT = _external("is_default", "is_default")


def create(tx: Transaction, body: Body, ask: Ask) -> Network:
    """Raises Inconsistent, SegmentInUse, NoSegment, DefaultExternalExists."""
    network_type = _network_type(body, ask.settings)
    if project := body.fields["project_id"]:
        security.default_group(tx, project, ask.now)
    network = Network(
        **ask.stamp(),
        **body.fields,
        network_type=network_type,
        segmentation_id=_segment(tx, network_type, body[SEGMENTATION_ID], ask.settings),
        mtu=_checked_mtu(body[MTU], network_type, ask.settings),
    )
    tx.tag("network", network.id)
    return tx.insert(_defaulted(tx, network))


def _defaulted(tx: Transaction, network: Network) -> Network:
    """The default of external networks is one of them, and the only one. Raises DefaultExternalExists."""
    if not network.external or not network.is_default:
        return replace(network, is_default=False)
    for other in tx.where(Network, is_default=True):
        if other.id != network.id:
            raise DefaultExternalExists(other.id)
    return network


def _network_type(body: Body, settings: Settings) -> str:
    asked = body[NETWORK_TYPE]
    if not asked and (PHYSICAL_NETWORK in body or SEGMENTATION_ID in body):
        raise Inconsistent("network_type required")
    network_type = asked or settings.network_type
    if network_type not in OVERHEAD:
        raise Inconsistent(f"network_type value '{network_type}' not supported")
    if body[PHYSICAL_NETWORK]:
        raise Inconsistent(f"provider:physical_network specified for {network_type} network")
    return network_type


def _segment(tx: Transaction, network_type: str, asked: int | None, settings: Settings) -> int:
    """The number that was asked for, or the next free one, handed out round-robin."""
    low, high = settings.segments
    if asked is not None:
        if not low <= asked <= high:
            raise Inconsistent(f"segmentation_id out of range ({low} through {high})")
        if (holder := _holder(tx, network_type, asked)) is not None:
            raise SegmentInUse(asked, f"network {holder}")
        return asked
    size = high - low + 1
    for _ in range(size):
        segment = low + (tx.next(f"segment/{network_type}") - 1) % size
        if _holder(tx, network_type, segment) is None:
            return segment
    raise NoSegment(network_type)


def _holder(rows: Rows, network_type: str, segment: int) -> str | None:
    found = rows.where(Network, network_type=network_type, physical_network=None, segmentation_id=segment)
    return found[0].id if found else None


def _checked_mtu(asked: int, network_type: str, settings: Settings) -> int:
    """The MTU of a network, the largest unless something else was asked for."""
    most = settings.underlay_mtu - OVERHEAD[network_type] - (IPV6_MORE if settings.underlay_ip_version == 6 else 0)
    if asked > most:
        raise Inconsistent(f"Requested MTU is too big, maximum is {most}")
    if 0 < asked < IPV4_MTU:
        raise Inconsistent(f"Requested MTU is too small, minimum is {IPV4_MTU}")
    return asked or most


def update(tx: Transaction, old: Network, new: Network, body: Body, ask: Ask) -> Network:
    """Raises Inconsistent, MtuTooSmall, SharedByOthers, ExternalInUse, DefaultExternalExists."""
    for attribute, found in (
        (NETWORK_TYPE, old.network_type),
        (PHYSICAL_NETWORK, old.physical_network or ""),
        (SEGMENTATION_ID, old.segmentation_id),
    ):
        if attribute in body and body[attribute] != found:
            raise Inconsistent(
                f"Plugin does not support updating the following provider network attributes: {attribute.name}"
            )
    if MTU in body:
        mtu = _checked_mtu(body[MTU], old.network_type, ask.settings)
        if mtu < IPV6_MTU and any(each.ip_version == 6 for each in tx.where(Subnet, network_id=old.id)):
            raise MtuTooSmall(old.id, IPV6_MTU)
        new = replace(new, mtu=mtu)
    if old.shared and not new.shared:
        _alone(tx, old)
    if old.external and not new.external:
        _check_no_way_out(tx, old)
    return ask.save(tx, old, _defaulted(tx, new))


def _check_no_way_out(tx: Transaction, network: Network) -> None:
    """No router has its gateway on the network, and no floating IP is of it. Raises ExternalInUse."""
    if tx.holds(Router, external_network_id=network.id) or tx.holds(FloatingIp, floating_network_id=network.id):
        raise ExternalInUse(network.id)


def _alone(rows: Rows, network: Network) -> None:
    """Nobody but the owner uses the network. Raises SharedByOthers."""
    users = {each.project_id for each in rows.where(Subnet, network_id=network.id)}
    users |= {
        each.project_id
        for each in rows.where(Port, network_id=network.id)
        if not each.device_owner.startswith("network:")
    }
    if users - {network.project_id}:
        raise SharedByOthers(network.name)


def delete(tx: Transaction, network: Network, ask: Ask) -> None:
    """Its subnets, ports that nobody made and floating IPs that nobody uses go with it. Raises InUse."""
    associations.remove_idle(tx, network.id)
    found = tx.where(Port, network_id=network.id)
    if held := [port.id for port in found if port.device_owner not in AUTO_DELETED]:
        raise InUse(
            "Network",
            network.id,
            f"There are one or more ports still in use on the network, id for these ports is: {','.join(held)}",
        )
    for port in found:
        ports.delete(tx, port, ask)
    for subnet in tx.where(Subnet, network_id=network.id):
        subnets.delete(tx, subnet, ask)
    tx.delete(Network, network.id)
    tx.untag("network", network.id)


NETWORKS: Collection[Network] = Collection(
    "network",
    Network,
    (
        *common(Network),
        Attribute(
            name="admin_state_up",
            parse=values.boolean,
            post=True,
            put=True,
            default=True,
            field="admin_state_up",
            filter=Filter(equal(values.boolean)),
            sort=True,
        ),
        Attribute(name="status", show=lambda *_: "ACTIVE", filter=Filter(equal()), sort=True),
        Attribute(
            name="subnets",
            show=lambda scene, network: [each.id for each in scene.rows.where(Subnet, network_id=network.id)],
        ),
        SHARED,
        Attribute(
            name="port_security_enabled",
            parse=values.boolean,
            post=True,
            put=True,
            default=True,
            field="port_security_enabled",
            filter=Filter(equal(values.boolean)),
        ),
        MTU,
        NETWORK_TYPE,
        PHYSICAL_NETWORK,
        SEGMENTATION_ID,
        EXTERNAL,
        DEFAULT,
        Attribute(
            name="availability_zone_hints",
            parse=values.nothing_yet("availability zones"),
            post=True,
            default=None,
            show=lambda *_: [],
        ),
        Attribute(name="availability_zones", show=lambda *_: []),
        Attribute(name="ipv4_address_scope", show=lambda *_: None),
        Attribute(name="ipv6_address_scope", show=lambda *_: None),
    ),
    create,
    update,
    delete,
)
