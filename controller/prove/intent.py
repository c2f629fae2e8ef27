"""What the model wants to arrive, and whether it is what does: security groups and routes, of every pair of ports.

It is about the first packets of connections between guests: whole IP packets without a tag, neither ICMP that answers
nor what needs no rule (DHCP, router and neighbour discovery, MLD). Where the model does not say alone which way a
packet goes (several next hops, addresses that only guests know) nothing is asked. It is written from the API's
definitions (api-ref, "Security groups", "Routers"), and shares no code with the apps.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from controller.flows.attachment import attached
from controller.flows.conntrack import ANSWERS
from controller.flows.fields import cover
from controller.model.protocols import WITH_PORTS, ports, protocol_number, type_and_code
from controller.model.records import (
    AddressGroup,
    Neighbour,
    Port,
    SecurityGroupRule,
)
from controller.prove.claims import Suspicion
from controller.prove.cloud import Cloud, Survey
from controller.prove.conntrack import BELIEVED
from controller.prove.promise import IPV4, IPV6, Promise
from controller.prove.routes import Routes, Way
from controller.prove.rules import Test
from controller.prove.sets import Set, union
from controller.prove.values import block, number_of

MISSING: Final = "missing"
EXCESS: Final = "excess"
REWRITTEN: Final = "rewritten"
_UNSEEN: Final = (33, 136)
"""DCCP and UDP-Lite, whose ports Open vSwitch does not see: a rule about their ports is about nothing."""
_GROUP: Final = 1 << 40
_MULTICAST_LISTENERS: Final = (130, 131, 132, 143)
_DISCOVERY: Final = (133, 134, 135, 136, 137)


@dataclass(frozen=True, slots=True)
class _Receiver:
    """An attached port, and the MAC addresses that are its alone."""

    port: Port
    macs: tuple[int, ...]


class Intent:
    """What should arrive."""

    def __init__(self, cloud: Cloud, promise: Promise) -> None:
        self.cloud, self.promise, self.space = cloud, promise, cloud.space
        self._allowed: dict[tuple[str, str], Set] = {}
        self.routes = Routes(cloud.rows)

    # ---- security groups --------------------------------------------------------------------------------------

    def allowed(self, port: Port, direction: str) -> Set:
        """What the security groups of a port let through."""
        if not port.port_security_enabled:
            return self.space.everything
        known = self._allowed.get((port.policy, direction))
        if known is None:
            rules = [
                rule
                for group in port.security_groups
                for rule in self.cloud.rows.where(SecurityGroupRule, security_group_id=group)
                if rule.direction == direction
            ]
            known = union((self._rule(rule) for rule in rules), self.space.nothing)
            self._allowed[port.policy, direction] = known
        return known

    def _rule(self, rule: SecurityGroupRule) -> Set:
        family = 4 if rule.ethertype == "IPv4" else 6
        ends = ("nw_dst", "nw_src") if family == 4 else ("ipv6_dst", "ipv6_src")
        slot = ends[0] if rule.direction == "egress" else ends[1]
        found = [block(each) for each in self._remotes(rule)]
        sort = "ip4" if family == 4 else "ip6"
        remotes = union(
            (self.space.is_(slot, value, mask) for kind, value, mask in found if kind == sort), self.space.nothing
        )
        return self.space.is_("eth_type", IPV4 if family == 4 else IPV6) & remotes & self._about(rule)

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

    def _about(self, rule: SecurityGroupRule) -> Set:
        """The protocol, and its ports, or type and code."""
        number, space = protocol_number(rule), self.space
        if number is None:
            return space.everything
        made = space.is_("nw_proto", number)
        if number in _UNSEEN and rule.port_range_min is not None:
            return space.nothing
        if number in WITH_PORTS and number not in _UNSEEN and (wanted := ports(rule)) is not None:
            made = made & union((space.is_("tp_dst", *each) for each in cover(*wanted)), space.nothing)
        type, code = type_and_code(rule)
        made = made if type is None else made & space.is_("tp_src", type)
        return made if code is None else made & space.is_("tp_dst", code)

    @cached_property
    def _domain(self) -> Set:
        """The packets that are asked about."""
        space = self.space
        made = space.is_("ip_frag", 0) & space.is_("vlan_tci", 0)
        udp = space.is_("nw_proto", 17)
        left = [udp & space.is_("tp_src", one) & space.is_("tp_dst", other) for one, other in _DHCP]
        icmp4, icmp6 = (
            space.is_("eth_type", IPV4) & space.is_("nw_proto", 1),
            space.is_("eth_type", IPV6) & space.is_("nw_proto", 58),
        )
        for icmp, proto in ((icmp4, 1), (icmp6, 58)):
            asks = union((space.is_("tp_src", type) for type in ANSWERS[proto]), space.nothing)
            left.append(icmp & ~asks)
        left.append(space.is_("eth_type", IPV6) & space.is_("nw_proto", 0))
        left.append(space.is_("nw_proto", 6) & space.is_("tcp_flags", 0x12, 0x12))
        return made & (space.is_("eth_type", IPV4) | space.is_("eth_type", IPV6)) & ~union(left, space.nothing)

    # ---- who sends, and who receives --------------------------------------------------------------------------

    @cached_property
    def _receivers(self) -> dict[str, list[_Receiver]]:
        """By network, the ports that are there, and the MAC addresses that lead to them alone."""
        found: dict[str, list[Port]] = defaultdict(list)
        for id in self.cloud.by_port:
            port = self.cloud.rows.get(Port, id)
            if port is not None and attached(self.promise.view, id):
                found[port.network_id].append(port)
        return {network: [*self._alone(network, ports)] for network, ports in found.items()}

    def _alone(self, network: str, ports: list[Port]) -> Iterator[_Receiver]:
        rows = self.cloud.rows
        owned = {port.mac_address for port in rows.where(Port, network_id=network)}
        users: dict[str, set[str]] = defaultdict(set)
        for port in ports:
            for pair in port.allowed_address_pairs:
                users[pair.mac_address].add(port.id)
        heard = self._heard.get(network, set())
        for port in ports:
            more = [mac for mac, by in users.items() if by == {port.id} and mac not in owned | heard]
            yield _Receiver(port, tuple(number_of(mac) for mac in (port.mac_address, *more)))

    @cached_property
    def _heard(self) -> dict[str, set[str]]:
        """By network, the MAC addresses that somebody said to be at."""
        found: dict[str, set[str]] = defaultdict(set)
        for each in self.cloud.rows.all(Neighbour):
            found[each.network_id].add(each.mac_address)
        return found

    def _sent(self, network: str, chassis: str, crossed: bool) -> Set:
        """What the ports of a network may send at all: those on a hypervisor, or, not by whom, those on all others."""
        known = self._sending.get((network, chassis, crossed))
        if known is None:
            found = []
            for each in self._receivers.get(network, ()):
                at = self.cloud.by_port[each.port.id]
                if (at.chassis != chassis) == crossed:
                    found.append(self._by_one(each.port, crossed))
            known = self._sending[network, chassis, crossed] = union(found, self.space.nothing)
        return known

    def _by_one(self, port: Port, crossed: bool) -> Set:
        known = self._each.get((port.id, crossed))
        if known is None:
            mine = self.cloud.sent_by(self.cloud.by_port[port.id]) & self.allowed(port, "egress") & self._domain
            known = mine & self.promise.own(port) if port.port_security_enabled else mine
            if crossed:
                known = self.cloud.algebra.forgotten(known)
            self._each[port.id, crossed] = known
        return known

    @cached_property
    def _each(self) -> dict[tuple[str, bool], Set]:
        return {}

    @cached_property
    def _sending(self) -> dict[tuple[str, str, bool], Set]:
        return {}

    @cached_property
    def _many(self) -> Set:
        """What is for many, but for what no bridge forwards (IEEE 802.1D section 7.12.6)."""
        return self.space.is_("eth_dst", _GROUP, _GROUP) & ~self.space.is_("eth_dst", 0x0180C2000000, 0xFFFFFFFFFFF0)

    def _wanted(self, receiver: _Receiver, network: str, crossed: bool) -> Set:
        """What should arrive at a port from a network, from its hypervisor or from others: its own, or by routers."""
        space, at = self.space, self.cloud.by_port[receiver.port.id]
        sent = self._sent(network, at.chassis, crossed)
        found = []
        if network == receiver.port.network_id:
            found.append(union((space.is_("eth_dst", mac) for mac in receiver.macs), space.nothing) | self._many)
        for way in self._ways(receiver):
            if way.network != network:
                continue
            alive = ~union((space.is_("nw_ttl", left) for left in range(way.hops + 1)), space.nothing)
            sort, value, mask = block(way.address)
            target = space.is_("nw_dst" if sort == "ip4" else "ipv6_dst", value, mask)
            family = space.is_("eth_type", IPV4 if sort == "ip4" else IPV6)
            router = space.is_("eth_dst", number_of(way.mac))
            found.append(router & family & target & alive & self._forwarded)
        return sent & union(found, space.nothing) & self.allowed(receiver.port, "ingress")

    def _ways(self, receiver: _Receiver) -> list[Way]:
        known = self._known_ways.get(receiver.port.id)
        if known is None:
            known = self._known_ways[receiver.port.id] = [*self.routes.to(receiver.port)]
        return known

    @cached_property
    def _known_ways(self) -> dict[str, list[Way]]:
        return {}

    @cached_property
    def _forwarded(self) -> Set:
        """What routers do not refuse for whom it is from (RFC 1812 section 5.3.7; RFC 4291 sections 2.5.2, 2.5.6)."""
        space = self.space
        left = []
        for text in NOBODYS:
            sort, value, mask = block(text)
            family = space.is_("eth_type", IPV4 if sort == "ip4" else IPV6)
            left.append(family & space.is_("nw_src" if sort == "ip4" else "ipv6_src", value, mask))
        return ~union(left, space.nothing)

    def _networks(self, receiver: _Receiver) -> list[str]:
        """The networks from which a port may be reached."""
        mine = self.promise.joined[receiver.port.network_id]
        return [name for name in self._receivers if self.promise.joined[name] == mine]

    def _asked(self, receiver: _Receiver, network: str, crossed: bool) -> Set:
        """Of all that might arrive at a port from a network, that of which the model says alone whether it should."""
        known = self._asking.get(network)
        if known is None:
            space = self.space
            routers = union((space.is_("eth_dst", number_of(mac)) for mac in self.routes.macs(network)), space.nothing)
            unsure = union((space.is_("eth_dst", mac) for mac in self._unsure(network)), space.nothing)
            addressed = self._addressed(self.promise.joined[network])
            known = self._asking[network] = ((~routers & ~unsure) | (routers & addressed)) & self._domain
        return known if crossed else known & ~self.cloud.sent_by(self.cloud.by_port[receiver.port.id])

    @cached_property
    def _asking(self) -> dict[str, Set]:
        return {}

    def _unsure(self, network: str) -> list[int]:
        """MAC addresses that the model does not give to one port alone."""
        alone = {mac for each in self._receivers.get(network, ()) for mac in each.macs}
        pairs = {
            number_of(pair.mac_address)
            for each in self._receivers.get(network, ())
            for pair in each.port.allowed_address_pairs
        }
        heard = {number_of(mac) for mac in self._heard.get(network, set())}
        return sorted((pairs | heard) - alone)

    def _addressed(self, joined: str) -> Set:
        known = self._addresses.get(joined)
        if known is None:
            space = self.space
            found = []
            for address in self.routes.plain(name for name, each in self.promise.joined.items() if each == joined):
                sort, value, mask = block(address)
                slot, family = ("nw_dst", IPV4) if sort == "ip4" else ("ipv6_dst", IPV6)
                found.append(space.is_("eth_type", family) & space.is_(slot, value, mask))
            known = self._addresses[joined] = union(found, space.nothing)
        return known

    @cached_property
    def _addresses(self) -> dict[str, Set]:
        return {}

    def judged(self, sender: str, receiver: str) -> tuple[Set, Set]:
        """What one port may send another that is asked about, and what of that should arrive, whoever may send it."""
        network = self.cloud.by_port[sender].network_id
        crossed = self.cloud.by_port[sender].chassis != self.cloud.by_port[receiver].chassis
        (found,) = (each for receivers in self._receivers.values() for each in receivers if each.port.id == receiver)
        asked = self._asked(found, network, crossed)
        return asked, self._wanted(found, network, crossed) & asked & self.cloud.sound

    # ---- compared ---------------------------------------------------------------------------------------------

    def compared(self, survey: Survey, crowds: Collection[str]) -> Iterator[Suspicion]:
        """What arrives from these networks and should not, and what should and does not."""
        arrived = self._arrived(survey)
        for receivers in self._receivers.values():
            for receiver in receivers:
                at = self.cloud.by_port[receiver.port.id]
                for network in filter(crowds.__contains__, self._networks(receiver)):
                    for crossed in (False, True):
                        come = arrived.get((at.chassis, at.ofport, network, crossed), self.space.nothing)
                        yield from self._compared(receiver, network, crossed, come)
        yield from self._rewritten(survey)

    def _arrived(self, survey: Survey) -> dict[tuple[str, int, str, bool], Set]:
        """What came to ports, by crowd, of what begins connections."""
        algebra, found = self.cloud.algebra, dict[tuple[str, int, str, bool], Set]()
        for each in survey.arrived:
            sets = [algebra.as_sent(state) for state in each.states if algebra.value(state, BELIEVED) == 0]
            come = union(sets, self.space.nothing)
            place = (each.chassis, each.port, each.crowd, each.crossed)
            come = algebra.forgotten(come) if each.crossed else come
            found[place] = found.get(place, self.space.nothing) | come
        return found

    def _compared(self, receiver: _Receiver, network: str, crossed: bool, come: Set) -> Iterator[Suspicion]:
        space, at, asked = self.space, self.cloud.by_port[receiver.port.id], self._asked(receiver, network, crossed)
        come = come & asked
        wanted = self._wanted(receiver, network, crossed) & asked & self._sound(crossed)
        if come == wanted:
            return
        senders = self.cloud.senders(
            here
            for each in self._receivers[network]
            for here in [self.cloud.by_port[each.port.id]]
            if (here.chassis != at.chassis) == crossed and here is not at
        )
        name = f"port {receiver.port.id}"
        if (more := come & ~wanted & senders) != space.nothing:
            sentence = f"it reaches {name}, which its security groups, or the sender's, do not allow"
            yield Suspicion(EXCESS, sentence, more, at.chassis, at.ofport, at)
        if (less := wanted & ~come & senders) != space.nothing:
            sentence = f"it should reach {name} on {at.chassis}, and does not"
            yield Suspicion(MISSING, sentence, self._sendable(less, network), at.chassis, at.ofport, at)

    def _sound(self, crossed: bool) -> Set:
        return self._sound_aside if crossed else self.cloud.sound

    @cached_property
    def _sound_aside(self) -> Set:
        return self.cloud.algebra.forgotten(self.cloud.sound)

    def _sendable(self, packets: Set, network: str) -> Set:
        """Of packets of which it is not known who sends them, those that somebody may send, if any."""
        own = union((self._by_one(each.port, False) for each in self._receivers[network]), self.space.nothing)
        made = packets & own & self.cloud.sound
        return packets if made == self.space.nothing else made

    def _rewritten(self, survey: Survey) -> Iterator[Suspicion]:
        """What arrives with a MAC address of somebody else."""
        macs = {
            (at.chassis, at.ofport): {
                number_of(port.mac_address),
                *(number_of(p.mac_address) for p in port.allowed_address_pairs),
            }
            for at in self.cloud.by_port.values()
            if (port := self.cloud.rows.get(Port, at.port_id)) is not None and port.port_security_enabled
        }
        for each in survey.arrived:
            own = macs.get((each.chassis, each.port))
            if own is None:
                continue
            sets = []
            for state in each.states:
                left = self.cloud.algebra.less(state, Test("eth_dst", _GROUP, _GROUP))
                for mac in own:
                    left = self.cloud.algebra.less(left, Test("eth_dst", mac, (1 << 48) - 1))
                sets.append(left.packets)
            if (wrong := union(sets, self.space.nothing)) != self.space.nothing:
                at = self.cloud.guest(each.chassis, each.port)
                sentence = f"it reaches port {at.port_id if at else ''} for a MAC address that is not the port's"
                yield Suspicion(REWRITTEN, sentence, wrong, each.chassis, each.port, at)


_DHCP: Final = ((68, 67), (67, 68), (546, 547), (547, 546))
NOBODYS: Final = ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "::/16", "ff00::/8", "fe80::/10")
