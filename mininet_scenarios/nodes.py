"""The Mininet nodes of a lab: hypervisors, guests, the underlay that joins the hypervisors, and the controller.

                controller (weft serve)          the lab's own namespace, API on 127.0.0.1
                     | 198.51.100.1
      ---------------+----------------+-----     management: OpenFlow and OVSDB, nothing else
          mgmt0 .11  |      mgmt0 .12 |
        +------------+--+  +----------+----+
        | hv1           |  | hv2           |     a namespace, an ovsdb-server and an ovs-vswitchd each
        | br-int br-phy |  | br-phy br-int |     br-int is made by the controller; br-phy has the tunnel address
        +--+---------+--+  +---+--------+--+
        tap|     phy0|         |phy0    |tap
           |         +---------+        |        underlay: a bridge in a namespace of its own
         guest                        guest      a namespace each; eth0

Open vSwitch forwards in user space (`datapath_type=netdev`): no kernel module is needed. With a kernel datapath
some of the care taken here (checksums, the address of br-phy) would be needless.

mininet ships no types and imports deprecated modules; this module is the fence.
"""

from __future__ import annotations

import re
import shlex
import signal
import socket
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mininet_scenarios.api import Api
from mininet_scenarios.errors import CommandFailed, Refused, Unsteady
from mininet_scenarios.ofproto import controlled
from mininet_scenarios.probe import Ear, Ping, send, sweep, udp
from mininet_scenarios.processes import Daemon, beside_python, inside, run, wait_until
from mininet_scenarios.sockets import (
    Outcome,
    Transfer,
    call,
    reached,
    refused,
    reopened,
    send_datagram,
    send_raw,
    transfer,
)
from mininet_scenarios.talk import Talk

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # mininet 2.3.0.dev6 imports distutils
    from mininet.cli import CLI
    from mininet.net import Mininet
    from mininet.node import Node as MininetNode
    from mininet.node import OVSSwitch, RemoteController

CONTROLLER = "198.51.100.1"
MANAGEMENT = "198.51.100."
UNDERLAYS = {4: "192.0.2.{}/24", 6: "2001:db8::{}/64"}
API_PORT, OPENFLOW_PORT, OVSDB_PORT = 9696, 6653, 6640
BRIDGE = "br-int"
_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
_FLOW = re.compile(
    r"^ *(cookie=\S+), duration=([\d.]+)s, table=(\d+), n_packets=\d+, n_bytes=\d+,(?: \w+_age=\d+,)* (.*)$",
    re.MULTILINE,
)
_GENERATION = re.compile(r"(?<=load:)\w+(?=->NXM_NX_REG5\[0\.\.27\])|(?<=ct_mark=)\w+(?=/0xfffffff\b)")
_COOKIE = re.compile(r"^cookie=\S+ ")


class Node(MininetNode):  # type: ignore[misc]
    """A node whose commands must succeed and end in time; without IPv6, so that a silent node is silent."""

    name: str
    pid: int

    def __init__(self, name: str, **params: object) -> None:
        super().__init__(name, **params)
        if self.inNamespace:
            if not params.get("ipv6"):
                self.sysctl("ipv6/conf/all/disable_ipv6", 1)
                self.sysctl("ipv6/conf/default/disable_ipv6", 1)
            self.ip_batch("link set lo up")

    def __str__(self) -> str:
        return self.name

    def run(self, *command: str, timeout_s: float = 20.0, codes: tuple[int, ...] = (0,)) -> str:
        """Run a command in the node's namespaces; see `processes.run`."""
        return run(*command, within=self.pid, timeout_s=timeout_s, codes=codes)

    def ip_batch(self, *lines: str) -> None:
        """Run several ip(8) commands at once."""
        run("ip", "-batch", "-", within=self.pid, stdin="\n".join(lines) + "\n")

    def sysctl(self, key: str, value: int) -> None:
        """Set a setting of /proc/sys/net; one that this kernel lacks is off already."""
        with inside(self.pid), suppress(FileNotFoundError):
            Path("/proc/sys/net", key).write_text(f"{value}\n")


class Underlay(Node):
    """The segment that joins the hypervisors' tunnel endpoints; a place to listen at."""

    def __init__(self, name: str, **params: object) -> None:
        super().__init__(name, **params)
        self._ends: list[str] = []
        self.ip_batch("link add br0 type bridge forward_delay 0 mcast_snooping 0", "link set br0 up")

    def attach(self, interface: str) -> None:
        """Join one of this node's interfaces to the segment."""
        self.ip_batch(f"link set {interface} master br0 up")
        self._ends.append(interface)

    def ear(self, expression: str = "") -> Ear:
        """A capture of what the hypervisors send: each frame once."""
        return Ear(self.name, self.pid, self._ends, expression)

    def sends(self, to: Hypervisor, *frames: bytes) -> None:
        """Send frames to a hypervisor, as any machine on the segment could."""
        send(self.pid, f"u-{to}", frames)


def _claim(port_id: str, mac: str) -> tuple[str, str]:
    return f"external_ids:iface-id={port_id}", f'external_ids:attached-mac="{mac}"'


class Machine(Node):
    """A machine with an Open vSwitch of its own; `switch_options` are further options of its ovs-vswitchd."""

    switch_options: Sequence[str] = ()

    def create_database(self, directory: Path) -> None:
        """Start a new database, without waiting for it."""
        self.directory, self.log = directory, directory / "ovs-vswitchd.log"
        self.environment = {key: str(directory) for key in ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR")}
        directory.mkdir()
        run("ovsdb-tool", "create", str(directory / "conf.db"), _SCHEMA)
        self._start_database()

    def _start_database(self) -> None:
        self.database = self._daemon(
            "ovsdb-server",
            str(self.directory / "conf.db"),
            f"--remote=punix:{self.directory}/db.sock",
            # without this `ovs-vsctl set-manager` has no effect
            "--remote=db:Open_vSwitch,Open_vSwitch,manager_options",
        )

    def _daemon(self, program: str, *arguments: str) -> Daemon:
        log = self.directory / f"{program}.log"
        return Daemon(
            f"{program} of {self.name}",
            *(program, *arguments, "--pidfile", f"--log-file={log}", "-vconsole:off"),
            within=self.pid,
            env=self.environment,
            log=log,
        )

    def start_switch(self) -> None:
        """Start ovs-vswitchd, without waiting for it."""
        self._await_socket(self.database, "db.sock")
        self.vsctl("--no-wait", "init")
        self._start_switch()

    def _start_switch(self) -> None:
        self.switch = self._daemon("ovs-vswitchd", f"unix:{self.directory}/db.sock", *self.switch_options)

    def _await_socket(self, daemon: Daemon, name: str) -> None:
        def lacking() -> str:
            daemon.must_run()
            try:
                with socket.socket(socket.AF_UNIX) as caller:  # it is there a moment before anybody listens
                    caller.connect(str(self.directory / name))
            except OSError as error:
                return f"{name}: {error}"
            return ""

        wait_until(f"The socket of {daemon.name}", lacking, 10)

    def vsctl(self, *arguments: str) -> str:
        """ovs-vsctl(8) of this machine; waits for ovs-vswitchd to follow unless told `--no-wait`."""
        return run("ovs-vsctl", "--timeout=15", *arguments, env=self.environment)

    def ofctl(self, *arguments: str) -> str:
        """ovs-ofctl(8) of this machine."""
        return run("ovs-ofctl", "--timeout=15", *arguments, env=self.environment)

    def appctl(self, *arguments: str) -> str:
        """ovs-appctl(8) of this machine."""
        return run("ovs-appctl", "--timeout=15", *arguments, env=self.environment)

    @contextmanager
    def at_a_standstill(self) -> Iterator[None]:
        """Stop ovs-vswitchd while the block runs: what is sent to it meanwhile it takes up 32 frames at a time."""
        self.switch.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.switch.signal(signal.SIGCONT)

    @property
    def control(self) -> Path:
        """The socket at which its ovs-vswitchd answers what ovs-appctl(8) asks."""
        return self.directory / f"ovs-vswitchd.{self.switch.pid}.ctl"

    def forget_decisions(self) -> None:
        """Empty the datapath's cache of decisions, so that the flows as they are now decide about the next frame.

        Open vSwitch acknowledges a change of flows before its cache follows (`revalidator/wait` waits for that). And
        in user space, before 2.17.8, 3.0.5, 3.1.3 and 3.2.0, some of it never does while there is traffic: of two
        cached decisions that overlap, it changes one twice and the other not at all (`dpif_netdev_flow_put` looks for
        what to change by a packet, where it was told which). What such a decision recirculates to may be gone: then
        frames are dropped as `datapath_drop_upcall_error`, and by no flow.
        """
        with controlled(self.control, 15) as control:
            control.ask("revalidator/purge")

    def must_run(self) -> None:
        """Raise Died when a daemon has ended."""
        self.database.must_run()
        self.switch.must_run()

    def terminate(self) -> None:
        """Stop Open vSwitch, then the node."""
        for daemon in (getattr(self, "switch", None), getattr(self, "database", None)):
            if daemon is not None:
                daemon.kill()
        super().terminate()


class Hypervisor(Machine):
    """A machine with Open vSwitch; it knows the controller only by the one command of `join`."""

    number = 0
    away = False
    encaps = "geneve,vxlan"
    underlay = UNDERLAYS[4]
    bridge = BRIDGE

    def __init__(self, name: str, **params: object) -> None:
        super().__init__(name, **params)
        self.mapped: dict[str, str] = {}

    def prepare(self, number: int, directory: Path) -> None:
        """Set the addresses and start the database, without waiting for it."""
        self.number = number
        self.vtep = self.underlay.format(10 + number).partition("/")[0]
        self.management = f"{MANAGEMENT}{10 + number}"
        self.ip_batch(f"addr add {self.management}/24 dev mgmt0", "link set mgmt0 up", "link set phy0 up")
        self.create_database(directory)

    def connect_underlay(self) -> None:
        """Make the bridge that holds the tunnel address."""
        bridge = ("--may-exist", "add-br", "br-phy", "--", "set", "bridge", "br-phy", "datapath_type=netdev")
        self.vsctl(*bridge, "--", "--may-exist", "add-port", "br-phy", "phy0")
        self._address_underlay()

    def _address_underlay(self) -> None:
        # In user space the device of an internal port comes and goes with ovs-vswitchd.
        if ":" in self.vtep:
            self.sysctl("ipv6/conf/br-phy/accept_ra", 0)
            self.sysctl("ipv6/conf/br-phy/disable_ipv6", 0)
        address = self.vtep + self.underlay[-3:]
        self.ip_batch("addr flush dev br-phy", f"addr add {address} dev br-phy nodad", "link set br-phy up")

    @property
    def underlay_mac(self) -> str:
        """The MAC of its tunnel endpoint."""
        return self.run("ip", "-o", "link", "show", "br-phy").partition(" link/ether ")[2].split()[0]

    def join(self, keys: Mapping[str, str | None] | None = None) -> None:
        """Join the controller by the contract's one command; `keys` adds, changes or (None) leaves out keys."""
        wanted: dict[str, str | None] = {
            **self._mappings(),
            "system-id": self.name,
            "hostname": f"{self.name}.lab",
            "weft-encap-ip": self.vtep,
            "weft-encap-type": self.encaps,
            "weft-datapath-type": "netdev",
            **(keys or {}),
        }
        settings = [f'external_ids:{key}="{value}"' for key, value in wanted.items() if value is not None]
        missing = [key for key, value in wanted.items() if value is None]
        forget = ("remove", "Open_vSwitch", ".", "external_ids", *missing, "--") if missing else ()
        target = f"tcp:{CONTROLLER}:{OVSDB_PORT}"
        manage = ("set-manager", target, "--", "set", "manager", target, "max_backoff=1000")
        self.vsctl(*forget, "set", "Open_vSwitch", ".", *settings, "--", *manage)

    def map(self, physical: str, interface: str) -> str:
        """Map a new bridge, with an interface in it, to a physical network; the bridge's name."""
        bridge = self.mapped[physical] = f"br-{physical}"
        made = ("add-br", bridge, "--", "set", "bridge", bridge, "datapath_type=netdev", "fail_mode=standalone")
        self.ip_batch(f"link set {interface} up")
        keys = [f'external_ids:{key}="{value}"' for key, value in self._mappings().items()]
        self.vsctl(*made, "--", "add-port", bridge, interface, "--", "set", "Open_vSwitch", ".", *keys)
        return bridge

    def gateways_seen(self) -> int:
        """How many gateways BFD says are alive, and asks as often as it is to: at first it takes its time."""
        said = self.vsctl("--columns=bfd_status", "find", "interface", "bfd:enable=true")
        return said.count("remote_state=up, state=up")

    def priority(self, number: int | None) -> None:
        """Say how much this hypervisor is wanted as a gateway; None is not at all."""
        if number is None:
            self.vsctl("remove", "Open_vSwitch", ".", "external_ids", "weft-gateway-priority")
        else:
            self.vsctl("set", "Open_vSwitch", ".", f"external_ids:weft-gateway-priority={number}")

    def _mappings(self) -> dict[str, str]:
        mappings = ",".join(f"{physical}:{bridge}" for physical, bridge in self.mapped.items())
        return {"weft-bridge-mappings": mappings} if mappings else {}

    def restart_switch(self) -> None:
        """Restart ovs-vswitchd: the flows are gone until the controller has pushed them again."""
        self.switch.stop()
        self.revive()

    def crash(self, *, switch: bool = True, database: bool = False) -> None:
        """Kill its daemons, as `kill -9` does; `revive()` starts them again."""
        for daemon, dies in ((self.switch, switch), (self.database, database)):
            if dies:
                daemon.kill()

    def leave(self) -> None:
        """Stop all of Open vSwitch; until `revive()` the lab does not wait for this hypervisor."""
        self.away = True
        self.switch.stop()
        self.database.stop()

    def revive(self) -> float:
        """Start those of its daemons that ended.

        Answers when Open vSwitch was up again, in seconds since the epoch: a new ovs-vswitchd answered ovs-appctl(8),
        an old one did what a new database says. Without a database it neither speaks OpenFlow nor, in user space,
        forwards (bridge_run() of vswitchd/bridge.c returns early when it has lost the database's lock).
        """
        if not self.database.running:
            (self.directory / "db.sock").unlink(missing_ok=True)
            self._start_database()
            self._await_socket(self.database, "db.sock")
        if self.switch.running:
            self.vsctl("set", "bridge", "br-phy", f"external_ids:seen={time.time()}")
            up = time.time()
        else:
            self._start_switch()
            wait_until("An answer of ovs-vswitchd", self._unanswered, 10, 0.005)
            up = time.time()
            wait_until("The device of br-phy", self._unmade, 10, 0.005)
            self._address_underlay()
            wait_until("The bridges of ovs-vswitchd", self._unbridged, 10)
        self.away = False
        return up

    def _unanswered(self) -> str:
        self.switch.must_run()
        try:
            self.appctl("-t", str(self.control), "version")
        except CommandFailed as error:
            return str(error)
        return ""

    def _unbridged(self) -> str:
        try:
            for bridge in self.vsctl("list-br").split():
                self.ofctl("show", bridge)
        except CommandFailed as error:
            return str(error)
        return ""

    def _unmade(self) -> str:
        self.switch.must_run()
        try:
            with inside(self.pid):
                socket.if_nametoindex("br-phy")
        except OSError as error:
            return str(error)
        return ""

    def dpctl(self, *arguments: str) -> str:
        """What the CLI's `dpctl` runs."""
        return self.ofctl(*arguments)

    def flows(self) -> dict[str, float]:
        """The flows of the integration bridge, by what they are, with the seconds since each was added."""
        dump = self.ofctl("dump-flows", self.bridge)
        return {f"{cookie} table={table} {flow}": float(age) for cookie, age, table, flow in _FLOW.findall(dump)}

    def cookies(self) -> list[str]:
        """The cookie of each of Weft's flows on the integration bridge."""
        return sorted(set(re.findall(r"\bcookie=(0xa7[0-9a-f]{14}),", self.ofctl("dump-flows", self.bridge))))

    def own_groups(self) -> list[int]:
        """The ids of Weft's groups on the integration bridge; their first four bits tell them."""
        return sorted(id for id in map(int, re.findall(r"group_id=(\d+)", self.groups())) if 1 <= id >> 28 <= 6)

    def meters(self) -> list[int]:
        """The ids of the meters of the integration bridge."""
        return sorted(
            map(int, re.findall(r"\bmeter=(\d+)", self.ofctl("-O", "OpenFlow14", "dump-meters", self.bridge)))
        )

    def connections(self) -> list[str]:
        """What conntrack knows, a line a connection and zone, as ovs-dpctl(8) dump-conntrack prints it."""
        return self.appctl("dpctl/dump-conntrack", "-m").splitlines()

    def forget_connections(self) -> None:
        """Empty conntrack."""
        self.appctl("dpctl/flush-conntrack")

    def groups(self) -> str:
        """The groups of the integration bridge, sorted: a dump's own order is that of a hash table with a history."""
        lines = self.ofctl("-O", "OpenFlow14", "dump-groups", self.bridge).splitlines()
        return "\n".join(sorted(line for line in lines if "group_id=" in line))

    def holds(self) -> set[str]:
        """The flows and groups of the integration bridge, to be compared before and after what was done and undone.

        The generation of a policy only grows, so its number is left out, and so are cookies, which depend on it.
        """
        flows = {_COOKIE.sub("", _GENERATION.sub("N", flow)) for flow in self.flows()}
        return flows | {*self.groups().splitlines()}

    def drops(self) -> Counter[int]:
        """How many frames each reason of a drop has counted, or of a trap (tables 62 and 60 of `docs/pipeline.md`).

        A second late.
        """
        dumps = [self.ofctl("dump-flows", self.bridge, f"table={table}") for table in (60, 62)]
        counted = re.findall(r"n_packets=(\d+),.*,reg8=(\w+) actions=", "".join(dumps))
        return Counter({int(why, 0): int(packets) for packets, why in counted})

    def datapath_drops(self) -> Counter[str]:
        """How many frames the datapath has dropped that no flow drops, by Open vSwitch's names of the reasons."""
        counted = re.findall(r"^(datapath_drop_\w+) .*total: (\d+)$", self.appctl("coverage/show"), re.MULTILINE)
        return Counter({name: int(total) for name, total in counted})

    def strange_ways(self) -> set[str]:
        """The tunnel endpoints that flows lead to whose MAC addresses it has yet to hear: what goes there is lost."""
        with controlled(self.control, 15) as control:
            flows, known = control.ask("bridge/dump-flows", self.bridge), control.ask("tnl/neigh/show")
        return {*re.findall(r"set_field:([^-,]+)->tun_(?:ipv6_)?dst", flows)} - set(known.split())

    def plug(self, tap: str) -> None:
        """Put an interface on the integration bridge; the controller makes the bridge, so wait for it."""
        self.vsctl("wait-until", "bridge", self.bridge, "--", "add-port", self.bridge, tap)

    def plug_for(self, tap: str, port_id: str, mac: str) -> None:
        """Put an interface on the integration bridge for a port, in one transaction, as libvirt and Nova do."""
        add = ("wait-until", "bridge", self.bridge, "--", "add-port", self.bridge, tap)
        self.vsctl(*add, "--", "set", "interface", tap, *_claim(port_id, mac))

    def claim(self, tap: str, port_id: str, mac: str) -> None:
        """Say whose an interface on the bridge is, without waiting for ovs-vswitchd."""
        self.vsctl("--no-wait", "set", "interface", tap, *_claim(port_id, mac))

    def unplug(self, tap: str) -> None:
        """Take an interface off the integration bridge."""
        self.vsctl("--if-exists", "del-port", self.bridge, tap)

    @contextmanager
    def openflow(self) -> Iterator[Counter[str]]:
        """Count the OpenFlow messages that the controller sends here, as ovs-vswitchd logs them."""
        counts: Counter[str] = Counter()
        self.appctl("vlog/disable-rate-limit", "vconn")
        self.appctl("vlog/set", "vconn:file:dbg")
        start = self.log.stat().st_size
        try:
            yield counts
        finally:
            self.appctl("vlog/set", "vconn:file:info")
            with self.log.open(errors="replace") as log:
                log.seek(start)
                for line in log:
                    # 2026-..|vconn|DBG|tcp:198.51.100.1:6653: received: OFPT_FLOW_MOD (OF1.4) (xid=0x7): ...
                    head, found, message = line.partition(": received: ")
                    if found and "|tcp:" in head:
                        counts[message.split(" ", 1)[0]] += 1


class Physical(Machine):
    """A physical network: a switch that knows VLANs, learns, and has no controller. A place to listen at."""

    def __init__(self, name: str, **params: object) -> None:
        super().__init__(name, **params)
        self._ends: list[str] = []

    def prepare(self, directory: Path) -> None:
        """Start it.

        Open vSwitch learns a MAC address from the frames of a cached flow only when that is looked at next, by default
        within 0.5 s and in any order: whoever moved is then found at the old place until its next frame. Switches that
        are no software learn from each frame; every 100 ms, the shortest there is, comes near that.
        """
        self.create_database(directory)
        self.start_switch()
        bridge = ("add-br", "fabric", "--", "set", "bridge", "fabric", "datapath_type=netdev", "fail_mode=standalone")
        self.vsctl(*bridge, "--", "set", "Open_vSwitch", ".", "other_config:max-revalidator=100")

    def attach(self, interface: str, vlan: int | None = None, *, trunk: bool = False) -> None:
        """Plug in one of this node's interfaces: for all VLANs, or for one, untagged there; None is that of no tag."""
        self.ip_batch(f"link set {interface} up")
        access = () if trunk else (f"tag={vlan or 0}", "vlan_mode=access")
        self.vsctl("add-port", "fabric", interface, *access)
        self._ends.append(interface)

    def ear(self, expression: str = "") -> Ear:
        """A capture of what anybody sends there: each frame once, with its tag."""
        return Ear(self.name, self.pid, self._ends, expression)

    def at(self, end: Node) -> Jack:
        """A place to listen at: what one of those who are plugged in sends."""
        return Jack(self, end)

    def sends(self, to: Node, *frames: bytes) -> None:
        """Send frames to one of those who are plugged in."""
        send(self.pid, f"p-{to}", frames)

    def learnt(self) -> dict[tuple[int, str], str]:
        """Where it knows MAC addresses to be, by VLAN, and sends what is for them from now on.

        Its cache of decisions, which follows only some time after what it learns, is emptied.
        """
        ports = dict(re.findall(r"^ *(\d+)\((p-[^)]+)\)", self.ofctl("show", "fabric"), re.MULTILINE))
        table = re.findall(r"^ *(\d+) +(\d+) +([0-9a-f:]{17}) ", self.appctl("fdb/show", "fabric"), re.MULTILINE)
        self.appctl("revalidator/purge")
        return {(int(vlan), mac): ports[port].removeprefix("p-") for port, vlan, mac in table}

    def moves(self) -> int:
        """How often it found a MAC address elsewhere than before."""
        found = re.search(r"moved +: (\d+)", self.appctl("fdb/stats-show", "fabric"))
        return int(found[1]) if found else 0


@dataclass(frozen=True, slots=True)
class Jack:
    """Where somebody is plugged into a physical network."""

    physical: Physical
    end: Node

    def __str__(self) -> str:
        return f"{self.physical} from {self.end}"

    def ear(self, expression: str = "") -> Ear:
        """A capture of what it sends."""
        return Ear(str(self), self.physical.pid, [f"p-{self.end}"], expression)


class Bridge(Hypervisor, OVSSwitch):  # type: ignore[misc]
    """Mininet's own `OVSSwitch` in user space, with an Open vSwitch to itself; an interface is a port by its name."""

    def __init__(self, name: str, **params: object) -> None:
        super().__init__(name, inNamespace=False, datapath="user", **params)
        self.bridge = name

    @classmethod
    def setup(cls) -> None:
        """Mininet would look for the machine's own Open vSwitch."""

    @classmethod
    def isOldOVS(cls) -> bool:  # noqa: N802  # Mininet's name, and its answer needs distutils
        """Is it older than 1.10?"""
        return False

    def vsctl(self, *arguments: str) -> str:
        """ovs-vsctl(8); Mininet says all arguments in one."""
        return super().vsctl(*shlex.split(" ".join(map(str, arguments))))

    def plug(self, tap: str) -> None:
        """Put an interface on the bridge."""
        self.vsctl("add-port", self.bridge, tap)

    def plug_for(self, tap: str, port_id: str, mac: str) -> None:
        """Put an interface on the bridge; that it is a port's is told by its name alone."""
        self.plug(tap)

    def rename(self, tap: str, name: str) -> None:
        """Give an interface on the bridge another name, for which it must leave."""
        self.unplug(tap)
        self.ip_batch(f"link set {tap} down", f"link set {tap} name {name}", f"link set {name} up")
        self.plug(name)


class Remote(RemoteController):  # type: ignore[misc]
    """Where a controller listens that Mininet did not start."""

    def checkListening(self) -> None:  # noqa: N802  # Mininet's name
        """Whoever makes one has asked already, and not by telnet(1)."""


class Host(Node):
    """Somebody's view of a network: one interface, `eth0`. What it runs writes into `directory`."""

    directory: Path
    ips: tuple[str, ...]
    mac: str

    def __init__(self, name: str, **params: object) -> None:
        super().__init__(name, **params)
        self._pings: list[Ping] = []
        self._talks: list[Talk] = []

    def boot(self, addresses: Sequence[str], mac: str, mtu: int) -> None:
        """Set up its end of the wire; addresses have a prefix length, and one of IPv6 turns IPv6 on."""
        self.ips, self.mac = tuple(address.partition("/")[0] for address in addresses), mac
        self.ip_batch(f"link set eth0 address {mac} mtu {mtu}")
        # Who is known is not asked again of the kernel's own accord: what is heard was asked for.
        self.sysctl("ipv4/neigh/eth0/delay_first_probe_time", 3600)
        if any(":" in ip for ip in self.ips):
            self.sysctl("ipv6/neigh/eth0/delay_first_probe_time", 3600)
            for key, value in {"accept_ra": 0, "accept_dad": 0, "disable_ipv6": 0}.items():
                self.sysctl(f"ipv6/conf/eth0/{key}", value)
        self.ip_batch("link set eth0 up", *(f"addr add {address} dev eth0 nodad" for address in addresses))
        # Checksums left to hardware that is not there: user-space OVS would forward TCP that no one accepts.
        self.run("ethtool", "-K", "eth0", "tx", "off")

    def routes(self, gateways: Iterable[str]) -> None:
        """Send what is for elsewhere to these gateways."""
        if wanted := [f"route replace default via {each}" for each in sorted(gateways)]:
            self.ip_batch(*wanted)

    @property
    def ip(self) -> str:
        """Its first address."""
        return self.ips[0]

    def becomes(self, ip: str, mac: str) -> None:
        """Take another address and MAC; the prefix stays /24."""
        self.ips, self.mac = (ip,), mac
        self.ip_batch("addr flush dev eth0", f"link set eth0 address {mac}", f"addr add {ip}/24 dev eth0")

    def ping(
        self,
        target: Host | str,
        *,
        count: int | None = None,
        interval_s: float = 0.05,
        patience_s: float = 1.0,
        mark: bytes = b"",
        source: str = "",
    ) -> Ping:
        """Start to ping a host, or an address; see `probe.Ping`."""
        address = target if isinstance(target, str) else target.ip
        manner = {"interval_s": interval_s, "patience_s": patience_s}
        ping = Ping(self.pid, address, count=count, mark=mark, source=source, **manner)
        self._pings.append(ping)
        return ping

    def pings(self, target: Host | str, count: int = 3) -> bool:
        """Whether all of `count` pings are answered, once each; False when none is, Unsteady for all between.

        When none is, nobody is asked for any more: else its kernel would send what comes next only once it asks again,
        in a second, or drop it when it gives up (`neigh_timer_handler` of Linux' net/core/neighbour.c).
        """
        replies = self.ping(target, count=count).wait()
        if replies.duplicates or replies.lost not in (0, count):
            raise Unsteady(self.name, str(target), count, count - replies.lost, replies.duplicates)
        if replies.lost:
            self.run("ip", "neigh", "flush", "dev", "eth0", "nud", "incomplete", "nud", "failed")
        return replies.lost == 0

    def address(self, version: int) -> str:
        """Its first address of an IP version."""
        return next(ip for ip in self.ips if (":" in ip) == (version == 6))

    def sends(self, *frames: bytes) -> None:
        """Send frames as they are."""
        send(self.pid, "eth0", frames)

    def sweeps(self, mac: str, address: str, port: int, ports: Iterable[int], mark: bytes) -> None:
        """Send a mark, by way of who has a MAC, to a port of an address, once from each of these ports."""
        sweep(self.pid, "eth0", udp(mac, self.mac, self.ip, address, port, mark), ports)

    def tells(self, mac: str, mark: bytes) -> None:
        """Send a mark to a MAC as any guest may: in a datagram, to an address for which no kernel answers."""
        self.sends(udp(mac, self.mac, self.ip, "255.255.255.255", 7, mark))

    def calls(self, target: Host | str, port: int, *, version: int = 4, patience_s: float = 0.8) -> Outcome:
        """What becomes of a TCP connection to a port of a guest, or address, whether or not somebody listens there."""
        address = target if isinstance(target, str) else target.address(version)
        return call(self.pid, address, port, patience_s)

    def refused(self, address: str, port: int = 9, size: int = 8) -> bool:
        """Whether an ICMP error comes back for a datagram to a port of an address where nobody listens."""
        return refused(self.pid, address, port, size)

    def reaches(
        self,
        target: Host,
        protocol: str,
        *ports: int,
        version: int = 4,
        size: int = 8,
        options: Mapping[int, bytes] | None = None,
        patience_s: float = 0.8,
        by: str = "",
        higher: int = 0,
    ) -> set[int]:
        """Which of these ports of a guest, where somebody listens now, this one gets an answer from.

        The guest is asked at its own address and ports, or `by` another address, at ports so much `higher`, which are
        to lead there. By TCP an answer is a
        connection, by UDP a datagram of `size` bytes that comes back. `options` are set on sockets of IPv6 (ipv6(7)):
        extension headers.
        """
        places = (self.pid, target.pid)
        own = target.address(version)
        return reached(places, protocol, by or own, own, ports, size, options or {}, patience_s, higher)

    def transfers(
        self, target: Host, megabytes: int, *, port: int = 5001, version: int = 4, patience_s: float = 30.0
    ) -> Transfer:
        """Send so much over TCP to a guest, where somebody listens now, and see how it came."""
        return transfer((self.pid, target.pid), target.address(version), port, megabytes << 20, patience_s)

    def reopens(
        self, target: Host, port: int, from_port: int, *, both: bool, version: int = 4, by: str = "", higher: int = 0
    ) -> float | None:
        """In how many seconds a connection that this one has lost is there again; `both`: that both have.

        `by` and `higher` as in `reaches`; see `sockets.reopened`.
        """
        own, places = target.address(version), (self.pid, target.pid)
        return reopened(places, by or own, port + higher, (own, port), from_port, both=both)

    def sends_raw(self, target: Host, protocol: int, payload: bytes, *, version: int = 4) -> None:
        """Send a packet of an IP protocol by its number; the kernel adds the header."""
        send_raw(self.pid, target.address(version), protocol, payload)

    def sends_datagram(self, target: Host, port: int, payload: bytes, *, version: int = 4) -> None:
        """Send a UDP datagram, whether or not somebody listens; the kernel makes fragments of a large one."""
        send_datagram(self.pid, target.address(version), port, payload)

    def listens(
        self, port: int, protocol: str = "tcp", *, version: int = 4, mute: bool = False, interval_s: float = 0.05
    ) -> Talk:
        """Take conversations at a port, and say something in each unless `mute`; see `talk`."""
        talk = self._talk("listen", protocol, self.address(version), port, mute, interval_s)
        talk.listening()
        return talk

    def talks(
        self,
        target: Host,
        port: int,
        protocol: str = "tcp",
        *,
        count: int = 1,
        from_port: int = 0,
        version: int = 4,
        mute: bool = False,
        interval_s: float = 0.05,
        by: str = "",
    ) -> Talk:
        """Begin conversations with whoever listens at a guest's port, `by` another address if any; see `talk`."""
        return self._talk("call", protocol, by or target.address(version), port, mute, interval_s, count, from_port)

    def hangs_up(self) -> None:
        """End all its conversations."""
        while self._talks:
            self._talks.pop().abandon()

    def _talk(
        self,
        role: str,
        protocol: str,
        address: str,
        port: int,
        mute: bool,
        interval_s: float,
        count: int = 1,
        from_port: int = 0,
    ) -> Talk:
        manner = "mute" if mute else "speak"
        arguments = (role, protocol, address, str(port), f"{interval_s:g}", manner, str(count), str(from_port))
        talk = Talk(self.pid, *arguments, directory=self.directory, interval_s=interval_s)
        self._talks.append(talk)
        return talk

    def ear(self, expression: str = "") -> Ear:
        """A capture of what arrives."""
        return Ear(self.name, self.pid, ("eth0",), expression)

    def finds_free(self, address: str) -> bool:
        """Whether nobody answers two probes for an address (RFC 5227)."""
        probe = ("arping", "-D", "-I", "eth0", "-c", "2", "-w", "2", address)
        return "Received 0 response" in self.run(*probe, codes=(0, 1))

    def knows(self, address: str, mac: str) -> None:
        """Write a neighbour down for good, so that nobody need be asked."""
        self.ip_batch(f"neigh replace {address} lladdr {mac} dev eth0 nud permanent")

    def forgets(self) -> None:
        """Forget all neighbours."""
        self.ip_batch("neigh flush dev eth0")

    def terminate(self) -> None:
        """End its pings and talks, then the node; its wire goes with the namespace."""
        for ping in self._pings:
            ping.abandon()
        self.hangs_up()
        super().terminate()


class Guest(Host):
    """A virtual machine; the other end of its wire is a tap of its hypervisor."""

    hypervisor: Hypervisor
    tap: str
    port_id: str
    network_id: str
    plugged = False

    def boot(self, addresses: Sequence[str], mac: str, mtu: int) -> None:
        """Set up both ends of the wire."""
        super().boot(addresses, mac, mtu)
        # The hypervisor's kernel must not answer what only the network may answer.
        self.hypervisor.sysctl(f"ipv4/conf/{self.tap}/arp_ignore", 8)
        self.hypervisor.ip_batch(f"link set {self.tap} up")

    def plug(self) -> None:
        """Plug the interface into the hypervisor's integration bridge, for its port."""
        self.hypervisor.plug_for(self.tap, self.port_id, self.mac)
        self.plugged = True

    def claim(self, port_id: str) -> None:
        """Say that the interface, which is on the bridge already, is that port's."""
        self.port_id, self.plugged = port_id, True
        self.hypervisor.claim(self.tap, port_id, self.mac)

    def unplug(self) -> None:
        """Take the interface off the bridge."""
        self.hypervisor.unplug(self.tap)
        self.plugged = False


class Controller(Node):
    """`weft serve`, as shipped, with a store of its own."""

    program: Sequence[str] = (beside_python("weft"),)

    def prepare(self, directory: Path, options: Sequence[str]) -> None:
        """Say where its store and log are, and its further options."""
        self.log = directory / "weft.log"
        self.options = (
            *("--store", f"sqlite:///{directory}/weft.sqlite"),
            *("--api", f"127.0.0.1:{API_PORT}"),
            *("--openflow", f"0.0.0.0:{OPENFLOW_PORT}"),
            *("--ovsdb", f"0.0.0.0:{OVSDB_PORT}"),
            *options,
        )
        # Several labs are alive at once, each with this address in a namespace of its own.
        self.api = Api(f"http://127.0.0.1:{API_PORT}", place=partial(inside, self.pid))
        self.daemon: Daemon | None = None

    def launch(self) -> None:
        """Start it, without waiting until it is ready."""
        with inside(self.pid):
            self.daemon = Daemon("weft serve", *self.program, "serve", *self.options, log=self.log)

    def ready(self, timeout_s: float = 20.0) -> None:
        """Wait until it says that it is ready."""

        def lacking() -> str:
            if self.daemon is None:
                return "it was not started"
            self.daemon.must_run()
            try:
                self.api.get("/readyz")
            except (Refused, OSError) as error:
                return str(error)
            return ""

        wait_until("A ready controller", lacking, timeout_s)

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.launch()
        self.ready()

    def stop(self, deleteIntfs: bool = False) -> None:  # noqa: N803  # Mininet's signature
        """End it as an operator does: SIGTERM."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it like a power cut does: SIGKILL."""
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        if self.daemon is not None:
            self.daemon.signal(number)
            self.daemon.wait(10)
            self.daemon = None

    def tail(self, lines: int = 40) -> str:
        """The end of its log, over all its starts."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def weft(self, *arguments: str, stdin: str = "", codes: tuple[int, ...] = (0,)) -> str:
        """Run a client command of `weft` against this controller."""
        with inside(self.pid):
            return run(*self.program, *arguments, env={"WEFT_URL": self.api.url}, stdin=stdin, codes=codes)

    def terminate(self) -> None:
        """End it, then the node."""
        self.kill()
        super().terminate()


def empty_topology() -> Mininet:
    """A Mininet to put nodes into."""
    # Mininet() would raise limits of the whole machine first (fs.file-max, kernel.pty.max): tell it that it has.
    Mininet.inited = True
    return Mininet(topo=None, build=False)


def open_cli(net: Mininet) -> None:
    """Open Mininet's command line on a topology, until its user leaves; a hypervisor's tools there ask its own OVS."""
    for node in net.values():
        if isinstance(node, Hypervisor):
            node.cmd("export", *(f"{name}={shlex.quote(value)}" for name, value in node.environment.items()))
    CLI(net)
