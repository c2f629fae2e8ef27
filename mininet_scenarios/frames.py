"""Frames as bytes, to be sent in a lab: Ethernet, ARP, IPv4 and IPv6, and what these carry; whole and in fragments."""

from __future__ import annotations

import os
import socket
import struct

BROADCAST = "ff:ff:ff:ff:ff:ff"
ARP, IPV4, IPV6, VLAN = 0x0806, 0x0800, 0x86DD, 0x8100
EXPERIMENTAL = 0x88B5  # IEEE 802, local experimental ethertype 1
REQUEST, REPLY = 1, 2
SOLICITATION, ADVERTISEMENT = 135, 136
ALL_NODES, ALL_NODES_MAC = "ff02::1", "33:33:00:00:00:01"
_TCP, _UDP, _FRAGMENT, _ICMPV6, _OPTIONS = 6, 17, 44, 58, 60
_PADDING = bytes((1, 6, 0, 0, 0, 0, 0, 0))
_MORE_FRAGMENTS = 1 << 13
_HALF = 1256


def token() -> bytes:
    """Bytes that mark the frames of one question, and no other frame."""
    return os.urandom(8)


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _mac_text(raw: bytes) -> str:
    return raw.hex(":")


def ethernet(dst: str, src: str, ethertype: int, payload: bytes) -> bytes:
    """An Ethernet frame, padded to 60 bytes."""
    return (_mac(dst) + _mac(src) + struct.pack("!H", ethertype) + payload).ljust(60, b"\0")


def tagged(frame: bytes, vlan: int, type: int = VLAN) -> bytes:
    """A frame with a tag put in (IEEE 802.1Q)."""
    return frame[:12] + struct.pack("!HH", type, vlan) + frame[12:]


def arp(op: int, sender_mac: str, sender_ip: str, target_ip: str, mark: bytes = b"", src: str = "") -> bytes:
    """A broadcast ARP frame (RFC 826), from another MAC than it tells of if `src` is given; `mark` pads it."""
    body = struct.pack("!HHBBH", 1, IPV4, 6, 4, op) + _mac(sender_mac) + socket.inet_aton(sender_ip)
    return ethernet(BROADCAST, src or sender_mac, ARP, body + bytes(6) + socket.inet_aton(target_ip) + mark)


def _checksum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(
    macs: tuple[str, str],
    src: str,
    dst: str,
    protocol: int,
    payload: bytes,
    *,
    ident: int = 0,
    fragment: int = 0,
    hops: int = 64,
) -> bytes:
    """A frame with an IPv4 packet, or a fragment of one: 0x2000 says that more follow, the rest is its offset / 8.

    0x4000 says that no router may cut it.
    """
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), ident, fragment, hops, protocol, 0)
    head += socket.inet_aton(src) + socket.inet_aton(dst)
    return ethernet(*macs, IPV4, head[:10] + struct.pack("!H", _checksum(head)) + head[12:] + payload)


def datagram(src_port: int, dst_port: int, payload: bytes) -> bytes:
    """A UDP datagram without a checksum (RFC 768 allows 0)."""
    return struct.pack("!HHHH", src_port, dst_port, 8 + len(payload), 0) + payload


def udp(
    dst_mac: str, src_mac: str, src: str, dst: str, port: int, payload: bytes, *, from_port: int | None = None
) -> bytes:
    """A UDP datagram over IPv4, from the same port unless another is given."""
    segment = datagram(port if from_port is None else from_port, port, payload)
    return ipv4((dst_mac, src_mac), src, dst, _UDP, segment)


def halved(frame: bytes, id: int | None = None) -> tuple[bytes, bytes]:
    """An IP packet without options in two fragments (RFC 791, RFC 8200), with this identification, or any.

    The first has 1,256 bytes of what it carries: smaller ones conntrack of user-space Open vSwitch takes for an attack
    (ovs-appctl dpctl/ipf-set-min-frag).
    """
    id = int.from_bytes(os.urandom(2)) if id is None else id
    if frame[12:14] == IPV4.to_bytes(2, "big"):
        macs = (_mac_text(frame[:6]), _mac_text(frame[6:12]))
        src, dst, body = socket.inet_ntoa(frame[26:30]), socket.inet_ntoa(frame[30:34]), frame[34:]
        first = ipv4(macs, src, dst, frame[23], body[:_HALF], ident=id, fragment=_MORE_FRAGMENTS)
        return first, ipv4(macs, src, dst, frame[23], body[_HALF:], ident=id, fragment=_HALF // 8)
    return _halves6(frame, frame[20], id, frame[54:])


def hidden(frame: bytes, *, cut: bool = False) -> tuple[bytes, bytes]:
    """An IPv6 packet without extension headers in two fragments, the first of which is full of options (RFC 7112).

    What the packet is stands in the second; so does the end of the options if they are `cut`.
    """
    options = bytes((frame[20], _HALF // 8 - 1 + cut)) + _PADDING * (_HALF // 8 - 1) + bytes((1, 4, 0, 0, 0, 0))
    return _halves6(frame, _OPTIONS, int.from_bytes(os.urandom(4)), options + _PADDING * cut + frame[54:])


def _halves6(frame: bytes, carried: int, id: int, body: bytes) -> tuple[bytes, bytes]:
    """Two fragments under the header of an IPv6 packet (RFC 8200 section 4.5); `carried` is what the body is."""

    def fragment(part: bytes, place: int) -> bytes:
        head = frame[14:18] + struct.pack("!HBB", 8 + len(part), _FRAGMENT, frame[21]) + frame[22:54]
        macs = _mac_text(frame[:6]), _mac_text(frame[6:12])
        return ethernet(*macs, IPV6, head + struct.pack("!BxHI", carried, place, id) + part)

    return fragment(body[:_HALF], 1), fragment(body[_HALF:], _HALF)


def tcp(
    src: str, dst: str, ports: tuple[int, int], sequence: int, flags: int, payload: bytes, *, ack: int = 0
) -> bytes:
    """A TCP segment for an IPv4 packet (RFC 9293 section 3.1)."""
    head = struct.pack("!HHIIBBHHH", *ports, sequence, ack, 5 << 4, flags, 1024, 0, 0)
    pseudo = socket.inet_aton(src) + socket.inet_aton(dst) + struct.pack("!HH", 6, len(head) + len(payload))
    return head[:16] + struct.pack("!H", _checksum(pseudo + head + payload)) + head[18:] + payload


def icmp(type: int, code: int, body: bytes) -> bytes:
    """An ICMP message for an IPv4 packet (RFC 792); `body` is what follows its checksum."""
    head = bytes((type, code))
    return head + struct.pack("!H", _checksum(head + bytes(2) + body)) + body


def sctp(src_port: int, dst_port: int, payload: bytes) -> bytes:
    """An SCTP packet with an INIT chunk (RFC 9260 section 3.3.2), which ends in a parameter with the payload."""
    parameter = struct.pack("!HH", 0x8001, 4 + len(payload)) + payload.ljust(-(-len(payload) // 4) * 4, b"\0")
    chunk = struct.pack("!BBHIIHHI", 1, 0, 20 + len(parameter), 1, 65536, 1, 1, 1) + parameter
    head = struct.pack("!HHI", src_port, dst_port, 0)
    return head + struct.pack("<I", _crc32c(head + bytes(4) + chunk)) + chunk


def _crc32c(data: bytes) -> int:
    """The checksum of SCTP (RFC 9260 appendix A)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def _ipv6(
    macs: tuple[str, str], src: str, dst: str, protocol: int, head: bytes, body: bytes, *, hops: int, first: bytes = b""
) -> bytes:
    """A frame with an IPv6 packet (RFC 8200); `head` ends where the checksum of its upper layer is put.

    `first` are extension headers, the first of which is the hop-by-hop one.
    """
    pair = socket.inet_pton(socket.AF_INET6, src) + socket.inet_pton(socket.AF_INET6, dst)
    pseudo = pair + struct.pack("!II", len(head) + 2 + len(body), protocol)
    upper = head + struct.pack("!H", _checksum(pseudo + head + bytes(2) + body) or 0xFFFF) + body
    fixed = struct.pack("!IHBB", 6 << 28, len(first) + len(upper), 0 if first else protocol, hops)
    return ethernet(*macs, IPV6, fixed + pair + first + upper)


def udp6(
    dst_mac: str,
    src_mac: str,
    src: str,
    dst: str,
    port: int,
    payload: bytes,
    *,
    from_port: int | None = None,
    hops: int = 64,
) -> bytes:
    """A UDP datagram over IPv6, from the same port unless another is given."""
    head = struct.pack("!HHH", port if from_port is None else from_port, port, 8 + len(payload))
    return _ipv6((dst_mac, src_mac), src, dst, _UDP, head, payload, hops=hops)


def tcp6(
    dst_mac: str,
    src_mac: str,
    src: str,
    dst: str,
    ports: tuple[int, int],
    sequence: int,
    flags: int,
    payload: bytes,
    *,
    ack: int = 0,
    hops: int = 64,
) -> bytes:
    """A TCP segment over IPv6."""
    head = struct.pack("!HHIIBBH", *ports, sequence, ack, 5 << 4, flags, 1024)
    return _ipv6((dst_mac, src_mac), src, dst, _TCP, head, bytes(2) + payload, hops=hops)


def icmpv6(dst_mac: str, src_mac: str, src: str, dst: str, type: int, body: bytes, *, hops: int = 255) -> bytes:
    """An ICMPv6 message (RFC 4443); `body` is what follows its checksum."""
    return _ipv6((dst_mac, src_mac), src, dst, _ICMPV6, bytes((type, 0)), body, hops=hops)


def _nd_option(type: int, data: bytes) -> bytes:
    size = -(-(len(data) + 2) // 8)
    return (bytes((type, size)) + data).ljust(8 * size, b"\0")


def nd_mark(mark: bytes) -> bytes:
    """A mark as an option of neighbour discovery that every host ignores (RFC 4727, experiment 1)."""
    return _nd_option(253, mark)


def solicitation(src_mac: str, src: str, target: str, mark: bytes, told: str = "") -> bytes:
    """Asks all that may hold an address who does (RFC 4861 section 4.3); from `::`, whether anybody does.

    It tells the link-layer address that it comes from, or another one if `told` is given.
    """
    packed = socket.inet_pton(socket.AF_INET6, target)
    group = socket.inet_ntop(socket.AF_INET6, bytes.fromhex("ff02" + "00" * 9 + "01ff") + packed[-3:])
    option = b"" if src == "::" and not told else _nd_option(1, _mac(told or src_mac))
    body = bytes(4) + packed + (option or _nd_option(14, token()[:6])) + nd_mark(mark)  # 14: a nonce (RFC 7527)
    return icmpv6(f"33:33:ff:{_mac_text(packed[-3:])}", src_mac, src, group, SOLICITATION, body)


def advertisement(
    dst_mac: str, src_mac: str, dst: str, target: str, mark: bytes, *, src: str = "", told: str = ""
) -> bytes:
    """Says that a MAC, `src_mac` unless `told` is given, holds an address (RFC 4861 section 4.4), whoever asked.

    It comes from that address, unless `src` is given.
    """
    packed = socket.inet_pton(socket.AF_INET6, target)
    body = struct.pack("!I", 0x20000000) + packed + _nd_option(2, _mac(told or src_mac)) + nd_mark(mark)
    return icmpv6(dst_mac, src_mac, src or target, dst, ADVERTISEMENT, body)


def mld_report(src_mac: str, src: str, mark: bytes) -> bytes:
    """A report that somebody listens to a group (RFC 3810 section 5.2), with the mark as auxiliary data."""
    record = struct.pack("!BBH", 4, len(mark) // 4, 0) + socket.inet_pton(socket.AF_INET6, "ff02::fb") + mark
    alert = bytes((_ICMPV6, 0, 5, 2, 0, 0, 1, 0))  # hop by hop: router alert, MLD (RFC 2711)
    macs = ("33:33:00:00:00:16", src_mac)
    return _ipv6(
        macs, src, "ff02::16", _ICMPV6, bytes((143, 0)), struct.pack("!HH", 0, 1) + record, hops=1, first=alert
    )


def vxlan(vni: int, frame: bytes) -> bytes:
    """A frame as VXLAN carries it over UDP (RFC 7348 section 5)."""
    return b"\x08\0\0\0" + vni.to_bytes(3, "big") + b"\0" + frame
