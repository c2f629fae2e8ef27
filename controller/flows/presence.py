"""Where things are: ports on chassis, networks and policies where they have attached ports; addresses in groups.

All derived, nothing stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from controller.model.bindings import Placed, place
from controller.model.records import (
    ROUTED,
    ROUTER_INTERFACES,
    Address,
    AddressGroup,
    Bundle,
    Chassis,
    Link,
    Mac,
    Network,
    Port,
    Router,
)
from controller.model.segments import PHYSICAL
from controller.model.view import Relation, View


def plugged(view: View, port_id: str) -> Placed | None:
    """The chassis and interface a port is plugged into, up or down."""
    return view.derive(_plugged, port_id)


def attached(view: View, port_id: str) -> Placed | None:
    """The same, while the port and its network are administratively up: only then does it send and receive."""
    return view.derive(_attached, port_id)


def _plugged(view: View, port_id: str) -> Placed | None:
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
    router = is_interface(port) and port.admin_state_up and view.get(Router, port.device_id)
    if router and router.admin_state_up:
        yield port.network_id, router.id
        yield router.id, port.network_id


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


HOMES: Relation[str, str] = Relation("homes", Port, _homes)
MEMBERS: Relation[tuple[str, str], int] = Relation("members", Port, _members)
JOINTS: Relation[str, str] = Relation("joints", Port, _interfaces)
"""The routers that join a network, and the networks that a router joins, while they are up."""
MAPPED: Relation[str, str] = Relation("mapped", Chassis, _mapped)
"""By physical network: the chassis that map a bridge to it."""
REGISTERED: Relation[str, str] = Relation("registered", Chassis, _registered)
PAIRS: Relation[tuple[str, str], str] = Relation("pairs", Port, _pairs)
"""By network and address, or MAC address, of an allowed address pair: the attached ports that may use it."""
POLICIES: Relation[str, str] = Relation("policies", Port, _policies)
GROUPS: Relation[str, str] = Relation("groups", Port, _groups)
MEMBER_ADDRESSES: Relation[str, str] = Relation("member_addresses", Port, _member_addresses)
"""The addresses of the members of the security group that a bundle names."""
LISTED_ADDRESSES: Relation[str, str] = Relation("listed_addresses", AddressGroup, _listed_addresses)
"""The addresses of the address group that a bundle names."""


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

    The same of a router.
    """
    return frozenset[str]().union(*(view.gather(HOMES, each) for each in view.derive(reach, joint)))


def chassis_on_wire(view: View, network_id: str) -> frozenset[str]:
    """Those of `chassis_of_network` that are on the wire of the network; none of an overlay's."""
    physical = physical_network(view, network_id)
    if physical is None:
        return frozenset()
    return view.derive(chassis_of_network, network_id) & view.gather(MAPPED, physical)


def members(view: View, network_id: str, chassis: str) -> frozenset[int]:
    """The keys of the network's attached ports on one chassis."""
    return view.gather(MEMBERS, (network_id, chassis))


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
    HOMES, MEMBERS, JOINTS, MAPPED, REGISTERED, PAIRS, POLICIES, GROUPS, MEMBER_ADDRESSES, LISTED_ADDRESSES,
)  # fmt: skip
"""Every relation there is; the engine keeps each up to date."""
