"""Flows as values: what a packet must be (`Match`), what becomes of it (`Action`), and where (`Table`).

A field called is a test, a field's `set` is an action:

    Flow(L2_LOOKUP, "unicast", NET(7) & ETH_DST(mac), (DST.set(11), goto(DELIVER)))

Prerequisites travel with a field (`ARP_TPA` brings `eth_type=0x0806`). A table declares what may be matched, set
and jumped to; a flow that breaks the declaration cannot be built. `str()` of a flow is what `ovs-ofctl add-flows`
reads. Values only: no wire format (`southbound.openflow`), no owner (the engine stamps it).

Flows are many and their sorts are few: a flow is a `Form`, checked once for all flows of it, and the numbers that it
has of its own; a match is a `Pattern` and numbers likewise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial, reduce
from itertools import count, repeat
from operator import and_
from typing import Any, Generic, NamedTuple, TypeVar
from weakref import ref

from controller.errors import ConflictingMatch, Undeclared
from controller.model.records import Address

T = TypeVar("T")


def _same(value: int) -> int:
    return value


@dataclass(frozen=True, slots=True, eq=False)
class Field(Generic[T]):
    """A header field, or some bits of a register, that holds a `T`.

    `wire` names the whole field as ovs-fields(7) does; the value stands in `bits` bits from `shift` up, of `width`.
    `words`, if any, is how ovs-ofctl(8) writes a test of it, a function of value and mask. `few` says that it takes few
    values, mostly those that the code names: they are no numbers of a flow's own, but a part of its form; so is what
    other fields require of it. `order` is the order of declaration, in which tests are written.
    """

    name: str
    wire: str
    width: int
    parse: Callable[[T], int]
    show: Callable[[int], str]
    shift: int = 0
    bits: int = 0
    requires: tuple[Test, ...] = ()
    words: Callable[[int, int], str] | None = None
    few: bool = False
    order: int = field(default_factory=count().__next__)
    full: int = field(init=False)
    """The mask of all this field's bits, counted from 0; one object for all tests, which so are found alike sooner."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "full", (1 << (self.bits or self.width)) - 1)

    @property
    def partial(self) -> bool:
        """Is this field a part of its wire field?"""
        return bool(self.bits) and self.bits != self.width

    def __call__(self, value: T, mask: int | None = None) -> Match:
        """The packets whose field equals `value`, in the bits of `mask` if given."""
        wanted = self.full if mask is None else mask
        if not 0 <= wanted <= self.full:
            raise Undeclared(f"Field {self.name}", "mask", hex(wanted))
        number = self._checked(value) & wanted
        if self.few:
            return Match(_tested(self, wanted, number))
        return Match(_tested(self, wanted), (number,))

    def set(self, value: T) -> Set:
        """The action that writes `value`."""
        return Set(self, self._checked(value))

    def _checked(self, value: T) -> int:
        number = self.parse(value)
        if not 0 <= number <= self.full:
            raise Undeclared(f"Field {self.name}", "value", str(value))
        return number

    def __repr__(self) -> str:
        return self.name.upper()


def register(name: str, wire: str, shift: int = 0, bits: int = 32, *, few: bool = False) -> Field[int]:
    """`bits` bits of a 32-bit register (ovs-fields(7), Registers)."""
    return Field(name, wire, 32, _same, hex, shift, bits, few=few or bits <= 4)


class Test(NamedTuple):
    """One field and what it must be, in the bits of `mask`."""

    field: Field[Any]
    value: int
    mask: int


class Part(NamedTuple):
    """One field of a pattern, and the bits of it that are tested: for `value`, or for a number of the match's own."""

    field: Field[Any]
    mask: int
    value: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """What matches have in common that differ in nothing but numbers; `_pattern` makes one object for all of them."""

    parts: tuple[Part, ...]


@cache
def _pattern(parts: tuple[Part, ...]) -> Pattern:
    return Pattern(parts)


class Match(NamedTuple):
    """The packets that pass every test; `&` narrows."""

    pattern: Pattern = _pattern(())
    numbers: tuple[int, ...] = ()

    def __and__(self, other: Match) -> Match:
        """The packets that pass both. Raises ConflictingMatch when one field is tested for two values."""
        union = _union(self.pattern, other.pattern)
        numbers = self.numbers + other.numbers
        if union is None or (union.alike and any(numbers[one] != numbers[two] for one, two in union.alike)):
            raise _conflict(self, other)
        return Match(union.pattern, numbers if union.order is None else tuple([numbers[at] for at in union.order]))

    @property
    def tests(self) -> tuple[Test, ...]:
        """Each field that is tested, in the order of declaration."""
        left = iter(self.numbers)
        return tuple(
            [Test(field, next(left) if value is None else value, mask) for field, mask, value in self.pattern.parts]
        )

    def whole(self) -> Iterator[tuple[str, int, int, int]]:
        """(wire field, value, mask, width) with the parts of one register put together."""
        parts: dict[str, tuple[int, int, int]] = {}
        for test in self.tests:
            at = test.field.wire
            value, mask, _ = parts.get(at, (0, 0, 0))
            shift = test.field.shift
            parts[at] = (value | test.value << shift, mask | test.mask << shift, test.field.width)
        for at, (value, mask, width) in parts.items():
            yield at, value, mask, width


ANY = Match()


def matching(*tests: Test) -> Match:
    """The packets that pass these tests, whatever those require. Raises ConflictingMatch as `&` does."""
    return reduce(and_, [_alone(*test) for test in tests], ANY)


def _alone(field: Field[Any], value: int, mask: int) -> Match:
    part = Part(field, mask, value if field.few else None)
    return Match(_pattern((part,)), () if field.few else (value,))


@cache
def _tested(field: Field[Any], mask: int, value: int | None = None) -> Pattern:
    """One test and what it requires."""
    pattern, numbers = matching(*field.requires)
    if numbers:
        raise Undeclared(f"Field {field.name}", "a requirement with a number", str(numbers[0]))
    return _pattern(tuple(sorted((*pattern.parts, Part(field, mask, value)), key=_part_order)))


def _part_order(part: Part) -> int:
    return part.field.order


class _Union(NamedTuple):
    """How two matches become one: the pattern of both, and the places of its numbers among those of one and the other.

    `order` is None when that is one after the other; `alike` are the places of what both test, in pairs.
    """

    pattern: Pattern
    order: tuple[int, ...] | None
    alike: tuple[tuple[int, int], ...]


@cache
def _union(one: Pattern, other: Pattern) -> _Union | None:
    """None when there is a field that the two test for different values, or in different bits."""
    parts: dict[Field[Any], Part] = {}
    places: dict[Field[Any], int] = {}
    alike = []
    numbers = count()
    for part in (*one.parts, *other.parts):
        if parts.setdefault(part.field, part) != part:
            return None
        if part.value is None:
            at = next(numbers)
            if (first := places.setdefault(part.field, at)) != at:
                alike.append((first, at))
    ordered = sorted(parts.values(), key=_part_order)
    order = tuple(places[part.field] for part in ordered if part.value is None)
    as_they_come = order == tuple(range(next(numbers)))
    return _Union(_pattern(tuple(ordered)), None if as_they_come else order, tuple(alike))


def _conflict(one: Match, other: Match) -> ConflictingMatch:
    """What two matches do not agree about."""
    tests = {test.field: test for test in one.tests}
    mine, test = next((mine, test) for test in other.tests if (mine := tests.get(test.field, test)) != test)
    return ConflictingMatch(test.field.name, mine.field.show(mine.value), test.field.show(test.value))


@dataclass(frozen=True, slots=True)
class Set:
    """Write a value into a field."""

    field: Field[Any]
    value: int

    def __str__(self) -> str:
        if self.field.partial:
            return f"load:{self.value:#x}->{_span(self.field)}"
        return f"set_field:{self.field.show(self.value)}->{self.field.wire}"


@dataclass(frozen=True, slots=True)
class Move:
    """Copy one field into another of the same width."""

    source: Field[Any]
    target: Field[Any]

    def __str__(self) -> str:
        return f"move:{_span(self.source)}->{_span(self.target)}"


@dataclass(frozen=True, slots=True)
class Output:
    """Send the packet out of an OpenFlow port."""

    port: int

    def __str__(self) -> str:
        return f"output:{self.port}"


@dataclass(frozen=True, slots=True)
class Bounce:
    """Send the packet back out of the port it came in by (OFPP_IN_PORT)."""

    def __str__(self) -> str:
        return "in_port"


@dataclass(frozen=True, slots=True)
class ToGroup:
    """Hand the packet to a group."""

    id: int
    kind: GroupKind

    def __str__(self) -> str:
        return f"group:{self.id}"


@dataclass(frozen=True, slots=True)
class Resubmit:
    """Look the packet up in another table, then go on here."""

    table: Table

    def __str__(self) -> str:
        return f"resubmit(,{self.table.number})"


@dataclass(frozen=True, slots=True)
class Track:
    """Look the packet's connection up in the zone that `zone` holds, and go on in `table` with what is known of it.

    The actions behind this one go on without (ovs-actions(7), ct).
    """

    zone: Field[int]
    table: Table

    def __str__(self) -> str:
        return f"ct(table={self.table.number},zone={_span(self.zone)})"


@dataclass(frozen=True, slots=True)
class Commit:
    """Remember the packet's connection in the zone that `zone` holds, with `writes` to its mark and label, and go on in
    `table` with what is known of it.

    `force`: what is known of it in the other direction is forgotten first (ovs-actions(7), ct).

    Never without a table: in user space Open vSwitch before 3.2.6, 3.3.5, 3.4.3 and 3.5.1 adds fragments of others to
    what it remembers (lib/ipf.c, ipf_postprocess_conntrack), and what stood behind `ct` would be done with them, too.
    """

    zone: Field[int]
    writes: tuple[Set | Move, ...]
    table: Table
    force: bool = False

    def __str__(self) -> str:
        force, exec = ",force" * self.force, f",exec({actions_text(self.writes)})" if self.writes else ""
        return f"ct(commit{force},table={self.table.number},zone={_span(self.zone)}{exec})"


@dataclass(frozen=True, slots=True)
class Apart:
    """Do this with a copy: what becomes of that is nothing to the packet (ovs-actions(7), clone).

    The datapath makes a copy only if there is something to do after this.
    """

    actions: tuple[Action, ...]

    def __str__(self) -> str:
        return f"clone({actions_text(self.actions)})"


@dataclass(frozen=True, slots=True)
class Translate:
    """Look the packet's connection up in the zone that `zone` holds, translate it, and go on in `table`.

    A connection that is known is translated as it was begun, both ways, and so are the ICMP errors about it. One that
    is new begins here, with another `source` or `destination`, and one of `ports` in the place of its own; with
    neither address it does not begin. It may not begin as what it was before: Open vSwitch 3.1 would abort.
    """

    zone: Field[int]
    table: Table
    source: Address | None = None
    destination: Address | None = None
    ports: tuple[int, int] | None = None
    writes: tuple[Set | Move, ...] = ()

    @property
    def begins(self) -> bool:
        """May a connection begin here?"""
        return self.source is not None or self.destination is not None

    def __str__(self) -> str:
        ports = "" if self.ports is None else ":" + "-".join(map(str, dict.fromkeys(self.ports)))
        nat = f"nat(src={self.source}{ports})" if self.source else f"nat(dst={self.destination}{ports})"
        place = f"table={self.table.number},zone={_span(self.zone)}"
        kept = f",exec({actions_text(self.writes)})" if self.writes else ""
        return f"ct(commit,{place},{nat}{kept})" if self.begins else f"ct({place},nat)"


@dataclass(frozen=True, slots=True)
class Untrack:
    """Forget what conntrack said of the packet."""

    def __str__(self) -> str:
        return "ct_clear"


@dataclass(frozen=True, slots=True)
class DecrementTtl:
    """One hop: TTL or hop limit less by one (ovs-actions(7), dec_ttl)."""

    def __str__(self) -> str:
        return "dec_ttl"


@dataclass(frozen=True, slots=True)
class Measure:
    """Write into one bit whether the frame is longer than this: `check_pkt_larger` (ovs-actions(7)).

    Open vSwitch translates what follows twice, and counts every packet for the flows of both ways.
    """

    bytes: int
    target: Field[int]

    def __str__(self) -> str:
        return f"check_pkt_larger({self.bytes})->{_span(self.target)}"


@dataclass(frozen=True, slots=True)
class Turn:
    """Let the packet go out by the port it came in by, which else no output does (ovs-fields(7), in_port)."""

    def __str__(self) -> str:
        return "load:0->NXM_OF_IN_PORT[]"


@dataclass(frozen=True, slots=True)
class Punt:
    """Hand at least the first `max_bytes` of the packet to the controller, with its registers."""

    max_bytes: int

    def __str__(self) -> str:
        return f"CONTROLLER:{self.max_bytes}"


@dataclass(frozen=True, slots=True)
class PushVlan:
    """Put a VLAN tag on the frame, of which the VLAN is yet to be written (IEEE 802.1Q)."""

    def __str__(self) -> str:
        return "push_vlan:0x8100"


@dataclass(frozen=True, slots=True)
class PopVlan:
    """Take the frame's outermost VLAN tag off."""

    def __str__(self) -> str:
        return "pop_vlan"


@dataclass(frozen=True, slots=True)
class Conjunction:
    """This flow is dimension `k` of `n` of a conjunctive match (ovs-fields(7), Conjunctive Match Fields)."""

    id: int
    k: int
    n: int

    def __post_init__(self) -> None:
        if not 1 <= self.k <= self.n or not 2 <= self.n <= 64:
            raise Undeclared("A conjunction", "dimension", f"{self.k}/{self.n}")

    def __str__(self) -> str:
        return f"conjunction({self.id},{self.k}/{self.n})"


@dataclass(frozen=True, slots=True)
class Goto:
    """End here and go on in a later table."""

    table: Table

    def __str__(self) -> str:
        return f"goto_table:{self.table.number}"


Action = (
    Set
    | Move
    | Output
    | Bounce
    | ToGroup
    | Resubmit
    | Track
    | Commit
    | Apart
    | Translate
    | Untrack
    | DecrementTtl
    | Measure
    | Turn
    | Punt
    | PushVlan
    | PopVlan
    | Conjunction
    | Goto
)


def goto(table: Table) -> Goto:
    """Go on in a later table; always the last action."""
    return Goto(table)


def resubmit(table: Table) -> Resubmit:
    """Look up in `table` and come back."""
    return Resubmit(table)


@dataclass(frozen=True, slots=True, eq=False)
class GroupKind:
    """A family of groups: ids from `base`, and what their buckets may set, resubmit to and hand on to.

    A group gives every bucket a copy (OFPGT_ALL); one that `chooses` gives a packet to one bucket, and all packets of a
    connection, in one direction, to the same (OFPGT_SELECT); one that `fails_over`, to the first whose port is alive
    (OFPGT_FF).
    """

    name: str
    base: int
    purpose: str
    sets: frozenset[Field[Any]] = frozenset()
    nexts: frozenset[str] = frozenset()
    groups: frozenset[GroupKind] = frozenset()
    chooses: bool = False
    fails_over: bool = False

    def id(self, number: int) -> int:
        """The group id for a tag."""
        return self.base | number

    def __repr__(self) -> str:
        return self.name.upper()


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A table: its place in the pipeline and everything its flows may do.

    `priorities` names each reason to have a flow here, with its OpenFlow priority. `tracks` are the tables in which a
    packet goes on that was looked up in conntrack here, `commits` what its connection may be remembered with; only
    where one `translates` it may have other addresses behind that.
    """

    number: int
    name: str
    purpose: str
    priorities: Mapping[str, int]
    matches: frozenset[Field[Any]] = frozenset()
    sets: frozenset[Field[Any]] = frozenset()
    nexts: frozenset[str] = frozenset()
    groups: frozenset[GroupKind] = frozenset()
    tracks: frozenset[str] = frozenset()
    commits: frozenset[Field[Any]] = frozenset()
    translates: bool = False
    outputs: bool = False

    def __repr__(self) -> str:
        return self.name.upper()


FlowKey = tuple[int, int, Match]
GroupKey = tuple[str, int]
Key = FlowKey | GroupKey


Kind = Field[Any] | tuple[Field[Any], int] | Table | GroupKind | type[Output] | type[Conjunction] | Action
"""What an action is but for its numbers: the field of a Set (and its value, if the field takes few), the table of a
Goto, the kind of a ToGroup. One Conjunction stands for any number of them."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Form:
    """What flows have in common that differ in nothing but numbers; `_form` makes one object for all of them.

    It goes with the last of them. `memo` is what the encoder worked out from it.
    """

    table: Table
    reason: str
    pattern: Pattern
    kinds: tuple[Kind, ...]
    priority: int
    memo: object = field(default=None, init=False, repr=False)

    def flow(self, numbers: Sequence[int]) -> Flow:
        """The flow of this form with these numbers."""
        left = iter(numbers)
        match = Match(self.pattern, tuple(next(left) for part in self.pattern.parts if part.value is None))
        if self.kinds == (Conjunction,):
            shares = zip(left, left, left, strict=True)
            return Flow(self.table, self.reason, match, tuple(Conjunction(*share) for share in shares))
        return Flow(self.table, self.reason, match, tuple(_action(kind, left) for kind in self.kinds))


_FormKey = tuple["Table", str, Pattern, tuple[Kind, ...]]

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
    return Form(table, reason, pattern, kinds, table.priorities[reason])


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


@dataclass(frozen=True, slots=True)
class Flow:
    """One entry of a table. `reason` is one of the table's `priorities`.

    It is what its `form` and its `numbers`, those of the match first, say. `memo` is no part of the value: what the
    encoder worked out from it is kept there, and goes when nobody wants the flow any more.

    Raises Undeclared when the table does not declare what the flow asks for.
    """

    table: Table = field(compare=False)
    reason: str = field(compare=False)
    match: Match = field(compare=False)
    actions: tuple[Action, ...] = field(default=(), compare=False)
    form: Form = field(init=False, repr=False)
    numbers: tuple[int, ...] = field(init=False, repr=False)
    memo: object = field(default=None, init=False, repr=False, compare=False)
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        found = [*self.match.numbers]
        kinds = _kinds(self.actions, found)
        form, numbers = _form((self.table, self.reason, self.match.pattern, kinds)), tuple(found)
        object.__setattr__(self, "form", form)
        object.__setattr__(self, "numbers", numbers)
        object.__setattr__(self, "_hash", hash((form, numbers)))

    def __hash__(self) -> int:
        return self._hash

    @property
    def priority(self) -> int:
        """The OpenFlow priority."""
        return self.form.priority

    @property
    def key(self) -> FlowKey:
        """What no two flows of one switch share."""
        return (self.table.number, self.form.priority, self.match)

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

    A switch takes this for a set (section 5.12): of several ways on only one would count, and comes last. `watch` is
    the OpenFlow port that must be alive, in a group that fails over.
    """

    actions: tuple[Action, ...]
    watch: int | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """A group of a kind. Raises Undeclared as `Flow` does."""

    kind: GroupKind
    number: int
    buckets: tuple[Bucket, ...]

    def __post_init__(self) -> None:
        for bucket in self.buckets:
            if (bucket.watch is not None) != self.kind.fails_over:
                raise Undeclared(f"Group {self.kind.name}", "watch", str(bucket.watch))
            for action in bucket.actions:
                _verify(f"Group {self.kind.name}", action, self.kind, last=False)
                if isinstance(action, Resubmit | ToGroup) and action is not bucket.actions[-1]:
                    raise Undeclared(f"Group {self.kind.name}", "action after", str(action))

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


_ETH_TYPES = {0x0800: "ip", 0x0806: "arp", 0x86DD: "ipv6"}


def match_text(match: Match) -> str:
    """A match as ovs-ofctl(8) reads it."""
    shows = {test.field.wire: test.field.show for test in match.tests}
    worded = {test.field.wire: test.field.words for test in match.tests if test.field.words}
    words = []
    for wire, value, mask, width in match.whole():
        exact = mask == (1 << width) - 1
        if wire in worded:
            words.append(f"{wire}={worded[wire](value, mask)}")
        elif wire == "eth_type" and exact and value in _ETH_TYPES:
            words.append(_ETH_TYPES[value])
        elif exact:
            words.append(f"{wire}={shows[wire](value)}")
        else:
            words.append(f"{wire}={shows[wire](value)}/{shows[wire](mask)}")
    return ",".join(words)


def actions_text(actions: Sequence[Action]) -> str:
    """Actions as ovs-ofctl(8) reads them."""
    return ",".join(map(str, actions)) or "drop"


_NXM = {
    "eth_src": "NXM_OF_ETH_SRC",
    "eth_dst": "NXM_OF_ETH_DST",
    "nw_src": "NXM_OF_IP_SRC",
    "nw_dst": "NXM_OF_IP_DST",
    "tcp_src": "NXM_OF_TCP_SRC",
    "tcp_dst": "NXM_OF_TCP_DST",
    "udp_src": "NXM_OF_UDP_SRC",
    "udp_dst": "NXM_OF_UDP_DST",
    "sctp_src": "OXM_OF_SCTP_SRC",
    "sctp_dst": "OXM_OF_SCTP_DST",
    "icmp_type": "NXM_OF_ICMP_TYPE",
    "icmp_code": "NXM_OF_ICMP_CODE",
    "arp_op": "NXM_OF_ARP_OP",
    "arp_spa": "NXM_OF_ARP_SPA",
    "arp_tpa": "NXM_OF_ARP_TPA",
    "arp_sha": "NXM_NX_ARP_SHA",
    "arp_tha": "NXM_NX_ARP_THA",
    "ipv6_src": "NXM_NX_IPV6_SRC",
    "ipv6_dst": "NXM_NX_IPV6_DST",
    "nw_ttl": "NXM_NX_IP_TTL",
    "nd_target": "NXM_NX_ND_TARGET",
    "nd_tll": "NXM_NX_ND_TLL",
    "nd_reserved": "ERICOXM_OF_ICMPV6_ND_RESERVED",
    "nd_options_type": "ERICOXM_OF_ICMPV6_ND_OPTIONS_TYPE",
    "tun_id": "NXM_NX_TUN_ID",
    "tun_src": "NXM_NX_TUN_IPV4_SRC",
    "tun_dst": "NXM_NX_TUN_IPV4_DST",
    "vlan_tci": "NXM_OF_VLAN_TCI",
}


def _span(field: Field[Any]) -> str:
    name = _NXM.get(field.wire) or f"NXM_NX_{field.wire.upper()}"
    if not field.partial:
        return f"{name}[]"
    end = field.shift + field.bits - 1
    return f"{name}[{field.shift}]" if field.bits == 1 else f"{name}[{field.shift}..{end}]"
