"""ARP: the switch answers every request for an address of an attached port; none leaves the hypervisor.

An unknown address is dropped with that reason, never flooded; of some the controller asks those who may hold them
(`apps.neighbours`). A probe for the sender's own address (RFC 5227 section 2.1.1) is never answered; one for another
port's address is. What a guest announces of its own address (section 3) goes no further either, but the controller
tells all of its network, who may remember another MAC: that of the guest that had the address before, or its own former
one (`apps.neighbours`). On a physical network all of that goes to the wire (`apps.wire`).
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.flows.action import Bounce, Move, goto, resubmit
from controller.flows.app import app, everywhere, host, neighbours
from controller.flows.attachment import attached, physical_network
from controller.flows.fields import (
    ARP,
    ARP_OP,
    ARP_REQUEST,
    ARP_SHA,
    ARP_SPA,
    ARP_THA,
    ARP_TPA,
    ETH_DST,
    ETH_SRC,
)
from controller.flows.flow import Flow
from controller.flows.holding import pair_addresses
from controller.flows.match import ANY
from controller.flows.pipeline import (
    DROP,
    FROM_PHYS,
    L2_DISPATCH,
    NEIGH,
    NEIGH_HIT,
    NEIGH_REPLY,
    NET,
    NH4,
    OUT_PORT,
    OWN_ARP,
    PHYS_OUT,
    SERVICE,
    SRC,
    TRAP,
    TURNED,
    WHY,
    Why,
)
from controller.model.records import Address, Port
from controller.model.view import View

REPLY = 2
NOBODY = Address("0.0.0.0")
ASK = (Move(ARP_TPA, NH4), resubmit(NEIGH), resubmit(NEIGH_REPLY))
"""Look the address up, then turn the request around."""


def answer(view: View) -> Iterator[Flow]:
    """One flow for all networks and addresses; the answer leaves by the port that the request came by."""
    yield Flow(SERVICE, "arp_request", ARP_REQUEST, ASK)
    yield Flow(SERVICE, "unasked", ARP, (WHY.set(Why.ARP_UNASKED), goto(DROP)))
    yield Flow(SERVICE, "other", ANY, (goto(OUT_PORT),))
    reply = (
        ARP_OP.set(REPLY),
        Move(ARP_SHA, ARP_THA),
        Move(ETH_DST, ARP_SHA),
        Move(ARP_SPA, ARP_TPA),
        Move(NH4, ARP_SPA),
        Move(ETH_SRC, ETH_DST),
        Move(ARP_SHA, ETH_SRC),
    )
    looking = ARP_REQUEST & ARP_SPA(NOBODY)
    yield Flow(OWN_ARP, "probe", looking, (WHY.set(Why.OWN_ADDRESS), goto(DROP)))
    yield Flow(OWN_ARP, "announced", ANY, (WHY.set(Why.TOLD), goto(TRAP)))
    known = NEIGH_HIT(1) & ARP_REQUEST
    yield Flow(NEIGH_REPLY, "arp_reply", known, (*reply, Bounce()))
    yield Flow(NEIGH_REPLY, "wire_reply", known & FROM_PHYS(1), (*reply, TURNED.set(1), goto(PHYS_OUT)))


def neighbour(view: View, port: Port) -> Iterator[Flow]:
    """The MAC of each of the port's IPv4 addresses, and of those that its address pairs give to it alone."""
    net = NET(view.tag("network", port.network_id))
    for address in ipv4(port):
        yield Flow(NEIGH, "neighbour", net & NH4(address), (ETH_DST.set(port.mac_address), NEIGH_HIT.set(1)))
    for address, mac in pair_addresses(view, port):
        if ":" not in address:
            yield Flow(NEIGH, "pair", net & NH4(address), (ETH_DST.set(mac), NEIGH_HIT.set(1)))


def own_address(view: View, port: Port) -> Iterator[Flow]:
    """Silence to a port that asks for its own address; the controller hears when it announces that to all others.

    A port that port security lets speak as one address alone does one or the other when it speaks of that (OWN_ARP). On
    a wire others may have it, and ask for it, too.
    """
    if attached(view, port.id) is None:
        return
    source, net = SRC(view.tag("port", port.id)), NET(view.tag("network", port.network_id))
    pairs = (address for address, _ in pair_addresses(view, port) if ":" not in address)
    for address in dict.fromkeys((*ipv4(port), *pairs)):
        wanted = ARP_REQUEST & ARP_TPA(address)
        if physical_network(view, port.network_id) is not None:
            yield Flow(SERVICE, "own_address", source & wanted, (goto(L2_DISPATCH),))
            yield Flow(SERVICE, "wire_asks", FROM_PHYS(1) & net & wanted, ASK)
        elif port.port_security_enabled and speakers(port) == {address}:
            yield Flow(SERVICE, "own_address", source & ARP & ARP_TPA(address), (goto(OWN_ARP),))
        else:
            # By its addresses alone: a datapath flow of any frame here would bear ETH_DST if one of these flows did.
            announced = ARP & ARP_SPA(address) & ARP_TPA(address)
            yield Flow(SERVICE, "own_announced", source & announced, (WHY.set(Why.TOLD), goto(TRAP)))
            yield Flow(SERVICE, "own_address", source & wanted, (WHY.set(Why.OWN_ADDRESS), goto(DROP)))


def speakers(port: Port) -> set[str]:
    """The IPv4 addresses, and blocks of them, that port security lets a port speak as by ARP."""
    return {*ipv4(port), *(pair.ip_address for pair in port.allowed_address_pairs if ":" not in pair.ip_address)}


def ipv4(port: Port) -> Iterator[Address]:
    """The port's IPv4 addresses."""
    return (ip.ip_address for ip in port.fixed_ips if ":" not in ip.ip_address)


APP = app("arp", everywhere(answer), neighbours(Port, neighbour), host(Port, own_address))
