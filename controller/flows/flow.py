"""Flows as values: what a packet must be (`match`), what becomes of it (`action`), and where.

    Flow(L2_LOOKUP, "unicast", NET(7) & ETH_DST(mac), (DST.set(11), goto(DELIVER)))

A table declares what may be matched, set and jumped to; a flow that breaks the declaration cannot be built, nor can
such a group. `str()` of a flow is what `ovs-ofctl add-flows` reads. Values only: no wire format
(`southbound.openflow`), no owner (the engine stamps it).

Flows are many and their sorts are few: a flow is a `Form`, checked once for all flows of it, and the numbers that it
has of its own, those of its match first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, repeat
from typing import Any, NamedTuple
from weakref import ref

from controller.errors import Undeclared
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
    actions_text,
)
from controller.flows.match import Field, Match, Pattern, Set, match_text

FlowKey = tuple[int, int, Match]
GroupKey = tuple[str, int]
Key = FlowKey | GroupKey

Kind = Field[Any] | tuple[Field[Any], int] | Table | GroupKind | type[Output] | type[Conjunction] | Action
"""What an action is but for its numbers: the field of a Set (and its value, if the field takes few), the table of a
Goto, the kind of a ToGroup. One Conjunction stands for any number of them."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Form:
    """What flows have in common that differ in nothing but numbers; `_form` makes one object for all of them.

    It goes with the last of them. Of their numbers the first `tested` are their match's. `memo` is what the encoder
    worked out from it.
    """

    table: Table
    reason: str
    pattern: Pattern
    kinds: tuple[Kind, ...]
    priority: int
    tested: int
    memo: object = field(default=None, init=False, repr=False)

    def flow(self, numbers: Sequence[int]) -> Flow:
        """The flow of this form with these numbers."""
        left = iter(numbers)
        match = Match(self.pattern, tuple(islice(left, self.tested)))
        return Flow(self.table, self.reason, match, self.actions(left))

    def actions(self, numbers: Iterator[int]) -> tuple[Action, ...]:
        """What a flow of this form does, with those of its numbers that are no part of the match."""
        if self.kinds == (Conjunction,):
            shares = zip(numbers, numbers, numbers, strict=True)
            return tuple([Conjunction(*share) for share in shares])
        return tuple([_action(kind, numbers) for kind in self.kinds])


_FormKey = tuple["Table", str, Pattern, tuple[Kind, ...]]

_set = object.__setattr__
_tuple = tuple.__new__  # a NamedTuple's own constructor takes twice as long

_forms: dict[_FormKey, ref[Form]] = {}
"""The forms of all flows that there are: an address that is translated is a part of its form, and goes with it."""


def _form(key: _FormKey) -> Form:
    """Raises Undeclared when the table does not declare what flows of this form ask for."""
    known = _forms.get(key)
    form = None if known is None else known()
    if form is None:
        form = _checked_form(*key)
        _forms[key] = ref(form, partial(_forget, key))
    return form


def _forget(key: _FormKey, form: ref[Form]) -> None:
    if _forms.get(key) is form:
        del _forms[key]


def _checked_form(table: Table, reason: str, pattern: Pattern, kinds: tuple[Kind, ...]) -> Form:
    place = f"Table {table.name}"
    if reason not in table.priorities:
        raise Undeclared(place, "priority", reason)
    for part in pattern.parts:
        if part.field not in table.matches:
            raise Undeclared(place, "match", part.field.name)
    if kinds != (Conjunction,):
        if Conjunction in kinds:
            raise Undeclared(place, "action beside", "a conjunction")
        for position, kind in enumerate(kinds, 1):
            _verify(place, _action(kind, repeat(0)), table, last=position == len(kinds))
    tested = sum(part.value is None for part in pattern.parts)
    return Form(table, reason, pattern, kinds, table.priorities[reason], tested)


def _action(kind: Kind, numbers: Iterator[int]) -> Action:
    """The action of a kind, with the next number if it takes one."""
    match kind:
        case Field():
            return Set(kind, next(numbers))
        case (field, value):
            return Set(field, value)
        case Table():
            return Goto(kind)
        case GroupKind():
            return ToGroup(next(numbers), kind)
        case type():
            return Output(next(numbers))
    return kind


def _kinds(actions: tuple[Action, ...], numbers: list[int]) -> tuple[Kind, ...]:
    """The kinds of actions; the numbers they take are appended."""
    kinds: list[Kind] = []
    for action in actions:
        if isinstance(action, Goto):
            kinds.append(action.table)
        elif isinstance(action, Set):
            if action.field.few:
                kinds.append((action.field, action.value))
            else:
                kinds.append(action.field)
                numbers.append(action.value)
        elif isinstance(action, Output):
            kinds.append(Output)
            numbers.append(action.port)
        elif isinstance(action, ToGroup):
            kinds.append(action.kind)
            numbers.append(action.id)
        elif isinstance(action, Conjunction):
            if kinds[-1:] != [Conjunction]:
                kinds.append(Conjunction)
            numbers += (action.id, action.k, action.n)
        else:
            kinds.append(action)
    return tuple(kinds)


@dataclass(frozen=True, slots=True, init=False)
class Flow:
    """One entry of a table. `reason` is one of the table's `priorities`.

    It is what its `form` and its `numbers`, those of the match first, say, and no more is kept of it: there are many.
    `memo` is no part of the value: the encoder keeps there what it knows of it, which goes when nobody wants the flow
    any more.

    Raises Undeclared when the table does not declare what the flow asks for.
    """

    form: Form
    numbers: tuple[int, ...]
    memo: object = field(compare=False, repr=False)

    def __init__(self, table: Table, reason: str, match: Match, actions: tuple[Action, ...] = ()) -> None:
        numbers = match.numbers
        found = [*numbers]
        kinds = _kinds(actions, found)
        _set(self, "form", _form((table, reason, match.pattern, kinds)))
        _set(self, "numbers", tuple(found) if len(found) > len(numbers) else numbers)
        _set(self, "memo", None)

    @property
    def match(self) -> Match:
        """What a packet must be."""
        return self.key[2]

    @property
    def table(self) -> Table:
        """The table that it is an entry of."""
        return self.form.table

    @property
    def reason(self) -> str:
        """What it is there for, which decides its priority."""
        return self.form.reason

    @property
    def actions(self) -> tuple[Action, ...]:
        """What becomes of the packets."""
        return self.form.actions(iter(self.numbers[self.form.tested :]))

    @property
    def priority(self) -> int:
        """The OpenFlow priority."""
        return self.form.priority

    @property
    def key(self) -> FlowKey:
        """What no two flows of one switch share."""
        numbers, form = self.numbers, self.form
        tested = numbers if len(numbers) == form.tested else numbers[: form.tested]
        return (form.table.number, form.priority, _tuple(Match, (form.pattern, tested)))

    def __str__(self) -> str:
        head = f"table={self.table.number},priority={self.priority}"
        tests = match_text(self.match)
        return f"{head}{',' if tests else ''}{tests} actions={actions_text(self.actions)}"


@dataclass(frozen=True, slots=True)
class Clause:
    """A cell's share of a conjunctive flow; clauses with one key are merged into one flow by the engine."""

    table: Table
    reason: str
    match: Match
    conjunction: int
    k: int
    n: int

    @property
    def key(self) -> FlowKey:
        """The key of the flow it is merged into."""
        return (self.table.number, self.table.priorities[self.reason], self.match)

    @property
    def share(self) -> tuple[int, int, int]:
        """What it adds to that flow: a dimension of a conjunction (see `Conjunction`)."""
        return (self.conjunction, self.k, self.n)


@dataclass(frozen=True, slots=True)
class Bucket:
    """What one copy of a packet goes through.

    A switch takes this for a set (section 5.12): of several ways on only one would count, and comes last; to measure is
    no action of sets, and Open vSwitch would pass over it in silence (ofp-actions.c, `ofpacts_execute_action_set`).
    `watch` is the OpenFlow port that must be alive, in a group that fails over. One bucket may be of many groups:
    `fits` are the kinds that were seen to take it, and `memo` is the encoder's; both are no part of the value.
    """

    actions: tuple[Action, ...]
    watch: int | None = None
    fits: tuple[GroupKind, ...] = field(default=(), init=False, compare=False, repr=False)
    memo: object = field(default=None, init=False, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Group:
    """A group of a kind. Raises Undeclared as `Flow` does."""

    kind: GroupKind
    number: int
    buckets: tuple[Bucket, ...]

    def __post_init__(self) -> None:
        kind = self.kind
        for bucket in self.buckets:
            if kind not in bucket.fits:
                _verify_bucket(bucket, kind)
                _set(bucket, "fits", (*bucket.fits, kind))

    def __hash__(self) -> int:
        """Of what no two groups of one switch share: to go through all buckets takes longer than to compare a few."""
        return hash((self.kind.base, self.number))

    @property
    def id(self) -> int:
        """The OpenFlow group id."""
        return self.kind.id(self.number)

    @property
    def key(self) -> GroupKey:
        """What no two groups of one switch share."""
        return ("group", self.id)

    def __str__(self) -> str:
        type = "ff" if self.kind.fails_over else "select" if self.kind.chooses else "all"
        weight = "weight:1," if self.kind.chooses else ""
        heads = ("" if bucket.watch is None else f"watch_port:{bucket.watch}," for bucket in self.buckets)
        parts = (f"bucket={weight}{head}actions=" for head in heads)
        buckets = (part + actions_text(bucket.actions) for part, bucket in zip(parts, self.buckets, strict=True))
        return ",".join((f"group_id={self.id},type={type}", *buckets))


Item = Flow | Clause | Group
"""What an app yields."""


class Entry(NamedTuple):
    """What a switch should hold, stamped by the engine with the number of the app that wants it."""

    app: int
    item: Flow | Group

    @property
    def key(self) -> Key:
        """What no two entries of one switch share."""
        return self.item.key


def _verify_bucket(bucket: Bucket, kind: GroupKind) -> None:
    if (bucket.watch is not None) != kind.fails_over:
        raise Undeclared(f"Group {kind.name}", "watch", str(bucket.watch))
    for action in bucket.actions:
        _verify(f"Group {kind.name}", action, kind, last=False)
        if isinstance(action, Measure):
            raise Undeclared(f"Group {kind.name}", "action", str(action))
        if isinstance(action, Resubmit | ToGroup) and action is not bucket.actions[-1]:
            raise Undeclared(f"Group {kind.name}", "action after", str(action))


def _verify(place: str, action: Action, declared: Table | GroupKind, *, last: bool) -> None:
    match action:
        case Set(target, _) | Move(_, target) | Measure(_, target):
            if target not in declared.sets:
                raise Undeclared(place, "set", target.name)
        case Goto(table) | Resubmit(table):
            if table.name not in declared.nexts:
                raise Undeclared(place, "next", table.name)
            if isinstance(action, Goto) and not last:
                raise Undeclared(place, "action after", str(action))
            if isinstance(action, Goto) and isinstance(declared, Table) and table.number <= declared.number:
                raise Undeclared(place, "way back by", str(action))
        case ToGroup(_, kind):
            if kind not in declared.groups:
                raise Undeclared(place, "group", kind.name)
        case Output() | Bounce() | Punt():
            if not isinstance(declared, Table) or not declared.outputs:
                raise Undeclared(place, "output", str(action))
        case Track(_, table):
            _verify_tracking(place, table, declared)
        case Translate(_, table):
            _verify_tracking(place, table, declared)
            if not isinstance(declared, Table) or not declared.translates:
                raise Undeclared(place, "translation", str(action))
        case Commit(_, writes, table):
            _verify_tracking(place, table, declared)
            commits = declared.commits if isinstance(declared, Table) else frozenset()
            for target in [write.field if isinstance(write, Set) else write.target for write in writes]:
                if target not in commits:
                    raise Undeclared(place, "commit", target.name)
        case Apart(actions):
            for inner in actions:
                _verify(place, inner, declared, last=False)
        case Untrack() | DecrementTtl() | Turn() | PushVlan() | PopVlan() | Conjunction():
            pass


def _verify_tracking(place: str, table: Table, declared: Table | GroupKind) -> None:
    if not isinstance(declared, Table) or table.name not in declared.tracks:
        raise Undeclared(place, "tracking into", table.name)
