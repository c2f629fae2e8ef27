"""Messages of the oracles as frames, and what routers say of them read again: for judges to whom octets are sent."""

from __future__ import annotations

import struct
from ipaddress import ip_address

from mininet_scenarios.frames import icmp, icmpv6, ipv4, tcp, tcp6, udp6
from tests.oracle import FIRST, LATER, WHOLE, Message
from tests.routing_oracle import Told

ICMP, TCP, UDP, ICMPV6, FRAGMENT = 1, 6, 17, 58, 44
HEADERS = {4: 20, 6: 40}
ABOVE = {ICMP: 8, TCP: 20, UDP: 8, ICMPV6: 8}
MORE, DONT_FRAGMENT, OFFSET = 0x2000, 0x4000, 185
"""Of IPv4: more fragments follow, no router may cut it, and some place in a datagram, in units of 8 bytes."""
SYN = 0x02


def frame(message: Message, mark: bytes, number: int = 0, flags: int = SYN) -> bytes:
    """It as it is sent, with a mark in its payload; `number` is the identifier of ICMP, `flags` are TCP's."""
    above = ABOVE.get(message.protocol, 0)
    body = mark.ljust(message.size - HEADERS[message.version] - above, b"\0")
    return _frame4(message, body, number, flags) if message.version == 4 else _frame6(message, body, number, flags)


def _frame4(said: Message, body: bytes, number: int, flags: int) -> bytes:
    pair = (said.low, said.high)
    match said.protocol:
        case 1:
            body = icmp(*pair, number.to_bytes(2) + bytes(2) + body)
        case 6:
            body = tcp(said.source, said.target, pair, 1000, flags, body)
        case 17:
            body = struct.pack("!HHHH", *pair, 8 + len(body), 0) + body
    place = {WHOLE: DONT_FRAGMENT if said.whole else 0, FIRST: MORE, LATER: OFFSET}[said.fragment]
    macs = (said.target_mac, said.source_mac)
    return ipv4(macs, said.source, said.target, said.protocol, body, fragment=place, hops=said.hops)


def _frame6(said: Message, body: bytes, number: int, flags: int) -> bytes:
    ends, pair = (said.target_mac, said.source_mac, said.source, said.target), (said.low, said.high)
    match said.protocol:
        case 6:
            made = tcp6(*ends, pair, 1000, flags, body, hops=said.hops)
        case 17:
            made = udp6(*ends, said.high, body, from_port=said.low, hops=said.hops)
        case 58:
            made = icmpv6(*ends, said.low, number.to_bytes(2) + bytes(2) + body, hops=said.hops)
        case other:
            made = udp6(*ends, 0, body[8:], from_port=0, hops=said.hops)
            made = made[:20] + bytes((other,)) + made[21:]
    return made if said.fragment == WHOLE else _fragment6(made, said.fragment)


def _fragment6(whole: bytes, fragment: int) -> bytes:
    place = 1 if fragment == FIRST else OFFSET << 3
    head = struct.pack("!BxHI", whole[20], place, 1)
    size = int.from_bytes(whole[18:20]) + len(head)
    return whole[:18] + size.to_bytes(2) + bytes((FRAGMENT,)) + whole[21:54] + head + whole[54:]


def error(raw: bytes) -> Told | None:
    """The error of ICMP that a frame bears, if it does."""
    ethertype = int.from_bytes(raw[12:14])
    if ethertype == 0x0800 and raw[23] == ICMP:
        source, body = raw[26:30], raw[14 + 4 * (raw[14] & 15) :]
        is_error = body[0] in (3, 11)
    elif ethertype == 0x86DD and raw[20] == ICMPV6:
        source, body = raw[22:38], raw[54:]
        is_error = body[0] < 128
    else:
        return None
    if not is_error:
        return None
    return Told(raw[6:12].hex(":"), str(ip_address(source)), body[0], body[1], int.from_bytes(body[4:8]))


def hops(raw: bytes) -> int:
    """The hops that a packet has left."""
    return raw[22] if int.from_bytes(raw[12:14]) == 0x0800 else raw[21]
