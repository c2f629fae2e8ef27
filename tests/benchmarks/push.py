"""A first programming of a real Open vSwitch, against `ovs-ofctl --bundle add-flows` of the same flows, in turns.

Weft's turn is `Switch.apply` of a plan over an OpenFlow connection that is up, from encoded flows to the last barrier:
bundles of at most `reconcile.PART` messages. ovs-ofctl's turn is its whole run, the reading of its file included. The
table is emptied before each turn, which does not count. Open vSwitch runs with dummy datapaths: no packet is at stake.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from statistics import median
from typing import cast

import uvloop

from controller.flows.action import ToGroup
from controller.flows.flow import Entry, Flow
from controller.southbound.openflow import encode_flow
from controller.southbound.reconcile import Installed, Plan, full
from controller.southbound.switch import OpenflowListener, Switch
from mininet_scenarios.processes import Daemon, wait_until
from mininet_scenarios.processes import run as command
from tests.benchmarks.report import Figure, at_most
from tests.benchmarks.shape import Cloud, Shape

SHAPE = Shape(networks=56, size=200, homes=2, chassis=2)
FLOWS = 50_000
ROUNDS = 5
BRIDGE = "br-int"
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


class Lost(Exception):
    """Raised when the switch does not hold, after a turn, what it was sent."""


class OpenVswitch:
    """An `ovsdb-server` and an `ovs-vswitchd` of our own, with one bridge, in a directory of their own."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory, self._stack = directory, stack
        self._environment = {key: str(directory) for key in ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR")}
        self._run("ovsdb-tool", "create", f"{directory}/conf.db", SCHEMA)
        self._daemon("ovsdb-server", f"{directory}/conf.db", f"--remote=punix:{directory}/db.sock")
        wait_until("ovsdb-server's socket", lambda: "" if (directory / "db.sock").exists() else "no db.sock", 10)
        self._run("ovs-vsctl", "--no-wait", "init")
        self._daemon("ovs-vswitchd", f"unix:{directory}/db.sock", "--enable-dummy=override", "--disable-system")
        bridge = ("add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "datapath_type=dummy", "fail_mode=secure")
        self._run("ovs-vsctl", "--timeout=15", *bridge)

    def connect(self, port: int) -> None:
        """Give the bridge a controller on loopback."""
        self._run("ovs-vsctl", "--timeout=15", "set-controller", BRIDGE, f"tcp:127.0.0.1:{port}")

    def empty(self) -> None:
        """Remove all flows."""
        self._ofctl("del-flows", BRIDGE)
        self.must_hold(0)

    def add(self, file: Path) -> None:
        """Add the flows of a file in one bundle."""
        self._ofctl("--bundle", "add-flows", BRIDGE, str(file))

    def must_hold(self, flows: int) -> None:
        """Raises Lost unless there are so many flows."""
        said = self._ofctl("dump-aggregate", BRIDGE)
        if not said.strip().endswith(f"flow_count={flows}"):
            raise Lost(f"{flows} flows were expected: {said}")

    def _ofctl(self, *arguments: str) -> str:
        return self._run("ovs-ofctl", "-O", "OpenFlow14", *arguments)

    def _run(self, *arguments: str) -> str:
        return command(*arguments, env=self._environment, timeout_s=60)

    def _daemon(self, program: str, *arguments: str) -> None:
        pidfile = f"--pidfile={self.directory}/{program}.pid"
        options = (pidfile, f"--unixctl={self.directory}/{program}.ctl", "--log-file=/dev/null", "-vconsole:err")
        log = self.directory / f"{program}.console"
        daemon = Daemon(program, program, *arguments, *options, env=self._environment, log=log)
        self._stack.callback(daemon.stop)


def run() -> Iterator[Figure]:
    """The figures of the push."""
    flows = _flows()
    plan = full(flows, Installed({}, {}))
    gc.collect()
    with tempfile.TemporaryDirectory(prefix="weft-push-") as place, ExitStack() as stack:
        file = Path(place, "flows.txt")
        file.write_text("".join(_line(entry) for entry in flows))
        weft, ofctl = uvloop.run(_measured(OpenVswitch(Path(place), stack), plan, file))
    ratio = median(one / other for one, other in zip(weft, ofctl, strict=True))
    yield Figure(f"Weft: {FLOWS:,} flows to a real switch", FLOWS / median(weft), "flows/s")
    yield Figure(f"ovs-ofctl --bundle add-flows: the same {FLOWS:,}", FLOWS / median(ofctl), "flows/s")
    yield Figure("Weft's time against that of ovs-ofctl", ratio, "times", at_most(1.5))


def _flows() -> list[Entry]:
    """What one hypervisor of a large cloud should hold, but for groups and what points to them."""
    entries = Cloud(SHAPE).engine().desired("hv1").values()
    alone = (entry for entry in entries if isinstance(entry.item, Flow) and not _to_group(entry.item))
    return list(islice(alone, FLOWS))


def _to_group(flow: Flow) -> bool:
    return any(isinstance(action, ToGroup) for action in flow.actions)


def _line(entry: Entry) -> str:
    cookie = encode_flow(cast("Flow", entry.item), entry.app).cookie
    return f"cookie={cookie:#x},{entry.item}\n"


async def _measured(ovs: OpenVswitch, plan: Plan, file: Path) -> tuple[list[float], list[float]]:
    """The seconds of each turn: Weft's, and ovs-ofctl's."""
    found: asyncio.Future[tuple[list[float], list[float]]] = asyncio.get_running_loop().create_future()

    async def attend(switch: Switch) -> None:
        try:
            found.set_result(await _rounds(ovs, switch, plan, file))
        except Exception as error:
            found.set_exception(error)

    listener = OpenflowListener()
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(listener.serve("127.0.0.1", 0, attend))
        await listener.ready.wait()
        await asyncio.to_thread(ovs.connect, listener.port)
        try:
            return await found
        finally:
            serving.cancel()


async def _rounds(ovs: OpenVswitch, switch: Switch, plan: Plan, file: Path) -> tuple[list[float], list[float]]:
    async def by_weft() -> None:
        await switch.apply(plan)

    async def by_ofctl() -> None:
        await asyncio.to_thread(ovs.add, file)

    weft: list[float] = []
    ofctl: list[float] = []
    for turn in range(ROUNDS):
        turns: Sequence[tuple[list[float], Callable[[], Awaitable[None]]]] = ((weft, by_weft), (ofctl, by_ofctl))
        for times, push in turns if turn % 2 else turns[::-1]:
            await asyncio.to_thread(ovs.empty)
            began = time.perf_counter()
            await push()
            times.append(time.perf_counter() - began)
            await asyncio.to_thread(ovs.must_hold, FLOWS)
    return weft, ofctl
