"""The packet fields, by their names in ovs-fields(7); registers are in `pipeline`.

A field whose meaning hangs on another brings that test with it (ovs-fields(7), Prerequisites).
"""

from __future__ import annotations

import socket

from controller.flows.flow import Field, Match, Set
from controller.model.records import Address, Mac

BROADCAST = Mac("ff:ff:ff:ff:ff:ff")
MULTICAST_BIT = 0x010000000000


def _mac_number(mac: Mac) -> int:
    return int(mac.replace(":", ""), 16)


def _mac_text(number: int) -> str:
    digits = f"{number:012x}"
    return ":".join(digits[at : at + 2] for at in range(0, 12, 2))


def ipv4_number(address: Address) -> int:
    return int.from_bytes(socket.inet_aton(address))


def ipv4_text(number: int) -> str:
    return socket.inet_ntoa(number.to_bytes(4))


def ipv6_number(address: Address) -> int:
    return int.from_bytes(socket.inet_pton(socket.AF_INET6, address))


def _ipv6_text(number: int) -> str:
    return socket.inet_ntop(socket.AF_INET6, number.to_bytes(16))


def _number(value: int) -> int:
    return value


IN_PORT: Field[int] = Field("in_port", "in_port", 32, _number, str)
ETH_DST: Field[Mac] = Field("eth_dst", "eth_dst", 48, _mac_number, _mac_text)
ETH_SRC: Field[Mac] = Field("eth_src", "eth_src", 48, _mac_number, _mac_text)
ETH_TYPE: Field[int] = Field("eth_type", "eth_type", 16, _number, hex)
VLAN_TCI: Field[int] = Field("vlan_tci", "vlan_tci", 16, _number, hex)
IPV6: Match = ETH_TYPE(0x86DD)
IPV6_PROTO: Field[int] = Field("ipv6_proto", "nw_proto", 8, _number, str, requires=IPV6.tests)
HOP_LIMIT: Field[int] = Field("hop_limit", "nw_ttl", 8, _number, str, requires=IPV6.tests)
IPV6_SRC: Field[Address] = Field("ipv6_src", "ipv6_src", 128, ipv6_number, _ipv6_text, requires=IPV6.tests)
IPV6_DST: Field[Address] = Field("ipv6_dst", "ipv6_dst", 128, ipv6_number, _ipv6_text, requires=IPV6.tests)
TUN_ID: Field[int] = Field("tun_id", "tun_id", 64, _number, hex)
TUN_SRC: Field[Address] = Field("tun_src", "tun_src", 32, ipv4_number, ipv4_text)
TUN_DST: Field[Address] = Field("tun_dst", "tun_dst", 32, ipv4_number, ipv4_text)
TUN_IPV6_SRC: Field[Address] = Field("tun_ipv6_src", "tun_ipv6_src", 128, ipv6_number, _ipv6_text)
TUN_IPV6_DST: Field[Address] = Field("tun_ipv6_dst", "tun_ipv6_dst", 128, ipv6_number, _ipv6_text)

ARP: Match = ETH_TYPE(0x0806)
ARP_OP: Field[int] = Field("arp_op", "arp_op", 16, _number, str, requires=ARP.tests)
ARP_SPA: Field[Address] = Field("arp_spa", "arp_spa", 32, ipv4_number, ipv4_text, requires=ARP.tests)
ARP_TPA: Field[Address] = Field("arp_tpa", "arp_tpa", 32, ipv4_number, ipv4_text, requires=ARP.tests)
ARP_SHA: Field[Mac] = Field("arp_sha", "arp_sha", 48, _mac_number, _mac_text, requires=ARP.tests)
ARP_THA: Field[Mac] = Field("arp_tha", "arp_tha", 48, _mac_number, _mac_text, requires=ARP.tests)

ICMPV6: Match = IPV6_PROTO(58)
ICMPV6_TYPE: Field[int] = Field("icmpv6_type", "icmpv6_type", 8, _number, str, requires=ICMPV6.tests)
ND_SOLICITATION: Match = ICMPV6_TYPE(135)
ND_ADVERTISEMENT: Match = ICMPV6_TYPE(136)
ND_TARGET: Field[Address] = Field(
    "nd_target", "nd_target", 128, ipv6_number, _ipv6_text, requires=ND_SOLICITATION.tests
)
ND_TLL: Field[Mac] = Field("nd_tll", "nd_tll", 48, _mac_number, _mac_text, requires=ND_ADVERTISEMENT.tests)
ND_RESERVED: Field[int] = Field("nd_reserved", "nd_reserved", 32, _number, hex, requires=ND_SOLICITATION.tests)
ND_OPTIONS_TYPE: Field[int] = Field(
    "nd_options_type", "nd_options_type", 8, _number, str, requires=ND_SOLICITATION.tests
)

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
