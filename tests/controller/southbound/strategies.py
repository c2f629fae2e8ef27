"""Hypothesis strategies for everything the pipeline declares: matches, actions, flows, buckets, groups.

They follow `pipeline.TABLES` and `pipeline.GROUP_KINDS`: what is declared is drawn, with no list kept here. Drawn
is what Open vSwitch accepts, so prerequisites hold; the groups a flow points to must be installed before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from controller.errors import ConflictingMatch
from controller.flows import fields as f
from controller.flows.flow import (
    ANY,
    Action,
    Bounce,
    Bucket,
    Conjunction,
    Field,
    Flow,
    Goto,
    Group,
    GroupKind,
    Match,
    Move,
    Output,
    Resubmit,
    Set,
    Table,
    Test,
    ToGroup,
)
from controller.flows.pipeline import GROUP_KINDS, REGISTERS, TABLES
from controller.southbound.messages import OFPP_LOCAL

BY_NAME = {table.name: table for table in TABLES}


def ordered(fields: Iterable[Field[Any]]) -> list[Field[Any]]:
    """Fields as they were declared: nothing drawn may hang on the order of a set."""
    return sorted(fields, key=lambda field: field.order)


PLACES: tuple[Table | GroupKind, ...] = (*TABLES, *GROUP_KINDS)

WRITABLE = ordered(frozenset(field for field, _ in REGISTERS).union(*(place.sets for place in PLACES)))
"""Every field that something may set."""

FIELDS = ordered(frozenset(WRITABLE).union(*(table.matches for table in TABLES)))
"""Every field that the pipeline declares."""

TESTED_ONLY = frozenset({"in_port", "eth_type", "vlan_tci", "nw_proto"})
"""Fields that nothing sets or copies: the encoder has no form for that."""

READABLE = [field for field in FIELDS if field.wire not in TESTED_ONLY]
"""Every field that a move may read."""

UNMASKED = frozenset(
    {"in_port", "eth_type", "arp_op", "nw_proto", "nw_ttl", "icmpv6_type", "nd_reserved", "nd_options_type"}
)
"""Fields that ovs-fields(7) calls not maskable."""

ports = st.integers(1, 0xFEFF) | st.just(OFPP_LOCAL)
"""OpenFlow port numbers of Open vSwitch: 16 bits, and the reserved ones."""

_TCI = [(0, 0x1FFF), (0x1005, 0x1FFF), (0x1000, 0x1000)]  # untagged, VLAN 5, any VLAN


def numbers(field: Field[Any]) -> SearchStrategy[int]:
    """Values of a field, as numbers; its ends more often than chance has it."""
    if field is f.IN_PORT:
        return ports
    if field is f.ETH_TYPE:
        return st.sampled_from([0x0800, 0x0806, 0x86DD, 0x88CC]) | st.integers(0x0600, field.full)
    top = 0xFF if field is f.ARP_OP else field.full  # Open vSwitch keeps 8 bits of an ARP operation
    return st.integers(0, top) | st.sampled_from([0, 1, top])


def tested(field: Field[Any], value: int, mask: int) -> Match:
    """The test of a field for a number, and what it requires."""
    return Match(field.requires) & Match((Test(field, value & mask, mask),))


@st.composite
def tests(draw: st.DrawFn, field: Field[Any]) -> Match:
    """One test of a field, with a mask sometimes, and what it requires."""
    if field is f.VLAN_TCI:
        value, mask = draw(st.sampled_from(_TCI))
    else:
        value, mask = draw(numbers(field)), field.full
        if field.wire not in UNMASKED and draw(st.booleans()):
            mask = draw(st.integers(1, field.full))
    return tested(field, value, mask)


@st.composite
def matches(draw: st.DrawFn, table: Table, start: Match = ANY) -> Match:
    """What a table may match, with `start` in it."""
    declared = ordered(table.matches)
    match = start
    for field in draw(st.lists(st.sampled_from(declared), unique=True)) if declared else []:
        try:
            match &= draw(tests(field))
        except ConflictingMatch:  # another Ethernet type than a field before this one requires
            continue
    return match


def required(action: Action) -> Match:
    """What must be matched before a packet meets this action (OpenFlow 1.4.1 section 7.2.2, prerequisites)."""
    match action:
        case Set(target, _):
            return Match(target.requires)
        case Move(source, target):
            return Match(source.requires) & Match(target.requires)
    return ANY


def possible(action: Action, table: Table) -> bool:
    """May the flows of this table match what the action requires?"""
    try:
        needs = required(action)
    except ConflictingMatch:  # a move between the messages of two protocols
        return False
    return all(test.field in table.matches for test in needs.tests)


def bits(field: Field[Any]) -> int:
    """How wide the values of a field are."""
    return field.bits or field.width


def moves(target: Field[Any]) -> list[Move]:
    """Every move into a field: from each readable one of its width."""
    return [Move(source, target) for source in READABLE if source is not target and bits(source) == bits(target)]


def sets(field: Field[Any]) -> SearchStrategy[Action]:
    """Every value written into a field."""
    return numbers(field).map(lambda value: Set(field, value))


def writes(declared: Table | GroupKind) -> SearchStrategy[Action]:
    """Sets and moves that a table or a kind of group declares."""
    targets = ordered(declared.sets)
    copies = [move for target in targets for move in moves(target)]
    return st.one_of(*map(sets, targets), sampled(copies))


def sends(table: Table) -> SearchStrategy[Action]:
    """Outputs, groups and subroutines that a table declares."""
    groups = [ToGroup(kind.id(number), kind) for kind in table.groups for number in range(4)]
    outputs = [ports.map(Output), st.just(Bounce())] if table.outputs else []
    return st.one_of(*outputs, sampled(groups), resubmits(table))


def sampled(actions: Sequence[Action]) -> SearchStrategy[Action]:
    """One of them, of which there may be none."""
    return st.sampled_from(actions) if actions else st.nothing()


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
    one = (writes(table) | sends(table)).filter(lambda action: possible(action, table))
    later = [Goto(BY_NAME[name]) for name in sorted(table.nexts) if BY_NAME[name].number > table.number]
    return (*draw(some(one, 6)), *draw(some(sampled(later), 1)))


@st.composite
def flows(draw: st.DrawFn, tables: Sequence[Table] = TABLES) -> Flow:
    """A flow of one of `tables`, as Open vSwitch accepts it."""
    table = draw(st.sampled_from(tables))
    doing = draw(actions(table))
    needs = ANY
    done: list[Action] = []
    for action in doing:
        try:
            needs &= required(action)
        except ConflictingMatch:  # another protocol than that of an action before this one
            continue
        done.append(action)
    return Flow(table, draw(st.sampled_from(sorted(table.priorities))), draw(matches(table, needs)), tuple(done))


def flow_tables(max_size: int = 40) -> SearchStrategy[list[Flow]]:
    """Flows that one switch can hold together."""
    return st.lists(flows(), max_size=max_size, unique_by=lambda flow: flow.key)


@st.composite
def buckets(draw: st.DrawFn, kind: GroupKind) -> Bucket:
    """What a bucket of this kind may do."""
    one = (writes(kind) | resubmits(kind)).filter(lambda action: not required(action).tests)
    return Bucket(tuple(draw(some(one, 4))))


@st.composite
def groups(draw: st.DrawFn, kinds: Sequence[GroupKind] = GROUP_KINDS) -> Group:
    """A group of one of `kinds`."""
    kind = draw(st.sampled_from(kinds))
    return Group(kind, draw(st.integers(0, 0xFFFFFF)), tuple(draw(st.lists(buckets(kind), max_size=8))))


def group_tables(max_size: int = 5) -> SearchStrategy[list[Group]]:
    """Groups that one switch can hold together."""
    return st.lists(groups(), max_size=max_size, unique_by=lambda group: group.id)
