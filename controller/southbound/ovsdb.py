"""Hypervisors join: their databases connect here, say who they are and whose guests they carry, and are set up.

A hypervisor's `ovsdb-server` connects after `ovs-vsctl set-manager`. After every change of its database, however
many rows it touches, everything is looked at anew, and nothing is remembered of how it came about: `hypervisor.read`
says what the hypervisor says of itself, for the observer when that is news; `hypervisor.amend` says what is not as
wanted, for one transaction when anything is not.

A database that is wrong, refuses, fights back or talks nonsense is a sentence in the log and in `Session.trouble`,
and nothing to any other. Limit: no TLS.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NoReturn, Protocol

from controller.errors import Disconnected, OvsdbError, SouthboundError, WeftError
from controller.flows.presence import Watched
from controller.model.bindings import Hypervisor
from controller.southbound.endings import let_go
from controller.southbound.hypervisor import OWNER, SETS, WATCHED, amend, read, read_system_id, realised
from controller.southbound.jsonrpc import PROBE_S, Json, Object, Peer, Replica
from controller.southbound.patience import Clock

log = logging.getLogger(__name__)

UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
"""A refusal names rows that are new each time; without them, the same refusal is the same sentence."""

TAKEOVER_PROBE_S = 2.0
"""How long a connection has to prove that it is alive when another one claims its system-id."""
REFUSED_S = 60.0
"""How long a refused connection is shown after its last attempt; `ovsdb-server` tries every 8 s at least."""
SHOWN = 100
"""No list of strangers is longer."""
BACKLOG = 4096
"""How many connections may wait to be accepted: when the controller is back, so are all hypervisors at once."""


class Observer(Protocol):
    """Who hears of hypervisors. Calls for one hypervisor never overlap; one that raises `WeftError` is made again."""

    async def observed(self, seen: Hypervisor) -> None:
        """A hypervisor joined, or says something else of itself than before."""

    async def lost(self, system_id: str) -> None:
        """The connection to a hypervisor's database ended; the hypervisor itself goes on."""

    def watched(self, system_id: str) -> Collection[Watched]:
        """The gateways that a hypervisor has to watch now; `Session.look` says that they changed."""


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
        return self.quiet_in_s() <= 0

    def quiet_in_s(self) -> float:
        """How long it takes to be quiet if none goes out."""
        return self.last + self.QUIET_S - time.monotonic()

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
        clock: Clock,
    ) -> None:
        self.address = _endpoint(writer.get_extra_info("peername"))
        self.since = time.time()
        self.system_id = ""
        self.seen: Hypervisor | None = None
        self.unnamed = ""
        self._registry, self._observer = registry, observer
        self._target = f"tcp:{_endpoint((writer.get_extra_info('sockname')[0], openflow_port))}"
        self._peer = Peer(reader, writer, self.address, self._take_notification, clock, probe_s=probe_s)
        self._database = Replica(WATCHED, SETS)
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

    def look(self) -> None:
        """What the database should say may be something else now."""
        self._changed.set()

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
            self._database = Replica({})

    async def _follow(self) -> NoReturn:
        await self._monitor()
        while True:
            self._changed.clear()
            await self._wait(await self._step())

    async def _monitor(self) -> None:
        """Ask for everything, and to be told what changes: differences alone, if the database can (Open vSwitch 2.6).

        Else every interface that is plugged costs a list of all ports of its bridge.
        """
        tables: Object = {table: {"columns": list(columns)} for table, columns in WATCHED.items()}
        for method in ("monitor_cond", "monitor"):
            try:
                await self._peer.call(method, ["Open_vSwitch", OWNER, tables], take=self._database.apply)
                return
            except OvsdbError as error:
                if method == "monitor" or error.error != "unknown method":
                    raise

    def _take_notification(self, method: str, params: list[Json]) -> None:
        """Take in what changed; all that arrives together is looked at once."""
        if method in ("update", "update2") and len(params) == 2 and params[0] == OWNER:
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
        self._note("interfaces", realised(self._database, seen))
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
        before, lacked = (self.seen.problem, self.seen.lacks) if self.seen else ("", "")
        await self._observer.observed(seen)
        self.seen = seen
        if seen.lacks and seen.lacks != lacked:
            log.warning("hypervisor incomplete chassis=%s lacks=%s", self.system_id, seen.lacks)
        if seen.problem and seen.problem != before:
            log.warning("hypervisor unusable chassis=%s problem=%s", self.system_id, seen.problem)
        elif before and not seen.problem:
            log.info("hypervisor usable chassis=%s", self.system_id)

    async def _amend(self, seen: Hypervisor) -> float | None:
        operations = amend(self._database, seen, self._target, self._observer.watched(self.system_id))
        if not operations:
            self._note("refusal", "")
            if self._pace.strained():
                return self._pace.quiet_in_s()
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
        host = _host(session.address)
        self._refused = {key: each for key, each in self._refused.items() if key[0] != host}

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
        clock = Clock()
        async with asyncio.TaskGroup() as group:

            def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                if writer.get_extra_info("peername") and writer.get_extra_info("sockname"):
                    group.create_task(self._serve_one(self._session(reader, writer, clock)))
                else:
                    writer.transport.abort()  # gone before it was accepted

            server = await asyncio.start_server(accept, host, port, backlog=BACKLOG)
            group.create_task(clock.run())
            name = server.sockets[0].getsockname()
            self.port = name[1]
            self.listening.set()
            log.info("ovsdb listening address=%s", _endpoint(name))
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self.listening.clear()
                server.close()

    def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, clock: Clock) -> Session:
        return Session(reader, writer, self._registry, self._observer, self._openflow_port, self._probe_s, clock)

    async def _serve_one(self, session: Session) -> None:
        await self._guard(session, session.run)
        if self.listening.is_set():
            await self._guard(session, session.end)

    async def _guard(self, session: Session, stage: Callable[[], Awaitable[None]]) -> None:
        """Run a stage of a connection; however it fails, the other connections go on."""
        try:
            await stage()
        except Exception as error:
            _log_end(session, error)
            let_go(error)


def _log_end(session: Session, error: Exception) -> None:
    """One line; the end of a connection that never counted is no news. What else went wrong is told in full."""
    ended, failed = ExceptionGroup("", [error]).split(SouthboundError)
    if failed is not None:
        address, name = session.address, session.system_id
        log.error("ovsdb connection failed address=%s chassis=%s", address, name, exc_info=failed)
    if ended is None:
        return
    reason: Exception = ended
    while isinstance(reason, ExceptionGroup):
        reason = reason.exceptions[0]
    if not isinstance(reason, Disconnected):
        level = logging.WARNING
    else:
        level = logging.INFO if session.system_id else logging.DEBUG
    log.log(level, "ovsdb disconnected chassis=%s reason=%s", session.system_id or "unidentified", reason)
