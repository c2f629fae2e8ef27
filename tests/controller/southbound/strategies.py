"""Hypothesis strategies for everything the pipeline declares: matches, actions, flows, buckets, groups.

They follow `pipeline.TABLES` and `pipeline.GROUP_KINDS`: what is declared is drawn, with no list kept here. Drawn
is what Open vSwitch accepts, so prerequisites hold; the groups a flow points to must be installed before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from controller.errors import ConflictingMatch
from controller.flows import fields as f
from controller.flows.action import (
    Action,
    Apart,
    Bounce,
    Commit,
    Conjunction,
    DecrementTtl,
    Goto,
    GroupKind,
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
from controller.flows.flow import Bucket, Flow, Group
from controller.flows.match import ANY, Field, Match, Set, Test, matching
from controller.flows.pipeline import CONNECTION, GROUP_KINDS, REGISTERS, TABLES
from controller.model.records import Address
from controller.southbound.messages import OFPP_LOCAL

T = TypeVar("T")

BY_NAME = {table.name: table for table in TABLES}


def ordered(fields: Iterable[Field[Any]]) -> list[Field[Any]]:
    """Fields as they were declared: nothing drawn may hang on the order of a set."""
    return sorted(fields, key=lambda field: field.order)


PLACES: tuple[Table | GroupKind, ...] = (*TABLES, *GROUP_KINDS)

WRITABLE = ordered(frozenset(field for field, _ in (*REGISTERS, *CONNECTION)).union(*(place.sets for place in PLACES)))
"""Every field that something may set."""

FIELDS = ordered(frozenset(WRITABLE).union(*(table.matches for table in TABLES)))
"""Every field that the pipeline declares."""

TESTED_ONLY = frozenset({
    "in_port", "eth_type", "vlan_tci", "nw_proto", "ip_frag", "conj_id", "ct_state",
    "ct_zone", "ct_nw_src", "ct_nw_dst", "ct_ipv6_src", "ct_ipv6_dst", "ct_nw_proto", "ct_tp_src", "ct_tp_dst",
})  # fmt: skip
"""Fields that nothing copies, and only VLAN_ID of them is set: the encoder has no form for that."""

READABLE = [field for field in FIELDS if field.wire not in TESTED_ONLY]
"""Every field that a move may read."""

UNMASKED = frozenset({
    "in_port", "eth_type", "arp_op", "nw_proto", "nw_ttl", "icmp_type", "icmp_code", "icmpv6_type", "icmpv6_code",
    "nd_reserved", "nd_options_type", "conj_id", "ct_zone", "ct_nw_proto",
})  # fmt: skip
"""Fields that ovs-fields(7) calls not maskable."""

PORTS_OF_CONNECTIONS = frozenset({f.CT_TP_SRC, f.CT_TP_DST})
"""Of these Open vSwitch reads nothing back unless the protocol is tested too; any protocol will do (`nx_put_raw`)."""

ports = st.integers(1, 0xFEFF) | st.just(OFPP_LOCAL)
"""OpenFlow port numbers of Open vSwitch: 16 bits, and the reserved ones."""

_TCI = [(0, 0x1FFF), (0x1005, 0x1FFF), (0x1000, 0x1000)]  # untagged, VLAN 5, any VLAN


def numbers(field: Field[Any]) -> SearchStrategy[int]:
    """Values of a field, as numbers; its ends more often than chance has it."""
    if field is f.IN_PORT:
        return ports
    if field is f.ETH_TYPE:
        return st.sampled_from([0x0800, 0x0806, 0x86DD, 0x88CC]) | st.integers(0x0600, field.full)
    if field is f.VLAN_ID:  # no other VLAN than one that is there
        return st.integers(0x1000, field.full)
    top = 0xFF if field is f.ARP_OP else field.full  # Open vSwitch keeps 8 bits of an ARP operation
    least = int(field.wire == "ct_nw_proto")  # see `fields`
    return st.integers(least, top) | st.sampled_from([least, 1, top])


def tested(field: Field[Any], value: int, mask: int) -> Match:
    """The test of a field for a number, and what it requires."""
    return matching(*field.requires, Test(field, value & mask, mask))


@st.composite
def tests(draw: st.DrawFn, field: Field[Any]) -> Match:
    """One test of a field, with a mask sometimes, and what it requires."""
    if field is f.VLAN_TCI:
        value, mask = draw(st.sampled_from(_TCI))
    else:
        value, mask = draw(numbers(field)), field.full
        if field.wire not in UNMASKED and field is not f.VLAN_ID and draw(st.booleans()):
            mask = draw(st.integers(1, field.full))
    return tested(field, value, mask) & draw(beside(field))


def beside(field: Field[Any]) -> SearchStrategy[Match]:
    """What must be tested with a field, and no field can require, since it may be one of several things."""
    if field not in PORTS_OF_CONNECTIONS:
        return st.just(ANY)
    return st.one_of(*(numbers(proto).map(proto) for proto in (f.CT_PROTO4, f.CT_PROTO6)))


@st.composite
def matches(draw: st.DrawFn, table: Table, start: Match = ANY) -> Match:
    """What a table may match, with `start` in it."""
    declared = ordered(table.matches)
    match = start
    for field in draw(st.lists(st.sampled_from(declared), unique=True)) if declared else []:
        narrowed = both(match, draw(tests(field)))
        if narrowed is not None and possible(narrowed):
            match = narrowed
    return match


def possible(match: Match) -> bool:
    """Can there be such a packet? Open vSwitch refuses ports of a later fragment, and ND with a code (flow.h, `is_nd`)."""
    if {f.VLAN_TCI, f.VLAN_ID} <= {test.field for test in match.tests}:
        return False
    kinds = {test.field.wire.partition("_")[0] for test in match.tests}
    ports_of_later = kinds & {"tcp", "udp", "sctp"} and says(match, f.IPV4_FRAG, LATER)
    return not ports_of_later and not ("nd" in kinds and says(match, f.ICMPV6_CODE, f.ICMPV6_CODE.full))


LATER = 2
"""The bit of ip_frag for a fragment that is not the first."""


def says(match: Match, field: Field[Any], bits: int) -> bool:
    """Is any of these bits of a field, in whichever IP version, to be 1?"""
    return any(test.field.wire == field.wire and test.value & bits for test in match.tests)


def both(one: Match, other: Match) -> Match | None:
    """The packets that pass both, if there are any."""
    try:
        return one & other
    except ConflictingMatch:  # another protocol
        return None


def required(action: Action) -> tuple[Match, ...]:
    """Of what one must be matched before a packet meets this action (OpenFlow 1.4.1 section 7.2.2, prerequisites).

    Nothing is what no packet fulfils, like a move between the messages of two protocols.
    """
    match action:
        case Set(target, _):
            return (matching(*target.requires),)
        case Move(source, target):
            return all_of((matching(*source.requires),), (matching(*target.requires),))
        case Track(zone, _):  # ovs-actions(7), ct: "ip or ipv6"
            return all_of((f.IPV4, f.IPV6), (matching(*zone.requires),))
        case Commit(zone, writes):
            return all_of((f.IPV4, f.IPV6), (matching(*zone.requires),), *map(required, writes))
        case Apart(inner):
            return all_of(*map(required, inner))
        case Translate(zone) if action.begins:
            return all_of((f.IPV4,), (matching(*zone.requires),))
        case Translate(zone):
            return all_of((f.IPV4, f.IPV6), (matching(*zone.requires),))
        case DecrementTtl():  # ovs-actions(7), dec_ttl: "ip or ipv6"
            return (f.IPV4, f.IPV6)
        case PopVlan():
            return (f.VLAN_ID(5), f.VLAN_TCI(0x1000, 0x1000))
    return (ANY,)


def all_of(*choices: tuple[Match, ...]) -> tuple[Match, ...]:
    """Each way to pass one of every choice."""
    ways: tuple[Match, ...] = (ANY,)
    for choice in choices:
        met = (both(way, one) for way in ways for one in choice)
        ways = tuple(way for way in met if way is not None)
    return ways


def openings(action: Action, table: Table) -> tuple[Match, ...]:
    """What a flow of this table may match so that it may do this."""
    return tuple(way for way in required(action) if all(test.field in table.matches for test in way.tests))


def bits(field: Field[Any]) -> int:
    """How wide the values of a field are."""
    return field.bits or field.width


def moves(target: Field[Any]) -> list[Move]:
    """Every move into a field: from each readable one of its width."""
    return [Move(source, target) for source in READABLE if source is not target and bits(source) == bits(target)]


def sets(field: Field[Any]) -> SearchStrategy[Set]:
    """Every value written into a field."""
    return numbers(field).map(lambda value: Set(field, value))


def writes(fields: Iterable[Field[Any]]) -> SearchStrategy[Set | Move]:
    """Sets of fields, and moves into them."""
    targets = ordered(fields)
    copies = [move for target in targets for move in moves(target)]
    return st.one_of(*map(sets, targets), sampled(copies))


def measures(fields: Iterable[Field[Any]]) -> SearchStrategy[Action]:
    """Sizes of packets told in those of some fields that have one bit."""
    flags = [field for field in ordered(fields) if bits(field) == 1]
    return st.builds(Measure, st.integers(1, 0xFFFF), sampled(flags)) if flags else st.nothing()


ZONES = [field for field in READABLE if bits(field) == 16]
"""Every field that may hold the number of a conntrack zone (ovs-actions(7), ct: 16 bits)."""


def tracks(table: Table) -> SearchStrategy[Track]:
    """Look-ups in conntrack that a table declares."""
    return sampled([Track(zone, BY_NAME[name]) for zone in ZONES for name in sorted(table.tracks)])


def translations(table: Table) -> SearchStrategy[Translate]:
    """Translations that a table declares: of the source, of the destination, of either to ports; or as it was begun."""
    if not table.translates:
        return st.nothing()
    nexts = st.sampled_from([BY_NAME[name] for name in sorted(table.tracks)])
    address = st.integers(1, 0xFFFFFFFF).map(f.ipv4_text).map(Address)
    ends = st.tuples(st.integers(1, 0xFFFF), st.integers(1, 0xFFFF)).map(lambda two: (min(two), max(two)))
    zones = st.sampled_from([zone for zone in ZONES if zone in table.sets])
    return st.one_of(
        st.builds(Translate, zones, nexts),
        st.builds(Translate, zones, nexts, source=address, ports=st.none() | ends),
        st.builds(Translate, zones, nexts, destination=address, ports=st.none() | ends),
    )


@st.composite
def commits(draw: st.DrawFn, table: Table) -> Commit:
    """What a table may remember of a connection."""
    onward = BY_NAME[draw(sampled(sorted(table.tracks)))]
    zones = [zone for zone in ZONES if openings(Commit(zone, (), onward), table)]
    commit = Commit(draw(sampled(zones)), (), onward, force=draw(st.booleans()))
    for write in draw(st.lists(writes(table.commits), max_size=5)):
        longer = replace(commit, writes=(*commit.writes, write))
        commit = longer if openings(longer, table) else commit
    return commit


def conntrack(table: Table) -> SearchStrategy[Action]:
    """What a table may ask of conntrack, for the packet or for a copy; to forget its answer, any may."""
    asked = st.one_of(tracks(table), translations(table), commits(table) if table.commits else st.nothing())
    return st.one_of(
        asked, st.lists(asked, min_size=1, max_size=2).map(lambda each: Apart(tuple(each))), st.just(Untrack())
    )


def begins(action: Action) -> bool:
    """Does a connection begin with it, as another one?"""
    return isinstance(action, Translate) and action.begins


INVALID = f.ct_state("+inv").tests[0].value
"""The flag of ct_state that Open vSwitch lets nobody commit."""


punts = st.integers(1, 0xFFFF).map(Punt)
hops: SearchStrategy[Action] = st.sampled_from([DecrementTtl(), Turn(), PushVlan(), PopVlan()])
"""What routers and wires do to a packet; any table may."""


def sends(table: Table) -> SearchStrategy[Action]:
    """Outputs, groups and subroutines that a table declares."""
    groups = [ToGroup(kind.id(number), kind) for kind in table.groups for number in range(4)]
    outputs = [ports.map(Output), st.just(Bounce()), punts] if table.outputs else []
    return st.one_of(*outputs, sampled(groups), resubmits(table))


def sampled(values: Sequence[T]) -> SearchStrategy[T]:
    """One of them, of which there may be none."""
    return st.sampled_from(values) if values else st.nothing()


def later(table: Table) -> list[Table]:
    """The tables in which a packet may go on by goto, which leads onward only (OpenFlow 1.4.1 section 5.1)."""
    return [BY_NAME[name] for name in sorted(table.nexts) if BY_NAME[name].number > table.number]


def some(one: SearchStrategy[Action], most: int) -> SearchStrategy[list[Action]]:
    """Up to `most` actions; none where a table declares none."""
    drawn = st.lists(st.none() | one, max_size=most)
    return drawn.map(lambda actions: [action for action in actions if action is not None])


def resubmits(declared: Table | GroupKind) -> SearchStrategy[Action]:
    """Subroutines that a table or a kind of group declares."""
    return sampled([Resubmit(BY_NAME[name]) for name in sorted(declared.nexts)])


conjunctions: SearchStrategy[tuple[Action, ...]] = st.lists(
    st.integers(2, 64).flatmap(
        lambda n: st.builds(Conjunction, st.integers(0, 0xFFFFFFFF), st.integers(1, n), st.just(n))
    ),
    min_size=1,
    max_size=6,
).map(tuple)
"""Shares in conjunctive matches; no other action stands beside them (ovs-actions(7), conjunction)."""


@st.composite
def actions(draw: st.DrawFn, table: Table) -> tuple[Action, ...]:
    """What a flow of a table may do."""
    if draw(st.integers(0, 9)) == 0:
        return draw(conjunctions)
    one = (writes(table.sets) | sends(table) | conntrack(table) | hops | measures(table.sets)).filter(
        lambda action: openings(action, table)
    )
    drawn = [*untagged_once(draw(some(one, 6)))]
    return (*drawn, *draw(some(sampled([*map(Goto, later(table))]), 1)))


def untagged_once(actions: Iterable[Action]) -> Iterator[Action]:
    """Open vSwitch lets nobody take off a tag that a flow does not say is there."""
    tagged = True
    for action in actions:
        if tagged or not isinstance(action, PopVlan):
            yield action
        tagged = tagged and not isinstance(action, PopVlan)


@st.composite
def flows(draw: st.DrawFn, tables: Sequence[Table] = TABLES) -> Flow:
    """A flow of one of `tables`, as Open vSwitch accepts it."""
    table = draw(st.sampled_from(tables))
    needs = ANY
    done: list[Action] = []
    for action in draw(actions(table)):
        ways = [way for way in (both(needs, opening) for opening in openings(action, table)) if way is not None]
        if ways:  # else it wants another protocol than an action before it
            needs = draw(st.sampled_from(ways))
            done.append(action)
    match = draw(matches(table, needs))
    if says(match, f.CT_STATE, INVALID):
        done = [action for action in done if not isinstance(action, Commit | Apart) and not begins(action)]
    return Flow(table, draw(st.sampled_from(sorted(table.priorities))), match, tuple(done))


def flow_tables(max_size: int = 40) -> SearchStrategy[list[Flow]]:
    """Flows that one switch can hold together."""
    return st.lists(flows(), max_size=max_size, unique_by=lambda flow: flow.key)


@st.composite
def buckets(draw: st.DrawFn, kind: GroupKind) -> Bucket:
    """What a bucket of this kind may do."""
    done = draw(some(writes(kind.sets).filter(lambda action: required(action) == (ANY,)), 4))
    return Bucket((*done, *draw(some(resubmits(kind), 1))), draw(st.integers(1, 0xFEFF)) if kind.fails_over else None)


@st.composite
def groups(draw: st.DrawFn, kinds: Sequence[GroupKind] = GROUP_KINDS) -> Group:
    """A group of one of `kinds`."""
    kind = draw(st.sampled_from(kinds))
    return Group(kind, draw(st.integers(0, 0xFFFFFF)), tuple(draw(st.lists(buckets(kind), max_size=8))))


def group_tables(max_size: int = 5) -> SearchStrategy[list[Group]]:
    """Groups that one switch can hold together."""
    return st.lists(groups(), max_size=max_size, unique_by=lambda group: group.id)
