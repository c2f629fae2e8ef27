"""What is heard in a lab: captures that miss nothing, and the frames in them; and frames that are sent.

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
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

from mininet_scenarios.errors import Deaf
from mininet_scenarios.frames import ADVERTISEMENT, ARP, IPV4, IPV6, REPLY, REQUEST, SOLICITATION, VLAN
from mininet_scenarios.processes import inside, run

_TUNNEL_PORTS = {4789: "vxlan", 6081: "geneve"}
_GRE, _TRANSPARENT_ETHERNET = 47, 0x6558  # RFC 1701: an Ethernet frame in GRE

# linux/if_packet.h and asm-generic/socket.h, where the socket module has no name for it
_SOL_PACKET, _PACKET_STATISTICS, _PACKET_AUXDATA, _PACKET_IGNORE_OUTGOING = 263, 6, 8, 23
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE, SO_TIMESTAMPNS = 26, 33, 35
_ETH_P_ALL = 3
_VLAN_VALID = 1 << 4
_BUFFER_BYTES = 16 << 20


def _mac_text(raw: bytes) -> str:
    return raw.hex(":")


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
        if frame.ethertype != IPV6 or len(raw) < 78 or raw[20] != socket.IPPROTO_ICMPV6:
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
        if protocol == socket.IPPROTO_UDP:
            return self._from_udp(start)
        return self._from_gre(start) if protocol == _GRE else self

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
    """A test for IP packets of these guests to one receiver: not ARP, nor what a kernel tells or asks by itself."""
    macs = {guest.mac for guest in guests}
    types = (IPV4, IPV6)
    return lambda frame: frame.src in macs and frame.ethertype in types and not frame.raw[0] & 1 and frame.nd is None


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
        ear.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
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
                if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
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
