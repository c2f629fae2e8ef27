"""The engine keeps what every switch should hold equal to what the apps say of the model, by recomputing what changed.

Nodes remember what they read; a change wakes the readers of what it touches, and nobody else:

    Write ─> touched reads ─> Facts (relation x record) ─> Gathered (relation, key) ─┐
                           ─> Derived (function, key)  <────────────────────────────┤  a value that comes out
                           ─> Scope (a derived set of chassis)  <───────────────────┤  equal wakes nobody
           Facts, Gathered ─> Cell (rule x record or fact [x chassis]): items,    <─┘
                              placement

Values settle first, those that read others after them (by `height`); then cells run; then the winner under every
affected key is taken before and after, on the affected chassis alone. What a switch should hold is not stored: it
is the union of the cells that stand there.

Two cells may want one entry. Two that want different entries under one key are a conflict: the cell of the lower app
number, then of the smaller name, wins, and the conflict is kept until it is gone. A cell that raises yields nothing,
and its failure is kept likewise. No order of history shows in the outcome.
"""

from __future__ import annotations

import heapq
import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count, islice
from typing import Any, NamedTuple, TypeVar, cast

from controller.flows.action import Conjunction, Table
from controller.flows.app import App, Gate, Kind, Placement, Rule, Scope
from controller.flows.flow import Clause, Entry, Flow, Group, Item, Key
from controller.flows.keyed import Keyed
from controller.flows.match import Match, Pattern
from controller.flows.presence import RELATIONS, only
from controller.model.records import Record, differ_incidentally
from controller.model.store import Change, Model, Read
from controller.model.view import Relation, View

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Hashable)
T = TypeVar("T")
A = TypeVar("A")

Delta = Mapping[Key, Entry | None]
"""What one switch should hold differently: an entry, or None where it should hold none."""

NOBODY: frozenset[Any] = frozenset()


class Shift(NamedTuple):
    """What some switches should hold differently under one key, all of them alike: an entry, or None for none."""

    key: Key
    entry: Entry | None
    chassis: Set[str]


@dataclass(slots=True, eq=False, kw_only=True)
class _Node(ABC):
    """Something that reads, and runs again when what it read changes. There are many: they are kept small."""

    reads: tuple[Read, ...] = ()

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is called in a log."""


@dataclass(slots=True, eq=False, kw_only=True)
class _Value(_Node):
    """One that others may read: `height` is one more than that of what it reads."""

    height: int = 0


@dataclass(slots=True, eq=False)
class _Readers:
    """Who reads something: a few, or a set of many. `read` is the one object that all of them refer to."""

    read: Read
    nodes: tuple[_Node, ...] | list[_Node] | set[_Node] = ()

    def add(self, node: _Node) -> None:
        nodes = self.nodes
        if isinstance(nodes, tuple):
            self.nodes = (*nodes, node) if len(nodes) < LEAST else [*nodes, node]
        elif isinstance(nodes, set):
            nodes.add(node)
        else:
            nodes.append(node)
            if len(nodes) > FEW:
                self.nodes = set(nodes)

    def remove(self, node: _Node) -> None:
        if isinstance(self.nodes, tuple):
            self.nodes = tuple([each for each in self.nodes if each is not node])
        else:
            self.nodes.remove(node)


LEAST = 4
"""So many take half the memory as a tuple."""
FEW = 32
"""So many are looked through sooner than they are hashed, and a set takes five times as much memory."""


@dataclass(slots=True, eq=False, kw_only=True)
class _Derived(_Value):
    fn: Callable[[View, Any], Hashable]
    key: Hashable
    value: Any = None

    @property
    def name(self) -> str:
        return f"{getattr(self.fn, '__name__', self.fn)}[{self.key}]"


@dataclass(slots=True, eq=False, kw_only=True)
class _Facts(_Value):
    relation: Relation[Any, Any]
    id: str
    facts: tuple[tuple[Hashable, Hashable], ...] = ()

    @property
    def name(self) -> str:
        return f"{self.relation.name}[{self.id}]"


@dataclass(frozen=True, slots=True, eq=False)
class _Sort:
    """What there is for records of one kind while `gate`, a derived value of an id, is true; None: always."""

    kind: type[Record] | None
    gate: Gate | None
    rules: tuple[tuple[App, Rule], ...]
    relations: tuple[Relation[Any, Any], ...]


@dataclass(slots=True, eq=False, kw_only=True)
class _Gate(_Value):
    """Whether what a gate is before is there for a record."""

    sort: _Sort
    id: str
    open: bool = False

    @property
    def name(self) -> str:
        return f"{getattr(self.sort.gate, '__name__', self.sort.gate)}[{self.id}] as a gate"


@dataclass(slots=True, eq=False)
class _Gathered:
    """The values of a relation under one key, counted by how many records say so; `value` once somebody asked."""

    counts: dict[Hashable, int] = field(default_factory=dict)
    value: frozenset[Any] | None = None
    height: int = 0


@dataclass(slots=True, eq=False, kw_only=True)
class _Scope(_Value):
    scope: Scope
    chassis: frozenset[str] = NOBODY
    cells: set[Cell] = field(default_factory=set)

    @property
    def name(self) -> str:
        return f"scope {self.scope.key}"


@dataclass(slots=True, eq=False, kw_only=True)
class Cell(_Node):
    """One rule over one record, or one fact (on one chassis, if the rule computes apart): what it wants, and where.

    `id` is the record's; of a fact it is its key and value as text, and `fact` is the two. `changed` is the revision at
    which items or placement last changed. `parts` are the cells, by chassis, of a rule that computes apart; such a cell
    wants nothing itself.
    """

    app: App
    rule: Rule
    id: str
    fact: tuple[Any, Any] | None = None
    chassis: str | None = None
    placement: Placement | None = None
    items: tuple[Item, ...] = ()
    changed: int = 0
    parts: dict[str, Cell] | None = None

    @property
    def name(self) -> str:
        at = f"@{self.chassis}" if self.chassis else ""
        return f"{self.app.name}.{self.rule.name}[{self.id}]{at}"

    @property
    def rank(self) -> tuple[int, str, str, str]:
        """The order of precedence in a conflict: the smallest wins."""
        return (self.app.number, self.rule.name, self.id, self.chassis or "")


def _cell(app: App, rule: Rule, id: str, *, chassis: str | None = None, fact: tuple[Any, Any] | None = None) -> Cell:
    parts: dict[str, Cell] | None = {} if rule.apart and chassis is None else None
    return Cell(app=app, rule=rule, id=id, fact=fact, chassis=chassis, parts=parts)


Want = tuple[Cell, Item]
"""A cell and one of its items."""

_Won = tuple[int, Flow | Group | tuple[Table, str, Match, frozenset[tuple[int, int, int]]]]
"""What a key comes to: an app's number, and the flow or group, or what the flow is made of that clauses share."""

_Standing = list[tuple[_Won, Set[str]]]
"""What stands under one key, and on which chassis it does."""

_Places = dict[_Scope, tuple[Want, ...]]
"""Who wants what under one key, by where: no chassis has to look through what stands on others alone."""

_Wants = Want | _Places
"""The same; most is wanted once, and then that is all there is to remember."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a cell comes to: where it stands and what it wants there."""

    placement: Placement | None = None
    items: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True)
class Conflict:
    """Cells that want different entries under one key on one chassis; the first named one wins."""

    chassis: str
    key: Key
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cost:
    """So many flows and groups of one rule for one record, on so many switches each."""

    app: str
    rule: str
    flows: int
    hosts: int


class Engine:
    """What every switch should hold, for one model and one list of apps.

    `ran` are the cells that the last update (or the start) ran, and `log` their names; `turned` are the relations, and
    the keys, under which it changed what is gathered; `conflicts` and `failures` are what is wrong now.
    """

    def __init__(self, model: Model, apps: Sequence[App], relations: Sequence[Relation[Any, Any]] = RELATIONS) -> None:
        self.model = model
        self.apps = tuple(apps)
        self.revision = model.revision
        self.ran: list[Cell] = []
        self.turned: set[tuple[Relation[Any, Any], Hashable]] = set()
        self.conflicts: dict[tuple[str, Key], Conflict] = {}
        self.failures: dict[str, str] = {}
        self._raised: dict[str, Exception] = {}
        rules = [(app, rule) for app in apps for rule in app.rules]
        self._sorts = _sorts([one for one in rules if not isinstance(one[1].kind, Relation)], relations)
        self._rules = _grouped((rule.kind, (app, rule)) for app, rule in rules if isinstance(rule.kind, Relation))

        self._readers: dict[Read, _Readers] = {}
        self._derived: dict[Read, _Derived] = {}
        self._gathered: dict[Read, _Gathered] = {}
        self._facts: dict[Relation[Any, Any], dict[str, _Facts]] = {relation: {} for relation in relations}
        self._gates: dict[_Sort, dict[str, _Gate]] = {
            sort: {} for sorts in self._sorts.values() for sort in sorts if sort.gate
        }
        self._unread: set[Read] = set()

        self._cells: dict[tuple[Kind, Hashable], tuple[Cell, ...]] = {}
        self._wants = Keyed[_Wants]()
        self._scopes: dict[Scope, _Scope] = {}
        self._at: dict[str, set[_Scope]] = {}
        self._flows: Counter[str] = Counter()

        self._heap: list[tuple[int, int, _Value]] = []
        self._turns = count()
        self._stale: set[_Node] = set()
        self._running: set[_Node] = set()
        self._awake: set[Cell] = set()
        self._moved: dict[_Scope, frozenset[str]] = {}
        self._gone: set[Cell] = set()

        for kind in self._sorts:
            for record in (None,) if kind is None else model.all(kind):
                self._add_record(kind, record)
        self._apply(self._run_awake())
        self._count_all()
        self.turned.clear()
        self._collect()
        self._tell_failures()

    def _count_all(self) -> None:
        """Count what stands everywhere, and find what is contested."""
        sole = Counter[Placement]()
        for key, wants in self._wants.items():
            if isinstance(wants, tuple):
                if (placement := wants[0].placement) is not None and _is_flow(key):
                    sole[placement] += 1
            else:
                self._judge(key, wants, _crowded(wants))
                if _is_flow(key):
                    for _, chassis in self._winners(wants, self._anywhere(wants)):
                        self._flows.update(chassis)
        for placement, flows in sole.items():
            self._flows.update(dict.fromkeys(self._chassis_of(placement), flows))

    # What others ask

    @property
    def log(self) -> list[str]:
        """The names of the cells that the last update ran, in order."""
        return sorted(cell.name for cell in self.ran)

    def chassis(self) -> frozenset[str]:
        """Every chassis on which anything should stand."""
        return frozenset(self._at)

    def desired(self, chassis: str) -> dict[Key, Entry]:
        """All that one switch should hold."""
        wants: dict[Key, list[Want]] = {}
        for cell in self._standing_on(chassis):
            for item in cell.items:
                wants.setdefault(item.key, []).append((cell, item))
        return {key: _entry(_win(found)) for key, found in wants.items()}

    def entry(self, chassis: str, key: Key) -> Entry | None:
        """What one switch should hold under a key."""
        standing = self._winners(self._wants.get(key), {chassis})
        return _entry(standing[0][0]) if standing else None

    def patterns(self, table: int) -> Mapping[int, Collection[Pattern]]:
        """By priority, what flows of a table test, whatever the value and the switch."""
        return self._wants.patterns(table)

    def count(self, chassis: str) -> int:
        """How many flows one switch should hold."""
        return self._flows[chassis]

    def _standing_on(self, chassis: str) -> Iterator[Cell]:
        cells = (cell for node in self._at.get(chassis, ()) for cell in node.cells)
        return (cell for cell in cells if cell.placement and cell.placement.without != chassis)

    def entries(self) -> Iterator[tuple[Entry, tuple[Cell, ...]]]:
        """Every entry that stands anywhere, each once, with the cells that want it."""
        for wanted in self._wants.values():
            found: dict[Entry, set[Cell]] = {}
            for wants in self._standing(wanted, self._samples(wanted)).values():
                found.setdefault(_entry(_win(wants)), set()).update(cell for cell, _ in wants)
            for entry, cells in found.items():
                yield entry, tuple(sorted(cells, key=lambda cell: cell.rank))

    def _samples(self, wants: _Wants) -> Set[str]:
        """Chassis on which all that stands under a key shows; one will do for an item that nobody else wants."""
        anywhere = self._anywhere(wants)
        return set(islice(anywhere, 1)) if isinstance(wants, tuple) else anywhere

    def _anywhere(self, wants: _Wants) -> Set[str]:
        """The chassis on which anything may stand under a key."""
        if isinstance(wants, tuple):
            return self._chassis_of(wants[0].placement)
        return {at for node in wants for at in node.chassis}

    def wanting(self, key: Key, chassis: str) -> tuple[Cell, ...]:
        """The cells that want the entry under `key` on a chassis; the first is the winner."""
        cells = {cell for cell, _ in self._standing(self._wants.get(key), {chassis}).get(chassis, ())}
        return tuple(sorted(cells, key=lambda cell: cell.rank))

    def wired(self, kind: type[Record], id: str, chassis: str) -> int | None:
        """The newest revision that changed what a record wants on a chassis; None when it wants nothing there."""
        whole = self._cells.get((kind, id), ())
        cells = (*whole, *(cell.parts[chassis] for cell in whole if cell.parts and chassis in cell.parts))
        return max((cell.changed for cell in cells if cell.items and self._on(cell, chassis)), default=None)

    def view(self) -> View:
        """The model for who only asks: with what is kept here, and the rest worked out for the occasion."""
        return View(self.model, _Kept(self))

    # A change

    def update(self, changes: Iterable[Change]) -> dict[str, Delta]:
        """Recompute after `changes`, which the model has already made; the difference of each switch concerned."""
        deltas: dict[str, dict[Key, Entry | None]] = {}
        for key, entry, chassis in self.shifts(changes):
            for at in chassis:
                deltas.setdefault(at, {})[key] = entry
        return dict(deltas)

    def shifts(self, changes: Iterable[Change]) -> list[Shift]:
        """The same as it comes about: what many switches should hold is one for all of them.

        What changed for people alone, as a name, is nothing that a cell may read (`records.INCIDENTAL`).
        """
        self.turned.clear()
        for change in changes:
            for write in change.writes:
                if differ_incidentally(write.old, write.new):
                    continue
                for read in write.touches():
                    self._wake(read)
                record = self.model.get(write.kind, write.id)
                if record is None:
                    self._drop_record(write.kind, write.id)
                else:
                    self._add_record(write.kind, record)
        return self._settle()

    def _run_awake(self) -> dict[Cell, _Outcome]:
        """Bring the values up to date, then run the cells that read what changed: what each comes to."""
        self.revision = self.model.revision
        self._collect()  # what only dropped cells read may need records that are gone
        self._settle_values()
        outcomes = {cell: _Outcome() for cell in self._gone}
        for cell in sorted(self._awake, key=lambda cell: cell.rank):
            outcomes[cell] = self._compute(cell)
        self._settle_parts(outcomes)
        self.ran = [cell for cell in outcomes if cell not in self._gone]
        return outcomes

    def _settle(self) -> list[Shift]:
        """Run what is awake, and draw the difference on the chassis and under the keys that it affects."""
        outcomes = self._run_awake()
        affected = self._affected(outcomes)
        before = {key: self._winners(self._wants.get(key), chassis) for key, chassis in affected.items()}
        self._apply(outcomes)
        shifts: list[Shift] = []
        for key, chassis in affected.items():
            wants = self._wants.get(key)
            self._shift(key, before[key], self._winners(wants, chassis), shifts)
            self._judge(key, wants, chassis)
        self._collect()
        self._tell_failures()
        return shifts

    def _shift(self, key: Key, old: _Standing, new: _Standing, shifts: list[Shift]) -> None:
        """Note what is another under a key than it was."""
        there, here = _all(old), _all(new)
        for won, chassis in new:
            turned = chassis
            for was, before in old:
                if was == won:
                    turned = turned - before
            if turned:
                shifts.append(Shift(key, _entry(won), turned))
        if gone := there - here:
            shifts.append(Shift(key, None, gone))
        if _is_flow(key):
            for at in gone:
                self._flows[at] -= 1
            for at in here - there:
                self._flows[at] += 1

    # Records come and go

    def _add_record(self, kind: type[Record] | None, record: Record | None) -> None:
        """Have what there is for a record as it is now; for the whole cloud, if it is None."""
        id = record.id if record else ""
        for sort in self._sorts.get(kind, ()):
            if sort.gate is None:
                self._open(sort, id, record)
                continue
            gate = self._gates[sort].get(id)
            if gate is None:
                gate = self._gates[sort][id] = _Gate(sort=sort, id=id)
                self._push(gate)
            elif gate.open:
                self._open(sort, id, record)

    def _open(self, sort: _Sort, id: str, record: Record | None) -> None:
        """Have what there is for a record, as far as it is about it."""
        for relation in sort.relations:
            nodes = self._facts[relation]
            if relation.about is not None and not relation.about(record):
                self._drop_facts(relation, id)
            elif id not in nodes:
                nodes[id] = node = _Facts(relation=relation, id=id)
                self._push(node)
        rules = [one for one in sort.rules if one[1].about is None or one[1].about(record)]
        if sort.rules:
            self._set_cells(sort, id, rules)

    def _close(self, sort: _Sort, id: str) -> None:
        """Have none of that."""
        for relation in sort.relations:
            self._drop_facts(relation, id)
        if sort.rules:
            self._set_cells(sort, id, ())

    def _set_cells(self, sort: _Sort, id: str, rules: Collection[tuple[App, Rule]]) -> None:
        """Have a cell for each of these rules, and for no other of the sort."""
        cells = self._cells.get((sort.kind, id), ())
        there = {cell.rule for cell in cells}
        wanted = {rule for _, rule in rules}
        more = [_cell(app, rule, id) for app, rule in rules if rule not in there]
        gone = [cell for cell in cells if cell.rule.gate is sort.gate and cell.rule not in wanted]
        if more or gone:
            for cell in gone:
                self._retire(cell)
            self._awake.update(more)
            left = (*(cell for cell in cells if cell not in gone), *more)
            if left:
                self._cells[sort.kind, id] = tuple(sorted(left, key=lambda cell: cell.rank))
            else:
                self._cells.pop((sort.kind, id), None)

    def _add_fact(self, relation: Relation[Any, Any], fact: tuple[Any, Any]) -> None:
        if relation in self._rules:
            id = f"{fact[0]} {fact[1]}"
            cells = [_cell(app, rule, id, fact=fact) for app, rule in self._rules[relation]]
            self._cells[relation, fact] = tuple(cells)
            self._awake.update(cells)

    def _drop_facts(self, relation: Relation[Any, Any], id: str) -> None:
        if node := self._facts[relation].pop(id, None):
            self._set_facts(node, ())
            self._forget(node)

    def _drop_record(self, kind: type[Record], id: str) -> None:
        for sort in self._sorts.get(kind, ()):
            self._close(sort, id)
            if sort.gate and (gate := self._gates[sort].pop(id, None)):
                self._forget(gate)

    def _drop_cells(self, at: tuple[Kind, Hashable]) -> None:
        for cell in self._cells.pop(at, ()):
            self._retire(cell)

    def _retire(self, cell: Cell) -> None:
        for part in (*(cell.parts or {}).values(), cell):
            self._forget(part)
            self._awake.discard(part)
            self._gone.add(part)
        if cell.parts:
            cell.parts.clear()

    def _forget(self, node: _Node) -> None:
        self._set_reads(node, set())
        self._stale.discard(node)
        if self.failures:
            self.failures.pop(node.name, None)

    def kept(self, fn: Callable[[View, K], V], key: K) -> _Derived | None:
        """The derived value, if it is kept and up to date."""
        node = self._derived.get((fn, key))
        return None if node is None or node in self._stale else node

    # Values settle

    def derive(self, fn: Callable[[View, K], V], key: K) -> V:
        """`fn(view, key)`, computed if unknown or out of date."""
        read: Read = (fn, key)
        node = self._derived.get(read)
        if node is None:
            node = self._derived[read] = _Derived(fn=fn, key=key)
            self._unread.add(read)
            node.value = self._run(node, lambda view: fn(view, key), None)
        elif node in self._stale:
            self._run_value(node)
        return cast("V", node.value)

    def gather(self, relation: Relation[K, V], key: K) -> frozenset[V]:
        """The values of `relation` under `key`."""
        found = self._gathered.get((relation, key))
        if found is None:
            return NOBODY
        if found.value is None:
            found.value = frozenset(found.counts)
        return cast("frozenset[V]", found.value)

    def _wake(self, read: Read) -> None:
        readers = self._readers.get(read)
        for node in readers.nodes if readers else ():
            if type(node) is Cell:  # `isinstance` of an abstract class takes longer
                self._awake.add(node)
            else:
                self._push(cast("_Value", node))

    def _push(self, node: _Value) -> None:
        if node not in self._stale:
            self._stale.add(node)
            heapq.heappush(self._heap, (node.height, next(self._turns), node))

    def _settle_values(self) -> None:
        while self._heap:
            *_, node = heapq.heappop(self._heap)
            if node in self._stale:
                self._run_value(node)
        if not self._stale:
            self._stale = set()  # one that was large once stays as large as it ever was

    def _run_value(self, node: _Node) -> None:
        self._stale.discard(node)
        match node:
            case _Derived(fn=fn, key=key):
                value = self._run(node, lambda view: fn(view, key), None)
                if value != node.value:
                    node.value = value
                    self._wake((fn, key))
            case _Gate(sort=_Sort(gate=gate), id=id) if gate is not None:
                self._turn(node, bool(self._run(node, lambda view: view.derive(gate, id), None)))
            case _Facts(relation=relation, id=id):
                self._set_facts(node, self._run(node, lambda view: _facts(relation, view, id), ()))
            case _Scope(scope=scope):
                chassis = self._run(node, lambda view: view.derive(scope.of, scope.key), NOBODY)
                self._moved[node] = chassis

    def _turn(self, gate: _Gate, open: bool) -> None:
        """Have, or have not, what is behind a gate."""
        if open == gate.open:
            return
        gate.open = open
        record = self.model.get(cast("type[Record]", gate.sort.kind), gate.id)
        if open and record is not None:
            self._open(gate.sort, gate.id, record)
        else:
            self._close(gate.sort, gate.id)

    def _set_facts(self, node: _Facts, facts: tuple[tuple[Hashable, Hashable], ...]) -> None:
        turned: set[tuple[Relation[Any, Any], Hashable]] = set()
        new, old = set(facts), set(node.facts)
        for fact in new - old:
            turned |= self._count(node, fact, 1)
        for fact in old - new:
            turned |= self._count(node, fact, -1)
        node.facts = facts
        self.turned |= turned
        for read in turned:
            self._wake(read)

    def _count(
        self, node: _Facts, fact: tuple[Hashable, Hashable], step: int
    ) -> set[tuple[Relation[Any, Any], Hashable]]:
        """Note that one record more (or less) says so; the reads of which the answer is another now."""
        relation, (key, value) = node.relation, fact
        read = (relation, key)
        found = self._gathered.setdefault(read, _Gathered())
        found.height = max(found.height, node.height)
        before = found.counts.get(value, 0)
        if before and before + step:
            found.counts[value] = before + step
            return set()
        found.value = None
        if before:
            del found.counts[value]
            self._drop_cells((relation, fact))
            if not found.counts:
                del self._gathered[read]
        else:
            found.counts[value] = step
            self._add_fact(relation, fact)
        return {read}

    def _run(self, node: _Node, fn: Callable[[View], T], fallback: T) -> T:
        """`fn` on a view that remembers for `node`; `fallback`, and a failure kept, if it raises."""
        if node in self._running:
            raise RecursionError(f"derived values form a circle at {node.name}")
        self._running.add(node)
        view = View(self.model, self)
        try:
            value = fn(view)
        except Exception as error:
            self._raised[node.name] = error
            self.failures[node.name] = f"{type(error).__name__}: {error}"
            value = fallback
        else:
            if self.failures:
                self.failures.pop(node.name, None)
        finally:
            self._running.discard(node)
        self._set_reads(node, view.reads)
        return value

    def _set_reads(self, node: _Node, reads: set[Read]) -> None:
        if node.reads:
            self._change_reads(node, reads)
        else:
            node.reads = self._joined(node, reads)
        if type(node) is not Cell:  # these run after all values
            over = [self._height(read) for read in reads if not isinstance(read[0], type)]
            cast("_Value", node).height = 1 + max(over, default=0)

    def _change_reads(self, node: _Node, reads: set[Read]) -> None:
        kept = tuple([read for read in node.reads if read in reads])
        if len(kept) < len(node.reads):
            for read in node.reads:
                if read not in reads:
                    self._part(node, read)
        if len(kept) < len(reads):
            node.reads = kept + self._joined(node, reads.difference(kept))
        elif len(kept) < len(node.reads):
            node.reads = kept

    def _joined(self, node: _Node, reads: set[Read]) -> tuple[Read, ...]:
        """Note that a node reads these from now on; the objects for them that all of their readers refer to."""
        known, joined = self._readers, []
        for read in reads:
            readers = known.get(read)
            if readers is None:
                readers = known[read] = _Readers(read)
            readers.add(node)
            joined.append(readers.read)
        return tuple(joined)

    def _part(self, node: _Node, read: Read) -> None:
        """Note that a node does not read something any more."""
        readers = self._readers[read]
        readers.remove(node)
        if not readers.nodes:
            del self._readers[read]
            self._unread.add(read)

    def _height(self, read: Read) -> int:
        found = self._derived.get(read) or self._gathered.get(read)
        return found.height if found else 0

    def _collect(self) -> None:
        """Forget derived values that nobody reads any more."""
        while self._unread:
            # A new set, for popping from one that was large once costs as much as it ever held.
            unread, self._unread = self._unread, set()
            for read in unread:
                if read in self._derived and read not in self._readers:
                    self._forget(self._derived.pop(read))

    def _tell_failures(self) -> None:
        """Log what raised, unless nobody reads it now: a value may have been stale only for what went after it."""
        raised, self._raised = self._raised, {}
        for name, error in raised.items():
            if name in self.failures:
                log.error("cell failed name=%s", name, exc_info=error)

    # Cells run

    def _compute(self, cell: Cell) -> _Outcome:
        return self._run(cell, lambda view: _outcome(cell, view), _Outcome())

    def _settle_parts(self, outcomes: dict[Cell, _Outcome]) -> None:
        """Give a cell that computes apart a part on each chassis it is placed on now, and no other."""
        moved = (cell for node in self._moved for cell in node.cells if cell.rule.apart and cell.chassis is None)
        apart = {*moved, *(cell for cell in outcomes if cell.rule.apart and cell.chassis is None)}
        for cell in sorted(apart.difference(self._gone), key=lambda cell: cell.rank):
            placement = outcomes[cell].placement if cell in outcomes else cell.placement
            wanted, parts = self._chassis_of(placement, now=True), cast("dict[str, Cell]", cell.parts)
            for chassis in parts.keys() - wanted:
                part = parts.pop(chassis)
                self._retire(part)
                outcomes[part] = _Outcome()
            for chassis in sorted(wanted - parts.keys()):
                part = parts[chassis] = _cell(cell.app, cell.rule, cell.id, chassis=chassis)
                outcomes[part] = self._compute(part)

    # Winners, before and after

    def _affected(self, outcomes: Mapping[Cell, _Outcome]) -> dict[Key, Set[str]]:
        """The keys whose winner may change, and the chassis where it may: sets that several keys may share."""
        affected: dict[Key, Set[str]] = {}

        def affect(items: Iterable[Item], chassis: frozenset[str]) -> None:
            for item in items:
                known = affected.setdefault(item.key, chassis)
                if known is not chassis:
                    affected[item.key] = known | chassis

        for cell, outcome in outcomes.items():
            if not cell.items and not outcome.items:
                continue
            old = self._chassis_of(cell.placement)
            new = self._chassis_of(outcome.placement, now=True)
            if cell.items and outcome.items:
                affect({*cell.items}.symmetric_difference(outcome.items), old | new)
            else:
                affect(cell.items or outcome.items, old | new)
            if old != new and cell.items:
                affect((*cell.items, *outcome.items), old ^ new)
        for node, chassis in self._moved.items():
            turned = node.chassis ^ chassis
            for cell in node.cells if turned else ():
                if cell not in outcomes:
                    affect(cell.items, turned - {cell.placement and cell.placement.without})
        return affected

    def _apply(self, outcomes: Mapping[Cell, _Outcome]) -> None:
        for node, chassis in self._moved.items():
            self._set_chassis(node, chassis)
        for cell, outcome in outcomes.items():
            if (cell.placement, cell.items) == (outcome.placement, outcome.items):
                continue
            cell.changed = self.revision
            self._withdraw(cell)
            if cell.placement != outcome.placement:
                self._set_placement(cell, outcome.placement)
            cell.items = outcome.items
            self._enter(cell)
        self._moved.clear()
        self._awake.clear()
        self._gone.clear()

    def _withdraw(self, cell: Cell) -> None:
        if cell.placement is None:
            return
        node = self._scopes[cell.placement.scope]
        for key in {item.key for item in cell.items}:
            wants = self._wants.get(key)
            if not isinstance(wants, dict):
                self._wants.drop(key)
                continue
            rest = tuple(want for want in wants[node] if want[0] is not cell)
            if rest:
                wants[node] = rest
            else:
                del wants[node]
            if not wants:
                self._wants.drop(key)
            elif (want := _sole(wants)) is not None:
                self._wants[key] = want

    def _enter(self, cell: Cell) -> None:
        if cell.placement is None:
            return
        node = self._scopes[cell.placement.scope]
        for item in cell.items:
            key = item.key
            want = (cell, item)
            wants = self._wants.setdefault(key, want)
            if wants is want:
                continue
            places = self._places(wants)
            places[node] = (*places.get(node, ()), want)
            if places is not wants:
                self._wants[key] = places

    def _places(self, wants: _Wants) -> _Places:
        """By where, also what is wanted once."""
        if not isinstance(wants, tuple):
            return wants
        placement = wants[0].placement
        return {self._scopes[placement.scope]: (wants,)} if placement else {}

    def _set_placement(self, cell: Cell, placement: Placement | None) -> None:
        if cell.placement is not None:
            node = self._scopes[cell.placement.scope]
            node.cells.discard(cell)
            if not node.cells:
                del self._scopes[node.scope]
                self._set_chassis(node, NOBODY)
                self._forget(node)
        cell.placement = None if placement is None else _shared(placement)
        if placement is not None:
            self._scope(placement.scope).cells.add(cell)

    def _set_chassis(self, node: _Scope, chassis: frozenset[str]) -> None:
        for name in node.chassis - chassis:
            self._at[name].discard(node)
            if not self._at[name]:
                del self._at[name]
        for name in chassis - node.chassis:
            self._at.setdefault(name, set()).add(node)
        node.chassis = chassis

    def _scope(self, scope: Scope) -> _Scope:
        node = self._scopes.get(scope)
        if node is None:
            node = self._scopes[scope] = _Scope(scope=scope)
            self._set_chassis(node, self._run(node, lambda view: view.derive(scope.of, scope.key), NOBODY))
        return node

    def _chassis_of(self, placement: Placement | None, *, now: bool = False) -> frozenset[str]:
        """Where a placement is; `now`: where it will be, while a change is being settled."""
        if placement is None:
            return NOBODY
        node = self._scope(placement.scope)
        chassis = self._moved.get(node, node.chassis) if now else node.chassis
        return chassis - {placement.without} if placement.without in chassis else chassis

    def facts(self, named: Set[tuple[str, str]]) -> Iterator[tuple[Kind, Hashable]]:
        """The facts about objects, of relations that say what they are about; it looks at all cells."""
        for kind, fact in self._cells:
            words = kind.words if isinstance(kind, Relation) and isinstance(fact, tuple) else ()
            if words and not named.isdisjoint(zip(words, cast("tuple[str, str]", fact), strict=True)):
                yield kind, fact

    def costs(self, kind: Kind, of: Hashable) -> Iterator[Cost]:
        """What each rule has on switches for a record, or a fact; what others want, too, counts for each."""
        for whole in self._cells.get((kind, of), ()):
            counts: Counter[int] = Counter()
            for cell in (whole, *(whole.parts or {}).values()):
                keys = {item.key for item in cell.items}
                counts[len(keys)] += len(self._chassis_of(cell.placement)) if keys and cell.placement else 0
            for flows, hosts in sorted((+counts).items()):
                yield Cost(whole.app.name, whole.rule.name, flows, hosts)

    def _on(self, cell: Cell, chassis: str) -> bool:
        placement = cell.placement
        if placement is None or chassis == placement.without:
            return False
        return chassis in self._scopes[placement.scope].chassis

    def _winners(self, wanted: _Wants | None, chassis: Set[str]) -> _Standing:
        """What stands of what is wanted under a key, on those of `chassis` where anything does."""
        if wanted is None:
            return []
        if isinstance(wanted, tuple):
            at = chassis & self._chassis_of(wanted[0].placement)
            return [(_win((wanted,)), at)] if at else []
        alike: dict[tuple[int, ...], tuple[list[Want], set[str]]] = {}  # each set of wants is judged once
        for name, wants in self._standing(wanted, chassis).items():
            same = tuple(map(id, wants))
            if same in alike:
                alike[same][1].add(name)
            else:
                alike[same] = (wants, {name})
        return [(_win(wants), names) for wants, names in alike.values()]

    def _standing(self, wanted: _Wants | None, chassis: Set[str]) -> dict[str, list[Want]]:
        """Who wants what under a key, on each of `chassis` where anybody does."""
        places = {} if wanted is None else self._places(wanted)
        found: dict[str, list[Want]] = {}
        for at in chassis:
            nodes = places.keys() & self._at.get(at, set())  # walks the smaller of the two
            wants = [
                want
                for node in nodes
                for want in places[node]
                if (placement := want[0].placement) is None or placement.without != at
            ]
            if wants:
                found[at] = wants
        return found

    def _judge(self, key: Key, wanted: _Wants | None, chassis: Set[str]) -> None:
        """Keep, or let go of, the conflicts under a key on each of `chassis`."""
        contested = isinstance(wanted, dict)
        if not contested and not self.conflicts:
            return
        standing = self._standing(wanted, chassis) if contested else {}
        for at in chassis:
            names = _quarrel(standing.get(at, ()))
            if not names:
                self.conflicts.pop((at, key), None)
            elif (conflict := Conflict(at, key, names)) != self.conflicts.get((at, key)):
                log.warning("conflict chassis=%s key=%s cells=%s", at, key, ",".join(names))
                self.conflicts[at, key] = conflict


class _Kept:
    """Values that the engine keeps anyhow; others are forgotten again, for nobody would ever collect them."""

    __slots__ = ("_engine",)

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def derive(self, fn: Callable[[View, K], V], key: K) -> V:
        """What is kept, else `fn` on a view of its own."""
        known = self._engine.kept(fn, key)
        return fn(View(self._engine.model, self), key) if known is None else cast("V", known.value)

    def gather(self, relation: Relation[K, V], key: K) -> frozenset[V]:
        """What is kept."""
        return self._engine.gather(relation, key)


@lru_cache(maxsize=4096)
def _shared(placement: Placement) -> Placement:
    """The one object for all that are equal: there are many of few."""
    return placement


def _sole(places: _Places) -> Want | None:
    """What is wanted under a key, if it is wanted once, as most is."""
    if len(places) != 1:
        return None
    (wants,) = places.values()
    return wants[0] if len(wants) == 1 else None


def _crowded(places: _Places) -> set[str]:
    """The chassis on which more may be wanted under a key than one thing."""
    once: set[str] = set()
    twice: set[str] = set()
    for node, wants in places.items():
        twice |= node.chassis if len(wants) > 1 else node.chassis & once
        once |= node.chassis
    return twice


def _all(standing: _Standing) -> Set[str]:
    """The chassis where anything stands."""
    if len(standing) == 1:
        return standing[0][1]
    return NOBODY.union(*(chassis for _, chassis in standing))


def _is_flow(key: Key) -> bool:
    return len(key) == 3


def _win(wants: Sequence[Want]) -> _Won:
    """What the first in rank wants; clauses share. Of what one cell wants twice the first as text counts."""
    cell, item = wants[0]
    for other, another in wants[1:]:
        if other is cell:
            before = str(another) < str(item)
        elif other.rule is cell.rule:
            before = (other.id, other.chassis or "") < (cell.id, cell.chassis or "")
        else:
            before = other.rank < cell.rank
        if before:
            cell, item = other, another
    if not isinstance(item, Clause):
        return (cell.app.number, item)
    shares = frozenset([each.share for _, each in wants if isinstance(each, Clause)])
    return (cell.app.number, (item.table, item.reason, item.match, shares))


def _entry(won: _Won) -> Entry:
    app, what = won
    if not isinstance(what, tuple):
        return Entry(app, what)
    table, reason, match, shares = what
    return Entry(app, Flow(table, reason, match, tuple([Conjunction(*share) for share in sorted(shares)])))


def _quarrel(wants: Sequence[Want]) -> tuple[str, ...]:
    """The names of cells that want different things, the winner first; none when they agree."""
    if len(wants) < 2:
        return ()
    kinds = {None if isinstance(item, Clause) else item for _, item in wants}
    if len(kinds) < 2:
        return ()
    return tuple(cell.name for cell in sorted({cell for cell, _ in wants}, key=lambda cell: cell.rank))


def _outcome(cell: Cell, view: View) -> _Outcome:
    rule = cell.rule
    if rule.kind is None:
        return _Outcome(rule.place(view, None), tuple(rule.compute(view)))
    if cell.fact is not None:
        return _Outcome(rule.place(view, cell.fact[0]), tuple(rule.compute(view, *cell.fact)))
    record = view.need(cast("type[Record]", rule.kind), cell.id)
    if cell.chassis is not None:
        return _Outcome(Placement(Scope(only, cell.chassis)), tuple(rule.compute(view, record, cell.chassis)))
    placement = rule.place(view, record)
    if rule.apart or placement is None:
        return _Outcome(placement)
    return _Outcome(placement, tuple(rule.compute(view, record)))


def _facts(relation: Relation[Any, Any], view: View, id: str) -> tuple[tuple[Hashable, Hashable], ...]:
    return _alike(tuple(dict.fromkeys(relation.facts(view, view.need(relation.kind, id)))))


@lru_cache(maxsize=4096)
def _alike(facts: tuple[tuple[Hashable, Hashable], ...]) -> tuple[tuple[Hashable, Hashable], ...]:
    """The one object for all that are equal: most records of a network say the same of it."""
    return facts


def _sorts(
    rules: Sequence[tuple[App, Rule]], relations: Iterable[Relation[Any, Any]]
) -> dict[type[Record] | None, list[_Sort]]:
    """What there is by kind, and by what it waits for."""
    of: dict[_Behind, list[tuple[App, Rule]]] = _grouped(((_kind(rule), rule.gate), (app, rule)) for app, rule in rules)
    over: dict[_Behind, list[Relation[Any, Any]]] = _grouped(((each.kind, each.gate), each) for each in relations)
    sorts = (_Sort(*at, tuple(of.get(at, ())), tuple(over.get(at, ()))) for at in dict.fromkeys((*over, *of)))
    return _grouped((sort.kind, sort) for sort in sorts)


_Behind = tuple[type[Record] | None, Gate | None]
"""A kind, and a gate."""


def _kind(rule: Rule) -> type[Record] | None:
    """That of a rule that is of no relation."""
    return cast("type[Record] | None", rule.kind)


def _grouped(pairs: Iterable[tuple[A, T]]) -> dict[A, list[T]]:
    found: dict[A, list[T]] = {}
    for kind, value in pairs:
        found.setdefault(kind, []).append(value)
    return found
