"""The OVSDB management protocol: JSON-RPC 1.0 over a stream, and a copy of a database (RFC 7047).

Either side may ask, answer, notify and probe. Whatever a peer sends costs time in proportion to its length, is
bounded in size and depth, and at worst ends that peer's connection with `Malformed`. A silent peer is probed by
echo and then given up. Limits: no locks, no TLS yet; which tables are watched, and why, stands in `ovsdb`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import sys
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn, TypeAlias, TypeVar, cast

from controller.errors import Disconnected, Malformed, OvsdbError
from controller.southbound.patience import Clock, Deadline

T = TypeVar("T")

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
Object: TypeAlias = dict[str, Json]

MESSAGE_BYTES = 16 << 20
"""No message may be longer; the database of a hypervisor with a thousand guests is half a megabyte."""
MESSAGE_DEPTH = 64
"""No message may nest deeper; those of RFC 7047 need ten levels."""
READ_BYTES = 256 << 10

PROBE_S = 5.0
"""After this much silence a peer is probed by echo; after three times this much it is given up."""
ANSWER_S = 10.0

_SPACE = re.compile(rb"[ \t\r\n]*")
_WITHOUT_BRACKETS = re.compile(rb'(?:[^"{}\[\]]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+', re.DOTALL)
"""What lies between two brackets, complete strings included."""
_IN_STRING = re.compile(rb'["\\]')


class Splitter:
    """Cuts a stream, however it is chunked, into JSON objects; scans every byte once."""

    __slots__ = ("_at", "_buffer", "_depth", "_in_string", "_limit_bytes", "_peer")

    def __init__(self, peer: str, limit_bytes: int = MESSAGE_BYTES) -> None:
        self._peer, self._limit_bytes = peer, limit_bytes
        self._buffer = bytearray()
        self._at = self._depth = 0
        self._in_string = False

    def feed(self, data: bytes) -> Iterator[Object]:
        """The objects that `data` completes, to be consumed before the next call. Raises Malformed."""
        self._buffer += data
        while end := self._end_of_object():
            text = bytes(self._buffer[:end])
            del self._buffer[:end]
            self._at = 0
            yield self._parse(text)

    def clear(self) -> None:
        """Forget what has arrived: it may be long, and nobody wants the rest."""
        self._buffer.clear()
        self._at = self._depth = 0
        self._in_string = False

    def _end_of_object(self) -> int:
        """The length of the first object, or 0 while some of it is missing."""
        buffer = self._buffer
        if not self._depth:
            if leading := _SPACE.match(buffer):
                del buffer[: leading.end()]
            if buffer and buffer[0] != ord("{"):
                raise Malformed(self._peer, "a message that does not begin with {")
        while self._skip():
            match buffer[self._at : self._at + 1]:
                case b'"':
                    self._in_string = True
                case b"{" | b"[":
                    self._deepen()
                case _:
                    self._depth -= 1
            self._at += 1
            if not self._depth:
                self._check_length(self._at)
                return self._at
        self._check_length(len(buffer))
        return 0

    def _skip(self) -> bool:
        """Go on to the next bracket, or to a string that has not arrived in full; False when neither is there."""
        if self._in_string and not self._skip_string():
            return False
        if between := _WITHOUT_BRACKETS.match(self._buffer, self._at):
            self._at = between.end()
        return self._at < len(self._buffer)

    def _skip_string(self) -> bool:
        """Go on behind the string that began in an earlier chunk; False when it still has no end."""
        while found := _IN_STRING.search(self._buffer, self._at):
            self._at = found.end()
            if found[0] == b'"':
                self._in_string = False
                return True
            self._at += 1
        self._at = max(self._at, len(self._buffer))
        return False

    def _deepen(self) -> None:
        self._depth += 1
        if self._depth > MESSAGE_DEPTH:
            raise Malformed(self._peer, f"a message nested deeper than {MESSAGE_DEPTH} levels")

    def _check_length(self, length: int) -> None:
        if length > self._limit_bytes:
            raise Malformed(self._peer, f"a message longer than {self._limit_bytes} bytes")

    def _parse(self, text: bytes) -> Object:
        try:
            message: Object = json.loads(text.decode(), parse_constant=_refuse_constant)
            if b"\\u" in text:
                _check_text(message)
        except ValueError as error:
            raise Malformed(self._peer, f"a message that is no JSON ({error})"[:200]) from None
        return message


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not in JSON")


def _check_text(message: Object) -> None:
    """Raise ValueError when an escape stands for half a character (RFC 8259 section 8.2)."""
    json.dumps(message, ensure_ascii=False).encode()


Notified = Callable[[str, list[Json]], None]


class Peer:
    """One JSON-RPC session (RFC 7047 section 4); `name` stands for the peer in errors."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        name: str,
        notified: Notified,
        clock: Clock,
        *,
        probe_s: float = PROBE_S,
    ) -> None:
        self.name, self._clock = name, clock
        self._reader, self._writer, self._notified, self._probe_s = reader, writer, notified, probe_s
        self._splitter = Splitter(name)
        self._ids = itertools.count(1)
        self._calls: dict[str, tuple[str, asyncio.Future[Json], Callable[[Json], None]]] = {}
        self._gone = "it closed the connection"

    async def run(self) -> NoReturn:
        """Read, answer and probe until the connection ends. Raises Disconnected, Malformed."""
        try:
            while True:
                for message in self._splitter.feed(await self._read()):
                    self._take(message)
                async with Deadline(self._clock, 3 * self._probe_s):
                    await self._writer.drain()
        except (OSError, TimeoutError) as error:
            raise Disconnected(self.name, str(error) or "it does not read what it is sent") from error
        finally:
            self.close(self._gone)
            self._notified = _unheard

    async def call(
        self,
        method: str,
        params: Sequence[Json],
        within_s: float = ANSWER_S,
        take: Callable[[Json], None] = lambda _: None,
    ) -> Json:
        """The result of a request; `take` gets it first, before any later message of the peer is looked at.

        Raises OvsdbError when the peer refuses, Disconnected when it is gone or too slow.
        """
        id = str(next(self._ids))
        answer: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._calls[id] = (method, answer, take)
        try:
            self._send({"id": id, "method": method, "params": list(params)})
            async with Deadline(self._clock, within_s):
                return await answer
        except TimeoutError:
            raise Disconnected(self.name, f"no answer to {method} within {within_s:g} s") from None
        finally:
            self._calls.pop(id, None)

    async def transact(self, database: str, operations: Sequence[Object]) -> None:
        """Run operations as one transaction (RFC 7047 section 4.1.3).

        Raises OvsdbError when one of them or the commit fails, Disconnected, Malformed.
        """
        results = await self.call("transact", [database, *operations])
        if not isinstance(results, list):
            raise Malformed(self.name, "an answer to transact that is no list")
        for at, result in enumerate(results):
            if isinstance(result, dict) and result.get("error"):
                name = str(operations[at]["op"]) if at < len(operations) else "commit"
                raise OvsdbError(name, _brief(result["error"]), _brief(result.get("details", "")))

    def close(self, reason: str) -> None:
        """End the connection at once; `run` and all calls raise Disconnected with `reason`."""
        self._gone = reason
        self._writer.transport.abort()
        self._splitter.clear()
        for _, answer, _ in self._calls.values():
            if not answer.done():
                answer.set_exception(Disconnected(self.name, reason))

    async def _read(self) -> bytes:
        """What comes next; a peer that does not answer two probes is gone."""
        for _ in range(3):
            try:
                async with Deadline(self._clock, self._probe_s):
                    data = await self._reader.read(READ_BYTES)
            except TimeoutError:
                self._send({"id": "echo", "method": "echo", "params": []})
                continue
            if not data:
                raise Disconnected(self.name, self._gone)
            return data
        raise Disconnected(self.name, f"silent for {3 * self._probe_s:g} s")

    def _send(self, message: Object) -> None:
        if self._writer.transport.is_closing():
            raise Disconnected(self.name, self._gone)
        self._writer.write(json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode())

    def _take(self, message: Object) -> None:
        if "method" not in message:
            self._take_answer(message)
            return
        method, params = message["method"], message.get("params")
        if not isinstance(method, str) or not isinstance(params, list):
            raise Malformed(self.name, "a request without method and params")
        if message.get("id") is None:
            self._notified(method, params)
        elif method == "echo":
            self._send({"id": message["id"], "result": params, "error": None})
        else:
            self._send({"id": message["id"], "result": None, "error": "unknown method"})

    def _take_answer(self, message: Object) -> None:
        if "id" not in message or "result" not in message:
            raise Malformed(self.name, "a message that is neither request nor answer")
        method, answer, take = self._calls.get(str(message["id"]), (None, None, None))
        if method is None or answer is None or take is None or answer.done():
            return
        if error := message.get("error"):
            facts = error if isinstance(error, dict) else {"error": error}
            said = _brief(facts.get("error")), _brief(facts.get("details", ""))
            answer.set_exception(OvsdbError(method, *said))
            return
        take(message["result"])
        answer.set_result(message["result"])


def _unheard(method: str, params: list[Json]) -> None:
    """Whoever listened does not any more."""


def _brief(said: Json) -> str:
    """What a peer said, fit for one line of a log."""
    return " ".join(str(said).split())[:500]


Atom: TypeAlias = str | int | float | bool
Value: TypeAlias = "tuple[Atom, ...] | dict[str, str]"


@dataclass(frozen=True, slots=True)
class Row:
    """A row: each column is a tuple of its elements or a map of strings (RFC 7047 section 5.1).

    A reference is the uuid of the row it means; a column that is empty, or not monitored, is not kept. Accessors raise
    Malformed when a column is of another type.
    """

    uuid: str
    columns: Mapping[str, Value]

    def texts(self, column: str) -> tuple[str, ...]:
        """The strings or references of a set."""
        value = self.columns.get(column, ())
        if isinstance(value, dict):
            raise Malformed("The database", f"column {column} is a map")
        return tuple(map(str, value))

    def text(self, column: str) -> str:
        """The string or reference of a column, or "" when it is empty; an integer in decimal."""
        return next(iter(self.texts(column)), "")

    def map(self, column: str) -> Mapping[str, str]:
        """The map from string to string."""
        value = self.columns.get(column) or {}
        if not isinstance(value, dict):
            raise Malformed("The database", f"column {column} is no map")
        return value


class Replica:
    """The rows that a monitor shows, by table and uuid; `apply` keeps them up to date.

    `sets` are the columns that may hold several elements.
    """

    def __init__(self, watched: Mapping[str, Sequence[str]], sets: Collection[str] = ()) -> None:
        self._tables: dict[str, dict[str, Row]] = {table: {} for table in watched}
        self._sets = frozenset(sets)
        self._columns: dict[str, dict[Callable[[Row], object], dict[str, object]]] = {table: {} for table in watched}
        self._views: dict[tuple[str, ...], dict[tuple[object, Hashable], object]] = {}

    def rows(self, table: str) -> Mapping[str, Row]:
        """All rows of a table, by uuid."""
        return self._tables[table]

    def follow(self, table: str, references: Sequence[str]) -> list[Row]:
        """The rows that references mean, as far as they exist."""
        return [row for uuid in references if (row := self._tables[table].get(uuid)) is not None]

    def column(self, table: str, fn: Callable[[Row], T | None]) -> Mapping[str, T]:
        """`fn` of every row of a table, by uuid, but None; kept up to date as rows change."""
        columns = self._columns[table]
        if fn not in columns:
            found = ((uuid, fn(row)) for uuid, row in self._tables[table].items())
            columns[fn] = {uuid: value for uuid, value in found if value is not None}
        return cast("Mapping[str, T]", columns[fn])

    def once(self, fn: Callable[[Replica, str], T], tables: tuple[str, ...], given: str) -> T:
        """`fn` of this and `given`, worked out once for as long as the tables that it reads are what they are."""
        known = self._views.setdefault(tables, {})
        key = fn, given
        if key not in known:
            known[key] = fn(self, given)
        return cast("T", known[key])

    def apply(self, updates: Json) -> None:
        """Take in a `table-updates` object, initial or later (RFC 7047 section 4.1.6), or a `table-updates2` object
        (ovsdb-server(7), section 4.1.14). Raises Malformed.
        """
        for table, changed in _object(updates).items():
            rows = self._tables.get(table)
            if rows is None:
                raise Malformed("The database", f"an update of table {_brief(table)}, which nobody asked for")
            for uuid, change in _object(changed).items():
                row = self._changed(rows.get(uuid), _object(change))
                if row is None:
                    rows.pop(uuid, None)
                    for column in self._columns[table].values():
                        column.pop(uuid, None)
                else:
                    id = sys.intern(uuid)  # the object that references have, too: there are thousands
                    rows[id] = Row(id, row)
                    self._renew(table, rows[id])
            for tables, views in self._views.items():
                if table in tables:
                    views.clear()

    def _renew(self, table: str, row: Row) -> None:
        for fn, column in self._columns[table].items():
            value = fn(row)
            if value is None:
                column.pop(row.uuid, None)
            else:
                column[row.uuid] = value

    def _changed(self, old: Row | None, change: Object) -> Mapping[str, Value] | None:
        """The columns of a row after a change; None when it is gone."""
        difference = change.get("modify")
        if difference is None:
            new = next((value for key in ("new", "initial", "insert") if (value := change.get(key)) is not None), None)
            return None if new is None else _columns((column, _value(told)) for column, told in _object(new).items())
        if old is None:
            raise Malformed("The database", "a change of a row that it never told of")
        columns = dict(old.columns)
        for column, value in _object(difference).items():
            columns[column] = self._merged(column, columns.get(column, ()), _value(value))
        return _columns(columns.items())

    def _merged(self, column: str, old: Value, told: Value) -> Value:
        """A map or a set with what is told of it turned: what is there as it is told goes, and everything else comes.

        Of other columns their value is told.
        """
        if isinstance(told, dict):
            pairs = dict(old) if isinstance(old, dict) else {}
            for key, value in told.items():
                if pairs.get(key) == value:
                    del pairs[key]
                else:
                    pairs[key] = value
            return pairs
        if column not in self._sets or isinstance(old, dict):
            return told
        turned = dict.fromkeys(told)
        kept = [atom for atom in old if atom not in turned]
        if len(kept) < len(old):
            there = set(old)
            return (*kept, *(atom for atom in turned if atom not in there))
        return (*kept, *turned)


def _columns(told: Iterable[tuple[str, Value]]) -> dict[str, Value]:
    """Those that are not empty."""
    return {column: value for column, value in told if value}


def _object(value: Json) -> Object:
    if not isinstance(value, dict):
        raise Malformed("The database", "an update that is no object")
    return value


def _value(value: Json) -> Value:
    match value:
        case ["map", [*pairs]]:
            return dict(map(_pair, pairs))
        case ["set", [*atoms]]:
            return tuple(map(_atom, atoms))
        case _:
            return (_atom(value),)


def _pair(value: Json) -> tuple[str, str]:
    match value:
        case [str(key), str(mapped)]:
            return sys.intern(key), mapped
        case _:
            raise Malformed("The database", "a map of something else than strings")


def _atom(value: Json) -> Atom:
    match value:
        case ["uuid", str(uuid)]:
            return sys.intern(uuid)
        case str():
            return sys.intern(value)
        case int() | float():
            return value
        case _:
            raise Malformed("The database", "a value that is no atom")


def map_of(pairs: Mapping[str, str]) -> Json:
    """A map as RFC 7047 section 5.1 writes it."""
    written: list[Json] = [[key, value] for key, value in pairs.items()]
    return ["map", written]


def set_of(atoms: Sequence[Json]) -> Json:
    """A set as RFC 7047 section 5.1 writes it."""
    return ["set", list(atoms)]


def row_ref(uuid: str) -> Json:
    """A reference to a row that exists."""
    return ["uuid", uuid]


def new_ref(name: str) -> Json:
    """A reference to a row that the same transaction inserts as `name`."""
    return ["named-uuid", name]
