"""What the model wants of ways out, and whether it is what happens: what leaves for an external network, and as whom;
and what comes from there, to whom, by floating IPs, port forwardings, or as it is.

It is written from the API's definitions (api-ref, "Routers", "Floating IPs", "Port forwarding") and from what
`docs/nat.md` promises of gateways, and shares no code with the apps. Every hypervisor that may be a router's gateway is
asked alike, as if it were its turn. Nothing is asked about what goes from inside to addresses that ports of an external
network have (other floating IPs, gateways, guests there): it may leave, and come in again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address
from typing import Final

from controller.flows.fields import cover
from controller.flows.ways_out import gateway_port, own_address
from controller.model.protocols import NUMBERS
from controller.model.records import (
    Address,
    FloatingIp,
    Mac,
    Network,
    Port,
    PortForwarding,
    Router,
)
from controller.prove.claims import Suspicion
from controller.prove.cloud import Arrived, Origin, Survey
from controller.prove.conntrack import BELIEVED
from controller.prove.promise import IPV4, IPV6, tag_of
from controller.prove.routes import End, Exit, Unsure
from controller.prove.rules import Test
from controller.prove.sets import ONE, WIDTHS, Maybe, Set, union
from controller.prove.states import State
from controller.prove.values import block, number_of
from controller.prove.wanted import Wanted

MISSING: Final = "missing"
EXCESS: Final = "excess"
MOST_PORTS: Final = 1024
"""So many ports of one port forwarding, each of which is another inside, are asked about."""
_TOLD: Final = ("eth_src", "eth_dst", "nw_src", "nw_dst", "tp_src", "tp_dst")
"""What is compared of packets that arrive; what an outcome says nothing of is as it was sent."""
Place = tuple[str, int, str, bool]
"""A hypervisor, a port of it, the crowd that sends, and whether packets came from another hypervisor."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What should come of packets: these headers become this; and how that is said."""

    packets: Set
    becomes: tuple[tuple[str, int], ...]
    words: str


class Outside:
    """What should come of what goes out and comes in, and what does."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted, self.externals, self.routes = wanted, wanted.externals, wanted.routes
        self.cloud, self.space = wanted.cloud, wanted.cloud.space
        self.rows, self.view = wanted.externals.rows, wanted.externals.view

    # ---- what should leave ------------------------------------------------------------------------------------

    def leaving(self, network: str) -> dict[tuple[str, str, bool], list[Outcome]]:
        """What ports of a network send outside: by hypervisor, external network, and whether it came from another."""
        found: dict[tuple[str, str, bool, tuple[tuple[str, int], ...], str], list[Set]] = defaultdict(list)
        for interface in self.routes.by_network.get(network, ()):
            for fate in self.routes.fates(interface):
                outer = gateway_port(self.view, fate.router) if isinstance(fate, Exit) else None
                if not isinstance(fate, Exit) or outer is None:
                    continue
                before = self.wanted.before_router(network, interface.mac_address, fate.hops)
                for packets, mac in self.externals.reached(fate, outer.network_id):
                    self._leave(found, network, fate.router, outer, packets & before, mac)
        made: dict[tuple[str, str, bool], list[Outcome]] = defaultdict(list)
        for (chassis, to, crossed, becomes, words), sets in found.items():
            made[chassis, to, crossed].append(Outcome(union(sets, self.space.nothing), becomes, words))
        return made

    def _leave(
        self,
        found: dict[tuple[str, str, bool, tuple[tuple[str, int], ...], str], list[Set]],
        network: str,
        router: str,
        outer: Port,
        packets: Set,
        to: Mac,
    ) -> None:
        """From each hypervisor, by each gateway that may take it, under each address."""
        for chassis in self.wanted.homes(network):
            for gateway, part, source, mac, words in self._parts(router, chassis, outer, packets):
                crossed = gateway != chassis
                sent = part & self.wanted.sent_from(network, chassis, crossed)
                if sent != self.space.nothing:
                    becomes = (("eth_src", number_of(mac)), ("eth_dst", number_of(to)), *source)
                    found[gateway, outer.network_id, crossed, becomes, words].append(sent)

    def _parts(
        self, router: str, chassis: str, outer: Port, packets: Set
    ) -> Iterator[tuple[str, Set, tuple[tuple[str, int], ...], Mac, str]]:
        """By where it leaves: which packets, as whom, from which MAC address; and by what that is named."""
        record, mine = self.rows.get(Router, router), own_address(self.view, router)
        assert record is not None
        ways = [*self.externals.led(router, chassis)]
        four = packets & self.space.is_("eth_type", IPV4)
        for gateway in ways:
            six = packets & self.space.is_("eth_type", IPV6)
            yield gateway, six, (), outer.mac_address, f"router {router}"
        if mine is not None:
            four = four & ~self._from(mine)  # nobody bears the gateway's own address
        for floating in self.externals.floating.get(router, ()):
            if not floating.port_id or floating.fixed_ip_address is None:
                continue
            at, port = self.externals.translated(floating), self.rows.get(Port, floating.floating_port_id)
            mine_alone = self._from(floating.fixed_ip_address)
            part, four = four & mine_alone, four & ~mine_alone
            if at is None or port is None:
                continue
            become = (("nw_src", int(ip_address(floating.floating_ip_address))),)
            names = f"floating IP {floating.id}"
            if at.distributed and at.chassis == (chassis,):
                yield chassis, part, become, port.mac_address, names
                continue
            for gateway in ways:
                if gateway in at.chassis:
                    yield gateway, part, become, port.mac_address, names
                else:
                    yield from self._plainly(record, mine, gateway, part, outer)
        for gateway in ways:
            yield from self._plainly(record, mine, gateway, four, outer)

    def _plainly(
        self, router: Router, mine: Address | None, gateway: str, packets: Set, outer: Port
    ) -> Iterator[tuple[str, Set, tuple[tuple[str, int], ...], Mac, str]]:
        """Under the gateway's address, or as it is."""
        if not router.enable_snat:
            yield gateway, packets, (), outer.mac_address, f"router {router.id}"
        elif mine is not None:
            become = (("nw_src", int(ip_address(mine))),)
            yield gateway, packets, become, outer.mac_address, f"the gateway of router {router.id}"

    def _from(self, address: Address) -> Set:
        sort, value, mask = block(address)
        assert sort == "ip4"
        return self.space.is_("nw_src", value, mask)

    def unsure_senders(self, router: str) -> Set:
        """From whom nobody knows as whom it leaves: addresses of guests that only they know, with a floating IP."""
        found = []
        for floating in self.externals.floating.get(router, ()):
            inner = floating.fixed_ip_address if floating.port_id else None
            if inner is not None and self.externals.translated(floating) is None:
                self.wanted.leave("floating IPs of addresses that only guests know", floating.id)
                found.append(self._from(inner))
        return union(found, self.space.nothing)

    # ---- what should come -------------------------------------------------------------------------------------

    @property
    def arriving(self) -> Mapping[Place, Sequence[Outcome]]:
        """What should come of what hosts of wires send, by guest."""
        return self._coming[0]

    @cached_property
    def _coming(self) -> tuple[dict[Place, list[Outcome]], dict[tuple[str, str], list[Outcome]], dict[str, list[Set]]]:
        """What hosts of wires send: to guests, by place; into tunnels, by gateway of several and the hypervisor where
        they end; and of what nobody knows, by network."""
        arrives: dict[Place, list[Outcome]] = defaultdict(list)
        passes: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
        doubts: dict[str, list[Set]] = defaultdict(list)
        for network in self.externals.networks:
            for name in self.cloud.hosts:
                if self.externals.port_to(name, network) is None:
                    continue
                for router in self.rows.where(Router, external_network_id=network.id):
                    doors = (number_of(mac) for mac in self._doors(router, name))
                    come = union((self.space.is_("eth_dst", door) for door in doors), self.space.nothing)
                    for each in self._into(router, name, come & self.come(network)):
                        if isinstance(each, Unsure):
                            doubts[network.id].append(each.packets)
                        else:
                            self._land(network, router, name, each, arrives, passes)
        return arrives, passes, doubts

    def come(self, network: Network) -> Set:
        """What is asked about of all that hosts of an external network send."""
        known = self._come.get(network.id)
        if known is None:
            space = self.space
            senders = [each for each in self.cloud.followed if each.physical == network.physical_network]
            odd = space.is_("eth_src", 1 << 40, 1 << 40) | space.is_("eth_src", 0x1E << 40, 0xFF << 40)
            tagged = space.is_("vlan_tci", *tag_of(network)) & self.wanted.first
            known = self._come[network.id] = self.cloud.senders(senders) & tagged & ~odd & self.cloud.sound
        return known

    @cached_property
    def _come(self) -> dict[str, Set]:
        return {}

    def _doors(self, router: Router, chassis: str) -> list[Mac]:
        """The MAC addresses by which a hypervisor takes what comes for a router, or for its floating IPs."""
        outer = gateway_port(self.view, router.id)
        if outer is None or not router.admin_state_up:
            return []
        takes = self.externals.takes(router.id, chassis)
        found = [outer.mac_address] if takes else []
        for floating in self.externals.floating.get(router.id, ()):
            at, port = self.externals.translated(floating), self.rows.get(Port, floating.floating_port_id)
            if at is not None and port is not None and chassis in at.chassis and (at.distributed or takes):
                found.append(port.mac_address)
        return found

    def _into(self, router: Router, chassis: str, come: Set) -> Iterator[_Landing | Unsure]:
        """What comes to a router from outside, there."""
        own = self.routes.own(router.id, None)
        yield Unsure(come & own, "", "")
        come = come & ~own & self.wanted.forwarded & self.wanted.alive(1)
        four, six = (come & self.space.is_("eth_type", family) for family in (IPV4, IPV6))
        for floating in self.externals.floating.get(router.id, ()):
            mine = self.routes.to(floating.floating_ip_address)
            part, four = four & mine, four & ~mine
            at = self.externals.translated(floating)
            if at is None or (chassis not in at.chassis and not router.enable_snat):
                yield Unsure(part, "", "")
            elif chassis in at.chassis and floating.port_id and floating.fixed_ip_address is not None:
                words = f"floating IP {floating.id}"
                yield from self._translated(router, part, floating.fixed_ip_address, None, words)
            elif chassis in at.chassis:
                yield from self._forwarded(router, floating, part)
        for left in (six,) if router.enable_snat else (six, four):
            for fate in self.routes.led(router.id, left):
                if isinstance(fate, End):
                    yield _Landing(fate, (), f"router {router.id}")
                elif isinstance(fate, Unsure):
                    yield fate
                else:
                    yield from self.externals.unsure(fate)

    def _forwarded(self, router: Router, floating: FloatingIp, packets: Set) -> Iterator[_Landing | Unsure]:
        """By the port forwardings of a floating IP. Of fragments nobody can say whether a connection begins."""
        space = self.space
        whole = space.is_("ip_frag", 0)
        yield Unsure(packets & ~whole, "", "")
        for each in self.rows.where(PortForwarding, floatingip_id=floating.id):
            words = f"port forwarding {each.id}"
            mine = packets & whole & space.is_("nw_proto", NUMBERS[each.protocol])
            first, last, to = each.external_port_first, each.external_port_last, each.internal_port_first
            blocks = union((space.is_("tp_dst", *one) for one in cover(first, last)), space.nothing)
            if to == each.internal_port_last:
                yield from self._translated(router, mine & blocks, each.internal_ip_address, to, words)
            elif first == to:
                yield from self._translated(router, mine & blocks, each.internal_ip_address, None, words)
            elif last - first >= MOST_PORTS:
                self.wanted.leave(f"port forwardings of more than {MOST_PORTS} ports to others", each.id)
                yield Unsure(mine & blocks, "", "")
            else:
                for at in range(first, last + 1):
                    one = mine & space.is_("tp_dst", at)
                    yield from self._translated(router, one, each.internal_ip_address, to + at - first, words)

    def _translated(
        self, router: Router, packets: Set, inner: Address, port: int | None, words: str
    ) -> Iterator[_Landing | Unsure]:
        """To an address inside, which its router must be on a network with."""
        lead = self.routes.lead_to(router.id, inner)
        becomes = (("nw_dst", int(ip_address(inner))), *((("tp_dst", port),) if port is not None else ()))
        for each in lead.nexts if lead else ():
            network = each.interface.network_id
            guest = self.routes.fixed(network).get(inner)
            if each.nexthop is not None:
                self.wanted.leave("translations to behind another router", words)
                yield Unsure(packets, "", "")
            elif guest is not None:
                yield _Landing(End(packets, 1, guest, each.interface.mac_address), becomes, words)
            elif self.routes.is_loose(network, inner):
                yield Unsure(packets, "", "")

    def _land(
        self,
        network: Network,
        router: Router,
        chassis: str,
        landing: _Landing,
        arrives: dict[Place, list[Outcome]],
        passes: dict[tuple[str, str], list[Outcome]],
    ) -> None:
        """At a guest: if its security groups let it in."""
        guest = self.rows.get(Port, landing.end.receiver)
        at = self.cloud.by_port.get(landing.end.receiver)
        if guest is None or at is None or landing.end.packets == self.space.nothing:
            return
        crossed, wire = at.chassis != chassis, self.wanted.physical(guest.network_id)
        if crossed and not self.wanted.is_on(chassis, wire):
            return
        source = (("eth_src", number_of(landing.end.source)),) if wire is None else ()  # there it is the hypervisor's
        becomes = (*source, ("eth_dst", number_of(guest.mac_address)), *landing.becomes)
        alive = landing.end.packets & self.wanted.alive(landing.end.hops)
        port = dict(landing.becomes).get("tp_dst")
        let_in = alive & self.wanted.allowed(guest, "ingress", port)
        let_in = self.cloud.algebra.forgotten(let_in) if crossed else let_in
        place = (at.chassis, at.ofport, f"/{network.physical_network}", crossed)
        arrives[place].append(Outcome(let_in, becomes, landing.words))
        if crossed and wire is None and len(self.externals.ranked(router.id)) > 1:
            passes[chassis, at.chassis].append(Outcome(alive, becomes, landing.words))

    # ---- compared ---------------------------------------------------------------------------------------------

    def compared(self, survey: Survey, crowds: Collection[str]) -> Iterator[Suspicion]:
        """What leaves and should not, or not as it does; what should and does not; and the same of what comes."""
        if not self.externals.networks:
            return
        wired = self._begun(survey.wired)
        for network in self.wanted.senders:
            if network in crowds:
                yield from self._left(network, wired)
        followed = {f"/{each.physical_network}" for each in self.externals.networks} & {*crowds}
        for crowd in sorted(followed):
            yield from self._come_in(crowd, self._begun(survey.arrived))
        if followed:
            yield from self._passed(survey)

    def _begun(self, found: Iterable[Arrived]) -> Mapping[Place, list[State]]:
        """By place, the packets that begin connections."""
        made: dict[Place, list[State]] = defaultdict(list)
        for each in found:
            states = [state for state in each.states if self.cloud.algebra.value(state, BELIEVED) == 0]
            made[each.chassis, each.port, each.crowd, each.crossed] += states
        return made

    def asked_out(self, network: str) -> Set:
        """Of what ports of a network send, that of which the model says alone whether it should leave, and as whom."""
        doubts = (
            self.space.is_("eth_dst", number_of(each.mac_address)) & self.unsure_senders(fate.router)
            for each in self.routes.by_network.get(network, ())
            for fate in self.routes.fates(each)
            if isinstance(fate, Exit)
        )
        return self.wanted.asked(network) & ~union(doubts, self.space.nothing)

    def asked_in(self, external: Network) -> Set:
        """The same of what hosts of an external network send."""
        _, _, doubts = self._coming
        left = (*doubts.get(external.id, ()), self.space.is_("eth_dst", 1 << 40, 1 << 40))
        return self.come(external) & ~union(left, self.space.nothing)

    def _left(self, network: str, wired: Mapping[Place, Sequence[State]]) -> Iterator[Suspicion]:
        wanted, asked = self.leaving(network), self.asked_out(network)
        joined = self.wanted.promise.joined
        for external in self.externals.networks:
            if joined[external.id] == joined[network]:
                if external.id != network:
                    self.wanted.leave("networks that routers join with an external network", network)
                continue
            tag = Test("vlan_tci", *tag_of(external))
            for name in self.cloud.hosts:
                port = self.externals.port_to(name, external)
                for crossed in (False, True) if port is not None else ():
                    assert port is not None
                    states = [
                        self.cloud.algebra.narrowed(state, tag)
                        for state in wired.get((name, port, network, crossed), ())
                    ]
                    senders = self.wanted.senders_from(network, name, crossed)
                    about = f"{name} for network {external.id}"
                    for claim, words, packets in self._differ(
                        wanted.get((name, external.id, crossed), []), states, asked & senders, crossed
                    ):
                        sentence = _leaves(claim, about, words)
                        packets = self.wanted.sendable(packets, network) if crossed else packets
                        yield Suspicion(claim, sentence, packets, name, port, how=True)

    def _come_in(self, crowd: str, arrived: Mapping[Place, Sequence[State]]) -> Iterator[Suspicion]:
        wanted, joined = self.arriving, self.wanted.promise.joined
        asked = {
            external.id: self.asked_in(external)
            for external in self.externals.networks
            if f"/{external.physical_network}" == crowd
        }
        for port, at in self.wanted.receivers():
            mine = [each for id, each in asked.items() if joined[id] != joined[port.network_id]]
            for crossed in (False, True):
                place = (at.chassis, at.ofport, crowd, crossed)
                outcomes, states = wanted.get(place, []), arrived.get(place, [])
                within = union(mine, self.space.nothing)
                for claim, words, packets in self._differ(outcomes, states, within, crossed):
                    packets = packets & within if packets & within != self.space.nothing else packets
                    yield Suspicion(claim, _comes(claim, at, words), packets, at.chassis, at.ofport, at, how=True)

    def _passed(self, survey: Survey) -> Iterator[Suspicion]:
        """What each of several gateways hands on: where it ends it could be another's."""
        _, wanted, doubts = self._coming
        algebra = self.cloud.algebra
        sure = ~union((each for sets in doubts.values() for each in sets), self.space.nothing)
        for (chassis, to), outcomes in wanted.items():
            end = self.cloud.hosts[to].chassis.encap_ip if to in self.cloud.hosts else None
            if end is None:
                continue
            sort = "tun_ipv6_dst" if ":" in end else "tun_dst"
            there = Test(sort, int(ip_address(end)), (1 << WIDTHS[sort]) - 1)
            states = [
                algebra.narrowed(state, there)
                for name, port, state in survey.emitted
                if name == chassis and self.cloud.hosts[name].tunnel(port) and algebra.value(state, BELIEVED) == 0
            ]
            for each in outcomes:
                came = union((algebra.as_sent(self._meeting(state, each)) for state in states), self.space.nothing)
                less = each.packets & sure & ~came
                if less != self.space.nothing:
                    sentence = f"gateway {chassis} should send it to {to} by {each.words}, and does not"
                    yield Suspicion(MISSING, sentence, less, chassis, how=True)

    def _differ(
        self, wanted: Sequence[Outcome], states: Sequence[State], asked: Set, crossed: bool
    ) -> Iterator[tuple[str, str, Set]]:
        """By claim: what that is about, and packets of it."""
        nothing, algebra = self.space.nothing, self.cloud.algebra
        within = algebra.forgotten(asked & self.cloud.sound) if crossed else asked & self.cloud.sound
        alive = [state for state in states if state.packets & within != nothing]
        for each in wanted:
            came = union((self._sent(self._meeting(state, each), crossed) for state in alive), nothing)
            less = each.packets & within & ~came
            if less != nothing:
                yield MISSING, each.words, less
        wrong: dict[str, list[Set]] = defaultdict(list)
        for state in alive:
            right = union((each.packets & self._meets(state, each) for each in wanted), nothing)
            left = state.packets & within & ~right
            if left != nothing:
                sent = self._sent(State(state.values, left), crossed)
                about = next((each.words for each in wanted if each.packets & sent != nothing), "")
                wrong[about].append(sent)
        for about, sets in wrong.items():
            yield EXCESS, about, union(sets, nothing)

    def _sent(self, state: State, crossed: bool) -> Set:
        sent = self.cloud.algebra.as_sent(state)
        return self.cloud.algebra.forgotten(sent) if crossed else sent

    def _meeting(self, state: State, wanted: Outcome) -> State:
        return State(state.values, state.packets & self._meets(state, wanted))

    def _meets(self, state: State, wanted: Outcome) -> Set:
        """The packets, of all there are, that are as they should be where this state has their bits."""
        space, becomes = self.space, dict(wanted.becomes)
        made = space.everything
        for slot in _TOLD:
            if slot in becomes:
                full = (1 << WIDTHS[slot]) - 1
                made = made & self.cloud.algebra.tested(state, Test(slot, becomes[slot], full))[0]
            elif slot not in ("eth_src", "eth_dst"):
                made = made & self._unchanged(state, slot)
        return made

    def _unchanged(self, state: State, slot: str) -> Set:
        value, sent = self.cloud.algebra.value(state, slot), self.space.block(slot)
        if value == sent or isinstance(value, Maybe):
            return self.space.everything
        refs = self.space.refs(slot, value) if isinstance(value, int) else value
        made = self.space.everything
        for one, other in zip(refs, sent, strict=True):
            made = made & self._alike(one, other)
        return made

    def _alike(self, one: int, other: int) -> Set:
        """The packets in which two bits are equal; the first may be a constant."""
        if one == other:
            return self.space.everything
        literal = self.space.literal
        if one < 0:
            return literal(other, one == ONE)
        return (literal(one, True) & literal(other, True)) | (literal(one, False) & literal(other, False))


@dataclass(frozen=True, slots=True)
class _Landing:
    """What comes to a guest from outside, and as what."""

    end: End
    becomes: tuple[tuple[str, int], ...]
    words: str


def _leaves(claim: str, about: str, words: str) -> str:
    if claim == MISSING:
        return f"it should leave {about} by {words}, and does not"
    by = f" as {words} would have it" if words else ""
    return f"it leaves {about}, and should not{by or ', whoever sends it'}"


def _comes(claim: str, at: Origin, words: str) -> str:
    if claim == MISSING:
        return f"it should reach port {at.port_id} on {at.chassis} by {words}, and does not"
    by = f": not as {words} would have it" if words else ""
    return f"it reaches port {at.port_id} from outside, and should not{by}"
