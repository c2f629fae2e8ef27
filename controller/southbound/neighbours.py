"""Neighbours that only guests know: they are asked for, heard, proved again and again, and forgotten.

    Sought ─> those who may hold it are asked, 3 times ─> Heard ─> a record ─> flows stand ─> what waited goes on
                                                     └─ silence ─> what waited is answered otherwise; 5 s of that
    Heard, unasked ─> a record, and the network is told          a record ─> its holder is asked every 30 s ─> Heard
                                                                                                        └─ forgotten

Who is asked, what is said and what goes on are an app's values (`controller.flows.punted`); here are time, and measure.
What a restart of the controller finds in the store is believed until its holder, asked, keeps silent.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, Final, NoReturn, Protocol

from controller.errors import Unavailable
from controller.flows.app import App, Herald, Prove
from controller.flows.attachment import attached, audience, ofport
from controller.flows.frames import NO_MAC
from controller.flows.holding import LAPSED, held_at, neighbour_id, stands
from controller.flows.presence import UNMET
from controller.flows.punted import Announced, Heard, Outgoing, Said, Sought
from controller.model import neighbours
from controller.model.records import Mac, Neighbour, Record, Translation
from controller.model.store import Change, Store, Transaction, Write
from controller.model.view import View

log = logging.getLogger(__name__)

TRIES: Final = 3
TRY_S: Final = 0.5
"""How often, and how far apart, who may hold an address is asked."""
PROVE_S: Final = 1.0
"""The same for whoever is known to."""
WAITING: Final = 4
"""How many packets wait for one address: the newest (RFC 1122 section 2.3.2.2 wants one at least)."""
LIFE_S: Final = 1.0
"""How old a packet may be when it goes on."""
FAILED_S: Final = 5.0
"""For so long nobody is asked again for an address that nobody had."""
FRESH_S: Final = 30.0
"""For so long who was heard is believed; then it is asked."""
HOLD_S: Final = 1.0
"""An address that has just moved stays for so long; then the last who said that it has it is believed."""
SEARCHES: Final = (8, 64)
"""How many addresses are sought at once for one port, and on one network: who scans it does not keep others waiting."""
RETRY_S: Final = 1.0
"""How long to wait before something is written again when the store could not."""
AGAIN_S: Final = 1.0
"""How far apart the same is said that is to be said several times."""
TOLD: Final = 1000
"""Of so many addresses it is remembered when they were announced before those are forgotten that may be again."""
TICK_S: Final = 0.5


class Switches(Protocol):
    """What is needed of all switches."""

    def view(self) -> View:
        """The model as it is, and what is gathered from it."""

    def say(self, said: Said) -> bool:
        """Have a switch send something now; whether it could."""

    async def send(self, chassis: str, outgoing: Sequence[Outgoing | Said]) -> bool:
        """Have a switch send something once it holds all that it should by now; whether it could."""

    def overrun(self, chassis: str, port: int, since: float) -> bool:
        """Was anything that a port's guest sent not looked at, since a time of `time.monotonic`?"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A packet that waits for an address, and what is sent to its sender's switch when it stays unknown."""

    chassis: str
    since: float
    then: Callable[[Mac], Outgoing]
    otherwise: Sequence[Outgoing]


@dataclass(slots=True, eq=False)
class Search:
    """An address that is being sought, for the first who wanted it and for all who want it meanwhile.

    `found` is who has it; None when nobody is believed to.
    """

    sought: Sought
    asker: tuple[str, int]
    found: asyncio.Future[Neighbour | None]
    waiting: deque[Waiting] = field(default_factory=lambda: deque(maxlen=WAITING))


class Neighbours:
    """All addresses that are sought, heard or known; one for all switches."""

    def __init__(self, store: Store, switches: Switches, apps: Iterable[App]) -> None:
        apps = tuple(apps)
        self._store = store
        self._switches = switches
        self._heralds: dict[type[Record], list[Herald]] = {}
        for kind, herald in (each for app in apps for each in app.heralds.items()):
            self._heralds.setdefault(kind, []).append(herald)
        self._proves: list[Prove] = [app.prove for app in apps if app.prove]
        self._tasks: asyncio.TaskGroup | None = None
        self._searches: dict[str, Search] = {}
        self._busy: Counter[object] = Counter()
        self._failed: dict[str, float] = {}
        self._news: dict[str, Heard] = {}
        self._moved: dict[str, float] = {}
        self._told: dict[str, float] = {}
        self._seen: dict[str, float] = {}
        self._next: dict[str, float] = {}
        self._due: list[tuple[float, str]] = []
        self._changes: deque[tuple[Herald, Write]] = deque()
        self._changed = asyncio.Event()
        self._wake = asyncio.Event()
        self._full: set[str] = set()

    async def run(self) -> None:
        """Do what takes time, until cancelled."""
        now = time.monotonic()
        for neighbour in self._store.model.all(Neighbour):
            self._prove_at(now + random.uniform(0, FRESH_S), neighbour.id)
        self._wake.set()
        try:
            async with asyncio.TaskGroup() as self._tasks:
                for chore in (self._prove_in_turn, self._meet, self._write_down, self._herald):
                    self._tasks.create_task(chore())
        finally:
            self._tasks = None

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        if self._tasks is None:
            work.close()
        else:
            self._tasks.create_task(_alone(work))

    # ---- sought -----------------------------------------------------------------------------------------------

    def seek(self, chassis: str, port: int, sought: Sought, otherwise: Sequence[Outgoing]) -> Sequence[Outgoing]:
        """Have a packet of a port wait for an address. What it answers is to be sent at once."""
        key, now = neighbour_id(sought.network_id, sought.address), time.monotonic()
        waiting = Waiting(chassis, now, sought.then, otherwise)
        known = self._known(key)
        if known is not None and not sought.anew:
            self._start(self._go_on(known, [waiting]))
            return ()
        search = self._searches.get(key)
        if search is None:
            asker = (chassis, port)
            most, most_on_network = SEARCHES
            crowded = self._busy[asker] >= most or self._busy[sought.network_id] >= most_on_network
            if crowded or self._failed.get(key, now) > now or self._tasks is None:
                return otherwise
            search = Search(sought, asker, asyncio.get_running_loop().create_future())
            self._searches[key] = search
            self._busy.update((asker, sought.network_id))
            self._start(self._search(key, search))
        search.waiting.append(waiting)
        return ()

    def _known(self, key: str) -> Neighbour | None:
        """The neighbour, if it is one now."""
        found = self._store.model.get(Neighbour, key)
        return found if found and stands(self._switches.view(), key) else None

    async def _search(self, key: str, search: Search) -> None:
        asked = True
        try:
            for _ in range(TRIES):
                asked &= all([self._switches.say(said) for said in search.sought.questions])
                await asyncio.wait((search.found,), timeout=TRY_S)
                if search.found.done():
                    break
        finally:
            del self._searches[key]
            self._busy = self._busy - Counter((search.asker, search.sought.network_id))
        found = search.found.result() if search.found.done() else None
        if found is not None:
            await self._go_on(found, search.waiting)
        elif (known := self._known(key)) is None:
            await self._fail(key, search)
        elif asked and search.sought.anew and not self._is_drowned(known, time.monotonic() - TRIES * TRY_S):
            await self._forget(known)

    async def _fail(self, key: str, search: Search) -> None:
        """Nobody has it: whoever waits is answered otherwise, and so is who comes soon."""
        now = time.monotonic()
        self._failed = {each: until for each, until in self._failed.items() if until > now}
        self._failed[key] = now + FAILED_S
        for waiting in search.waiting:
            await self._switches.send(waiting.chassis, waiting.otherwise)

    async def _go_on(self, neighbour: Neighbour, waiting: Iterable[Waiting]) -> None:
        """What waited goes on, once the switches of both ends know the neighbour."""
        view = self._switches.view()
        if not stands(view, neighbour.id):
            return
        if placed := held_at(view, neighbour.id):
            await self._switches.send(placed.chassis, ())
        for each in waiting:
            if each.since + LIFE_S >= time.monotonic():
                await self._switches.send(each.chassis, (each.then(neighbour.mac_address),))

    # ---- heard ------------------------------------------------------------------------------------------------

    def hear(self, heard: Heard) -> None:
        """A guest said that it holds an address, and may. The newest is believed; who was only asked moves none."""
        key = neighbour_id(heard.network_id, heard.address)
        known = self._known(key)
        if known and (known.port_id, known.mac_address) == (heard.port_id, heard.mac):
            self._seen[key] = time.monotonic()
            if heard.unasked:
                self._news.pop(key, None)
            self._found(key, known)
        elif heard.unasked or (known is None and key not in self._news) or (known and known.port_id == heard.port_id):
            self._news[key] = heard
            self._wake.set()

    def _found(self, key: str, neighbour: Neighbour | None) -> None:
        search = self._searches.get(key)
        if search is not None and not search.found.done():
            search.found.set_result(neighbour)

    async def _write_down(self) -> NoReturn:
        """What is heard becomes a record, and what does not hold any more is removed."""
        while True:
            now = time.monotonic()
            held = min((at + HOLD_S - now for key, at in self._moved.items() if key in self._news), default=None)
            try:
                async with asyncio.timeout(held):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self._write()
            except Unavailable:  # the store says so itself
                await asyncio.sleep(RETRY_S)
                self._wake.set()

    async def _write(self) -> None:
        now, model = time.monotonic(), self._store.model
        self._moved = {key: at for key, at in self._moved.items() if at + HOLD_S > now}
        news = {key: heard for key, heard in self._news.items() if key not in self._moved}
        lapsed = [found for id in self._switches.view().gather(LAPSED, "") if (found := model.get(Neighbour, id))]
        if not news and not lapsed:
            return
        before = {key: model.get(Neighbour, key) for key in news}

        def work(tx: Transaction) -> dict[str, Neighbour | None]:
            for neighbour in lapsed:
                neighbours.forget(tx, neighbour)
            return {
                key: neighbours.remember(tx, heard.network_id, heard.address, heard.mac, heard.port_id)
                for key, heard in news.items()
            }

        written = await self._store.commit(work)
        for neighbour in lapsed:
            log.info("neighbour lapsed address=%s port=%s", neighbour.id, neighbour.port_id)
        for key, heard in news.items():
            if self._news.get(key) is heard:
                del self._news[key]
            known = written[key]
            self._found(key, known)
            if known is None:
                self._too_many(heard.port_id)
                continue
            self._seen[key] = time.monotonic()
            if known != before[key]:
                self._moved[key] = time.monotonic()
                log.info("neighbour address=%s mac=%s port=%s", key, heard.mac, heard.port_id)
                if heard.frame:
                    self._start(self._tell_others(heard.network_id, heard.port_id, heard.frame))

    def _too_many(self, port_id: str) -> None:
        if port_id not in self._full:
            self._full.add(port_id)
            log.warning(
                "too many addresses are said to be held port=%s most=%d: others are not believed",
                port_id or "of physical hosts", neighbours.MOST if port_id else neighbours.MOST_ON_WIRE,
            )  # fmt: skip

    def announce(self, announced: Announced) -> None:
        """Have all the network told of an address, once a second at the most."""
        key, now = neighbour_id(announced.network_id, announced.address), time.monotonic()
        if self._told.get(key, now - AGAIN_S) + AGAIN_S > now:
            return
        if len(self._told) >= TOLD:
            self._told = {each: at for each, at in self._told.items() if at + AGAIN_S > now}
        self._told[key] = now
        self._start(self._tell_others(announced.network_id, announced.port_id, announced.frame))

    async def _tell_others(self, network_id: str, port_id: str, frame: bytes) -> None:
        """Tell the network of somebody who has an address now."""
        view = self._switches.view()
        placed, own = attached(view, port_id), ofport(view, port_id)
        for chassis, ports in audience(view, network_id):
            others = tuple(port for port in ports if (chassis, port) != (placed and placed.chassis, own))
            if others:
                await self._switches.send(chassis, [Said(chassis, others, frame)])

    # ---- proved -----------------------------------------------------------------------------------------------

    def _prove_at(self, when: float, key: str) -> None:
        self._next[key] = when
        heappush(self._due, (when, key))

    async def _prove_in_turn(self) -> NoReturn:
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                when, key = heappop(self._due)
                if self._next.get(key) == when:
                    self._start(self._prove_again(key))

    async def _meet(self) -> NoReturn:
        """Ask for the next hops of external networks until they are known: nobody's packets have to wait for that."""
        while True:
            view = self._switches.view()
            for network, address in sorted(view.gather(UNMET, "")):
                key = neighbour_id(network, address)
                someone = Neighbour(id=key, network_id=network, address=address, mac_address=NO_MAC, port_id="")
                for said in self._questions(someone):
                    self._switches.say(said)
            await asyncio.sleep(PROVE_S)

    async def _prove_again(self, key: str) -> None:
        """Ask who holds an address whether it still does, unless it was heard lately; and so on, or forget it."""
        began = time.monotonic()
        silent = self._seen.get(key, -FRESH_S) + FRESH_S <= began and await self._is_silent(key)
        neighbour = self._store.model.get(Neighbour, key)
        if neighbour is None:
            return
        self._prove_at(max(self._seen.get(key, began), began) + FRESH_S, key)
        if silent and not self._is_drowned(neighbour, began):
            await self._forget(neighbour)

    async def _is_silent(self, key: str) -> bool:
        """Did who holds an address not answer, though every question reached its switch?"""
        for _ in range(TRIES):
            began, known = time.monotonic(), self._known(key)
            questions = self._questions(known) if known else []
            if not questions or not all([self._switches.say(said) for said in questions]):
                return False
            await asyncio.sleep(PROVE_S)
            if self._seen.get(key, -FRESH_S) >= began:
                return False
        return True

    def _questions(self, neighbour: Neighbour) -> list[Said]:
        """What asks whoever is known to hold an address whether it still does."""
        view = self._switches.view()
        return [said for prove in self._proves for said in prove(view, neighbour)]

    def _is_drowned(self, neighbour: Neighbour, since: float) -> bool:
        """Does so much come from where it is that an answer may have been lost in it?"""
        ports = ((said.chassis, port) for said in self._questions(neighbour) for port in said.ports)
        return any(self._switches.overrun(chassis, port, since) for chassis, port in ports)

    async def _forget(self, neighbour: Neighbour) -> None:
        try:
            await self._store.commit(lambda tx: neighbours.forget(tx, neighbour))
        except Unavailable:  # the store says so itself, and there will be another time
            return
        log.info("neighbour silent address=%s port=%s", neighbour.id, neighbour.port_id)

    # ---- the model changes ------------------------------------------------------------------------------------

    def follow(self, changes: Iterable[Change]) -> None:
        """Have guests told what concerns them, and what holds no more forgotten."""
        now = time.monotonic()
        for write in (write for change in changes for write in change.writes):
            if isinstance(write.old, Neighbour):
                self._full.discard(write.old.port_id)
            if write.kind is Neighbour and write.new is None:
                self._seen.pop(write.id, None)
                self._next.pop(write.id, None)
            elif write.kind is Neighbour and write.old is None:
                self._prove_at(now + FRESH_S, write.id)
            for herald in self._heralds.get(write.kind, ()):
                self._changes.append((herald, write))
                self._changed.set()
        if self._switches.view().gather(LAPSED, ""):
            self._wake.set()

    async def _herald(self) -> NoReturn:
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._changes:
                herald, write = self._changes.popleft()
                for said in herald(self._switches.view(), write.old, write.new):
                    await self._switches.send(said.chassis, (said,))
                    if said.times > 1:
                        self._start(self._repeat(said, herald, write))

    async def _repeat(self, said: Said, herald: Herald, write: Write) -> None:
        """Say it again while it is to be said: an address may be elsewhere meanwhile, and be announced there."""
        for _ in range(1, said.times):
            await asyncio.sleep(AGAIN_S)
            is_there = write.new is None or self._store.model.get(write.kind, write.id) is not None
            if not is_there or said not in herald(self._switches.view(), write.old, write.new):
                return
            self._switches.say(said)

    def joined(self, chassis: str) -> None:
        """A switch is in step (again): what it translates is told where it is heard."""
        for each in self._store.model.where(Translation, chassis=chassis):
            write = Write(Translation, each.id, None, each)
            self._changes.extend((herald, write) for herald in self._heralds.get(Translation, ()))
        self._changed.set()


async def _alone(work: Coroutine[Any, Any, None]) -> None:
    """What goes wrong with one address is no other's matter."""
    try:
        await work
    except Exception:
        log.exception("a neighbour's task failed")
