"""Hypervisors without a machine: each speaks OVSDB (RFC 7047) and OpenFlow 1.4, as Open vSwitch does, to a real `weft`.

Many live in one process of their own, which a benchmark steers through a pipe. A hypervisor's database connects; when
the controller has made the integration bridge there, the guests' interfaces are plugged in and the switch connects
to the controller that the database names. Each comes back by itself when the controller went away, with its tables.

A switch stores what it is sent as the bytes of its dumps and looks no further. Limits: it forwards nothing, refuses
nothing that is well-formed, has one controller and nobody who tampers with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import json
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from struct import Struct
from typing import Any, Final, TypeAlias, cast

import uvloop

from controller.southbound import messages as of
from tests.benchmarks.beside import Beside

RETRY_S: Final = 0.25
"""How long a connection that could not be made or broke waits before it is tried again."""
PROBE_S: Final = 5
"""After this much silence of the controller it is probed, and after as much again it is given up, as OVS does."""
PART_BYTES: Final = 60_000
"""How much of a dump one multipart reply holds."""


# What a benchmark says and hears ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Guest:
    """An interface, and the port whose it is."""

    interface: str
    port_id: str


@dataclass(frozen=True, slots=True)
class Spec:
    """A hypervisor: its name, its tunnel address, what is plugged into its bridge; `physical`: has it a gateway's wire?"""

    name: str
    encap_ip: str
    guests: tuple[Guest, ...]
    physical: bool = False


@dataclass(slots=True)
class Tally:
    """What all switches together hold, and what they did since the last `mark`.

    `touched` switches committed bundles; `sent_bytes` were received but for echoes and packet-outs; `given_up` connections were those
    of a controller that was silent for too long; `last` is when the last one answered a barrier or a dump
    (`time.monotonic`).
    """

    connected: int = 0
    flows: int = 0
    groups: int = 0
    flow_mods: int = 0
    group_mods: int = 0
    bundles: int = 0
    errors: int = 0
    sent_bytes: int = 0
    touched: int = 0
    given_up: int = 0
    last: float = 0.0


class Fakes(Beside):
    """A process full of hypervisors; use it as a context manager."""

    def __init__(self) -> None:
        super().__init__(_main)

    def join(self, specs: Sequence[Spec], ovsdb_port: int) -> None:
        """Have hypervisors join the controller that listens there for databases, all at once."""
        self._ask("join", tuple(specs), ovsdb_port)

    def plug(self, name: str, *guests: Guest) -> None:
        """Plug some interfaces more into a hypervisor, in one transaction of its database."""
        self._ask("plug", name, *guests)

    def unplug(self, name: str, *guests: Guest) -> None:
        """Take some interfaces out of a hypervisor, in one transaction of its database."""
        self._ask("unplug", name, *guests)

    def restart(self, name: str) -> None:
        """Break both connections of a hypervisor; its switch forgets all that it was told."""
        self._ask("restart", name)

    def mark(self) -> None:
        """Count from now on."""
        self._ask("mark")

    def tally(self) -> Tally:
        """All counts."""
        answer = self._ask("tally")
        if not isinstance(answer, Tally):
            raise TypeError(answer)
        return answer

    def _ask(self, *words: object) -> object:
        self._pipe.send(words)
        answer = self._pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer


# The database ----------------------------------------------------------------------------------------------------

Columns: TypeAlias = dict[str, Any]
"""A row: a map is a dict, everything else a list of atoms; `["uuid", X]` is an atom."""
Rows: TypeAlias = dict[str, dict[str, Columns]]

MAPS: Final = frozenset({"external_ids", "other_config", "options", "bfd"})
SETS: Final = frozenset({"datapath_types", "ports", "controller", "interfaces"})


def _parsed(value: Any) -> Any:
    match value:
        case ["map", pairs]:
            return dict(pairs)
        case ["set", atoms]:
            return list(atoms)
    return [value]


def _written(column: str, value: Any) -> Any:
    if column in MAPS:
        return ["map", [list(pair) for pair in (value or {}).items()]]
    return value[0] if value and len(value) == 1 else ["set", value or []]


class Failed(Exception):
    """Raised when an operation of a transaction fails: nothing of it happens then."""


class Database:
    """The tables of one hypervisor, and the operations of RFC 7047 section 5.2 that a controller needs.

    A row is never altered, only replaced: so a copy of the tables is cheap, and what changed is another object.
    """

    def __init__(self, root: Columns) -> None:
        self.rows: Rows = {"Open_vSwitch": {str(uuid.uuid4()): root}}

    def table(self, name: str) -> dict[str, Columns]:
        """All rows of a table."""
        return self.rows.setdefault(name, {})

    def snapshot(self) -> Rows:
        """All tables as they are now."""
        return {name: dict(rows) for name, rows in self.rows.items()}

    def insert(self, table: str, row: Columns) -> list[str]:
        """A new row; the reference to it."""
        id = str(uuid.uuid4())
        self.table(table)[id] = row
        return ["uuid", id]

    def set(self, table: str, id: str, **columns: Any) -> None:
        """Write some columns of a row."""
        self.table(table)[id] = {**self.table(table)[id], **columns}

    def transact(self, operations: Sequence[Mapping[str, Any]]) -> list[Any]:
        """All operations, or none; the results."""
        before = self.snapshot()
        names = {each["uuid-name"]: str(uuid.uuid4()) for each in operations if "uuid-name" in each}
        try:
            results = [self._operate(_resolved(each, names), names) for each in operations]
        except Failed as failure:
            self.rows = before
            return [{"error": str(failure)}]
        self.sweep()
        return results

    def sweep(self) -> None:
        """Remove ports and interfaces that nothing refers to, as ovsdb-server does at the end of a transaction."""
        for table, column, owned in (("Bridge", "ports", "Port"), ("Port", "interfaces", "Interface")):
            referred = {id for row in self.table(table).values() for _, id in _references(row.get(column))}
            for id in self.table(owned).keys() - referred:
                del self.table(owned)[id]

    def _operate(self, operation: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
        match operation["op"]:
            case "comment":
                return {}
            case "insert":
                id = names[operation["uuid-name"]]
                self.table(operation["table"])[id] = _columns(operation["row"])
                return {"uuid": ["uuid", id]}
        table = self.table(operation["table"])
        found = [*_where(table, operation["where"])]
        match operation["op"]:
            case "update":
                table.update({id: {**table[id], **_columns(operation["row"])} for id in found})
            case "mutate":
                table.update({id: _mutated(table[id], operation["mutations"]) for id in found})
            case "wait":
                seen = [{name: table[id].get(name, []) for name in operation["columns"]} for id in found]
                if seen != [_columns(each) for each in operation["rows"]]:
                    raise Failed("timed out")
            case other:
                raise Failed(f"unknown operation {other}")
        return {"count": len(found)}

    def changes(self, before: Rows, watched: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """A `table-updates2` object (ovsdb-server(7), 4.1.14): what differs from `before`, in the watched columns."""
        updates: dict[str, dict[str, Any]] = {}
        for table, columns in watched.items():
            old, new = before.get(table, {}), self.rows.get(table, {})
            if not old:
                ids: Iterable[str] = new
            elif not new:
                ids = old
            else:
                ids = [id for id in old.keys() | new.keys() if old.get(id) is not new.get(id)]
            for id in ids:
                if (change := _change(old.get(id), new.get(id), columns)) is not None:
                    updates.setdefault(table, {})[id] = change
        return updates


def _change(old: Columns | None, new: Columns | None, columns: Sequence[str]) -> dict[str, Any] | None:
    if new is None:
        return {"delete": None}
    if old is None:
        return {"insert": {name: _written(name, new[name]) for name in columns if new.get(name)}}
    differing = [name for name in columns if old.get(name) is not new.get(name) and old.get(name) != new.get(name)]
    return (
        {"modify": {name: _difference(name, old.get(name), new.get(name)) for name in differing}} if differing else None
    )


def _difference(column: str, old: Any, new: Any) -> Any:
    """What is told of a column: the elements of a set, or the pairs of a map, that are in one alone."""
    if column in MAPS:
        old, new = old or {}, new or {}
        turned = {key: value for key, value in new.items() if old.get(key) != value}
        return _written(column, turned | {key: value for key, value in old.items() if key not in new})
    if column not in SETS:
        return _written(column, new)
    before, after = {str(each): each for each in old or []}, {str(each): each for each in new or []}
    return _written(column, [(before | after)[each] for each in before.keys() ^ after.keys()])


def _where(table: Mapping[str, Columns], conditions: Sequence[Any]) -> Iterator[str]:
    for id, row in table.items():
        facts = {**row, "_uuid": [["uuid", id]]}
        if all(function == "==" and facts.get(column) == _parsed(value) for column, function, value in conditions):
            yield id


def _references(value: Any) -> Any:
    """The references of a column: one by itself is no list of them."""
    return [value] if value and value[0] == "uuid" else value or ()


def _columns(row: Mapping[str, Any]) -> Columns:
    return {name: _parsed(value) for name, value in row.items()}


def _resolved(value: Any, names: Mapping[str, str]) -> Any:
    match value:
        case ["named-uuid", name]:
            return ["uuid", names[name]]
        case list():
            return [_resolved(each, names) for each in value]
        case dict():
            return {key: _resolved(each, names) for key, each in value.items()}
    return value


def _mutated(row: Columns, mutations: Sequence[Any]) -> Columns:
    row = dict(row)
    for column, mutator, value in mutations:
        given = _parsed(value)
        if column in MAPS and mutator == "insert":
            row[column] = {**given, **row.get(column, {})}
        elif column in MAPS:
            row[column] = {key: each for key, each in row.get(column, {}).items() if key not in given}
        else:
            kept = [each for each in row.get(column, []) if each not in given]
            row[column] = kept + (given if mutator == "insert" else [])
    return row


# The switch --------------------------------------------------------------------------------------------------------

_HEADER: Final = Struct("!BBHI")
_MULTIPART: Final = Struct("!HH4x")
_FEATURES: Final = Struct("!QIBB2xI4x")
_PORT: Final = Struct("!IH2x6s2x16sII")
_ETHERNET: Final = Struct("!HH4xIIIIII")
_FLOW_MOD: Final = Struct("!8xQ8xBB4xH16xHH")
_MATCH_AT: Final = 48
_FLOW_STATS: Final = Struct("!HBx8xH10xQ16x")
_GROUP_MOD: Final = Struct("!8xHBxI")
_GROUP_DESC: Final = Struct("!HBxI")
_CONTROL: Final = Struct("!IHH")
_ABBREVIATED: Final = Struct("!HHI")
_ADDED_AT: Final = 16
"""Where the message in a bundle-add message begins."""

_ADD: Final = 0
_DELETE_STRICT: Final = 4
_GROUP_DELETE: Final = 2

_shared: dict[bytes, bytes] = {}
"""Many switches hold the same flow: one copy of its bytes serves all."""


class Refused(Exception):
    """Raised when a message is not understood; `type` and `code` are those of OpenFlow 1.4.1 section 7.5.4."""

    def __init__(self, type: int, code: int) -> None:
        super().__init__(of.error_name(type, code))
        self.type, self.code = type, code


class Tables:
    """The flows and groups of one switch, each as the bytes of its entry in a dump."""

    def __init__(self) -> None:
        self.flows: dict[bytes, bytes] = {}
        self.groups: dict[int, bytes] = {}
        self.flow_mods = self.group_mods = 0

    def change(self, message: bytes) -> None:
        """Do what a flow-mod or a group-mod says. Raises Refused."""
        match message[1]:
            case of.OFPT_FLOW_MOD:
                self._change_flow(message)
            case of.OFPT_GROUP_MOD:
                self._change_group(message)
            case _:
                raise Refused(17, 10)  # OFPBFC_MSG_UNSUP

    def _change_flow(self, message: bytes) -> None:
        cookie, table, command, priority, _, _ = _FLOW_MOD.unpack_from(message)
        length = int.from_bytes(message[_MATCH_AT + 2 : _MATCH_AT + 4])
        key = message[24:25] + message[30:32] + message[_MATCH_AT : _MATCH_AT + (length + 7 & ~7)]
        self.flow_mods += 1
        if command == _ADD:
            body = message[_MATCH_AT:]
            entry = _FLOW_STATS.pack(_FLOW_STATS.size + len(body), table, priority, cookie) + body
            self.flows[_shared.setdefault(key, key)] = _shared.setdefault(entry, entry)
        elif command == _DELETE_STRICT:
            self.flows.pop(key, None)
        else:
            raise Refused(5, 6)  # OFPFMFC_BAD_COMMAND

    def _change_group(self, message: bytes) -> None:
        command, kind, id = _GROUP_MOD.unpack_from(message)
        self.group_mods += 1
        if command == _GROUP_DELETE:
            self.groups.pop(id, None)
        else:
            buckets = message[16:]
            entry = _GROUP_DESC.pack(_GROUP_DESC.size + len(buckets), kind, id) + buckets
            self.groups[id] = _shared.setdefault(entry, entry)


class Link(asyncio.Protocol, ABC):
    """A connection to the controller."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._silent_s = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None

    def write(self, data: bytes) -> None:
        """Send something, if there is anybody to send it to."""
        if self._transport is not None:
            self._transport.write(data)

    def hang_up(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.abort()

    @abstractmethod
    def echo(self) -> None:
        """Ask whether the controller is there."""

    def probe(self) -> bool:
        """To be called every second: ask a controller that is silent whether it is there; whether it is given up.

        Calls are counted, not the time: when this process is late, that is not the controller's silence.
        """
        if self._transport is None:
            return False
        self._silent_s += 1
        if self._silent_s == PROBE_S:
            self.echo()
        if self._silent_s > 2 * PROBE_S:
            self._transport.abort()
        return self._silent_s > 2 * PROBE_S

    def heard(self) -> None:
        """The controller said something."""
        self._silent_s = 0


class Switch(Link):
    """One OpenFlow connection of a hypervisor."""

    def __init__(self, hypervisor: Hypervisor) -> None:
        super().__init__()
        self._hypervisor, self._tables = hypervisor, hypervisor.tables
        self._rest = b""
        self._bundles: dict[int, list[bytes]] = {}
        self._monitored = False

    # asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._hypervisor.switch = self
        self.write(of.hello(0))

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._hypervisor.switch_lost(self)

    def data_received(self, data: bytes) -> None:
        self.heard()
        data = self._rest + data if self._rest else data
        at, end = 0, len(data)
        while at + 8 <= end:
            after = at + int.from_bytes(data[at + 2 : at + 4])
            if after > end:
                break
            if data[at + 1] == of.OFPT_BUNDLE_ADD_MESSAGE:
                self._bundles[int.from_bytes(data[at + 8 : at + 12])].append(data[at + _ADDED_AT : after])
                self._hypervisor.counts.sent_bytes += after - at
            else:
                self._take(data[at:after])
            at = after
        self._rest = data[at:]

    # What it says

    def echo(self) -> None:
        self._send(of.OFPT_ECHO_REQUEST, 0)

    def tell_port(self, name: str, number: int, *, gone: bool = False) -> None:
        """Say that there is one port more, or less (section 7.4.3)."""
        self._send(of.OFPT_PORT_STATUS, 0, bytes([gone]) + bytes(7) + _port(name, number))

    def _send(self, kind: int, xid: int, body: bytes = b"") -> None:
        self.write(_HEADER.pack(of.VERSION, kind, 8 + len(body), xid) + body)

    def _take(self, message: bytes) -> None:
        _, kind, length, xid = _HEADER.unpack_from(message)
        if kind == of.OFPT_ECHO_REQUEST:
            self._send(of.OFPT_ECHO_REPLY, xid, message[8:])
            return
        if kind in (of.OFPT_ECHO_REPLY, of.OFPT_PACKET_OUT):
            return  # a sign of life, or a frame that finds the way to a peer: no change
        self._hypervisor.counts.sent_bytes += length
        try:
            self._answer(kind, xid, message)
        except Refused as refusal:
            self._hypervisor.counts.errors += 1
            self._send(of.OFPT_ERROR, xid, refusal.type.to_bytes(2) + refusal.code.to_bytes(2) + message[:64])

    def _answer(self, kind: int, xid: int, message: bytes) -> None:
        match kind:
            case of.OFPT_HELLO | of.OFPT_ERROR | of.OFPT_SET_ASYNC | of.OFPT_SET_CONFIG | of.OFPT_EXPERIMENTER:
                pass  # nobody else changes a group here, no fragment comes, and no connection is tracked
            case of.OFPT_FEATURES_REQUEST:
                features = _FEATURES.pack(self._hypervisor.datapath_id, 0, 254, 0, 0x4F)
                self._send(of.OFPT_FEATURES_REPLY, xid, features)
            case of.OFPT_BARRIER_REQUEST:
                self._send(of.OFPT_BARRIER_REPLY, xid)
                self._hypervisor.counts.last = time.monotonic()
            case of.OFPT_MULTIPART_REQUEST:
                self._describe(xid, int.from_bytes(message[8:10]))
            case of.OFPT_BUNDLE_CONTROL:
                self._control(xid, *_CONTROL.unpack_from(message, 8))
            case of.OFPT_FLOW_MOD | of.OFPT_GROUP_MOD:
                self._tables.change(message)
                self._hypervisor.counts.touched = 1
            case _:
                raise Refused(1, 1)  # OFPBRC_BAD_TYPE

    def _describe(self, xid: int, kind: int) -> None:
        match kind:
            case of.OFPMP_PORT_DESC:
                entries: Iterable[bytes] = (_port(*each) for each in self._hypervisor.ofports.items())
            case of.OFPMP_FLOW:
                entries = self._tables.flows.values()
            case of.OFPMP_GROUP_DESC:
                entries = self._tables.groups.values()
            case of.OFPMP_FLOW_MONITOR:
                entries, self._monitored = (), True
            case _:
                raise Refused(1, 2)  # OFPBRC_BAD_MULTIPART
        parts = [*_parts(entries)]
        for part in parts[:-1]:
            self._send(of.OFPT_MULTIPART_REPLY, xid, _MULTIPART.pack(kind, of.OFPMPF_REPLY_MORE) + part)
        self._send(of.OFPT_MULTIPART_REPLY, xid, _MULTIPART.pack(kind, 0) + parts[-1])
        self._hypervisor.counts.last = time.monotonic()

    def _control(self, xid: int, bundle: int, kind: int, _: int) -> None:
        match kind:
            case of.OFPBCT_OPEN_REQUEST:
                self._bundles[bundle] = []
            case of.OFPBCT_COMMIT_REQUEST:
                self._commit(xid, self._bundles.pop(bundle))
            case _:
                raise Refused(17, 6)  # OFPBFC_BAD_TYPE
        self._send(of.OFPT_BUNDLE_CONTROL, xid, _CONTROL.pack(bundle, kind + 1, 0))

    def _commit(self, xid: int, messages: Sequence[bytes]) -> None:
        """Do all that is in a bundle; of its own controller's doing a flow monitor says in one line that it is done."""
        for message in messages:
            self._tables.change(message)
        self._hypervisor.counts.bundles += 1
        self._hypervisor.counts.touched = 1
        if self._monitored:
            update = _ABBREVIATED.pack(_ABBREVIATED.size, of.OFPFME_ABBREV, xid)
            self._send(of.OFPT_MULTIPART_REPLY, 0, _MULTIPART.pack(of.OFPMP_FLOW_MONITOR, 0) + update)


def _port(name: str, number: int) -> bytes:
    """Section 7.2.1: a port, up, with an Ethernet property."""
    mac = b"\x0e\x00" + number.to_bytes(4)
    length = _PORT.size + _ETHERNET.size
    return _PORT.pack(number, length, mac, name.encode(), 0, 0) + _ETHERNET.pack(0, _ETHERNET.size, 0, 0, 0, 0, 0, 0)


def _parts(entries: Iterable[bytes]) -> Iterator[bytes]:
    """Entries joined to multipart payloads; one at least."""
    part: list[bytes] = []
    size = 0
    for entry in entries:
        if size + len(entry) > PART_BYTES and part:
            yield b"".join(part)
            part, size = [], 0
        part.append(entry)
        size += len(entry)
    yield b"".join(part)


# The hypervisor ----------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Hypervisor:
    """One hypervisor: its database, its switch and their connections."""

    spec: Spec
    database: Database = field(init=False)
    tables: Tables = field(default_factory=Tables)
    counts: Tally = field(default_factory=Tally)
    ofports: dict[str, int] = field(default_factory=dict)
    datapath_id: int = 0
    switch: Switch | None = None
    target: tuple[str, int] | None = None
    session: Session | None = None
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _up: asyncio.Event = field(default_factory=asyncio.Event)
    _down: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        keys = {
            "system-id": self.spec.name,
            "hostname": f"{self.spec.name}.example",
            "weft-encap-ip": self.spec.encap_ip,
            "weft-encap-type": "vxlan,geneve",
            "weft-datapath-type": "netdev",
        }
        self.database = Database({"external_ids": keys, "datapath_types": ["netdev", "system"]})
        if self.spec.physical:
            keys |= {"weft-bridge-mappings": "physnet1:br-ex", "weft-gateway-priority": "10"}
            self.database.insert("Bridge", {"name": ["br-ex"], "datapath_type": ["netdev"], "ports": []})

    @property
    def bridge(self) -> str | None:
        """The row of the integration bridge, once the controller has made it."""
        bridges = self.database.table("Bridge").items()
        return next((id for id, row in bridges if row["name"] == ["br-int"]), None)

    def realise(self) -> None:
        """Do what ovs-vswitchd does after a change of its database; and plug the guests in as soon as they can be."""
        if self.bridge is None:
            return
        if not self.datapath_id:
            for guest in self.spec.guests:
                self._plug(self.bridge, guest)
            datapath_id = self.database.table("Bridge")[self.bridge]["other_config"]["datapath-id"]
            self.database.set("Bridge", self.bridge, datapath_id=[datapath_id])
            self.datapath_id = int(datapath_id, 16)
        for row in self.database.table("Interface").values():
            self._number(row["name"][0])
        self._aim(self.database.table("Bridge")[self.bridge])

    def _aim(self, bridge: Columns) -> None:
        """Take the controller's address from the database."""
        for _, id in bridge["controller"]:
            target = self.database.table("Controller")[id]["target"][0]
            host, _, port = target.removeprefix("tcp:").rpartition(":")
            self.target = host, int(port)
            self._up.set()

    def plug(self, guests: Sequence[Guest]) -> None:
        """Plug guests in, for both connections to tell."""
        if self.bridge is None or self.session is None or self.switch is None:
            raise LookupError(f"{self.spec.name} is not connected")
        before = self.database.snapshot()
        for guest in guests:
            self._plug(self.bridge, guest)
        self.session.tell(before)
        for guest in guests:
            self.switch.tell_port(guest.interface, self._number(guest.interface))

    def unplug(self, guests: Sequence[Guest]) -> None:
        """Take guests out, for the connections that there are to tell."""
        before = self.database.snapshot()
        for guest in guests:
            self._unplug(guest.interface)
        self.database.sweep()
        if self.session is not None:
            self.session.tell(before)
        for guest in guests:
            number = self.ofports.pop(guest.interface)
            if self.switch is not None:
                self.switch.tell_port(guest.interface, number, gone=True)

    def _unplug(self, interface: str) -> None:
        for bridge, row in self.database.table("Bridge").items():
            gone = [id for _, id in row["ports"] if self.database.table("Port")[id]["name"] == [interface]]
            if gone:
                self.database.set("Bridge", bridge, ports=[each for each in row["ports"] if each[1] not in gone])

    def restart(self) -> None:
        """Both connections end; the tables are empty."""
        self.tables = Tables()
        for link in (self.session, self.switch):
            if link is not None:
                link.hang_up()

    def _plug(self, bridge: str, guest: Guest) -> None:
        ids = {"iface-id": guest.port_id}
        interface = self.database.insert("Interface", {"name": [guest.interface], "external_ids": ids})
        port = self.database.insert("Port", {"name": [guest.interface], "interfaces": [interface]})
        ports = self.database.table("Bridge")[bridge]["ports"]
        self.database.set("Bridge", bridge, ports=[*ports, port])

    def _number(self, interface: str) -> int:
        if interface not in self.ofports:
            self.ofports[interface] = of.OFPP_LOCAL if interface == "br-int" else next(self._numbers)
        return self.ofports[interface]

    def switch_lost(self, switch: Switch) -> None:
        """Its connection ended."""
        if self.switch is switch:
            self.switch = None
        self._down.set()

    async def keep_database(self, port: int) -> None:
        """Connect the database, again and again."""
        while True:
            session = self.session = Session(self)
            if await _connected(session, "127.0.0.1", port):
                await session.ended.wait()
            await asyncio.sleep(RETRY_S)

    async def keep_switch(self) -> None:
        """Connect the switch, again and again, once there is a controller to connect it to."""
        await self._up.wait()
        while True:
            self._down.clear()
            if self.target is not None and await _connected(Switch(self), *self.target):
                await self._down.wait()
            await asyncio.sleep(RETRY_S)


async def _connected(protocol: asyncio.Protocol, host: str, port: int) -> bool:
    try:
        await asyncio.get_running_loop().create_connection(lambda: protocol, host, port)
    except OSError:
        return False
    return True


class Session(Link):
    """One connection of a hypervisor's database: JSON-RPC 1.0 (RFC 7047 section 4)."""

    def __init__(self, hypervisor: Hypervisor) -> None:
        super().__init__()
        self.ended = asyncio.Event()
        self._hypervisor, self._database = hypervisor, hypervisor.database
        self._text = ""
        self._monitor: Any = None
        self._watched: dict[str, list[str]] = {}

    # asyncio calls these

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self.ended.set()

    def data_received(self, data: bytes) -> None:
        self.heard()
        self._text += data.decode()
        decoder = json.JSONDecoder()
        while self._text:
            try:
                message, end = decoder.raw_decode(self._text)
            except json.JSONDecodeError:
                return  # not all of it is here
            self._text = self._text[end:]
            self._take(message)

    # What it says

    def echo(self) -> None:
        self._send({"id": "echo", "method": "echo", "params": []})

    def tell(self, before: Rows) -> None:
        """Notify of what changed since `before` (ovsdb-server(7), 4.1.14)."""
        updates = self._database.changes(before, self._watched)
        if updates:
            self._send({"id": None, "method": "update2", "params": [self._monitor, updates]})

    def _send(self, message: Mapping[str, Any]) -> None:
        self.write(json.dumps(message).encode())

    def _take(self, message: Mapping[str, Any]) -> None:
        match message:
            case {"method": "echo", "id": id, "params": params}:
                self._reply(id, params)
            case {"method": "monitor_cond", "id": id, "params": [_, monitor, tables]}:
                self._monitor = monitor
                self._watched = {table: wanted["columns"] for table, wanted in tables.items()}
                self._reply(id, self._database.changes({}, self._watched))
            case {"method": "transact", "id": id, "params": [_, *operations]}:
                before = self._database.snapshot()
                self._reply(id, self._database.transact(operations))
                self.tell(before)
                before = self._database.snapshot()
                self._hypervisor.realise()
                self.tell(before)
            case {"method": method, "id": id} if id is not None:
                self._send({"id": id, "result": None, "error": f"unknown method {method}"})

    def _reply(self, id: object, result: object) -> None:
        self._send({"id": id, "result": result, "error": None})


# The process -------------------------------------------------------------------------------------------------------


class _Farm:
    """All hypervisors of this process, and what they are told to do."""

    def __init__(self) -> None:
        self._hypervisors: dict[str, Hypervisor] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def obey(self, words: tuple[Any, ...]) -> object:
        """Carry out one request of `Fakes`."""
        match words:
            case ("join", specs, port):
                for spec in specs:
                    self._join(Hypervisor(spec), port)
            case ("plug", name, *guests):
                self._hypervisors[name].plug(guests)
            case ("unplug", name, *guests):
                self._hypervisors[name].unplug(guests)
            case ("restart", name):
                self._hypervisors[name].restart()
            case ("mark",):
                for each in self._hypervisors.values():
                    each.counts = Tally()
                    each.tables.flow_mods = each.tables.group_mods = 0
            case ("tally",):
                return self._tally()
        return None

    async def probe(self) -> None:
        """Look after all connections, for ever."""
        while True:
            await asyncio.sleep(1)
            for each in self._hypervisors.values():
                for link in (each.session, each.switch):
                    each.counts.given_up += link is not None and link.probe()

    def _join(self, hypervisor: Hypervisor, port: int) -> None:
        self._hypervisors[hypervisor.spec.name] = hypervisor
        for chore in (hypervisor.keep_database(port), hypervisor.keep_switch()):
            self._tasks.add(asyncio.get_running_loop().create_task(chore))

    def _tally(self) -> Tally:
        total = Tally()
        for each in self._hypervisors.values():
            total.connected += each.switch is not None
            total.flows += len(each.tables.flows)
            total.groups += len(each.tables.groups)
            total.flow_mods += each.tables.flow_mods
            total.group_mods += each.tables.group_mods
            total.bundles += each.counts.bundles
            total.errors += each.counts.errors
            total.sent_bytes += each.counts.sent_bytes
            total.touched += each.counts.touched
            total.given_up += each.counts.given_up
            total.last = max(total.last, each.counts.last)
        return total


def _main(pipe: Connection) -> None:
    """The process: it ends when the pipe does."""
    gc.disable()  # nothing here is garbage in circles, and a pause here would be counted as the controller's
    uvloop.run(_serve(pipe))


async def _serve(pipe: Connection) -> None:
    farm = _Farm()
    async with asyncio.TaskGroup() as chores:
        probing = chores.create_task(farm.probe())
        with contextlib.suppress(EOFError):
            while True:
                pipe.send(_answer(farm, await asyncio.to_thread(pipe.recv)))
        probing.cancel()


def _answer(farm: _Farm, words: tuple[Any, ...]) -> object:
    try:
        return farm.obey(words)
    except Exception as error:  # whoever asked is told
        return error
