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

Limit: if the disk fails a sync and the machine then fails before the next write, a refused batch may be
found after all; nobody was told that it succeeded.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from controller.errors import Invalid, Unavailable
from controller.model import migrations
from controller.model.packing import UNICODE_ERRORS, pack, pack_row, unpack, unpack_row
from controller.model.records import Record
from controller.model.store import Change, Journal, MemoryJournal, Model, Transaction, Write

log = logging.getLogger(__name__)

Migration = Callable[[sqlite3.Connection], None]
"""Turns a file of one schema into the next one, inside the transaction it is called in."""


def _of_records(work: Callable[[Transaction], None]) -> Migration:
    """A migration of records rather than of rows."""

    def migrate(db: sqlite3.Connection) -> None:
        _migrate_rows(db)
        tx = Transaction(Model(0, _records(db)))
        work(tx)
        _write(db, tx.writes())

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


def parse_url(url: str) -> Journal:
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
    return SqliteJournal(Path(path[1:]).absolute())


@dataclass(slots=True)
class SqliteJournal:
    """A journal in the SQLite file `path`, which is made when it is missing, closed to others; its directory is not.

    A file of an older schema is migrated when it is loaded, all the way or not at all; `FILE.schemaN` is kept of it.
    """

    path: Path
    migrations: Sequence[Migration] = MIGRATIONS
    _lock: int | None = field(default=None, init=False)
    _db: sqlite3.Connection | None = field(default=None, init=False)
    _files: tuple[object, ...] = field(default=(), init=False)

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
                _write(self._db, (write for change in changes for write in change.writes))
                self._db.execute("UPDATE meta SET value = ? WHERE key = 'revision'", (changes[-1].revision,))

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


def _write(db: sqlite3.Connection, writes: Iterable[Write]) -> None:
    """Put the last of the writes of each record into the file. Raises Unavailable."""
    last = {(write.kind.__name__, write.id): write.new for write in writes}
    put = [(kind, _key(id), pack(record)) for (kind, id), record in last.items() if record is not None]
    gone = [(kind, _key(id)) for (kind, id), record in last.items() if record is None]
    db.executemany("REPLACE INTO records VALUES (?, ?, ?)", put)
    db.executemany("DELETE FROM records WHERE kind = ? AND id = ?", gone)


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


def _key(id: str) -> str | bytes:
    """An id as TEXT; as BLOB where SQLite's UTF-8 cannot hold it. The record knows its own id."""
    try:
        id.encode()
    except UnicodeEncodeError:
        return id.encode(errors=UNICODE_ERRORS)
    return id
