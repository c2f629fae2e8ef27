"""What a rule's protocol and range mean in packets."""

import pytest

from controller.model.protocols import ports, protocol_number, type_and_code
from controller.model.records import SecurityGroupRule


def rule(
    protocol: str | None, ethertype: str = "IPv4", low: int | None = None, high: int | None = None
) -> SecurityGroupRule:
    return SecurityGroupRule(
        id="r",
        security_group_id="g",
        direction="ingress",
        ethertype=ethertype,
        protocol=protocol,
        port_range_min=low,
        port_range_max=high,
    )


@pytest.mark.parametrize(
    ("protocol", "four", "six"),
    [
        (None, None, None),
        ("tcp", 6, 6),
        ("6", 6, 6),
        ("udplite", 136, 136),
        ("0", 0, 0),
        ("ip", 0, 0),
        ("255", 255, 255),
        ("icmp", 1, 58),
        ("1", 1, 58),
        ("icmpv6", 58, 58),
        ("ipv6-icmp", 58, 58),
        ("58", 58, 58),
    ],
)
def test_a_protocol_is_a_number_that_may_depend_on_the_ip_version(
    protocol: str | None, four: int | None, six: int | None
) -> None:
    assert protocol_number(rule(protocol)) == four
    assert protocol_number(rule(protocol, "IPv6")) == six


def test_a_range_is_of_ports_or_a_type_and_a_code() -> None:
    for protocol in ("tcp", "udp", "sctp", "dccp", "udplite", "6", "136"):
        assert ports(rule(protocol, low=80, high=90)) == (80, 90)
        assert ports(rule(protocol)) is None
        assert type_and_code(rule(protocol, low=80, high=90)) == (None, None)
    for protocol, version in (("icmp", "IPv4"), ("1", "IPv4"), ("icmp", "IPv6"), ("ipv6-icmp", "IPv6")):
        assert type_and_code(rule(protocol, version, 8, 0)) == (8, 0)
        assert type_and_code(rule(protocol, version, 8)) == (8, None)
        assert type_and_code(rule(protocol, version)) == (None, None)
        assert ports(rule(protocol, version, 8, 9)) is None
    assert ports(rule(None)) is None
