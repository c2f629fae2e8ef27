"""The store: transactions over records, an in-memory replica of all of them, and a journal that makes them last.

Everybody reads the replica (`Model`), which holds only what is durable. Writers hand `Store.commit` a function over
a `Transaction`; it runs at once against the newest state, sees its own writes, and may refuse by raising. What is
queued while the journal writes goes into the next write together (group commit). A failed write leaves nothing behind.

    commit(work) ──> Transaction over replica + batch ──> Journal.append (its own thread) ──> replica ──> followers

Who asks `at_once` is answered when the replica has it, and followers hear of it in the next turn of the event loop, or
while the journal writes what came next: whoever tells others what followers make of it has them hear first (`tell`).

Limits: one process writes a journal. `work` may run again after a conflict in engines to come: it must be pure but
for its transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice
from operator import attrgetter
from typing import Any, Protocol, Self, TypeVar, cast

from controller import measures
from controller.errors import Exhausted, Exists, NotFound, StaleRevision, Unavailable
from controller.model.records import Counter, Index, R, Record, Resource, Tag
from controller.model.scribe import Scribe

log = logging.getLogger(__name__)

T = TypeVar("T")

Values = tuple[Hashable, ...]
Read = tuple[Any, ...]
"""What a reader depended on: `(kind, id)` a record, `(kind, index, values)` an index entry, `(kind,)` all of a kind."""

NOTE_S = 1.0
"""For so long acknowledgements are gathered before they are written."""

BATCH_WRITES = 100
"""Batches begin no further transaction beyond so many writes: followers compute after each, and the API waits."""

TAG_BITS = 24
"""Networks, ports and routers each have 2^24 - 1 tags: the width of their register fields."""
NARROW_TAG_BITS: Mapping[str, int] = {"physical": 16, "chassis": 16}
"""What has fewer."""


def index_values(record: Record, index: Index) -> Iterable[Values]:
    """The entries of `index` under which `record` is found; an attribute that is a frozenset gives one an element."""
    value = _reader(index)(record)
    if len(index) > 1:
        return [value]
    return [(each,) for each in value] if isinstance(value, frozenset) else [(value,)]


@cache
def _reader(index: Index) -> Callable[[Record], Any]:
    """What reads these attributes: a tuple of several, of one its value."""
    return attrgetter(*index)


@dataclass(frozen=True, slots=True)
class Write:
    """One record before and after; None where it did not or does not exist."""

    kind: type[Record]
    id: str
    old: Record | None
    new: Record | None

    def touches(self) -> Iterator[Read]:
        """Every read that this write may change the answer of."""
        yield (self.kind, self.id)
        yield (self.kind,)
        one, other = self.old or self.new, self.new or self.old
        if one is None or other is None:
            return
        for index in _indexes(self.kind):
            found = index_values(one, index)
            for values in found if one is other else {*found, *index_values(other, index)}:
                yield (self.kind, index, values)


@dataclass(frozen=True, slots=True)
class Author:
    """Who asked for a change: a user, "" if nobody says who, and the project that was spoken for; or a hypervisor."""

    user: str = ""
    project: str = ""
    chassis: str = ""


NOBODY = Author()
"""The controller itself."""


@dataclass(frozen=True, slots=True)
class Change:
    """What one transaction wrote: at most one `Write` a record, in one revision, on behalf of one request id.

    `at` is when, in seconds since the epoch.
    """

    revision: int
    request: str
    writes: tuple[Write, ...]
    by: Author = NOBODY
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Ack:
    """A hypervisor acknowledged a revision by barrier, at a time in seconds since the epoch.

    With it, it acknowledged those before it from `since` on, no more than `MOST_AT_ONCE`; it alone, if that is 0.
    """

    revision: int
    chassis: str
    at: float
    since: int = 0

    def revisions(self) -> range:
        """All that it acknowledged."""
        return range(self.since or self.revision, self.revision + 1)


MOST_AT_ONCE = 1_000
"""An `Ack` is of no more revisions."""


@dataclass(frozen=True, slots=True)
class Event:
    """A change of the past; `acknowledged` is when each hypervisor had it."""

    change: Change
    acknowledged: Mapping[str, float] = field(default_factory=dict)


REFERENCES = ("port_id", "security_group_id", "floatingip_id", "device_id", "chassis")
"""The attributes that make a change of a record an event of another one, too: of a port that it was plugged in."""


def subjects(writes: Iterable[Write]) -> frozenset[str]:
    """The ids of the records that these writes are about."""
    found = {write.id for write in writes}
    records = (record for write in writes for record in (write.old, write.new) if record is not None)
    found.update(str(value) for record in records for name in REFERENCES if (value := getattr(record, name, None)))
    return frozenset(found)


class Rows(Protocol):
    """Anything records are read from: the replica, or a transaction over it."""

    def get(self, kind: type[R], id: str) -> R | None: ...
    def where(self, kind: type[R], **values: Hashable) -> tuple[R, ...]: ...
    def all(self, kind: type[R]) -> tuple[R, ...]: ...


class Indexed(Rows, Protocol):
    """What a transaction can stand on: the replica, or another transaction."""

    def ids(self, kind: type[Record], **values: Hashable) -> Iterator[str]: ...
    def count(self, kind: type[Record], **values: Hashable) -> int: ...


_Found = Record | dict[str, Record]
"""What is under one key of an index: one record, as mostly, or several by id; a dict would be as large as a record."""


def _keys(record: Record, index: Index) -> Iterable[Hashable]:
    """As `index_values`, but that a value alone is no tuple: that is what is kept."""
    value = _reader(index)(record)
    return value if len(index) == 1 and isinstance(value, frozenset) else (value,)


def _indexes(kind: type[Record]) -> tuple[Index, ...]:
    """What records of a kind are found by."""
    return (*kind.INDEXES, *kind.UNIQUE)


class Model:
    """The replica: all records of one revision, with their indexes."""

    def __init__(self, revision: int = 0, records: Iterable[Record] = ()) -> None:
        self.revision = revision
        self._rows: dict[type[Record], dict[str, Any]] = {}
        self._ids: dict[type[Record], list[str]] = {}
        self._entries: dict[tuple[type[Record], Index], dict[Hashable, _Found]] = {}
        for record in records:
            self.put(record)

    def get(self, kind: type[R], id: str) -> R | None:
        """The record, or None."""
        rows = self._rows.get(kind)
        found: R | None = None if rows is None else rows.get(id)
        return found

    def where(self, kind: type[R], **values: Hashable) -> tuple[R, ...]:
        """The records whose indexed attributes equal `values`, by id. The names must be one of the kind's indexes."""
        found = self._entry(kind, values)
        if isinstance(found, dict):
            return cast("tuple[R, ...]", tuple([found[id] for id in sorted(found)]))
        return () if found is None else (cast("R", found),)

    def ids(self, kind: type[Record], **values: Hashable) -> Iterator[str]:
        """The ids of those that `where` finds, in no order, and one at a time."""
        found = self._entry(kind, values)
        return iter(found if isinstance(found, dict) else () if found is None else (found.id,))

    def count(self, kind: type[Record], **values: Hashable) -> int:
        """How many `where` finds."""
        found = self._entry(kind, values)
        return len(found) if isinstance(found, dict) else int(found is not None)

    def _entry(self, kind: type[Record], values: Mapping[str, Hashable]) -> _Found | None:
        index = tuple(values)
        entries = self._entries.get((kind, index))
        if entries is not None:
            wanted = tuple(values.values())
            return entries.get(wanted[0] if len(wanted) == 1 else wanted)
        if index not in kind.INDEXES and index not in kind.UNIQUE:
            raise LookupError(f"{kind.__name__} has no index {index}")
        return None

    def all(self, kind: type[R]) -> tuple[R, ...]:
        """All records of a kind, by id."""
        rows = self._rows.get(kind, {})
        return cast("tuple[R, ...]", tuple(rows[id] for id in self._ids.get(kind, ())))

    def apply(self, change: Change) -> None:
        """Move to the revision of `change`."""
        for write in change.writes:
            if write.new is None:
                self.drop(write.kind, write.id)
            else:
                self.put(write.new)
        self.revision = change.revision

    def put(self, record: Record) -> None:
        """Hold `record` in place of what had its id."""
        kind = type(record)
        rows = self._rows.get(kind)
        if rows is None:
            rows, self._ids[kind] = self._rows.setdefault(kind, {}), []
        elif record.id in rows:
            self.drop(kind, record.id)
        rows[record.id] = record
        insort(self._ids[kind], record.id)
        for index in self._indexed(kind):
            self._enter(kind, index, record)

    def _indexed(self, kind: type[Record]) -> Iterable[Index]:
        """The indexes that are kept."""
        return _indexes(kind)

    def _enter(self, kind: type[Record], index: Index, record: Record) -> None:
        entries = self._entries.setdefault((kind, index), {})
        for key in _keys(record, index):
            found = entries.setdefault(key, record)
            if isinstance(found, dict):
                found[record.id] = record
            elif found is not record:
                entries[key] = {found.id: found, record.id: record}

    def drop(self, kind: type[Record], id: str) -> None:
        """Hold no record of that id."""
        old = self._rows.get(kind, {}).pop(id, None)
        if old is None:
            return
        ids = self._ids[kind]
        del ids[bisect_left(ids, id)]
        for index in self._indexed(kind):
            entries = self._entries[kind, index]
            for key in _keys(old, index):
                found = entries[key]
                if not isinstance(found, dict):
                    del entries[key]
                    continue
                found.pop(id, None)
                if len(found) == 1:
                    (entries[key],) = found.values()


class _Overlay(Model):
    """What a transaction wrote: few records, and few of their indexes are ever asked for."""

    def __init__(self) -> None:
        super().__init__()
        self._asked: dict[type[Record], tuple[Index, ...]] = {}

    def _indexed(self, kind: type[Record]) -> Iterable[Index]:
        return self._asked.get(kind, ())

    def _entry(self, kind: type[Record], values: Mapping[str, Hashable]) -> _Found | None:
        rows = self._rows.get(kind)
        if rows and (index := tuple(values)) not in self._asked.get(kind, ()) and index in _indexes(kind):
            self._asked[kind] = (*self._asked.get(kind, ()), index)
            self._entries[kind, index] = {}
            for record in rows.values():
                self._enter(kind, index, record)
        return super()._entry(kind, values)


class Transaction:
    """Reads and writes over `base` that `base` does not see; its own reads do."""

    def __init__(self, base: Indexed) -> None:
        self._base = base
        self._over = _Overlay()
        self._writes: dict[tuple[type[Record], str], Record | None] = {}
        self._written: set[type[Record]] = set()

    def get(self, kind: type[R], id: str) -> R | None:
        """The record, or None."""
        if (kind, id) in self._writes:
            return cast("R | None", self._writes[kind, id])
        return self._base.get(kind, id)

    def need(self, kind: type[R], id: str) -> R:
        """The record. Raises NotFound."""
        found = self.get(kind, id)
        if found is None:
            raise NotFound(kind.__name__, id)
        return found

    def where(self, kind: type[R], **values: Hashable) -> tuple[R, ...]:
        """As `Model.where`."""
        if kind not in self._written:
            return self._base.where(kind, **values)
        return self._merge(kind, self._base.where(kind, **values), self._over.where(kind, **values))

    def ids(self, kind: type[Record], **values: Hashable) -> Iterator[str]:
        """As `Model.ids`."""
        yield from self._over.ids(kind, **values)
        yield from (id for id in self._base.ids(kind, **values) if (kind, id) not in self._writes)

    def holds(self, kind: type[Record], **values: Hashable) -> bool:
        """Whether `where` would find any, without finding all."""
        return any(True for _ in self.ids(kind, **values))

    def count(self, kind: type[Record], **values: Hashable) -> int:
        """As `Model.count`; costs what was written, not what is there."""
        index, wanted = tuple(values), tuple(values.values())
        olds = (self._base.get(each, id) for each, id in self._writes if each is kind)
        gone = sum(old is not None and wanted in index_values(old, index) for old in olds)
        return self._base.count(kind, **values) - gone + self._over.count(kind, **values)

    def all(self, kind: type[R]) -> tuple[R, ...]:
        """As `Model.all`."""
        if kind not in self._written:
            return self._base.all(kind)
        return self._merge(kind, self._base.all(kind), self._over.all(kind))

    def _merge(self, kind: type[R], base: tuple[R, ...], over: tuple[R, ...]) -> tuple[R, ...]:
        kept = [record for record in base if (kind, record.id) not in self._writes]
        if not over:
            return tuple(kept)
        return tuple(sorted([*kept, *over], key=lambda record: record.id)) if kept else over

    def insert(self, record: R) -> R:
        """Write a record that must be new. Raises Exists."""
        if self.get(type(record), record.id) is not None:
            raise Exists(type(record).__name__, f"id {record.id}", record.id)
        return self.put(record)

    def put(self, record: R) -> R:
        """Write a record. Raises Exists when another one holds a value that must be unique."""
        kind = type(record)
        for index in kind.UNIQUE:
            for values in index_values(record, index):
                for other in self.where(kind, **dict(zip(index, values, strict=True))):
                    if other.id != record.id:
                        what = ", ".join(f"{name} {value}" for name, value in zip(index, values, strict=True))
                        raise Exists(kind.__name__, what, other.id)
        return self._write(record)

    def _write(self, record: R) -> R:
        """The same for what has no values that others may have."""
        kind = type(record)
        self._over.put(record)
        self._writes[kind, record.id] = record
        self._written.add(kind)
        return record

    def delete(self, kind: type[Record], id: str) -> None:
        """Remove a record. Raises NotFound."""
        if self.get(kind, id) is None:
            raise NotFound(kind.__name__, id)
        self._written.add(kind)
        self._over.drop(kind, id)
        self._writes[kind, id] = None

    def discard(self, kind: type[Record], id: str) -> None:
        """Remove a record, if it is still there."""
        if self.get(kind, id) is not None:
            self.delete(kind, id)

    def expect(self, kind: type[Resource], id: str, revision_number: int) -> None:
        """Go on only if the record is at that revision. Raises NotFound, StaleRevision."""
        found = self.need(kind, id).revision_number
        if found != revision_number:
            raise StaleRevision(kind.__name__, id, revision_number, found)

    def next(self, counter: str) -> int:
        """The next number of a sequence that never repeats, from 1."""
        old = self.get(Counter, counter)
        return self._write(Counter(id=counter, value=old.value + 1 if old else 1)).value

    def tag(self, space: str, id: str) -> int:
        """The small integer that stands for `id`, allocated on first use, from 1 on, handed out round-robin.

        A number that is given back is not used again before all others were. Raises Exhausted.
        """
        found = self.get(Tag, f"{space}/{id}")
        if found is not None:
            return found.number
        limit = (1 << NARROW_TAG_BITS.get(space, TAG_BITS)) - 1
        for _ in range(limit):
            number = (self.next(f"tag/{space}") - 1) % limit + 1
            if not self.where(Tag, space=space, number=number):
                return self._write(Tag(id=f"{space}/{id}", space=space, number=number)).number
        raise Exhausted("tags", space)

    def untag(self, space: str, id: str) -> None:
        """Give a tag back; nothing happens if there is none."""
        self.discard(Tag, f"{space}/{id}")

    def writes(self) -> tuple[Write, ...]:
        """What differs from `base`, a record at a time."""
        found = (Write(kind, id, self._base.get(kind, id), new) for (kind, id), new in self._writes.items())
        return tuple(write for write in found if write.old != write.new)

    def absorb(self, writes: Iterable[Write]) -> None:
        """Take over the writes of a transaction that stood on this one."""
        for write in writes:
            self._writes[write.kind, write.id] = write.new
            self._written.add(write.kind)
            if write.new is None:
                self._over.drop(write.kind, write.id)
            else:
                self._over.put(write.new)


class Journal(Protocol):
    """Where records last. `append` runs in a thread of its own, one call at a time."""

    def load(self) -> tuple[int, list[Record]]:
        """The last revision and all records. Raises Unavailable."""

    def append(self, changes: Sequence[Change]) -> None:
        """Make all the changes durable, or none. Raises Unavailable."""

    def note(self, acks: Sequence[Ack]) -> None:
        """Make it durable when hypervisors had what was changed. Raises Unavailable."""

    def events(self, about: str, before: int, limit: int) -> list[Event]:
        """The newest changes of revisions below `before`, the newest first: all, or those of the record of an id.

        Any thread may ask. Raises Unavailable.
        """

    def close(self) -> None:
        """Let go of the files."""


MOST_EVENTS = 10_000
"""So many changes are remembered in memory."""


class MemoryJournal:
    """A journal that forgets at exit: for `--store memory://` and for tests."""

    def __init__(self) -> None:
        self._events: deque[Change] = deque(maxlen=MOST_EVENTS)
        self._acks: deque[Ack] = deque(maxlen=MOST_EVENTS)

    def load(self) -> tuple[int, list[Record]]:
        """Nothing, at revision 0."""
        return 0, []

    def append(self, changes: Sequence[Change]) -> None:
        """Keep the newest."""
        self._events.extend(changes)

    def note(self, acks: Sequence[Ack]) -> None:
        """Keep the newest."""
        self._acks.extend(acks)

    def events(self, about: str, before: int, limit: int) -> list[Event]:
        """As the protocol says."""
        acks: dict[int, dict[str, float]] = {}
        for ack in [*self._acks]:
            for revision in ack.revisions():
                acks.setdefault(revision, {})[ack.chassis] = ack.at
        changes = (change for change in reversed([*self._events]) if change.revision < before)
        found = (change for change in changes if not about or about in subjects(change.writes))
        return [Event(change, acks.get(change.revision, {})) for change in islice(found, limit)]

    def close(self) -> None:
        """Nothing to let go of."""


Follower = Callable[[Sequence[Change]], None]


@dataclass(slots=True)
class _Waiting:
    work: Callable[[Transaction], Any]
    request: str
    by: Author
    at_once: bool
    done: asyncio.Future[Any]
    result: object = None
    refusal: Exception | None = None

    def answer(self) -> None:
        """Tell what became of it, unless that is told, or nobody waits any more."""
        if self.done.done():
            return
        if self.refusal is None:
            self.done.set_result(self.result)
        elif isinstance(self.refusal, StopIteration):  # no Future takes one, for the reason of PEP 479
            error = RuntimeError("work raised StopIteration")
            error.__cause__ = self.refusal
            self.done.set_exception(error)
        else:
            self.done.set_exception(self.refusal)


@dataclass(slots=True)
class Store:
    """The one door to the records: `model` to read, `commit` to write, `follow` to hear of writes."""

    journal: Journal
    model: Model = field(default_factory=Model)
    _queue: deque[_Waiting] = field(default_factory=deque)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _calm: asyncio.Event = field(default_factory=asyncio.Event)
    _followers: list[Follower] = field(default_factory=list)
    _untold: Sequence[Change] = ()
    _owed: list[_Waiting] = field(default_factory=list)
    """Who waits for followers to hear of what is in `model`."""
    _failure: Exception | None = None
    _writer: Scribe = field(default_factory=lambda: Scribe("journal"))
    _stopped: bool = False
    problem: str = ""
    """Why the last write failed, or ""."""
    _acks: list[Ack] = field(default_factory=list)
    _noted: float = float("-inf")
    sealed: str = ""
    """Why nothing may be written, or ""."""

    @classmethod
    async def open(cls, journal: Journal) -> Self:
        """Load everything the journal holds. Raises Unavailable."""
        store = cls(journal)
        revision, records = await store._writer.do(journal.load)
        store.model = Model(revision, records)
        return store

    async def close(self) -> None:
        """Let go of the journal; what was not committed by now never happened."""
        self._noted = float("-inf")
        await self._note()
        await self._writer.do(self.journal.close)
        self._writer.close()

    def follow(self, follower: Follower) -> None:
        """Call `follower` with every batch of changes, in order, before `model` moves on."""
        self._followers.append(follower)

    def tell(self) -> None:
        """Have followers hear of all that is in `model`: they have not yet while who asked `at_once` is answered."""
        if self._failure is not None:
            raise self._failure
        changes, self._untold = self._untold, ()
        try:
            for follower in self._followers if changes else ():
                follower(changes)
        except Exception as error:
            self._failure = error  # the store ends by it, whoever had them told
            raise

    async def commit(
        self, work: Callable[[Transaction], T], request: str = "", by: Author = NOBODY, *, at_once: bool = False
    ) -> T:
        """Run `work` in a transaction and answer its result once its writes are durable and in `model`, and followers
        have heard of them; or before they have, `at_once`.

        Raises whatever `work` raises, and Unavailable; nothing is written then.
        """
        if self.sealed:
            raise Unavailable(self.sealed)
        if self._stopped:
            raise _stopping()
        waiting = _Waiting(work, request, by, at_once, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._wake.set()
        self._calm.clear()
        with measures.COMMIT.time():
            return cast("T", await waiting.done)

    async def run(self) -> None:
        """Serve commits until cancelled; then what waits is refused, and what is being written is cancelled."""
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(NOTE_S if self._acks else None):
                        await self._wake.wait()
                self._wake.clear()
                await self._note()
                while self._queue:
                    await self._commit_some()
                    await asyncio.sleep(0)  # what is not durable waits for no disk
                self._calm.set()
        finally:
            self._stopped = True
            for waiting in self._queue:
                waiting.refusal = _stopping()
                waiting.answer()
            if self._failure is None:
                self._catch_up()

    async def calm(self, within_s: float) -> None:
        """Wait until nobody waits for a commit, but no longer than that."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._calm.wait()

    def acknowledge(self, chassis: str, spans: Iterable[tuple[int, int]]) -> None:
        """Remember that a hypervisor has these revisions now, each from the first to the last of so many; it lasts a
        little later."""
        now = time.time()
        self._acks.extend(Ack(last, chassis, now, first if first < last else 0) for first, last in spans)
        self._wake.set()

    async def _note(self) -> None:
        """Make acknowledgements last, not more often than once in `NOTE_S`."""
        if not self._acks or time.monotonic() < self._noted + NOTE_S:
            return
        acks, self._acks, self._noted = self._acks, [], time.monotonic()
        try:
            await self._writer.do(self.journal.note, acks)
        except Unavailable as error:
            log.warning("acknowledgements not kept number=%d reason=%s", len(acks), error.reason)

    async def events(self, about: str = "", before: int | None = None, limit: int = 100) -> list[Event]:
        """What changed of late, the newest first: everything, or what concerns the record of an id.

        What is not in `model` yet is no event yet. Raises Unavailable.
        """
        most = self.model.revision + 1 if before is None else min(before, self.model.revision + 1)
        return await asyncio.to_thread(self.journal.events, about, most, limit)

    async def _commit_some(self) -> None:
        batch: list[_Waiting] = []
        try:
            await self._commit_batch(batch)
        except BaseException:
            for waiting in batch:
                waiting.done.cancel()  # only those without an answer: nobody knows theirs now
            raise

    async def _commit_batch(self, batch: list[_Waiting]) -> None:
        """Take what waits into `batch`, until it is enough for one write."""
        base = Transaction(self.model)
        revision = self.model.revision
        changes: list[Change] = []
        written = 0
        last: tuple[Write, ...] = ()
        while self._queue and written < BATCH_WRITES:
            base.absorb(last)
            last = ()
            waiting = self._queue.popleft()
            batch.append(waiting)
            transaction = Transaction(base)
            try:
                waiting.result = waiting.work(transaction)
            except Exception as error:
                waiting.refusal = error  # perhaps for what a neighbour wrote: told when that is durable
                continue
            if writes := transaction.writes():
                revision += 1
                written += len(writes)
                changes.append(Change(revision, waiting.request, writes, waiting.by, time.time()))
                last = writes
        try:
            await self._make_durable(changes)
        except Unavailable as error:
            for waiting in batch:
                waiting.refusal = error
                waiting.answer()
            return
        for change in changes:
            self.model.apply(change)
        await self._answer(batch, changes)

    async def _answer(self, batch: list[_Waiting], changes: Sequence[Change]) -> None:
        """Answer those at once who want that, and the others once followers have heard: now, or while the journal
        writes what waits by then."""
        self._untold = changes
        hasty = [waiting for waiting in batch if waiting.at_once and changes]
        self._owed.extend(batch)
        batch.clear()
        for waiting in hasty:
            waiting.answer()
        if hasty:
            await asyncio.sleep(0)
        if not self._queue:
            self._catch_up()

    def _catch_up(self) -> None:
        """Have followers hear of all that is in `model`, and answer who waits for that."""
        owed, self._owed = self._owed, []
        try:
            self.tell()
            for waiting in owed:
                waiting.answer()
        finally:
            for waiting in owed:
                waiting.done.cancel()

    async def _make_durable(self, changes: Sequence[Change]) -> None:
        """Write changes; meanwhile followers hear of those before."""
        durable = [
            change if len(writes) == len(change.writes) else replace(change, writes=writes)
            for change in changes
            if (writes := tuple(write for write in change.writes if write.kind.DURABLE))
        ]
        writing = self._writer.begin(self.journal.append, durable) if durable else None
        self._catch_up()
        if writing is None:
            return
        try:
            await writing
        except Unavailable as error:
            if not self.problem:
                log.error("store cannot write reason=%s", error.reason)
            self.problem = error.reason
            raise
        if self.problem:
            log.warning("store writes again after=%s", self.problem)
            self.problem = ""


def _stopping() -> Unavailable:
    return Unavailable("the controller is stopping")
