"""What routers tell senders: no hop left, no route, nobody there, nobody listening, too large (RFC 792, RFC 4443).

A switch cannot write these, so it hands such packets over (`apps.routing`, TRAP) and the answer is written here, from
the address of the interface that the packet came to, out of the port that it came from; to a physical host by the
router's own routes. Errors are never sent about an error or a redirect, about a fragment that is not the first, to or
about a group of hosts, nor to nobody (RFC 1122 section 3.2.2, RFC 1812 section 4.3.2.7, RFC 4443 section 2.4).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from controller.flows.action import resubmit
from controller.flows.app import app
from controller.flows.attachment import contains, joins, physical_network
from controller.flows.frames import NO_MAC, checksum
from controller.flows.pipeline import HOPS as PASSED
from controller.flows.pipeline import L2_LOOKUP, L3_ROUTE, NET, REDIRECTED, RTR, TURNED, Why
from controller.flows.presence import tunnel_mtu
from controller.flows.punted import Outgoing, Punted, Reply, Resumed
from controller.flows.ways_out import gateway_port
from controller.model.addresses import packed, unpacked
from controller.model.records import GATEWAY, Address, Chassis, Mac, Network, Port, Subnet
from controller.model.view import View

IPV4, IPV6 = 0x0800, 0x86DD
TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
HOPS = 64
OFPP_CONTROLLER = 0xFFFFFFFD
"""Where a frame comes from that is written here (OpenFlow 1.4.1, ofp_port_no)."""
LATE = frozenset({Why.TOO_BIG, Why.NO_NEIGHBOUR, Why.NO_ROUTE})
"""What a router finds out only once a packet is translated, if it is."""
SIZES = frozenset({Why.TOO_BIG, Why.TRANSIT_TOO_BIG})
MOST4, MOST6 = 576, 1280
"""How long a packet with an error may be, in bytes (RFC 1812 section 4.3.2.3, RFC 4443 section 2.4)."""

ASKING4 = frozenset({0, 8, 13, 14, 15, 16, 17, 18})
"""The types of ICMP that are no errors, nor redirects."""
REDIRECT6 = 137
DONT_FRAGMENT = 0x4000

EVERYBODY = Address("255.255.255.255")
THIS_NETWORK = ip_network("0.0.0.0/8")

ERRORS4: Mapping[Why, tuple[int, int]] = {
    Why.TTL_EXCEEDED: (11, 0),
    Why.NO_ROUTE: (3, 0),
    Why.NO_NEIGHBOUR: (3, 1),
    Why.ROUTER_ADDRESS: (3, 3),
    Why.TOO_BIG: (3, 4),
    Why.TRANSIT_TOO_BIG: (3, 4),
}
ERRORS6: Mapping[Why, tuple[int, int]] = {
    Why.TTL_EXCEEDED: (3, 0),
    Why.NO_ROUTE: (1, 0),
    Why.NO_NEIGHBOUR: (1, 3),
    Why.ROUTER_ADDRESS: (1, 4),
    Why.TOO_BIG: (2, 0),
    Why.TRANSIT_TOO_BIG: (2, 0),
}
"""Type and code of what is told."""
NO_PROTOCOL4, NO_PROTOCOL6 = (3, 2), (4, 1)
"""The same about a protocol that routers do not speak (RFC 1122 section 3.2.2.1, RFC 4443 section 3.4)."""
NOTHING = 59
"""The "protocol" of IPv6 packets that are nothing but headers (RFC 8200 section 4.7)."""


@dataclass(frozen=True, slots=True)
class Packet:
    """What an error needs of an IP packet; `body` is where its payload begins, `whole` that no router may cut it.

    `named` is where its protocol is said.
    """

    version: int
    source: Address
    destination: Address
    protocol: int
    fragment: int
    octets: bytes
    body: int
    whole: bool
    named: int


@dataclass(frozen=True, slots=True)
class Interface:
    """One address of a router."""

    mac: Mac
    network: str
    address: Address
    block: IPv4Network | IPv6Network


def tell(view: View, punted: Punted) -> Iterator[Outgoing]:
    """The error about a packet, if its sender may be told: a guest here, or a physical host, by the router's routes."""
    packet, most = read(punted.frame), borne(view, punted)
    if packet is None or most is None or not may_tell(packet, punted.why):
        return
    router = view.tagged("router", punted.router)
    interfaces = [*addresses(view, router)]
    if any(is_broadcast(end, interfaces) for end in (packet.source, packet.destination)):
        return
    if packet.source in {each.address for each in interfaces}:  # it tells itself nothing: what it answered went nowhere
        return
    came, onto = (view.tagged("network", number) for number in (punted.net_in, punted.net))
    outer = gateway_port(view, router) if router is not None else None
    outside = outer.network_id if outer else None
    if came == outside is not None and punted.why in LATE:
        own = facing(interfaces, outside, packet) if packet.version == 6 else None  # IPv6 is not translated
        yield inward(punted, packet, most, own)
    elif came == outside is not None or (onto == outside is not None and punted.why in LATE):
        at = facing(interfaces, outside, packet)
        if at is not None:
            yield outward(view, punted, packet, replace(at, mac=mac_at(punted.frame, 0)), most, came == outside)
    else:
        yield from within(view, punted, packet, facing(interfaces, came, packet), most)


def within(view: View, punted: Punted, packet: Packet, at: Interface | None, most: int) -> Iterator[Outgoing]:
    """An error on a network of the router's own: to the guest that sent the packet, or to a physical host there."""
    network, sender = view.tagged("network", punted.net_in), view.tagged("port", punted.source)
    to = None if sender is None else view.get(Port, sender)
    if at is None:
        return
    if to is not None:
        yield Reply(punted.in_port, error(packet, punted.why, holder(to, packet.source), at, most))
    elif network is not None and physical_network(view, network) is not None:
        routed = (RTR.set(punted.router), PASSED.set(1), TURNED.set(1), resubmit(L3_ROUTE))
        yield Resumed(punted.in_port, routed, error(packet, punted.why, at.mac, at, most))


def outward(view: View, punted: Punted, packet: Packet, at: Interface, most: int, came: bool) -> Resumed:
    """An error on the external network: to who sent the packet there, or to whom it would have left it as.

    It goes as if it had come from there, so that it is translated back if the packet was.
    """
    to, net = mac_at(punted.frame, 6), punted.net_in if came else punted.net
    if not came:
        at = replace(at, mac=NO_MAC)
    return Resumed(OFPP_CONTROLLER, (NET.set(net), resubmit(L2_LOOKUP)), error(packet, punted.why, to, at, most))


def inward(punted: Punted, packet: Packet, most: int, own: Interface | None) -> Resumed:
    """An error about a packet from outside: by the router's routes, from its own address there.

    About one that may have been translated it goes as its receiver would send it (no `own`), and so is it translated.
    """
    at = own or Interface(NO_MAC, "", packet.destination, ip_network(packet.destination))
    on = (RTR.set(punted.router), REDIRECTED.set(1), resubmit(L3_ROUTE))
    return Resumed(OFPP_CONTROLLER, on, error(packet, punted.why, NO_MAC, at, most))


def mac_at(frame: bytes, place: int) -> Mac:
    """A MAC address in a frame: at 0 whom it is for, at 6 whom it is from."""
    return Mac(frame[place : place + 6].hex(":"))


def borne(view: View, punted: Punted) -> int | None:
    """The largest packet that the network, or the way to it, bears to which this one was too large; of any other 0."""
    if punted.why not in SIZES:
        return 0
    onto = view.tagged("network", punted.net)
    network = None if onto is None else view.get(Network, onto)
    if network is None or punted.why is Why.TOO_BIG:
        return None if network is None else network.mtu
    here = view.get(Chassis, punted.chassis)
    return None if here is None else min(network.mtu, tunnel_mtu(view, here.id))


def holder(port: Port, address: Address) -> Mac:
    """The MAC by which a port holds an address: its own, unless a pair says otherwise."""
    if any(ip.ip_address == address for ip in port.fixed_ips):
        return port.mac_address
    pairs = (pair.mac_address for pair in port.allowed_address_pairs if contains(pair.ip_address, address))
    return next(pairs, port.mac_address)


# ---- interfaces -----------------------------------------------------------------------------------------------


def addresses(view: View, router: str | None) -> Iterator[Interface]:
    """All interfaces of a router that are up, once an address."""
    for port in view.where(Port, device_id=router) if router is not None else ():
        for ip in port.fixed_ips if joins(view, port) or port.device_owner == GATEWAY else ():
            block = ip_network(view.need(Subnet, ip.subnet_id).cidr)
            yield Interface(port.mac_address, port.network_id, ip.ip_address, block)


def facing(interfaces: Sequence[Interface], network: str | None, packet: Packet) -> Interface | None:
    """The interface that the packet came to; of several, that of the sender's own subnet."""
    found = [each for each in interfaces if each.network == network and each.block.version == packet.version]
    return min(found, key=lambda each: (ip_address(packet.source) not in each.block, each.address), default=None)


def is_broadcast(address: Address, interfaces: Sequence[Interface]) -> bool:
    """Does an address mean all hosts of a subnet of the router's? Point-to-point links have no such (RFC 3021)."""
    blocks = (each.block for each in interfaces if each.block.version == 4 and each.block.prefixlen < 31)
    return any(ip_address(address) == block.broadcast_address for block in blocks)


# ---- packets --------------------------------------------------------------------------------------------------


def read(frame: bytes) -> Packet | None:
    """The IP packet in an Ethernet frame; None when it is none, came to a group of hosts, or has no sound header.

    Sound is what RFC 1812 section 5.2.2 validates, and what is not cut before its payload.
    """
    ethertype, octets = int.from_bytes(frame[12:14]), frame[14:]
    if len(frame) < 14 or frame[0] & 1:
        return None
    if ethertype == IPV4 and len(octets) >= 20:
        return read4(octets)
    if ethertype == IPV6 and len(octets) >= 40:
        return read6(octets)
    return None


def read4(octets: bytes) -> Packet | None:
    """An IPv4 packet (RFC 791 section 3.1), without what pads its frame."""
    body, total = (octets[0] & 15) * 4, int.from_bytes(octets[2:4])
    if octets[0] >> 4 != 4 or not 20 <= body <= min(total, len(octets)) or checksum(octets[:body]) != bytes(2):
        return None
    source, destination = (unpacked(octets[at : at + 4]) for at in (12, 16))
    flags = int.from_bytes(octets[6:8])
    return Packet(
        4, source, destination, octets[9], flags & 0x1FFF, octets[:total], body, bool(flags & DONT_FRAGMENT), 9
    )


def read6(octets: bytes) -> Packet | None:
    """An IPv6 packet (RFC 8200 section 3), without what pads its frame."""
    octets, version = octets[: 40 + int.from_bytes(octets[4:6])], octets[0] >> 4
    found = upper_layer(octets)
    if version != 6 or found is None:
        return None
    source, destination = (unpacked(octets[at : at + 16]) for at in (8, 24))
    return Packet(6, source, destination, found.protocol, found.fragment, octets, found.body, True, found.named)


class Upper(NamedTuple):
    """What is behind the extension headers of an IPv6 packet, where it begins, the offset of a fragment, and where it
    is said what it is."""

    protocol: int
    body: int
    fragment: int
    named: int


EXTENSIONS = frozenset({0, 43, 60})
FRAGMENT = 44


def upper_layer(octets: bytes) -> Upper | None:
    """Behind the extension headers (RFC 8200 section 4); None when they are cut."""
    protocol, at, fragment, named = octets[6], 40, 0, 6
    while (protocol in EXTENSIONS or protocol == FRAGMENT) and not fragment:
        if at + 8 > len(octets):
            return None
        named = at
        if protocol == FRAGMENT:
            fragment = int.from_bytes(octets[at + 2 : at + 4]) >> 3
            protocol, at = octets[at], at + 8
        else:
            protocol, at = octets[at], at + 8 * (octets[at + 1] + 1)
    return Upper(protocol, at, fragment, named)


def may_tell(packet: Packet, why: Why) -> bool:
    """May the sender of a packet be told of this?"""
    if packet.fragment or not is_host(packet.source) or is_group(packet.destination):
        return False
    if why in SIZES and not packet.whole:
        return False
    type = packet.octets[packet.body : packet.body + 1]
    if packet.protocol == ICMP:
        return why is not Why.ROUTER_ADDRESS and bool(type) and type[0] in ASKING4
    if packet.protocol == ICMPV6:
        return why is not Why.ROUTER_ADDRESS and bool(type) and type[0] >= 128 and type[0] != REDIRECT6
    return why is not Why.ROUTER_ADDRESS or packet.protocol != NOTHING


def is_host(address: Address) -> bool:
    """Is it the address of one host? RFC 1122 section 3.2.1.3 says which are not; 240.0.0.0/4 is nobody's."""
    ip = ip_address(address)
    nobody = ip.is_unspecified or ip.is_loopback or ip.is_multicast
    return not nobody and not (ip.version == 4 and (ip.is_reserved or ip in THIS_NETWORK))


def is_group(address: Address) -> bool:
    """Does it mean all hosts, or those of a group?"""
    return ip_address(address).is_multicast or address == EVERYBODY


def error(packet: Packet, why: Why, to: Mac, at: Interface, most: int) -> bytes:
    """The frame with the error, from an interface to the sender; it quotes as much of the packet as it may.

    `most` is the MTU that is told of a packet that was too large (RFC 1191 section 4, RFC 4443 section 3.2), else 0.
    """
    unspoken = why is Why.ROUTER_ADDRESS and packet.protocol not in (TCP, UDP)
    head, ends = bytes.fromhex((to + at.mac).replace(":", "")), packed(at.address) + packed(packet.source)
    if packet.version == 4:
        type, code = NO_PROTOCOL4 if unspoken else ERRORS4[why]
        message = struct.pack("!BBHI", type, code, 0, most) + packet.octets[: MOST4 - 28]
        message = message[:2] + checksum(message) + message[4:]
        ip = struct.pack("!BBHHHBBH", 0x45, 0xC0, 20 + len(message), 0, 0, HOPS, ICMP, 0) + ends
        return head + struct.pack("!H", IPV4) + ip[:10] + checksum(ip) + ip[12:] + message
    type, code = NO_PROTOCOL6 if unspoken else ERRORS6[why]
    message = struct.pack("!BBHI", type, code, 0, packet.named if unspoken else most) + packet.octets[: MOST6 - 48]
    message = message[:2] + checksum(ends + struct.pack("!II", len(message), ICMPV6) + message) + message[4:]
    ip6 = struct.pack("!IHBB", 6 << 28, len(message), ICMPV6, HOPS) + ends
    return head + struct.pack("!H", IPV6) + ip6 + message


APP = app("router_errors", answers=dict.fromkeys(ERRORS4, tell))
