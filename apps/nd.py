"""IPv6 neighbour discovery: the switch answers every solicitation for an address of an attached port (RFC 4861).

A port is known by its fixed addresses and by the link-local one that its MAC gives it (RFC 4291 appendix A). What
nobody holds is dropped with that reason, never flooded; of some the controller asks those who may hold them
(`apps.neighbours`). A solicitation for the sender's own address is never answered; one from `::`, which looks for
duplicates of another port's address (RFC 4862 section 5.4.3), is answered to all nodes. What a guest announces of its
own address (section 7.2.6) the controller tells all of its network.
On a physical network what is not answered goes to the wire (`apps.wire`).

Router solicitations, MLD and everything else of ICMPv6 go their way as multicast. Limits: a solicitation without any
option is answered without a link-layer address, since a switch can change an option but not add one; Linux always
sends one. Only guests that hold an IPv6 address on a subnet are known by their link-local one.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.flows.action import Action, Bounce, Move, goto, resubmit
from controller.flows.app import app, everywhere, host, neighbours
from controller.flows.attachment import attached, physical_network
from controller.flows.fields import (
    ETH_DST,
    ETH_SRC,
    HOP_LIMIT,
    ICMPV6_TYPE,
    IPV6_DST,
    IPV6_SRC,
    ND_ADVERTISEMENT,
    ND_OPTIONS_TYPE,
    ND_RESERVED,
    ND_SOLICITATION,
    ND_TARGET,
    ND_TARGET_ADVERTISED,
    ND_TLL,
    link_local,
)
from controller.flows.flow import Flow
from controller.flows.holding import pair_addresses
from controller.flows.pipeline import (
    DROP,
    FROM_PHYS,
    L2_DISPATCH,
    ND_REPLY,
    NEIGH,
    NEIGH_HIT,
    NEIGH_REPLY,
    NET,
    NH6,
    PHYS_OUT,
    SERVICE,
    SRC,
    TRAP,
    TURNED,
    WHY,
    Why,
)
from controller.model.records import Address, Mac, Port
from controller.model.view import View

ADVERTISEMENT = 136
SOLICITED, OVERRIDE = 0x40000000, 0x20000000
TARGET_LINK_LAYER = 2
NOBODY = Address("::")
ALL_NODES, ALL_NODES_MAC = Address("ff02::1"), Mac("33:33:00:00:00:01")
ASK = (Move(ND_TARGET, NH6), resubmit(NEIGH), resubmit(NEIGH_REPLY))
"""Look the target up, then turn the solicitation into the advertisement."""


def answer(view: View) -> Iterator[Flow]:
    """The same flows for all networks; the advertisement leaves by the port that the solicitation came by."""
    yield Flow(SERVICE, "nd_solicitation", ND_SOLICITATION, ASK)
    yield Flow(SERVICE, "unasked", ND_ADVERTISEMENT, (WHY.set(Why.ND_UNASKED), goto(DROP)))

    known = NEIGH_HIT(1) & ND_SOLICITATION
    yield Flow(NEIGH_REPLY, "nd_reply", known, (Move(IPV6_SRC, IPV6_DST), *advertise(SOLICITED | OVERRIDE)))
    yield Flow(NEIGH_REPLY, "probe_reply", known & IPV6_SRC(NOBODY), (IPV6_DST.set(ALL_NODES), *advertise(OVERRIDE)))
    yield Flow(NEIGH_REPLY, "nd_unknown", ND_SOLICITATION, (WHY.set(Why.ND_UNKNOWN), goto(DROP)))

    found = Move(ETH_DST, ND_TLL)
    one = (found, Move(ETH_SRC, ETH_DST), Move(ND_TLL, ETH_SRC))
    everybody = (found, ETH_DST.set(ALL_NODES_MAC), Move(ND_TLL, ETH_SRC))
    to_all = ND_ADVERTISEMENT & IPV6_DST(ALL_NODES)
    yield Flow(ND_REPLY, "to_one", ND_ADVERTISEMENT, (*one, Bounce()))
    yield Flow(ND_REPLY, "to_all", to_all, (*everybody, Bounce()))
    wire = (TURNED.set(1), goto(PHYS_OUT))
    yield Flow(ND_REPLY, "wire_to_one", ND_ADVERTISEMENT & FROM_PHYS(1), (*one, *wire))
    yield Flow(ND_REPLY, "wire_to_all", to_all & FROM_PHYS(1), (*everybody, *wire))


def advertise(flags: int) -> tuple[Action, ...]:
    """The advertisement of the address in NH6, but for its link-layer half (RFC 4861 section 4.4)."""
    return (
        Move(NH6, IPV6_SRC),
        HOP_LIMIT.set(255),
        ICMPV6_TYPE.set(ADVERTISEMENT),
        ND_RESERVED.set(flags),
        ND_OPTIONS_TYPE.set(TARGET_LINK_LAYER),
        goto(ND_REPLY),
    )


def neighbour(view: View, port: Port) -> Iterator[Flow]:
    """The MAC of each of the port's IPv6 addresses, and of those that its address pairs give to it alone."""
    net = NET(view.tag("network", port.network_id))
    for address in ipv6(port):
        yield Flow(NEIGH, "neighbour", net & NH6(address), (ETH_DST.set(port.mac_address), NEIGH_HIT.set(1)))
    for address, mac in pair_addresses(view, port):
        if ":" in address:
            yield Flow(NEIGH, "pair", net & NH6(address), (ETH_DST.set(mac), NEIGH_HIT.set(1)))


def own_address(view: View, port: Port) -> Iterator[Flow]:
    """Silence to a port that asks for its own address; the controller hears when it announces that to all others.

    On a wire others may have it, and ask for it, too.
    """
    if attached(view, port.id) is None:
        return
    source, net = SRC(view.tag("port", port.id)), NET(view.tag("network", port.network_id))
    pairs = (address for address, _ in pair_addresses(view, port) if ":" in address)
    for address in dict.fromkeys((*ipv6(port), *pairs)):
        wanted = ND_TARGET(address)
        if physical_network(view, port.network_id) is None:
            announced = ND_TARGET_ADVERTISED(address) & IPV6_DST(ALL_NODES)
            yield Flow(SERVICE, "own_announced", source & announced, (WHY.set(Why.TOLD), goto(TRAP)))
            yield Flow(SERVICE, "own_address", source & wanted, (WHY.set(Why.OWN_ADDRESS), goto(DROP)))
        else:
            yield Flow(SERVICE, "own_address", source & wanted, (goto(L2_DISPATCH),))
            yield Flow(SERVICE, "wire_asks", FROM_PHYS(1) & net & wanted, ASK)


def ipv6(port: Port) -> list[Address]:
    """The port's IPv6 addresses; with the link-local one, if it has any."""
    fixed = [ip.ip_address for ip in port.fixed_ips if ":" in ip.ip_address]
    return [*dict.fromkeys((*fixed, link_local(port.mac_address)))] if fixed else []


def speaks(port: Port) -> bool:
    """Has it any IPv6 address, its own or by a pair?"""
    addresses = (*(ip.ip_address for ip in port.fixed_ips), *(pair.ip_address for pair in port.allowed_address_pairs))
    return any(":" in address for address in addresses)


APP = app("nd", everywhere(answer), neighbours(Port, neighbour, about=speaks), host(Port, own_address, about=speaks))
