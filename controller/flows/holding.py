"""Who holds an address of a network.

All derived, nothing stored. It is (`holder`)

    the attached port that it is a fixed address of;
    else the attached port that may use it by an address pair, if that is one alone;
    else the port that said so (`Neighbour`), while it may: one of those that share the pair, or whose pair is a block
    with it, or one without port security, which may use any address that no pair names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from controller.flows.attachment import (
    JOINTS,
    PAIRS,
    attached,
    contains,
    is_interface,
    is_taken,
    joins,
    ofport,
    physical_network,
    plugged_into,
)
from controller.model import addresses
from controller.model.bindings import Placed
from controller.model.records import FLOATING, ROUTED, Address, Cidr, Mac, Neighbour, Port, Router, Subnet
from controller.model.view import Relation, View

ANYTHING = ("0.0.0.0/0", "::/0")
"""All addresses, as blocks."""


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


def _lapsed(view: View, neighbour: Neighbour) -> Iterator[tuple[str, str]]:
    if not stands(view, neighbour.id):
        yield "", neighbour.id


def _is_open(port: Port) -> bool:
    return bool(open_blocks(port))


OPEN: Relation[str, str] = Relation("open", Port, _open, ("network", "address"), _is_open, plugged_into)
"""The addresses, and blocks, of a network that attached ports may hold beside their own."""
CANDIDATES: Relation[str, Candidate] = Relation("candidates", Port, _candidates, about=_is_open, gate=plugged_into)
"""The attached ports of a network that may hold the addresses of whole blocks."""
LAPSED: Relation[str, str] = Relation("lapsed", Neighbour, _lapsed)
"""The neighbours, under "", whose ports may not, or cannot, hold their addresses any more."""


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


def holder_of_mac(view: View, network_id: str, mac: Mac) -> str | None:
    """The port that was last heard to hold an address at a MAC address that the model gives to no port alone."""
    return view.derive(_holder_of_mac, (network_id, mac))


def _holder_of_mac(view: View, place: tuple[str, Mac]) -> str | None:
    network_id, mac = place
    heard = view.where(Neighbour, network_id=network_id, mac_address=mac)
    found = [each for each in heard if held_at(view, each.id)]
    return max(found, key=lambda each: each.sequence).port_id if found else None
