"""Port security: a guest sends with its own addresses and those of its allowed address pairs, and gives away no others.

    PORT_SECURITY     source MAC
    ADDRESS_SECURITY  sender of ARP, source of IP; what looks for an address may come from 0.0.0.0 or `::`
    ND_SECURITY       which link-layer address neighbour discovery tells
    LINK_SECURITY     whether that, and what a probe by ARP tells, is the port's, and of the address that it advertises

Whether an address is free may be asked of any: the switch answers, and nobody else hears (`apps.arp`, `apps.nd`). An
address is held together with the MAC it goes with; but ARP about an address pair may come from the port's own MAC, as
VRRP sends it (RFC 5798 section 8.1.2). Nobody here may be a DHCP server or a router, or send what is neither ARP nor
IP. A port without port security passes by all of this.

What is told is tested in `eth_src`, so that one flow a MAC address does for whatever tells it, and then stands in both
places: which of its own MAC addresses a port sends from is its own affair.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.flows.action import Move, goto
from controller.flows.app import app, everywhere, host
from controller.flows.attachment import attached
from controller.flows.fields import (
    ARP,
    ARP_REQUEST,
    ARP_SHA,
    ARP_SPA,
    ETH_SRC,
    ICMPV6_TYPE,
    IPV4,
    IPV4_SRC,
    IPV6,
    IPV6_FRAG,
    IPV6_PROTO,
    IPV6_SRC,
    ND_ADVERTISEMENT,
    ND_SLL,
    ND_SOLICITATION,
    ND_TARGET_ADVERTISED,
    ND_TLL,
    UDP6_DST,
    UDP6_SRC,
    UDP_DST,
    UDP_SRC,
    link_local,
    within,
)
from controller.flows.flow import Flow
from controller.flows.match import ANY, Match
from controller.flows.pipeline import (
    ADDRESS_SECURITY,
    DROP,
    LINK_SECURITY,
    ND_SECURITY,
    PORT_SECURITY,
    SERVICE,
    SRC,
    UNCHECKED,
    WHY,
    Why,
)
from controller.model.records import Address, Mac, Port
from controller.model.view import View

NOBODY4, NOBODY6 = Address("0.0.0.0"), Address("::")
NO_OPTION = Mac("00:00:00:00:00:00")
"""What Open vSwitch reads where neighbour discovery has no link-layer option."""

ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT, REDIRECT = 133, 134, 137
MLD_REPORTS = (131, 143)
FIRST = IPV6_FRAG(1, 3)
"""A first fragment may be full of extension headers and leave it to the second to say what it is (RFC 7112, RFC 7113).

Open vSwitch then reads zeros where ports or the type would be; and protocol 0 when the headers themselves are cut.
"""

ROGUES = (
    (UDP_SRC(67) & UDP_DST(68), Why.ROGUE_DHCP),
    (UDP6_SRC(547) & UDP6_DST(546), Why.ROGUE_DHCP),
    (ICMPV6_TYPE(ROUTER_ADVERTISEMENT), Why.ROGUE_RA),
    (ICMPV6_TYPE(REDIRECT), Why.ROGUE_RA),
    (UDP6_SRC(0) & UDP6_DST(0) & FIRST, Why.HIDDEN),
    (ICMPV6_TYPE(0) & FIRST, Why.HIDDEN),
    (IPV6_PROTO(0), Why.HIDDEN),
)
UNADDRESSED = (
    IPV4_SRC(NOBODY4) & UDP_SRC(68) & UDP_DST(67),
    *(IPV6_SRC(NOBODY6) & ICMPV6_TYPE(type) for type in (ROUTER_SOLICITATION, *MLD_REPORTS)),
)
"""What a guest sends before it has an address (RFC 2131 section 4.1, RFC 4861 section 4.1, RFC 3590)."""


def everybody(view: View) -> Iterator[Flow]:
    """What no guest may send, what every guest may, and why the rest is dropped."""
    for match, why in ROGUES:
        yield Flow(ADDRESS_SECURITY, "rogue", match, (WHY.set(why), goto(DROP)))
    for match in UNADDRESSED:
        yield Flow(ADDRESS_SECURITY, "unaddressed", match, (goto(SERVICE),))
    yield Flow(ADDRESS_SECURITY, "unaddressed", IPV6_SRC(NOBODY6) & ND_SOLICITATION, (goto(ND_SECURITY),))
    probe = ARP_REQUEST & ARP_SPA(NOBODY4)
    yield Flow(ADDRESS_SECURITY, "probe", probe, (Move(ARP_SHA, ETH_SRC), goto(LINK_SECURITY)))
    yield Flow(ADDRESS_SECURITY, "spoofed_nd", ND_SOLICITATION, (WHY.set(Why.SPOOFED_ND), goto(DROP)))
    for match, why in ((ARP, Why.SPOOFED_ARP), (IPV4, Why.SPOOFED_IPV4), (IPV6, Why.SPOOFED_IPV6)):
        yield Flow(ADDRESS_SECURITY, "spoofed", match, (WHY.set(why), goto(DROP)))
    yield Flow(ND_SECURITY, "unsaid", ND_SOLICITATION & ND_SLL(NO_OPTION), (goto(SERVICE),))
    yield Flow(ND_SECURITY, "unsaid", ND_ADVERTISEMENT & ND_TLL(NO_OPTION), (goto(LINK_SECURITY),))
    yield Flow(ND_SECURITY, "told", ND_SOLICITATION, (Move(ND_SLL, ETH_SRC), goto(LINK_SECURITY)))
    yield Flow(ND_SECURITY, "told", ND_ADVERTISEMENT, (Move(ND_TLL, ETH_SRC), goto(LINK_SECURITY)))
    yield Flow(ND_SECURITY, "other", ANY, (goto(SERVICE),))
    yield Flow(LINK_SECURITY, "spoofed_target", ND_ADVERTISEMENT, (WHY.set(Why.SPOOFED_ND), goto(DROP)))
    yield Flow(LINK_SECURITY, "spoofed", ARP, (WHY.set(Why.SPOOFED_ARP), goto(DROP)))


def guest(view: View, port: Port) -> Iterator[Flow]:
    """What one guest may send with."""
    if attached(view, port.id) is None:
        return
    src = SRC(view.tag("port", port.id))
    if not port.port_security_enabled:
        yield Flow(PORT_SECURITY, "unguarded", src, (UNCHECKED.set(1), goto(SERVICE)))
        return
    for mac in macs(port):
        yield Flow(PORT_SECURITY, "own_mac", src & ETH_SRC(mac), (goto(ADDRESS_SECURITY),))
        yield Flow(LINK_SECURITY, "own_mac", src & ETH_SRC(mac), (goto(SERVICE),))
    for mac, address in held(port):
        yield from (ipv6 if ":" in address else ipv4)(src, port, mac, address)


def macs(port: Port) -> list[Mac]:
    """The MACs that a port may send from, its own first."""
    return [*dict.fromkeys((port.mac_address, *(pair.mac_address for pair in port.allowed_address_pairs)))]


def held(port: Port) -> list[tuple[Mac, str]]:
    """The addresses, or blocks of them, that a port may send from, each with its MAC."""
    own = ((port.mac_address, ip.ip_address) for ip in port.fixed_ips)
    pairs = ((pair.mac_address, pair.ip_address) for pair in port.allowed_address_pairs)
    locals = ((mac, link_local(mac)) for mac in macs(port))
    return [*dict.fromkeys((*own, *pairs, *locals))]


def ipv4(src: Match, port: Port, mac: Mac, address: str) -> Iterator[Flow]:
    """IPv4 and ARP from an address."""
    yield Flow(ADDRESS_SECURITY, "own_address", src & ETH_SRC(mac) & within(IPV4_SRC, address), (goto(SERVICE),))
    for arp in senders(src, port, mac):
        yield Flow(ADDRESS_SECURITY, "own_address", arp & within(ARP_SPA, address), (goto(SERVICE),))


def senders(src: Match, port: Port, mac: Mac) -> Iterator[Match]:
    """ARP in which a MAC of the port's speaks: from that MAC, or from the port's own."""
    return (src & ETH_SRC(sender) & ARP_SHA(mac) for sender in dict.fromkeys((mac, port.mac_address)))


def ipv6(src: Match, port: Port, mac: Mac, address: str) -> Iterator[Flow]:
    """IPv6 from an address, and advertisements of it."""
    yield Flow(ADDRESS_SECURITY, "own_address", src & ETH_SRC(mac) & within(IPV6_SRC, address), (goto(ND_SECURITY),))
    advertised = src & within(ND_TARGET_ADVERTISED, address)
    yield Flow(LINK_SECURITY, "own_target", advertised & ETH_SRC(mac), (goto(SERVICE),))
    if len(macs(port)) > 1:  # what tells no link-layer address may come from any of them
        yield Flow(LINK_SECURITY, "own_target", advertised & ND_TLL(NO_OPTION), (goto(SERVICE),))


APP = app("port_security", everywhere(everybody), host(Port, guest))
