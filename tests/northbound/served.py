"""The API on a real socket over a real store, in a thread of its own; asked with nothing but http.client."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiohttp import web

from apps import APPS
from controller.flows.engine import Engine
from controller.model.bindings import Attendance
from controller.model.records import FloatingIp, Port
from controller.model.store import Change, Journal, MemoryJournal, Store, Transaction
from controller.southbound.fleet import Fleet
from northbound import v1
from northbound.api import Settings, application
from northbound.auth import Identity
from northbound.policy import Policy
from northbound.resources import COLLECTIONS
from northbound.visits import KEPT_S, LINGER_S, Visits

T = TypeVar("T")

PATHS = {each.name: each.path for each in COLLECTIONS}
NOBODY = "11111111-2222-3333-4444-555555555555"
"""An id that nothing has."""


@dataclass
class Wires:
    """A southbound that a test tells what to say."""

    active: set[str] = field(default_factory=set)
    seen: dict[str, Attendance] = field(default_factory=dict)

    def port_status(self, port: Port) -> str:
        return "ACTIVE" if port.id in self.active else "DOWN"

    def attendance(self, chassis: str) -> Attendance:
        return self.seen.get(chassis, Attendance())

    def floatingip_status(self, floating_ip: FloatingIp) -> str:
        return "ACTIVE" if floating_ip.id in self.active else "DOWN"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)

    @property
    def fault(self) -> tuple[int, str, str]:
        """The status, type and message of a refusal."""
        error = self.body["NeutronError"]
        assert error["detail"] == ""
        return self.status, error["type"], error["message"]


@dataclass(repr=False)
class Client:
    """One controller's API; bodies are JSON, or text to send as it is."""

    port: int
    store: Store
    wires: Wires
    loop: asyncio.AbstractEventLoop
    heard: list[Change]

    @property
    def changes(self) -> list[Change]:
        """What was written by now."""

        async def told() -> list[Change]:
            self.store.tell()
            return [*self.heard]

        return asyncio.run_coroutine_threadsafe(told(), self.loop).result(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        sent = None if body is None else (body if isinstance(body, str | bytes) else json.dumps(body))
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if sent is not None:
            given.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, sent, given)
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.headers), answer.read().decode())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Any:
        answer = self.ask("GET", path, **headers)
        assert answer.status == 200, answer.text
        return answer.body

    @staticmethod
    def path(kind: str, id: str = "") -> str:
        """Where the resources of a kind are, or one of them."""
        return f"/v2.0/{PATHS[kind]}" + (f"/{id}" if id else "")

    def make(self, kind: str, **attributes: object) -> Any:
        answer = self.ask("POST", self.path(kind), {kind: attributes})
        assert answer.status == 201, answer.text
        return answer.body[kind]

    def post(self, kind: str, **attributes: object) -> Answer:
        return self.ask("POST", self.path(kind), {kind: attributes})

    def put(self, kind: str, id: str, **attributes: object) -> Answer:
        return self.ask("PUT", self.path(kind, id), {kind: attributes})

    def delete(self, kind: str, id: str) -> Answer:
        return self.ask("DELETE", self.path(kind, id))

    def commit(self, work: Callable[[Transaction], T]) -> T:
        """A change from elsewhere: a hypervisor's."""
        return asyncio.run_coroutine_threadsafe(self.store.commit(work), self.loop).result(10)


@contextmanager
def serving(
    settings: Settings | None = None,
    journal: Journal | None = None,
    identity: Identity | None = None,
    own: bool = False,
    visits: Visits | None = None,
    policy: Policy | None = None,
) -> Iterator[Client]:
    """The Networking API, and with `own` Weft's own over a fleet that nobody connects to."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    wires, heard = Wires(), list[Change]()

    async def start() -> tuple[Store, web.AppRunner, list[asyncio.Task[None]], int]:
        store = await Store.open(journal or MemoryJournal())
        store.follow(heard.extend)
        tasks = [asyncio.create_task(store.run())]
        doors = visits or Visits()
        api = application(store, wires, settings or Settings(), identity, doors, policy)
        if own:
            fleet = Fleet(store, Engine(store.model, APPS))
            store.follow(fleet.follow)
            v1.add_routes(api, fleet)
            tasks.append(asyncio.create_task(fleet.neighbours.run()))
        runner = web.AppRunner(api, shutdown_timeout=0.2, keepalive_timeout=KEPT_S, lingering_time=LINGER_S)
        await runner.setup()
        listener = await doors.listen(runner, "127.0.0.1", 0)
        return store, runner, tasks, listener.sockets[0].getsockname()[1]

    async def stop() -> None:
        await runner.cleanup()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await store.close()

    try:
        store, runner, tasks, port = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
        try:
            yield Client(port, store, wires, loop, heard)
        finally:
            asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
