"""Why each entry stands: the app, the reason, and the objects that want it, by the cookie that a dump shows.

It follows from the engine alone, so it is made when somebody asks, once a revision, and no switch is asked for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from controller.flows.engine import Cell, Engine
from controller.flows.flow import Entry, Flow
from controller.flows.pipeline import APPS
from controller.model.records import (
    Bundle,
    Neighbour,
    Network,
    Policy,
    Port,
    Record,
    Resource,
    SecurityGroup,
    SecurityGroupRule,
)
from controller.model.store import Rows, Store
from controller.model.view import Relation
from controller.southbound.openflow import encode_flow

log = logging.getLogger(__name__)

BREATH = 100
"""After explaining so many entries every other task gets its turn: some milliseconds."""
TRIES = 3
"""So often what was explained is given up because the model went on."""


@dataclass(frozen=True, slots=True)
class Named:
    """An API object that wants a flow."""

    kind: str
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why an entry stands: the app and reason, the table by name, the text, and every object that wants it.

    A group has no cookie (0) but its id, and of one id the same reason everywhere, though not the same text.
    """

    cookie: int
    app: str
    table: str
    reason: str
    text: str
    objects: tuple[Named, ...]
    place: tuple[int, int] = (0, 0)
    group: int | None = None


@dataclass(frozen=True, slots=True)
class Dictionary:
    """Why each flow that should be anywhere at a revision is there, by cookie, and each group, by id."""

    revision: int
    flows: dict[int, Explanation]
    groups: dict[int, Explanation]


def about(rows: Rows, kind: type[Record], id: str) -> Iterator[tuple[type[Record], str]]:
    """The records that flows are for when they are for an object: itself, and what is made of a security group."""
    yield kind, id
    if kind is SecurityGroup:
        yield from ((SecurityGroupRule, rule.id) for rule in rows.where(SecurityGroupRule, security_group_id=id))
        yield from ((Bundle, bundle.id) for bundle in rows.where(Bundle, security_group_id=id))
        yield from ((Policy, policy.id) for policy in rows.where(Policy, members=id))


class Explanations:
    """The dictionary of all entries, kept until the model goes on."""

    def __init__(self, store: Store, engine: Engine) -> None:
        self._store, self._engine = store, engine
        self._dictionary = Dictionary(-1, {}, {})

    def dictionary(self) -> Dictionary:
        """Every flow and group anywhere: a pure function of the model."""
        self._store.tell()
        if self._dictionary.revision != self._engine.revision:
            made = Dictionary(self._engine.revision, {}, {})
            for entry, cells in self._engine.entries():
                self._explain(made, entry, cells)
            self._dictionary = made
        return self._dictionary

    async def looked_up(self) -> Dictionary:
        """The same, made a little at a time, unless the model does not stand still for it."""
        for _ in range(TRIES):
            self._store.tell()
            if self._dictionary.revision == self._engine.revision:
                break
            made = Dictionary(self._engine.revision, {}, {})
            entries = self._engine.entries()
            while made.revision == self._engine.revision:
                some = [*islice(entries, BREATH)]
                for entry, cells in some:
                    self._explain(made, entry, cells)
                if not some:
                    self._dictionary = made
                    break
                await asyncio.sleep(0)
        return self.dictionary()

    def _explain(self, made: Dictionary, entry: Entry, cells: Iterable[Cell]) -> None:
        new = self.explanation(entry, cells)
        if isinstance(entry.item, Flow):
            self._enter(made.flows, new)
        elif made.groups.setdefault(entry.item.id, new).text > new.text:
            made.groups[entry.item.id] = new

    def _enter(self, known: dict[int, Explanation], new: Explanation) -> None:
        old = known.setdefault(new.cookie, new)
        if old.text != new.text:
            log.error("cookies collide cookie=%#x one=%s other=%s", new.cookie, old.text, new.text)

    def explanation(self, entry: Entry, cells: Iterable[Cell]) -> Explanation:
        """Why an entry stands that these cells want."""
        item = entry.item
        objects = tuple(dict.fromkeys(named for cell in cells for named in self.named(cell)))
        app = next(name for name, number in APPS.items() if number == entry.app)
        if isinstance(item, Flow):
            cookie = encode_flow(item, entry.app).cookie
            place = (item.table.number, -item.priority)
            return Explanation(cookie, app, item.table.name, item.reason, str(item), objects, place)
        return Explanation(0, app, "group", item.kind.name, str(item), objects, (-1, item.id), item.id)

    def named(self, cell: Cell) -> Iterator[Named]:
        """The record a cell is over; for a fact, its key and its value; then the API objects that it stands for."""
        kind = cell.rule.kind
        if isinstance(kind, Relation):
            for word, id in zip(kind.words, cell.fact or (), strict=True):
                yield from self._stands_for(Bundle, id) if word == "bundle" else (Named(word, id, ""),)
        elif isinstance(kind, type):
            yield from self._stands_for(kind, cell.id)

    def _stands_for(self, kind: type[Record], id: str) -> Iterator[Named]:
        record = self._store.model.get(kind, id)
        name = record.name if isinstance(record, Resource) else getattr(record, "hostname", "")
        yield Named(kind.__name__.lower(), id, name)
        match record:
            case Bundle(security_group_id=group) | SecurityGroupRule(security_group_id=group):
                yield from self._stands_for(SecurityGroup, group)
            case Policy(groups=groups):
                yield from (each for group in groups for each in self._stands_for(SecurityGroup, group))
            case Neighbour(network_id=network, port_id=port):
                yield from self._stands_for(Network, network)
                if port:
                    yield from self._stands_for(Port, port)
