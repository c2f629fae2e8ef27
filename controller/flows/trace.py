"""What becomes of a packet: the flows of a switch, run as Open vSwitch runs them.

    trace(Switch(flows), packet(IN_PORT(10), ETH_DST(mac), TCP_DST(80)))     the hops, and the end of every copy

A table gives the flow of the highest priority that matches; none is a miss, and nothing happens. `resubmit` comes back
with what was written; each bucket of a group has a copy of its own. At one priority flows without conjunctions come
first; a conjunction all of whose dimensions match is looked up as `conj_id`, for which it must have a flow
(ovs-fields(7), Conjunctive Match Fields). Of several that match alike Open vSwitch takes any, this the lowest. `ct`
ends a translation; another begins behind it, in which alone the packet has conntrack's fields (ovs-actions(7), ct).

Which bucket of a group that chooses a connection goes through hangs on a hash that only Open vSwitch knows: this takes
the first. Of a group that fails over it takes the first whose port is alive: all are, but those it is told of (`dead`).

Fields bear no checks of their own: a flow is taken at its word. `controller.flows.journey` follows packets from switch
to switch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol, assert_never

from controller.flows.action import (
    Action,
    Apart,
    Bounce,
    Commit,
    Conjunction,
    DecrementTtl,
    Goto,
    Measure,
    Move,
    Output,
    PopVlan,
    Punt,
    PushVlan,
    Resubmit,
    Table,
    ToGroup,
    Track,
    Translate,
    Turn,
    Untrack,
)
from controller.flows.conntrack import Connections
from controller.flows.fields import (
    CONJ_ID,
    ETH_TYPE,
    FRAGMENT,
    IN_PORT,
    IPV4,
    IPV4_FRAG,
    IPV6,
    TTL,
    VLAN_TCI,
)
from controller.flows.flow import Bucket, Entry, Flow, Group, Key
from controller.flows.match import Set
from controller.flows.packet import CONNTRACK, Packet
from controller.flows.pipeline import CLASSIFY, DROP, WHY, Why

_PORTS: Final = frozenset({
    "tcp_src", "tcp_dst", "udp_src", "udp_dst", "sctp_src", "sctp_dst", "icmp_type", "icmp_code", "icmpv6_type",
    "icmpv6_code",
})  # fmt: skip
"""What no flow sees of a fragment but the first (ovs-fields(7), Fragmentation Handling: mode `nx-match`)."""

MAX_DEPTH: Final = 64
"""How deep lookups in the same or an earlier table may be nested (Open vSwitch, ofproto-dpif-xlate.c)."""
MAX_RESUBMITS: Final = 4096
"""How many tables one translation may go through (the same)."""
MAX_RECIRCULATIONS: Final = 6
"""How many translations may follow one another (Open vSwitch, dpif-netdev.c)."""

TAG_PRESENT: Final = 0x1000
"""What vlan_tci is once a tag is put on (ovs-fields(7), vlan_tci)."""
_HAVE_TTL: Final = frozenset(test.value for test in (*IPV4.tests, *IPV6.tests))
"""The types of frames that `dec_ttl` is about; what has no hop left it stops in its table (`compose_dec_ttl`)."""


# ---- switches -------------------------------------------------------------------------------------------------

_Shape = tuple[tuple[str, int], ...]
"""What flows test, wire fields and masks: those that test the same are found at once by the values."""


@dataclass(frozen=True, slots=True)
class _Tier:
    """The flows of one table and priority."""

    shapes: dict[_Shape, dict[tuple[int, ...], Flow]] = field(default_factory=dict)

    def add(self, flow: Flow) -> None:
        tests = [*flow.match.whole()]
        shape = tuple((wire, mask) for wire, _, mask, _ in tests)
        self.shapes.setdefault(shape, {})[tuple(value for _, value, _, _ in tests)] = flow

    def matching(self, packet: Packet) -> Iterator[Flow]:
        for shape, flows in self.shapes.items():
            found = flows.get(tuple(packet.whole(wire) & mask for wire, mask in shape))
            if found is not None:
                yield found


class Tier(Protocol):
    """The flows of one table and priority."""

    def matching(self, packet: Packet) -> Iterator[Flow]: ...


class Switch:
    """The flows and groups of one switch, by table and priority."""

    def __init__(self, items: Iterable[Flow | Group]) -> None:
        tables: dict[int, dict[int, _Tier]] = {}
        self._groups: dict[int, Group] = {}
        for item in items:
            if isinstance(item, Group):
                self._groups[item.id] = item
            else:
                tables.setdefault(item.table.number, {}).setdefault(item.priority, _Tier()).add(item)
        self._tables = {
            number: [tiers[priority] for priority in sorted(tiers, reverse=True)] for number, tiers in tables.items()
        }

    @classmethod
    def of(cls, desired: Mapping[Key, Entry]) -> Switch:
        """The switch that holds what the engine desires of it."""
        return cls(entry.item for entry in desired.values())

    def tiers(self, table: Table) -> Sequence[Tier]:
        """The flows of a table, the highest priority first."""
        return self._tables.get(table.number, ())

    def group(self, id: int) -> Group | None:
        """The group, if there is one."""
        return self._groups.get(id)

    def stranger(self, table: Table, packet: Packet, flow: Flow | None) -> str:
        """What a packet meets instead of `flow`, which is no flow that should be: here there is no such."""
        return ""

    def altered(self, id: int) -> str:
        """A group that is not as it should be, by its id: here there is none."""
        return ""

    def match(self, table: Table, packet: Packet) -> Flow | None:
        """The flow of a table that a packet meets."""
        return next(iter(self.alike(table, packet)), None)

    def alike(self, table: Table, packet: Packet) -> Sequence[Flow]:
        """The flows of a table of which a packet may meet any: more than one only if several conjunctions match."""
        if packet[IPV4_FRAG] == FRAGMENT:
            packet = packet.without(_PORTS)
        tiers = self.tiers(table)
        for tier in tiers:
            found = [*tier.matching(packet)]
            plain = next((flow for flow in found if not _shares(flow)), None)
            if plain is not None:
                return (plain,)
            verdicts = [_plain(tiers, packet.put(CONJ_ID, id)) for id in _complete(found)]
            if met := [each for each in verdicts if each is not None]:
                return met
        return ()


def _plain(tiers: Iterable[Tier], packet: Packet) -> Flow | None:
    return next((flow for tier in tiers for flow in tier.matching(packet) if not _shares(flow)), None)


def _shares(flow: Flow) -> bool:
    """Is the flow a part of conjunctions?"""
    return flow.form.kinds[:1] == (Conjunction,)


def _complete(flows: Sequence[Flow]) -> list[int]:
    """The conjunctions of which every dimension is among the flows.

    There must be as many flows as dimensions, even if one bears several (Open vSwitch, classifier.c,
    `find_conjunctive_match`).
    """
    missing: dict[int, set[int]] = {}
    for flow in flows:
        for share in flow.actions:
            if isinstance(share, Conjunction) and share.n <= len(flows):
                missing.setdefault(share.id, {*range(1, share.n + 1)}).discard(share.k)
    return sorted(id for id, dimensions in missing.items() if not dimensions)


# ---- what happens ---------------------------------------------------------------------------------------------


class Fate(Enum):
    """How a copy of a packet ends, the best first."""

    SENT = "left by a port"
    ANSWERED = "went back as an answer, by the port it came by"
    PUNTED = "was handed to the controller, with a reason"
    DROPPED = "ended in table DROP, with a reason"
    WITHHELD = "was for the port it came by: a switch sends nothing back"
    STRANGE = "met what is somebody else's, or is not as it should be: what that does is not followed"
    LOST = "matched nothing, and nobody dropped it: a hole in the flows"
    LOOPED = "went round without end"


@dataclass(frozen=True, slots=True)
class End:
    """The end of one copy, in the table where it was; `port` of what was sent, `why` of what was dropped or punted,
    `words` of what is strange."""

    fate: Fate
    packet: Packet
    table: Table
    port: int | None = None
    why: Why | None = None
    words: str = ""


@dataclass(frozen=True, slots=True)
class Hop:
    """A packet as it came to a table, or to a group, and what it met there; `depth` is that of resubmits.

    `others` are flows that Open vSwitch might have taken as well, `buckets` those of a group that got a copy, in order.
    """

    depth: int
    packet: Packet
    table: Table
    met: Flow | Group | None
    others: tuple[Flow, ...] = ()
    buckets: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Tracked:
    """A copy that goes to conntrack, and on in another table; perhaps as somebody else."""

    packet: Packet
    zone: int
    table: Table
    how: Translate | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """A copy whose connection is remembered, and that goes on in another table."""

    packet: Packet
    zone: int
    writes: tuple[Set | Move, ...]
    table: Table


Effect = End | Tracked | Committed


@dataclass(frozen=True, slots=True)
class Translation:
    """What a switch does with a packet between two visits to conntrack; `packet` is what it made of it at last."""

    hops: tuple[Hop, ...]
    effects: tuple[Effect, ...]
    packet: Packet


@dataclass(frozen=True, slots=True)
class Trace:
    """The way of a packet and of all its copies through one switch, from one visit to conntrack to the next."""

    stages: tuple[Translation, ...]
    ends: tuple[End, ...]

    @property
    def hops(self) -> tuple[Hop, ...]:
        """All of them, in order."""
        return tuple(hop for stage in self.stages for hop in stage.hops)

    @property
    def fate(self) -> Fate:
        """The best that became of any copy."""
        fates = {end.fate for end in self.ends}
        return next(fate for fate in Fate if fate in fates)

    @property
    def sent(self) -> tuple[End, ...]:
        """The copies that left by a port."""
        return tuple(end for end in self.ends if end.fate is Fate.SENT)

    @property
    def whys(self) -> frozenset[Why]:
        """The reasons for which copies were dropped, or handed to the controller."""
        return frozenset(end.why for end in self.ends if end.why is not None)


def trace(
    switch: Switch,
    packet: Packet,
    connections: Connections | None = None,
    table: Table = CLASSIFY,
    dead: frozenset[int] = frozenset(),
) -> Trace:
    """What becomes of a packet from a table on; `connections` remembers what is committed, for the next one.

    `dead` are the OpenFlow ports that are not alive.
    """
    known = Connections() if connections is None else connections
    steps = [*_steps(switch, packet, known, table, dead)]
    stages = tuple(step for step in steps if isinstance(step, Translation))
    return Trace(stages, tuple(step for step in steps if isinstance(step, End)))


def _steps(
    switch: Switch, packet: Packet, known: Connections, table: Table, dead: frozenset[int], recirculations: int = 0
) -> Iterator[Translation | End]:
    done = translate(switch, packet, table, dead)
    yield done
    for effect in done.effects:
        match effect:
            case End():
                yield effect
            case Tracked(at, _, onward) | Committed(at, _, _, onward) if recirculations == MAX_RECIRCULATIONS:
                yield End(Fate.LOOPED, at, onward)
            case Tracked(at, zone, onward, how):
                behind = known.look(zone, at) if how is None else known.translate(zone, at, how)
                yield from _steps(switch, behind, known, onward, dead, recirculations + 1)
            case Committed(at, zone, writes, onward):
                yield from _steps(switch, known.commit(zone, at, writes), known, onward, dead, recirculations + 1)


def translate(switch: Switch, packet: Packet, table: Table, dead: frozenset[int] = frozenset()) -> Translation:
    """What a switch does with a packet from a table on, until it ends or goes to conntrack."""
    run = _Run(switch, packet, dead)
    try:
        run.enter(table)
        run.missed(0)
    except _Endless:
        return Translation(tuple(run.hops), (End(Fate.LOOPED, packet, table),), packet)
    return Translation(tuple(run.hops), tuple(run.effects), run.packet)


class _Endless(Exception):
    """Raised when Open vSwitch would give up; then nothing of a translation is done."""


@dataclass(slots=True)
class _Run:
    """A translation under way. `depth` counts as Open vSwitch does, `nesting` as one reads."""

    switch: Switch
    packet: Packet
    dead: frozenset[int]
    hops: list[Hop] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    depth: int = 0
    nesting: int = 0
    lookups: int = 0

    def missed(self, before: int) -> None:
        """A copy of which nothing has come since there were `before` effects is lost."""
        if len(self.effects) == before:
            self.effects.append(End(Fate.LOST, self.packet, self.hops[-1].table))

    def enter(self, table: Table) -> None:
        """A table, and those it goes to."""
        following: Table | None = table
        while following is not None:
            following = self.visit(following)

    def visit(self, table: Table) -> Table | None:
        """What a table does; then where the packet goes on, if it does."""
        self.count()
        alike = self.switch.alike(table, self.packet)
        flow = next(iter(alike), None)
        if stranger := self.switch.stranger(table, self.packet, flow):
            self.hops.append(Hop(self.nesting, self.packet, table, None))
            self.effects.append(End(Fate.STRANGE, self.packet, table, words=stranger))
            return None
        self.hops.append(Hop(self.nesting, self.packet, table, flow, tuple(alike[1:])))
        if flow is None:
            return None
        if table is DROP:
            self.effects.append(End(Fate.DROPPED, self.packet, table, why=Why(self.packet[WHY])))
        return self.act(flow.actions, table)

    def count(self) -> None:
        if self.depth >= MAX_DEPTH or self.lookups > MAX_RESUBMITS:
            raise _Endless
        self.lookups += 1

    def act(self, actions: Sequence[Action], table: Table) -> Table | None:
        """Actions in order; then the table to go to, if any. A packet without a hop left ends at `dec_ttl`."""
        for action in actions:
            match action:
                case Set() | Move():
                    self.packet = self.packet.written((action,))
                case Output(port):
                    fate = Fate.WITHHELD if port == self.packet[IN_PORT] else Fate.SENT
                    self.effects.append(End(fate, self.packet, table, port))
                case Bounce():
                    self.effects.append(End(Fate.ANSWERED, self.packet, table, self.packet[IN_PORT]))
                case Punt():
                    self.effects.append(End(Fate.PUNTED, self.packet, table, why=Why(self.packet[WHY])))
                case ToGroup(id, _):
                    self.copy(id, table)
                case Resubmit(other):
                    self.resubmit(other, table)
                case Goto(other):
                    return other
                case Track(zone, onward):
                    self.effects.append(Tracked(self.packet, self.packet[zone], onward))
                    self.packet = self.packet.without(CONNTRACK)
                case Translate(zone, onward):
                    self.effects.append(Tracked(self.packet, self.packet[zone], onward, action))
                    self.packet = self.packet.without(CONNTRACK)
                case Commit(zone, writes, onward):
                    self.effects.append(Committed(self.packet, self.packet[zone], writes, onward))
                    self.packet = self.packet.without(CONNTRACK)
                case Apart(inner):
                    packet = self.packet
                    self.act(inner, table)
                    self.packet = packet
                case Untrack():
                    self.packet = self.packet.without(CONNTRACK)
                case Measure(most, target):
                    self.packet = self.packet.put(target, self.packet.length > most)
                case Turn():
                    self.packet = self.packet.put(IN_PORT, 0)
                case PushVlan():
                    self.packet = self.packet.put(VLAN_TCI, TAG_PRESENT)
                case PopVlan():
                    self.packet = self.packet.put(VLAN_TCI, 0)
                case DecrementTtl():
                    if self.packet[ETH_TYPE] in _HAVE_TTL:
                        if self.packet[TTL] <= 1:
                            return None
                        self.packet = self.packet.put(TTL, self.packet[TTL] - 1)
                case Conjunction():
                    pass
                case _:
                    assert_never(action)
        return None

    def resubmit(self, table: Table, back: Table) -> None:
        """Another table, and back; only the way to the same or an earlier one is counted as deeper."""
        deeper = table.number <= back.number
        self.depth, self.nesting = self.depth + deeper, self.nesting + 1
        self.enter(table)
        self.depth, self.nesting = self.depth - deeper, self.nesting - 1

    def copy(self, id: int, table: Table) -> None:
        """A copy through each bucket of a group, or through one bucket; the packet itself stays as it was."""
        group, original = self.switch.group(id), self.packet
        if altered := self.switch.altered(id):
            self.effects.append(End(Fate.STRANGE, original, table, words=altered))
            return
        taken = self.taken(group)
        self.hops.append(Hop(self.nesting, original, table, group, buckets=tuple(at for at, _ in taken)))
        self.nesting += 1
        for _, bucket in taken:
            before = len(self.effects)
            self.act(bucket.actions, table)
            self.missed(before)
            self.packet = original
        self.nesting -= 1

    def taken(self, group: Group | None) -> Sequence[tuple[int, Bucket]]:
        """The buckets of a group that get a copy, each with its place."""
        if group is None:
            return ()
        alive = [each for each in enumerate(group.buckets) if each[1].watch is None or each[1].watch not in self.dead]
        return alive[:1] if group.kind.fails_over or group.kind.chooses else alive
