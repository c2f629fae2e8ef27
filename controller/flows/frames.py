"""ARP and IPv6 neighbour discovery as frames: what they say, and how to say it (RFC 826, RFC 4861).

Both ask who holds an address and tell where one is, so that whoever reads them need not know which of the two it was.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from controller.flows.fields import BROADCAST, link_local
from controller.model.addresses import packed, unpacked
from controller.model.records import Address, Mac

ARP: Final = 0x0806
NO_MAC: Final = Mac("00:00:00:00:00:00")
VLAN: Final = 0x8100
IPV6: Final = 0x86DD
ICMPV6: Final = 58
REQUEST, REPLY = 1, 2
SOLICITATION, ADVERTISEMENT = 135, 136
SOURCE_LINK_LAYER, TARGET_LINK_LAYER = 1, 2
ROUTER, SOLICITED, OVERRIDE = 0x80000000, 0x40000000, 0x20000000
HOP_LIMIT: Final = 255
"""Who has passed a router has less (RFC 4861 section 3.1)."""
NOBODY4, NOBODY6 = Address("0.0.0.0"), Address("::")
ALL_NODES, ALL_NODES_MAC = Address("ff02::1"), Mac("33:33:00:00:00:01")
_ETHERNET_IPV4: Final = struct.pack("!HHBB", 1, 0x0800, 6, 4)


@dataclass(frozen=True, slots=True)
class Question:
    """Who holds `address`? Asked from `source`, at `mac`; from nobody's address by who would take it for its own."""

    address: Address
    source: Address
    mac: Mac

    @property
    def is_probe(self) -> bool:
        """Does it look for duplicates (RFC 5227 section 2.1.1, RFC 4862 section 5.4.2)?"""
        return self.source in (NOBODY4, NOBODY6)


@dataclass(frozen=True, slots=True)
class Statement:
    """`address` is at `mac`; `unasked`: by gratuitous ARP, or an advertisement that nobody solicited."""

    address: Address
    mac: Mac
    unasked: bool


def read(frame: bytes) -> Question | Statement | None:
    """What a frame of ARP or neighbour discovery says; None when it is neither, or not sound."""
    ethertype, body = int.from_bytes(frame[12:14]), frame[14:]
    if ethertype == ARP and len(body) >= 28 and body[:6] == _ETHERNET_IPV4:
        return _read_arp(int.from_bytes(body[6:8]), body[8:28])
    if ethertype == IPV6 and len(body) >= 64 and body[6:8] == bytes((ICMPV6, HOP_LIMIT)):
        return _read_nd(frame[6:12], body[: 40 + int.from_bytes(body[4:6])])
    return None


def _read_arp(operation: int, ends: bytes) -> Question | Statement | None:
    mac, sender, target = _mac(ends[:6]), unpacked(ends[6:10]), unpacked(ends[16:20])
    if sender == target and operation in (REQUEST, REPLY):
        return Statement(sender, mac, unasked=True)
    if operation == REPLY:
        return Statement(sender, mac, unasked=False)
    return Question(target, sender, mac) if operation == REQUEST else None


def _read_nd(link: bytes, packet: bytes) -> Question | Statement | None:
    """RFC 4861 section 7.1: a message that is longer than its packet, lies about its options, or is damaged is none."""
    message = packet[40:]
    if len(message) < 24 or message[1] or checksum(_pseudo(packet[8:40], len(message)) + message) != bytes(2):
        return None
    found = _options(message[24:])
    if found is None:
        return None
    address, source = unpacked(message[8:24]), unpacked(packet[8:24])
    if message[0] == SOLICITATION:
        return Question(address, source, found.get(SOURCE_LINK_LAYER, _mac(link)))
    if message[0] == ADVERTISEMENT:
        unasked = not int.from_bytes(message[4:8]) & SOLICITED
        return Statement(address, found.get(TARGET_LINK_LAYER, _mac(link)), unasked)
    return None


def _options(octets: bytes) -> dict[int, Mac] | None:
    """The link-layer addresses among the options, by type; None when they are malformed (RFC 4861 section 4.6)."""
    found: dict[int, Mac] = {}
    while octets:
        length = octets[1] * 8 if len(octets) > 1 else 0
        if not 0 < length <= len(octets):
            return None
        if octets[0] in (SOURCE_LINK_LAYER, TARGET_LINK_LAYER) and length == 8:
            found[octets[0]] = _mac(octets[2:8])
        octets = octets[length:]
    return found


def question(address: Address, source: Address, mac: Mac, to: Mac | None = None) -> bytes:
    """Ask who holds an address, from an address and a MAC address of the asker's; `to` a MAC address, or to all."""
    if ":" not in address:
        body = struct.pack("!H", REQUEST) + _octets(mac) + packed(source) + bytes(6) + packed(address)
        return _arp(to or BROADCAST, mac, body)
    group = packed(Address("ff02::1:ff00:0"))[:13] + packed(address)[13:]
    everybody = _mac(b"\x33\x33" + group[12:])
    body = bytes(4) + packed(address) + bytes((SOURCE_LINK_LAYER, 1)) + _octets(mac)
    return _nd(to or everybody, mac, source, packed(address) if to else group, SOLICITATION, body)


def answer(asked: Question, mac: Mac) -> bytes:
    """Tell who asked that the address is at a MAC address; of a probe by neighbour discovery all are told."""
    if ":" not in asked.address:
        body = struct.pack("!H", REPLY) + _octets(mac) + packed(asked.address)
        return _arp(asked.mac, mac, body + _octets(asked.mac) + packed(asked.source))
    if asked.is_probe:
        return _advertisement(ALL_NODES_MAC, ALL_NODES, asked.address, mac, OVERRIDE)
    return _advertisement(asked.mac, asked.source, asked.address, mac, SOLICITED | OVERRIDE)


def announcement(address: Address, mac: Mac, *, router: bool = False) -> bytes:
    """Tell everybody that an address is at a MAC address (RFC 5227 section 3, RFC 4861 section 7.2.6)."""
    if ":" not in address:
        return _arp(
            BROADCAST, mac, struct.pack("!H", REQUEST) + _octets(mac) + packed(address) + bytes(6) + packed(address)
        )
    return _advertisement(ALL_NODES_MAC, ALL_NODES, address, mac, OVERRIDE | (ROUTER if router else 0))


def tagged(frame: bytes, vlan: int | None) -> bytes:
    """A frame with the tag of a VLAN (IEEE 802.1Q); None is no VLAN."""
    return frame if vlan is None else frame[:12] + struct.pack("!HH", VLAN, vlan) + frame[12:]


def own_source(address: Address, mac: Mac) -> Address:
    """The address from which a MAC address may ask for another one when nobody gave it any of its own."""
    return link_local(mac) if ":" in address else NOBODY4


def _arp(dst: Mac, src: Mac, body: bytes) -> bytes:
    return _octets(dst) + _octets(src) + ARP.to_bytes(2) + _ETHERNET_IPV4 + body


def _advertisement(dst: Mac, to: Address, address: Address, mac: Mac, flags: int) -> bytes:
    body = flags.to_bytes(4) + packed(address) + bytes((TARGET_LINK_LAYER, 1)) + _octets(mac)
    return _nd(dst, mac, address, packed(to), ADVERTISEMENT, body)


def _nd(dst: Mac, src: Mac, source: Address, to: bytes, kind: int, body: bytes) -> bytes:
    ends = packed(source) + to
    message = bytes((kind, 0, 0, 0)) + body
    message = message[:2] + checksum(_pseudo(ends, len(message)) + message) + message[4:]
    head = struct.pack("!IHBB", 6 << 28, len(message), ICMPV6, HOP_LIMIT)
    return _octets(dst) + _octets(src) + IPV6.to_bytes(2) + head + ends + message


def _pseudo(ends: bytes, length: int) -> bytes:
    """What the checksum of ICMPv6 covers beside the message (RFC 8200 section 8.1)."""
    return ends + struct.pack("!II", length, ICMPV6)


def checksum(data: bytes) -> bytes:
    """The Internet checksum (RFC 1071)."""
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)


def _octets(mac: Mac) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def _mac(octets: bytes) -> Mac:
    return Mac(octets.hex(":"))
