"""The judge by the model alone: may this packet go from one guest to another? No flow is read, nothing is remembered
of a connection but how it began.

Written from the API's definitions (api-ref, "Security groups", "Allowed address pairs") and from what port security
promises, with as little cleverness as there can be: every question looks at every rule and every port. It shares no
code with the apps; it has in common with them the names of the reasons for a drop.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network

from controller.flows.pipeline import Why
from controller.model import bindings
from controller.model.bindings import Placed
from controller.model.records import (
    AddressGroup,
    Chassis,
    Network,
    Port,
    SecurityGroup,
    SecurityGroupRule,
)
from controller.model.store import Rows

NUMBERS = {
    "icmp": 1, "tcp": 6, "udp": 17, "dccp": 33, "gre": 47, "esp": 50, "icmpv6": 58, "ipv6-icmp": 58, "sctp": 132,
    "udplite": 136,
}  # fmt: skip
"""The protocols that the tests have rules about (IANA, "Assigned Internet Protocol Numbers")."""

QUERIES = {1: {8: 0, 13: 14, 15: 16}, 58: {128: 129}}
"""By protocol: the ICMP messages that ask, with those that answer; conntrack follows no others."""

WHOLE, FIRST, LATER = 0, 1, 3
"""Whether a packet is a fragment, in the words of ip_frag (ovs-fields(7))."""

MLD = {130, 131, 132, 143}


@dataclass(frozen=True, slots=True)
class Message:
    """A unicast IP packet as a guest sends it; `low` and `high` are ports, or the type and code of ICMP.

    `hops` are those it has left, `size` is that of the packet in bytes; `whole` says that no router may cut it (of IPv6
    none may ever).
    """

    sender: str
    source_mac: str
    target_mac: str
    source: str
    target: str
    protocol: int
    low: int = 0
    high: int = 0
    fragment: int = WHOLE
    hops: int = 64
    size: int = 100
    whole: bool = True

    @property
    def version(self) -> int:
        """4 or 6."""
        return ip_address(self.source).version

    @property
    def ethertype(self) -> str:
        """The same, in the words of the API."""
        return f"IPv{self.version}"

    @property
    def ports(self) -> tuple[int, int] | None:
        """What of it a switch takes for ports: later fragments have none (ovs-fields(7), Fragmentation Handling)."""
        return (self.low, self.high) if self.protocol in (6, 17, 132) and self.fragment != LATER else None

    @property
    def icmp(self) -> tuple[int, int] | None:
        """What of it a switch takes for type and code."""
        if self.protocol != (1 if self.version == 4 else 58) or self.fragment == LATER:
            return None
        return (self.low, self.high)

    def answer(self, sender: str) -> Message:
        """What the receiver sends back."""
        low, high = self.high, self.low
        if self.protocol in QUERIES:
            low, high = QUERIES[self.protocol].get(self.low, self.low), self.high
        return replace(
            self, sender=sender, source_mac=self.target_mac, target_mac=self.source_mac, source=self.target,
            target=self.source, low=low, high=high,
        )  # fmt: skip

    def same(self, other: Message) -> bool:
        """Is that of the same connection, and of the same direction?"""
        ends = (self.source, self.target, self.protocol) == (other.source, other.target, other.protocol)
        partial = LATER in (self.fragment, other.fragment)
        return ends and (partial or (self.low, self.high) == (other.low, other.high))


@dataclass(slots=True)
class Known:
    """A connection as one port's hypervisor knows it: the packet it began with, and whether it was ever answered."""

    began: Message
    answered: bool = False


@dataclass(frozen=True, slots=True)
class Judgement:
    """Where a message arrives, or why it does not; and the rules that allow it, of sender and receiver.

    Nowhere, and for no reason, arrives what a port would send to itself.
    """

    receiver: str | None
    why: Why | None = None
    rules: tuple[SecurityGroupRule, ...] = ()


@dataclass(slots=True)
class Oracle:
    """Every connection there ever was, by hypervisor and conntrack zone."""

    known: dict[tuple[str, int], list[Known]] = field(default_factory=dict)

    def judge(self, rows: Rows, message: Message) -> Judgement:
        """Does a message arrive? What is let out is a connection from then on, even if it is not let in."""
        sender = rows.get(Port, message.sender)
        assert sender is not None
        if not is_up(rows, sender):
            return Judgement(None, Why.ADMIN_DOWN)
        spoofed = forged(sender, message)
        if spoofed is not None:
            return Judgement(None, spoofed)
        denied, out = self.half(rows, sender, message, "egress")
        if denied is not None:
            return Judgement(None, denied)
        receiver = holder(rows, sender.network_id, message.target_mac)
        if receiver is None:
            return Judgement(None, Why.UNKNOWN_UNICAST)
        if receiver.id == sender.id and message.target_mac == sender.mac_address:
            return Judgement(None, Why.OWN_MAC)
        denied, into = self.half(rows, receiver, message, "ingress")
        if receiver.id == sender.id:  # a switch sends nothing back, whether its rules would allow it or not
            return Judgement(None, None, (*out, *into))
        return Judgement(None if denied else receiver.id, denied, (*out, *into))

    def half(
        self, rows: Rows, port: Port, message: Message, direction: str
    ) -> tuple[Why | None, tuple[SecurityGroupRule, ...]]:
        """May a port send, or receive, this? Why not, and by which rules."""
        egress = direction == "egress"
        if not port.port_security_enabled or is_control(message, egress):
            return None, ()
        groups = [rows.get(SecurityGroup, id) for id in port.security_groups]
        denied, cut = (Why.EGRESS_DENIED, Why.EGRESS_CUT) if egress else (Why.INGRESS_DENIED, Why.INGRESS_CUT)
        if any(group is not None and not group.stateful for group in groups):
            rules = allowing(rows, port, message, direction)
            return (None if rules else denied), rules
        if not is_tracked(message):
            return Why.NOT_TRACKED, ()
        read = reads_ports(rows, port, message)
        seen = message if read else replace(message, low=0, high=0)
        known = self.find(rows, port, seen)
        if known is None:
            if is_icmp_answer(message):
                return Why.NOT_TRACKED, ()
            rules = allowing(rows, port, message, direction)
            if rules and message.fragment != LATER:
                self.zone(rows, port).append(Known(seen))
            return (None if rules else denied), rules
        back = not known.began.same(seen)
        known.answered |= back
        began = replace(known.began, fragment=message.fragment)
        if not read:
            low, high = (message.high, message.low) if back else (message.low, message.high)
            began = replace(began, low=low, high=high)
        way = {"egress": "ingress", "ingress": "egress"}[direction] if back else direction
        rules = allowing(rows, port, began, way)
        return (None if rules else cut if known.answered else denied), rules

    def zone(self, rows: Rows, port: Port) -> list[Known]:
        """The connections that the port's hypervisor knows of it."""
        place = placed(rows, port)
        return self.known.setdefault((place.chassis, place.zone), [])

    def find(self, rows: Rows, port: Port, message: Message) -> Known | None:
        """The connection of a message; the oldest, of a fragment that says too little."""
        back = message.answer("") if not is_icmp_answer(message) else asked(message)
        same = (one for one in self.zone(rows, port) if one.began.same(message) or one.began.same(back))
        return next(same, None)


# ---- port security --------------------------------------------------------------------------------------------


def forged(port: Port, message: Message) -> Why | None:
    """Why a guest may not send this, whatever its groups say."""
    if not port.port_security_enabled:
        return None
    pairs = [(pair.mac_address, pair.ip_address) for pair in port.allowed_address_pairs]
    macs = {port.mac_address, *(mac for mac, _ in pairs)}
    if message.source_mac not in macs:
        return Why.SPOOFED_MAC
    if message.protocol == 17 and message.ports == ((67, 68) if message.version == 4 else (547, 546)):
        return Why.ROGUE_DHCP
    if message.protocol == 58 and message.icmp and message.icmp[0] in (134, 137):
        return Why.ROGUE_RA
    if message.version == 6 and (message.protocol == 0 or hides(message)):
        return Why.HIDDEN
    held = [*((port.mac_address, fixed.ip_address) for fixed in port.fixed_ips), *pairs]
    if any(mac == message.source_mac and contains(block, message.source) for mac, block in held):
        return None
    if message.version == 6 and int(ip_address(message.source)) == link_local(message.source_mac):
        return None
    if ip_address(message.source).is_unspecified and message.protocol == 17 and message.ports == (68, 67):
        return None if message.version == 4 else Why.SPOOFED_IPV6
    if ip_address(message.source).is_unspecified and message.icmp and message.icmp[0] in (131, 133, 143):
        return None if message.version == 6 else Why.SPOOFED_IPV4
    return Why.SPOOFED_IPV4 if message.version == 4 else Why.SPOOFED_IPV6


def hides(message: Message) -> bool:
    """Is it a first fragment in which ports, or the type, are 0: as where none were read?"""
    nothing = message.ports == (0, 0) if message.protocol == 17 else message.icmp is not None and message.icmp[0] == 0
    return message.fragment == FIRST and nothing


def link_local(mac: str) -> int:
    """RFC 4291 appendix A."""
    digits = mac.replace(":", "")
    return int(f"fe80{'0' * 12}{int(digits[:2], 16) ^ 2:02x}{digits[2:6]}fffe{digits[6:]}", 16)


def contains(block: str, address: str) -> bool:
    """Is an address in a block, or the same address?"""
    network, one = ip_network(block, strict=False), ip_address(address)
    return network.version == one.version and one in network


# ---- security groups ------------------------------------------------------------------------------------------


def allowing(rows: Rows, port: Port, message: Message, direction: str) -> tuple[SecurityGroupRule, ...]:
    """The rules of a port's groups that allow a message which began a connection in this direction."""
    rules = [rule for rule in rows.all(SecurityGroupRule) if rule.security_group_id in port.security_groups]
    remote = message.target if direction == "egress" else message.source
    return tuple(
        rule
        for rule in rules
        if rule.direction == direction
        and rule.ethertype == message.ethertype
        and any(contains(block, remote) for block in remotes(rows, rule))
        and covers(rule, message)
    )


def remotes(rows: Rows, rule: SecurityGroupRule) -> Iterator[str]:
    """The blocks of addresses that a rule is about."""
    if rule.remote_ip_prefix is not None:
        yield rule.remote_ip_prefix
    elif rule.remote_group_id is not None:
        for port in rows.all(Port):
            if rule.remote_group_id in port.security_groups:
                yield from (fixed.ip_address for fixed in port.fixed_ips)
                yield from (pair.ip_address for pair in port.allowed_address_pairs)
    elif rule.remote_address_group_id is not None:
        group = rows.get(AddressGroup, rule.remote_address_group_id)
        yield from group.addresses if group else ()
    else:
        yield "0.0.0.0/0" if rule.ethertype == "IPv4" else "::/0"


def covers(rule: SecurityGroupRule, message: Message) -> bool:
    """Is a rule about a message's protocol and ports?

    Of a later fragment only the protocol is known.
    """
    if rule.protocol is None:
        return True
    number = NUMBERS[rule.protocol] if rule.protocol in NUMBERS else int(rule.protocol)
    if number == 1 and rule.ethertype == "IPv6":
        number = 58
    if number != message.protocol:
        return False
    first, last = rule.port_range_min, rule.port_range_max
    if number in (33, 136):  # Open vSwitch does not see the ports of DCCP and UDP-Lite
        return first is None
    if message.fragment == LATER:
        return True
    low, high = message.low, message.high
    if number in (6, 17, 132):
        return first is None or last is None or first <= high <= last
    return number not in (1, 58) or (first in (None, low) and last in (None, high))


def is_control(message: Message, egress: bool) -> bool:
    """What needs no rule: DHCP, router discovery, multicast listener discovery."""
    if message.protocol == 17 and message.ports is not None:
        pair = (68, 67) if message.version == 4 else (546, 547)
        return message.ports == (pair if egress else pair[::-1])
    if message.protocol == 58 and message.icmp is not None:
        if message.icmp[0] in MLD:
            return ip_address(message.target).is_multicast
        return message.icmp[0] == 133 if egress else message.icmp[0] == 134 and ip_address(message.source).is_link_local
    return False


# ---- connections ----------------------------------------------------------------------------------------------


def reads_ports(rows: Rows, port: Port, message: Message) -> bool:
    """Does conntrack there tell a message by its ports? In user space not if it is SCTP: each is judged by its own."""
    chassis = rows.get(Chassis, placed(rows, port).chassis)
    assert chassis is not None
    return message.protocol != 132 or chassis.datapath_type == "system"


def is_tracked(message: Message) -> bool:
    """Can conntrack make anything of it?"""
    if message.fragment == LATER or message.protocol not in QUERIES:
        return True
    return any(message.low in pair for pair in QUERIES[message.protocol].items())


def is_icmp_answer(message: Message) -> bool:
    """Does it answer something that must have been asked?"""
    whole = message.fragment != LATER and message.protocol in QUERIES
    return whole and message.low in QUERIES[message.protocol].values()


def asked(message: Message) -> Message:
    """What an ICMP answer answers."""
    types = {answer: type for type, answer in QUERIES[message.protocol].items()}
    return replace(message.answer(""), low=types[message.low], high=message.high)


# ---- places ---------------------------------------------------------------------------------------------------


def is_up(rows: Rows, port: Port) -> bool:
    """Are the port and its network administratively up?"""
    network = rows.get(Network, port.network_id)
    return port.admin_state_up and network is not None and network.admin_state_up


def holder(rows: Rows, network: str, mac: str) -> Port | None:
    """The attached port of a network that has a MAC; else the only one that may use it by an address pair."""
    ports = [port for port in rows.all(Port) if port.network_id == network and is_attached(rows, port)]
    owner = next((port for port in ports if port.mac_address == mac), None)
    users = [port for port in ports if mac in {pair.mac_address for pair in port.allowed_address_pairs}]
    return owner or (users[0] if len(users) == 1 else None)


def placed(rows: Rows, port: Port) -> Placed:
    """Where an attached port is."""
    place = bindings.place(rows, port)
    assert isinstance(place, Placed)
    return place


def is_attached(rows: Rows, port: Port) -> bool:
    """Is a port up and plugged in?"""
    return is_up(rows, port) and isinstance(bindings.place(rows, port), Placed)
