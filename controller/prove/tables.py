"""The flows of all switches, by table and priority, and what they do with sets of packets.

Most flows stand on many switches: each is here once, with the switches that hold it (`Hosts`).

Flows that test the same are a tree: slot by slot, value by value; what a state knows of its packets for certain leads
past most of it. What is left is joined to relations: flows that do the same are one `Move` whatever they match, and so
are those that write different numbers: which flow writes which is said in variables. So a port more is a few nodes more
in the diagram of a move, and not one more set to follow. Moves are worked out once for all packets of which a state
knows the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Final, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from controller.prove.atoms import SORTS
from controller.prove.live import Liveness
from controller.prove.rules import Action, Copy, Group, Rule, Test, Write
from controller.prove.sets import WIDTHS, Maybe, Refs, Set, Value, union
from controller.prove.states import ACTED, HOST, Algebra, State

Hit = tuple[Rule, Set]
Hosts = frozenset[int] | None
"""Some hypervisors, by number; None is all of them."""
_FIRST: Final = ("in_port", "reg6", "reg7", "reg2", "reg1", "reg10", "reg11", "reg8", "reg0", "eth_type", "nw_proto")
"""Slots that are mostly known, or that part packets best: they are asked first."""
DROPPED: Final = Write((ACTED,))
"""What a flow without actions does: it says that nothing is to come of a packet."""


class _Written(NamedTuple):
    """A slot of which some bits are written, whatever with."""

    slot: str
    mask: int


_Step = _Written | Copy


@dataclass(slots=True, eq=False)
class _Node:
    """The flows below one test of a slot, by value; at a leaf there is no slot, and `rules` match."""

    slot: str = ""
    mask: int = 0
    children: dict[int, _Node] = field(default_factory=dict)
    rules: list[tuple[Rule, Hosts]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class Move:
    """What some flows do with the packets that they match: first writes, then the `rest`.

    Of slots that are written with different numbers, `own` has the variables in which `matched` says which.
    """

    matched: Set
    first: tuple[Test | Copy, ...]
    own: Mapping[str, Refs]
    rest: tuple[Action, ...]

    def made(self, algebra: Algebra, state: State) -> State:
        """Packets of a state as the first writes leave them."""
        for each in self.first:
            if isinstance(each, Copy):
                for source, target in each.spans:
                    state = algebra.copied(state, source, target)
            elif each.slot in self.own:
                state = algebra.given(state, each.slot, each.mask, self.own[each.slot])
            else:
                state = algebra.written(state, each)
        for slot, refs in self.own.items():
            state = algebra.settled(state, slot, refs)
        return state


@dataclass(slots=True, eq=False)
class _Kind:
    """Flows whose first writes are the same but for the numbers, and the rest is."""

    steps: tuple[_Step, ...]
    rest: tuple[Action, ...]
    members: dict[tuple[int, ...], list[Set]] = field(default_factory=dict)
    """What flows match, by what they write: a number a write, in order."""
    differ: tuple[int, ...] = ()
    """The writes of which there are several numbers."""
    known: dict[tuple[int | None, ...], list[Move]] = field(default_factory=dict)

    def complete(self) -> None:
        """Called when all flows are there."""
        columns = zip(*self.members, strict=True)
        self.differ = tuple(at for at, column in enumerate(columns) if len({*column}) > 1)

    def moves(self, algebra: Algebra, state: State) -> list[Move]:
        """The same as few moves, in variables that the state does not use."""
        writes = [each for each in self.steps if isinstance(each, _Written)]
        blocks = tuple([_block(algebra, state, writes, at) for at in self.differ])
        found = self.known.get(blocks)
        if found is None:
            found = self.known[blocks] = [*self._moves(algebra, writes, blocks)]
        return found

    def _moves(self, algebra: Algebra, writes: Sequence[_Written], blocks: Sequence[int | None]) -> Iterator[Move]:
        space = algebra.space
        own = {
            writes[at].slot: space.block(writes[at].slot, block)
            for at, block in zip(self.differ, blocks, strict=True)
            if block is not None
        }
        told = [at for at, block in zip(self.differ, blocks, strict=True) if block is not None]
        alike: dict[tuple[int, ...], list[Set]] = {}
        for numbers, sets in self.members.items():
            matched = union(sets, space.nothing)
            if any(space.lacks(writes[at].slot, numbers[at]) for at in told):  # whether anybody meets it is seen later
                yield Move(matched, tuple(_steps(self.steps, numbers)), {}, self.rest)
                continue
            for at in told:
                slot, mask = writes[at]
                matched = matched & space.test(slot, own[slot], numbers[at], mask)
            alike.setdefault(tuple([0 if at in told else number for at, number in enumerate(numbers)]), []).append(
                matched
            )
        for numbers, sets in alike.items():
            yield Move(union(sets, space.nothing), tuple(_steps(self.steps, numbers)), own, self.rest)


def _steps(steps: Iterable[_Step], numbers: Sequence[int]) -> Iterator[Test | Copy]:
    given = iter(numbers)
    for each in steps:
        yield each if isinstance(each, Copy) else Test(each.slot, next(given), each.mask)


def _block(algebra: Algebra, state: State, writes: Sequence[_Written], at: int) -> int | None:
    """A block that can say which number is written, if any can."""
    slot, mask = writes[at]
    full = (1 << WIDTHS[slot]) - 1
    partly = mask & full != full
    if partly and (slot in SORTS or isinstance(algebra.value(state, slot), Maybe)):
        return None
    if sum(each.slot == slot for each in writes) > 1:
        return None
    return algebra.spare(state, slot)


@dataclass(frozen=True, slots=True, eq=False)
class _Met:
    """The flows of a tier that packets of some states meet: each with what it matches, and what surely meets one."""

    hits: Sequence[Hit]
    covered: Set
    kinds: Sequence[_Kind]


class _Tier:
    """The flows of one table and priority."""

    def __init__(self) -> None:
        self.shapes: dict[tuple[tuple[str, int], ...], _Node] = {}
        self.clauses: dict[tuple[tuple[str, int], ...], _Node] = {}
        self._slots: dict[str, None] = {}
        self._known: WeakKeyDictionary[Algebra, dict[tuple[Value, ...], _Met]] = WeakKeyDictionary()

    def add(self, rule: Rule, hosts: Hosts) -> None:
        self._slots.update({test.slot: None for test in rule.tests})
        if hosts is not None:
            self._slots[HOST] = None
        tests = sorted(rule.tests, key=_order)
        node = (self.clauses if rule.shares else self.shapes).setdefault(
            tuple((test.slot, test.mask) for test in tests), _Node()
        )
        for test in tests:
            node.slot, node.mask = test.slot, test.mask
            node = node.children.setdefault(test.value & test.mask, _Node())
        node.rules.append((rule, hosts))

    def judges(self, verdicts: Iterable[tuple[Rule, Hosts]]) -> None:
        """What conjunctions of this tier say."""
        for rule, hosts in verdicts:
            self._slots.update({test.slot: None for test in rule.tests})
            if hosts is not None:
                self._slots[HOST] = None

    def met(self, algebra: Algebra, state: State, verdicts: _Verdicts) -> _Met:
        """The flows that there are for packets of a state, and what of all packets there are surely meets one."""
        key = tuple([algebra.value(state, slot) for slot in self._slots])
        known = self._known.setdefault(algebra, {})
        found = known.get(key)
        if found is None:
            space = algebra.space
            hits: list[Hit] = []
            sure: list[Set] = []
            for node in self.shapes.values():
                _gather(algebra, node, state, space.everything, True, hits, sure)
            covered = union(sure, space.nothing)
            if self.clauses:
                covered = self._judged(algebra, state, verdicts, hits, covered)
            found = known[key] = _Met(hits, covered, _kinds(hits))
        return found

    def _judged(
        self, algebra: Algebra, state: State, verdicts: _Verdicts, hits: list[Hit], covered: Set
    ) -> Set:  # fmt: skip
        """What conjunctions match that no other flow does."""
        parts: list[Hit] = []
        for node in self.clauses.values():
            _gather(algebra, node, state, algebra.space.everything, True, parts, [])
        slots = {slot for shape in self.clauses for slot, _ in shape}
        perhaps = any(isinstance(algebra.value(state, slot), Maybe) for slot in slots)
        for id, matched in _conjunctions(algebra, parts):
            for rule, hosts in sorted(verdicts.get(id, ()), key=lambda each: -each[0].priority):
                found = matched & ~covered & algebra.standing(state, hosts)
                for test in rule.tests:
                    found = found & algebra.tested(state, test)[0]
                if found != algebra.space.nothing:
                    hits.append((rule, found))
                    covered = covered if perhaps else covered | found
        return covered


def _order(test: Test) -> tuple[int, str, int]:
    return (_FIRST.index(test.slot) if test.slot in _FIRST else len(_FIRST), test.slot, test.mask)


def _gather(
    algebra: Algebra, node: _Node, state: State, matched: Set, surely: bool, hits: list[Hit], sure: list[Set]
) -> None:
    """The flows of a tree that packets of a state may meet. Of what nobody knows (`Maybe`): any, and perhaps none."""
    if not node.slot:
        for rule, hosts in node.rules:
            found = matched & algebra.standing(state, hosts)
            if found != algebra.space.nothing:
                hits.append((rule, found))
                if surely and rule.certain:
                    sure.append(found)
        return
    value = algebra.value(state, node.slot)
    if isinstance(value, int):
        child = node.children.get(value & node.mask)
        if child is not None:
            _gather(algebra, child, state, matched, surely, hits, sure)
    elif isinstance(value, Maybe):
        common = value.mask & node.mask
        for number, child in node.children.items():
            if (number ^ value.value) & common == 0:
                _gather(algebra, child, state, matched, surely and common == node.mask, hits, sure)
    else:
        space = algebra.space
        for number, child in node.children.items():
            fits = matched & space.test(node.slot, value, number, node.mask)
            if fits != space.nothing:
                _gather(algebra, child, state, fits, surely, hits, sure)


def _kinds(hits: Iterable[Hit]) -> list[_Kind]:
    found: dict[tuple[tuple[_Step, ...], tuple[Action, ...]], _Kind] = {}
    for rule, matched in hits:
        steps, numbers, rest = _parted(rule.actions)
        kind = found.get((steps, rest))
        if kind is None:
            kind = found[steps, rest] = _Kind(steps, rest)
        kind.members.setdefault(numbers, []).append(matched)
    for kind in found.values():
        kind.complete()
    return [*found.values()]


@cache
def _parted(actions: tuple[Action, ...]) -> tuple[tuple[_Step, ...], tuple[int, ...], tuple[Action, ...]]:
    """The writes that actions begin with, their numbers, and the rest."""
    actions = actions or (DROPPED,)
    steps: list[_Step] = []
    numbers: list[int] = []
    at = 0
    for at, each in enumerate(actions):
        if isinstance(each, Write):
            steps += [_Written(test.slot, test.mask) for test in each.tests]
            numbers += [test.value for test in each.tests]
        elif isinstance(each, Copy):
            steps.append(each)
        else:
            return tuple(steps), tuple(numbers), actions[at:]
    return tuple(steps), tuple(numbers), ()


def _conjunctions(algebra: Algebra, clauses: Iterable[Hit]) -> Iterator[tuple[int, Set]]:
    """Each conjunction, by number, and the packets that all its dimensions match, of flows that are met."""
    space = algebra.space
    parts: dict[tuple[int, int], dict[int, list[Set]]] = {}
    for rule, matched in clauses:
        for share in rule.shares:
            parts.setdefault((share.id, share.n), {}).setdefault(share.k, []).append(matched)
    for id, size in sorted(parts):
        if len(parts[id, size]) == size:
            made = space.everything
            for sets in parts[id, size].values():
                made = made & union(sets, space.nothing)
            if made != space.nothing:
                yield id, made


_Verdicts = Mapping[int, Sequence[tuple[Rule, Hosts]]]
"""By number of a conjunction, the flows that say what becomes of what it matches."""


T = TypeVar("T", Rule, Group)


def _together(held: Iterable[Iterable[T]]) -> list[tuple[T, Hosts]]:
    """Each once, with those that hold it."""
    places: dict[int, set[int]] = {}
    known: dict[int, T] = {}
    count = 0
    for number, found in enumerate(held):
        count += 1
        for each in found:
            known[id(each)] = each
            places.setdefault(id(each), set()).add(number)
    sets = {
        frozenset(each): None if len(each) == count else frozenset(each) for each in map(frozenset, places.values())
    }
    return [(each, sets[frozenset(places[key])]) for key, each in known.items()]


class Tables:
    """The flows and groups of all switches."""

    def __init__(self, held: Sequence[tuple[Sequence[Rule], Sequence[Group]]]) -> None:
        """What each switch holds, by number; what several hold is the same object."""
        rules = _together(each for each, _ in held)
        groups = _together(each for _, each in held)
        self.live = Liveness((rule for rule, _ in rules), (group for group, _ in groups))
        self.groups: dict[int, list[tuple[Group, Hosts]]] = {}
        for group, hosts in groups:
            self.groups.setdefault(group.id, []).append((group, hosts))
        tables: dict[int, dict[int, _Tier]] = {}
        self._verdicts: dict[int, dict[int, list[tuple[Rule, Hosts]]]] = {}
        self.drops: set[int] = set()
        acting: set[int] = set()
        for rule, hosts in rules:
            tiers = tables.setdefault(rule.table, {})
            (acting if rule.actions else self.drops).add(rule.table)
            if rule.conj_id is not None:
                self._verdicts.setdefault(rule.table, {}).setdefault(rule.conj_id, []).append((rule, hosts))
            else:
                tiers.setdefault(rule.priority, _Tier()).add(rule, hosts)
        self.drops -= acting
        self._tables = {
            number: [tiers[priority] for priority in sorted(tiers, reverse=True)] for number, tiers in tables.items()
        }
        for number, verdicts in self._verdicts.items():
            for tier in self._tables[number]:
                if tier.clauses:
                    tier.judges(each for found in verdicts.values() for each in found)

    def met(self, algebra: Algebra, table: int, state: State) -> tuple[list[Hit], Set]:
        """The flows of a table that some of the packets meet, and the packets that meet none.

        Of flows of one priority that match alike Open vSwitch takes any: here each has the packets.
        """
        hits: list[Hit] = []
        left = state.packets
        for met, come, below in self._tiers(algebra, table, state):
            left = below
            for rule, matched in met.hits:
                found = come & matched
                if found != algebra.space.nothing:
                    hits.append((rule, found))
        return hits, left

    def moved(self, algebra: Algebra, table: int, state: State) -> tuple[list[tuple[tuple[Action, ...], State]], Set]:
        """The same with flows together that do alike: what each still does with packets on which its first writes are
        done."""
        made: list[tuple[tuple[Action, ...], State]] = []
        left = state.packets
        for met, come, below in self._tiers(algebra, table, state):
            left = below
            for kind in met.kinds:
                for move in kind.moves(algebra, state):
                    packets = come & move.matched
                    if packets != algebra.space.nothing:
                        made.append((move.rest, move.made(algebra, replace(state, packets=packets))))
        return made, left

    def left(self, algebra: Algebra, table: int, state: State) -> Set:
        """The packets that surely meet no flow of a table."""
        left = state.packets
        for _, _, below in self._tiers(algebra, table, state):
            left = below
        return left

    def _tiers(self, algebra: Algebra, table: int, state: State) -> Iterator[tuple[_Met, Set, Set]]:
        """What packets of a state meet, tier by tier, the packets that come there, and those that go on below."""
        left = state.packets
        verdicts = self._verdicts.get(table, {})
        for tier in self._tables.get(table, ()):
            if left == algebra.space.nothing:
                return
            met = tier.met(algebra, state, verdicts)
            come, left = left, left & ~met.covered
            yield met, come, left
