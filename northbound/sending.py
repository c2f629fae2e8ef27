"""What a guest, or a host of a physical network, would send: the first packet of a connection, for `weft trace`.

A guest sends what is for its own subnets, and what is link-local, straight to the receiver, everything else to its
subnet's gateway; the MAC for that it asks for by ARP or neighbour discovery. Limits: other routes that a guest may have
been given are not known; it has its own MAC, and no state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import chain
from typing import Any, Final

from controller.errors import Ambiguous, Invalid, MissingAttribute, NotFound, UnknownAttributes, Unplugged
from controller.flows import fields as f
from controller.flows.fields import (
    BROADCAST,
    HOP_LIMIT,
    ICMP4,
    ICMP6,
    PACKET4,
    PACKET6,
    SCTP,
    TCP,
    TTL,
    UDP,
    link_local,
)
from controller.flows.match import Match
from controller.flows.packet import Packet, packet
from controller.model import protocols
from controller.model.addresses import address_of, block
from controller.model.bindings import Unplaced, place
from controller.model.records import Address, FixedIp, Link, Mac, Network, Port, Subnet
from controller.model.store import Rows

EPHEMERAL: Final = 49152
"""The source port, if none is asked about: the first that nobody is assigned (RFC 6335 section 6)."""
ECHO: Final[Mapping[int, int]] = {ICMP4: 8, ICMP6: 128}
"""The type of ICMP, if none is asked about: an echo request, by protocol."""
HOPS: Final = 64
ETHERNET_BYTES: Final = 14
"""How much longer a frame is than its packet."""
_WITH_PORTS: Final = frozenset({TCP, UDP, SCTP})
_LIMITS: Final[Mapping[str, int]] = {
    "sport": 65535,
    "dport": 65535,
    "type": 255,
    "code": 255,
    "ttl": 255,
    "size": 65535,
}


# ---- what is asked --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One packet: `sender` is a port, by id or name, or the address of a physical network's host, `target` an address
    or a port; None is what is usual.

    `source` is the address that the packet bears, which need not be the sender's; `size` is in bytes, of all of the IP
    packet.
    """

    sender: str
    target: str
    proto: str = "icmp"
    source: str | None = None
    sport: int | None = None
    dport: int | None = None
    type: int | None = None
    code: int | None = None
    ttl: int | None = None
    size: int = 0


NAMES: Final[Mapping[str, str]] = {"from": "sender", "to": "target"} | {
    field.name: field.name for field in fields(Question) if field.name not in ("sender", "target")
}
"""What the parts of a question are called where it is asked."""


def question(asked: Mapping[str, object]) -> Question:
    """A question as `/v1/trace` takes it. Raises BadRequest."""
    unknown = tuple(sorted(asked.keys() - NAMES.keys()))
    if unknown:
        raise UnknownAttributes(unknown)
    given = {name: value for name, value in asked.items() if value is not None}
    for name in ("from", "to"):
        if name not in given:
            raise MissingAttribute(name)
    for name, value in given.items():
        _check(name, value)
    parts: dict[str, Any] = {NAMES[name]: value for name, value in given.items()}
    return Question(**parts)


def _check(name: str, value: object) -> None:
    limit = _LIMITS.get(name)
    if limit is None and (not isinstance(value, str) or not value):
        raise Invalid(name, f"{value!r} is no name, id, protocol or address")
    if limit is not None and (type(value) is not int or not 0 <= value <= limit):
        raise Invalid(name, f"{value!r} is no number from 0 to {limit}")


# ---- who sends to whom ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sender:
    """A port that is plugged in, and the OpenFlow port of its hypervisor by which its packets come."""

    port: Port
    chassis: str
    ofport: int


@dataclass(frozen=True, slots=True)
class Outsider:
    """A host of a physical network, on the wire of one of the networks there."""

    network: Network
    physical: str
    address: Address

    @property
    def tag(self) -> Match:
        """How its frames are tagged."""
        vlan = self.network.segmentation_id
        return f.UNTAGGED if vlan is None else f.VLAN_ID(vlan)


SOMEBODY: Final = Mac("02:00:00:ff:ff:fe")
"""Stands for the MAC of a physical host that was never heard of."""


@dataclass(frozen=True, slots=True)
class Way:
    """From which address to which a packet goes, and by which neighbour: None when the sender has no gateway.

    `asker` is the address that asks for that neighbour's MAC.
    """

    source: Address
    target: Address
    neighbour: Address | None
    asker: Address


def sender_of(rows: Rows, said: str) -> Sender:
    """The port that sends. Raises NotFound, Ambiguous, Unplugged."""
    port = find_port(rows, said)
    placed = place(rows, port)
    if isinstance(placed, Unplaced):
        raise Unplugged(said, placed.reason)
    link = rows.get(Link, f"{placed.chassis}/{placed.interface}")
    if link is None:
        raise Unplugged(said, f"the switch of {placed.chassis} has not shown its interface {placed.interface} yet")
    return Sender(port, placed.chassis, link.ofport)


def check_size(rows: Rows, port: Port, asked: Question) -> None:
    """A guest knows the MTU of its network. Raises Invalid."""
    network = rows.get(Network, port.network_id)
    if network is not None:
        check_mtu(network, asked)


def check_mtu(network: Network, asked: Question) -> None:
    """The same, of whoever is on that network. Raises Invalid."""
    if asked.size > network.mtu:
        raise Invalid("size", f"packets of network {network.id} have {network.mtu} bytes at most")


def find_port(rows: Rows, said: str) -> Port:
    """A port by its id, or by a name that only it has. Raises NotFound, Ambiguous."""
    found = rows.get(Port, said)
    if found is not None:
        return found
    named = rows.where(Port, name=said)
    if len(named) > 1:
        raise Ambiguous("Port", said, tuple(port.id for port in named))
    if not named:
        raise NotFound("Port", said)
    return named[0]


def way_of(rows: Rows, port: Port, asked: Question) -> Way:
    """How a port's packet begins. Raises Invalid, NotFound, Ambiguous."""
    target = target_of(rows, port, asked.target)
    if target in {fixed.ip_address for fixed in port.fixed_ips}:
        raise Invalid("to", f"{target} is an address of the sender, too: what is for that does not leave it")
    version = 6 if ":" in target else 4
    source = source_of(asked, version)
    if version == 6 and ip_address(target).is_link_local:
        own = link_local(port.mac_address)
        return Way(source or own, target, target, own)
    home = _home(rows, port, target)
    if home is None:
        if source is None:
            raise Invalid("from", f"port {asked.sender} has no IPv{version} address")
        return Way(source, target, None, source)
    fixed, subnet = home
    if _is_broadcast(target, subnet):
        raise Invalid("to", f"{target} is all of subnet {subnet.cidr}, not the address of one receiver")
    neighbour = target if _is_in(target, subnet) else subnet.gateway_ip
    return Way(source or fixed.ip_address, target, neighbour, fixed.ip_address)


def _home(rows: Rows, port: Port, target: Address) -> tuple[FixedIp, Subnet] | None:
    """The address that a port sends from, with its subnet: that of the target, else one that has a gateway."""
    homes = [*_homes(rows, port, 6 if ":" in target else 4)]
    local = (home for home in homes if _is_in(target, home[1]))
    routed = (home for home in homes if home[1].gateway_ip is not None)
    return next(chain(local, routed, homes), None)


def _homes(rows: Rows, port: Port, version: int) -> Iterator[tuple[FixedIp, Subnet]]:
    """The port's addresses of an IP version, each with its subnet."""
    for fixed in port.fixed_ips:
        subnet = rows.get(Subnet, fixed.subnet_id)
        if subnet is not None and subnet.ip_version == version:
            yield fixed, subnet


def _is_in(address: Address, subnet: Subnet) -> bool:
    ip = ip_address(address)
    return block(subnet.cidr).holds(ip.version, int(ip))


def _is_broadcast(address: Address, subnet: Subnet) -> bool:
    """A subnet of one or two addresses has none for all (RFC 3021)."""
    net = block(subnet.cidr)
    return net.version == 4 and net.prefix < 31 and int(ip_address(address)) == net.last


def target_of(rows: Rows, port: Port, said: str) -> Address:
    """The address that is meant: itself, or a port's first one of an IP version that the sender has, too."""
    if parsed(said) is not None:
        return one_receiver("to", said)
    versions = {":" in fixed.ip_address for fixed in port.fixed_ips}
    for fixed in find_port(rows, said).fixed_ips:
        if (":" in fixed.ip_address) in versions:
            return fixed.ip_address
    raise Invalid("to", f"port {said} has no address of an IP version that the sender has, too")


def one_receiver(name: str, said: str) -> Address:
    """The address of one interface. Raises Invalid."""
    ip = parsed(said)
    if ip is None or ip.is_multicast or ip.is_unspecified or ip.is_loopback or str(ip) == "255.255.255.255":
        raise Invalid(name, f"{said} is not the address of one receiver")
    return address_of(ip.version, int(ip))


def parsed(said: str) -> IPv4Address | IPv6Address | None:
    """The address, if it is one."""
    try:
        return ip_address(said)
    except ValueError:
        return None


def source_of(asked: Question, version: int) -> Address | None:
    """The address that was asked for. Raises Invalid."""
    if asked.source is None:
        return None
    ip = parsed(asked.source)
    if ip is None or ip.version != version:
        raise Invalid("source", f"{asked.source} is no IPv{version} address")
    return address_of(version, int(ip))


# ---- packets --------------------------------------------------------------------------------------------------


def begun(sender: Sender | Outsider) -> tuple[Match, ...]:
    """How whatever it sends comes: from its interface, or with its network's tag, and from its MAC."""
    if isinstance(sender, Outsider):
        return (sender.tag, f.ETH_SRC(SOMEBODY))
    return (f.IN_PORT(sender.ofport), f.ETH_SRC(sender.port.mac_address))


def request(sender: Sender | Outsider, way: Way, neighbour: Address) -> Packet:
    """The ARP request, or the solicitation (RFC 4861 section 7.2.2), for a neighbour's MAC."""
    mac = SOMEBODY if isinstance(sender, Outsider) else sender.port.mac_address
    came = begun(sender)
    if ":" not in neighbour:
        who = (f.ARP_SHA(mac), f.ARP_SPA(way.asker), f.ARP_TPA(neighbour))
        return packet(*came, f.ETH_DST(BROADCAST), f.ARP_REQUEST, *who)
    low = f.ipv6_number(neighbour) & 0xFFFFFF
    group = address_of(6, 0xFF02_0000_0000_0000_0000_0001_FF00_0000 | low)
    heard = (f.ETH_DST(Mac(f"33:33:ff:{low >> 16:02x}:{low >> 8 & 255:02x}:{low & 255:02x}")), f.IPV6_DST(group))
    who = (f.IPV6_SRC(way.asker), f.ND_TARGET(neighbour), f.ND_SLL(mac))
    return packet(*came, *heard, *who, HOP_LIMIT(255))


def message(sender: Sender | Outsider, way: Way, asked: Question) -> Packet:
    """The packet but for the MAC that it is sent to. Raises Invalid."""
    headers, hops = (PACKET6, HOP_LIMIT) if ":" in way.target else (PACKET4, TTL)
    number = protocol_of(asked, "IPv6" if ":" in way.target else "IPv4")
    parts = [
        *begun(sender),
        headers.proto(number),
        headers.source(way.source),
        headers.destination(way.target),
        hops(HOPS if asked.ttl is None else asked.ttl),
    ]
    if number in headers.low:
        low, high = ends_of(asked, number)
        parts += [headers.low[number](low), headers.high[number](high)]
    elif asked.type is not None or asked.code is not None:
        raise Invalid("type", f"{asked.proto} has neither type nor code")
    if number not in _WITH_PORTS and (asked.sport is not None or asked.dport is not None):
        raise Invalid("dport", f"of {asked.proto} a switch sees no ports")
    return Packet(packet(*parts).values, ETHERNET_BYTES + asked.size)


def protocol_of(asked: Question, ethertype: str) -> int:
    """The number of the protocol. Raises Invalid."""
    named = asked.proto.lower()
    if named not in protocols.NUMBERS and not (named.isascii() and named.isdigit() and int(named) <= 255):
        raise Invalid("proto", f"{asked.proto} is no IP protocol; say tcp, udp, icmp, sctp or a number up to 255")
    return protocols.number(named, ethertype) or 0


def ends_of(asked: Question, number: int) -> tuple[int, int]:
    """Source and destination port, or ICMP type and code. Raises Invalid."""
    if number not in _WITH_PORTS:
        return ECHO[number] if asked.type is None else asked.type, asked.code or 0
    if asked.type is not None or asked.code is not None:
        raise Invalid("type", f"{asked.proto} has neither type nor code")
    if asked.dport is None:
        raise Invalid("dport", f"{asked.proto} needs a destination port")
    return EPHEMERAL if asked.sport is None else asked.sport, asked.dport
