"""The flows of a switch, by table and priority, found by what they test.

Flows that test the same are a tree: slot by slot, value by value. A set of packets is parted on its way down, so that
what it has nothing to do with is never looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from controller.prove.rules import Group, Rule, Test
from controller.prove.sets import Maybe, Refs, Set, Space, Value, union
from controller.prove.states import Algebra, State

Hit = tuple[Rule, Set]
_FIRST: Final = ("in_port", "reg6", "reg7", "reg2", "reg1", "reg10", "reg11", "reg8", "reg0", "eth_type", "nw_proto")
"""Slots that are mostly known, or that part packets best: they are asked first."""


@dataclass(slots=True, eq=False)
class _Node:
    """The flows below one test of a slot, by value; at a leaf there is no slot, and `rules` match."""

    slot: str = ""
    mask: int = 0
    children: dict[int, _Node] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)
    parted: dict[Refs, _Part] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Some children of a node: all packets that any of them may be about, and which they are, by halves."""

    cover: Set
    halves: tuple[_Part, ...] = ()
    child: _Node | None = None


def _part(space: Space, children: Sequence[tuple[Set, _Node]]) -> _Part:
    if len(children) == 1:
        return _Part(children[0][0], (), children[0][1])
    middle = len(children) // 2
    halves = (_part(space, children[:middle]), _part(space, children[middle:]))
    return _Part(halves[0].cover | halves[1].cover, halves)


class _Tier:
    """The flows of one table and priority."""

    def __init__(self) -> None:
        self.shapes: dict[tuple[tuple[str, int], ...], _Node] = {}
        self.clauses: list[Rule] = []
        self._dimensions: dict[tuple[Value, ...], list[tuple[int, Set]]] = {}

    def add(self, rule: Rule) -> None:
        if rule.shares:
            self.clauses.append(rule)
            return
        tests = sorted(rule.tests, key=_order)
        node = self.shapes.setdefault(tuple((test.slot, test.mask) for test in tests), _Node())
        for test in tests:
            node.slot, node.mask = test.slot, test.mask
            node = node.children.setdefault(test.value & test.mask, _Node())
        node.rules.append(rule)

    def complete(self, algebra: Algebra, state: State) -> list[tuple[int, Set]]:
        """Each conjunction, by number, and the packets that all its dimensions match."""
        slots = sorted({test.slot for rule in self.clauses for test in rule.tests})
        key = tuple(algebra.value(state, slot) for slot in slots)
        found = self._dimensions.get(key)
        if found is None:
            found = self._dimensions[key] = [*_conjunctions(algebra, state, self.clauses)]
        return found


def _order(test: Test) -> tuple[int, str, int]:
    return (_FIRST.index(test.slot) if test.slot in _FIRST else len(_FIRST), test.slot, test.mask)


def _conjunctions(algebra: Algebra, state: State, clauses: Iterable[Rule]) -> Iterator[tuple[int, Set]]:
    space = algebra.space
    parts: dict[int, dict[int, list[Set]]] = {}
    sizes: dict[int, int] = {}
    for rule in clauses:
        matched = space.everything
        for test in rule.tests:
            matched = matched & algebra.tested(state, test)[0]
        if matched == space.nothing:
            continue
        for share in rule.shares:
            parts.setdefault(share.id, {}).setdefault(share.k, []).append(matched)
            sizes[share.id] = share.n
    for id in sorted(parts):
        if len(parts[id]) == sizes[id]:
            made = space.everything
            for sets in parts[id].values():
                made = made & union(sets, space.nothing)
            if made != space.nothing:
                yield id, made


class Tables:
    """The flows and groups of one switch."""

    def __init__(self, rules: Iterable[Rule], groups: Iterable[Group]) -> None:
        tables: dict[int, dict[int, _Tier]] = {}
        self.groups: Mapping[int, Group] = {group.id: group for group in groups}
        self._verdicts: dict[tuple[int, int], list[Rule]] = {}
        self.drops: set[int] = set()
        acting: set[int] = set()
        for rule in rules:
            tiers = tables.setdefault(rule.table, {})
            (acting if rule.actions else self.drops).add(rule.table)
            if rule.conj_id is not None:
                self._verdicts.setdefault((rule.table, rule.conj_id), []).append(rule)
            else:
                tiers.setdefault(rule.priority, _Tier()).add(rule)
        self.drops -= acting
        self._tables = {
            number: [tiers[priority] for priority in sorted(tiers, reverse=True)] for number, tiers in tables.items()
        }

    def met(self, algebra: Algebra, table: int, state: State) -> tuple[list[Hit], Set]:
        """The flows of a table that some of the packets meet, and the packets that meet none.

        Of flows of one priority that match alike Open vSwitch takes any: here each has the packets.
        """
        hits: list[Hit] = []
        left = state.packets
        nothing = algebra.space.nothing
        for tier in self._tables.get(table, ()):
            if left == nothing:
                break
            come = left
            for node in tier.shapes.values():
                left = left & _down(algebra, node, state, come, hits) if tier.shapes else left
            if tier.clauses and left != nothing:
                left = self._judged(algebra, table, tier, state, left, hits)
        return hits, left

    def _judged(
        self, algebra: Algebra, table: int, tier: _Tier, state: State, left: Set, hits: list[Hit]
    ) -> Set:  # fmt: skip
        """What conjunctions of a tier match."""
        slots = {test.slot for rule in tier.clauses for test in rule.tests}
        perhaps = any(isinstance(algebra.value(state, slot), Maybe) for slot in slots)
        for id, matched in tier.complete(algebra, state):
            for rule in sorted(self._verdicts.get((table, id), ()), key=lambda each: -each.priority):
                found = left & matched
                for test in rule.tests:
                    found = found & algebra.tested(state, test)[0]
                if found != algebra.space.nothing:
                    hits.append((rule, found))
                    left = left if perhaps else left & ~found
        return left


def _down(algebra: Algebra, node: _Node, state: State, packets: Set, hits: list[Hit]) -> Set:
    """Part packets by a tree of flows; those that match none are left."""
    nothing = algebra.space.nothing
    if not node.slot:
        certain = False
        for rule in node.rules:
            hits.append((rule, packets))
            certain |= rule.certain
        return nothing if certain else packets
    value = algebra.value(state, node.slot)
    if isinstance(value, int):
        child = node.children.get(value & node.mask)
        return packets if child is None else _down(algebra, child, state, packets, hits)
    if isinstance(value, Maybe):
        return _perhaps(algebra, node, value, state, packets, hits)
    part = node.parted.get(value)
    if part is None:
        space, slot, mask = algebra.space, node.slot, node.mask
        tests = [(space.test(slot, value, number, mask), child) for number, child in sorted(node.children.items())]
        part = node.parted[value] = _part(space, tests)
    unmatched = [packets & ~part.cover]
    _among(algebra, part, state, packets & part.cover, hits, unmatched)
    return union(unmatched, nothing)


def _perhaps(algebra: Algebra, node: _Node, value: Maybe, state: State, packets: Set, hits: list[Hit]) -> Set:
    """Of what nobody knows: any flow that may match, and perhaps none."""
    common = value.mask & node.mask
    left = packets
    for number, child in node.children.items():
        if (number ^ value.value) & common == 0:
            left = _down(algebra, child, state, packets, hits)
    return left if common == node.mask else packets


def _among(algebra: Algebra, part: _Part, state: State, packets: Set, hits: list[Hit], unmatched: list[Set]) -> None:
    nothing = algebra.space.nothing
    if packets == nothing:
        return
    if part.child is not None:
        left = _down(algebra, part.child, state, packets, hits)
        if left != nothing:
            unmatched.append(left)
        return
    for half in part.halves:
        _among(algebra, half, state, packets & half.cover, hits, unmatched)
