"""What the model wants to arrive: what security groups and routes let through, of every pair of ports.

It is about the first packets of connections, and fragments: IP packets without a tag, neither ICMP that answers nor
what needs no rule (DHCP, router and neighbour discovery, MLD). Where the model does not say alone where a packet goes
(addresses that only guests know) nothing is asked. It is written from the API's definitions (api-ref, "Security
groups", "Routers"), and shares no code with the apps.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from controller.flows.attachment import attached
from controller.flows.conntrack import ANSWERS
from controller.flows.fields import cover
from controller.model.protocols import WITH_PORTS, ports, protocol_number, type_and_code
from controller.model.records import (
    FLOATING,
    GATEWAY,
    AddressGroup,
    Mac,
    Neighbour,
    Network,
    Port,
    SecurityGroupRule,
)
from controller.model.segments import PHYSICAL
from controller.prove.cloud import Cloud, Origin
from controller.prove.externals import Externals
from controller.prove.promise import FIRST, IPV4, IPV6, LATER, Promise
from controller.prove.routes import Exit, Routes, Unsure, Way
from controller.prove.sets import Set, union
from controller.prove.values import block, number_of

_UNSEEN: Final = (33, 136)
"""DCCP and UDP-Lite, whose ports Open vSwitch does not see: a rule about their ports is about nothing."""
_GROUP: Final = 1 << 40
_DHCP: Final = ((68, 67), (67, 68), (546, 547), (547, 546))
_NOBODYS: Final = ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "::/16", "ff00::/8", "fe80::/10")


@dataclass(frozen=True, slots=True)
class Receiver:
    """An attached port, and the MAC addresses that are its alone."""

    port: Port
    macs: tuple[int, ...]


class Wanted:
    """What should arrive."""

    def __init__(self, cloud: Cloud, promise: Promise) -> None:
        self.cloud, self.promise, self.space = cloud, promise, cloud.space
        self._allowed: dict[tuple[str, str, int | None], Set] = {}
        self.routes = Routes(cloud.rows, cloud.space)
        self.unjudged: dict[tuple[str, str], None] = {}
        """What nothing is asked about, and of what."""
        self.externals = Externals(cloud, self.routes)

    # ---- security groups --------------------------------------------------------------------------------------

    def allowed(self, port: Port, direction: str, to: int | None = None) -> Set:
        """What the security groups of a port let through; of what is translated to a port, `to` that."""
        if not port.port_security_enabled:
            return self.space.everything
        known = self._allowed.get((port.policy, direction, to))
        if known is None:
            rules = [
                rule
                for group in port.security_groups
                for rule in self.cloud.rows.where(SecurityGroupRule, security_group_id=group)
                if rule.direction == direction
            ]
            known = union((self._rule(rule, to) for rule in rules), self.space.nothing)
            self._allowed[port.policy, direction, to] = known
        return known

    def _rule(self, rule: SecurityGroupRule, to: int | None) -> Set:
        family = 4 if rule.ethertype == "IPv4" else 6
        ends = ("nw_dst", "nw_src") if family == 4 else ("ipv6_dst", "ipv6_src")
        slot = ends[0] if rule.direction == "egress" else ends[1]
        found = [block(each) for each in self._remotes(rule)]
        sort = "ip4" if family == 4 else "ip6"
        remotes = union(
            (self.space.is_(slot, value, mask) for kind, value, mask in found if kind == sort), self.space.nothing
        )
        return self.space.is_("eth_type", IPV4 if family == 4 else IPV6) & remotes & self._about(rule, to)

    def _remotes(self, rule: SecurityGroupRule) -> Iterator[str]:
        rows = self.cloud.rows
        if rule.remote_ip_prefix is not None:
            yield rule.remote_ip_prefix
        elif rule.remote_group_id is not None:
            for port in rows.where(Port, groups=rule.remote_group_id):
                yield from port.addresses
        elif rule.remote_address_group_id is not None:
            group = rows.get(AddressGroup, rule.remote_address_group_id)
            yield from group.addresses if group else ()
        else:
            yield "0.0.0.0/0" if rule.ethertype == "IPv4" else "::/0"

    def _about(self, rule: SecurityGroupRule, to: int | None) -> Set:
        """The protocol, and its ports, or type and code. Of a fragment but the first the protocol is all there is."""
        number, space = protocol_number(rule), self.space
        if number is None:
            return space.everything
        if number in _UNSEEN and rule.port_range_min is not None:
            return space.nothing
        made = space.everything
        if number in WITH_PORTS and number not in _UNSEEN and (wanted := ports(rule)) is not None:
            if to is None:
                made = union((space.is_("tp_dst", *each) for each in cover(*wanted)), space.nothing)
            elif not wanted[0] <= to <= wanted[1]:
                made = space.nothing
        type, code = type_and_code(rule)
        made = made if type is None else made & space.is_("tp_src", type)
        made = made if code is None else made & space.is_("tp_dst", code)
        return space.is_("nw_proto", number) & (made | self._later)

    @cached_property
    def _later(self) -> Set:
        """Fragments but the first."""
        return self.space.is_("ip_frag", LATER)

    @cached_property
    def domain(self) -> Set:
        """The packets of guests that are asked about."""
        return self.space.is_("vlan_tci", 0) & self.first

    @cached_property
    def first(self) -> Set:
        """First packets of connections, and fragments, as far as they are asked about, whatever their tag."""
        space = self.space
        made = space.is_("ip_frag", 0) | space.is_("ip_frag", FIRST) | self._later
        udp = space.is_("nw_proto", 17)
        left = [udp & space.is_("tp_src", one) & space.is_("tp_dst", other) for one, other in _DHCP]
        icmp4, icmp6 = (
            space.is_("eth_type", IPV4) & space.is_("nw_proto", 1),
            space.is_("eth_type", IPV6) & space.is_("nw_proto", 58),
        )
        for icmp, proto in ((icmp4, 1), (icmp6, 58)):
            asks = union((space.is_("tp_src", type) for type in ANSWERS[proto]), space.nothing)
            left.append(icmp & ~asks & ~self._later)
        left.append(space.is_("eth_type", IPV6) & self._later)
        left.append(space.is_("eth_type", IPV6) & space.is_("nw_proto", 0))
        left.append(space.is_("nw_proto", 6) & space.is_("tcp_flags", 0x12, 0x12))
        return made & (space.is_("eth_type", IPV4) | space.is_("eth_type", IPV6)) & ~union(left, space.nothing)

    # ---- who sends, and who receives --------------------------------------------------------------------------

    @cached_property
    def receivers_on(self) -> dict[str, list[Receiver]]:
        """By network, the ports that are there, and the MAC addresses that lead to them alone."""
        found: dict[str, list[Port]] = defaultdict(list)
        for id in self.cloud.by_port:
            port = self.cloud.rows.get(Port, id)
            if port is not None and attached(self.promise.view, id):
                found[port.network_id].append(port)
        return {network: [*self._alone(network, ports)] for network, ports in found.items()}

    def _alone(self, network: str, ports: list[Port]) -> Iterator[Receiver]:
        rows = self.cloud.rows
        owned = {port.mac_address for port in rows.where(Port, network_id=network)}
        users: dict[str, set[str]] = defaultdict(set)
        for port in ports:
            for pair in port.allowed_address_pairs:
                users[pair.mac_address].add(port.id)
        heard = self._heard.get(network, set())
        for port in ports:
            more = [mac for mac, by in users.items() if by == {port.id} and mac not in owned | heard]
            yield Receiver(port, tuple(number_of(mac) for mac in (port.mac_address, *more)))

    @cached_property
    def _heard(self) -> dict[str, set[str]]:
        """By network, the MAC addresses that somebody said to be at."""
        found: dict[str, set[str]] = defaultdict(set)
        for each in self.cloud.rows.all(Neighbour):
            found[each.network_id].add(each.mac_address)
        return found

    @property
    def senders(self) -> list[str]:
        """The networks that have ports which are plugged in."""
        return [*self.receivers_on]

    def receivers(self) -> Iterator[tuple[Port, Origin]]:
        """The ports that are plugged in, and where."""
        for receivers in self.receivers_on.values():
            yield from ((each.port, self.cloud.by_port[each.port.id]) for each in receivers)

    def homes(self, network: str) -> list[str]:
        """The hypervisors where a network has ports."""
        return sorted({self.cloud.by_port[each.port.id].chassis for each in self.receivers_on.get(network, ())})

    def sent_from(self, network: str, chassis: str, crossed: bool) -> Set:
        """What the ports of a network on a hypervisor may send; as it is known on another one, if it crossed."""
        known = self._sent_from.get((network, chassis, crossed))
        if known is None:
            here = (each.port for each in self.receivers_on.get(network, ()))
            mine = [port for port in here if self.cloud.by_port[port.id].chassis == chassis]
            known = union((self._by_one(port, crossed) for port in mine), self.space.nothing)
            self._sent_from[network, chassis, crossed] = known
        return known

    @cached_property
    def _sent_from(self) -> dict[tuple[str, str, bool], Set]:
        return {}

    def senders_from(self, network: str, chassis: str, crossed: bool) -> Set:
        """All packets of the ports of a network on a hypervisor; if they crossed to it, on all others."""
        here = (self.cloud.by_port[each.port.id] for each in self.receivers_on.get(network, ()))
        return self.cloud.senders(each for each in here if (each.chassis != chassis) == crossed)

    def sent(self, network: str, receiver: Port, crossed: bool) -> Set:
        """What the ports of a network may send at all to a receiver: those on its hypervisor, or, not by whom, those on
        all others that are on the wire of its network, if that has one."""
        chassis, physical = self.cloud.by_port[receiver.id].chassis, self.physical(receiver.network_id)
        known = self._sending.get((network, chassis, physical, crossed))
        if known is None:
            found = []
            for each in self.receivers_on.get(network, ()):
                at = self.cloud.by_port[each.port.id].chassis
                if (at != chassis) == crossed and (not crossed or self.is_on(at, physical)):
                    found.append(self._by_one(each.port, crossed))
            known = self._sending[network, chassis, physical, crossed] = union(found, self.space.nothing)
        return known

    def physical(self, network: str) -> str | None:
        """The physical network that a network is on."""
        found = self.cloud.rows.get(Network, network)
        return found.physical_network if found is not None and found.network_type in PHYSICAL else None

    def is_on(self, chassis: str, physical: str | None) -> bool:
        """Is a hypervisor on a wire, if it is one?"""
        return physical is None or physical in self.cloud.hosts[chassis].wires.values()

    def _by_one(self, port: Port, crossed: bool) -> Set:
        known = self._each.get((port.id, crossed))
        if known is None:
            mine = self.cloud.sent_by(self.cloud.by_port[port.id]) & self.allowed(port, "egress") & self.domain
            known = mine & self.promise.own(port) if port.port_security_enabled else mine
            if crossed:
                known = self.cloud.algebra.forgotten(known)
            self._each[port.id, crossed] = known
        return known

    @cached_property
    def _each(self) -> dict[tuple[str, bool], Set]:
        return {}

    @cached_property
    def _sending(self) -> dict[tuple[str, str, str | None, bool], Set]:
        return {}

    @cached_property
    def _many(self) -> Set:
        """What is for many, but for what no bridge forwards (IEEE 802.1D section 7.12.6)."""
        return self.space.is_("eth_dst", _GROUP, _GROUP) & ~self.space.is_("eth_dst", 0x0180C2000000, 0xFFFFFFFFFFF0)

    def due(self, receiver: Receiver, network: str, crossed: bool) -> Set:
        """What should arrive at a port from a network, from its hypervisor or from others: its own, or by routers."""
        space = self.space
        sent = self.sent(network, receiver.port, crossed)
        found = []
        if network == receiver.port.network_id:
            found.append(union((space.is_("eth_dst", mac) for mac in receiver.macs), space.nothing) | self._many)
        for way in self.ways(network).get(receiver.port.id, ()):
            found.append(self.routed(way))
        return sent & union(found, space.nothing) & self.allowed(receiver.port, "ingress")

    def routed(self, way: Way) -> Set:
        """The packets that go a way through routers."""
        here = self.before_router(way.network, way.mac, way.end.hops)
        return here & way.end.packets

    def alive(self, hops: int) -> Set:
        """What may pass so many routers."""
        return ~union((self.space.is_("nw_ttl", left) for left in range(hops + 1)), self.space.nothing)

    def before_router(self, network: str, mac: Mac, hops: int) -> Set:
        """What is for a router on a network, and may be forwarded over so many routers."""
        known = self._befores.get((network, mac, hops))
        if known is None:
            known = self.space.is_("eth_dst", number_of(mac)) & self.alive(hops) & self.forwarded
            self._befores[network, mac, hops] = known
        return known

    @cached_property
    def _befores(self) -> dict[tuple[str, Mac, int], Set]:
        return {}

    def ways(self, network: str) -> Mapping[str, list[Way]]:
        """From a network through routers to guests, by who receives."""
        known = self._known_ways.get(network)
        if known is None:
            known = self._known_ways[network] = defaultdict(list)
            for interface in self.routes.by_network.get(network, ()):
                for way in self.routes.ways(interface):
                    known[way.end.receiver].append(way)
        return known

    @cached_property
    def _known_ways(self) -> dict[str, dict[str, list[Way]]]:
        return {}

    @cached_property
    def forwarded(self) -> Set:
        """What routers do not refuse for whom it is from, or for (RFC 1812 section 5.3.7; RFC 4291 sections 2.5.2,
        2.5.6)."""
        space = self.space
        left = []
        for text in _NOBODYS:
            sort, value, mask = block(text)
            family = space.is_("eth_type", IPV4 if sort == "ip4" else IPV6)
            ends = ("nw_src", "nw_dst") if sort == "ip4" else ("ipv6_src", "ipv6_dst")
            left += [family & space.is_(end, value, mask) for end in ends]
        return ~union(left, space.nothing)

    def networks_of(self, receiver: Receiver) -> list[str]:
        """The networks from which a port may be reached."""
        mine = self.promise.joined[receiver.port.network_id]
        return [name for name in self.receivers_on if self.promise.joined[name] == mine]

    def asked_of(self, receiver: Receiver, network: str, crossed: bool) -> Set:
        """Of all that might arrive at a port from a network, that of which the model says alone whether it should."""
        asked = self.asked(network)
        return asked if crossed else asked & ~self.cloud.sent_by(self.cloud.by_port[receiver.port.id])

    def asked(self, network: str) -> Set:
        """The same of all receivers. Nothing is asked about what comes back from the outside, to another address."""
        known = self._asking.get(network)
        if known is None:
            space = self.space
            unsure = [space.is_("eth_dst", mac) for mac in self._unsure(network)]
            for interface in self.routes.by_network.get(network, ()):
                here = space.is_("eth_dst", number_of(interface.mac_address))
                unsure += [here & each for each in self._unsure_at(interface)]
            known = self._asking[network] = ~union(unsure, space.nothing) & self.domain
        return known

    def _unsure_at(self, interface: Port) -> Iterator[Set]:
        """Of what comes to a router, what nobody knows, and what may come to ports of an external network."""
        for fate in self.routes.fates(interface):
            for each in self.externals.unsure(fate) if isinstance(fate, Exit) else (fate,):
                if isinstance(each, Unsure):
                    self.leave(each.why, each.about)
                    yield each.packets

    def leave(self, why: str, about: str) -> None:
        """Nothing is asked about something."""
        if why:
            self.unjudged[why, about] = None

    @cached_property
    def _asking(self) -> dict[str, Set]:
        return {}

    def _unsure(self, network: str) -> list[int]:
        """MAC addresses that the model does not give to one port alone, and those by which the outside is reached."""
        alone = {mac for each in self.receivers_on.get(network, ()) for mac in each.macs}
        pairs = {
            number_of(pair.mac_address)
            for each in self.receivers_on.get(network, ())
            for pair in each.port.allowed_address_pairs
        }
        heard = {number_of(mac) for mac in self._heard.get(network, set())}
        ports = self.cloud.rows.where(Port, network_id=network)
        outer = {number_of(port.mac_address) for port in ports if port.device_owner in (GATEWAY, FLOATING)}
        return sorted((pairs | heard) - alone | outer)

    def judged(self, sender: str, receiver: str) -> tuple[Set, Set]:
        """What one port may send another that is asked about, and what of that should arrive, whoever may send it."""
        network = self.cloud.by_port[sender].network_id
        crossed = self.cloud.by_port[sender].chassis != self.cloud.by_port[receiver].chassis
        (found,) = (each for receivers in self.receivers_on.values() for each in receivers if each.port.id == receiver)
        asked = self.asked_of(found, network, crossed)
        return asked, self.due(found, network, crossed) & asked & self.cloud.sound

    def sound(self, crossed: bool) -> Set:
        return self._sound_aside if crossed else self.cloud.sound

    @cached_property
    def _sound_aside(self) -> Set:
        return self.cloud.algebra.forgotten(self.cloud.sound)

    def sendable(self, packets: Set, network: str) -> Set:
        """Of packets of which it is not known who sends them, those that somebody may send, if any."""
        own = union((self._by_one(each.port, False) for each in self.receivers_on[network]), self.space.nothing)
        made = packets & own & self.cloud.sound
        return packets if made == self.space.nothing else made
