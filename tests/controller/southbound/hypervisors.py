"""Hypervisors that join: each has a real database and, when asked for, a real switch whose devices are all dummies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from pathlib import Path
from typing import Any

import pytest

from controller.flows.presence import Watched
from controller.model.bindings import Hypervisor
from controller.southbound.ovsdb import OvsdbListener

JOIN = "external_ids:system-id={name} external_ids:weft-encap-ip={ip} external_ids:weft-encap-type=geneve,vxlan"
OPENFLOW_PORT = 6653
TARGET = f"tcp:127.0.0.1:{OPENFLOW_PORT}"


class Host:
    """A hypervisor: an `ovsdb-server` of its own and, when asked for, an `ovs-vswitchd` whose devices are all dummies."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "db.sock"
        self.environment = os.environ | {"OVS_RUNDIR": str(directory), "OVS_LOGDIR": str(directory)}
        self.server: subprocess.Popen[bytes] | None = None
        self.switch: subprocess.Popen[bytes] | None = None
        directory.mkdir()
        self._run("ovsdb-tool", "create", str(directory / "conf.db"), "/usr/share/openvswitch/vswitch.ovsschema")
        self.start()
        self.ctl("init")

    def start(self) -> None:
        """Start the database on what its file holds."""
        remotes = [f"--remote=punix:{self.socket}", "--remote=db:Open_vSwitch,Open_vSwitch,manager_options"]
        self.socket.unlink(missing_ok=True)
        self.server = self._spawn("ovsdb-server", str(self.directory / "conf.db"), *remotes)
        wait_until(self.socket.exists)

    def start_switch(self) -> None:
        """Start `ovs-vswitchd` without touching a device or a route of this machine."""
        options = ["--enable-dummy=override", "--disable-system", "--disable-system-route"]
        self.switch = self._spawn("ovs-vswitchd", f"unix:{self.socket}", *options)
        wait_until(lambda: bool(self.get("Open_vSwitch", ".", "datapath_types")))

    def stop(self) -> None:
        for process in (self.switch, self.server):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()

    def signal(self, number: signal.Signals) -> None:
        assert self.server is not None
        self.server.send_signal(number)

    def crash(self) -> None:
        """Kill the database the hard way."""
        assert self.server is not None
        self.server.kill()
        self.server.wait()

    def ctl(self, *words: str) -> str:
        """Run `ovs-vsctl`, which does not wait for the switch."""
        return self._run("ovs-vsctl", f"--db=unix:{self.socket}", "--timeout=10", "--no-wait", *words)

    def sh(self, command: str) -> str:
        """Run a command as an operator would type it on this hypervisor."""
        program, *words = shlex.split(command)
        assert program == "ovs-vsctl"
        return self.ctl(*words)

    def join(self, port: int, name: str = "hv1", ip: str = "192.0.2.11", *more: str) -> None:
        """The one command of the contract."""
        keys = " ".join([JOIN.format(name=name, ip=ip), *more])
        self.sh(f"ovs-vsctl set Open_vSwitch . {keys} -- set-manager tcp:127.0.0.1:{port}")

    def rows(self, table: str) -> dict[str, dict[str, Any]]:
        """The rows of a table by name, or by target where there is none, in the JSON of RFC 7047."""
        found = json.loads(self.ctl("--format=json", "list", table))
        rows = [dict(zip(found["headings"], row, strict=True)) for row in found["data"]]
        return {row.get("name") or row.get("target") or "": row for row in rows}

    def get(self, table: str, record: str, column: str) -> Any:
        """One value; sets as lists, maps as dicts."""
        found = json.loads(self.ctl("--format=json", f"--columns={column}", "list", table, record))
        match found["data"][0][0]:
            case ["set", [*elements]]:
                return elements
            case ["map", [*pairs]]:
                return dict(pairs)
            case value:
                return value

    def ports(self, bridge: str) -> list[str]:
        return sorted(self.ctl("list-ports", bridge).split())

    def flows(self, bridge: str) -> str:
        return self._run("ovs-ofctl", "--no-stats", "dump-flows", f"unix:{self.directory / bridge}.mgmt")

    def add_flow(self, bridge: str, flow: str) -> None:
        self._run("ovs-ofctl", "add-flow", f"unix:{self.directory / bridge}.mgmt", flow)

    def _run(self, *command: str) -> str:
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 0, f"{shlex.join(command)}: {done.stderr}"
        return done.stdout

    def _spawn(self, program: str, *words: str) -> subprocess.Popen[bytes]:
        common = [f"--unixctl={self.directory / program}.ctl", f"--log-file={self.directory / program}.log"]
        with (self.directory / f"{program}.out").open("ab") as output:
            return subprocess.Popen([program, *words, *common], env=self.environment, stdout=output, stderr=output)


def wait_until(fact: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Watcher:
    """An observer that remembers, and fails as often as it is told to."""

    def __init__(self) -> None:
        self.seen: list[Hypervisor] = []
        self.heard: list[str] = []
        self.failures: list[Exception] = []
        self.gateways: Collection[Watched] = ()

    async def observed(self, seen: Hypervisor) -> None:
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop()
        self.seen.append(seen)
        self.heard.append(f"observed {seen.system_id}")

    async def lost(self, system_id: str) -> None:
        self.heard.append(f"lost {system_id}")

    def watched(self, system_id: str) -> Collection[Watched]:
        return self.gateways

    @property
    def last(self) -> Hypervisor:
        return self.seen[-1]


@contextlib.asynccontextmanager
async def controller(watcher: Watcher, probe_s: float, host: str) -> AsyncIterator[OvsdbListener]:
    listener = OvsdbListener(watcher, OPENFLOW_PORT, probe_s=probe_s)
    serving = asyncio.create_task(listener.serve(host, 0))
    try:
        await asyncio.wait_for(listener.listening.wait(), 5)
        yield listener
    finally:
        assert not serving.done()
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


async def eventually(fact: Callable[[], object], within_s: float = 15) -> None:
    """Wait until `fact` holds; what is not there yet does not hold."""

    def holds() -> object:
        try:
            return fact()
        except (LookupError, ValueError, AssertionError):
            return False

    deadline = time.monotonic() + within_s
    while not await asyncio.to_thread(holds):
        if time.monotonic() > deadline:
            assert await asyncio.to_thread(fact)
            break
        await asyncio.sleep(0.02)


Scene = Callable[[OvsdbListener, Watcher], Coroutine[Any, Any, None]]


def play(scene: Scene, probe_s: float = 5.0, host: str = "127.0.0.1") -> Watcher:
    """Run a scene with a controller; at its end the controller still serves."""
    watcher = Watcher()

    async def main() -> None:
        async with controller(watcher, probe_s, host) as listener:
            await scene(listener, watcher)

    asyncio.run(main())
    return watcher


def settled(listener: OvsdbListener, watcher: Watcher, host: Host, name: str = "hv1") -> bool:
    """Whether a hypervisor without a switch has everything that Weft sets up."""
    return (
        listener.sessions[name].trouble == ""
        and watcher.last.problem == ""
        and {"weft-geneve", "weft-vxlan"} <= set(host.ports("br-int"))
        and list(host.rows("Controller")) == [TARGET]
        and host.get("Bridge", "br-int", "fail_mode") == "secure"
    )


def amendments(caplog: pytest.LogCaptureFixture) -> int:
    return sum("database amended" in record.message for record in caplog.records)


def tunnel(type: str, ip: str = "192.0.2.11") -> dict[str, Any]:
    return {"type": type, "options": {"remote_ip": "flow", "key": "flow", "local_ip": ip}}


def interface(host: Host, name: str) -> dict[str, Any]:
    return {column: host.get("Interface", name, column) for column in ("type", "options")}
