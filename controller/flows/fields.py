"""The packet fields, by their names in ovs-fields(7); registers are in `pipeline`.

A field whose meaning hangs on another brings that test with it (ovs-fields(7), Prerequisites).
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from controller.errors import Undeclared
from controller.flows.match import Field, Match, Set, Test, matching
from controller.model.records import Address, Mac

BROADCAST = Mac("ff:ff:ff:ff:ff:ff")
MULTICAST_BIT = 0x010000000000


def _mac_number(mac: Mac) -> int:
    return int(mac.replace(":", ""), 16)


def mac_text(number: int) -> Mac:
    """A MAC address as records write it."""
    digits = f"{number:012x}"
    return Mac(":".join(digits[at : at + 2] for at in range(0, 12, 2)))


def ipv4_number(address: Address) -> int:
    return int.from_bytes(socket.inet_aton(address))


def ipv4_text(number: int) -> str:
    return socket.inet_ntoa(number.to_bytes(4))


def ipv6_number(address: Address) -> int:
    return int.from_bytes(socket.inet_pton(socket.AF_INET6, address))


def _ipv6_text(number: int) -> str:
    return socket.inet_ntop(socket.AF_INET6, number.to_bytes(16))


def link_local(mac: Mac) -> Address:
    """`fe80::` and the MAC's modified EUI-64 (RFC 4291 appendix A), as `inet_ntop` prints it."""
    octets = bytes.fromhex(mac.replace(":", ""))
    words = bytes((octets[0] ^ 2, *octets[1:3], 0xFF, 0xFE, *octets[3:]))
    return Address(_ipv6_text(0xFE80 << 112 | int.from_bytes(words)))


def mac_of(address: str) -> Mac | None:
    """The MAC address that gives a link-local address; None when none does."""
    octets = ipv6_number(Address(address)).to_bytes(16) if ":" in address else bytes(16)
    if octets[:8] != bytes.fromhex("fe80000000000000") or octets[11:13] != b"\xff\xfe":
        return None
    return Mac(bytes((octets[8] ^ 2, *octets[9:11], *octets[13:])).hex(":"))


def _number(value: int) -> int:
    return value


def _vlan(id: int) -> int:
    """The bit that says that there is a tag, and the VLAN (ovs-fields(7), vlan_tci)."""
    return 0x1000 | id


def _original_protocol(value: int) -> int:
    """Open vSwitch reads back no test of ct_nw_proto 0, nor of ports beside it (`nx_put_raw`, as of 3.1)."""
    if value == 0:
        raise Undeclared("A connection", "protocol", "0")
    return value


def _fragment_text(value: int, mask: int) -> str:
    """ovs-fields(7), ip_frag."""
    return _FRAGMENTS.get((value, mask)) or f"{value:#x}/{mask:#x}"


_FRAGMENTS: Final = {(0, 3): "no", (1, 1): "yes", (1, 3): "first", (3, 3): "later", (0, 2): "not_later"}

_CT_STATES: Final[Mapping[str, int]] = {
    "new": 1, "est": 2, "rel": 4, "rpl": 8, "inv": 16, "trk": 32, "snat": 64, "dnat": 128,
}  # fmt: skip


def ct_state_text(value: int, mask: int) -> str:
    """ovs-fields(7), ct_state: each flag that is tested, with its sign."""
    return _signed(_CT_STATES, value, mask)


_TCP_FLAGS: Final[Mapping[str, int]] = {
    "fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16, "urg": 32, "ece": 64, "cwr": 128, "ns": 256,
}  # fmt: skip


def _tcp_flags_text(value: int, mask: int) -> str:
    """ovs-fields(7), tcp_flags: each flag that is tested, with its sign."""
    return _signed(_TCP_FLAGS, value, mask)


def _signed(names: Mapping[str, int], value: int, mask: int) -> str:
    return "".join(("+" if value & bit else "-") + name for name, bit in names.items() if mask & bit)


def ct_state(words: str) -> Match:
    """The packets of which conntrack said this: `+trk-inv`, as ovs-ofctl(8) writes it."""
    value = mask = 0
    for sign, name in ((word[0], word[1:]) for word in words.replace("+", " +").replace("-", " -").split()):
        mask |= _CT_STATES[name]
        value |= _CT_STATES[name] if sign == "+" else 0
    return CT_STATE(value, mask)


IN_PORT: Field[int] = Field("in_port", "in_port", 32, _number, str)
ETH_DST: Field[Mac] = Field("eth_dst", "eth_dst", 48, _mac_number, mac_text)
ETH_SRC: Field[Mac] = Field("eth_src", "eth_src", 48, _mac_number, mac_text)
ETH_TYPE: Field[int] = Field("eth_type", "eth_type", 16, _number, hex, few=True)
VLAN_TCI: Field[int] = Field("vlan_tci", "vlan_tci", 16, _number, hex)
VLAN_ID: Field[int] = Field("vlan_id", "vlan_tci", 16, _vlan, hex, bits=13)
"""The VLAN of a frame that has a tag; what an action writes it into must have one."""
IPV4: Match = ETH_TYPE(0x0800)
IPV4_SRC: Field[Address] = Field("ipv4_src", "nw_src", 32, ipv4_number, ipv4_text, requires=IPV4.tests)
IPV4_DST: Field[Address] = Field("ipv4_dst", "nw_dst", 32, ipv4_number, ipv4_text, requires=IPV4.tests)
IPV4_PROTO: Field[int] = Field("ipv4_proto", "nw_proto", 8, _number, str, requires=IPV4.tests, few=True)
TTL: Field[int] = Field("ttl", "nw_ttl", 8, _number, str, requires=IPV4.tests)
IPV6: Match = ETH_TYPE(0x86DD)
IPV6_PROTO: Field[int] = Field("ipv6_proto", "nw_proto", 8, _number, str, requires=IPV6.tests, few=True)
HOP_LIMIT: Field[int] = Field("hop_limit", "nw_ttl", 8, _number, str, requires=IPV6.tests)
IPV6_SRC: Field[Address] = Field("ipv6_src", "ipv6_src", 128, ipv6_number, _ipv6_text, requires=IPV6.tests)
IPV6_DST: Field[Address] = Field("ipv6_dst", "ipv6_dst", 128, ipv6_number, _ipv6_text, requires=IPV6.tests)
TUN_ID: Field[int] = Field("tun_id", "tun_id", 64, _number, hex)
TUN_SRC: Field[Address] = Field("tun_src", "tun_src", 32, ipv4_number, ipv4_text)
TUN_DST: Field[Address] = Field("tun_dst", "tun_dst", 32, ipv4_number, ipv4_text)
TUN_IPV6_SRC: Field[Address] = Field("tun_ipv6_src", "tun_ipv6_src", 128, ipv6_number, _ipv6_text)
TUN_IPV6_DST: Field[Address] = Field("tun_ipv6_dst", "tun_ipv6_dst", 128, ipv6_number, _ipv6_text)

ARP: Match = ETH_TYPE(0x0806)
ARP_OP: Field[int] = Field("arp_op", "arp_op", 16, _number, str, requires=ARP.tests, few=True)
ARP_SPA: Field[Address] = Field("arp_spa", "arp_spa", 32, ipv4_number, ipv4_text, requires=ARP.tests)
ARP_TPA: Field[Address] = Field("arp_tpa", "arp_tpa", 32, ipv4_number, ipv4_text, requires=ARP.tests)
ARP_SHA: Field[Mac] = Field("arp_sha", "arp_sha", 48, _mac_number, mac_text, requires=ARP.tests)
ARP_THA: Field[Mac] = Field("arp_tha", "arp_tha", 48, _mac_number, mac_text, requires=ARP.tests)

ICMPV6: Match = IPV6_PROTO(58)
ICMPV6_TYPE: Field[int] = Field("icmpv6_type", "icmpv6_type", 8, _number, str, requires=ICMPV6.tests, few=True)
ND_SOLICITATION: Match = ICMPV6_TYPE(135)
ND_ADVERTISEMENT: Match = ICMPV6_TYPE(136)
ND_TARGET: Field[Address] = Field(
    "nd_target", "nd_target", 128, ipv6_number, _ipv6_text, requires=ND_SOLICITATION.tests
)
ND_TARGET_ADVERTISED: Field[Address] = Field(
    "nd_target_advertised", "nd_target", 128, ipv6_number, _ipv6_text, requires=ND_ADVERTISEMENT.tests
)
ND_SLL: Field[Mac] = Field("nd_sll", "nd_sll", 48, _mac_number, mac_text, requires=ND_SOLICITATION.tests)
ND_TLL: Field[Mac] = Field("nd_tll", "nd_tll", 48, _mac_number, mac_text, requires=ND_ADVERTISEMENT.tests)
ND_RESERVED: Field[int] = Field("nd_reserved", "nd_reserved", 32, _number, hex, requires=ND_SOLICITATION.tests)
ND_OPTIONS_TYPE: Field[int] = Field(
    "nd_options_type", "nd_options_type", 8, _number, str, requires=ND_SOLICITATION.tests
)

CT_STATE: Field[int] = Field(
    "ct_state", "ct_state", 32, _number, hex, bits=len(_CT_STATES), words=ct_state_text, few=True
)
CT_ZONE: Field[int] = Field("ct_zone", "ct_zone", 16, _number, str)
CONJ_ID: Field[int] = Field("conj_id", "conj_id", 32, _number, str)

TRACKED: Match = ct_state("+trk-inv")
"""What Open vSwitch wants tested beside a field of the original direction: `+trk` alone it refuses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Headers:
    """The fields by which one IP version is filtered: of the packet itself, or of what began its connection.

    `low` and `high` are, by protocol number, the source and destination port, or the ICMP type and code. `later` are
    the fragments but the first, which have neither. `unread` are packets of SCTP of whose connection no port is known,
    on the way that it began and back, each with the field that then is the port the association began to.
    """

    family: Match
    source: Field[Address]
    destination: Field[Address]
    proto: Field[int]
    low: Mapping[int, Field[int]]
    high: Mapping[int, Field[int]]
    later: Match
    unread: tuple[tuple[Match, Field[int]], ...] = ()


def within(field: Field[Address], block: str) -> Match:
    """The packets whose `field` is an address, or in a block of them; of a block of all, what the field requires."""
    address, _, length = block.partition("/")
    prefix = int(length) if length else field.width
    return field(Address(address), field.full ^ field.full >> prefix) if prefix else matching(*field.requires)


def cover(first: int, last: int, bits: int = 16) -> Iterator[tuple[int, int]]:
    """The fewest (value, mask) that are exactly the numbers from `first` to `last`: at most 2 * bits - 2."""
    full = (1 << bits) - 1
    while first <= last:
        size = first & -first or full + 1
        while first + size - 1 > last:
            size >>= 1
        yield first, full ^ (size - 1)
        first += size


def _port(name: str, proto: Match) -> Field[int]:
    return Field(name, name.removesuffix("6"), 16, _number, str, requires=proto.tests)


def _frag(family: Match) -> Field[int]:
    return Field("ip_frag", "ip_frag", 8, _number, hex, bits=2, requires=family.tests, words=_fragment_text, few=True)


TCP, UDP, SCTP, ICMP4, ICMP6 = 6, 17, 132, 1, 58
ICMP_TYPE: Field[int] = Field("icmp_type", "icmp_type", 8, _number, str, requires=IPV4_PROTO(ICMP4).tests)
ICMP_CODE: Field[int] = Field("icmp_code", "icmp_code", 8, _number, str, requires=IPV4_PROTO(ICMP4).tests)
ICMPV6_CODE: Field[int] = Field("icmpv6_code", "icmpv6_code", 8, _number, str, requires=ICMPV6.tests)
IPV4_FRAG, IPV6_FRAG = _frag(IPV4), _frag(IPV6)
TCP_SRC, TCP6_SRC = _port("tcp_src", IPV4_PROTO(TCP)), _port("tcp_src6", IPV6_PROTO(TCP))
TCP_DST, TCP6_DST = _port("tcp_dst", IPV4_PROTO(TCP)), _port("tcp_dst6", IPV6_PROTO(TCP))
UDP_SRC, UDP6_SRC = _port("udp_src", IPV4_PROTO(UDP)), _port("udp_src6", IPV6_PROTO(UDP))
UDP_DST, UDP6_DST = _port("udp_dst", IPV4_PROTO(UDP)), _port("udp_dst6", IPV6_PROTO(UDP))
SCTP_SRC, SCTP6_SRC = _port("sctp_src", IPV4_PROTO(SCTP)), _port("sctp_src6", IPV6_PROTO(SCTP))
SCTP_DST, SCTP6_DST = _port("sctp_dst", IPV4_PROTO(SCTP)), _port("sctp_dst6", IPV6_PROTO(SCTP))
TCP_FLAGS, TCP6_FLAGS = (
    Field(name, "tcp_flags", 16, _number, hex, bits=9, requires=proto.tests, words=_tcp_flags_text, few=True)
    for name, proto in (("tcp_flags", IPV4_PROTO(TCP)), ("tcp_flags6", IPV6_PROTO(TCP)))
)
SYN, RST, SYN_ACK = 0x02, 0x04, 0x12
FRAGMENT: Final = 3
"""ip_frag of a fragment that is not the first."""

PACKET4: Final = Headers(
    family=IPV4, source=IPV4_SRC, destination=IPV4_DST, proto=IPV4_PROTO,
    low={TCP: TCP_SRC, UDP: UDP_SRC, SCTP: SCTP_SRC, ICMP4: ICMP_TYPE},
    high={TCP: TCP_DST, UDP: UDP_DST, SCTP: SCTP_DST, ICMP4: ICMP_CODE},
    later=IPV4_FRAG(FRAGMENT, 3),
)  # fmt: skip
PACKET6: Final = Headers(
    family=IPV6, source=IPV6_SRC, destination=IPV6_DST, proto=IPV6_PROTO,
    low={TCP: TCP6_SRC, UDP: UDP6_SRC, SCTP: SCTP6_SRC, ICMP6: ICMPV6_TYPE},
    high={TCP: TCP6_DST, UDP: UDP6_DST, SCTP: SCTP6_DST, ICMP6: ICMPV6_CODE},
    later=IPV6_FRAG(FRAGMENT, 3),
)  # fmt: skip

_TRACKED4, _TRACKED6 = IPV4 & TRACKED, IPV6 & TRACKED
CT_NW_SRC: Field[Address] = Field("ct_nw_src", "ct_nw_src", 32, ipv4_number, ipv4_text, requires=_TRACKED4.tests)
CT_NW_DST: Field[Address] = Field("ct_nw_dst", "ct_nw_dst", 32, ipv4_number, ipv4_text, requires=_TRACKED4.tests)
CT_IPV6_SRC: Field[Address] = Field(
    "ct_ipv6_src", "ct_ipv6_src", 128, ipv6_number, _ipv6_text, requires=_TRACKED6.tests
)
CT_IPV6_DST: Field[Address] = Field(
    "ct_ipv6_dst", "ct_ipv6_dst", 128, ipv6_number, _ipv6_text, requires=_TRACKED6.tests
)
CT_PROTO4: Field[int] = Field(
    "ct_proto4", "ct_nw_proto", 8, _original_protocol, str, requires=_TRACKED4.tests, few=True
)
CT_PROTO6: Field[int] = Field(
    "ct_proto6", "ct_nw_proto", 8, _original_protocol, str, requires=_TRACKED6.tests, few=True
)
CT_TP_SRC: Field[int] = Field("ct_tp_src", "ct_tp_src", 16, _number, str)
CT_TP_DST: Field[int] = Field("ct_tp_dst", "ct_tp_dst", 16, _number, str)
"""Of ICMP these two are type and code. Open vSwitch reads them back only beside a test of the protocol."""


def unread(family: Match, proto: Field[int], state: str) -> Match:
    """The conntrack of Open vSwitch 3.1's userspace datapath reads no ports of SCTP: all between two addresses is one
    connection, with ports 0, which no association has (RFC 9260 section 3.1). This is it, in this `ct_state`."""
    return family & ct_state(f"+trk-inv{state}") & matching(Test(proto, SCTP, proto.full)) & CT_TP_DST(0)


def _unread(packet: Headers, proto: Field[int]) -> tuple[tuple[Match, Field[int]], ...]:
    there, back = (unread(packet.family, proto, way) for way in ("-rpl", "+rpl"))
    return (there, packet.high[SCTP]), (back, packet.low[SCTP])


ORIGINAL4: Final = Headers(
    family=_TRACKED4, source=CT_NW_SRC, destination=CT_NW_DST, proto=CT_PROTO4,
    low=dict.fromkeys((TCP, UDP, SCTP, ICMP4), CT_TP_SRC), high=dict.fromkeys((TCP, UDP, SCTP, ICMP4), CT_TP_DST),
    later=IPV4_FRAG(FRAGMENT, 3), unread=_unread(PACKET4, CT_PROTO4),
)  # fmt: skip
ORIGINAL6: Final = Headers(
    family=_TRACKED6, source=CT_IPV6_SRC, destination=CT_IPV6_DST, proto=CT_PROTO6,
    low=dict.fromkeys((TCP, UDP, SCTP, ICMP6), CT_TP_SRC), high=dict.fromkeys((TCP, UDP, SCTP, ICMP6), CT_TP_DST),
    later=IPV6_FRAG(FRAGMENT, 3), unread=_unread(PACKET6, CT_PROTO6),
)  # fmt: skip

ARP_REQUEST: Match = ARP_OP(1)
GROUP_BIT: Match = ETH_DST(Mac("01:00:00:00:00:00"), MULTICAST_BIT)
UNTAGGED: Match = VLAN_TCI(0, 0x1FFF)
CONTROL_GROUP: Match = ETH_DST(Mac("01:80:c2:00:00:00"), 0xFFFFFFFFFFF0)


def tunnel_from(vtep: Address) -> Match:
    """The frames that came through a tunnel from this address."""
    return TUN_IPV6_SRC(vtep) if ":" in vtep else TUN_SRC(vtep)


def tunnel_to(vtep: Address) -> Set:
    """Send through a tunnel to this address."""
    return TUN_IPV6_DST.set(vtep) if ":" in vtep else TUN_DST.set(vtep)
