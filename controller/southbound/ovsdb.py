"""Hypervisors join: their databases connect here, say who they are and whose guests they carry, and are set up.

A hypervisor's `ovsdb-server` connects after `ovs-vsctl set-manager`. After every change of its database, however
many rows it touches, everything is looked at anew, and nothing is remembered of how it came about:

    database ── read() ──> Hypervisor ──> observer          what it says of itself, when that is news
             ── amend() ─> operations ──> one transaction   what is not as wanted, when anything is not

Weft owns the integration bridge, that bridge's one controller and its tunnel ports (marked `owner=weft`), and writes
nothing else: no key of the host, no other bridge. The controller's row changes in place and stays when Weft
stops: the first controller added to a bridge and the last one removed flush its flows (OVS, ofproto/connmgr.c).

A database that is wrong, refuses, fights back or talks nonsense is a sentence in the log and in `Session.trouble`,
and nothing to any other. Limits: no TLS; IPv4 tunnels; no patch ports to the bridges of `weft-bridge-mappings` yet.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import NoReturn, Protocol

import netaddr

from controller.errors import Disconnected, OvsdbError, SouthboundError, WeftError
from controller.flows.pipeline import TUNNEL_PORTS
from controller.model.bindings import Claim, Hypervisor
from controller.model.records import Address
from controller.southbound.jsonrpc import (
    PROBE_S,
    Json,
    Object,
    Peer,
    Replica,
    Row,
    map_of,
    new_ref,
    row_ref,
    set_of,
)

log = logging.getLogger(__name__)

WATCHED: Mapping[str, tuple[str, ...]] = {
    "Open_vSwitch": ("datapath_types", "external_ids"),
    "Bridge": ("name", "ports", "datapath_id", "datapath_type", "fail_mode", "controller", "other_config"),
    "Controller": ("target", "inactivity_probe", "max_backoff", "connection_mode", "external_ids"),
    "Port": ("name", "interfaces", "external_ids"),
    "Interface": ("name", "type", "options", "external_ids", "error"),
}
"""What is monitored of a database, by table (ovs-vswitchd.conf.db(5)); nothing that changes by itself."""

OWNER = "weft"
CONTROLLER: Mapping[str, Json] = {
    "inactivity_probe": 5000,
    "max_backoff": 1000,
    "connection_mode": "out-of-band",
}
"""Every controller's columns; milliseconds. The backoff decides how soon a restarted switch is back."""

UNREACHABLE = netaddr.IPSet(["0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3"])
"""No tunnel comes from elsewhere to these (RFC 6890 section 2.2.2)."""

UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
"""A refusal names rows that are new each time; without them, the same refusal is the same sentence."""

TAKEOVER_PROBE_S = 2.0
"""How long a connection has to prove that it is alive when another one claims its system-id."""
REFUSED_S = 60.0
"""How long a refused connection is shown after its last attempt; `ovsdb-server` tries every 8 s at least."""
SHOWN = 100
"""No list of strangers is longer."""


# What a database says ------------------------------------------------------------------------------------------


class _Keys:
    """The keys in `Open_vSwitch.external_ids`, read with a sentence for each that is missing or senseless."""

    def __init__(self, database: Replica) -> None:
        roots = iter(database.rows("Open_vSwitch").values())
        self.root = next(roots, Row("", {}))
        self._keys = self.root.map("external_ids")
        self.problems: list[str] = []

    def get(self, key: str) -> str | None:
        return self._keys.get(key)

    def fault(self, key: str, why: str, mend: str) -> None:
        """Note that `key` cannot be used, and a value that could."""
        command = f"ovs-vsctl set Open_vSwitch . external_ids:{key}={mend}"
        self.problems.append(f"external_ids:{key} {why}: run `{command}` on the hypervisor.")


def read_system_id(database: Replica) -> tuple[str, str]:
    """A hypervisor's name, or "" and one sentence on why it has none."""
    keys = _Keys(database)
    value = keys.get("system-id")
    if value is None:
        keys.fault("system-id", "is not set, so this hypervisor has no name", "NAME")
    elif not re.fullmatch(r"[!-.0-~]{1,255}", value):
        keys.fault("system-id", f"is {_shown(value)}, which is no name without spaces and slashes", "NAME")
    else:
        return value, ""
    return "", keys.problems[0]


def read(database: Replica, system_id: str) -> Hypervisor:
    """What the database of a hypervisor says of it; `problem` names each key to mend, with the command."""
    keys = _Keys(database)
    bridge_name = _read_bridge(keys)
    bridge = _bridge(database, bridge_name)
    datapath_id = bridge.text("datapath_id") if bridge else ""
    return Hypervisor(
        system_id=system_id,
        hostname=keys.get("hostname") or "",
        encap_ip=_read_encap_ip(keys),
        encap_types=_read_encap_types(keys),
        bridge=bridge_name,
        datapath_type=_read_datapath_type(keys, bridge),
        bridge_mappings=_read_bridge_mappings(keys, bridge_name),
        gateway_priority=_read_gateway_priority(keys),
        datapath_id=int(datapath_id, 16) if re.fullmatch(r"[0-9a-f]{16}", datapath_id) else None,
        claims=tuple(_claims(database, bridge)),
        problem=" ".join(keys.problems),
    )


def _read_encap_ip(keys: _Keys) -> Address | None:
    value, mend = keys.get("weft-encap-ip"), "ITS-UNDERLAY-ADDRESS"
    if value is None:
        keys.fault("weft-encap-ip", "is not set, so no tunnel can end here", mend)
        return None
    try:
        address = netaddr.IPAddress(value.strip())
    except (netaddr.AddrFormatError, ValueError):
        keys.fault("weft-encap-ip", f"is {_shown(value)}, which is no IP address", mend)
        return None
    if address.version != 4:
        keys.fault("weft-encap-ip", f"is {address}, but tunnels run over IPv4 only", mend)
        return None
    if address in UNREACHABLE:
        keys.fault("weft-encap-ip", f"is {address}, which no other hypervisor can send to", mend)
        return None
    return Address(str(address))


def _read_encap_types(keys: _Keys) -> tuple[str, ...]:
    value, known = keys.get("weft-encap-type"), ",".join(sorted(TUNNEL_PORTS))
    words = tuple(dict.fromkeys(word for part in (value or "").split(",") if (word := part.strip())))
    if not words:
        keys.fault("weft-encap-type", "is not set, so no tunnel can end here", known)
    if unknown := [word for word in words if word not in TUNNEL_PORTS]:
        which = " and ".join(map(_shown, unknown))
        keys.fault("weft-encap-type", f"names {which}, but the known encapsulations are {known}", known)
    return tuple(word for word in words if word in TUNNEL_PORTS)


def _read_bridge(keys: _Keys) -> str:
    value = keys.get("weft-bridge") or "br-int"
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}", value):
        return value
    keys.fault("weft-bridge", f"is {_shown(value)}, which no bridge can be called", "br-int")
    return "br-int"


def _read_datapath_type(keys: _Keys, bridge: Row | None) -> str:
    """The type that is asked for, else the one that the bridge has, else Open vSwitch's default."""
    value, present = keys.get("weft-datapath-type"), bridge.text("datapath_type") if bridge else ""
    offered = keys.root.texts("datapath_types")
    wanted = value or present or "system"
    if value and value not in ("system", "netdev"):
        keys.fault("weft-datapath-type", f"is {_shown(value)}, neither system nor netdev", "system")
        return present or "system"
    if offered and wanted not in offered:
        mend = "system" if "system" in offered else "netdev"
        keys.fault("weft-datapath-type", f"means {wanted}, which Open vSwitch does not offer here", mend)
    return wanted


def _read_bridge_mappings(keys: _Keys, integration: str) -> tuple[tuple[str, str], ...]:
    value, mend = keys.get("weft-bridge-mappings") or "", "physnet1:br-ex"
    mappings: dict[str, str] = {}
    for part in filter(None, map(str.strip, value.split(","))):
        network, _, bridge = part.partition(":")
        if not network or not bridge or bridge == integration or network in mappings:
            why = f"contains {_shown(part)}, which maps no further network to a bridge of its own"
            keys.fault("weft-bridge-mappings", why, mend)
            return ()
        mappings[network] = bridge
    return tuple(sorted(mappings.items()))


def _read_gateway_priority(keys: _Keys) -> int | None:
    value = keys.get("weft-gateway-priority")
    if not value:
        return None
    if re.fullmatch(r"[0-9]{1,5}", value) and int(value) <= 0xFFFF:
        return int(value)
    keys.fault("weft-gateway-priority", f"is {_shown(value)}, which is no number from 0 to 65535", "100")
    return None


def _claims(database: Replica, bridge: Row | None) -> Iterator[Claim]:
    """The interfaces on the bridge that say whose they are, by name (OVS, topics/integration.rst)."""
    for interface in sorted(_interfaces(database, bridge), key=lambda row: row.text("name")):
        ids = interface.map("external_ids")
        if port_id := ids.get("iface-id"):
            yield Claim(interface.text("name"), port_id, _mac(ids.get("attached-mac", "")))


def _mac(value: str) -> str:
    """A MAC as records write it; "" for what is none, since the claim does not depend on it."""
    try:
        return str(netaddr.EUI(value, version=48, dialect=netaddr.mac_unix_expanded))
    except (netaddr.AddrFormatError, ValueError):
        return ""


def _bridge(database: Replica, name: str) -> Row | None:
    return next((row for row in database.rows("Bridge").values() if row.text("name") == name), None)


def _interfaces(database: Replica, bridge: Row | None) -> list[Row]:
    ports = database.follow("Port", bridge.texts("ports")) if bridge else []
    return [row for port in ports for row in database.follow("Interface", port.texts("interfaces"))]


def _shown(value: str) -> str:
    """What somebody else wrote, quoted and short enough for a sentence."""
    return repr(value if len(value) <= 60 else value[:57] + "...")


# What a database should say ------------------------------------------------------------------------------------


def amend(database: Replica, seen: Hypervisor, target: str) -> list[Object]:
    """The operations, for one transaction, that make the database of a hypervisor right; none when it is.

    A hypervisor with a problem is left as it is. The transaction fails if the bridge or its controllers are no
    longer those that were looked at.
    """
    if seen.problem:
        return []
    bridge = _bridge(database, seen.bridge)
    change = _Change(database, seen, bridge)
    change.controller(target)
    change.tunnels()
    change.settings()
    return change.operations()


@dataclass(slots=True)
class _Change:
    """Gathers what differs: rows to insert or update, and what of it the bridge is to refer to."""

    database: Replica
    seen: Hypervisor
    bridge: Row | None
    rows: list[Object] = field(default_factory=list)
    columns: Object = field(default_factory=dict)
    config: dict[str, str] = field(default_factory=dict)
    new_ports: list[Json] = field(default_factory=list)
    old_ports: list[Json] = field(default_factory=list)

    def controller(self, target: str) -> None:
        """Exactly one controller; of several rows the likeliest is changed in place and stays."""
        wanted: Object = {"target": target, **CONTROLLER}
        rows = self.database.follow("Controller", self.bridge.texts("controller")) if self.bridge else []
        if not rows:
            self._insert("Controller", {**wanted, "external_ids": map_of({"owner": OWNER})}, "controller")
            self.columns["controller"] = new_ref("controller")
            return
        kept = min(rows, key=lambda row: (row.text("target") != target, not _ours(row), row.uuid))
        if any(kept.text(column) != str(value) for column, value in wanted.items()):
            self._update("Controller", kept, wanted)
        if len(rows) > 1:
            self.columns["controller"] = row_ref(kept.uuid)

    def tunnels(self) -> None:
        """One flow-based port for each encapsulation; of the others, those that are ours go."""
        wanted = {TUNNEL_PORTS[type]: type for type in self.seen.encap_types}
        here = self.database.follow("Port", self.bridge.texts("ports")) if self.bridge else []
        present = {port.text("name"): port for port in here}
        for name, type in wanted.items():
            self._tunnel(name, type, present.get(name))
        self.old_ports += [row_ref(port.uuid) for name, port in present.items() if _ours(port) and name not in wanted]

    def _tunnel(self, name: str, type: str, port: Row | None) -> None:
        options = {"remote_ip": "flow", "key": "flow", "local_ip": str(self.seen.encap_ip)}
        interface: Object = {"type": type, "options": map_of(options)}
        if port is None:
            self._bring_home(name)
            self._port(name, interface, {"owner": OWNER})
            return
        for row in self.database.follow("Interface", port.texts("interfaces")):
            if row.text("type") != type or row.map("options") != options:
                self._update("Interface", row, interface)

    def _bring_home(self, name: str) -> None:
        """Take our own port of that name off the bridge it is on: names are unique, and `weft-bridge` may change."""
        stray = next((row for row in self.database.rows("Port").values() if row.text("name") == name), None)
        if stray is not None and _ours(stray):
            for row in self.database.rows("Bridge").values():
                if stray.uuid in row.texts("ports"):
                    self._mutate("Bridge", row, [["ports", "delete", row_ref(stray.uuid)]])

    def settings(self) -> None:
        """The bridge's own columns; an id that a newly plugged interface cannot change is among them."""
        wanted = {"datapath_type": self.seen.datapath_type, "fail_mode": "secure"}
        config = {"disable-in-band": "true", **self._datapath_id()}
        if self.bridge is None:
            self._port(self.seen.bridge, {"type": "internal"}, {})
            self.columns |= {"name": self.seen.bridge, "external_ids": map_of({"owner": OWNER}), **wanted}
            self.config = config
            return
        present = {column: self.bridge.text(column) for column in wanted}
        present["datapath_type"] = present["datapath_type"] or "system"
        self.columns |= {column: value for column, value in wanted.items() if present[column] != value}
        present_config = self.bridge.map("other_config")
        self.config = {key: value for key, value in config.items() if present_config.get(key) != value}

    def _datapath_id(self) -> dict[str, str]:
        """Pins the id: by default it follows the lowest MAC plugged in, and a switch that changes it reconnects."""
        if self.bridge is None:
            name = f"{self.seen.system_id}/{self.seen.bridge}"
            return {"datapath-id": hashlib.sha256(name.encode()).hexdigest()[:16]}
        if "datapath-id" in self.bridge.map("other_config") or not self.seen.datapath_id:
            return {}
        return {"datapath-id": f"{self.seen.datapath_id:016x}"}

    def operations(self) -> list[Object]:
        """All of it as RFC 7047 section 5.2 writes it."""
        if self.bridge is None:
            self._new_bridge()
        else:
            self._changed_bridge(self.bridge)
        if not self.rows:
            return []
        comment: Object = {"op": "comment", "comment": f"weft: {self.seen.bridge} as {self.seen.system_id} needs it"}
        return [self._unchanged(), *self.rows, comment]

    def _new_bridge(self) -> None:
        ports, config = set_of(self.new_ports), map_of(self.config)
        self._insert("Bridge", {**self.columns, "ports": ports, "other_config": config}, "bridge")
        mutations: Json = [["bridges", "insert", new_ref("bridge")]]
        self.rows.append({"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": mutations})

    def _changed_bridge(self, bridge: Row) -> None:
        if self.columns:
            self._update("Bridge", bridge, self.columns)
        mutations: list[Json] = []
        if self.config:
            mutations.append(["other_config", "delete", set_of(list(self.config))])
            mutations.append(["other_config", "insert", map_of(self.config)])
        if self.old_ports:
            mutations.append(["ports", "delete", set_of(self.old_ports)])
        if self.new_ports:
            mutations.append(["ports", "insert", set_of(self.new_ports)])
        if mutations:
            self._mutate("Bridge", bridge, mutations)

    def _unchanged(self) -> Object:
        """Holds the transaction to the bridge and the controllers it was computed from."""
        rows: list[Json] = []
        if self.bridge is not None:
            rows.append({"controller": set_of([row_ref(uuid) for uuid in self.bridge.texts("controller")])})
        return {
            "op": "wait",
            "table": "Bridge",
            "where": [["name", "==", self.seen.bridge]],
            "columns": ["controller"],
            "until": "==",
            "rows": rows,
            "timeout": 0,
        }

    def _port(self, name: str, interface: Object, owner: Mapping[str, str]) -> None:
        """Insert a port with one interface of its name."""
        symbol = re.sub(r"\W", "_", name)
        ids = map_of(owner)
        self._insert("Interface", {"name": name, "external_ids": ids, **interface}, f"interface_{symbol}")
        refer = new_ref(f"interface_{symbol}")
        self._insert("Port", {"name": name, "external_ids": ids, "interfaces": refer}, f"port_{symbol}")
        self.new_ports.append(new_ref(f"port_{symbol}"))

    def _insert(self, table: str, row: Object, symbol: str) -> None:
        self.rows.append({"op": "insert", "table": table, "row": row, "uuid-name": symbol})

    def _update(self, table: str, row: Row, columns: Object) -> None:
        self.rows.append({"op": "update", "table": table, "where": _is(row), "row": columns})

    def _mutate(self, table: str, row: Row, mutations: list[Json]) -> None:
        self.rows.append({"op": "mutate", "table": table, "where": _is(row), "mutations": mutations})


def _is(row: Row) -> Json:
    return [["_uuid", "==", row_ref(row.uuid)]]


def _ours(row: Row) -> bool:
    return row.map("external_ids").get("owner") == OWNER


def _realised(database: Replica, seen: Hypervisor) -> str:
    """What Open vSwitch says it could not do of what we wrote, or ""."""
    mine = {seen.bridge, *TUNNEL_PORTS.values()}
    failed = [
        f"{row.text('name')}: {' '.join(row.text('error').split())[:300]}."
        for row in _interfaces(database, _bridge(database, seen.bridge))
        if row.text("name") in mine and row.text("error")
    ]
    return " ".join(sorted(failed))


# Connections ---------------------------------------------------------------------------------------------------


class Observer(Protocol):
    """Who hears of hypervisors. Calls for one hypervisor never overlap; one that raises `WeftError` is made again."""

    async def observed(self, seen: Hypervisor) -> None:
        """A hypervisor joined, or says something else of itself than before."""

    async def lost(self, system_id: str) -> None:
        """The connection to a hypervisor's database ended; the hypervisor itself goes on."""


@dataclass(frozen=True, slots=True)
class Unidentified:
    """A connected database that has no name yet; `since` in seconds since the epoch."""

    address: str
    reason: str
    since: float


@dataclass(frozen=True, slots=True)
class Refused:
    """A database that claims the name of another one; times in seconds since the epoch."""

    address: str
    system_id: str
    since: float
    last: float


@dataclass(slots=True)
class _Pace:
    """Spaces out transactions that follow each other closely, and lets the first go at once.

    A refused one, and one that other software keeps undoing, ends up going out every `LONGEST_S`: less than the
    5 s in which an alteration is to be healed.
    """

    pause_s: float = 0.0
    last: float = float("-inf")

    SHORTEST_S = 0.1
    LONGEST_S = 4.0
    QUIET_S = 10.0

    def took(self) -> None:
        """Note that one goes out now."""
        closely = not self.quiet()
        self.pause_s = min(2 * self.pause_s, self.LONGEST_S) if closely else self.SHORTEST_S
        self.last = time.monotonic()

    def left_s(self) -> float:
        """How long the next one has to wait."""
        return self.last + self.pause_s - time.monotonic()

    def quiet(self) -> bool:
        """Whether none went out for a while."""
        return time.monotonic() - self.last > self.QUIET_S

    def strained(self) -> bool:
        """Whether many went out in a row."""
        return self.pause_s >= self.LONGEST_S and not self.quiet()


class Session:
    """One hypervisor's connection: who it is, what it said last, what is wrong. To be read, by `/v1`, not written."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        registry: Registry,
        observer: Observer,
        openflow_port: int,
        probe_s: float,
    ) -> None:
        self.address = _endpoint(writer.get_extra_info("peername"))
        self.since = time.time()
        self.system_id = ""
        self.seen: Hypervisor | None = None
        self.unnamed = ""
        self._registry, self._observer = registry, observer
        self._target = f"tcp:{_endpoint((writer.get_extra_info('sockname')[0], openflow_port))}"
        self._peer = Peer(reader, writer, self.address, self._take_notification, probe_s=probe_s)
        self._database = Replica(WATCHED)
        self._changed = asyncio.Event()
        self._ended = asyncio.Event()
        self._pace = _Pace()
        self._troubles: dict[str, str] = {}

    @property
    def trouble(self) -> str:
        """What keeps the database from being as wanted, in sentences, or ""."""
        return " ".join(self._troubles.values())

    async def run(self) -> None:
        """Follow the database and keep it right, until the connection ends. Raises a group of SouthboundErrors."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._peer.run())
            group.create_task(self._follow())

    async def alive(self) -> bool:
        """Whether the peer answers a probe (RFC 7047 section 4.1.11)."""
        try:
            await self._peer.call("echo", [], within_s=TAKEOVER_PROBE_S)
        except SouthboundError:
            return False
        return True

    async def replace(self, by: str) -> None:
        """End this connection in favour of another one; returns when nothing more is heard of it."""
        self._peer.close(f"it does not answer, and {by} claims its system-id {self.system_id}")
        await self._ended.wait()

    async def end(self) -> None:
        """Tell the observer, if this hypervisor had a name, and let go of the name."""
        try:
            if self.system_id:
                await self._observer.lost(self.system_id)
        finally:
            self._registry.forget(self)
            self._ended.set()

    async def _follow(self) -> NoReturn:
        tables: Object = {table: {"columns": list(columns)} for table, columns in WATCHED.items()}
        await self._peer.call("monitor", ["Open_vSwitch", OWNER, tables], take=self._database.apply)
        while True:
            self._changed.clear()
            await self._wait(await self._step())

    def _take_notification(self, method: str, params: list[Json]) -> None:
        """Take in what changed; all that arrives together is looked at once."""
        if method == "update" and len(params) == 2 and params[0] == OWNER:
            self._database.apply(params[1])
            self._changed.set()

    async def _wait(self, within_s: float | None) -> None:
        try:
            async with asyncio.timeout(within_s):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def _step(self) -> float | None:
        """Look at everything once. Answers in how many seconds to look again even if nothing changes."""
        if not await self._named():
            return None
        seen = read(self._database, self.system_id)
        try:
            await self._report(seen)
        except WeftError as error:
            self._note("observer", f"It cannot be recorded: {error}")
            return _Pace.LONGEST_S
        self._note("observer", "")
        self._note("interfaces", _realised(self._database, seen))
        return await self._amend(seen)

    async def _named(self) -> bool:
        """Whether the hypervisor has a name; one that changes it comes back as another one."""
        name, unnamed = read_system_id(self._database)
        if self.system_id:
            if name != self.system_id:
                raise Disconnected(self.address, f"its system-id changed from {self.system_id} to {name or 'none'}")
            return True
        if unnamed:
            if unnamed != self.unnamed:
                log.warning("hypervisor unidentified address=%s reason=%s", self.address, unnamed)
            self.unnamed = unnamed
            self._registry.wait(self)
            return False
        await self._registry.claim(self, name)
        self.system_id, self.unnamed = name, ""
        log.info("hypervisor connected chassis=%s address=%s", name, self.address)
        return True

    async def _report(self, seen: Hypervisor) -> None:
        if seen == self.seen:
            return
        before = self.seen.problem if self.seen else ""
        await self._observer.observed(seen)
        self.seen = seen
        if seen.problem and seen.problem != before:
            log.warning("hypervisor unusable chassis=%s problem=%s", self.system_id, seen.problem)
        elif before and not seen.problem:
            log.info("hypervisor usable chassis=%s", self.system_id)

    async def _amend(self, seen: Hypervisor) -> float | None:
        operations = amend(self._database, seen, self._target)
        if not operations:
            self._note("refusal", "")
            if self._pace.strained():
                return self._pace.QUIET_S
            self._note("contention", "")
            return None
        if (left_s := self._pace.left_s()) > 0:
            return left_s
        self._pace.took()
        try:
            await self._peer.transact("Open_vSwitch", operations)
        except OvsdbError as error:
            if error.operation != "wait":
                self._note("refusal", UUID.sub("...", str(error)))
            return self._pace.left_s()
        log.info("database amended chassis=%s operations=%d", self.system_id, len(operations))
        self._note("refusal", "")
        if self._pace.strained():
            self._note("contention", f"Other software keeps undoing what Weft sets on {seen.bridge}.")
        return None

    def _note(self, source: str, trouble: str) -> None:
        """Remember what is wrong, one sentence a source, and log it when it is news."""
        before = self._troubles.pop(source, "")
        if trouble:
            self._troubles[source] = trouble
        if trouble and trouble != before:
            log.warning("hypervisor in trouble chassis=%s trouble=%s", self.system_id, trouble)
        elif before and not trouble:
            log.info("hypervisor out of trouble chassis=%s was=%s", self.system_id, before)


class Registry:
    """Who is who: one session a system-id, those that have none yet, and those that were turned away."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self._waiting: dict[Session, None] = {}
        self._refused: dict[tuple[str, str], Refused] = {}

    async def claim(self, session: Session, system_id: str) -> None:
        """Give `session` its name. Raises Disconnected when another session has it and is alive."""
        while (holder := self.sessions.get(system_id)) is not None:
            if await holder.alive():
                self._refuse(session, system_id, holder)
            await holder.replace(by=session.address)
        self.sessions[system_id] = session
        self._waiting.pop(session, None)
        self._refused.pop((_host(session.address), system_id), None)

    def wait(self, session: Session) -> None:
        """Keep a session in view that has no name yet."""
        self._waiting[session] = None

    def forget(self, session: Session) -> None:
        """Let go of a session that ended."""
        self._waiting.pop(session, None)
        if self.sessions.get(session.system_id) is session:
            del self.sessions[session.system_id]

    def unidentified(self) -> tuple[Unidentified, ...]:
        """Those without a name, the newest last."""
        shown = list(self._waiting)[-SHOWN:]
        return tuple(Unidentified(each.address, each.unnamed, each.since) for each in shown)

    def refused(self) -> tuple[Refused, ...]:
        """Those turned away lately, the newest last."""
        now = time.time()
        self._refused = {key: each for key, each in self._refused.items() if now - each.last < REFUSED_S}
        return tuple(self._refused.values())[-SHOWN:]

    def _refuse(self, session: Session, system_id: str, holder: Session) -> NoReturn:
        """Turn a session away; an address that keeps trying is one refusal, logged once."""
        key, now = (_host(session.address), system_id), time.time()
        if all((each.address, each.system_id) != key for each in self.refused()):
            log.warning(
                "hypervisor refused address=%s chassis=%s held_by=%s mend=%s",
                session.address,
                system_id,
                holder.address,
                "on one of the two run: ovs-vsctl set Open_vSwitch . external_ids:system-id=ANOTHER-NAME",
            )
        known = self._refused.pop(key, Refused(*key, since=now, last=now))
        self._refused[key] = replace(known, last=now)
        raise Disconnected(session.address, f"{holder.address} has the system-id {system_id} and is alive")


def _host(address: str) -> str:
    return address.rpartition(":")[0]


def _endpoint(name: tuple[str, int]) -> str:
    """The address and port of a socket as Open vSwitch writes them."""
    host = name[0].removeprefix("::ffff:")
    return f"[{host}]:{name[1]}" if ":" in host else f"{host}:{name[1]}"


class OvsdbListener:
    """Where the databases of hypervisors connect; a connection that goes wrong concerns no other one."""

    def __init__(self, observer: Observer, openflow_port: int, *, probe_s: float = PROBE_S) -> None:
        self._observer, self._openflow_port, self._probe_s = observer, openflow_port, probe_s
        self._registry = Registry()
        self.listening = asyncio.Event()
        self.port = 0
        """Where `serve` listens, once `listening` is set; for those who asked for port 0."""

    @property
    def sessions(self) -> Mapping[str, Session]:
        """The connected hypervisors, by system-id."""
        return MappingProxyType(self._registry.sessions)

    @property
    def unidentified(self) -> tuple[Unidentified, ...]:
        """Databases that are connected and have no usable system-id."""
        return self._registry.unidentified()

    @property
    def refused(self) -> tuple[Refused, ...]:
        """Databases that claimed the system-id of another one within the last minute."""
        return self._registry.refused()

    async def serve(self, host: str, port: int) -> None:
        """Accept connections until cancelled. Raises OSError when the address is not to be had.

        Being cancelled is no loss of a hypervisor: the observer hears nothing of it.
        """
        async with asyncio.TaskGroup() as group:

            def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                if writer.get_extra_info("peername") and writer.get_extra_info("sockname"):
                    group.create_task(self._serve_one(reader, writer))
                else:
                    writer.transport.abort()  # gone before it was accepted

            server = await asyncio.start_server(accept, host, port)
            name = server.sockets[0].getsockname()
            self.port = name[1]
            self.listening.set()
            log.info("ovsdb listening address=%s", _endpoint(name))
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self.listening.clear()
                server.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = Session(reader, writer, self._registry, self._observer, self._openflow_port, self._probe_s)
        await self._guard(session, session.run)
        if self.listening.is_set():
            await self._guard(session, session.end)

    async def _guard(self, session: Session, stage: Callable[[], Awaitable[None]]) -> None:
        """Run a stage of a connection; however it fails, the other connections go on."""
        try:
            await stage()
        except* SouthboundError as ended:
            _log_end(session, ended)
        except* Exception:
            log.exception("ovsdb connection failed address=%s chassis=%s", session.address, session.system_id)


def _log_end(session: Session, ended: BaseExceptionGroup[SouthboundError]) -> None:
    """One line; the end of a connection that never counted is no news."""
    reason: BaseException = ended
    while isinstance(reason, BaseExceptionGroup):
        reason = reason.exceptions[0]
    if not isinstance(reason, Disconnected):
        level = logging.WARNING
    else:
        level = logging.INFO if session.system_id else logging.DEBUG
    log.log(level, "ovsdb disconnected chassis=%s reason=%s", session.system_id or "unidentified", reason)
