"""The embedded engine: a durable record is a row of one SQLite file, a batch of requests one transaction.

`append` returns when the batch is on the disk: write-ahead log with `synchronous=FULL`, which syncs the log
after each transaction (sqlite.org, "Write-Ahead Logging" and "PRAGMA synchronous"). When the disk is full,
read-only or broken it raises Unavailable and nothing of the batch stays; a later one works when the cause
is gone.

One process at a time has the file. It holds a flock(2) on `FILE.lock`, which the kernel drops with the
process, and which keeps nobody from reading the file or copying it with `sqlite3 FILE .backup`. The lock
file stays behind; who removes it under a running controller removes the protection. Network file systems
are not for this engine (sqlite.org, "How To Corrupt An SQLite Database File", section 2.1).

    records(kind, id, value)    value is what `controller.model.packing` makes of a record
    meta(key, value)            schema: the version of this layout; revision: that of the last change
    events(revision, at, ...)   the changes of late, each with its records before and after (`history`)
    about(revision, marks)      which records they are about
    acks(revision, chassis, at) when each hypervisor had them
    spans(last, chassis, first, at)   the same of several in a row at once

The last four are added to a file that lacks them, and an older Weft leaves them alone: a log in which changes are
missing is begun anew. Of a log, `keep_s` seconds and `MOST_EVENTS` changes are kept. A record is marked by eight bytes
of its id's hash, and all marks are looked through for one: `MOST_EVENTS` are some megabytes. An index would have every
commit write a page of 4 KiB for every record that it touches.

Limit: if the disk fails a sync and the machine then fails before the next write, a refused batch may be
found after all; nobody was told that it succeeded.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import chain, islice
from pathlib import Path

import msgpack

from controller.errors import Invalid, Unavailable
from controller.model import migrations
from controller.model.packing import UNICODE_ERRORS, pack, pack_row, unpack, unpack_row
from controller.model.records import KINDS, Record
from controller.model.store import (
    MOST_AT_ONCE,
    Ack,
    Author,
    Change,
    Event,
    Journal,
    MemoryJournal,
    Model,
    Transaction,
    Write,
    subjects,
)

log = logging.getLogger(__name__)

Migration = Callable[[sqlite3.Connection], None]
"""Turns a file of one schema into the next one, inside the transaction it is called in."""


def _of_records(work: Callable[[Transaction], None]) -> Migration:
    """A migration of records rather than of rows."""

    def migrate(db: sqlite3.Connection) -> None:
        _migrate_rows(db)
        tx = Transaction(Model(0, _records(db)))
        work(tx)
        _write(db, {(write.kind.__name__, write.id): _packed(write.new) for write in tx.writes()})

    return migrate


def _migrate_rows(db: sqlite3.Connection) -> None:
    """Make rows what the records of today are packed as."""
    for kind, id, packed in db.execute("SELECT kind, id, value FROM records").fetchall():
        rows: list[migrations.Row] = [(kind, unpack_row(kind, id, packed))]
        for work in migrations.ROWS:
            rows = [made for row in rows for made in work(*row)]
        values = [(kind, _key(row["id"]), pack_row(row)) for kind, row in rows]
        if values != [(kind, id, packed)]:
            db.executemany("REPLACE INTO records VALUES (?, ?, ?)", values)


MIGRATIONS: tuple[Migration, ...] = (_of_records(migrations.guard), _of_records(migrations.disown))
"""The first goes from schema 1 to 2, and so on. Attributes and kinds that are added need none if their defaults are
right for what is there: `packing` reads old rows with them. One that is here stays for ever."""

SCHEMA = 1 + len(MIGRATIONS)
"""Of the records that are written now."""

BUSY_S = 5.0
"""How long to wait for another program (an operator's shell) that is writing to the file."""

_LAYOUT = (
    "CREATE TABLE records (kind TEXT, id TEXT, value BLOB NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID",
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID",
    "INSERT INTO meta VALUES ('schema', 1), ('revision', 0)",
)
_LOG = (
    "CREATE TABLE IF NOT EXISTS events (revision INTEGER PRIMARY KEY, at REAL NOT NULL, request TEXT NOT NULL,"
    " user TEXT NOT NULL, project TEXT NOT NULL, chassis TEXT NOT NULL, writes BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS about (revision INTEGER PRIMARY KEY, marks BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS acks (revision INTEGER, chassis, at REAL, PRIMARY KEY (revision, chassis))"
    " WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS spans (last INTEGER, chassis, first INTEGER, at REAL, PRIMARY KEY (last, chassis))"
    " WITHOUT ROWID",
)

_LOGGED = {"events": "revision", "about": "revision", "acks": "revision", "spans": "last"}
"""These tables, and by what the oldest of each are found."""

_COLUMNS = "SELECT revision, at, request, user, project, chassis, writes"
_ALL = f"{_COLUMNS} FROM events WHERE revision < :before ORDER BY revision DESC"
_ABOUT = (
    f"{_COLUMNS} FROM about CROSS JOIN events USING (revision)"
    " WHERE revision < :before AND instr(marks, :mark) ORDER BY revision DESC"
)

_ACKS = (
    "SELECT chassis, min(at) FROM (SELECT chassis, at FROM acks WHERE revision = :revision UNION ALL"
    " SELECT chassis, at FROM spans WHERE last BETWEEN :revision AND :most AND first <= :revision)"
    " GROUP BY chassis ORDER BY chassis"
)

KEEP_S = 7 * 86_400.0
"""For so long changes are remembered, unless it is said otherwise."""
MOST_EVENTS = 200_000
"""More are not, however young."""
_TRIM_EVERY, _TRIM = 256, 1_000
"""After so many writes so many of the oldest go at the most: time is taken in small pieces."""


def parse_url(url: str, keep_s: float = KEEP_S) -> Journal:
    """The journal of `memory://`, `sqlite:///relative` or `sqlite:////absolute/path`. Raises Invalid.

    The slashes count as in SQLAlchemy's database URLs.
    """
    scheme, separator, path = url.partition("://")
    if scheme == "memory" and separator and not path:
        return MemoryJournal()
    if scheme == "etcd" and separator:
        raise Invalid("store", "etcd:// is not in this release; use sqlite:///PATH")
    if scheme != "sqlite" or not path.startswith("/") or path.endswith("/") or "?" in path:
        raise Invalid("store", f"'{url}' is none of sqlite:///RELATIVE, sqlite:////ABSOLUTE and memory://")
    return SqliteJournal(Path(path[1:]).absolute(), keep_s=keep_s)


@dataclass(slots=True)
class SqliteJournal:
    """A journal in the SQLite file `path`, which is made when it is missing, closed to others; its directory is not.

    A file of an older schema is migrated when it is loaded, all the way or not at all; `FILE.schemaN` is kept of it.
    """

    path: Path
    migrations: Sequence[Migration] = MIGRATIONS
    keep_s: float = KEEP_S
    _lock: int | None = field(default=None, init=False)
    _db: sqlite3.Connection | None = field(default=None, init=False)
    _files: tuple[object, ...] = field(default=(), init=False)
    _appended: int = field(default=0, init=False)

    def load(self) -> tuple[int, list[Record]]:
        """The last revision and all records; from now on the file is ours. Raises Unavailable."""
        try:
            with _told(self.path):
                self._lock = _lock(self.path)
                db = self._db = _open(self.path)
                _prepare(db, self.path, self.migrations)
                self._files = _identities(self.path)
                return _meta(db, "revision"), _records(db)
        except BaseException:
            self.close()
            raise

    def append(self, changes: Sequence[Change]) -> None:
        """Write all the changes in one transaction. Raises Unavailable; then none of them is written."""
        if self._db is None:
            raise Unavailable(f"{self.path} is not open")
        with _told(self.path):
            if _identities(self.path) != self._files:
                raise Unavailable(f"{self.path} or its -wal file was moved, removed or replaced while in use")
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                news = [[_packed(write.new) for write in change.writes] for change in changes]
                writes = zip((write for change in changes for write in change.writes), chain(*news), strict=True)
                _write(self._db, {(write.kind.__name__, write.id): new for write, new in writes})
                self._db.execute("UPDATE meta SET value = ? WHERE key = 'revision'", (changes[-1].revision,))
                if self.keep_s > 0:
                    self._log(self._db, changes, news)

    def _log(self, db: sqlite3.Connection, changes: Sequence[Change], news: Sequence[Sequence[bytes | None]]) -> None:
        """Write the changes into the log, and now and then take the oldest out. Raises Unavailable."""
        db.executemany("REPLACE INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", map(_event, changes, news))
        marks = ((change.revision, b"".join(map(_mark, subjects(change.writes)))) for change in changes)
        db.executemany("REPLACE INTO about VALUES (?, ?)", marks)
        self._appended += 1
        if self._appended % _TRIM_EVERY == 1:
            _trim(db, time.time() - self.keep_s, _TRIM)

    def note(self, acks: Sequence[Ack]) -> None:
        """Write when hypervisors had what was changed. Raises Unavailable."""
        if self._db is None or self.keep_s <= 0:
            return
        with _told(self.path), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            rows = ((ack.revision, _key(ack.chassis), ack.at) for ack in acks if not ack.since)
            self._db.executemany("INSERT OR IGNORE INTO acks VALUES (?, ?, ?)", rows)
            spans = ((ack.revision, _key(ack.chassis), ack.since, ack.at) for ack in acks if ack.since)
            self._db.executemany("INSERT OR IGNORE INTO spans VALUES (?, ?, ?, ?)", spans)

    def events(self, about: str, before: int, limit: int) -> list[Event]:
        """Read by a connection of its own, so that nobody who writes waits. Raises Unavailable."""
        with (
            _told(self.path),
            closing(sqlite3.connect(f"{self.path.as_uri()}?mode=ro", timeout=BUSY_S, uri=True)) as db,
        ):
            asked = {"before": before, "mark": _mark(about)}
            rows = db.execute(_ABOUT if about else _ALL, asked)
            changes = (_change(*row) for row in rows)
            found = (change for change in changes if not about or about in subjects(change.writes))
            return [Event(change, _acks(db, change.revision)) for change in islice(found, limit)]

    def close(self) -> None:
        """Let go of the file; the write-ahead log is folded into it when the disk allows."""
        db, self._db = self._db, None
        lock, self._lock = self._lock, None
        try:
            if db is not None:
                with _told(self.path):
                    db.close()
        finally:
            if lock is not None:
                os.close(lock)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Tell what SQLite and the system say of `path` as Unavailable."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        raise Unavailable(f"{path}: {error} ({name})") from error
    except OSError as error:
        raise Unavailable(f"{error.filename or path}: {error.strerror}") from error


def _lock(path: Path) -> int:
    """A descriptor whose lock says that this process has `path`. Raises Unavailable, too if another has it."""
    if not path.parent.is_dir():
        raise Unavailable(f"there is no directory {path.parent}; make it, or name another --store")
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o640)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.read(lock, 20).decode(errors="replace").strip()
        os.close(lock)
        raise Unavailable(f"{path} is in use by another controller, process {holder or 'unknown'}") from error
    os.ftruncate(lock, 0)
    os.write(lock, b"%d\n" % os.getpid())
    return lock


def _open(path: Path) -> sqlite3.Connection:
    # SQLite falls back to reading what it may not write; this open refuses. It sets a new file's mode, too.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o640))
    return sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)


def _prepare(db: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    """Lay out an empty file, migrate an older one; leave a foreign or a newer one as it is. Raises Unavailable."""
    newest = 1 + len(migrations)
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables and not tables >= {"records", "meta"}:
        raise Unavailable(f"{path} is a database of another program")
    schema = _meta(db, "schema") if tables else newest
    if schema > newest:
        raise Unavailable(f"{path} has schema version {schema}, written by a newer Weft; this one knows {newest}")
    if tables and (damage := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
        raise Unavailable(f"{path} is damaged: {damage}")
    (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise Unavailable(f"{path} is on a file system that cannot hold a write-ahead log")
    db.execute("PRAGMA synchronous = FULL")
    if schema < newest:
        _keep(db, path, schema)
    with db:
        db.execute("BEGIN IMMEDIATE")
        if not tables:
            for statement in _LAYOUT:
                db.execute(statement)
        for migrate in migrations[schema - 1 :]:
            migrate(db)
        _renew(db, migrated=schema < newest)
        db.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (newest,))


def _keep(db: sqlite3.Connection, path: Path, schema: int) -> None:
    """A copy of the file as it is, for whoever has to go back; one that is there already is older and stays."""
    copy = path.with_name(f"{path.name}.schema{schema}")
    if not copy.exists():
        db.execute("VACUUM INTO ?", (str(copy),))
    log.warning("store migrates path=%s from_schema=%d kept=%s", path, schema, copy)


def _records(db: sqlite3.Connection) -> list[Record]:
    """Every record of the file. Raises Unavailable."""
    return [unpack(*row) for row in db.execute("SELECT kind, id, value FROM records")]


def _write(db: sqlite3.Connection, last: Mapping[tuple[str, str], bytes | None]) -> None:
    """Put packed records into the file, by kind and id, and take those out that are None."""
    put = [(kind, _key(id), packed) for (kind, id), packed in last.items() if packed is not None]
    gone = [(kind, _key(id)) for (kind, id), packed in last.items() if packed is None]
    db.executemany("REPLACE INTO records VALUES (?, ?, ?)", put)
    db.executemany("DELETE FROM records WHERE kind = ? AND id = ?", gone)


def _event(change: Change, news: Sequence[bytes | None]) -> tuple[object, ...]:
    """A row of the log; `news` are its records afterwards, packed. Raises Unavailable."""
    by = change.by
    writes = [
        (write.kind.__name__, write.id, _packed(write.old), new) for write, new in zip(change.writes, news, strict=True)
    ]
    packed = msgpack.packb(writes, unicode_errors=UNICODE_ERRORS)
    return (change.revision, change.at, change.request, _key(by.user), by.project, _key(by.chassis), packed)


def _packed(record: Record | None) -> bytes | None:
    """Raises Unavailable."""
    return None if record is None else pack(record)


def _change(
    revision: int, at: float, request: str, user: str | bytes, project: str, chassis: str | bytes, packed: bytes
) -> Change:
    """A row of the log. Raises Unavailable."""
    by = Author(_text(user), project, _text(chassis))
    return Change(revision, request, tuple(_writes(packed)), by, at)


def _writes(packed: bytes) -> Iterator[Write]:
    for kind, id, *ends in msgpack.unpackb(packed, use_list=False, unicode_errors=UNICODE_ERRORS):
        old, new = (None if end is None else unpack(kind, id, end) for end in ends)
        yield Write(_KINDS[kind], id, old, new)


_KINDS = {kind.__name__: kind for kind in KINDS}


def _acks(db: sqlite3.Connection, revision: int) -> dict[str, float]:
    rows = db.execute(_ACKS, {"revision": revision, "most": revision + MOST_AT_ONCE - 1})
    return {_text(chassis): at for chassis, at in rows}


def _trim(db: sqlite3.Connection, oldest: float, most: int) -> None:
    """Forget changes before a time, and beyond `MOST_EVENTS`; some of them, if there are many."""
    (newest,) = db.execute("SELECT max(revision) FROM events").fetchone()
    rows = db.execute("SELECT revision, at FROM events ORDER BY revision LIMIT ?", (most,))
    gone = [revision for revision, at in rows if at < oldest or revision <= newest - MOST_EVENTS]
    for table, revision in _LOGGED.items() if gone else ():
        db.execute(f"DELETE FROM {table} WHERE {revision} <= ?", (gone[-1],))


def _renew(db: sqlite3.Connection, *, migrated: bool) -> None:
    """Have a log to which the next change can be added."""
    for statement in _LOG:
        db.execute(statement)
    db.execute("DROP TABLE IF EXISTS touched")  # was an index of it
    newest = [db.execute(f"SELECT max(revision) FROM {table}").fetchone()[0] for table in ("events", "about")]
    if migrated or newest not in ([None, None], [_meta(db, "revision")] * 2):
        for table in _LOGGED:
            db.execute(f"DELETE FROM {table}")


def _meta(db: sqlite3.Connection, key: str) -> int:
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    if row is None or not isinstance(row[0], int):
        raise Unavailable(f"the store's {key} is {row[0] if row else 'missing'}, not a number")
    return row[0]


def _identities(path: Path) -> tuple[object, ...]:
    """Which files stand at the path and beside it: what goes into a file without a name is lost."""
    found: list[object] = []
    for each in (path, path.with_name(path.name + "-wal")):
        try:
            status = os.stat(each)
        except FileNotFoundError:
            found.append(None)
        else:
            found.append((status.st_dev, status.st_ino))
    return tuple(found)


def _mark(id: str) -> bytes:
    """What stands for an id in the log."""
    return blake2b(id.encode(errors=UNICODE_ERRORS), digest_size=8).digest()


def _text(key: str | bytes) -> str:
    """What `_key` was given."""
    return key if isinstance(key, str) else key.decode(errors=UNICODE_ERRORS)


def _key(id: str) -> str | bytes:
    """An id as TEXT; as BLOB where SQLite's UTF-8 cannot hold it. The record knows its own id."""
    try:
        id.encode()
    except UnicodeEncodeError:
        return id.encode(errors=UNICODE_ERRORS)
    return id
