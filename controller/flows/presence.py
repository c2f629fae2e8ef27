"""Where things are: ports on chassis, networks and policies where they have attached ports; addresses in groups.

All derived, nothing stored. Who holds an address of a network (`holder`):

    the attached port that it is a fixed address of;
    else the attached port that may use it by an address pair, if that is one alone;
    else the port that said so (`Neighbour`), while it may: one of those that share the pair, or whose pair is a block
    with it, or one without port security, which may use any address that no pair names.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, NamedTuple

from controller.flows.fields import mac_of
from controller.flows.pipeline import patch_port
from controller.model import addresses
from controller.model.bindings import Placed, place
from controller.model.records import (
    FLOATING,
    GATEWAY,
    ROUTED,
    ROUTER_INTERFACES,
    Address,
    AddressGroup,
    Bundle,
    Chassis,
    Cidr,
    Drained,
    FloatingIp,
    Link,
    Mac,
    Neighbour,
    Network,
    Port,
    PortForwarding,
    Recovering,
    Router,
    Subnet,
    Translation,
)
from controller.model.segments import IPV6_MORE, PHYSICAL, TYPES
from controller.model.translations import translation_id
from controller.model.view import Relation, View


def plugged(view: View, port_id: str) -> Placed | None:
    """The chassis and interface a port is plugged into, up or down."""
    return view.derive(plugged_into, port_id)


def attached(view: View, port_id: str) -> Placed | None:
    """The same, while the port and its network are administratively up: only then does it send and receive."""
    return view.derive(_attached, port_id)


def plugged_into(view: View, port_id: str) -> Placed | None:
    """The same, worked out: what most of what is asked of a port depends on."""
    port = view.get(Port, port_id)
    if port is None or port.device_owner in ROUTED:  # a router is no guest, whatever an interface says
        return None
    placed = place(view, port)
    return placed if isinstance(placed, Placed) else None


def _attached(view: View, port_id: str) -> Placed | None:
    port = view.get(Port, port_id)
    if port is None or not port.admin_state_up:
        return None
    network = view.get(Network, port.network_id)
    return plugged(view, port_id) if network and network.admin_state_up else None


def _homes(view: View, port: Port) -> Iterator[tuple[str, str]]:
    if placed := attached(view, port.id):
        yield port.network_id, placed.chassis


def _members(view: View, port: Port) -> Iterator[tuple[tuple[str, str], int]]:
    if placed := attached(view, port.id):
        yield (port.network_id, placed.chassis), view.tag("port", port.id)


def _interfaces(view: View, port: Port) -> Iterator[tuple[str, str]]:
    """Both ways, so that whoever is at a router or at a network finds the other end."""
    if joins(view, port):
        yield port.network_id, port.device_id
        yield port.device_id, port.network_id


def is_interface(port: Port) -> bool:
    """Is it a router's?"""
    return port.device_owner in ROUTER_INTERFACES


def physical_network(view: View, network_id: str) -> str | None:
    """The physical network whose wire a network is on; None of an overlay, and of a network that is gone."""
    return view.derive(_physical_network, network_id)


def _physical_network(view: View, network_id: str) -> str | None:
    network = view.get(Network, network_id)
    return network.physical_network if network and network.network_type in PHYSICAL else None


def _mapped(view: View, chassis: Chassis) -> Iterator[tuple[str, str]]:
    for physical, _ in chassis.bridge_mappings:
        yield physical, chassis.id


def joins(view: View, port: Port) -> bool:
    """Is a router on a network by this port: are the port, the router and the network administratively up?"""
    if not is_interface(port) or not port.admin_state_up:
        return False
    router, network = view.get(Router, port.device_id), view.get(Network, port.network_id)
    return bool(router and router.admin_state_up and network and network.admin_state_up)


def interfaces(view: View, network_id: str, router_id: str) -> list[Port]:
    """The ports by which a router is on a network now."""
    ports = view.where(Port, device_id=router_id)
    return [port for port in ports if port.network_id == network_id and joins(view, port)]


def is_taken(view: View, network_id: str, address: Address) -> bool:
    """Is it an address of an attached port, or of a router's: a fixed one, or its link-local one?"""
    holders = view.where(Port, reservations=(network_id, address))
    mac = mac_of(address)
    if mac is not None:
        holders += view.where(Port, network_id=network_id, mac_address=mac)
    return any(port.device_owner in ROUTED or attached(view, port.id) for port in holders)


def _servants(view: View, chassis: Chassis) -> Iterator[tuple[str, Servant]]:
    drained = view.get(Drained, chassis.id) is not None
    priority = -1 if chassis.gateway_priority is None else chassis.gateway_priority
    for physical, _ in chassis.bridge_mappings:
        yield physical, Servant(not drained, priority, chassis.id)


def _exits(view: View, chassis: Chassis) -> Iterator[tuple[str, Exit]]:
    wanted = chassis.gateway_priority is not None and view.get(Drained, chassis.id) is None
    if wanted and chassis.encap_ip and not chassis.problem:
        for physical, _ in chassis.bridge_mappings:
            yield (
                physical,
                Exit(
                    view.get(Recovering, chassis.id) is not None,
                    chassis.gateway_priority or 0,
                    chassis.id,
                    chassis.availability_zone,
                ),
            )


def _routers_outside(view: View, router: Router) -> Iterator[tuple[str, str]]:
    for chassis in view.derive(gateways, router.id):
        yield router.external_network_id, chassis


def _floating_outside(view: View, floating: FloatingIp) -> Iterator[tuple[str, str]]:
    for chassis in view.derive(translated, floating.id).chassis:
        yield floating.floating_network_id, chassis


def _watched(view: View, router: Router) -> Iterator[tuple[str, Watched]]:
    ranked = view.derive(gateways, router.id)
    for chassis in view.derive(chassis_of_network, router.id) if ranked else ():
        for other in ranked:
            if other != chassis and (found := view.derive(way, (chassis, other))):
                yield chassis, found


def _router_zones(view: View, router: Router) -> Iterator[tuple[str, tuple[str, str]]]:
    what = gateway_translation(view, router.id)
    for chassis in view.derive(gateways, router.id) if what else ():
        if what and view.get(Translation, translation_id(chassis, what)) is None:
            yield "", (chassis, what)


def _floating_zones(view: View, floating: FloatingIp) -> Iterator[tuple[str, tuple[str, str]]]:
    what = floating_translation(floating)
    for chassis in view.derive(translated, floating.id).chassis if floating.port_id else ():
        if view.get(Translation, translation_id(chassis, what)) is None:
            yield "", (chassis, what)


def _idle(view: View, translation: Translation) -> Iterator[tuple[str, str]]:
    if not view.derive(is_translated, (translation.chassis, translation.what)):
        yield "", translation.id


def _registered(view: View, chassis: Chassis) -> Iterator[tuple[str, str]]:
    yield "", chassis.id


def _policies(view: View, port: Port) -> Iterator[tuple[str, str]]:
    placed = attached(view, port.id)
    if placed and port.port_security_enabled:
        yield port.policy, placed.chassis


def _groups(view: View, port: Port) -> Iterator[tuple[str, str]]:
    placed = attached(view, port.id)
    if placed and port.port_security_enabled:
        yield from ((group, placed.chassis) for group in port.groups)


def _member_addresses(view: View, port: Port) -> Iterator[tuple[str, str]]:
    """Attached or not, up or down: members count by their addresses (api-ref, `remote_group_id`)."""
    for group in port.groups:
        for bundle in view.where(Bundle, remote_group_id=group):
            yield from _of_version(bundle, port.addresses)


def _listed_addresses(view: View, group: AddressGroup) -> Iterator[tuple[str, str]]:
    for bundle in view.where(Bundle, remote_address_group_id=group.id):
        yield from _of_version(bundle, group.addresses)


def _of_version(bundle: Bundle, addresses: Iterable[str]) -> Iterator[tuple[str, str]]:
    return ((bundle.id, address) for address in addresses if (":" in address) == (bundle.ethertype == "IPv6"))


def _pairs(view: View, port: Port) -> Iterator[tuple[tuple[str, str], str]]:
    if attached(view, port.id):
        for pair in port.allowed_address_pairs:
            yield (port.network_id, pair.ip_address), port.id
            if pair.mac_address != port.mac_address:
                yield (port.network_id, pair.mac_address), port.id


ANYTHING = ("0.0.0.0/0", "::/0")
"""All addresses, as blocks."""


class Exit(NamedTuple):
    """A chassis that may be a gateway."""

    recovers: bool
    priority: int
    chassis: str
    zone: str


class Candidate(NamedTuple):
    """A port that may hold the addresses of a block, where it is attached, and its OpenFlow port there.

    One that is not `guarded` has no port security.
    """

    block: str
    chassis: str
    ofport: int
    port_id: str
    guarded: bool


def open_blocks(port: Port) -> tuple[str, ...]:
    """The addresses, and blocks of them, that a port may hold beside its own."""
    return (
        tuple(dict.fromkeys(pair.ip_address for pair in port.allowed_address_pairs))
        if port.port_security_enabled
        else ANYTHING
    )


def _open(view: View, port: Port) -> Iterator[tuple[str, str]]:
    blocks = open_blocks(port)
    if blocks and attached(view, port.id):
        yield from ((port.network_id, block) for block in blocks)


def _candidates(view: View, port: Port) -> Iterator[tuple[str, Candidate]]:
    blocks = [block for block in open_blocks(port) if "/" in block]
    placed = attached(view, port.id) if blocks else None
    number = ofport(view, port.id) if placed else None
    if placed and number is not None:
        guarded = port.port_security_enabled
        yield from ((port.network_id, Candidate(block, placed.chassis, number, port.id, guarded)) for block in blocks)


def _unmet(view: View, subnet: Subnet) -> Iterator[tuple[str, tuple[str, Address]]]:
    network = view.get(Network, subnet.network_id)
    if network is None or not network.external or subnet.gateway_ip is None:
        return
    at = (network.id, subnet.gateway_ip)
    if not stands(view, neighbour_id(*at)) and not is_taken(view, *at) and view.derive(chassis_on_wire, network.id):
        yield "", at


def _lapsed(view: View, neighbour: Neighbour) -> Iterator[tuple[str, str]]:
    if not stands(view, neighbour.id):
        yield "", neighbour.id


def _has_pairs(port: Port) -> bool:
    return bool(port.allowed_address_pairs)


def _is_guarded(port: Port) -> bool:
    return port.port_security_enabled


def _is_member(port: Port) -> bool:
    return bool(port.groups)


def _is_open(port: Port) -> bool:
    return bool(open_blocks(port))


class Servant(NamedTuple):
    """A chassis that may serve the hosts of a physical network, the better the greater; `willing` unless drained."""

    willing: bool
    priority: int
    chassis: str


HOMES: Relation[str, str] = Relation("homes", Port, _homes, gate=plugged_into)
MEMBERS: Relation[tuple[str, str], int] = Relation("members", Port, _members, gate=plugged_into)
JOINTS: Relation[str, str] = Relation("joints", Port, _interfaces, ("network", "router"), is_interface)
"""The routers that join a network, and the networks that a router joins, while they are up."""
MAPPED: Relation[str, str] = Relation("mapped", Chassis, _mapped)
"""By physical network: the chassis that map a bridge to it."""
SERVANTS: Relation[str, Servant] = Relation("servants", Chassis, _servants)
"""The same chassis, with what they are ranked by."""
REGISTERED: Relation[str, str] = Relation("registered", Chassis, _registered)
PAIRS: Relation[tuple[str, str], str] = Relation("pairs", Port, _pairs, about=_has_pairs, gate=plugged_into)
"""By network and address, or MAC address, of an allowed address pair: the attached ports that may use it."""
POLICIES: Relation[str, str] = Relation("policies", Port, _policies, about=_is_guarded, gate=plugged_into)
GROUPS: Relation[str, str] = Relation("groups", Port, _groups, about=_is_guarded, gate=plugged_into)
MEMBER_ADDRESSES: Relation[str, str] = Relation(
    "member_addresses", Port, _member_addresses, ("bundle", "address"), _is_member
)
"""The addresses of the members of the security group that a bundle names."""
LISTED_ADDRESSES: Relation[str, str] = Relation(
    "listed_addresses", AddressGroup, _listed_addresses, ("bundle", "address")
)
"""The addresses of the address group that a bundle names."""
OPEN: Relation[str, str] = Relation("open", Port, _open, ("network", "address"), _is_open, plugged_into)
"""The addresses, and blocks, of a network that attached ports may hold beside their own."""
CANDIDATES: Relation[str, Candidate] = Relation("candidates", Port, _candidates, about=_is_open, gate=plugged_into)
"""The attached ports of a network that may hold the addresses of whole blocks."""
LAPSED: Relation[str, str] = Relation("lapsed", Neighbour, _lapsed)
"""The neighbours, under "", whose ports may not, or cannot, hold their addresses any more."""
UNMET: Relation[str, tuple[str, Address]] = Relation("unmet", Subnet, _unmet)
"""Under "": the next hops of external networks that are on a wire, and that nobody is known to hold."""
EXITS: Relation[str, Exit] = Relation("exits", Chassis, _exits)
"""By physical network: the chassis that routers may have their gateways on."""
ROUTERS_OUTSIDE: Relation[str, str] = Relation("routers_outside", Router, _routers_outside)
FLOATING_OUTSIDE: Relation[str, str] = Relation("floating_outside", FloatingIp, _floating_outside)
"""By external network: the chassis where routers, or floating IPs, meet it."""


@dataclass(frozen=True, slots=True, order=True)
class Watched:
    """A gateway that others have to know dead or alive, and how they reach it: an encapsulation, an address."""

    chassis: str
    encap: str
    vtep: Address


WATCHED: Relation[str, Watched] = Relation("watched", Router, _watched)
"""By chassis: the gateways that it has to watch, since it depends on them, or stands by for them, or will."""
ROUTER_ZONES: Relation[str, tuple[str, str]] = Relation("router_zones", Router, _router_zones)
FLOATING_ZONES: Relation[str, tuple[str, str]] = Relation("floating_zones", FloatingIp, _floating_zones)
"""Under "": where, and for what, a zone to translate in is still to be handed out."""
IDLE: Relation[str, str] = Relation("idle", Translation, _idle)
"""The translations, under "", that nobody needs any more."""


def only(view: View, chassis: str) -> frozenset[str]:
    """One chassis."""
    return frozenset({chassis})


def everyone(view: View, _: str) -> frozenset[str]:
    """Every registered chassis."""
    return view.gather(REGISTERED, "")


def members_of_network(view: View, network_id: str) -> frozenset[str]:
    """The chassis that have an attached port of the network."""
    return view.gather(HOMES, network_id)


def reach(view: View, joint: str) -> frozenset[str]:
    """A network, or a router, and all networks and routers that it reaches."""
    found, ahead = {joint}, [joint]
    while ahead:
        fresh = view.gather(JOINTS, ahead.pop()) - found
        found |= fresh
        ahead += fresh
    return frozenset(found)


def chassis_of_network(view: View, joint: str) -> frozenset[str]:
    """The chassis that have an attached port of a network, or of any that is reached from it through routers.

    The same of a router. Those that serve the physical hosts of any of these networks are among them. Where routers
    have their gateways, all of that is, too, and the external network; and that is where floating IPs meet it.
    """
    reached = view.derive(reach, joint)
    found = [frozenset(each for network in reached if (each := view.derive(servant, network)) is not None)]
    found += [view.gather(HOMES, each) for each in reached]
    found += [frozenset(view.derive(gateways, each)) for each in reached]
    found += [view.gather(relation, joint) for relation in (ROUTERS_OUTSIDE, FLOATING_OUTSIDE)]
    return frozenset[str]().union(*found)


def servant(view: View, network_id: str) -> str | None:
    """The one chassis on the wire of a network that is its routers to physical hosts; None where no router is.

    It is the best by `weft-gateway-priority`; of several alike each network has another, so that the work is spread.
    """
    physical = physical_network(view, network_id)
    if physical is None or not view.gather(JOINTS, network_id):
        return None
    ranked = sorted(view.gather(SERVANTS, physical), key=lambda each: (*each[:2], _lot(network_id, each.chassis)))
    return ranked[-1].chassis if ranked else None


def _lot(network_id: str, chassis: str) -> bytes:
    return sha256(f"{network_id}/{chassis}".encode()).digest()


def chassis_that_serves(view: View, network_id: str) -> frozenset[str]:
    """The same, as a set."""
    found = view.derive(servant, network_id)
    return frozenset() if found is None else frozenset({found})


def chassis_on_wire(view: View, network_id: str) -> frozenset[str]:
    """Those of `chassis_of_network` that are on the wire of the network; none of an overlay's."""
    physical = physical_network(view, network_id)
    if physical is None:
        return frozenset()
    mapped = view.gather(MAPPED, physical)
    return view.derive(chassis_of_network, network_id) & mapped


def members(view: View, network_id: str, chassis: str) -> frozenset[int]:
    """The keys of the network's attached ports on one chassis."""
    return view.gather(MEMBERS, (network_id, chassis))


def audience(view: View, network_id: str) -> list[tuple[str, tuple[int, ...]]]:
    """The OpenFlow ports of a network's attached guests, by chassis."""
    found = defaultdict[str, list[int]](list)
    for port in view.where(Port, network_id=network_id):
        placed, number = attached(view, port.id), ofport(view, port.id)
        if placed and number is not None:
            found[placed.chassis].append(number)
    return [(chassis, tuple(sorted(ports))) for chassis, ports in sorted(found.items())]


def pair_addresses(view: View, port: Port) -> Iterator[tuple[Address, Mac]]:
    """The single addresses of the port's allowed address pairs that no other port may use, each with its MAC.

    Who holds an address that several ports may use, or one of a block, only they can tell.
    """
    for pair in port.allowed_address_pairs:
        alone = view.gather(PAIRS, (port.network_id, pair.ip_address)) == {port.id}
        if alone and "/" not in pair.ip_address:
            yield Address(pair.ip_address), pair.mac_address


def pair_macs(view: View, port: Port) -> Iterator[Mac]:
    """The MACs of the port's allowed address pairs that no other port may use, but its own."""
    for mac in dict.fromkeys(pair.mac_address for pair in port.allowed_address_pairs):
        if mac != port.mac_address and view.gather(PAIRS, (port.network_id, mac)) == {port.id}:
            yield mac


# ---- who holds an address -------------------------------------------------------------------------------------


def holder(view: View, network_id: str, address: Address) -> Port | None:
    """The attached port of a guest that holds an address of a network now; None when nobody is known to.

    For what has to follow an address to whoever has it: a fixed address, an address pair's, or one that was heard of.
    """
    found = view.derive(_holder, (network_id, address))
    return None if found is None else view.get(Port, found)


def _holder(view: View, place: tuple[str, Address]) -> str | None:
    fixed = [port.id for port in view.where(Port, reservations=place) if attached(view, port.id)]
    alone = view.gather(PAIRS, place)
    if fixed or len(alone) == 1:
        return next(iter(fixed or alone))
    neighbour = view.get(Neighbour, neighbour_id(*place))
    return neighbour.port_id if neighbour and held_at(view, neighbour.id) else None


def is_down(view: View, network_id: str, address: Address) -> bool:
    """Does the model know whose an address is, of a guest or of a router's interface, and that nobody is there now?"""
    owners = view.where(Port, reservations=(network_id, address))
    known = [port for port in owners if is_interface(port) or port.device_owner not in ROUTED]
    return bool(known) and not any(joins(view, port) for port in known) and holder(view, network_id, address) is None


def neighbour_id(network_id: str, address: Address) -> str:
    """The id of the `Neighbour` that is an address of a network."""
    return f"{network_id}/{address}"


def held_at(view: View, neighbour: str) -> Placed | None:
    """Where the port is attached that said it holds an address, while it may; None when the neighbour is none now."""
    return view.derive(_held_at, neighbour)


def _held_at(view: View, id: str) -> Placed | None:
    neighbour = view.get(Neighbour, id)
    port = neighbour and view.get(Port, neighbour.port_id)
    if not neighbour or not port or port.network_id != neighbour.network_id:
        return None
    placed = attached(view, port.id)
    return placed if placed and may_hold(view, port, neighbour.address, neighbour.mac_address) else None


def stands(view: View, neighbour: str) -> bool:
    """Does a neighbour count: is its port where it may hold the address, or may it be a physical host's?"""
    return view.derive(_stands, neighbour)


def _stands(view: View, id: str) -> bool:
    neighbour = view.get(Neighbour, id)
    if neighbour is None or neighbour.port_id:
        return held_at(view, id) is not None
    return may_be_on_wire(view, neighbour.network_id, neighbour.address)


def may_be_on_wire(view: View, network_id: str, address: Address) -> bool:
    """May a physical host hold an address of a network: is it one of its subnets, and the model gives it to nobody?

    It matters where routers are.
    """
    routed = view.gather(JOINTS, network_id) or view.where(Router, external_network_id=network_id)
    if physical_network(view, network_id) is None or not routed:
        return False
    owners = view.where(Port, reservations=(network_id, address))
    if any(owner.device_owner in (*ROUTED, FLOATING) or attached(view, owner.id) for owner in owners):
        return False
    return any(contains(subnet.cidr, address) for subnet in view.where(Subnet, network_id=network_id))


def may_hold(view: View, port: Port, address: Address, mac: Mac) -> bool:
    """May an attached port hold an address, at a MAC address, because it says so?

    Not what the model gives to others: a fixed address of an attached port or of a router, another port's MAC address.
    With port security it may by its pairs alone; without, what no pair names.
    """
    network = port.network_id
    if is_taken(view, network, address):
        return False
    if any(other.id != port.id for other in view.where(Port, network_id=network, mac_address=mac)):
        return False
    if not port.port_security_enabled:
        return not view.gather(PAIRS, (network, address))
    return any(pair.mac_address == mac and contains(pair.ip_address, address) for pair in port.allowed_address_pairs)


def jack(view: View, chassis: str, network_id: str) -> tuple[int, int | None] | None:
    """By which OpenFlow port, and with which VLAN tag, a chassis sends to the wire of a network; None if it cannot."""
    network = view.get(Network, network_id)
    physical = physical_network(view, network_id)
    link = view.get(Link, f"{chassis}/{patch_port(physical)}") if physical else None
    return (link.ofport, network.segmentation_id) if link and network else None


def candidates(view: View, network_id: str, address: Address) -> Iterator[Candidate]:
    """The ports that may hold an address, if the model does not say who does; who was heard to is the only one."""
    place = (network_id, address)
    if is_taken(view, *place):
        return
    neighbour = view.get(Neighbour, neighbour_id(*place))
    known = {neighbour.port_id} if neighbour and held_at(view, neighbour.id) else frozenset[str]()
    named = view.gather(PAIRS, place)
    found: dict[str, Candidate] = {}
    for id in known or named:
        placed, out = attached(view, id), ofport(view, id)
        if placed and out is not None:
            found[id] = Candidate(address, placed.chassis, out, id, guarded=True)
    version, number = addresses.version(address), addresses.number(address)
    for each in () if known else view.gather(CANDIDATES, network_id):
        if (each.guarded or not named) and addresses.block(Cidr(each.block)).holds(version, number):
            found[each.port_id] = each
    yield from found.values()


def contains(cidr: str, address: Address) -> bool:
    """Is an address in a block, or the same address?"""
    return addresses.block(Cidr(cidr)).holds(addresses.version(address), addresses.number(address))


def holder_of_mac(view: View, network_id: str, mac: Mac) -> str | None:
    """The port that was last heard to hold an address at a MAC address that the model gives to no port alone."""
    return view.derive(_holder_of_mac, (network_id, mac))


def _holder_of_mac(view: View, place: tuple[str, Mac]) -> str | None:
    network_id, mac = place
    heard = view.where(Neighbour, network_id=network_id, mac_address=mac)
    found = [each for each in heard if held_at(view, each.id)]
    return max(found, key=lambda each: each.sequence).port_id if found else None


# ---- the outside ----------------------------------------------------------------------------------------------

MOST_GATEWAYS: Final = 4
"""So many hypervisors stand by for one router: each holds all that its router reaches."""


def gateways(view: View, router_id: str) -> tuple[str, ...]:
    """The chassis that take a router's packets to the outside, the best first; none while there is no way out.

    They are ranked by `weft-gateway-priority`; of one priority each router has another order, so that routers are
    spread over them. One that has just come, or come back, is behind the others for a while (`Recovering`). A router
    with `availability_zone_hints` has those of these zones alone, and none if they have none (Neutron, OVN driver,
    `get_candidates_for_scheduling`).
    """
    router = view.get(Router, router_id)
    port = gateway_port(view, router_id)
    if router is None or not router.admin_state_up or port is None or not port.admin_state_up:
        return ()
    network = view.get(Network, router.external_network_id)
    physical = physical_network(view, router.external_network_id)
    if network is None or not network.admin_state_up or physical is None:
        return ()
    zones = router.availability_zone_hints
    exits = [each for each in view.gather(EXITS, physical) if not zones or each.zone in zones]
    found = sorted((each.recovers, -each.priority, _spread(router_id, each.chassis), each.chassis) for each in exits)
    return tuple(chassis for *_, chassis in found[:MOST_GATEWAYS])


def _spread(router_id: str, chassis: str) -> str:
    return sha256(f"{router_id}/{chassis}".encode()).hexdigest()


def gateway_chassis(view: View, router_id: str) -> frozenset[str]:
    """The same, in no order."""
    return frozenset(view.derive(gateways, router_id))


def gateway_port(view: View, router_id: str) -> Port | None:
    """The port that holds the addresses of a router on its external network."""
    found = (port for port in view.where(Port, device_id=router_id) if port.device_owner == GATEWAY)
    return next(found, None)


def own_address(view: View, router_id: str) -> Address | None:
    """The IPv4 address of a router on its external network, under which guests go out."""
    port = gateway_port(view, router_id)
    found = (ip.ip_address for ip in port.fixed_ips if ":" not in ip.ip_address) if port else ()
    return next(iter(found), None)


@dataclass(frozen=True, slots=True)
class Translated:
    """Where a floating IP is translated, the best first: on its guest's own hypervisor (`distributed`), or, if that is
    not on the wire, at the gateways of its router. Nowhere, while nobody has it."""

    chassis: tuple[str, ...] = ()
    distributed: bool = False


def translated(view: View, floating_id: str) -> Translated:
    """Where a floating IP is translated now; it follows whoever holds the address that it stands for (`holder`)."""
    floating = view.get(FloatingIp, floating_id)
    router = view.get(Router, floating.router_id) if floating else None
    if floating is None or router is None or not router.admin_state_up:
        return Translated()
    if router.external_network_id != floating.floating_network_id:
        return Translated()
    if not floating.port_id:
        forwards = view.where(PortForwarding, floatingip_id=floating_id)
        return Translated(view.derive(gateways, router.id)) if forwards else Translated()
    port = view.get(Port, floating.port_id)
    held = holder(view, port.network_id, floating.fixed_ip_address) if port and floating.fixed_ip_address else None
    placed = attached(view, held.id) if held else None
    if placed is None:
        return Translated()
    physical = physical_network(view, floating.floating_network_id)
    if physical is not None and placed.chassis in view.gather(MAPPED, physical):
        return Translated((placed.chassis,), distributed=True)
    return Translated(view.derive(gateways, router.id))


def floating_chassis(view: View, floating_id: str) -> frozenset[str]:
    """The chassis where a floating IP is translated, or may be."""
    return frozenset(view.derive(translated, floating_id).chassis)


def gateway_translation(view: View, router_id: str) -> str | None:
    """What the connections of a router are remembered as at its gateways; None while it translates nothing.

    Another address of the gateway's would be another translation, and so is it if guests go out untranslated.
    """
    router, address = view.get(Router, router_id), own_address(view, router_id)
    if router is None or address is None:
        return None
    return f"router/{router.id}/{address}" if router.enable_snat else f"router/{router.id}/{address}/routed"


def floating_translation(floating: FloatingIp) -> str:
    """What the connections of a floating IP are remembered as, as long as it stands for the same."""
    return f"floatingip/{floating.id}/{floating.router_id}/{floating.port_id}/{floating.fixed_ip_address}"


def is_translated(view: View, place: tuple[str, str]) -> bool:
    """Is anything translated on a chassis that is remembered as this?"""
    chassis, what = place
    kind, id, *_ = what.split("/")
    if kind == "router":
        return chassis in view.derive(gateways, id) and what == gateway_translation(view, id)
    floating = view.get(FloatingIp, id)
    if floating is None or not floating.port_id or what != floating_translation(floating):
        return False
    return chassis in view.derive(translated, id).chassis


def way(view: View, ends: tuple[str, str]) -> Watched | None:
    """How one chassis reaches another: by the first encapsulation that both have."""
    here, there = (view.get(Chassis, end) for end in ends)
    if here is None or there is None or there.encap_ip is None:
        return None
    common = [type for type in here.encap_types if type in there.encap_types]
    return Watched(there.id, min(common), there.encap_ip) if common else None


def mtu(view: View, network_id: str) -> int:
    """How many bytes a packet may have on a network."""
    return view.need(Network, network_id).mtu


def tunnel_mtu(view: View, chassis_id: str) -> int:
    """How many bytes a packet may have to go by a tunnel of a chassis, whichever."""
    chassis = view.need(Chassis, chassis_id)
    most = max((TYPES[encap].overhead for encap in chassis.encap_types), default=0)
    return chassis.underlay_mtu - most - (IPV6_MORE if ":" in (chassis.encap_ip or "") else 0)


def zone_of(view: View, chassis: str, what: str | None) -> int | None:
    """The conntrack zone in which a chassis translates for something; None until it has one."""
    found = view.get(Translation, translation_id(chassis, what)) if what else None
    return found.zone if found else None


def chassis_of_policy(view: View, policy: str) -> frozenset[str]:
    """The chassis that have an attached port under the policy."""
    return view.gather(POLICIES, policy)


def chassis_of_group(view: View, group_id: str) -> frozenset[str]:
    """The chassis that have an attached port in the security group."""
    return view.gather(GROUPS, group_id)


def ofport(view: View, port_id: str) -> int | None:
    """The OpenFlow port number of the interface a port is plugged into, as its switch reports it."""
    placed = plugged(view, port_id)
    link = placed and view.get(Link, f"{placed.chassis}/{placed.interface}")
    return link.ofport if link else None


RELATIONS: tuple[Relation[Any, Any], ...] = (
    HOMES, MEMBERS, JOINTS, MAPPED, SERVANTS, REGISTERED, PAIRS, POLICIES, GROUPS, MEMBER_ADDRESSES, LISTED_ADDRESSES,
    OPEN, CANDIDATES, LAPSED, UNMET, EXITS, ROUTERS_OUTSIDE, FLOATING_OUTSIDE, WATCHED, ROUTER_ZONES, FLOATING_ZONES,
    IDLE,
)  # fmt: skip
"""Every relation there is; the engine keeps each up to date."""
