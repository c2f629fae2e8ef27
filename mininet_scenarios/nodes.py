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
           |         +---------+        |        underlay 192.0.2.0/24: a bridge in a namespace of its own
         guest                        guest      a namespace each; eth0

Open vSwitch forwards in user space (`datapath_type=netdev`): no kernel module is needed. With a kernel datapath
some of the care taken here (checksums, the address of br-phy) would be needless.

mininet ships no types and imports deprecated modules; this module is the fence.
"""

from __future__ import annotations

import re
import signal
import socket
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from pathlib import Path

from mininet_scenarios.api import Api
from mininet_scenarios.errors import CommandFailed, Refused, Unsteady
from mininet_scenarios.probe import Ear, Ping, send
from mininet_scenarios.processes import Daemon, beside_python, inside, run, wait_until

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # mininet 2.3.0.dev6 imports distutils
    from mininet.cli import CLI
    from mininet.net import Mininet
    from mininet.node import Node as MininetNode

CONTROLLER = "198.51.100.1"
MANAGEMENT, UNDERLAY = "198.51.100.", "192.0.2."
API_PORT, OPENFLOW_PORT, OVSDB_PORT = 9696, 6653, 6640
BRIDGE = "br-int"
_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
_FLOW = re.compile(
    r"^ *(cookie=\S+), duration=([\d.]+)s, table=(\d+), n_packets=\d+, n_bytes=\d+,(?: \w+_age=\d+,)* (.*)$",
    re.MULTILINE,
)


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


def _claim(port_id: str, mac: str) -> tuple[str, str]:
    return f"external_ids:iface-id={port_id}", f'external_ids:attached-mac="{mac}"'


class Hypervisor(Node):
    """A machine with Open vSwitch; it knows the controller only by the one command of `join`."""

    number = 0
    away = False

    def prepare(self, number: int, directory: Path) -> None:
        """Set the addresses and start the database, without waiting for it."""
        self.number, self.directory = number, directory
        self.log = directory / "ovs-vswitchd.log"
        self.vtep = f"{UNDERLAY}{10 + number}"
        self.management = f"{MANAGEMENT}{10 + number}"
        self.environment = {key: str(directory) for key in ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR")}
        directory.mkdir()
        self.ip_batch(f"addr add {self.management}/24 dev mgmt0", "link set mgmt0 up", "link set phy0 up")
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
        self.switch = self._daemon("ovs-vswitchd", f"unix:{self.directory}/db.sock")

    def connect_underlay(self) -> None:
        """Make the bridge that holds the tunnel address."""
        bridge = ("--may-exist", "add-br", "br-phy", "--", "set", "bridge", "br-phy", "datapath_type=netdev")
        self.vsctl(*bridge, "--", "--may-exist", "add-port", "br-phy", "phy0")
        self._address_underlay()

    def _address_underlay(self) -> None:
        # In user space the device of an internal port comes and goes with ovs-vswitchd.
        self.ip_batch("addr flush dev br-phy", f"addr add {self.vtep}/24 dev br-phy", "link set br-phy up")

    def _await_socket(self, daemon: Daemon, name: str) -> None:
        def lacking() -> str:
            daemon.must_run()
            return "" if (self.directory / name).exists() else f"no socket {name}"

        wait_until(f"The socket of {daemon.name}", lacking, 10)

    def join(self, keys: Mapping[str, str | None] | None = None) -> None:
        """Join the controller by the contract's one command; `keys` adds, changes or (None) leaves out keys."""
        wanted: dict[str, str | None] = {
            "system-id": self.name,
            "hostname": f"{self.name}.lab",
            "weft-encap-ip": self.vtep,
            "weft-encap-type": "geneve,vxlan",
            "weft-datapath-type": "netdev",
            **(keys or {}),
        }
        settings = [f'external_ids:{key}="{value}"' for key, value in wanted.items() if value is not None]
        missing = [key for key, value in wanted.items() if value is None]
        forget = ("remove", "Open_vSwitch", ".", "external_ids", *missing, "--") if missing else ()
        target = ("set-manager", f"tcp:{CONTROLLER}:{OVSDB_PORT}")
        self.vsctl(*forget, "set", "Open_vSwitch", ".", *settings, "--", *target)

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

        Answers when a new ovs-vswitchd was up, that is answered ovs-appctl(8), in seconds since the epoch.
        """
        if not self.database.running:
            (self.directory / "db.sock").unlink(missing_ok=True)
            self._start_database()
            self._await_socket(self.database, "db.sock")
        up = time.time()
        if not self.switch.running:
            self.switch = self._daemon("ovs-vswitchd", f"unix:{self.directory}/db.sock")
            wait_until("An answer of ovs-vswitchd", self._unanswered, 10, 0.005)
            up = time.time()
            wait_until("The device of br-phy", self._unmade, 10, 0.005)
            self._address_underlay()
        self.away = False
        return up

    def _unanswered(self) -> str:
        self.switch.must_run()
        try:
            self.appctl("-t", str(self.directory / f"ovs-vswitchd.{self.switch.pid}.ctl"), "version")
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

    def vsctl(self, *arguments: str) -> str:
        """ovs-vsctl(8) on this hypervisor; waits for ovs-vswitchd to follow unless told `--no-wait`."""
        return run("ovs-vsctl", "--timeout=15", *arguments, env=self.environment)

    def ofctl(self, *arguments: str) -> str:
        """ovs-ofctl(8) on this hypervisor."""
        return run("ovs-ofctl", "--timeout=15", *arguments, env=self.environment)

    def appctl(self, *arguments: str) -> str:
        """ovs-appctl(8) on this hypervisor."""
        return run("ovs-appctl", "--timeout=15", *arguments, env=self.environment)

    def dpctl(self, *arguments: str) -> str:
        """What the CLI's `dpctl` runs."""
        return self.ofctl(*arguments)

    def flows(self) -> dict[str, float]:
        """The flows of the integration bridge, by what they are, with the seconds since each was added."""
        dump = self.ofctl("dump-flows", BRIDGE)
        return {f"{cookie} table={table} {flow}": float(age) for cookie, age, table, flow in _FLOW.findall(dump)}

    def learn(self, vteps: Set[str]) -> None:
        """Prove the underlay, and let Open vSwitch learn the MACs of other tunnel endpoints.

        In user space it drops the first packet to an endpoint that it does not know (ovs-appctl tnl/neigh/show). It
        learns from ARP replies alone, and only once it has tunnels; the kernel learns from requests too, and would
        then not ask.
        """

        def lacking() -> str:
            known = self.appctl("tnl/neigh/show").split()
            return " ".join(vtep for vtep in vteps if vtep not in known)

        self.ip_batch("neigh flush dev br-phy")
        for vtep in vteps:
            self.run("ping", "-n", "-q", "-c", "1", "-W", "2", vtep)
        wait_until(f"A MAC for each tunnel endpoint on {self}", lacking, 5)

    def groups(self) -> str:
        """The groups of the integration bridge."""
        return self.ofctl("-O", "OpenFlow14", "dump-groups", BRIDGE)

    def must_run(self) -> None:
        """Raise Died when a daemon has ended."""
        self.database.must_run()
        self.switch.must_run()

    def plug(self, tap: str) -> None:
        """Put an interface on the integration bridge; the controller makes the bridge, so wait for it."""
        self.vsctl("wait-until", "bridge", BRIDGE, "--", "add-port", BRIDGE, tap)

    def plug_for(self, tap: str, port_id: str, mac: str) -> None:
        """Put an interface on the integration bridge for a port, in one transaction, as libvirt and Nova do."""
        add = ("wait-until", "bridge", BRIDGE, "--", "add-port", BRIDGE, tap)
        self.vsctl(*add, "--", "set", "interface", tap, *_claim(port_id, mac))

    def claim(self, tap: str, port_id: str, mac: str) -> None:
        """Say whose an interface on the bridge is, without waiting for ovs-vswitchd."""
        self.vsctl("--no-wait", "set", "interface", tap, *_claim(port_id, mac))

    def unplug(self, tap: str) -> None:
        """Take an interface off the integration bridge."""
        self.vsctl("--if-exists", "del-port", BRIDGE, tap)

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

    def terminate(self) -> None:
        """Stop Open vSwitch, then the node."""
        for daemon in (getattr(self, "switch", None), getattr(self, "database", None)):
            if daemon is not None:
                daemon.kill()
        super().terminate()


class Guest(Node):
    """A virtual machine's view of its network: one interface, `eth0`; the other end is a tap of its hypervisor."""

    hypervisor: Hypervisor
    tap: str
    port_id: str
    ip: str
    mac: str
    network_id: str
    plugged = False

    def __init__(self, name: str, **params: object) -> None:
        super().__init__(name, **params)
        self._pings: list[Ping] = []

    def boot(self, address: str, mac: str, mtu: int) -> None:
        """Set up both ends of the wire; `address` has a prefix length."""
        self.ip, self.mac = address.partition("/")[0], mac
        self.ip_batch(
            f"link set eth0 address {mac} mtu {mtu}", "link set eth0 up", f"addr add {address} dev eth0 nodad"
        )
        # Checksums left to hardware that is not there: user-space OVS would forward TCP that no one accepts.
        self.run("ethtool", "-K", "eth0", "tx", "off")
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

    def ping(
        self, target: Guest | str, *, count: int | None = None, interval_s: float = 0.05, mark: bytes = b""
    ) -> Ping:
        """Start to ping a guest, or an address; see `probe.Ping`."""
        address = target if isinstance(target, str) else target.ip
        directory = self.hypervisor.directory
        ping = Ping(self.pid, address, directory=directory, count=count, interval_s=interval_s, mark=mark)
        self._pings.append(ping)
        return ping

    def pings(self, target: Guest | str, count: int = 3) -> bool:
        """Whether all of `count` pings are answered, once each; False when none is, Unsteady for all between."""
        replies = self.ping(target, count=count).wait()
        if replies.duplicates or replies.lost not in (0, count):
            raise Unsteady(self.name, str(target), count, count - replies.lost, replies.duplicates)
        return replies.lost == 0

    def sends(self, *frames: bytes) -> None:
        """Send frames as they are."""
        send(self.pid, "eth0", frames)

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
        """End its pings, then the node; its wire goes with the namespace."""
        for ping in self._pings:
            ping.abandon()
        super().terminate()


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
        self.api = Api(f"http://127.0.0.1:{API_PORT}")
        self.daemon: Daemon | None = None

    def launch(self) -> None:
        """Start it, without waiting until it is ready."""
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

    def weft(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> str:
        """Run a client command of `weft` against this controller."""
        return run(*self.program, *arguments, env={"WEFT_URL": self.api.url}, codes=codes)

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
    """Open Mininet's command line on a topology, until its user leaves."""
    CLI(net)
