"""Real databases join, are set up, are kept right, go and come back; false ones harm nobody."""

import asyncio
import contextlib
import itertools
import json
import logging
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.errors import Unavailable
from controller.flows.presence import Watched
from controller.model.bindings import Claim, Hypervisor
from controller.southbound import ovsdb
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

    def _spawn(self, program: str, *words: str) -> "subprocess.Popen[bytes]":
        common = [f"--unixctl={self.directory / program}.ctl", f"--log-file={self.directory / program}.log"]
        with (self.directory / f"{program}.out").open("ab") as output:
            return subprocess.Popen([program, *words, *common], env=self.environment, stdout=output, stderr=output)


def wait_until(fact: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Callable[[], Host]]:
    started: list[Host] = []

    def start() -> Host:
        started.append(Host(tmp_path / f"hv{len(started) + 1}"))
        return started[-1]

    yield start
    for host in started:
        host.stop()


@pytest.fixture
def host(hosts: Callable[[], Host]) -> Host:
    return hosts()


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


@pytest.mark.ovs
def test_a_hypervisor_joins_with_one_command(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        await asyncio.to_thread(host.start_switch)
        host.join(
            listener.port, "hv1", "192.0.2.11", "external_ids:weft-datapath-type=netdev", "external_ids:hostname=n1"
        )
        await eventually(lambda: watcher.last.datapath_id)
        await eventually(lambda: host.get("Interface", "weft-geneve", "ofport") > 0)
        assert (watcher.last.system_id, watcher.last.hostname, watcher.last.problem) == ("hv1", "n1", "")
        session = listener.sessions["hv1"]
        assert (session.trouble, session.system_id) == ("", "hv1")
        assert session.address.startswith("127.0.0.1:")
        assert session.since <= time.time()

    watcher = play(scene)
    assert f"{watcher.last.datapath_id:016x}" == host.get("Bridge", "br-int", "datapath_id")
    assert host.get("Bridge", "br-int", "datapath_type") == "netdev"
    assert host.get("Bridge", "br-int", "fail_mode") == "secure"
    assert host.get("Bridge", "br-int", "other_config")["disable-in-band"] == "true"
    assert host.get("Bridge", "br-int", "protocols") == []
    assert interface(host, "weft-vxlan") == tunnel("vxlan")
    assert interface(host, "weft-geneve") == tunnel("geneve")
    [(target, row)] = host.rows("Controller").items()
    assert (target, row["inactivity_probe"], row["max_backoff"]) == (TARGET, 5000, 1000)
    assert row["connection_mode"] == "out-of-band"
    assert amendments(caplog) == 1


@pytest.mark.ovs
def test_nothing_is_written_when_everything_is_right(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def join(listener: OvsdbListener, watcher: Watcher) -> None:
        host.join(listener.port)
        await eventually(lambda: settled(listener, watcher, host))

    async def change_something_else(listener: OvsdbListener, watcher: Watcher) -> None:
        host.join(listener.port)
        await eventually(lambda: settled(listener, watcher, host))
        host.ctl("add-br", "br-ex", "--", "set", "Open_vSwitch", ".", "external_ids:hostname=n2")
        await eventually(lambda: watcher.last.hostname == "n2")

    play(join)
    written = (host.directory / "conf.db").stat().st_size
    play(join)
    play(change_something_else)
    assert amendments(caplog) == 1
    comment = subprocess.run(
        ["ovsdb-tool", "-m", "show-log", host.directory / "conf.db"], capture_output=True, text=True, check=True
    ).stdout
    assert comment.count("weft: br-int as hv1 needs it") == 1
    assert written


@pytest.mark.ovs
@pytest.mark.parametrize(
    ("key", "value"), [("weft-encap-ip", "192.0.2.11"), ("weft-encap-type", "geneve,vxlan")], ids=["ip", "type"]
)
def test_a_missing_key_is_mended_by_the_command_in_the_sentence(host: Host, key: str, value: str) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        host.sh("ovs-vsctl set Open_vSwitch . " + JOIN.format(name="hv1", ip="192.0.2.11"))
        host.ctl(
            "remove", "Open_vSwitch", ".", "external_ids", key, "--", "set-manager", f"tcp:127.0.0.1:{listener.port}"
        )
        await eventually(lambda: f"external_ids:{key} is not set" in watcher.last.problem)
        assert host.rows("Bridge") == {}
        command = re.search("`(.*)`", watcher.last.problem)
        assert command
        host.sh(command[1].replace("ITS-UNDERLAY-ADDRESS", value))
        await eventually(lambda: settled(listener, watcher, host))

    play(scene)


@pytest.mark.ovs
def test_a_senseless_key_leaves_an_existing_bridge_as_it_is(host: Host) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        host.ctl("add-br", "br-int", "--", "set-controller", "br-int", "tcp:192.0.2.1:6653")
        before = host.rows("Bridge"), host.rows("Controller")
        host.join(listener.port, "hv1", "192.0.2.11", "external_ids:weft-datapath-type=kernel")
        await eventually(lambda: "'kernel'" in watcher.last.problem)
        assert (host.rows("Bridge"), host.rows("Controller")) == before
        host.ctl("remove", "Open_vSwitch", ".", "external_ids", "weft-datapath-type")
        await eventually(lambda: settled(listener, watcher, host))

    play(scene)


@pytest.mark.ovs
def test_a_hypervisor_without_a_name_is_shown_and_joins_when_it_gets_one(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        host.ctl("set-manager", f"tcp:127.0.0.1:{listener.port}")
        await eventually(lambda: listener.unidentified)
        [unidentified] = listener.unidentified
        assert unidentified.address.startswith("127.0.0.1:")
        command = re.search("`(.*)`", unidentified.reason)
        assert command
        assert not listener.sessions
        host.sh(command[1].replace("NAME", "hv7"))
        await eventually(lambda: "weft-encap-ip" in watcher.last.problem)
        assert (listener.unidentified, list(listener.sessions)) == ((), ["hv7"])

    play(scene)
    [line] = [record.message for record in caplog.records if "unidentified" in record.message]
    assert "address=127.0.0.1:" in line
    assert "run `ovs-vsctl set Open_vSwitch . external_ids:system-id=NAME`" in line


@pytest.mark.ovs
def test_a_hypervisor_that_changes_its_name_comes_back_as_another_one(host: Host) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        host.join(listener.port)
        await eventually(lambda: settled(listener, watcher, host))
        host.ctl("set", "Open_vSwitch", ".", "external_ids:system-id=hv2")
        await eventually(lambda: list(listener.sessions) == ["hv2"] and watcher.last.system_id == "hv2")
        host.ctl("remove", "Open_vSwitch", ".", "external_ids", "system-id")
        await eventually(lambda: listener.unidentified and not listener.sessions)

    watcher = play(scene)
    heard = [event for event, _ in itertools.groupby(watcher.heard)]
    assert heard == ["observed hv1", "lost hv1", "observed hv2", "lost hv2"]


def claimed(watcher: Watcher) -> set[tuple[str, str]]:
    """The ports that are claimed, with the MACs that go with the claims."""
    return {(claim.port_id, claim.attached_mac) for claim in watcher.last.claims}


@pytest.mark.ovs
def test_an_interface_claims_its_port_whether_it_is_plugged_before_or_after_joining(host: Host) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        host.sh("ovs-vsctl add-br br-int -- add-port br-int tap1 -- set Interface tap1 external_ids:iface-id=port-1")
        host.join(listener.port)
        (row,) = host.ctl("get", "Interface", "tap1", "_uuid").split()
        await eventually(lambda: watcher.last.claims == (Claim("tap1", "port-1", row=row),))
        host.sh(
            "ovs-vsctl add-port br-int tap2 -- set Interface tap2 external_ids:iface-id=port-2"
            " external_ids:attached-mac='\"fa:16:3e:00:00:02\"'"
        )
        await eventually(lambda: ("port-2", "fa:16:3e:00:00:02") in claimed(watcher))
        host.ctl("set", "Interface", "tap1", "external_ids:iface-id=port-3")
        await eventually(lambda: Claim("tap1", "port-3", row=row) in watcher.last.claims)
        host.ctl("del-port", "br-int", "tap1")
        await eventually(lambda: [claim.interface for claim in watcher.last.claims] == ["tap2"])
        host.ctl("remove", "Interface", "tap2", "external_ids", "iface-id")
        await eventually(lambda: watcher.last.claims == ())

    play(scene)


@pytest.mark.ovs
def test_many_rows_that_change_at_once_are_one_observation(host: Host) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        host.join(listener.port)
        await eventually(lambda: settled(listener, watcher, host))
        before = len(watcher.seen)
        plugs = [
            f"-- add-port br-int tap{n} -- set Interface tap{n} external_ids:iface-id=port-{n}" for n in range(100)
        ]
        host.sh("ovs-vsctl " + " ".join(plugs))
        await eventually(lambda: len(watcher.last.claims) == 100)
        assert len(watcher.seen) == before + 1

    play(scene)


@pytest.mark.ovs
def test_what_a_hypervisor_says_twice_is_observed_once(host: Host) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        host.join(listener.port)
        await eventually(lambda: settled(listener, watcher, host))
        host.ctl("set", "Open_vSwitch", ".", "external_ids:site=north")
        host.ctl("add-br", "br-ex")
        host.ctl("set", "Open_vSwitch", ".", "external_ids:hostname=n1")
        await eventually(lambda: watcher.last.hostname == "n1")

    watcher = play(scene)
    assert len(watcher.seen) == len({repr(seen) for seen in watcher.seen})


@pytest.mark.ovs
def test_the_controller_row_changes_in_place_and_no_flow_is_lost(host: Host) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        await asyncio.to_thread(host.start_switch)
        host.sh("ovs-vsctl add-br br-int -- set Bridge br-int datapath_type=netdev fail_mode=secure")
        host.sh("ovs-vsctl set-controller br-int tcp:127.0.0.1:1 tcp:127.0.0.1:2")
        await eventually(lambda: (host.directory / "br-int.mgmt").exists())
        old = {row["_uuid"][1] for row in host.rows("Controller").values()}
        await asyncio.sleep(0.5)
        host.add_flow("br-int", "cookie=0x7,priority=5,actions=drop")
        host.join(listener.port)
        await eventually(lambda: settled(listener, watcher, host))
        await eventually(lambda: host.get("Interface", "weft-vxlan", "ofport") > 0)
        [kept] = host.rows("Controller").values()
        assert kept["_uuid"][1] in old
        assert "cookie=0x7" in host.flows("br-int")

    play(scene)
    assert list(host.rows("Controller")) == [TARGET]
    assert "cookie=0x7" in host.flows("br-int")


@pytest.mark.ovs
def test_the_switch_looks_for_its_controller_where_the_database_found_it(host: Host) -> None:
    async def main() -> None:
        called = asyncio.Event()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            called.set()
            writer.close()

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        listener = OvsdbListener(Watcher(), server.sockets[0].getsockname()[1])
        serving = asyncio.create_task(listener.serve("127.0.0.1", 0))
        await listener.listening.wait()
        await asyncio.to_thread(host.start_switch)
        host.join(listener.port)
        await asyncio.wait_for(called.wait(), 10)
        serving.cancel()
        server.close()

    asyncio.run(main())


@pytest.mark.ovs
def test_a_stop_of_the_controller_leaves_everything_in_place_and_is_no_loss(host: Host) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        host.join(listener.port)
        await eventually(lambda: settled(listener, watcher, host))

    watcher = play(scene)
    assert list(host.rows("Controller")) == [TARGET]
    assert host.ports("br-int") == ["weft-geneve", "weft-vxlan"]
    assert set(watcher.heard) == {"observed hv1"}


FOREIGN = (
    "ovs-vsctl add-br br-ex -- set Bridge br-ex fail_mode=standalone other_config:x=y -- set-controller br-ex tcp:192.0.2.9:6633"
    " -- add-port br-ex eth9 -- add-port br-ex vx9 -- set Interface vx9 type=vxlan options:remote_ip=192.0.2.99"
    " -- add-br br-int -- set Bridge br-int other_config:mac-table-size=99 external_ids:z=1"
    " -- add-port br-int gre0 -- set Interface gre0 type=gre options:remote_ip=192.0.2.98"
    " -- add-port br-int tap0 -- set Interface tap0 external_ids:iface-id=port-0"
    " -- set Open_vSwitch . other_config:flow-restore-wait=false"
)


@pytest.mark.ovs
def test_what_is_not_ours_is_left_alone(host: Host) -> None:
    names = {
        "Port": ("br-ex", "eth9", "vx9", "gre0", "tap0", "br-int"),
        "Bridge": ("br-ex",),
        "Controller": ("tcp:192.0.2.9:6633",),
    }

    def foreign() -> Any:
        rows = {
            table: [host.rows(table)[name] for name in some]
            for table, some in (*names.items(), ("Interface", names["Port"]))
        }
        return rows, host.get("Open_vSwitch", ".", "other_config")

    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        host.sh(FOREIGN)
        before = foreign()
        host.join(listener.port)
        await eventually(lambda: TARGET in host.rows("Controller"))
        keys = host.get("Open_vSwitch", ".", "external_ids")
        await eventually(lambda: {"weft-geneve", "weft-vxlan", "gre0", "tap0"} == set(host.ports("br-int")))
        host.ctl("set", "Open_vSwitch", ".", "external_ids:weft-encap-type=vxlan")
        await eventually(lambda: {"weft-vxlan", "gre0", "tap0"} == set(host.ports("br-int")))
        assert foreign() == before
        assert host.get("Open_vSwitch", ".", "external_ids") == keys | {"weft-encap-type": "vxlan"}
        config = host.get("Bridge", "br-int", "other_config")
        assert config == {"mac-table-size": "99", "disable-in-band": "true"}
        assert host.get("Bridge", "br-int", "external_ids") == {"z": "1"}

    play(scene)


@pytest.mark.ovs
@pytest.mark.parametrize(
    "damage",
    [
        "del-port br-int weft-vxlan",
        "set Interface weft-vxlan type=gre options:key=7",
        "set Interface weft-vxlan options:df_default=false",
        "set-fail-mode br-int standalone",
        "set Bridge br-int other_config:disable-in-band=false",
        "remove Bridge br-int other_config disable-in-band",
        "set Bridge br-int datapath_type=netdev",
        "del-controller br-int",
        "set-controller br-int tcp:192.0.2.1:6653 tcp:192.0.2.2:6653",
        "set Controller br-int max_backoff=8000 inactivity_probe=0 connection_mode=in-band",
        "del-br br-int",
    ],
)
def test_what_is_ours_and_altered_by_hand_is_healed_within_5_s(host: Host, damage: str) -> None:
    def weft() -> Any:
        bridge = host.rows("Bridge")["br-int"]
        config = dict(bridge["other_config"][1])
        kept = {key: value for key, value in config.items() if key != "datapath-id"}
        [row] = host.rows("Controller").values()
        settings = [row[column] for column in ("target", "max_backoff", "inactivity_probe", "connection_mode")]
        tunnels = [interface(host, name) for name in ("weft-vxlan", "weft-geneve")]
        return bridge["fail_mode"], bridge["datapath_type"], kept, settings, tunnels, host.ports("br-int")

    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        host.join(listener.port, "hv1", "192.0.2.11", "external_ids:weft-datapath-type=system")
        await eventually(lambda: settled(listener, watcher, host))
        before = weft()
        host.sh(f"ovs-vsctl {damage}")
        await eventually(lambda: weft() == before, within_s=5)
        assert listener.sessions["hv1"].trouble == ""

    play(scene)


@pytest.mark.ovs
def test_a_new_encapsulation_address_changes_the_tunnel_ports_in_place(host: Host) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        host.join(listener.port)
        await eventually(lambda: settled(listener, watcher, host))
        before = host.get("Interface", "weft-vxlan", "_uuid")
        host.ctl("set", "Open_vSwitch", ".", "external_ids:weft-encap-ip=192.0.2.77")
        await eventually(lambda: interface(host, "weft-geneve") == tunnel("geneve", "192.0.2.77"))
        assert interface(host, "weft-vxlan") == tunnel("vxlan", "192.0.2.77")
        assert host.get("Interface", "weft-vxlan", "_uuid") == before
        assert watcher.last.encap_ip == "192.0.2.77"

    play(scene)


@pytest.mark.ovs
def test_the_tunnel_ports_follow_to_another_integration_bridge(host: Host) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        host.join(listener.port)
        await eventually(lambda: settled(listener, watcher, host))
        host.ctl("set", "Open_vSwitch", ".", "external_ids:weft-bridge=br-two")
        await eventually(lambda: host.ports("br-two") == ["weft-geneve", "weft-vxlan"])
        assert (host.ports("br-int"), listener.sessions["hv1"].trouble) == ([], "")

    play(scene)


MAPPED = "external_ids:weft-datapath-type=system external_ids:weft-bridge-mappings=physnet1:br-ex"
A_LONG_NAME = "physnet-of-the-second-floor"


def patches(host: Host) -> dict[str, tuple[str, str]]:
    """Every patch port: its bridge, and the name of its peer."""
    rows = [row for row in host.rows("Interface").values() if row["type"] == "patch"]
    return {row["name"]: (host.ctl("port-to-br", row["name"]).strip(), dict(row["options"][1])["peer"]) for row in rows}


@pytest.mark.ovs
def test_a_patch_port_leads_to_each_mapped_bridge_of_which_nothing_else_changes(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    host.sh("ovs-vsctl add-br br-ex -- add-port br-ex eth9 -- set bridge br-ex fail_mode=standalone external_ids:a=b")
    host.sh("ovs-vsctl add-br br-b -- add-port br-b wb-mine")
    whole, own = host.rows("Bridge")["br-ex"], host.ports("br-ex")

    def others() -> Any:
        bridge = host.rows("Bridge")["br-ex"]
        return {column: value for column, value in bridge.items() if column not in ("ports", "_version")}

    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        host.join(listener.port, "hv1", "192.0.2.11", *MAPPED.split())
        await eventually(lambda: len(patches(host)) == 2)
        assert patches(host) == {
            "wp-physnet1": ("br-int", "wb-physnet1"),
            "wb-physnet1": ("br-ex", "wp-physnet1"),
        }
        assert watcher.last.bridge_mappings == (("physnet1", "br-ex"),)
        assert others() == {column: value for column, value in whole.items() if column not in ("ports", "_version")}
        assert host.ports("br-ex") == [*own, "wb-physnet1"]
        assert amendments(caplog) == 1

        more = f"physnet1:br-ex,{A_LONG_NAME}:br-b"
        host.ctl("set", "Open_vSwitch", ".", f"external_ids:weft-bridge-mappings={more}")
        await eventually(lambda: len(patches(host)) == 4)
        assert {name for name, (bridge, _) in patches(host).items() if bridge == "br-b"} == {"wb-phy-1d8766f4"}
        assert all(len(name) <= 15 for name in patches(host))

        host.ctl("set", "Open_vSwitch", ".", "external_ids:weft-bridge-mappings=physnet1:br-b")
        await eventually(lambda: patches(host).get("wb-physnet1") == ("br-b", "wp-physnet1"))
        await eventually(lambda: len(patches(host)) == 2)
        host.ctl("remove", "Open_vSwitch", ".", "external_ids", "weft-bridge-mappings")
        await eventually(lambda: patches(host) == {})
        assert (host.ports("br-ex"), host.ports("br-b")) == (own, ["wb-mine"])
        assert listener.sessions["hv1"].trouble == ""

    play(scene)


@pytest.mark.ovs
@pytest.mark.parametrize(
    "damage",
    [
        "del-port br-int wp-physnet1",
        "del-port br-ex wb-physnet1",
        "del-port wp-physnet1 -- del-port wb-physnet1",
        "set Interface wb-physnet1 options:peer=nobody",
        "set Interface wp-physnet1 type=internal",
        "del-port wb-physnet1 -- add-port br-b wb-physnet1 -- set Port wb-physnet1 external_ids:owner=weft",
        "del-br br-int",
        "del-br br-ex -- add-br br-ex",
    ],
)
def test_patch_ports_that_somebody_harms_are_healed_within_5_s(host: Host, damage: str) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        host.sh("ovs-vsctl add-br br-ex -- add-br br-b")
        host.join(listener.port, "hv1", "192.0.2.11", *MAPPED.split())
        await eventually(lambda: len(patches(host)) == 2)
        before = patches(host)
        host.sh(f"ovs-vsctl {damage}")
        await eventually(lambda: patches(host) == before, within_s=5)

    play(scene)


@pytest.mark.ovs
def test_a_mapped_bridge_that_is_not_there_is_told_and_keeps_nothing_else_from_being_made(host: Host) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        host.join(listener.port, "hv1", "192.0.2.11", *MAPPED.split())
        await eventually(lambda: settled(listener, watcher, host))
        assert watcher.last.lacks.startswith("weft-bridge-mappings maps physnet1 to br-ex, which is no bridge: run `")
        assert (watcher.last.bridge_mappings, patches(host)) == ((), {})
        host.sh("ovs-vsctl add-br br-ex")
        await eventually(lambda: len(patches(host)) == 2)
        assert (watcher.last.lacks, watcher.last.bridge_mappings) == ("", (("physnet1", "br-ex"),))
        host.sh("ovs-vsctl del-br br-ex")
        await eventually(lambda: watcher.last.lacks != "")
        await eventually(lambda: patches(host) == {})

    play(scene)


@pytest.mark.ovs
def test_a_guest_plugged_in_does_not_change_the_id_of_its_switch(host: Host) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        await asyncio.to_thread(host.start_switch)
        host.sh("ovs-vsctl add-br br-int -- set Bridge br-int datapath_type=netdev")
        await eventually(lambda: host.get("Bridge", "br-int", "datapath_id"))
        chosen = host.get("Bridge", "br-int", "datapath_id")
        host.join(listener.port)
        await eventually(lambda: host.get("Bridge", "br-int", "other_config").get("datapath-id") == chosen)
        host.sh("ovs-vsctl add-port br-int tap0 -- set Port tap0 mac='\"00:11:22:33:44:55\"'")
        await eventually(lambda: host.get("Interface", "tap0", "ofport") > 0)
        host.sh("ovs-vsctl add-port br-int tap1 -- set Interface tap1 external_ids:iface-id=port-1")
        await eventually(lambda: watcher.last.claims)
        assert host.get("Bridge", "br-int", "datapath_id") == chosen == f"{watcher.last.datapath_id:016x}"

    play(scene)


@pytest.mark.ovs
def test_a_refused_transaction_is_shown_logged_once_and_tried_again(
    hosts: Callable[[], Host], caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        blocked, other = hosts(), hosts()
        blocked.ctl("add-br", "br-ex", "--", "add-port", "br-ex", "weft-vxlan")
        blocked.join(listener.port, "hv1")
        await eventually(lambda: "constraint violation" in listener.sessions["hv1"].trouble)
        other.join(listener.port, "hv2", "192.0.2.12")
        await eventually(lambda: settled(listener, watcher, other, "hv2"))
        for number in range(5):
            blocked.ctl("set", "Open_vSwitch", ".", f"external_ids:other={number}")
            await asyncio.sleep(0.2)
        assert "br-int" not in blocked.rows("Bridge")
        blocked.ctl("del-port", "br-ex", "weft-vxlan")
        await eventually(lambda: settled(listener, watcher, blocked), within_s=6)

    play(scene)
    troubles = [record.message for record in caplog.records if "in trouble" in record.message]
    assert len(troubles) == 1
    assert "chassis=hv1" in troubles[0]
    assert "\n" not in troubles[0]


@pytest.mark.ovs
def test_a_tunnel_that_open_vswitch_cannot_make_is_trouble(host: Host) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        host.join(listener.port)
        await eventually(lambda: settled(listener, watcher, host))
        host.ctl("set", "Interface", "weft-vxlan", 'error="could not add network device (File exists)"')
        await eventually(lambda: listener.sessions["hv1"].trouble)
        assert listener.sessions["hv1"].trouble == "weft-vxlan: could not add network device (File exists)."
        host.ctl("clear", "Interface", "weft-vxlan", "error")
        await eventually(lambda: not listener.sessions["hv1"].trouble)

    play(scene)


@pytest.mark.ovs
def test_software_that_keeps_undoing_our_settings_is_trouble_and_costs_little(
    host: Host, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(ovsdb._Pace, "LONGEST_S", 0.8)
    monkeypatch.setattr(ovsdb._Pace, "QUIET_S", 2.0)

    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        host.join(listener.port)
        await eventually(lambda: settled(listener, watcher, host))
        began = time.monotonic()

        def told() -> bool:
            return "keeps undoing what Weft sets on br-int" in listener.sessions["hv1"].trouble

        while time.monotonic() < began + 4 or not told():
            assert time.monotonic() < began + 15
            await asyncio.to_thread(host.ctl, "set-fail-mode", "br-int", "standalone")
            await asyncio.sleep(0.02)
        await eventually(lambda: settled(listener, watcher, host))

    play(scene)
    assert amendments(caplog) < 15
    assert sum("in trouble" in record.message for record in caplog.records) == 1


@pytest.mark.ovs
def test_a_hypervisor_that_goes_is_lost_and_comes_back_with_all_it_says(host: Host) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        host.join(listener.port)
        await eventually(lambda: settled(listener, watcher, host))
        host.crash()
        await eventually(lambda: watcher.heard[-1] == "lost hv1")
        assert not listener.sessions
        seen = watcher.last
        host.start()
        await eventually(lambda: watcher.heard[-1] == "observed hv1")
        assert watcher.last == seen

    play(scene)


@pytest.mark.ovs
def test_of_two_hypervisors_with_one_name_the_second_is_refused_and_shown(
    hosts: Callable[[], Host], caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        first, second = hosts(), hosts()
        first.join(listener.port)
        await eventually(lambda: settled(listener, watcher, first))
        second.join(listener.port, "hv1", "192.0.2.12")
        await eventually(lambda: listener.refused and listener.refused[0].last - listener.refused[0].since > 0.5)
        [refused] = listener.refused
        assert (refused.address, refused.system_id) == ("127.0.0.1", "hv1")
        assert "br-int" not in second.rows("Bridge")
        assert watcher.last.encap_ip == "192.0.2.11"
        assert set(watcher.heard) == {"observed hv1"}
        second.ctl("set", "Open_vSwitch", ".", "external_ids:system-id=hv2")
        await eventually(lambda: settled(listener, watcher, second, "hv2"), within_s=30)
        assert sorted(listener.sessions) == ["hv1", "hv2"]

    play(scene)
    assert sum("hypervisor refused" in record.message for record in caplog.records) == 1


@pytest.mark.ovs
def test_a_dead_connection_does_not_keep_a_hypervisor_out(hosts: Callable[[], Host]) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        first, second = hosts(), hosts()
        first.join(listener.port)
        await eventually(lambda: settled(listener, watcher, first))
        first.signal(signal.SIGSTOP)
        second.join(listener.port, "hv1", "192.0.2.12")
        await eventually(lambda: watcher.last.encap_ip == "192.0.2.12", within_s=6)
        events = [event for event, _ in itertools.groupby(watcher.heard)]
        assert events == ["observed hv1", "lost hv1", "observed hv1"]
        first.signal(signal.SIGCONT)
        await eventually(lambda: listener.refused)
        assert watcher.last.encap_ip == "192.0.2.12"

    play(scene)


@pytest.mark.ovs
def test_a_hypervisor_that_cannot_be_recorded_is_recorded_later(host: Host) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        watcher.failures = [Unavailable("disk full")]
        host.join(listener.port)
        await eventually(lambda: "disk full" in listener.sessions["hv1"].trouble)
        assert host.rows("Bridge") == {}
        await eventually(lambda: settled(listener, watcher, host))

    play(scene)


@pytest.mark.ovs
def test_a_fault_of_our_own_is_logged_and_the_hypervisor_tries_again(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        watcher.failures = [ZeroDivisionError("a bug")]
        host.join(listener.port)
        await eventually(lambda: settled(listener, watcher, host))

    play(scene)
    [record] = [record for record in caplog.records if record.exc_info]
    assert "ovsdb connection failed" in record.message
