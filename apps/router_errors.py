"""What routers tell senders: no hop left, no route, nobody there, nobody listening (ICMP, RFC 792; ICMPv6, RFC 4443).

A switch cannot write these, so it hands such packets over (`apps.routing`, TRAP) and the answer is written here, from
the address of the interface that the packet came to, out of the port that it came from. Errors are never sent about an
error, about a fragment that is not the first, to or about a group of hosts, nor to nobody (RFC 1122 section 3.2.2,
RFC 1812 section 4.3.2.7, RFC 4443 section 2.4).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from controller.flows.app import app
from controller.flows.pipeline import Why
from controller.flows.presence import is_interface
from controller.flows.punted import Punted, Reply
from controller.model.records import Address, Mac, Port, Router, Subnet, Tag
from controller.model.view import View

IPV4, IPV6 = 0x0800, 0x86DD
TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
HOPS = 64
MOST4, MOST6 = 576, 1280
"""How long a packet with an error may be, in bytes (RFC 1812 section 4.3.2.3, RFC 4443 section 2.4)."""

ASKING4 = frozenset({0, 8, 13, 14, 15, 16, 17, 18})
"""The types of ICMP that are no errors."""

ERRORS4: Mapping[Why, tuple[int, int]] = {
    Why.TTL_EXCEEDED: (11, 0),
    Why.NO_ROUTE: (3, 0),
    Why.NO_NEIGHBOUR: (3, 1),
    Why.ROUTER_ADDRESS: (3, 3),
}
ERRORS6: Mapping[Why, tuple[int, int]] = {
    Why.TTL_EXCEEDED: (3, 0),
    Why.NO_ROUTE: (1, 0),
    Why.NO_NEIGHBOUR: (1, 3),
    Why.ROUTER_ADDRESS: (1, 4),
}
"""Type and code of what is told."""


@dataclass(frozen=True, slots=True)
class Packet:
    """What an error needs of an IP packet; `body` is where its payload begins."""

    version: int
    source: Address
    destination: Address
    protocol: int
    fragment: int
    octets: bytes
    body: int


def tell(view: View, punted: Punted) -> Iterator[Reply]:
    """The error about a packet, if its sender may be told."""
    packet = read(punted.frame)
    sender = tagged(view, "port", punted.source)
    router = tagged(view, "router", punted.router)
    if packet is None or sender is None or router is None or not may_tell(packet, punted.why):
        return
    to, at = view.get(Port, sender), view.get(Router, router)
    network = tagged(view, "network", punted.net_in)
    if to is None or at is None or network is None:
        return
    found = interface(view, at, network, packet)
    if found is not None:
        mac, address = found
        yield Reply(punted.in_port, error(packet, punted.why, to.mac_address, mac, address))


def tagged(view: View, space: str, number: int) -> str | None:
    """The id that a key stands for."""
    found = view.where(Tag, space=space, number=number)
    return found[0].id.partition("/")[2] if found else None


def interface(view: View, router: Router, network: str, packet: Packet) -> tuple[Mac, Address] | None:
    """MAC and address of the interface that the packet came to; of several, that of the sender's own subnet."""
    candidates = []
    for port in view.where(Port, device_id=router.id):
        if not is_interface(port) or port.network_id != network:
            continue
        for ip in port.fixed_ips:
            if (":" in ip.ip_address) == (packet.version == 6):
                cidr = view.need(Subnet, ip.subnet_id).cidr
                foreign = ip_address(packet.source) not in ip_network(cidr)
                candidates.append((foreign, ip.ip_address, port.mac_address))
    if not candidates:
        return None
    _, address, mac = min(candidates)
    return mac, address


# ---- packets --------------------------------------------------------------------------------------------------


def read(frame: bytes) -> Packet | None:
    """The IP packet in an Ethernet frame; None when it is none, or is cut before its payload."""
    ethertype = int.from_bytes(frame[12:14])
    octets = frame[14:]
    if ethertype == IPV4 and len(octets) >= 20:
        body = (octets[0] & 15) * 4
        source, destination = (Address(socket.inet_ntoa(octets[at : at + 4])) for at in (12, 16))
        fragment = int.from_bytes(octets[6:8]) & 0x1FFF
        return Packet(4, source, destination, octets[9], fragment, octets, body) if len(octets) > body >= 20 else None
    if ethertype == IPV6 and len(octets) > 40:
        source, destination = (Address(socket.inet_ntop(socket.AF_INET6, octets[at : at + 16])) for at in (8, 24))
        protocol, body, fragment = upper_layer(octets)
        return Packet(6, source, destination, protocol, fragment, octets, body)
    return None


EXTENSIONS = frozenset({0, 43, 60})
FRAGMENT = 44


def upper_layer(octets: bytes) -> tuple[int, int, int]:
    """Of an IPv6 packet: the protocol behind its extension headers, where that begins, the offset of a fragment."""
    protocol, at, fragment = octets[6], 40, 0
    while protocol in EXTENSIONS or protocol == FRAGMENT:
        if at + 8 > len(octets):
            break
        if protocol == FRAGMENT:
            fragment = int.from_bytes(octets[at + 2 : at + 4]) >> 3
            protocol, at = octets[at], at + 8
        else:
            protocol, at = octets[at], at + 8 * (octets[at + 1] + 1)
    return protocol, at, fragment


def may_tell(packet: Packet, why: Why) -> bool:
    """May the sender of a packet be told of this?"""
    source, destination = ip_address(packet.source), ip_address(packet.destination)
    if packet.fragment or source.is_unspecified or source.is_multicast or source.is_loopback:
        return False
    if destination.is_multicast or str(destination) == "255.255.255.255" or packet.body >= len(packet.octets):
        return False
    if packet.protocol == ICMP and packet.octets[packet.body] not in ASKING4:
        return False
    if packet.protocol == ICMPV6 and packet.octets[packet.body] < 128:
        return False
    return why is not Why.ROUTER_ADDRESS or packet.protocol in (TCP, UDP)


def error(packet: Packet, why: Why, to: Mac, mac: Mac, address: Address) -> bytes:
    """The frame with the error, from an interface to the sender; it quotes as much of the packet as it may."""
    head = bytes.fromhex((to + mac).replace(":", ""))
    if packet.version == 4:
        type, code = ERRORS4[why]
        message = struct.pack("!BBHI", type, code, 0, 0) + packet.octets[: MOST4 - 28]
        message = message[:2] + checksum(message) + message[4:]
        ends = socket.inet_aton(address) + socket.inet_aton(packet.source)
        ip = struct.pack("!BBHHHBBH", 0x45, 0xC0, 20 + len(message), 0, 0, HOPS, ICMP, 0) + ends
        return head + struct.pack("!H", IPV4) + ip[:10] + checksum(ip) + ip[12:] + message
    type, code = ERRORS6[why]
    message = struct.pack("!BBHI", type, code, 0, 0) + packet.octets[: MOST6 - 48]
    ends = socket.inet_pton(socket.AF_INET6, address) + socket.inet_pton(socket.AF_INET6, packet.source)
    message = message[:2] + checksum(ends + struct.pack("!II", len(message), ICMPV6) + message) + message[4:]
    ip6 = struct.pack("!IHBB", 6 << 28, len(message), ICMPV6, HOPS) + ends
    return head + struct.pack("!H", IPV6) + ip6 + message


def checksum(data: bytes) -> bytes:
    """The Internet checksum (RFC 1071)."""
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)


APP = app("router_errors", answers=dict.fromkeys(ERRORS4, tell))
