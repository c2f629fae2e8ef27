"""The composition root: store, apps, engine, fleet and API in one task group.

    HTTP  ──> resources ──> store.commit ──> engine (apps) ──> fleet ──> switches
    OVSDB ──> bindings  ──> store.commit

SIGTERM and SIGINT stop it; the flows stay in place, and the next start finds them right.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import gc
import logging
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import cast

import uvloop
from aiohttp import web

from apps import APPS
from controller.errors import CannotListen, WeftError
from controller.flows.engine import Engine
from controller.flows.presence import Watched
from controller.model.bindings import Hypervisor
from controller.model.sqlite import parse_url
from controller.model.store import Change, Follower, Store
from controller.southbound.fleet import Fleet
from controller.southbound.ovsdb import OvsdbListener
from controller.southbound.switch import OpenflowListener, Switch
from northbound import api, console, v1
from northbound.auth import Identity, Keystone, Open, Service, Tokens
from northbound.config import Config, Endpoint, default_quotas
from northbound.policy import Policy
from northbound.policy_file import read_policy
from northbound.visits import KEPT_S, LINGER_S, Visits

log = logging.getLogger(__name__)

OLDEST = 2
"""The generation whose collection looks at everything."""
GENERATION = 10_000
"""So many objects more than before make the garbage collector look at them."""
YOUNG = 1
"""The generation up to which looking takes milliseconds."""
LARGE = 100
"""So many records in one batch are a large change."""
LONG_S = 0.02
"""What the garbage collector may take."""
M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8
LARGE_BLOCK_BYTES = 1 << 17
"""What glibc begins with."""
SHUTDOWN_S = 2.0
"""How long requests that are under way may take when the controller stops."""


def run(config: Config) -> int:
    """Run the controller until it is told to stop; the exit code."""
    logging.basicConfig(
        stream=sys.stderr,
        level=config.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    failed = False
    _give_back_what_is_large()
    try:
        uvloop.run(serve(config))
    except* (WeftError, OSError) as errors:
        failed = True
        for error in _leaves(errors):
            print(f"weft: {error}", file=sys.stderr)
    return 2 if failed else 0


def _give_back_what_is_large() -> None:
    """Have glibc take each large block from the system by itself, and give it back when it is free.

    Else it finds after the first few that large ones belong among the small, where they leave holes that never go back
    (mallopt(3), M_MMAP_THRESHOLD): after 3,000 ports 8 MB. And one heap will do for all threads, of which one runs at
    a time. Other C libraries are left alone.
    """
    with contextlib.suppress(AttributeError):
        for option, value in ((M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES), (M_ARENA_MAX, 1)):
            ctypes.CDLL(None).mallopt(option, value)


async def serve(config: Config) -> None:
    """Run the controller until a signal. Raises Unavailable when the store cannot be opened, CannotListen."""
    store = await Store.open(parse_url(config.store, config.keep_history * 86_400.0))
    log.info("store loaded url=%s revision=%d", config.store, store.model.revision)
    try:
        async with asyncio.TaskGroup() as group:
            main = group.create_task(_serve(store, config, group))
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, main.cancel)
    finally:
        await store.close()
    log.info("stopped")


def _compute(store: Store) -> Engine:
    """Everything from the store, without the collector looking at a heap of values that only grows."""
    gc.disable()
    engine = Engine(store.model, APPS)
    gc.freeze()
    gc.set_threshold(GENERATION)
    gc.enable()
    gc.callbacks.append(Survivors())
    return engine


class Survivors:
    """Has the garbage collector look no more at what outlived a long collection: the model and its flows mostly.

    Else everything stands still while it goes through all of them, again and again as they become more: for 1.3 s
    beside 957,000 flows; and while hypervisors join, a quarter of all time goes into finding nothing. What is frozen
    and becomes garbage in circles later is lost: once, since what comes anew is little, and a collection of little is
    never long.
    """

    def __init__(self) -> None:
        self._began = 0.0

    def __call__(self, phase: str, info: Mapping[str, int]) -> None:
        """As `gc.callbacks` are called."""
        if phase == "start":
            self._began = time.thread_time()
        elif info["generation"] == OLDEST and time.thread_time() > self._began + LONG_S:
            gc.freeze()


def undisturbed(follower: Follower) -> Follower:
    """The same, without the garbage collector looking at what large changes make while they are computed.

    Nearly all of that lasts, and none of it is in circles: to find so took a fifth of the time of making 3,000 ports.
    What requests left behind before is collected first.
    """

    def followed(changes: Sequence[Change]) -> None:
        if sum(len(change.writes) for change in changes) < LARGE:
            follower(changes)
            return
        gc.collect(YOUNG)
        gc.disable()
        try:
            follower(changes)
        finally:
            gc.enable()
            if gc.get_count()[0] > GENERATION:
                gc.freeze()

    return followed


def _identity(config: Config) -> Identity:
    """Who knows the callers. Raises Invalid when the file of tokens cannot be read."""
    way, _, file = config.auth.partition(" ")
    if way == "tokens":
        return Tokens(Path(file))
    if way == "keystone":
        user, password = config.keystone_user, config.keystone_password
        service = Service(config.keystone_url, user, password, config.keystone_project, config.keystone_domain)
        return Keystone(service, time.time)
    return Open()


def _settings(config: Config) -> api.Settings:
    return api.Settings(
        underlay_mtu=config.underlay_mtu,
        underlay_ip_version=config.underlay_ip_version,
        network_type=config.network_type,
        vlan_ranges=config.vlan_ranges.ranges,
        flat_networks=frozenset(config.flat_networks.names),
        physical_network_mtus=config.physical_network_mtus.sizes,
        dns_domain=config.dns_domain,
        quotas=default_quotas(config),
    )


class Coming:
    """The fleet before it is there: who connects while its flows are computed is greeted, and then waits for it.

    Else Open vSwitch is turned away, and tries again after a second.
    """

    def __init__(self) -> None:
        self._fleet: Fleet | None = None
        self._there = asyncio.Event()

    def come(self, fleet: Fleet) -> None:
        """Now it is there."""
        self._fleet = fleet
        self._there.set()

    async def _come(self) -> Fleet:
        await self._there.wait()
        return cast("Fleet", self._fleet)

    async def attend(self, switch: Switch) -> None:
        """As `Fleet.attend`."""
        await (await self._come()).attend(switch)

    async def observed(self, seen: Hypervisor) -> None:
        """As `Fleet.observed`."""
        await (await self._come()).observed(seen)

    async def lost(self, system_id: str) -> None:
        """As `Fleet.lost`; what never knew of a hypervisor has not lost it."""
        if self._fleet is not None:
            await self._fleet.lost(system_id)

    def watched(self, system_id: str) -> frozenset[Watched]:
        """As `Fleet.watched`, once it was told of the hypervisor."""
        return cast("Fleet", self._fleet).watched(system_id)


async def _serve(store: Store, config: Config, group: asyncio.TaskGroup) -> None:
    identity = _identity(config)
    policy = read_policy(Path(config.policy)) if config.policy else Policy()
    coming = Coming()
    databases = None if config.no_ovsdb else OvsdbListener(coming, config.openflow.port)
    switches = partial(OpenflowListener().serve, on_switch=coming.attend)
    tasks = [group.create_task(_listen("openflow", config.openflow, switches))]
    if databases is not None:
        tasks.append(group.create_task(_listen("ovsdb", config.ovsdb, databases.serve)))
    try:
        engine = await asyncio.to_thread(_compute, store)
        fleet = Fleet(
            store,
            engine,
            ovsdb=not config.no_ovsdb,
            keep_foreign=config.foreign_flows == "keep",
            hold_s=config.gateway_hold,
            underlay_mtu=config.underlay_mtu,
        )
        fleet.databases = databases
        store.follow(undisturbed(fleet.follow))
        visits = Visits()
        app = api.application(store, fleet.readiness, _settings(config), identity, visits, policy)
        v1.add_routes(app, fleet)
        console.add_routes(app)
        tasks += [
            group.create_task(store.run(), name="store"),
            group.create_task(fleet.translations.run(), name="translations"),
            group.create_task(fleet.recovery.run(), name="recovery"),
            group.create_task(fleet.neighbours.run(), name="neighbours"),
        ]
        coming.come(fleet)
        await _answer(app, visits, config)
    except asyncio.CancelledError:
        log.info("stopping: flows stay in place")
    finally:
        for task in tasks:
            task.cancel()


async def _answer(app: web.Application, visits: Visits, config: Config) -> None:
    """Answer the API's clients until cancelled. Raises CannotListen in a group."""
    runner = web.AppRunner(
        app, access_log=None, shutdown_timeout=SHUTDOWN_S, keepalive_timeout=KEPT_S, lingering_time=LINGER_S
    )
    await runner.setup()
    try:
        await _listen("api", config.api, partial(visits.listen, runner))
        log.info("serving api=%s openflow=%s ovsdb=%s", config.api, config.openflow, config.ovsdb)
        await asyncio.get_running_loop().create_future()
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await runner.cleanup()


async def _listen(option: str, where: Endpoint, listen: Callable[[str, int], Awaitable[object]]) -> None:
    """Listen there, maybe until cancelled. Raises CannotListen in a group."""
    try:
        await listen(where.host, where.port)
    except* OSError as errors:
        (error, *_) = _leaves(errors)
        raise CannotListen(option, str(where), _why(cast("OSError", error))) from error


def _why(error: OSError) -> str:
    """Why nobody can listen somewhere; asyncio's own texts are for programmers."""
    match error.errno:
        case errno.EADDRINUSE:
            return "another program does; stop it, or name another port"
        case errno.EADDRNOTAVAIL:
            return "this machine does not have that address"
        case errno.EACCES:
            return "a port below 1024 takes root"
    if isinstance(error, socket.gaierror):
        return "no such host is known"
    return error.strerror or str(error)


def _leaves(errors: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in errors.exceptions:
        found.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return found
