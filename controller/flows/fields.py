"""The packet fields, by their names in ovs-fields(7); registers are in `pipeline`.

A field whose meaning hangs on another brings that test with it (OpenFlow 1.4.1 section 7.2.3.8, prerequisites).
"""

from __future__ import annotations

import socket

from controller.flows.flow import Field, Match
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


def _number(value: int) -> int:
    return value


IN_PORT: Field[int] = Field("in_port", "in_port", 32, _number, str)
ETH_DST: Field[Mac] = Field("eth_dst", "eth_dst", 48, _mac_number, _mac_text)
ETH_SRC: Field[Mac] = Field("eth_src", "eth_src", 48, _mac_number, _mac_text)
ETH_TYPE: Field[int] = Field("eth_type", "eth_type", 16, _number, hex)
VLAN_TCI: Field[int] = Field("vlan_tci", "vlan_tci", 16, _number, hex)
TUN_ID: Field[int] = Field("tun_id", "tun_id", 64, _number, hex)
TUN_SRC: Field[Address] = Field("tun_src", "tun_src", 32, ipv4_number, ipv4_text)
TUN_DST: Field[Address] = Field("tun_dst", "tun_dst", 32, ipv4_number, ipv4_text)

ARP: Match = ETH_TYPE(0x0806)
ARP_OP: Field[int] = Field("arp_op", "arp_op", 16, _number, str, requires=ARP.tests)
ARP_SPA: Field[Address] = Field("arp_spa", "arp_spa", 32, ipv4_number, ipv4_text, requires=ARP.tests)
ARP_TPA: Field[Address] = Field("arp_tpa", "arp_tpa", 32, ipv4_number, ipv4_text, requires=ARP.tests)
ARP_SHA: Field[Mac] = Field("arp_sha", "arp_sha", 48, _mac_number, _mac_text, requires=ARP.tests)
ARP_THA: Field[Mac] = Field("arp_tha", "arp_tha", 48, _mac_number, _mac_text, requires=ARP.tests)

ARP_REQUEST: Match = ARP_OP(1)
GROUP_BIT: Match = ETH_DST(Mac("01:00:00:00:00:00"), MULTICAST_BIT)
UNTAGGED: Match = VLAN_TCI(0, 0x1FFF)
CONTROL_GROUP: Match = ETH_DST(Mac("01:80:c2:00:00:00"), 0xFFFFFFFFFFF0)
