"""What is attached where: ports to chassis, routers to networks, addresses to groups. All derived, nothing stored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from controller.flows.fields import mac_of
from controller.flows.pipeline import patch_port
from controller.model import addresses
from controller.model.bindings import Placed, place
from controller.model.records import (
    ROUTED,
    ROUTER_INTERFACES,
    Address,
    AddressGroup,
    Bundle,
    Chassis,
    Cidr,
    Link,
    Network,
    Port,
    Router,
)
from controller.model.segments import PHYSICAL
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


def _has_pairs(port: Port) -> bool:
    return bool(port.allowed_address_pairs)


def _is_guarded(port: Port) -> bool:
    return port.port_security_enabled


def _is_member(port: Port) -> bool:
    return bool(port.groups)


HOMES: Relation[str, str] = Relation("homes", Port, _homes, gate=plugged_into)
MEMBERS: Relation[tuple[str, str], int] = Relation("members", Port, _members, gate=plugged_into)
JOINTS: Relation[str, str] = Relation("joints", Port, _interfaces, ("network", "router"), is_interface)
"""The routers that join a network, and the networks that a router joins, while they are up."""
MAPPED: Relation[str, str] = Relation("mapped", Chassis, _mapped)
"""By physical network: the chassis that map a bridge to it."""
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


def jack(view: View, chassis: str, network_id: str) -> tuple[int, int | None] | None:
    """By which OpenFlow port, and with which VLAN tag, a chassis sends to the wire of a network; None if it cannot."""
    network = view.get(Network, network_id)
    physical = physical_network(view, network_id)
    link = view.get(Link, f"{chassis}/{patch_port(physical)}") if physical else None
    return (link.ofport, network.segmentation_id) if link and network else None


def contains(cidr: str, address: Address) -> bool:
    """Is an address in a block, or the same address?"""
    return addresses.block(Cidr(cidr)).holds(addresses.version(address), addresses.number(address))


def ofport(view: View, port_id: str) -> int | None:
    """The OpenFlow port number of the interface a port is plugged into, as its switch reports it."""
    placed = plugged(view, port_id)
    link = placed and view.get(Link, f"{placed.chassis}/{placed.interface}")
    return link.ofport if link else None
