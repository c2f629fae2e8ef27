"""All hypervisors of a cloud, and what becomes of everything that anybody could send: through every switch, into
tunnels and onto wires, and on at their other ends.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from ipaddress import ip_address
from typing import Final

from controller.flows.pipeline import PROBING, TUNNEL_PORTS, patch_port
from controller.model.bindings import Placed, place
from controller.model.records import Address, Chassis, Port
from controller.model.store import Rows
from controller.prove.atoms import Gathered
from controller.prove.conntrack import BELIEVED
from controller.prove.focus import NARROWED, reached, writers
from controller.prove.rules import Group, Rule, Test, group, rule
from controller.prove.sets import WIDTHS, Set, Space, Value, is_header, union
from controller.prove.states import HOST, Algebra, State
from controller.prove.tables import Tables
from controller.prove.values import gathered
from controller.prove.walk import Machine, Outcome, Walk

MAX_CROSSINGS: Final = 8
"""How many tunnels and wires packets are followed through: in this cloud it takes three, and more are a loop."""
_HEADERS: Final = tuple(filter(is_header, WIDTHS))
STAND_INS: Final = 16
"""So many senders stand for all of a crowd (`Cloud.stand_for`)."""
_TUNNELS: Final = frozenset(TUNNEL_PORTS.values())
_FULL: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Held:
    """What a switch holds: lines of `dump-flows` and `dump-groups`, and its ports by number."""

    flows: Sequence[str]
    groups: Sequence[str]
    ports: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Origin:
    """Who may send: the interface of a port, of nobody that the model knows (`port_id` is ""), or a physical
    network."""

    number: int
    chassis: str
    interface: str
    ofport: int
    port_id: str = ""
    network_id: str = ""
    physical: str = ""

    @property
    def crowd(self) -> str:
        """Those that are followed together."""
        return f"/{self.physical}" if self.physical else self.network_id

    @property
    def words(self) -> str:
        """Who it is."""
        if self.physical:
            return f"physical network {self.physical}"
        return f"port {self.port_id}" if self.port_id else f"interface {self.interface} on {self.chassis}, no port"


@dataclass(frozen=True)
class Host:
    """A hypervisor as it is proved about: its number, the ports of its switch, and what is behind them."""

    number: int
    chassis: Chassis
    ports: Mapping[int, str]
    wires: Mapping[int, str]
    """Physical networks behind ports."""

    @cached_property
    def tunnels(self) -> Mapping[str, int]:
        """The tunnel ports, by name."""
        return {name: number for number, name in self.ports.items() if name in _TUNNELS}

    def tunnel(self, port: int) -> str:
        """The name of a tunnel port; "" of others."""
        name = self.ports.get(port, "")
        return name if name in _TUNNELS else ""


@dataclass(frozen=True, slots=True)
class Arrived:
    """Packets of a crowd that left by a port: of a guest, or to the wire of a physical network.

    Of those that `crossed` from another hypervisor it is no more known who of the crowd sent them
    (`Algebra.forgotten`).
    """

    chassis: str
    port: int
    states: tuple[State, ...]
    crowd: str
    crossed: bool


@dataclass(slots=True)
class Survey:
    """What became of all that anybody could send.

    `arrived` by guests' ports, `wired` to physical networks; `crossed` what went into tunnels; `astray` into tunnels of
    which nobody has the other end; `lost` in tables where no flow is for it; `looped` round and round.
    """

    arrived: list[Arrived] = field(default_factory=list)
    wired: list[Arrived] = field(default_factory=list)
    emitted: list[tuple[str, int, State]] = field(default_factory=list)
    astray: list[tuple[str, State]] = field(default_factory=list)
    lost: list[tuple[str, int, State]] = field(default_factory=list)
    looped: list[tuple[str, State]] = field(default_factory=list)
    tracked: list[State] = field(default_factory=list)
    """What went to conntrack, wherever it was (`Cloud.places`)."""
    notes: dict[str, None] = field(default_factory=dict)
    left: list[Set] = field(default_factory=list)
    """All that left its hypervisors into tunnels."""


class Cloud:
    """The hypervisors of which it is known what they hold, with the model that they should follow."""

    def __init__(self, rows: Rows, held: Mapping[str, Held]) -> None:
        """Raises BadDump."""
        self.rows = rows
        self._rules: dict[str, Rule] = {}
        self._groups: dict[str, Group] = {}
        held = {name: each for name, each in sorted(held.items()) if rows.get(Chassis, name)}
        flows = [self._held(each) for each in held.values()]
        self.hosts = {name: self._host(number, name, each) for number, (name, each) in enumerate(held.items())}
        self.machine = self._machine(flows)
        self._writers = tuple(writers(rules, {group.id: group for group in groups}) for rules, groups in flows)
        self.origins = [*self._origins()]
        numbers = {number for host in self.hosts.values() for number in host.ports}
        self._values = gathered(rows, self._rules.values(), self._groups.values(), numbers)
        self._see(self.origins, self._values, ())

    def _see(self, followed: Sequence[Origin], values: Mapping[str, Gathered], narrowed: Collection[str]) -> None:
        """Begin anew with sets of what some senders send, in variables of their own."""
        self.followed = followed
        self._places = {origin.number: place for place, origin in enumerate(followed)}
        self.crowds = sorted({origin.crowd for origin in followed})
        self.space = Space(values, len(followed) + STAND_INS * len(self.crowds), len(self.hosts), narrowed)
        self.algebra = Algebra(self.space)
        self._stand_ins: dict[str, list[tuple[Set, Set]]] = {}
        self._also: dict[Set, Set] = {}
        self._all_stand_ins = self.space.nothing
        self._crowds: dict[str, Set] = {}
        self._sound: Set | None = None

    def focused(self, crowds: Collection[str], more: Mapping[str, Collection[int]]) -> Cloud:
        """The same cloud, and of all senders these crowds: so few numbers are told apart. `more` are some that must be
        (`Unforeseen`), by sort."""
        made = copy(self)
        followed = [origin for origin in self.origins if origin.crowd in crowds]
        ports = {name: {*host.wires, *host.tunnels.values()} for name, host in self.hosts.items()}
        for origin in followed:
            if origin.chassis:
                ports[origin.chassis].add(origin.ofport)
        keys = reached(zip(self._writers, ports.values(), strict=True))
        found = {"key": keys, "in_port": {0}.union(*ports.values())}
        values = dict(self._values)
        for sort, numbers in found.items():
            all_of = self._values[sort]
            values[sort] = Gathered(all_of.width, numbers | {*more.get(sort, ())}, all_of.blocks)
        made._see(followed, values, NARROWED)
        return made

    def _held(self, held: Held) -> tuple[list[Rule], list[Group]]:
        """What a switch holds, read; what several hold is read once."""
        ports = {interface: number for number, interface in held.ports.items()}
        rules, groups = [], []
        for line in held.flows:
            known = self._rules.get(line)
            if known is None:
                known = self._rules[line] = rule(line, ports)
            rules.append(known)
        for line in held.groups:
            known_group = self._groups.get(line)
            if known_group is None:
                known_group = self._groups[line] = group(line, ports)
            groups.append(known_group)
        return rules, groups

    def _host(self, number: int, name: str, held: Held) -> Host:
        chassis = self.rows.get(Chassis, name)
        assert chassis is not None
        wires = {patch_port(physical): physical for physical, _ in chassis.bridge_mappings}
        behind = {port: wires[each] for port, each in held.ports.items() if each in wires}
        return Host(number, chassis, held.ports, behind)

    def _machine(self, flows: Sequence[tuple[Sequence[Rule], Sequence[Group]]]) -> Machine:
        hosts = self.hosts.values()
        sides: dict[int, set[int]] = defaultdict(set)
        for host in hosts:
            for port in (*host.wires, *host.tunnels.values()):
                sides[port].add(host.number)
        return Machine(
            tuple(self.hosts),
            Tables(flows),
            tuple(host.ports for host in hosts),
            {port: frozenset(there) for port, there in sides.items()},
            frozenset(host.number for host in hosts if host.chassis.datapath_type != "netdev"),
        )

    def _origins(self) -> Iterator[Origin]:
        plugged: dict[tuple[str, str], Port] = {}
        for each in self.rows.all(Port):
            placed = place(self.rows, each)
            if isinstance(placed, Placed):
                plugged[placed.chassis, placed.interface] = each
        found = []
        for name, host in self.hosts.items():
            for ofport, interface in sorted(host.ports.items()):
                if interface in _TUNNELS or interface.startswith(PROBING) or ofport in host.wires:
                    continue
                port = plugged.get((name, interface))
                found.append((port.network_id if port else "", name, interface, ofport, port.id if port else ""))
        for number, (network, name, interface, ofport, id) in enumerate(sorted(found)):
            yield Origin(number, name, interface, ofport, id, network)
        number = len(found)
        for physical in sorted({each for host in self.hosts.values() for each in host.wires.values()}):
            yield Origin(number, "", "", 0, physical=physical)
            number += 1

    @cached_property
    def by_port(self) -> Mapping[str, Origin]:
        """Ports that are plugged in, by id."""
        return {origin.port_id: origin for origin in self.origins if origin.port_id}

    def guest(self, chassis: str, ofport: int) -> Origin | None:
        """Who is behind a port, if it is no tunnel and no wire."""
        return self._behind.get((chassis, ofport))

    @cached_property
    def _behind(self) -> Mapping[tuple[str, int], Origin]:
        return {(origin.chassis, origin.ofport): origin for origin in self.origins if origin.chassis}

    def sent_by(self, origin: Origin) -> Set:
        """The packets of one sender; none of one that is not followed."""
        place = self._places.get(origin.number)
        return self.space.nothing if place is None else self.space.is_("origin", place)

    def stand_for(self, claims: Iterable[Set]) -> None:
        """Of what conntrack may have said anything of, who sent what matters to these sets of packets as they were sent
        alone: what is in the same of them of a crowd has one sender that stands for all."""
        parts = {crowd: [self._crowd(crowd)] for crowd in self.crowds}
        nothing, number = self.space.nothing, len(self.followed)
        for claim in dict.fromkeys(claims):
            for crowd, sets in parts.items():
                parts[crowd] = [each for set in sets for each in (set & claim, set & ~claim) if each != nothing]
        for crowd, sets in parts.items():
            self._stand_ins[crowd] = []
            for each in sets[:STAND_INS]:
                self._stand_ins[crowd].append((each, self.space.is_("origin", number)))
                number += 1
        self.algebra.stand_ins = [each for found in self._stand_ins.values() for each in found]
        self._all_stand_ins = union((one for _, one in self.algebra.stand_ins), nothing)
        self._crowds.clear()

    def and_stand_ins(self, sent: Set) -> Set:
        """A set of packets as they were sent, one of those that stand-ins are for, with them."""
        known = self._also.get(sent)
        if known is None:
            more = [stand_in for each, stand_in in self.algebra.stand_ins if each & sent != self.space.nothing]
            known = self._also[sent] = union([sent, *more], self.space.nothing)
        return known

    def sent_for(self, packets: Set, survey: Survey) -> Iterator[Set]:
        """What somebody sent, of packets as they were sent: or else, of stand-ins, what came to conntrack of all that
        they stand for, and of that, first, what looks as they do now."""
        nothing = self.space.nothing
        if (sent := packets & ~self._all_stand_ins) != nothing:
            yield sent
            return
        tracked = [each for each in survey.tracked if self.algebra.value(each, BELIEVED) == 0]
        asked = union({self.algebra.as_sent(each) for each in tracked}, nothing) & ~self._all_stand_ins
        for each, stand_in in self.algebra.stand_ins:
            mine, come = packets & stand_in, asked & each
            if mine == nothing or come == nothing:
                continue
            for slots in (_HEADERS, *([slot] for slot in _HEADERS)):
                alike = come & self.algebra.as_now(mine, slots)
                if alike != nothing:
                    come = alike
            yield come

    def senders(self, origins: Iterable[Origin]) -> Set:
        """The packets of some."""
        return union(map(self.sent_by, origins), self.space.nothing)

    @property
    def sound(self) -> Set:
        """The packets that there may be: of a fragment but the first no ports are seen, and what has no tag has no
        VLAN."""
        if self._sound is None:
            self._sound = self._real()
        return self._sound

    def _real(self) -> Set:
        space = self.space
        tagged, untagged = space.is_("vlan_tci", 0x1000, 0x1000), space.is_("vlan_tci", 0)
        later, others = space.is_("ip_frag", 3), space.is_("ip_frag", 0) | space.is_("ip_frag", 1)
        ports = space.is_("tp_src", 0) & space.is_("tp_dst", 0)
        made = (tagged | untagged) & (others | (later & ports))
        for slot in filter(is_header, WIDTHS):
            made = made & space.real(slot, space.block(slot))
        return made

    def start(self, only: Set | None = None) -> dict[str, State]:
        """Everything that anybody may send, by crowd: the ports of a network, or a wire.

        What grows with how many send and how many are told apart is so kept small.
        """
        space = self.space
        values: dict[str, Value] = {"in_port": space.block("in_port"), HOST: space.block(HOST)}
        wanted = self.sound if only is None else self.sound & only
        crowds: dict[str, list[Set]] = defaultdict(list)
        for origin in self.followed:
            if origin.chassis:
                at = space.is_(HOST, self.hosts[origin.chassis].number) & space.is_("in_port", origin.ofport)
                crowds[origin.crowd].append(at & self.sent_by(origin))
                continue
            for host in self.hosts.values():
                for ofport, physical in host.wires.items():
                    if physical == origin.physical:
                        at = space.is_(HOST, host.number) & space.is_("in_port", ofport)
                        crowds[origin.crowd].append(at & self.sent_by(origin))
        return {crowd: State(values, union(sets, space.nothing) & wanted) for crowd, sets in crowds.items()}

    def places(self, state: State) -> Iterator[tuple[str, State]]:
        """A state by the hypervisors that it is on."""
        for name, host in self.hosts.items():
            here = self.algebra.narrowed(state, Test(HOST, host.number, -1))
            if here.packets != self.space.nothing:
                yield name, self.algebra.put(here, HOST, host.number)

    # ---- from switch to switch --------------------------------------------------------------------------------

    def survey(
        self,
        only: Set | None = None,
        *,
        apart: bool = False,
        crowds: Collection[str] | None = None,
        first: bool = False,
    ) -> Survey:
        """What becomes of everything, or of `only` these packets, or of what these `crowds` send; of all that, or of
        what begins connections (`first`)."""
        survey = Survey()
        start = [state for crowd, state in self.start(only).items() if crowds is None or crowd in crowds]
        behind = [here for state in start for _, here in self.places(state)] if apart else self.algebra.merged(start)
        been: dict[object, Set] = {}
        for crossing in range(MAX_CROSSINGS + 1):
            if not any(state.packets != self.space.nothing for state in behind):
                return survey
            outcome = Walk(self.algebra, self.machine, apart=apart, first=first).run(behind, been=been)
            coming = self._out(outcome, survey, first=not crossing, apart=apart)
            behind = [*coming] if apart else self._anew(coming)
        survey.looped += [each for state in behind for each in self.places(state)]
        return survey

    def _anew(self, states: Iterable[State]) -> list[State]:
        """What comes from elsewhere."""
        algebra, live = self.algebra, self.machine.tables.live.at(0)
        return algebra.merged([algebra.homed(algebra.without(state, live)) for state in states])

    def _out(self, outcome: Outcome, survey: Survey, *, first: bool, apart: bool) -> Iterator[State]:
        """What an outcome adds to what is known, and what comes to other hypervisors by it."""
        places, algebra = self.places, self.algebra
        away: dict[tuple[str, str], list[State]] = defaultdict(list)
        for port, states in outcome.sent.items():
            for name, found in self._by_host(states, apart).items():
                host = self.hosts[name]
                tunnel, wire = host.tunnel(port), host.wires.get(port, "")
                left = found if tunnel else [algebra.stripped(state, ()) for state in found]
                merged = left if apart else algebra.merged(left)
                if first:
                    survey.emitted += [(name, port, state) for state in merged]
                if tunnel or wire:
                    away[tunnel, wire] += merged
                if wire:
                    survey.wired += self._arrived(name, port, merged, not first)
                elif not tunnel and not host.ports.get(port, "").startswith(PROBING):
                    survey.arrived += self._arrived(name, port, merged, not first)
        for (tunnel, wire), states in away.items():
            if first and tunnel and not apart:
                survey.left.append(union(map(algebra.as_sent, states), self.space.nothing))
            for state in states if apart else algebra.merged(states):
                aside = state if apart else self._aside(state)
                yield from self._through(tunnel, aside, survey) if tunnel else self._on_wire(wire, aside)
        survey.lost += [
            (name, table, here) for table, lost in outcome.lost.items() for each in lost for name, here in places(each)
        ]
        survey.looped += [each for state in outcome.looped for each in places(state)]
        survey.tracked += outcome.tracked
        survey.notes.update(outcome.notes)

    def _by_host(self, states: Sequence[State], apart: bool) -> dict[str, list[State]]:
        """What left by a port, by the hypervisors that it left."""
        found: dict[str, list[State]] = defaultdict(list)
        for state in states if apart else self.algebra.merged(states):
            for name, here in self.places(state):
                found[name].append(here)
        return found

    def _arrived(self, name: str, port: int, states: Sequence[State], crossed: bool) -> Iterator[Arrived]:
        """What left by a port, by crowd."""
        for crowd in self.crowds:
            mine = [replace(state, packets=state.packets & self._crowd(crowd)) for state in states]
            alive = tuple(state for state in mine if state.packets != self.space.nothing)
            if alive:
                yield Arrived(name, port, alive, crowd, crossed)

    def _aside(self, state: State) -> State:
        """What goes to another hypervisor: as anybody of its crowd may have sent it."""
        stood = state.packets & self._all_stand_ins
        if stood == state.packets:
            return state
        sets = [stood]
        for crowd in self.crowds:
            senders = self.senders(each for each in self.followed if each.crowd == crowd)
            sets.append(self.algebra.forgotten(state.packets & senders) & senders)
        return replace(state, packets=union(sets, self.space.nothing))

    def _crowd(self, crowd: str) -> Set:
        """The packets of a crowd."""
        known = self._crowds.get(crowd)
        if known is None:
            mine = [each for each in self.followed if each.crowd == crowd]
            known = self.senders(mine) | union((one for _, one in self._stand_ins.get(crowd, ())), self.space.nothing)
            self._crowds[crowd] = known
        return known

    def _through(self, tunnel: str, state: State, survey: Survey) -> Iterator[State]:
        """A tunnel ends where the packet says."""
        algebra, nothing = self.algebra, self.space.nothing
        sent = algebra.stripped(state, ("tun_id", "tun_dst", "tun_ipv6_dst"))
        left = sent.packets
        ends = [
            (host.number, host.tunnels[tunnel], host.chassis.encap_ip)
            for host in self.hosts.values()
            if tunnel in host.tunnels and host.chassis.encap_ip is not None
        ]
        for version in sorted({":" in address for _, _, address in ends}):
            alike = [(number, port, _vtep(end, "dst")) for number, port, end in ends if (":" in end) is version]
            here = {number: algebra.narrowed(sent, Test(HOST, number, -1)).packets for number, _, _ in ends}
            there = [(number, port, algebra.tested(sent, to)[0]) for number, port, to in alike]
            own = union((come & here[number] for number, _, come in there), nothing)
            come = union((come for _, _, come in there), nothing) & union(here.values(), nothing) & sent.packets & ~own
            if come == nothing:
                continue
            left = left & ~come
            source = [(here[number], _vtep(end, "src")) for number, _, end in ends if (":" in end) is version]
            made = algebra.told(replace(sent, packets=come), source[0][1].slot, [(at, to.value) for at, to in source])
            made = algebra.told(made, "in_port", [(come, port) for _, port, come in there])
            yield algebra.told(made, HOST, [(come, number) for number, _, come in there])
        astray = replace(sent, packets=left)
        for away in self.rows.all(Chassis):  # what comes to those of which nothing is known is not against anything
            if away.id not in self.hosts and away.encap_ip is not None:
                astray = algebra.less(astray, _vtep(away.encap_ip, "dst"))
        survey.astray += self.places(astray)

    def _on_wire(self, physical: str, state: State) -> Iterator[State]:
        """All others on a physical network hear what one sends there."""
        sent = self.algebra.stripped(state, ())
        for host in self.hosts.values():
            for port, each in host.wires.items():
                if each == physical:
                    others = self.algebra.less(sent, Test(HOST, host.number, -1))
                    yield self.algebra.put(self.algebra.put(others, HOST, host.number), "in_port", port)


def _vtep(address: Address, end: str) -> Test:
    number = int(ip_address(address))
    return Test(f"tun_ipv6_{end}", number, (1 << 128) - 1) if ":" in address else Test(f"tun_{end}", number, _FULL)
