"""`/v2.0/networks` (api-ref, "Networks", "Provider network extended attributes", "MTU").

A network is carried by one segment (`northbound.resources.segments`). `vlan_transparent` is refused, since the ports of
guests are untagged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from controller.errors import (
    DefaultExternalExists,
    ExternalInUse,
    Inconsistent,
    InUse,
    NoTransparency,
    SegmentsBesides,
    UnknownAttributes,
)
from controller.model import prefixes, security, sharing
from controller.model.records import AutoTopology, FloatingIp, Network, Port, Router, Subnet
from controller.model.store import Rows, Transaction
from northbound.resources import associations, availability_zones, dns, ports, segments, subnets, values
from northbound.resources.attributes import Ask, Attribute, Body, Collection, Filter, Settings, equal
from northbound.resources.schemas import BOOLEAN, INTEGER, STRING, UUID, list_of, nullable, one_of, says, table
from northbound.resources.segments import Segment
from northbound.resources.standard import common, flag, shared
from northbound.resources.subnets import AUTO_DELETED
from northbound.resources.values import Json


@says(one_of([False], BOOLEAN), BOOLEAN)
def _is_transparent(value: values.Json) -> bool:
    if values.boolean(value):
        raise NoTransparency
    return False


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
    schema=nullable(STRING),
    show=lambda _, network: network.physical_network,
    filter=Filter(equal()),
)
SEGMENTATION_ID: Attribute[Network, int | None] = Attribute(
    name="provider:segmentation_id",
    parse=values.integer,
    post=True,
    put=True,
    default=None,
    schema=nullable(INTEGER),
    show=lambda _, network: network.segmentation_id,
    filter=Filter(equal(values.integer)),
)
_PROVIDER = table(
    (NETWORK_TYPE.name,),
    **{each.name: each.takes for each in (NETWORK_TYPE, PHYSICAL_NETWORK, SEGMENTATION_ID)},
)


@says(list_of(_PROVIDER, maxItems=1))
def _segments(value: Json) -> Segment | None:
    """The one segment of a network, by the names of its provider attributes."""
    if not isinstance(value, list):
        raise values.Unfit(f"'{value}' is not a list")
    if len(value) > 1:
        raise Inconsistent("a network has one segment")
    if not value:
        return None
    given = value[0]
    if not isinstance(given, dict):
        raise values.Unfit(f"'{given}' is not a dictionary")
    if unknown := given.keys() - _PROVIDER["properties"].keys():
        raise UnknownAttributes((*sorted(unknown),))
    if not given.get(NETWORK_TYPE.name):
        raise Inconsistent("network_type required")
    physical, number = given.get(PHYSICAL_NETWORK.name), given.get(SEGMENTATION_ID.name)
    return Segment(
        NETWORK_TYPE.read(given[NETWORK_TYPE.name]),
        (PHYSICAL_NETWORK.read(physical) if physical is not None else "") or None,
        None if number is None else SEGMENTATION_ID.read(number),
    )


SEGMENTS: Attribute[Network, Segment | None] = Attribute(
    name="segments", parse=_segments, post=True, default=None, hidden=True
)
MTU: Attribute[Network, int] = Attribute(
    name="mtu",
    parse=values.count,
    post=True,
    put=True,
    default=0,
    show=lambda _, network: network.mtu,
    filter=Filter(equal(values.integer)),
    sort=True,
)
SHARED: Attribute[Network, bool] = shared(post=True, put=True)


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
    """Raises Inconsistent, SegmentsBesides, SegmentInUse, VlanInUse, PhysicalInUse, NoSegment,
    DefaultExternalExists."""
    segment = segments.chosen(tx, _wanted(body, ask.settings), ask.settings, body.fields["project_id"])
    availability_zones.check(tx, body.fields["availability_zone_hints"])
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
    made = tx.insert(_defaulted(tx, network))
    if body[SHARED]:
        sharing.share(tx, made)
    if made.external:
        sharing.share(tx, made, sharing.EXTERNAL)
    return made


def _defaulted(tx: Transaction, network: Network) -> Network:
    """The default of external networks is one of them, and the only one. Raises DefaultExternalExists."""
    if not network.external or not network.is_default:
        return replace(network, is_default=False)
    for other in tx.where(Network, is_default=True):
        if other.id != network.id:
            raise DefaultExternalExists(other.id)
    return network


def _wanted(body: Body, settings: Settings) -> Segment:
    asked, whole = body[NETWORK_TYPE], body[SEGMENTS]
    if whole is not None:
        if any(attribute in body for attribute in (NETWORK_TYPE, PHYSICAL_NETWORK, SEGMENTATION_ID)):
            raise SegmentsBesides
        return whole
    if not asked and (PHYSICAL_NETWORK in body or SEGMENTATION_ID in body):
        raise Inconsistent("network_type required")
    return Segment(asked or settings.network_type, body[PHYSICAL_NETWORK] or None, body[SEGMENTATION_ID])


def _checked_mtu(asked: int, segment: Segment, settings: Settings) -> int:
    """The MTU of a network, the largest unless something else was asked for."""
    most = segments.most(segment.type, segment.physical, settings)
    if asked > most:
        raise Inconsistent(f"Requested MTU is too big, maximum is {most}")
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
        mtu = _checked_mtu(body[MTU], Segment(old.network_type, old.physical_network), ask.settings)
        for subnet in tx.where(Subnet, network_id=old.id):
            subnets.check_mtu(old.id, mtu, subnet.ip_version)
        new = replace(new, mtu=mtu)
    if SHARED in body:
        (sharing.share if body[SHARED] else _unshare)(tx, old)
    if old.external and not new.external:
        _check_no_way_out(tx, old)
        sharing.close(tx, old)
    elif new.external and not old.external:
        sharing.share(tx, old, sharing.EXTERNAL)
    return ask.save(tx, old, _defaulted(tx, new))


def _check_no_way_out(tx: Transaction, network: Network) -> None:
    """No router has its gateway on the network, and no floating IP is of it. Raises ExternalInUse."""
    if tx.holds(Router, external_network_id=network.id) or tx.holds(FloatingIp, floating_network_id=network.id):
        raise ExternalInUse(network.id)


def _unshare(tx: Transaction, network: Network) -> None:
    """Raises SharedByOthers."""
    users = {each.project_id for each in tx.where(Subnet, network_id=network.id)}
    users |= {
        each.project_id
        for each in tx.where(Port, network_id=network.id)
        if not each.device_owner.startswith("network:")
    }
    sharing.unshare(tx, network, users)


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
    sharing.forget(tx, network)
    for topology in tx.where(AutoTopology, network_id=network.id):
        tx.delete(AutoTopology, topology.id)
    tx.delete(Network, network.id)
    tx.untag("network", network.id)
    if network.physical_network is not None and not tx.where(Network, physical_network=network.physical_network):
        tx.untag("physical", network.physical_network)


NETWORKS: Collection[Network] = Collection(
    "network",
    Network,
    (
        *common(Network),
        flag("admin_state_up", True, sort=True),
        Attribute(name="status", schema=STRING, show=lambda *_: "ACTIVE", filter=Filter(equal()), sort=True),
        Attribute(
            name="subnets",
            schema=list_of(UUID),
            show=lambda scene, network: [each.id for each in scene.rows.where(Subnet, network_id=network.id)],
        ),
        SHARED,
        flag("port_security_enabled", True),
        MTU,
        dns.NETWORK_DOMAIN,
        NETWORK_TYPE,
        PHYSICAL_NETWORK,
        SEGMENTATION_ID,
        SEGMENTS,
        Attribute(
            name="vlan_transparent",
            parse=_is_transparent,
            post=True,
            default=False,
            show=lambda *_: False,
            filter=Filter(equal(values.boolean)),
        ),
        EXTERNAL,
        DEFAULT,
        *availability_zones.zones(Network, sort=True),
        Attribute(
            name="ipv4_address_scope",
            schema=nullable(UUID),
            show=lambda scene, network: prefixes.scope_of(scene.rows, network.id, 4),
        ),
        Attribute(
            name="ipv6_address_scope",
            schema=nullable(UUID),
            show=lambda scene, network: prefixes.scope_of(scene.rows, network.id, 6),
        ),
    ),
    create,
    update,
    delete,
)
