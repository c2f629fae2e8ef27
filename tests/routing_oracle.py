"""The judge of routing by the model alone: where may this packet come to, and what is its sender told? No flow is read.

Written from RFC 1812 and RFC 8200 (forwarding), RFC 1122, RFC 1191, RFC 4443 and RFC 8201 (errors), RFC 4007 (link-local
addresses) and the API's definitions (api-ref, "Routers"), with as little cleverness as there can be: every question
looks at every port, subnet and route. It shares no code with the apps; it has in common with them the names of the
reasons for a drop. Security groups and port security are the matter of `tests.oracle`, for the first packet of a
connection.

Of a route with several next hops a connection takes any one, and always the same: a packet may have several ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from controller.flows.pipeline import Why
from controller.model import bindings
from controller.model.bindings import Placed
from controller.model.records import Chassis, Network, Port, Router, Subnet
from controller.model.store import Rows
from tests.oracle import LATER, WHOLE, Message, Oracle, forged, holder, is_attached, is_up, link_local

MOST_ROUTERS = 8
"""How many routers a packet passes (docs/routing.md, Limits)."""
ANSWER_HOPS = 255

NOBODYS = [ip_network(block) for block in ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "::/16", "ff00::/8")]
LINK_LOCAL = ip_network("fe80::/10")

ECHO = {1: (8, 0), 58: (128, 129)}
"""By protocol: the types of an echo request and of its reply."""
NO_ERROR = {1: {0, 8, 13, 14, 15, 16, 17, 18}, 58: {*range(128, 256)} - {137}}
"""By protocol: the types that are neither errors nor redirects."""

ERRORS = {
    Why.TTL_EXCEEDED: {4: (11, 0), 6: (3, 0)},
    Why.NO_ROUTE: {4: (3, 0), 6: (1, 0)},
    Why.NO_NEIGHBOUR: {4: (3, 1), 6: (1, 3)},
    Why.ROUTER_ADDRESS: {4: (3, 3), 6: (1, 4)},
    Why.TOO_BIG: {4: (3, 4), 6: (2, 0)},
}
"""What is told of a packet that ended for a reason, by IP version: type and code."""
NO_PROTOCOL = {4: (3, 2), 6: (4, 1)}
"""The same of a protocol that routers do not speak."""


@dataclass(frozen=True, slots=True)
class Told:
    """The error that a sender hears: from this MAC, and from this address, with this type, code and MTU."""

    mac: str
    address: str
    type: int
    code: int
    mtu: int = 0


@dataclass(frozen=True, slots=True)
class End:
    """Where a packet comes to: a receiver, to whom it comes from a MAC with so many hops left; or why to nobody.

    `told` is what its sender hears of that, if anything; `passed` are the routers that it came to.
    """

    receiver: str | None = None
    mac: str = ""
    hops: int = 0
    why: Why | None = None
    told: Told | None = None
    passed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class At:
    """A packet at a router: the network that it came by, and the routers so far; next hops `chosen`, by route.

    `answered`: it is what a router answered.
    """

    router: Router
    network: str
    passed: tuple[str, ...] = ()
    chosen: Mapping[tuple[str, str], str] = field(default_factory=dict)
    answered: bool = False


def ends(rows: Rows, message: Message) -> set[End]:
    """Every end that a packet may come to; more than one only where a route has several next hops."""
    sender = rows.get(Port, message.sender)
    assert sender is not None
    if not is_up(rows, sender):
        return {End(why=Why.ADMIN_DOWN)}
    known = Oracle()
    why = forged(sender, message) or known.half(rows, sender, message, "egress")[0]
    if why is not None:
        return {End(why=why)}
    return {*_Journey(rows, sender, known).onto(sender.network_id, message)}


@dataclass(frozen=True, slots=True)
class _Journey:
    """A packet's way: where it began, and what is known of its connection."""

    rows: Rows
    sender: Port
    known: Oracle

    def onto(self, network: str, message: Message, last: At | None = None) -> Iterator[End]:
        """On a network, for a MAC; `last` is the router that it comes from."""
        passed, answered = (last.passed, last.answered) if last else ((), False)
        joined = [port for port in interfaces(self.rows) if port.network_id == network]
        interface = next((port for port in joined if port.mac_address == message.target_mac), None)
        if interface is not None and len(passed) < MOST_ROUTERS:
            router = self.rows.get(Router, interface.device_id)
            assert router is not None
            here = (*passed, router.id)
            at = replace(last, router=router, network=network, passed=here) if last else At(router, network, here)
            yield from self.at(at, message)
            return
        receiver = holder(self.rows, network, message.target_mac)
        if interface is not None:
            yield End(why=Why.ROUTER_LOOP, passed=passed)
        elif receiver is None:
            yield End(why=Why.UNKNOWN_UNICAST, passed=passed)
        elif receiver.id == self.sender.id and message.target_mac == receiver.mac_address and not answered:
            yield End(why=Why.OWN_MAC, passed=passed)
        else:
            yield self.deliver(receiver, message, passed, answered)

    def deliver(self, receiver: Port, message: Message, passed: tuple[str, ...], answered: bool) -> End:
        """To a guest, if its security groups let it in; a switch sends nothing back but answers."""
        denied, _ = deepcopy(self.known).half(self.rows, receiver, message, "ingress")
        if denied is not None:
            return End(why=denied, passed=passed)
        if receiver.id == self.sender.id and not answered:
            return End(passed=passed)
        return End(receiver.id, message.source_mac, message.hops, passed=passed)

    # A router

    def at(self, at: At, message: Message) -> Iterator[End]:
        """At a router: is it for the router itself, may it be forwarded, has it a hop left?"""
        source, target = ip_address(message.source), ip_address(message.target)
        own = [port for port in interfaces(self.rows, at.router) if holds(port, target, at.network)]
        if any(address in block for address in (source, target) for block in NOBODYS):
            yield End(why=Why.MARTIAN, passed=at.passed)
        elif own:
            yield from self.answer(at, message, own[0])
        elif source in LINK_LOCAL or target in LINK_LOCAL:
            yield End(why=Why.LINK_LOCAL, passed=at.passed)
        elif message.hops <= 1:
            yield self.fail(at, message, Why.TTL_EXCEEDED)
        else:
            yield from self.route(at, replace(message, hops=message.hops - 1))

    def answer(self, at: At, message: Message, own: Port) -> Iterator[End]:
        """For an address of the router's: an echo is answered, nothing else listens."""
        asks, answers = ECHO.get(message.protocol, (0, 0))
        if message.icmp is None or message.low != asks:
            yield self.fail(at, message, Why.ROUTER_ADDRESS)
            return
        at = replace(at, answered=True)
        reply = replace(message, source=message.target, target=message.source, low=answers, hops=ANSWER_HOPS)
        if ip_address(message.target) in LINK_LOCAL:
            back = replace(reply, source_mac=own.mac_address, target_mac=message.source_mac)
            yield from self.onto(at.network, back, at)
        else:
            yield from self.route(at, reply)

    def route(self, at: At, message: Message) -> Iterator[End]:
        """By the longest prefix; of equal ones the router's own subnet comes first."""
        target = ip_address(message.target)
        found = [way for way in ways(self.rows, at.router) if target in way.block]
        if not found:
            yield self.fail(at, message, Why.NO_ROUTE)
            return
        best = max(found, key=lambda way: (way.block.prefixlen, way.connected))
        if best.connected:
            yield from self.leave(at, message, best)
            return
        same = [way for way in found if way.block == best.block]
        route = (at.router.id, str(best.block))
        for way in [way for way in same if not self.is_down(way)] or same[:1]:
            if at.chosen.get(route, way.nexthop) == way.nexthop:
                yield from self.leave(replace(at, chosen={**at.chosen, route: way.nexthop}), message, way)

    def leave(self, at: At, message: Message, way: Way) -> Iterator[End]:
        """Out of an interface, to a next hop whose MAC the model knows, if the packet fits."""
        by = way.interface
        network, mac = self.rows.get(Network, by.network_id), neighbour(self.rows, by, way.nexthop or message.target)
        assert network is not None
        sent = replace(message, source_mac=by.mac_address, target_mac=mac or "")
        if mac is None:
            yield self.fail(at, sent, Why.NO_NEIGHBOUR)
        elif message.size <= network.mtu:
            yield from self.onto(by.network_id, sent, at)
        elif message.version == 4 and message.fragment != WHOLE:
            yield End(why=Why.FRAGMENT_TOO_BIG, passed=at.passed)
        else:
            yield self.fail(at, sent, Why.TOO_BIG, network.mtu)

    def is_down(self, way: Way) -> bool:
        """Is the next hop some port's address, and nobody there now: it is down, not plugged in, its router is down?"""
        there = [port for port in self.rows.all(Port) if port.network_id == way.interface.network_id]
        known = any(way.nexthop in {ip.ip_address for ip in port.fixed_ips} for port in there)
        return known and neighbour(self.rows, way.interface, way.nexthop) is None

    # What the sender is told

    def fail(self, at: At, message: Message, why: Why, mtu: int = 0) -> End:
        """The end of a packet, of which its sender may be told."""
        return End(why=why, told=self.told(at, message, why, mtu), passed=at.passed)

    def told(self, at: At, message: Message, why: Why, mtu: int) -> Told | None:
        """The error, unless there may be none (RFC 1122 section 3.2.2, RFC 4443 section 2.4), or it is for the router."""
        cuttable = message.version == 4 and not message.whole
        if message.fragment == LATER or (why is Why.TOO_BIG and cuttable):
            return None
        if message.protocol == (1 if message.version == 4 else 58) and message.low not in NO_ERROR[message.protocol]:
            return None
        if why is Why.ROUTER_ADDRESS and message.protocol in (1, 58):
            return None
        own = [
            (port, ip_address(ip.ip_address), subnet_of(self.rows, ip.subnet_id))
            for port in interfaces(self.rows, at.router)
            for ip in port.fixed_ips
        ]
        source, target = ip_address(message.source), ip_address(message.target)
        if any(is_broadcast(end, block) for end in (source, target) for *_, block in own):
            return None
        if source in {address for _, address, _ in own}:
            return None
        facing = [each for each in own if each[0].network_id == at.network and each[1].version == message.version]
        near = [each for each in facing if source in each[2]] or facing
        if not near:
            return None
        port, address, _ = min(near, key=lambda each: str(each[1]))
        if why is Why.ROUTER_ADDRESS and message.protocol not in (6, 17):
            named = 6 if message.fragment == WHOLE else 40
            return Told(
                port.mac_address, str(address), *NO_PROTOCOL[message.version], named if message.version == 6 else 0
            )
        return Told(port.mac_address, str(address), *ERRORS[why][message.version], mtu)


# ---- what routers are -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Way:
    """What a router knows of a block: by which interface, and to which next hop; "" is the receiver itself."""

    block: IPv4Network | IPv6Network
    interface: Port
    nexthop: str = ""

    @property
    def connected(self) -> bool:
        """Is it a subnet of the router's own?"""
        return not self.nexthop


def interfaces(rows: Rows, router: Router | None = None) -> list[Port]:
    """The ports by which routers, or one of them, are on networks: port, router and network are up."""
    found = []
    for port in rows.all(Port):
        owner = rows.get(Router, port.device_id)
        joins = port.device_owner.startswith("network:router") and owner is not None and owner.admin_state_up
        if joins and router in (None, owner) and is_up(rows, port):
            found.append(port)
    return found


def ways(rows: Rows, router: Router) -> list[Way]:
    """Everything that a router knows, the smallest next hop first; next hops beside its subnets it does not know."""
    own = interfaces(rows, router)
    found = [Way(subnet_of(rows, ip.subnet_id), port) for port in own for ip in port.fixed_ips]
    for route in sorted(router.routes, key=lambda route: route.nexthop):
        block, hop = ip_network(route.destination), ip_address(route.nexthop)
        on = [port for port in own for ip in port.fixed_ips if hop in subnet_of(rows, ip.subnet_id)]
        found += [Way(block, on[0], route.nexthop)] if on else []
    return found


def holds(port: Port, address: IPv4Address | IPv6Address, network: str) -> bool:
    """Is it an address of an interface, for what comes by this network? A link-local one only there (RFC 4007)."""
    fixed = [ip_address(ip.ip_address) for ip in port.fixed_ips]
    if address in LINK_LOCAL:
        speaks6 = any(each.version == 6 for each in fixed)
        return speaks6 and port.network_id == network and int(address) == link_local(port.mac_address)
    return address in fixed


def neighbour(rows: Rows, by: Port, address: str) -> str | None:
    """The MAC of the holder of an address: a guest that is there, a router, or who alone may use it by a pair."""
    there = [port for port in rows.all(Port) if port.network_id == by.network_id]
    alive = [port for port in there if is_guest(rows, port) or port in interfaces(rows)]
    for port in alive:
        if address in {ip.ip_address for ip in port.fixed_ips}:
            return port.mac_address
    pairs = [(port, pair) for port in alive for pair in port.allowed_address_pairs if pair.ip_address == address]
    return pairs[0][1].mac_address if len({port.id for port, _ in pairs}) == 1 else None


def is_guest(rows: Rows, port: Port) -> bool:
    """Is it a guest's, up, and plugged in?"""
    return not port.device_owner.startswith("network:router") and is_attached(rows, port)


def subnet_of(rows: Rows, id: str) -> IPv4Network | IPv6Network:
    """The block of a subnet."""
    subnet = rows.get(Subnet, id)
    assert subnet is not None
    return ip_network(subnet.cidr)


def is_broadcast(address: IPv4Address | IPv6Address, block: IPv4Network | IPv6Network) -> bool:
    """Does an address mean all hosts of a subnet?"""
    return block.version == 4 and block.prefixlen < 31 and address == block.broadcast_address


# ---- presence -------------------------------------------------------------------------------------------------


def reached(rows: Rows, chassis: Chassis) -> tuple[set[str], set[str]]:
    """The networks, and the routers, that the guests of a hypervisor can reach."""
    networks = {port.network_id for port in rows.all(Port) if is_guest(rows, port) and is_on(rows, port, chassis)}
    routers: set[str] = set()
    while True:
        more = {port.device_id for port in interfaces(rows) if port.network_id in networks}
        wider = networks | {port.network_id for port in interfaces(rows) if port.device_id in more}
        if (more, wider) == (routers, networks):
            return networks, routers
        routers, networks = more, wider


def is_on(rows: Rows, port: Port, chassis: Chassis) -> bool:
    """Is a port plugged into this hypervisor?"""
    placed = bindings.place(rows, port)
    return isinstance(placed, Placed) and placed.chassis == chassis.id
