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
from controller.prove.focus import NARROWED, Writer, reached, writers
from controller.prove.rules import Group, Rule, Test, group, rule
from controller.prove.sets import WIDTHS, Set, Space, is_header, union
from controller.prove.states import Algebra, State
from controller.prove.tables import Tables
from controller.prove.values import gathered
from controller.prove.walk import Machine, Outcome, Walk

MAX_CROSSINGS: Final = 8
"""How many tunnels and wires packets are followed through: in this cloud it takes three, and more are a loop."""
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


@dataclass(frozen=True, slots=True)
class Host:
    """A hypervisor as it is proved about: its switch, and what is behind its ports."""

    chassis: Chassis
    machine: Machine
    wires: Mapping[int, str]
    """Physical networks behind ports."""

    @property
    def tunnels(self) -> list[int]:
        """The tunnel ports."""
        return [number for number, name in self.machine.ports.items() if name in _TUNNELS]

    def tunnel(self, port: int) -> str:
        """The name of a tunnel port; "" of others."""
        name = self.machine.ports.get(port, "")
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
    back: list[tuple[str, State]] = field(default_factory=list)
    tracked: list[tuple[str, State]] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)
    left: dict[str, Set] = field(default_factory=dict)
    """By crowd, all that left its hypervisors."""


class Cloud:
    """The hypervisors of which it is known what they hold, with the model that they should follow."""

    def __init__(self, rows: Rows, held: Mapping[str, Held]) -> None:
        """Raises BadDump."""
        self.rows = rows
        self._rules: dict[str, Rule] = {}
        self._groups: dict[str, Group] = {}
        self._flows: dict[str, Sequence[Rule]] = {}
        self.hosts = {name: self._host(name, each) for name, each in sorted(held.items()) if rows.get(Chassis, name)}
        self.origins = [*self._origins()]
        numbers = {number for host in self.hosts.values() for number in host.machine.ports}
        self._values = gathered(rows, self._rules.values(), self._groups.values(), numbers)
        self._see(self.origins, self._values, ())

    def _see(self, followed: Sequence[Origin], values: Mapping[str, Gathered], narrowed: Collection[str]) -> None:
        """Begin anew with sets of what some senders send, in variables of their own."""
        self.followed = followed
        self._places = {origin.number: place for place, origin in enumerate(followed)}
        self.space = Space(values, len(followed), narrowed)
        self.algebra = Algebra(self.space)
        self._crowds: dict[str, Set] = {}
        self._sound: Set | None = None

    def focused(self, crowds: Collection[str], more: Mapping[str, Collection[int]]) -> Cloud:
        """The same cloud, and of all senders these crowds: so few numbers are told apart. `more` are some that must be
        (`Unforeseen`), by sort."""
        made = copy(self)
        followed = [origin for origin in self.origins if origin.crowd in crowds]
        ports: dict[str, set[int]] = {name: {*host.wires, *host.tunnels} for name, host in self.hosts.items()}
        for origin in followed:
            if origin.chassis:
                ports[origin.chassis].add(origin.ofport)
        keys = reached((self._writers[name], ports[name]) for name in self.hosts)
        found = {"key": keys, "in_port": {0}.union(*ports.values())}
        values = dict(self._values)
        for sort, numbers in found.items():
            all_of = self._values[sort]
            values[sort] = Gathered(all_of.width, numbers | {*more.get(sort, ())}, all_of.blocks)
        made._see(followed, values, NARROWED)
        return made

    @cached_property
    def _writers(self) -> Mapping[str, Collection[Writer]]:
        """By hypervisor, what of its flows writes keys."""
        return {name: writers(self._flows[name], host.machine.tables.groups) for name, host in self.hosts.items()}

    def _host(self, name: str, held: Held) -> Host:
        chassis = self.rows.get(Chassis, name)
        assert chassis is not None
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
        self._flows[name] = rules
        wires = {patch_port(physical): physical for physical, _ in chassis.bridge_mappings}
        behind = {number: wires[each] for number, each in held.ports.items() if each in wires}
        sctp_ports = chassis.datapath_type != "netdev"
        return Host(chassis, Machine(name, Tables(rules, groups), held.ports, sctp_ports), behind)

    def _origins(self) -> Iterator[Origin]:
        plugged: dict[tuple[str, str], Port] = {}
        for each in self.rows.all(Port):
            placed = place(self.rows, each)
            if isinstance(placed, Placed):
                plugged[placed.chassis, placed.interface] = each
        found = []
        for name, host in self.hosts.items():
            for ofport, interface in sorted(host.machine.ports.items()):
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

    def start(self, only: Set | None = None) -> dict[tuple[str, str], list[State]]:
        """Everything that anybody may send, by hypervisor, and there by crowd: the ports of a network, or a wire.

        What grows with how many send and how many are told apart is so kept small.
        """
        space = self.space
        in_port = space.block("in_port")
        wanted = self.sound if only is None else self.sound & only
        found: dict[tuple[str, str], list[State]] = defaultdict(list)
        for name, host in self.hosts.items():
            crowds: dict[str, list[Set]] = defaultdict(list)
            for origin in self.followed:
                if origin.chassis == name:
                    mine = space.is_("in_port", origin.ofport) & self.sent_by(origin)
                    crowds[origin.network_id].append(mine)
            for crowd, sets in crowds.items():
                packets = union(sets, space.nothing) & wanted
                found[name, crowd].append(State({"in_port": in_port}, packets))
            for ofport, physical in host.wires.items():
                packets = self.senders(each for each in self.followed if each.physical == physical) & wanted
                found[name, f"/{physical}"].append(State({"in_port": ofport}, packets))
        return found

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
        start = self.start(only)
        behind = {place: states for place, states in start.items() if crowds is None or place[1] in crowds}
        for crossing in range(MAX_CROSSINGS + 1):
            coming: dict[tuple[str, str], list[State]] = defaultdict(list)
            for (name, crowd), states in behind.items():
                alive = [state for state in states if state.packets != self.space.nothing]
                if alive:
                    outcome = Walk(self.algebra, self.hosts[name].machine, apart=apart, first=first).run(alive)
                    for to, state in self._out(name, crowd, outcome, survey, first=not crossing, apart=apart):
                        coming[to, crowd].append(state)
            behind = {place: states if apart else self.algebra.merged(states) for place, states in coming.items()}
            if not any(behind.values()):
                return survey
        survey.looped += [(name, state) for (name, _), states in behind.items() for state in states]
        return survey

    def _out(
        self, name: str, crowd: str, outcome: Outcome, survey: Survey, *, first: bool, apart: bool
    ) -> Iterator[tuple[str, State]]:
        """What an outcome adds to what is known, and what comes to other hypervisors by it."""
        host = self.hosts[name]
        for port, states in outcome.sent.items():
            left = [state if host.tunnel(port) else self.algebra.stripped(state, ()) for state in states]
            merged = left if apart else self.algebra.merged(left)
            if first:
                survey.emitted += [(name, port, state) for state in merged]
            if tunnel := host.tunnel(port):
                if first and not apart:
                    sets = [survey.left.get(crowd, self.space.nothing), *map(self.algebra.as_sent, merged)]
                    survey.left[crowd] = union(sets, self.space.nothing)
                for state in merged:
                    yield from self._through(host, tunnel, self._aside(state, crowd, apart), survey)
            elif port in host.wires:
                survey.wired.append(Arrived(name, port, tuple(merged), crowd, not first))
                for state in merged:
                    yield from self._on_wire(host, host.wires[port], self._aside(state, crowd, apart))
            elif not self.hosts[name].machine.ports.get(port, "").startswith(PROBING):
                survey.arrived.append(Arrived(name, port, tuple(merged), crowd, not first))
        survey.lost += [(name, table, state) for table, states in outcome.lost.items() for state in states]
        survey.looped += [(name, state) for state in outcome.looped]
        survey.back += [(name, state) for state in outcome.back]
        survey.tracked += [(name, state) for state in outcome.tracked]
        survey.notes.update({f"{name}: {note}": None for note in outcome.notes})

    def _aside(self, state: State, crowd: str, apart: bool) -> State:
        """What goes to another hypervisor: as anybody of the crowd may have sent it."""
        if apart:
            return state
        return replace(state, packets=self.algebra.forgotten(state.packets) & self._crowd(crowd))

    def _crowd(self, crowd: str) -> Set:
        """The packets of a crowd."""
        known = self._crowds.get(crowd)
        if known is None:
            mine = [each for each in self.followed if each.crowd == crowd]
            known = self._crowds[crowd] = self.senders(mine)
        return known

    def _through(self, host: Host, tunnel: str, state: State, survey: Survey) -> Iterator[tuple[str, State]]:
        """A tunnel ends where the packet says."""
        sent = self.algebra.stripped(state, ("tun_id", "tun_dst", "tun_ipv6_dst"))
        left = sent
        source = host.chassis.encap_ip
        for name, other in self.hosts.items():
            there = other.chassis.encap_ip
            port = next((number for number, each in other.machine.ports.items() if each == tunnel), None)
            if source is None or there is None or other is host or port is None:
                continue
            to = _vtep(there, "dst")
            come = self.algebra.narrowed(sent, to)
            if come.packets == self.space.nothing:
                continue
            left = self.algebra.less(left, to)
            made = self.algebra.put(self.algebra.put(come, to.slot, to.value), "in_port", port)
            mine = _vtep(source, "src")
            yield name, self.algebra.put(made, mine.slot, mine.value)
        for away in self.rows.all(Chassis):  # what comes to those of which nothing is known is not against anything
            if away.id not in self.hosts and away.encap_ip is not None:
                left = self.algebra.less(left, _vtep(away.encap_ip, "dst"))
        if left.packets != self.space.nothing:
            survey.astray.append((host.chassis.id, left))

    def _on_wire(self, host: Host, physical: str, state: State) -> Iterator[tuple[str, State]]:
        """All others on a physical network hear what one sends there."""
        sent = self.algebra.stripped(state, ())
        for name, other in self.hosts.items():
            for port, each in other.wires.items():
                if each == physical and other is not host:
                    yield name, self.algebra.put(sent, "in_port", port)


def _vtep(address: Address, end: str) -> Test:
    number = int(ip_address(address))
    return Test(f"tun_ipv6_{end}", number, (1 << 128) - 1) if ":" in address else Test(f"tun_{end}", number, _FULL)
