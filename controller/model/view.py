"""What a pure function may read of the model, and the memory of what it read.

Every `get`, `where`, `all`, `derive` and `gather` is remembered in `reads`; whoever holds the view knows
afterwards which changes may alter the function's answer. Nothing here writes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from controller.errors import NotFound
from controller.model.records import R, Record, Tag
from controller.model.store import Read, Rows

K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Hashable)


@dataclass(frozen=True, slots=True, eq=False)
class Relation(Generic[K, V]):
    """Facts that the records of a kind contribute, gathered by key.

    `facts(view, record)` yields (key, value) pairs. `view.gather(relation, key)` is the set of values under a
    key, kept up to date by the difference of one record's facts, never by a scan; it wakes its readers
    only when the set itself changes.
    """

    name: str
    kind: type[Record]
    facts: Callable[[View, Any], Iterator[tuple[K, V]]]
    words: tuple[str, str] = ("key", "value")
    """What key and value are, for an operator."""
    about: Callable[[Any], bool] | None = None
    """The records that may contribute any, as far as they alone tell; None: all."""
    gate: Callable[[View, str], Hashable] | None = None
    """A derived value of a record's id without which it contributes none."""


class Values(Protocol):
    """Where derived values are kept; the engine's memory, or none at all (`Afresh`)."""

    def derive(self, fn: Callable[[View, K], V], key: K) -> V: ...
    def gather(self, relation: Relation[K, V], key: K) -> frozenset[V]: ...


class View:
    """A read-only view of one revision that remembers what was read."""

    __slots__ = ("_rows", "_values", "reads")

    def __init__(self, rows: Rows, values: Values | None = None) -> None:
        self._rows = rows
        self._values: Values = Afresh(rows) if values is None else values
        self.reads: set[Read] = set()

    def get(self, kind: type[R], id: str) -> R | None:
        """The record, or None."""
        self.reads.add((kind, id))
        return self._rows.get(kind, id)

    def need(self, kind: type[R], id: str) -> R:
        """The record. Raises NotFound."""
        found = self.get(kind, id)
        if found is None:
            raise NotFound(kind.__name__, id)
        return found

    def where(self, kind: type[R], **values: Hashable) -> tuple[R, ...]:
        """The records whose indexed attributes equal `values`, by id."""
        self.reads.add((kind, tuple(values), tuple(values.values())))
        return self._rows.where(kind, **values)

    def all(self, kind: type[R]) -> tuple[R, ...]:
        """All records of a kind, by id: a reader that any change of the kind wakes."""
        self.reads.add((kind,))
        return self._rows.all(kind)

    def tag(self, space: str, id: str) -> int:
        """The small integer that stands for `id`. Raises NotFound."""
        return self.need(Tag, f"{space}/{id}").number

    def tagged(self, space: str, number: int) -> str | None:
        """The id that a small integer stands for; None when it stands for none."""
        found = self.where(Tag, space=space, number=number)
        return found[0].id.partition("/")[2] if found else None

    def derive(self, fn: Callable[[View, K], V], key: K) -> V:
        """`fn(view, key)`, computed once for all who ask; an equal result after a change wakes nobody."""
        self.reads.add((fn, key))
        return self._values.derive(fn, key)

    def gather(self, relation: Relation[K, V], key: K) -> frozenset[V]:
        """The values that `relation` has under `key`."""
        self.reads.add((relation, key))
        return self._values.gather(relation, key)


class Afresh:
    """Derived values computed anew at every question: the definition that the engine's memory must agree with."""

    __slots__ = ("_rows",)

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def derive(self, fn: Callable[[View, K], V], key: K) -> V:
        """`fn` on a view of its own."""
        return fn(View(self._rows, self), key)

    def gather(self, relation: Relation[K, V], key: K) -> frozenset[V]:
        """By a scan of the relation's records."""
        return frozenset(value for at, value in self._facts(relation) if at == key)

    def _facts(self, relation: Relation[K, V]) -> Iterable[tuple[K, V]]:
        for record in self._rows.all(relation.kind):
            yield from relation.facts(View(self._rows, self), record)
