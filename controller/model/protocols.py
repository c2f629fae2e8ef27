"""IP protocols as security group rules name them, and what the range of a rule means for each.

A rule's `protocol` is kept as the client wrote it (a name in lower case, or a number as text), since it is shown back
so; flows and comparisons ask for its number here. None is any protocol; "0", "ip" and "hopopt" are protocol 0, which
is IPv6's hop-by-hop options and no wildcard, as in Neutron's Open vSwitch firewall.
"""

from __future__ import annotations

from typing import Protocol

ICMP = 1
ICMPV6 = 58

NUMBERS = {
    "ah": 51, "dccp": 33, "egp": 8, "esp": 50, "gre": 47, "hopopt": 0, "icmp": ICMP, "igmp": 2, "ip": 0, "ipip": 4,
    "ipv6-encap": 41, "ipv6-frag": 44, "ipv6-icmp": ICMPV6, "icmpv6": ICMPV6, "ipv6-nonxt": 59, "ipv6-opts": 60,
    "ipv6-route": 43, "ospf": 89, "pgm": 113, "rsvp": 46, "sctp": 132, "tcp": 6, "udp": 17, "udplite": 136,
    "vrrp": 112,
}  # fmt: skip
"""The names of the API (neutron-lib, `IP_PROTOCOL_MAP`; IANA, "Assigned Internet Protocol Numbers")."""

WITH_PORTS = frozenset(NUMBERS[name] for name in ("dccp", "sctp", "tcp", "udp", "udplite"))
"""The protocols whose rules may have ports: `port_range_min` to `port_range_max`, both allowed, of the destination."""

WITH_TYPES = frozenset({ICMP, ICMPV6})
"""The protocols whose rules may have a type (`port_range_min`) and a code (`port_range_max`)."""

ONLY_IPV6 = frozenset(number for name, number in NUMBERS.items() if name.startswith("ipv6-"))
"""The protocols that a rule for IPv4 cannot be about."""


class Rule(Protocol):
    """What a `SecurityGroupRule` says of protocols."""

    @property
    def ethertype(self) -> str: ...
    @property
    def protocol(self) -> str | None: ...
    @property
    def port_range_min(self) -> int | None: ...
    @property
    def port_range_max(self) -> int | None: ...


def number(protocol: str | None, ethertype: str) -> int | None:
    """The number of a protocol, None for any; ICMP by any of its names is ICMPv6 in IPv6."""
    if protocol is None:
        return None
    found = NUMBERS[protocol] if protocol in NUMBERS else int(protocol)
    return ICMPV6 if found == ICMP and ethertype == "IPv6" else found


def protocol_number(rule: Rule) -> int | None:
    """The IP protocol that a rule allows; None is any."""
    return number(rule.protocol, rule.ethertype)


def ports(rule: Rule) -> tuple[int, int] | None:
    """The first and last destination port that a rule allows; None is any, or that there are no ports."""
    if protocol_number(rule) not in WITH_PORTS or rule.port_range_min is None or rule.port_range_max is None:
        return None
    return rule.port_range_min, rule.port_range_max


def type_and_code(rule: Rule) -> tuple[int | None, int | None]:
    """The ICMP type and code that a rule allows, each None for any; there is no code without a type."""
    if protocol_number(rule) not in WITH_TYPES:
        return None, None
    return rule.port_range_min, rule.port_range_max
