"""A real Open vSwitch is brought to hold what it should; false switches harm nobody."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import re
import struct
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import Disconnected, Malformed, Rejected
from controller.flows import fields as f
from controller.flows import match as values
from controller.flows import pipeline
from controller.flows.action import Output, ToGroup, goto, resubmit
from controller.flows.fields import IN_PORT, TUN_DST
from controller.flows.flow import Bucket, Entry, Flow, Group
from controller.flows.pipeline import CLASSIFY, DELIVER, DST, FLOOD, L2_BUM, NET, PORT_SECURITY, SERVICE, SRC, TUN_OUT
from controller.model.records import Address
from controller.southbound import messages as of
from controller.southbound import switch as module
from controller.southbound.openflow import encode_flow
from controller.southbound.reconcile import AddFlow, Installed, Plan, full, partial
from controller.southbound.switch import OpenflowListener, Switch, Timing

T = TypeVar("T")
APP = 5
FAST = Timing(handshake_s=0.5, echo_s=0.1, dead_s=0.5, answer_s=1)

# ---- what should be ----------------------------------------------------------------------------------------------


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

# ---- running -----------------------------------------------------------------------------------------------------

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


# ---- a real switch -----------------------------------------------------------------------------------------------


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


@pytest.fixture(scope="module")
def ovs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenVSwitch]:
    ovs = OpenVSwitch(tmp_path_factory.mktemp("ovs"))
    yield ovs
    ovs.stop()


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


@pytest.mark.ovs
def test_a_switch_says_who_it_is_and_which_ports_it_has(ovs: OpenVSwitch) -> None:
    async def session(switch: Switch, bridge: Bridge) -> None:
        told: list[Mapping[str, int]] = []

        async def report(ports: Mapping[str, int]) -> None:
            told.append(ports)

        name = bridge.name
        switch.on_ports(report)
        assert await switch.ports() == {name: of.OFPP_LOCAL}
        await bridge.plug(f"{name}-a", 11)
        await bridge.plug(f"{name}-b", 12)
        await until(lambda: told[-1:] == [{name: of.OFPP_LOCAL, f"{name}-a": 11, f"{name}-b": 12}])
        await bridge.ctl("del-port", f"{name}-a")
        await until(lambda: told[-1] == {name: of.OFPP_LOCAL, f"{name}-b": 12})
        assert await switch.ports() == told[-1]
        assert f"{switch.datapath_id:016x}" in await bridge.ofctl("show")

    on_real(ovs, session)


@pytest.mark.ovs
def test_what_is_installed_reads_back_and_a_second_time_nothing_is_sent(ovs: OpenVSwitch) -> None:
    desired = a_network(200)

    async def first(switch: Switch, _bridge: Bridge) -> None:
        assert await switch.dump() == Installed({}, {})
        plan = full(desired, await switch.dump())
        applied = await switch.apply(plan)
        assert (applied.flow_mods, applied.group_mods, applied.bundles) == (401, 1, 1)
        sizes = [len(of.bundle_add(1, 1, step.message(1))) for step in plan.steps]
        assert applied.mods_bytes == switch.counters.mods_bytes == sum(sizes)

    async def second(switch: Switch, _bridge: Bridge) -> None:
        plan = full(desired, await switch.dump())
        assert plan == Plan()
        sent = switch.counters.bytes_sent
        await switch.apply(plan)
        assert (switch.counters.mods_bytes, switch.counters.bytes_sent) == (0, sent)

    on_real(ovs, first, second)


@pytest.mark.ovs
def test_a_long_first_programming_goes_in_parts(ovs: OpenVSwitch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Plan.parts, "__defaults__", (100,))

    async def session(switch: Switch, _bridge: Bridge) -> None:
        assert (await switch.apply(full(a_network(200), await switch.dump()))).bundles == 4
        assert full(a_network(200), await switch.dump()) == Plan()

    on_real(ovs, session)


@pytest.mark.ovs
def test_changes_arrive(ovs: OpenVSwitch) -> None:
    async def session(switch: Switch, bridge: Bridge) -> None:
        await reconcile(switch, a_network(3))
        was = {entry.key: entry for entry in a_network(3)}
        desired = {entry.key: entry for entry in a_network(2)}
        changes = {key: desired.get(key) for key in was if was[key] != desired.get(key)}
        assert len(changes) == 3
        await switch.apply(partial(changes))
        assert full(desired.values(), await switch.dump()) == Plan()
        await switch.apply(partial(dict.fromkeys(desired)))
        assert await switch.dump() == Installed({}, {})
        assert await bridge.ofctl("dump-flows") == "OFPST_FLOW reply (OF1.4) (xid=0x2):\n"

    on_real(ovs, session)


@pytest.mark.ovs
def test_what_was_done_by_hand_is_undone_and_what_is_of_others_stays(ovs: OpenVSwitch) -> None:
    desired = a_network(5)

    async def session(switch: Switch, bridge: Bridge) -> None:
        await reconcile(switch, desired)
        await bridge.ofctl("del-flows", "table=50")
        await bridge.ofctl("mod-flows", "table=0,in_port=3 actions=drop")
        await bridge.ofctl("add-flow", "table=0,cookie=0x77,priority=7,in_port=99 actions=drop")
        await bridge.ofctl("add-flow", f"table=0,cookie={0xA7 << 56},priority=8,in_port=99 actions=drop")
        await bridge.ofctl("add-flow", "table=0,cookie=0,priority=100,in_port=4 actions=drop")
        await bridge.ofctl("mod-group", f"group_id={FLOOD.id(7)},type=all")
        await bridge.ofctl("add-group", "group_id=9,type=all")
        plan = await reconcile(switch, desired)
        assert [step.text for step in plan.steps] == [
            str(everybody(7, 1, 2, 3, 4, 5)),
            *(str(delivered(port)) for port in range(1, 6)),
            str(guest(3)),
            str(guest(4)),
            "removal of table=0,priority=8,match=0001000c800000040000006300000000",
        ]
        assert [flow.cookie for flow in plan.replaced] == [0]
        installed = await switch.dump()
        assert full(desired, installed) == Plan()
        assert [flow.cookie for flow in installed.foreign] == [0x77]
        assert [group.id for group in installed.foreign_groups] == [9]

    on_real(ovs, session)


@pytest.mark.ovs
def test_a_flow_refused_at_commit_keeps_no_other_from_the_switch(ovs: OpenVSwitch) -> None:
    async def session(switch: Switch, _bridge: Bridge) -> None:
        desired = a_network(5)
        applied = await switch.apply(full([*desired, *entries(flooded(8))], await switch.dump()))
        (refusal,) = applied.refusals
        assert (refusal.key, refusal.what) == (flooded(8).key, str(flooded(8)))
        assert refusal.error == "OFPET_BAD_ACTION/OFPBAC_BAD_OUT_GROUP"
        assert (applied.flow_mods, applied.group_mods, applied.bundles) == (11, 1, 1)
        assert full(desired, await switch.dump()) == Plan()

    on_real(ovs, session)


@pytest.mark.ovs
def test_a_flow_refused_at_once_keeps_no_other_from_the_switch(ovs: OpenVSwitch) -> None:
    async def session(switch: Switch, _bridge: Bridge) -> None:
        desired = a_network(5)
        applied = await switch.apply(full([*desired, *entries(UNPREPARED)], await switch.dump()))
        (refusal,) = applied.refusals
        assert (refusal.key, refusal.what) == (UNPREPARED.key, str(UNPREPARED))
        assert refusal.error == "OFPET_BAD_MATCH/OFPBMC_BAD_PREREQ"
        assert full(desired, await switch.dump()) == Plan()
        assert switch.counters.errors == 1

    on_real(ovs, session)


@pytest.mark.ovs
def test_many_refused_flows_are_all_named(ovs: OpenVSwitch) -> None:
    async def session(switch: Switch, _bridge: Bridge) -> None:
        desired, bad = a_network(50), [flooded(net) for net in range(100, 130)]
        mixed = [entry for pair in itertools.zip_longest(desired, entries(*bad, UNPREPARED)) for entry in pair if entry]
        applied = await switch.apply(full(mixed, await switch.dump()))
        assert {refusal.key for refusal in applied.refusals} == {flow.key for flow in (*bad, UNPREPARED)}
        assert full(desired, await switch.dump()) == Plan()

    on_real(ovs, session)


@pytest.mark.ovs
def test_a_crashed_switch_comes_back_empty_and_is_programmed_again(ovs: OpenVSwitch) -> None:
    async def test() -> None:
        seen: list[int] = []

        async def on_switch(switch: Switch) -> None:
            seen.append(len((await switch.dump()).flows))
            await reconcile(switch, a_network(5))
            seen.append(len((await switch.dump()).flows))
            await forever(switch)

        async with listening(on_switch) as listener:
            bridge = await asyncio.to_thread(ovs.bridge, listener.port)
            await until(lambda: seen == [0, 11])
            await asyncio.to_thread(ovs.crash)
            await asyncio.to_thread(ovs.start)
            await until(lambda: seen == [0, 11, 0, 11])
        await bridge.ctl("del-br", bridge.name)

    run(test())


# ---- a false switch ----------------------------------------------------------------------------------------------

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


@pytest.mark.parametrize(
    ("greeting", "said"),
    [
        (struct.pack("!BBHI", 1, 0, 8, 1), "it offers OpenFlow 1.0, and Weft speaks 1.4 alone"),
        (struct.pack("!BBHI", 4, 0, 8, 1), "it offers OpenFlow 1.0, 1.1, 1.2, 1.3, and Weft speaks 1.4 alone"),
        (
            struct.pack("!BBHIHHI", 6, 0, 16, 1, 1, 8, 1 << 6 | 1 << 4),
            "it offers OpenFlow 1.3, 1.5, and Weft speaks 1.4 alone",
        ),
    ],
)
def test_who_does_not_offer_1_4_is_told_so(caplog: pytest.LogCaptureFixture, greeting: bytes, said: str) -> None:
    async def test() -> None:
        async with listening(forever) as listener, connected(listener) as peer:
            head, body = await peer.hear()
            assert (head.version, head.type) == (5, of.OFPT_HELLO)
            assert of.hello_versions(body) == {5}
            peer.send(greeting)
            _, body = await peer.expect(of.OFPT_ERROR)
            assert body == bytes(4) + said.encode()
            await peer.closed()

    run(test())
    (line,) = complaints(caplog)
    assert line.endswith(f"is disconnected: {said}.")


def test_a_greeting_without_a_bitmap_offers_all_versions_up_to_its_own() -> None:
    async def test() -> None:
        seen: list[int] = []

        async def on_switch(switch: Switch) -> None:
            seen.append(switch.datapath_id)

        async with listening(on_switch) as listener, connected(listener) as peer:
            peer.send(struct.pack("!BBHI", 6, 0, 8, 1))
            await peer.expect(of.OFPT_HELLO)
            xid, _ = await peer.expect(of.OFPT_FEATURES_REQUEST)
            peer.answer(of.OFPT_FEATURES_REPLY, xid, FEATURES.pack(42, 0, 254, 0, 0))
            await until(lambda: seen == [42])
            await peer.closed()  # nobody attends to it any more

    run(test())


def test_auxiliary_connections_are_not_taken(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with listening(forever) as listener, connected(listener) as peer:
            await peer.greet(auxiliary_id=1)
            await peer.closed()

    run(test())
    (line,) = complaints(caplog)
    assert line.endswith("auxiliary connections are not taken.")


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        (b"GET / HTTP/1.1\r\nHost: here\r\n\r\n", "a message of type 69 instead of a greeting"),
        (of.message(of.OFPT_ECHO_REQUEST, 1), "a message of type 2 instead of a greeting"),
        (struct.pack("!BBHI", 5, 0, 7, 1), "a message of 7 bytes is shorter than its own header"),
        (struct.pack("!BBHIHH", 5, 0, 12, 1, 1, 400), "a hello element claims 400 bytes of 4"),
        (HELLO + struct.pack("!BBHI", 4, 2, 8, 1), "a message of version 4 after 1.4 was agreed on"),
        (HELLO + struct.pack("!BBHI", 5, 2, 0, 1), "a message of 0 bytes is shorter than its own header"),
        (HELLO + of.message(of.OFPT_FEATURES_REPLY, 2, bytes(8)), "a features reply ends after 8 of 24 bytes"),
        (HELLO + of.message(of.OFPT_ERROR, 9, bytes(3)), "an error message ends after 3 of 4 bytes"),
        (HELLO + of.message(of.OFPT_PORT_STATUS, 9, bytes(20)), "a port ends after 12 of 40 bytes"),
    ],
)
def test_garbage_ends_one_connection_with_one_line(
    caplog: pytest.LogCaptureFixture, said: bytes, complaint: str
) -> None:
    async def test() -> None:
        ended: list[None] = []

        async def on_switch(switch: Switch) -> None:
            await switch.ports()
            ended.append(None)

        async with listening(on_switch) as listener, connected(listener) as good, connected(listener) as bad:
            await good.greet()
            xid, _ = await good.expect(of.OFPT_MULTIPART_REQUEST)
            bad.send(said)
            await bad.closed()
            assert ended == []
            good.parts(xid, of.OFPMP_PORT_DESC, b"")
            await until(lambda: bool(ended))

    run(test())
    (line,) = complaints(caplog)
    assert line.startswith("switch dropped peer=127.0.0.1:")
    assert line.endswith(f"sent what cannot be read: {complaint}.")


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (of.OFPMP_PORT_DESC, port(1, "a")[:-1]),
        (of.OFPMP_PORT_DESC, struct.pack("!IH34x", 1, 4)),
        (of.OFPMP_PORT_DESC, struct.pack("!IH34x", 1, 4_000)),
        (of.OFPMP_FLOW, struct.pack("!H54x", 0)),
        (of.OFPMP_FLOW, struct.pack("!H54x", 60_000)),
        (of.OFPMP_FLOW, struct.pack("!H46xHH4x", 56, 1, 60_000)),
        (of.OFPMP_GROUP_DESC, struct.pack("!H6x", 0)),
        (of.OFPMP_GROUP_DESC, struct.pack("!H6x", 60_000)),
    ],
)
def test_a_reply_that_lies_about_its_lengths_ends_the_connection(kind: int, payload: bytes) -> None:
    async def lies(peer: Peer) -> None:
        while True:
            xid, body = await peer.expect(of.OFPT_MULTIPART_REQUEST)
            asked = int.from_bytes(body[:2])
            peer.parts(xid, asked, payload if asked == kind else b"")

    async def session(switch: Switch) -> None:
        await switch.ports()
        await switch.dump()

    ending = on_false(lies, session)
    assert isinstance(ending, Malformed)
    assert ending.peer.startswith("Switch 0000000000000001 at 127.0.0.1:")


def test_a_reply_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_BYTES", 4_000)

    async def goes_on(peer: Peer) -> None:
        xid, _ = await peer.expect(of.OFPT_MULTIPART_REQUEST)
        peer.parts(xid, of.OFPMP_PORT_DESC, *[port(1, "a")] * 200)

    ending = on_false(goes_on, ports)
    assert isinstance(ending, Malformed)
    assert ending.reason == "an answer of more than 4000 bytes"


def test_a_dump_comes_in_parts() -> None:
    async def answers(peer: Peer) -> None:
        xid, _ = await peer.expect(of.OFPT_MULTIPART_REQUEST)
        peer.parts(xid, of.OFPMP_PORT_DESC, port(1, "a"), b"", port(2, "b"))

    assert on_false(answers, ports) == {"a": 1, "b": 2}


@pytest.mark.parametrize("said", [b"", HELLO])
def test_who_does_not_finish_the_handshake_is_dropped(caplog: pytest.LogCaptureFixture, said: bytes) -> None:
    async def test() -> None:
        async with listening(forever, replace(FAST, dead_s=5)) as listener, connected(listener) as peer:
            peer.send(said)
            await peer.closed()

    run(test())
    (line,) = complaints(caplog)
    assert line.endswith("no handshake within 0.5 s.")


def test_a_silent_switch_is_asked_and_then_given_up() -> None:
    heard: list[int] = []

    async def listens(peer: Peer) -> None:
        while True:
            head, _ = await peer.hear()
            heard.append(head.type)

    async def session(switch: Switch) -> None:
        try:
            await forever(switch)
        finally:
            times.append(time.monotonic())

    times = [time.monotonic()]
    assert isinstance(on_false(listens, session, FAST), asyncio.CancelledError)
    assert set(heard) == {of.OFPT_ECHO_REQUEST}
    assert 0.5 <= times[1] - times[0] < 1.5


def test_a_switch_that_answers_echoes_lives_and_is_answered() -> None:
    echoed: list[bytes] = []

    async def answers(peer: Peer) -> None:
        peer.answer(of.OFPT_ECHO_REQUEST, 77, b"anybody?")
        while True:
            head, body = await peer.hear()
            if head.type == of.OFPT_ECHO_REQUEST:
                peer.answer(of.OFPT_ECHO_REPLY, head.xid, body)
            else:
                assert (head.type, head.xid) == (of.OFPT_ECHO_REPLY, 77)
                echoed.append(body)

    async def session(_switch: Switch) -> str:
        await asyncio.sleep(1)
        return "alive"

    assert on_false(answers, session, FAST) == "alive"
    assert echoed == [b"anybody?"]


def test_everybody_who_waits_hears_why_the_connection_ended() -> None:
    async def test() -> None:
        switches: list[Switch] = []

        async def on_switch(switch: Switch) -> None:
            switches.append(switch)
            await forever(switch)

        async with listening(on_switch) as listener, connected(listener) as peer:
            await peer.greet()
            await until(lambda: bool(switches))
            asked = [asyncio.ensure_future(switches[0].barrier()) for _ in range(2)]
            await peer.expect(of.OFPT_BARRIER_REQUEST)
            peer.writer.close()
            for end in (*asked, switches[0].barrier()):
                with pytest.raises(Disconnected, match="it closed the connection"):
                    await end

    run(test())


def test_a_switch_that_never_answers_though_it_lives_is_given_up() -> None:
    async def answers(peer: Peer) -> None:
        while True:
            head, body = await peer.hear()
            if head.type == of.OFPT_ECHO_REQUEST:
                peer.answer(of.OFPT_ECHO_REPLY, head.xid, body)

    ending = on_false(answers, ports, FAST)
    assert isinstance(ending, Disconnected)
    assert ending.reason == "no answer to the ports within 1 s"


def test_a_switch_that_does_not_read_is_given_up_and_others_go_on() -> None:
    async def test() -> None:
        endings: dict[int, BaseException | None] = {}
        flow = encode_flow(delivered(1), APP)
        flow = flow._replace(body=flow.match + bytes(60_000))
        plan = Plan((AddFlow(Entry(APP, delivered(1)), flow),) * 500)

        async def on_switch(switch: Switch) -> None:
            try:
                if switch.datapath_id == 1:
                    await switch.apply(plan)
                for _ in range(50):
                    await switch.barrier()
                    await asyncio.sleep(0.02)
                endings[switch.datapath_id] = None
            except BaseException as error:
                endings[switch.datapath_id] = error
                raise

        async def babbles(peer: Peer) -> None:
            while True:
                peer.answer(of.OFPT_ECHO_REPLY, 1)
                await asyncio.sleep(0.05)

        async def obeys(peer: Peer) -> None:
            while True:
                head, body = await peer.hear()
                reply = of.OFPT_ECHO_REPLY if head.type == of.OFPT_ECHO_REQUEST else of.OFPT_BARRIER_REPLY
                peer.answer(reply, head.xid, body)

        async with listening(on_switch, FAST) as listener, connected(listener) as stalled, connected(listener) as good:
            await asyncio.gather(stalled.greet(1), good.greet(2))
            behaving = [asyncio.ensure_future(babbles(stalled)), asyncio.ensure_future(obeys(good))]
            await until(lambda: len(endings) == 2)
            for behaviour in behaving:
                behaviour.cancel()
        assert endings[2] is None
        assert isinstance(endings[1], Disconnected)
        assert endings[1].reason == "it read nothing of what it was sent for 0.5 s"

    run(test())


def test_a_switch_that_only_asks_is_given_up_when_it_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHOKED_BYTES", 1 << 16)

    async def asks(peer: Peer) -> None:
        while True:
            peer.answer(of.OFPT_ECHO_REQUEST, 1, bytes(60_000))
            await peer.writer.drain()

    async def session(switch: Switch) -> None:
        try:
            await forever(switch)
        finally:
            with pytest.raises(Disconnected, match="it does not read what it is sent"):
                await switch.barrier()

    assert isinstance(on_false(asks, session), asyncio.CancelledError)


def test_a_flood_of_errors_is_told_by_its_first_and_counted_from_then_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.southbound.complaints.GATHER_S", 0.05)

    async def floods(peer: Peer) -> None:
        for xid in range(1000):
            peer.answer(of.OFPT_ERROR, xid + 100, struct.pack("!HH", 1, 5))
        await until(lambda: sum(counted()) == 990)
        await asyncio.sleep(0.5)
        peer.answer(of.OFPT_ERROR, 5000, struct.pack("!HH", 1, 2))

    def counted() -> list[int]:
        told = "errors unexpected switch=0000000000000001 more=(\\d+) newest=OFPET_BAD_REQUEST/OFPBRC_EPERM"
        return [int(found[1]) for line in complaints(caplog) if (found := re.fullmatch(told, line))]

    async def session(switch: Switch) -> tuple[int, str]:
        await until(lambda: " xid=5000 " in "".join(complaints(caplog)[-1:]))
        return switch.complaints.count, switch.complaints.newest

    assert on_false(floods, session) == (1001, "OFPET_BAD_REQUEST/OFPBRC_BAD_MULTIPART")
    first, later = complaints(caplog)[:10], complaints(caplog)[10 + len(counted()) :]
    assert [f"xid={xid + 100} " in line for xid, line in enumerate(first)] == [True] * 10
    assert len(counted()) < 10, "as many as it took times of gathering to say all this"
    assert ["error unexpected switch=0000000000000001 xid=5000 " in line for line in later] == [True]


def test_an_error_is_the_answer_to_its_question(caplog: pytest.LogCaptureFixture) -> None:
    async def refuses(peer: Peer) -> None:
        xid, body = await peer.expect(of.OFPT_MULTIPART_REQUEST)
        peer.answer(of.OFPT_ERROR, 12345, struct.pack("!HH", 1, 5))
        peer.answer(99, xid)
        peer.answer(of.OFPT_BARRIER_REPLY, xid)  # an answer to something else
        peer.parts(xid, of.OFPMP_FLOW, b"")
        peer.answer(of.OFPT_ERROR, xid, struct.pack("!HH", 1, 2) + body)

    ending = on_false(refuses, ports)
    assert isinstance(ending, Rejected)
    assert (ending.what, ending.type, ending.code) == ("the ports", 1, 2)
    unexpected, dropped = complaints(caplog)
    assert unexpected == "error unexpected switch=0000000000000001 xid=12345 error=OFPET_BAD_REQUEST/OFPBRC_EPERM"
    assert dropped.startswith("switch dropped peer=127.0.0.1:")
    assert dropped.endswith("The switch refused the ports with error 1/2.")


def test_all_ports_are_told_whenever_one_changes() -> None:
    told: list[Mapping[str, int]] = []

    def status(reason: int, number: int, name: str) -> bytes:
        return of.message(of.OFPT_PORT_STATUS, 0, struct.pack("!B7x", reason) + port(number, name))

    async def plugs(peer: Peer) -> None:
        peer.send(status(of.OFPPR_ADD, 8, "early"))
        xid, _ = await peer.expect(of.OFPT_MULTIPART_REQUEST)
        first, second = (struct.pack("!HH4x", of.OFPMP_PORT_DESC, more) for more in (1, 0))
        peer.answer(of.OFPT_MULTIPART_REPLY, xid, first + port(1, "a"))
        peer.send(status(of.OFPPR_ADD, 9, "between"))
        peer.answer(of.OFPT_MULTIPART_REPLY, xid, second + port(2, "b"))
        peer.send(status(of.OFPPR_MODIFY, 1, "a"))  # a link that goes down is no news here
        for change in ((of.OFPPR_ADD, 3, "c"), (of.OFPPR_MODIFY, 2, "bb"), (of.OFPPR_DELETE, 1, "a")):
            await asyncio.sleep(0.02)
            peer.send(status(*change))

    async def session(switch: Switch) -> dict[str, int]:
        async def report(ports: Mapping[str, int]) -> None:
            told.append(ports)

        switch.on_ports(report)
        first = await switch.ports()
        await until(lambda: len(told) == 3)
        return first

    assert on_false(plugs, session) == {"a": 1, "b": 2}
    assert told == [{"a": 1, "b": 2, "c": 3}, {"a": 1, "bb": 2, "c": 3}, {"bb": 2, "c": 3}]


def test_a_failure_of_ours_ends_one_connection_with_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        seen: list[int] = []

        async def on_switch(switch: Switch) -> None:
            seen.append(switch.datapath_id)
            if switch.datapath_id == 1:
                raise LookupError("no such thing")

        async with listening(on_switch) as listener, connected(listener) as one, connected(listener) as other:
            await one.greet(1)
            await one.closed()
            await other.greet(2)
            await until(lambda: seen == [1, 2])

    run(test())
    assert "LookupError: no such thing" in caplog.text
    assert len(complaints(caplog)) == 1


def test_when_serving_ends_connections_end(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with contextlib.AsyncExitStack() as stack:
            async with listening(forever) as listener:
                peers = [await stack.enter_async_context(connected(listener)) for _ in range(2)]
                await peers[0].greet()
            for peer in peers:
                await peer.closed()

    run(test())
    assert complaints(caplog) == []


@given(
    st.lists(
        st.tuples(st.sampled_from([1, 3, 6, 7, 10, 12, 19, 21, 33, 99]), st.integers(0, 5), st.binary(max_size=80)),
        max_size=20,
    ),
    st.binary(max_size=20),
)
def test_no_message_whatsoever_breaks_anything(said: list[tuple[int, int, bytes]], rest: bytes) -> None:
    async def babbles(peer: Peer) -> None:
        for kind, xid, body in said:
            peer.answer(kind, xid, body)
        peer.send(rest)
        peer.writer.close()

    async def session(switch: Switch) -> None:
        await switch.ports()
        await switch.dump()

    assert isinstance(on_false(babbles, session), Disconnected | Malformed | Rejected | None)


# ---- a false switch that takes bundles -----------------------------------------------------------------------------


class Bundles:
    """A switch that refuses some tests of DST: at once, at commit by name, or at commit without saying which."""

    def __init__(self, *, at_once: Sequence[int] = (), named: Sequence[int] = (), unnamed: Sequence[int] = ()) -> None:
        self.at_once, self.named, self.unnamed = set(at_once), set(named), set(unnamed)
        self.committed: list[int] = []
        self.bundles = 0

    async def behave(self, peer: Peer) -> None:
        waiting: dict[int, int] = {}
        while True:
            head, body = await peer.hear()
            match head.type:
                case of.OFPT_BUNDLE_ADD_MESSAGE:
                    self.take(peer, head.xid, body, waiting)
                case of.OFPT_BUNDLE_CONTROL:
                    waiting = self.control(peer, head.xid, body, waiting)
                case of.OFPT_BARRIER_REQUEST:
                    peer.answer(of.OFPT_BARRIER_REPLY, head.xid)

    def take(self, peer: Peer, xid: int, body: bytes, waiting: dict[int, int]) -> None:
        """What is refused at once is not in the bundle, which goes on without (Open vSwitch, `handle_bundle_add`)."""
        value = int.from_bytes(body[8 + 48 + 8 :][:4])  # bundle, flow-mod, match header and OXM header
        if value in self.at_once:
            peer.answer(of.OFPT_ERROR, xid, struct.pack("!HH", 4, 9) + body[:64])
        else:
            waiting[xid] = value

    def control(self, peer: Peer, xid: int, body: bytes, waiting: dict[int, int]) -> dict[int, int]:
        bundle, kind, flags = struct.unpack("!IHH", body)
        if kind == of.OFPBCT_OPEN_REQUEST:
            self.bundles += 1
        elif kind == of.OFPBCT_COMMIT_REQUEST:
            bad = next((each for each, value in waiting.items() if value in self.named | self.unnamed), None)
            if bad is not None:
                if waiting[bad] in self.named:
                    peer.answer(of.OFPT_ERROR, bad, struct.pack("!HH", 2, 9))
                peer.answer(of.OFPT_ERROR, xid, struct.pack("!HH", 17, 13))
                return {}
            self.committed += waiting.values()
        peer.answer(of.OFPT_BUNDLE_CONTROL, xid, struct.pack("!IHH", bundle, kind + 1, flags))
        return {} if kind else waiting


@pytest.mark.parametrize(
    ("bundles", "error", "at_most"),
    [
        (Bundles(), "", 1),
        (Bundles(at_once=range(1, 100)), "OFPET_BAD_MATCH/OFPBMC_BAD_PREREQ", 1),
        (Bundles(named=[50]), "OFPET_BAD_ACTION/OFPBAC_BAD_OUT_GROUP", 2),
        (Bundles(named=range(20, 40)), "OFPET_BAD_ACTION/OFPBAC_BAD_OUT_GROUP", 60),
        (Bundles(unnamed=[1]), "OFPET_BUNDLE_FAILED/OFPBFC_MSG_FAILED", 20),
        (Bundles(unnamed=[3, 70, 128]), "OFPET_BUNDLE_FAILED/OFPBFC_MSG_FAILED", 50),
        (Bundles(unnamed=range(1, 129)), "OFPET_BUNDLE_FAILED/OFPBFC_MSG_FAILED", 260),
    ],
)
def test_whatever_way_flows_are_refused_the_others_are_committed(bundles: Bundles, error: str, at_most: int) -> None:
    flows = [delivered(number) for number in range(1, 129)]
    bad = bundles.at_once | bundles.named | bundles.unnamed
    plan = full(entries(*flows), Installed({}, {}))

    async def session(switch: Switch) -> None:
        applied = await switch.apply(plan)
        assert [refusal.what for refusal in applied.refusals] == [str(delivered(number)) for number in sorted(bad)]
        assert {refusal.error for refusal in applied.refusals} == ({error} if bad else set())
        assert applied.flow_mods == len(flows) - len(bad)

    assert on_false(bundles.behave, session) is None
    assert bundles.committed == [number for number in range(1, 129) if number not in bad]
    assert bundles.bundles <= at_most


def test_a_switch_that_takes_no_bundles_says_so() -> None:
    async def refuses(peer: Peer) -> None:
        while True:
            head, _ = await peer.hear()
            if head.type == of.OFPT_BARRIER_REQUEST:
                peer.answer(of.OFPT_BARRIER_REPLY, head.xid)
            else:
                peer.answer(of.OFPT_ERROR, head.xid, struct.pack("!HH", 1, 1))

    async def session(switch: Switch) -> None:
        await switch.apply(partial({delivered(1).key: Entry(APP, delivered(1))}))

    ending = on_false(refuses, session)
    assert isinstance(ending, Rejected)
    assert str(ending) == "The switch refused a bundle with error 1/1."
