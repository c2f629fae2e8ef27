"""The machines of a lab that have an Open vSwitch: hypervisors, and the switches of physical networks."""

from __future__ import annotations

import re
import shlex
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mininet_scenarios.captures import Ear, send
from mininet_scenarios.errors import CommandFailed
from mininet_scenarios.nodes import CONTROLLER, OVSDB_PORT, Node
from mininet_scenarios.ofproto import controlled
from mininet_scenarios.processes import Daemon, inside, run, wait_until
from mininet_scenarios.stock import CLI, Mininet

MANAGEMENT = "198.51.100."
UNDERLAYS = {4: "192.0.2.{}/24", 6: "2001:db8::{}/64"}
BRIDGE = "br-int"
_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
_FLOW = re.compile(
    r"^ *(cookie=\S+), duration=([\d.]+)s, table=(\d+), n_packets=\d+, n_bytes=\d+,(?: \w+_age=\d+,)* (.*)$",
    re.MULTILINE,
)
_GENERATION = re.compile(r"(?<=load:)\w+(?=->NXM_NX_REG5\[0\.\.27\])|(?<=ct_mark=)\w+(?=/0xfffffff\b)")
_COOKIE = re.compile(r"^cookie=\S+ ")


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


def _claim(port_id: str, mac: str) -> tuple[str, str]:
    return f"external_ids:iface-id={port_id}", f'external_ids:attached-mac="{mac}"'


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
        settled = ("max_backoff=1000", "connection_mode=out-of-band")
        manage = ("set-manager", target, "--", "set", "manager", target, *settled)
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


def open_cli(net: Mininet) -> None:
    """Open Mininet's command line on a topology, until its user leaves; a hypervisor's tools there ask its own OVS."""
    for node in net.values():
        if isinstance(node, Hypervisor):
            node.cmd("export", *(f"{name}={shlex.quote(value)}" for name, value in node.environment.items()))
    CLI(net)
