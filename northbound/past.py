"""An archive of `weft bundle`, answering as the controller did: every command and `/v1` work on it, nothing changes.

    with opened(path) as client:
        client.post("/v1/trace", {"from": "vm1", "to": "vm2"})

It is the same composition as the daemon's: store, apps, engine, fleet and API, but the store refuses to write, and
instead of a switch there is what it held. Nobody can connect: requests go through a pair of sockets.
"""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

from aiohttp import web

from apps import APPS
from controller.errors import BadArchive
from controller.flows.engine import Engine
from controller.model.records import Chassis
from controller.model.store import Model, Store
from controller.southbound.dumps import Remembered
from controller.southbound.fleet import Fleet
from northbound import api, archive, chronicle, v1
from northbound.archive import Archive
from northbound.client import Client

READ_ONLY = "an archive is only read"
PATIENCE_S = 60.0


@contextmanager
def opened(path: Path) -> Iterator[Client]:
    """A client of what is in an archive. Raises BadArchive, OSError."""
    with _serving(restored(archive.read(path))) as connect:
        yield Client("http://archive", opener=build_opener(ProxyHandler({}), _Handler(connect)))


def restored(found: Archive) -> web.Application:
    """The API over an archive. Raises BadArchive."""
    journal = chronicle.Kept(lambda: found.history)
    store = Store(journal, Model(found.manifest["revision"], found.records), sealed=READ_ONLY)
    fleet = Fleet(store, Engine(store.model, APPS), ovsdb=found.manifest["ovsdb"])
    for chassis in store.model.all(Chassis):
        _restore(fleet, chassis, found)
    app = api.application(store, fleet.readiness, api.Settings())
    v1.add_routes(app, fleet)
    return app


def _restore(fleet: Fleet, chassis: Chassis, found: Archive) -> None:
    """What was known of a hypervisor beside the model; its switch is there if there is a dump of it."""
    said = found.status.get(chassis.id)
    if said is None:
        return
    try:
        datapath = said["datapath_id"]
        known = Remembered(
            datapath_id=None if datapath is None else int(datapath, 16),
            connected=bool(said["connected"]),
            database=bool(said["database_connected"]),
            revision=said["revision"],
            applied_revision=said["applied_revision"],
            flow_mods=said["flow_mods"],
            mods_bytes=said["mods_bytes"],
            trouble=said["problem"].removeprefix(chassis.problem).strip(),
            refused={flow["flow"]: flow["error"] for flow in said["refused_flows"]},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadArchive(found.path, f"status.json: {chassis.id} lacks {error}") from error
    fleet.remember(chassis.id, known, found.dump(chassis.id) if chassis.id in found.chassis else None)


# ---- requests without a network -----------------------------------------------------------------------------------


Connect = Callable[[], socket.socket]


@contextmanager
def _serving(app: web.Application) -> Iterator[Connect]:
    """Serve an application in a thread; each call makes a connection to it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="archive")
    thread.start()

    def wait(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(PATIENCE_S)

    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)

    async def take(end: socket.socket) -> None:
        if runner.server is None:
            raise RuntimeError("the archive is closed")
        await loop.connect_accepted_socket(runner.server, end)

    def connect() -> socket.socket:
        mine, other = socket.socketpair()
        wait(take(other))
        return mine

    try:
        wait(runner.setup())
        try:
            yield connect
        finally:
            wait(runner.cleanup())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class _Handler(urllib.request.HTTPHandler):
    """HTTP over connections that are made so."""

    def __init__(self, connect: Connect) -> None:
        super().__init__()
        self._connect = connect

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """As `urllib` calls it."""
        return self.do_open(partial(_Connection, self._connect), req)


class _Connection(http.client.HTTPConnection):
    def __init__(self, connect: Connect, host: str, **options: Any) -> None:
        super().__init__(host, **options)
        self._make = connect

    def connect(self) -> None:
        self.sock = self._make()
