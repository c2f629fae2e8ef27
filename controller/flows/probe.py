"""A packet as bytes, with a mark by which it is told from all others: what `weft trace --live` sends.

The mark is a codepoint of DiffServ that is left to whoever experiments (RFC 2474 section 6, pool 2), by which a switch
finds it, and sixteen bytes of its payload, by which we do.
"""

from __future__ import annotations

import struct
from typing import Final

from controller.errors import Invalid
from controller.flows import fields
from controller.flows.fields import (
    ETH_DST,
    ETH_SRC,
    ETH_TYPE,
    HOP_LIMIT,
    ICMP4,
    IPV6,
    PACKET4,
    PACKET6,
    TCP_FLAGS,
    TTL,
    UDP,
    Headers,
)
from controller.flows.frames import checksum
from controller.flows.packet import Packet

DSCP: Final = 47
MARK: Final = b"weft"
MARK_BYTES: Final = 16
_WORDS: Final = 0x5000
_SYN: Final = 0x002
"""A header of five words, and the flag of a first segment (RFC 9293 section 3.1)."""


def frame(sent: Packet, mark: bytes) -> bytes:
    """The frame of a packet of IP, marked and as long as it says (SCTP: in steps of 4), or as short as it can be.

    TCP has the packet's flags, or begins a connection.

    Raises Invalid when the mark does not fit.
    """
    six = bool(sent[ETH_TYPE] == IPV6.tests[0].value)
    headers = PACKET6 if six else PACKET4
    header = 40 if six else 20
    most = sent.length - 14 if sent.length > 14 else 0
    ends = _address(sent[headers.source], six) + _address(sent[headers.destination], six)
    number = sent[headers.proto]
    least = header + len(_segment(sent, headers, ends, mark))
    if most and most < least:
        raise Invalid("size", f"a probe has {least} bytes at least")
    room = max(0, most - least)
    payload = mark + bytes(room - room % 4 if number == fields.SCTP else room)
    segment = _segment(sent, headers, ends, payload)
    if six:
        head = struct.pack("!IHBB", 6 << 28 | DSCP << 22, len(segment), number, sent[HOP_LIMIT]) + ends
    else:
        bare = struct.pack("!BBHHHBB2x", 0x45, DSCP << 2, header + len(segment), 0, 0, sent[TTL], number) + ends
        head = bare[:10] + checksum(bare) + bare[12:]
    ethernet = sent[ETH_DST].to_bytes(6) + sent[ETH_SRC].to_bytes(6) + sent[ETH_TYPE].to_bytes(2)
    return ethernet + head + segment


def _address(number: int, six: bool) -> bytes:
    return number.to_bytes(16 if six else 4)


def _segment(sent: Packet, headers: Headers, ends: bytes, payload: bytes) -> bytes:
    """What IP carries, with its checksum."""
    number = sent[headers.proto]
    low, high = (sent[of[number]] if number in of else 0 for of in (headers.low, headers.high))
    match number:
        case fields.ICMP4 | fields.ICMP6:
            bare, at = struct.pack("!BBHHH", low, high, 0, 0x5745, 1) + payload, 2
        case fields.TCP:
            flags = _WORDS | (sent.whole(TCP_FLAGS.wire) or _SYN)
            bare, at = struct.pack("!HHIIHHHH", low, high, 1, 0, flags, 64240, 0, 0) + payload, 16
        case fields.UDP:
            bare, at = struct.pack("!HHHH", low, high, 8 + len(payload), 0) + payload, 6
        case fields.SCTP:
            return _sctp(low, high, payload)
        case _:
            return payload
    if number == ICMP4:
        return bare[:at] + checksum(bare) + bare[at + 2 :]
    pseudo = struct.pack("!II", len(bare), number) if headers is PACKET6 else struct.pack("!BBH", 0, number, len(bare))
    summed = checksum(ends + pseudo + bare)
    if number == UDP and summed == b"\0\0":
        summed = b"\xff\xff"
    return bare[:at] + summed + bare[at + 2 :]


def _sctp(low: int, high: int, payload: bytes) -> bytes:
    """An INIT chunk, with the mark as a parameter that nobody knows (RFC 9260 section 3.3.2)."""
    padded = payload + bytes(-len(payload) % 4)
    parameter = struct.pack("!HH", 0xC0FE, 4 + len(payload)) + padded
    chunk = struct.pack("!BBHIIHHI", 1, 0, 20 + len(parameter), 1, 65536, 1, 1, 1) + parameter
    bare = struct.pack("!HHI", low, high, 0)
    return bare + struct.pack("<I", _crc32c(bare + bytes(4) + chunk)) + chunk


def _crc32c(data: bytes) -> int:
    """RFC 9260 appendix A."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
