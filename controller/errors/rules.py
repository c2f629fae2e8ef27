"""What is asked wrongly of security group rules: rules that mean nothing.

    BadRequest
    └── BadRule               a security group rule that means nothing
        ├── UnknownProtocol   no IP protocol has that name or number
        ├── UnknownEthertype  neither IPv4 nor IPv6
        ├── BadPort           no port has that number
        ├── BadPortRange      a range without one of its ends, or that ends before it starts
        ├── NoProtocol        ports of no protocol
        ├── NoPorts           ports of a protocol that has none
        ├── BadIcmp           no ICMP type or code has that number
        ├── NoIcmpType        an ICMP code of no type
        ├── ForeignProtocol   a protocol of IPv6 in a rule for IPv4
        ├── BadPrefix         no block of addresses
        ├── ForeignPrefix     a block of the other IP version
        ├── ManyRemotes       more than one of prefix, group and address group
        ├── ManyGroups        rules of several groups in one request
        └── ManyProjects      rules of several projects in one request

A rule that its group has already is in `use`.
"""

from __future__ import annotations

from controller.errors.requests import BadRequest


class BadRule(BadRequest):
    """Base of the refusals of security group rules that mean nothing."""


class UnknownProtocol(BadRule):
    """Raised when no IP protocol has the name or number; `known` are the names."""

    def __init__(self, protocol: str, known: str = "") -> None:
        super().__init__(
            f"Security group rule protocol {protocol} not supported. Only protocol values {known} and integer "
            "representations [0 to 255] are supported."
        )
        self.protocol, self.known = protocol, known


class UnknownEthertype(BadRule):
    """Raised when a rule is for neither IPv4 nor IPv6."""

    def __init__(self, ethertype: str) -> None:
        super().__init__(
            f"Security group rule for ethertype '{ethertype}' not supported. Allowed values are ['IPv4', 'IPv6']."
        )
        self.ethertype = ethertype


class BadPort(BadRule):
    """Raised when no port has the number."""

    def __init__(self, port: str) -> None:
        super().__init__(f"Invalid value for port {port}")
        self.port = port


class BadPortRange(BadRule):
    """Raised when a range of ports lacks one of its ends, or ends before it starts."""

    def __init__(self, low: int | None, high: int | None) -> None:
        super().__init__("For TCP/UDP protocols, port_range_min must be <= port_range_max")
        self.low, self.high = low, high


class NoProtocol(BadRule):
    """Raised when a rule has ports but no protocol that they are of."""

    def __init__(self) -> None:
        super().__init__("Must also specify protocol if port range is given.")


class NoPorts(BadRule):
    """Raised when a rule has ports but its protocol has none."""

    def __init__(self, protocol: int) -> None:
        super().__init__(
            f"Ports cannot be specified for protocol {protocol}. "
            "Ports are only supported for DCCP, SCTP, TCP, UDP, UDPLITE."
        )
        self.protocol = protocol


class BadIcmp(BadRule):
    """Raised when no ICMP type or code (`field`) has the number."""

    def __init__(self, field: str, attribute: str, value: int) -> None:
        super().__init__(f"Invalid value for ICMP {field} ({attribute}) {value}. It must be 0 to 255.")
        self.field, self.attribute, self.value = field, attribute, value


class NoIcmpType(BadRule):
    """Raised when a rule has an ICMP code but no type that it is of."""

    def __init__(self, code: int) -> None:
        super().__init__(f"ICMP code (port-range-max) {code} is provided but ICMP type (port-range-min) is missing.")
        self.code = code


class ForeignProtocol(BadRule):
    """Raised when a protocol does not exist in the IP version of its rule."""

    def __init__(self, ethertype: str, protocol: str) -> None:
        super().__init__(f"Invalid ethertype {ethertype} for protocol {protocol}.")
        self.ethertype, self.protocol = ethertype, protocol


class BadPrefix(BadRule):
    """Raised when a prefix is no block of addresses."""

    def __init__(self, prefix: str) -> None:
        super().__init__(f"Invalid CIDR {prefix} given as IP prefix.")
        self.prefix = prefix


class ForeignPrefix(BadRule):
    """Raised when a prefix is not of the IP version of its rule."""

    def __init__(self, ethertype: str, cidr: str) -> None:
        super().__init__(f"Conflicting value ethertype {ethertype} for CIDR {cidr}")
        self.ethertype, self.cidr = ethertype, cidr


class ManyRemotes(BadRule):
    """Raised when a rule names more than one of prefix, security group and address group."""

    def __init__(self) -> None:
        super().__init__("Only one of remote_ip_prefix or remote_group_id or remote_address_group_id may be provided.")


class ManyGroups(BadRule):
    """Raised when the rules of one request are of several security groups."""

    def __init__(self) -> None:
        super().__init__("Only allowed to update rules for one security profile at a time")


class ManyProjects(BadRule):
    """Raised when the rules of one request are of several projects."""

    def __init__(self) -> None:
        super().__init__("Multiple project_ids in bulk security group rule create not allowed")
