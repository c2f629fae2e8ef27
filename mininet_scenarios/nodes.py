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

`machines` has the hypervisors and the switches of physical networks, `hosts` the guests.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from mininet_scenarios.api import Api
from mininet_scenarios.captures import Ear, send
from mininet_scenarios.errors import Refused
from mininet_scenarios.processes import Daemon, beside_python, inside, run, wait_until
from mininet_scenarios.stock import Node as MininetNode

CONTROLLER = "198.51.100.1"
API_PORT, OPENFLOW_PORT, OVSDB_PORT = 9696, 6653, 6640


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

    def sends(self, to: Node, *frames: bytes) -> None:
        """Send frames to a hypervisor, as any machine on the segment could."""
        send(self.pid, f"u-{to}", frames)


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

    def weft(self, *arguments: str, stdin: str = "", codes: tuple[int, ...] = (0,), timeout_s: float = 20.0) -> str:
        """Run a client command of `weft` against this controller."""
        env = {"WEFT_URL": self.api.url}
        with inside(self.pid):
            return run(*self.program, *arguments, env=env, stdin=stdin, codes=codes, timeout_s=timeout_s)

    def terminate(self) -> None:
        """End it, then the node."""
        self.kill()
        super().terminate()
