"""What travels in a lab: frames to send, captures that miss nothing, pings that are counted.

A capture is a packet socket (packet(7)) inside the namespace of the place it listens at. It listens from the moment
it is bound, the kernel queues every frame that *arrives* there (what the place itself sends is not heard), and it
says so when it had to drop one. On the underlay, tunnelled frames are unwrapped: a tenant's frame looks alike
wherever it is heard, and `vni` tells that it was on the wire.

Filters are those of tcpdump, applied to what is on the interface (on the underlay: the outer frame).
"""

from __future__ import annotations

import ctypes
import functools
import ipaddress
import itertools
import os
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from mininet_scenarios.errors import Deaf, Late
from mininet_scenarios.processes import inside, run, wait_until

BROADCAST = "ff:ff:ff:ff:ff:ff"
ARP, IPV4, IPV6, VLAN = 0x0806, 0x0800, 0x86DD, 0x8100
EXPERIMENTAL = 0x88B5  # IEEE 802, local experimental ethertype 1
REQUEST, REPLY = 1, 2
SOLICITATION, ADVERTISEMENT = 135, 136
ALL_NODES, ALL_NODES_MAC = "ff02::1", "33:33:00:00:00:01"
_TCP, _UDP, _GRE, _FRAGMENT, _ICMPV6, _OPTIONS = 6, 17, 47, 44, 58, 60
_PADDING = bytes((1, 6, 0, 0, 0, 0, 0, 0))
_MORE_FRAGMENTS = 1 << 13
_HALF = 1256
_TUNNEL_PORTS = {4789: "vxlan", 6081: "geneve"}
_TRANSPARENT_ETHERNET = 0x6558  # RFC 1701: an Ethernet frame in GRE

# linux/if_packet.h and asm-generic/socket.h, where the socket module has no name for it
_SOL_PACKET, _PACKET_STATISTICS, _PACKET_AUXDATA, _PACKET_IGNORE_OUTGOING = 263, 6, 8, 23
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 26, 33, 35
_ETH_P_ALL = 3
_SOL_RAW, _ICMP_FILTER, _ICMP6_FILTER = 255, 1, 1  # linux/icmp.h, linux/icmpv6.h: the types that are not heard
_ECHO, _ECHO_REPLY, _ECHO6, _ECHO_REPLY6 = 8, 0, 128, 129
_PING_BYTES, _PING_WAKES_S = 56, 0.05
_PING_FIRST_S = 0.02  # as long as ping(8) takes to begin: what a switch has acknowledged, its caches follow by then
_PING_IDS = itertools.count(os.getpid())
_VLAN_VALID = 1 << 4
_BUFFER_BYTES = 16 << 20


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
    macs, id = (_mac_text(frame[:6]), _mac_text(frame[6:12])), int.from_bytes(os.urandom(2)) if id is None else id
    if frame[12:14] == IPV4.to_bytes(2, "big"):
        src, dst, body = socket.inet_ntoa(frame[26:30]), socket.inet_ntoa(frame[30:34]), frame[34:]
        first = ipv4(macs, src, dst, frame[23], body[:_HALF], ident=id, fragment=_MORE_FRAGMENTS)
        return first, ipv4(macs, src, dst, frame[23], body[_HALF:], ident=id, fragment=_HALF // 8)
    body = frame[54:]

    def fragment(part: bytes, place: int) -> bytes:
        head = frame[14:18] + struct.pack("!HBB", 8 + len(part), _FRAGMENT, frame[21]) + frame[22:54]
        return ethernet(*macs, IPV6, head + struct.pack("!BxHI", frame[20], place, id) + part)

    return fragment(body[:_HALF], 1), fragment(body[_HALF:], _HALF)


def hidden(frame: bytes, *, cut: bool = False) -> tuple[bytes, bytes]:
    """An IPv6 packet without extension headers in two fragments, the first of which is full of options (RFC 7112).

    What the packet is stands in the second; so does the end of the options if they are `cut`.
    """
    macs, id, body = (_mac_text(frame[:6]), _mac_text(frame[6:12])), os.urandom(4), frame[54:]
    options = bytes((frame[20], _HALF // 8 - 1 + cut)) + _PADDING * (_HALF // 8 - 1) + bytes((1, 4, 0, 0, 0, 0))

    def fragment(part: bytes, place: int) -> bytes:
        head = frame[14:18] + struct.pack("!HBB", 8 + len(part), _FRAGMENT, frame[21]) + frame[22:54]
        return ethernet(*macs, IPV6, head + struct.pack("!BxH", _OPTIONS, place) + id + part)

    return fragment(options, 1), fragment(_PADDING * cut + body, _HALF)


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


@dataclass(frozen=True, slots=True)
class Arp:
    """What an ARP frame says."""

    op: int
    sender_mac: str
    sender_ip: str
    target_mac: str
    target_ip: str


@dataclass(frozen=True, slots=True)
class Nd:
    """What a neighbour solicitation or advertisement says."""

    type: int
    src: str
    dst: str
    target: str


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as it was heard; when it was in a tunnel, `vni` is its segment and `outer` what was on the wire."""

    raw: bytes
    at: float = 0.0
    tunnel: str | None = None
    vni: int | None = None
    outer: bytes = b""

    @property
    def dst(self) -> str:
        """Destination MAC."""
        return _mac_text(self.raw[:6])

    @property
    def src(self) -> str:
        """Source MAC."""
        return _mac_text(self.raw[6:12])

    @property
    def ethertype(self) -> int:
        """Ethertype; that of the tag when the frame is tagged."""
        return int.from_bytes(self.raw[12:14], "big")

    @property
    def vlan(self) -> int | None:
        """The VLAN of its tag; None when it has none."""
        return int.from_bytes(self.raw[14:16], "big") & 0xFFF if self.ethertype == VLAN else None

    @property
    def untagged(self) -> Frame:
        """The frame without its tag."""
        return replace(self, raw=self.raw[:12] + self.raw[16:]) if self.ethertype == VLAN else self

    @property
    def arp(self) -> Arp | None:
        """The frame read as ARP, tagged or not, if it is."""
        frame = self.untagged
        body = frame.raw[14:42]
        if frame.ethertype != ARP or len(body) < 28:
            return None
        op, mac, ip, target_mac, target_ip = struct.unpack("!6xH6s4s6s4s", body)
        return Arp(op, _mac_text(mac), socket.inet_ntoa(ip), _mac_text(target_mac), socket.inet_ntoa(target_ip))

    @property
    def nd(self) -> Nd | None:
        """The frame read as a neighbour solicitation or advertisement, if it is one."""
        frame = self.untagged
        raw = frame.raw
        if frame.ethertype != IPV6 or len(raw) < 78 or raw[20] != _ICMPV6:
            return None
        if raw[54] not in (SOLICITATION, ADVERTISEMENT):
            return None
        src, dst, target = (socket.inet_ntop(socket.AF_INET6, raw[at : at + 16]) for at in (22, 38, 62))
        return Nd(raw[54], src, dst, target)

    def unwrapped(self) -> Frame:
        """The frame inside, if this one is VXLAN (RFC 7348), Geneve (RFC 8926) or GRE (RFC 2890); else itself."""
        raw = self.raw
        if self.ethertype == IPV4 and len(raw) >= 34:
            protocol, start = raw[23], 14 + (raw[14] & 0xF) * 4
        elif self.ethertype == IPV6 and len(raw) >= 54:
            protocol, start = raw[20], 54
        else:
            return self
        return self._from_udp(start) if protocol == _UDP else self._from_gre(start) if protocol == _GRE else self

    def _from_udp(self, start: int) -> Frame:
        raw, header = self.raw, start + 8
        tunnel = _TUNNEL_PORTS.get(int.from_bytes(raw[start + 2 : start + 4], "big"))
        if tunnel is None or len(raw) < header + 8 + 14:
            return self
        options = (raw[header] & 0x3F) * 4 if tunnel == "geneve" else 0
        vni = int.from_bytes(raw[header + 4 : header + 7], "big")
        return Frame(raw[header + 8 + options :], self.at, tunnel, vni, raw)

    def _from_gre(self, start: int) -> Frame:
        raw = self.raw
        if len(raw) < start + 8 + 14 or struct.unpack_from("!HH", raw, start) != (0x2000, _TRANSPARENT_ETHERNET):
            return self  # anything but a key alone, and an Ethernet frame
        return Frame(raw[start + 8 :], self.at, "gre", int.from_bytes(raw[start + 4 : start + 8], "big"), raw)

    def __str__(self) -> str:
        where = "" if self.tunnel is None else f"{self.tunnel} {self.vni} "
        ask = self.arp
        if ask is None:
            what = f"ethertype 0x{self.ethertype:04x} {self.raw[14:50].hex()}"
        else:
            kind = "request" if ask.op == REQUEST else "reply"
            what = f"arp {kind} {ask.sender_ip} ({ask.sender_mac}) -> {ask.target_ip}"
        return f"{where}{self.src} > {self.dst} {what} ({len(self.raw)} bytes)"


class Sender(Protocol):
    """Whoever sends from a MAC of its own."""

    mac: str


Test = bytes | Callable[[Frame], object]


def asks_for(address: str) -> Callable[[Frame], bool]:
    """A test for ARP requests that ask for an address."""
    return lambda frame: (ask := frame.arp) is not None and ask.op == REQUEST and ask.target_ip == address


def answers_for(address: str) -> Callable[[Frame], bool]:
    """A test for ARP replies that claim an address."""
    return lambda frame: (ask := frame.arp) is not None and ask.op == REPLY and ask.sender_ip == address


def solicits(target: str) -> Callable[[Frame], bool]:
    """A test for neighbour solicitations that ask for an address."""
    return lambda frame: (ask := frame.nd) is not None and (ask.type, ask.target) == (SOLICITATION, target)


def advertises(target: str) -> Callable[[Frame], bool]:
    """A test for neighbour advertisements that claim an address."""
    return lambda frame: (ask := frame.nd) is not None and (ask.type, ask.target) == (ADVERTISEMENT, target)


def sent_by(*guests: Sender) -> Callable[[Frame], bool]:
    """A test for IP packets of these guests to one receiver: not ARP, nor what a kernel tells all by itself."""
    macs = {guest.mac for guest in guests}
    return lambda frame: frame.src in macs and frame.ethertype in (IPV4, IPV6) and not frame.raw[0] & 1


def within(cidr: str) -> Callable[[Frame], bool]:
    """A test for ARP of any kind about addresses of a subnet."""
    subnet = ipaddress.ip_network(cidr)
    return lambda frame: (ask := frame.arp) is not None and ipaddress.ip_address(ask.target_ip) in subnet


@dataclass(slots=True)
class Heard:
    """What each place of a capture heard; complete when the capture's block has ended."""

    by_place: dict[str, list[Frame]] = field(default_factory=dict)

    def at(self, place: object) -> list[Frame]:
        """The frames that one place heard, oldest first."""
        return self.by_place[str(place)]

    @property
    def frames(self) -> list[Frame]:
        """Every frame that any place heard."""
        return [frame for frames in self.by_place.values() for frame in frames]

    def copies(self, test: Test) -> dict[str, int]:
        """How many frames each place heard that carry these bytes, or pass this test; silent places are left out.

        `heard.copies(mark) == {"vm2": 1, "underlay": 1}` says: one copy each at vm2 and on the wire, none elsewhere.
        """
        passes = (lambda frame: test in frame.raw) if isinstance(test, bytes) else test
        counts = Counter(place for place, frames in self.by_place.items() for frame in frames if passes(frame))
        return dict(counts)

    def __str__(self) -> str:
        return "\n".join(f"{place}: {frame}" for place, frames in self.by_place.items() for frame in frames)


@functools.cache
def _compiled(expression: str) -> bytes:
    """A tcpdump expression as the kernel's own filter program (struct sock_filter[])."""
    lines = run("tcpdump", "-y", "EN10MB", "-ddd", expression).split("\n")[1:]
    return b"".join(struct.pack("HBBI", *map(int, line.split())) for line in lines if line.strip())


class Ear:
    """A capture at one place: interfaces of the network namespace of process `pid`."""

    def __init__(self, place: str, pid: int, interfaces: Sequence[str], expression: str = "") -> None:
        self.place = place
        self._sockets: list[socket.socket] = []
        try:
            with inside(pid):
                for interface in interfaces:
                    self._sockets.append(self._open(interface, expression))
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _open(interface: str, expression: str) -> socket.socket:
        # Protocol 0 hears nothing; bind() starts the capture, when all is set up.
        ear = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        ear.setblocking(False)
        ear.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        ear.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        ear.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        ear.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        if expression:
            program = _compiled(expression)
            code = ctypes.create_string_buffer(program, len(program))
            fprog = struct.pack("HP", len(program) // 8, ctypes.addressof(code))
            ear.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)
        ear.bind((interface, _ETH_P_ALL))
        return ear

    def frames(self) -> list[Frame]:
        """Everything heard since the last call, unwrapped; raises Deaf when the kernel dropped a frame."""
        heard = [frame.unwrapped() for ear in self._sockets for frame in self._read(ear)]
        return sorted(heard, key=lambda frame: frame.at)

    def _read(self, ear: socket.socket) -> Iterator[Frame]:
        while True:
            try:
                raw, ancillary, _flags, _address = ear.recvmsg(65536, 512)
            except BlockingIOError:
                break
            at, tag = 0.0, b""
            for level, kind, data in ancillary:
                if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
                    seconds, nanoseconds = struct.unpack("ll", data)
                    at = seconds + nanoseconds / 1e9
                elif level == _SOL_PACKET and kind == _PACKET_AUXDATA:
                    # struct tpacket_auxdata: the kernel takes an 802.1Q tag out of the frame
                    status, _, _, _, _, tci, tpid = struct.unpack("IIIHHHH", data)
                    tag = struct.pack("!HH", tpid or VLAN, tci) if status & _VLAN_VALID else b""
            yield Frame(raw[:12] + tag + raw[12:], at)
        _packets, lost = struct.unpack("II", ear.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        if lost:
            raise Deaf(self.place, lost)

    def close(self) -> None:
        """Stop listening."""
        for ear in self._sockets:
            _close(ear)


def _close(packets: socket.socket) -> None:
    """Close a packet socket, beside all else: the kernel takes some 15 ms for it (`packet_release` of net/packet)."""
    threading.Thread(target=packets.close, name="closing").start()


@contextmanager
def _out_of(pid: int, interface: str) -> Iterator[socket.socket]:
    """What sends frames out of an interface of the network namespace of process `pid`."""
    with inside(pid):
        out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    try:
        out.bind((interface, 0))
        yield out
    finally:
        _close(out)


def send(pid: int, interface: str, frames: Sequence[bytes]) -> None:
    """Send frames, as they are, out of an interface of the network namespace of process `pid`."""
    with _out_of(pid, interface) as out:
        for frame in frames:
            out.send(frame)


def sweep(pid: int, interface: str, datagram: bytes, ports: Iterable[int]) -> None:
    """Send a UDP datagram over IPv4 once from each of these ports, without checksum, at most 64 in a millisecond."""
    frame = bytearray(datagram)
    frame[40:42] = bytes(2)
    with _out_of(pid, interface) as out:
        for number, port in enumerate(ports):
            frame[34:36] = port.to_bytes(2)
            out.send(frame)
            if number % 64 == 63:
                time.sleep(0.001)


@dataclass(frozen=True, slots=True)
class Replies:
    """The outcome of a run of pings; `at` has the time of each answered sequence number."""

    sent: int
    lost: int
    duplicates: int
    at: dict[int, float]

    @property
    def received(self) -> int:
        """How many replies came, duplicates included."""
        return len(self.at) + self.duplicates

    def between(self, start: float, end: float) -> int:
        """How many were answered between two times (seconds since the epoch)."""
        return sum(start <= at <= end for at in self.at.values())


class Ping:
    """Echo requests that a thread sends and counts, from the network namespace of process `pid`, or a `source` there.

    Each is waited for alike, for `patience_s`: ping(8) gives the last of several only 50 ms, or twice as long as an
    earlier one took (`schedule_exit` of iputils' ping_common.c), and, when it is stopped, nothing to those in the air.
    """

    def __init__(
        self,
        pid: int,
        target: str,
        *,
        count: int | None = None,
        interval_s: float = 0.05,
        patience_s: float = 1.0,
        mark: bytes = b"",
        source: str = "",
    ) -> None:
        self.target, self.count = target, count
        self._interval_s, self._patience_s = interval_s, patience_s
        self._id, self._data = next(_PING_IDS) & 0xFFFF, ((mark or token()) * _PING_BYTES)[:_PING_BYTES]
        self._sent: list[float] = []
        self._at: dict[int, float] = {}
        self._duplicates = 0
        self._failure: BaseException | None = None
        self._over = threading.Event()
        self._sending = True
        self._family: socket.AddressFamily
        self._peer: tuple[Any, ...]
        with inside(pid):
            (self._family, _, _, _, self._peer), *_ = socket.getaddrinfo(target, 1025, type=socket.SOCK_DGRAM)
            with socket.socket(self._family, socket.SOCK_DGRAM) as probe:
                probe.connect(self._peer)  # fails at once if there is no way
            self._socket = self._open()
            if source:
                self._socket.bind((source, 0))
        self._thread = threading.Thread(target=self._run, name=f"ping {target}", daemon=True)
        self._thread.start()

    def _open(self) -> socket.socket:
        """A raw socket that hears echo replies, in the private namespace of the caller."""
        if self._family == socket.AF_INET6:
            own = socket.socket(self._family, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
            blocked = [0xFFFFFFFF] * 8
            blocked[_ECHO_REPLY6 >> 5] ^= 1 << (_ECHO_REPLY6 & 31)
            own.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("8I", *blocked))
        else:
            own = socket.socket(self._family, socket.SOCK_RAW, socket.IPPROTO_ICMP)
            own.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("I", 0xFFFFFFFF ^ 1 << _ECHO_REPLY))
        own.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        own.setblocking(False)
        return own

    def wait(self) -> Replies:
        """Wait until the last of `count` pings is answered, or is lost."""
        return self._end(10 + self._patience_s + self._interval_s * (self.count or 0))

    def stop(self) -> Replies:
        """Send no more, and wait for what is in the air."""
        self._sending = False
        return self._end(10 + self._patience_s)

    def abandon(self) -> None:
        """End it, if it still runs; nobody wants its outcome."""
        self._over.set()
        self._thread.join()

    def first_reply(self, timeout_s: float) -> float:
        """Wait for the first reply and return its time (seconds since the epoch)."""
        wait_until(f"A reply from {self.target}", lambda: "" if self._at else "none so far", timeout_s, 0.002)
        return min([*self._at.values()])

    def _end(self, timeout_s: float) -> Replies:
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            raise Late(f"The end of the pings to {self.target}", timeout_s, f"{len(self._sent)} were sent")
        if self._failure is not None:
            raise self._failure
        return Replies(len(self._sent), len(self._sent) - len(self._at), self._duplicates, dict(self._at))

    def _run(self) -> None:
        try:
            with self._socket:
                self._send_and_hear()
        except BaseException as error:  # for the thread that waits
            self._failure = error

    def _send_and_hear(self) -> None:
        due = time.monotonic() + _PING_FIRST_S
        while not self._over.is_set():
            now = time.monotonic()
            if self._sending and now >= due:
                self._send(now)
                due = max(due + self._interval_s, now)
                if len(self._sent) == self.count:
                    self._sending = False
            left = (due if self._sending else self._given_up()) - time.monotonic()
            if left < 0 and not self._sending:
                return
            if select.select([self._socket], [], [], min(max(left, 0.0), _PING_WAKES_S))[0]:
                self._hear()

    def _given_up(self) -> float:
        """When the last that is not answered is lost, by the monotonic clock; 0 if all are answered."""
        unanswered = (number for number in range(len(self._sent), 0, -1) if number not in self._at)
        number = next(unanswered, 0)
        return self._sent[number - 1] + self._patience_s if number else 0.0

    def _send(self, now: float) -> None:
        self._sent.append(now)
        request = struct.pack("!HH", self._id, len(self._sent) & 0xFFFF) + self._data
        six = self._family == socket.AF_INET6  # the kernel puts in that checksum
        message = bytes((_ECHO6, 0, 0, 0)) + request if six else icmp(_ECHO, 0, request)
        with suppress(OSError):  # what the sender's own kernel refuses is lost
            self._socket.sendto(message, (*self._peer[:1], 0, *self._peer[2:]))

    def _hear(self) -> None:
        while True:
            try:
                raw, ancillary, _flags, peer = self._socket.recvmsg(65536, 64)
            except BlockingIOError:
                return
            message = raw if self._family == socket.AF_INET6 else raw[(raw[0] & 0xF) * 4 :]
            id, low = struct.unpack_from("!HH", message, 4)
            if id != self._id or peer[0].partition("%")[0] != self._peer[0].partition("%")[0]:
                continue
            number = len(self._sent) - (len(self._sent) - low & 0xFFFF)
            if number in self._at:
                self._duplicates += 1
            elif message[8:] == self._data:
                seconds, nanoseconds = struct.unpack("ll", ancillary[0][2])
                self._at[number] = seconds + nanoseconds / 1e9
