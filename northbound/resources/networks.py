"""`/v2.0/networks` (api-ref, "Networks", "Provider network extended attributes", "MTU").

A network is carried by one segment (`northbound.resources.segments`). External ones are refused until something
carries them; so is `vlan_transparent`, since the ports of guests are untagged.
"""

from __future__ import annotations

from dataclasses import replace

from controller.errors import Inconsistent, InUse, MtuTooSmall, NoTransparency, SharedByOthers
from controller.model import security
from controller.model.records import Network, Port, Subnet
from controller.model.store import Rows, Transaction
from northbound.resources import ports, segments, subnets, values
from northbound.resources.attributes import Ask, Attribute, Body, Collection, Filter, Settings, common, equal
from northbound.resources.segments import Segment
from northbound.resources.subnets import AUTO_DELETED, IPV6_MTU
from northbound.resources.values import Json

IPV4_MTU = 68
"""The least that IPv4 works with, in bytes (RFC 791, section 3.2)."""


def _is_external(value: Json) -> bool:
    if values.boolean(value):
        raise values.Unfit("external networks are not supported yet")
    return False


def _is_transparent(value: Json) -> bool:
    if values.boolean(value):
        raise NoTransparency
    return False


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


def create(tx: Transaction, body: Body, ask: Ask) -> Network:
    """Raises Inconsistent, SegmentInUse, VlanInUse, PhysicalInUse, NoSegment."""
    segment = segments.chosen(tx, _wanted(body, ask.settings), ask.settings)
    if project := body.fields["project_id"]:
        security.default_group(tx, project, ask.now)
    network = Network(
        **ask.stamp(),
        **body.fields,
        network_type=segment.type,
        physical_network=segment.physical,
        segmentation_id=segment.number,
        mtu=_checked_mtu(body[MTU], segment, ask.settings),
    )
    tx.tag("network", network.id)
    if segment.physical is not None:
        tx.tag("physical", segment.physical)
    return tx.insert(network)


def _wanted(body: Body, settings: Settings) -> Segment:
    asked = body[NETWORK_TYPE]
    if not asked and (PHYSICAL_NETWORK in body or SEGMENTATION_ID in body):
        raise Inconsistent("network_type required")
    return Segment(asked or settings.network_type, body[PHYSICAL_NETWORK] or None, body[SEGMENTATION_ID])


def _checked_mtu(asked: int, segment: Segment, settings: Settings) -> int:
    """The MTU of a network, the largest unless something else was asked for."""
    most = segments.most(segment.type, segment.physical, settings)
    if asked > most:
        raise Inconsistent(f"Requested MTU is too big, maximum is {most}")
    if 0 < asked < IPV4_MTU:
        raise Inconsistent(f"Requested MTU is too small, minimum is {IPV4_MTU}")
    return asked or most


def update(tx: Transaction, old: Network, new: Network, body: Body, ask: Ask) -> Network:
    """Raises Inconsistent, MtuTooSmall, SharedByOthers."""
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
        mtu = _checked_mtu(body[MTU], Segment(old.network_type, old.physical_network), ask.settings)
        if mtu < IPV6_MTU and any(each.ip_version == 6 for each in tx.where(Subnet, network_id=old.id)):
            raise MtuTooSmall(old.id, IPV6_MTU)
        new = replace(new, mtu=mtu)
    if old.shared and not new.shared:
        _alone(tx, old)
    return ask.save(tx, old, new)


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
    """Its subnets, and ports that nobody made, go with it. Raises InUse."""
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
    if network.physical_network is not None and not tx.where(Network, physical_network=network.physical_network):
        tx.untag("physical", network.physical_network)


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
        Attribute(
            name="vlan_transparent",
            parse=_is_transparent,
            post=True,
            default=False,
            show=lambda *_: False,
            filter=Filter(equal(values.boolean)),
        ),
        Attribute(
            name="router:external",
            parse=_is_external,
            post=True,
            put=True,
            default=False,
            show=lambda *_: False,
            filter=Filter(equal(values.boolean)),
        ),
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
