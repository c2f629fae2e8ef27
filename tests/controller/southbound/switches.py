"""Switches to talk to: a real Open vSwitch, and a false one that says whatever a test has it say."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import struct
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from controller.flows import fields as f
from controller.flows import match as values
from controller.flows import pipeline
from controller.flows.action import Output, ToGroup, goto, resubmit
from controller.flows.fields import IN_PORT, TUN_DST
from controller.flows.flow import Bucket, Entry, Flow, Group
from controller.flows.pipeline import CLASSIFY, DELIVER, DST, FLOOD, L2_BUM, NET, PORT_SECURITY, SERVICE, SRC, TUN_OUT
from controller.model.records import Address
from controller.southbound import messages as of
from controller.southbound.reconcile import Plan, full
from controller.southbound.switch import OpenflowListener, Switch, Timing

T = TypeVar("T")
APP = 5
FAST = Timing(handshake_s=0.5, echo_s=0.1, dead_s=0.5, answer_s=1)

# ---- what a switch should hold --------------------------------------------------------------------------------------


def guest(port: int) -> Flow:
    return Flow(CLASSIFY, "guest", IN_PORT(port), (SRC.set(port), NET.set(7), goto(PORT_SECURITY)))


def delivered(port: int) -> Flow:
    return Flow(DELIVER, "port", DST(port), (Output(port),))


def flooded(net: int) -> Flow:
    return Flow(L2_BUM, "flood", NET(net), (ToGroup(FLOOD.id(net), FLOOD),))


def everybody(net: int, *ports: int) -> Group:
    remote = Bucket((DST.set(0), TUN_DST.set(Address("192.0.2.2")), resubmit(TUN_OUT)))
    return Group(FLOOD, net, (*(Bucket((DST.set(port), resubmit(pipeline.IN_PORT))) for port in ports), remote))


def entries(*items: Flow | Group) -> list[Entry]:
    return [Entry(APP, item) for item in items]


def a_network(guests: int) -> list[Entry]:
    ports = range(1, guests + 1)
    return entries(everybody(7, *ports), flooded(7), *map(guest, ports), *map(delivered, ports))


UNPREPARED = Flow(SERVICE, "arp_request", values.matching(values.Test(f.ARP_OP, 1, 0xFFFF)))
"""A flow that no switch takes: it tests an ARP field without testing for ARP."""

# ---- running --------------------------------------------------------------------------------------------------------

Session = Callable[[Switch], Awaitable[T]]


@contextlib.asynccontextmanager
async def listening(on_switch: Session[None], timing: Timing | None = None) -> AsyncIterator[OpenflowListener]:
    listener = OpenflowListener(timing)
    serving = asyncio.create_task(listener.serve("127.0.0.1", 0, on_switch))
    try:
        await listener.ready.wait()
        yield listener
    finally:
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


async def until(condition: Callable[[], object], timeout_s: float = 10) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def forever(_switch: Switch) -> None:
    await asyncio.Event().wait()


def run(test: Coroutine[Any, Any, T]) -> T:
    """Run a test in a loop of its own, where no task may complain unheard."""
    unheard: list[object] = []

    async def heard() -> T:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unheard.append(context))
        async with asyncio.timeout(30):
            return await test

    result = asyncio.run(heard())
    assert unheard == []
    return result


# ---- a real switch --------------------------------------------------------------------------------------------------


class OpenVSwitch:
    """An `ovsdb-server` and an `ovs-vswitchd` of our own; every device is a dummy."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._environment = os.environ | dict.fromkeys(("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"), str(directory))
        self._database = directory / "conf.db"
        self._numbers = itertools.count()
        self._sh("ovsdb-tool", "create", str(self._database), "/usr/share/openvswitch/vswitch.ovsschema")
        self._server = self._spawn("ovsdb-server", str(self._database), f"--remote=punix:{directory}/db.sock")
        self.wait(lambda: (directory / "db.sock").exists())
        self.ctl("--no-wait", "init")
        self.start()

    def start(self) -> None:
        options = ["--disable-system", "--disable-system-route", "--enable-dummy=override"]
        self._switch = self._spawn("ovs-vswitchd", f"unix:{self.directory}/db.sock", *options)
        self.ctl("show")  # returns when the switch has read the database

    def crash(self) -> None:
        self._switch.kill()
        self._switch.wait()

    def stop(self) -> None:
        for process in (self._switch, self._server):
            process.kill()
            process.wait()

    def bridge(self, controller: int) -> Bridge:
        """A new bridge that connects to a port of ours."""
        name = f"br{next(self._numbers)}"
        self.ctl(
            "add-br", name, "--", "set", "bridge", name, "datapath_type=dummy", "fail_mode=secure", "--",
            "set-controller", name, f"tcp:127.0.0.1:{controller}", "--", "set", "controller", name, "max_backoff=1000",
        )  # fmt: skip
        return Bridge(self, name)

    def ctl(self, *words: str) -> str:
        return self._sh("ovs-vsctl", f"--db=unix:{self.directory}/db.sock", "--timeout=10", *words)

    def ofctl(self, command: str, bridge: str, *words: str) -> str:
        return self._sh("ovs-ofctl", "-O", "OpenFlow14", command, f"unix:{self.directory}/{bridge}.mgmt", *words)

    def appctl(self, *words: str) -> str:
        return self._sh("ovs-appctl", "-t", f"{self.directory}/ovs-vswitchd.ctl", *words)

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def _spawn(self, program: str, *words: str) -> subprocess.Popen[bytes]:
        files = [f"--unixctl={self.directory}/{program}.ctl", f"--log-file={self.directory}/{program}.log"]
        return subprocess.Popen(
            [program, *words, *files, "-vconsole:off"],
            env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def _sh(self, *words: str) -> str:
        return subprocess.run(words, env=self._environment, check=True, capture_output=True, text=True).stdout


class Bridge:
    """A bridge, as somebody with root on its hypervisor sees it."""

    def __init__(self, ovs: OpenVSwitch, name: str) -> None:
        self._ovs, self.name = ovs, name

    async def plug(self, interface: str, number: int) -> None:
        words = ["type=dummy", f"ofport_request={number}"]
        await self.ctl("add-port", self.name, interface, "--", "set", "interface", interface, *words)

    async def ctl(self, *words: str) -> None:
        await asyncio.to_thread(self._ovs.ctl, *words)

    async def ofctl(self, command: str, *words: str) -> str:
        return await asyncio.to_thread(self._ovs.ofctl, command, self.name, *words)


def on_real(ovs: OpenVSwitch, *sessions: Callable[[Switch, Bridge], Awaitable[None]]) -> None:
    """Run one session after the other, each on a new connection of one new bridge."""

    async def test() -> None:
        bridge: asyncio.Future[Bridge] = asyncio.get_running_loop().create_future()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = list(sessions)

        async def on_switch(switch: Switch) -> None:
            if not waiting:
                return
            try:
                await waiting.pop(0)(switch, await bridge)
            except BaseException as error:
                done.set_exception(error if isinstance(error, Exception) else AssertionError("the connection ended"))
                raise
            if not waiting:
                done.set_result(None)

        async with listening(on_switch) as listener:
            bridge.set_result(await asyncio.to_thread(ovs.bridge, listener.port))
            await done
        await bridge.result().ctl("del-br", bridge.result().name)

    run(test())


async def reconcile(switch: Switch, desired: Sequence[Entry]) -> Plan:
    plan = full(desired, await switch.dump())
    applied = await switch.apply(plan)
    assert applied.refusals == ()
    return plan


# ---- a false switch -------------------------------------------------------------------------------------------------

HELLO = of.hello(1)
FEATURES = struct.Struct("!QIBB2xI4x")


class Peer:
    """The other end of a connection: whatever a test wants a switch to be."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, *messages: bytes) -> None:
        self.writer.write(b"".join(messages))

    def answer(self, kind: int, xid: int, body: bytes = b"") -> None:
        self.send(of.message(kind, xid, body))

    def parts(self, xid: int, kind: int, *payloads: bytes) -> None:
        """A multipart reply."""
        for number, payload in enumerate(payloads, 1):
            self.answer(of.OFPT_MULTIPART_REPLY, xid, struct.pack("!HH4x", kind, number < len(payloads)) + payload)

    async def hear(self) -> tuple[of.Header, bytes]:
        head = of.header(await self.reader.readexactly(8))
        return head, await self.reader.readexactly(head.length - 8)

    async def expect(self, kind: int) -> tuple[int, bytes]:
        """The xid and body of the next message, which is of a type."""
        head, body = await self.hear()
        assert head.type == kind
        return head.xid, body

    async def greet(self, datapath_id: int = 1, auxiliary_id: int = 0) -> None:
        await self.expect(of.OFPT_HELLO)
        self.send(HELLO)
        xid, _ = await self.expect(of.OFPT_FEATURES_REQUEST)
        self.answer(of.OFPT_FEATURES_REPLY, xid, FEATURES.pack(datapath_id, 0, 254, auxiliary_id, 0))
        if not auxiliary_id:
            await self.expect(of.OFPT_SET_CONFIG)

    async def closed(self) -> None:
        """Wait until the other side has closed; what it still said does not count."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(1 << 16):
                pass


@contextlib.asynccontextmanager
async def connected(listener: OpenflowListener) -> AsyncIterator[Peer]:
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    try:
        yield Peer(reader, writer)
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)


def on_false(
    behaviour: Callable[[Peer], Awaitable[None]], session: Session[T], timing: Timing | None = None
) -> T | BaseException:
    """Run a session on a false switch; what it returned, or what ended it."""

    async def test() -> T | BaseException:
        outcome: list[T | BaseException] = []

        async def on_switch(switch: Switch) -> None:
            try:
                outcome.append(await session(switch))
            except BaseException as error:
                outcome.append(error)
                raise

        async with listening(on_switch, timing) as listener, connected(listener) as peer:
            await peer.greet()
            behaving = asyncio.ensure_future(behaviour(peer))
            await until(lambda: bool(outcome))
            behaving.cancel()
            with contextlib.suppress(asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError):
                await behaving
        return outcome[0]

    return run(test())


def complaints(log: pytest.LogCaptureFixture) -> list[str]:
    """What the log says that somebody should look at."""
    return [record.getMessage() for record in log.records if record.levelno >= logging.WARNING]


async def silence(_peer: Peer) -> None:
    await asyncio.Event().wait()


async def ports(switch: Switch) -> dict[str, int]:
    return await switch.ports()


def port(number: int, name: str) -> bytes:
    """An ofp_port (OpenFlow 1.4.1 section 7.2.1)."""
    return struct.pack("!IH2x6s2x16sII", number, 40, bytes(6), name.encode(), 0, 0)
