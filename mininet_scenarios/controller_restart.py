"""The controller dies and comes back ten times in a row under 200 flows of traffic: nothing is lost, no flow is sent.

Two tenants with the same addresses have five guests each on two hypervisors. Every guest sends UDP to each of its
mates on five ports all the time, every datagram numbered and naming its tenant, while the controller is killed or
stopped, in turn, and started again.

    python -m mininet_scenarios.controller_restart [--restarts 10] [--type vxlan|geneve]
"""

from __future__ import annotations

import argparse
import selectors
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple, Self

from mininet_scenarios.hosts import Guest
from mininet_scenarios.lab import Lab
from mininet_scenarios.processes import inside, wait_until
from mininet_scenarios.rows import Row, concluded, show
from mininet_scenarios.two_networks import TENANTS

GUESTS = 5
PORTS = 5
RESTARTS = 10
_FIRST_PORT = 7001
_ROUND_S = 0.1  # every flow sends one datagram a round
_DATAGRAM = struct.Struct("!III")  # the flow, the round, and how many flows there are: a mark that it is ours
_BUFFER_BYTES = 4 << 20


class Flow(NamedTuple):
    """Datagrams of one guest to another one, from a port to the same port."""

    source: Guest
    target: Guest
    port: int


@dataclass(slots=True)
class Tally:
    """What became of one flow: datagrams sent and received, and those that came to another guest or twice."""

    sent: int = 0
    received: int = 0
    astray: int = 0
    again: int = 0
    last: int = field(default=-1, repr=False)


class Traffic:
    """Every flow sends all the time, while used as a context manager; `tallies` are complete once it has ended.

    Sockets of all guests are held by one thread of this process: a hundred guests cost as little as two.
    """

    def __init__(self, flows: Sequence[Flow], round_s: float = _ROUND_S) -> None:
        self._flows, self._round_s = flows, round_s
        self.tallies = [Tally() for _ in flows]
        self._stack = ExitStack()
        self._selector = selectors.DefaultSelector()
        self._sockets: dict[tuple[str, int], socket.socket] = {}
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)

    @property
    def lost(self) -> int:
        """How many datagrams did not arrive."""
        return sum(tally.sent - tally.received for tally in self.tallies)

    @property
    def sent(self) -> int:
        """How many datagrams were sent."""
        return sum(tally.sent for tally in self.tallies)

    @property
    def wrong(self) -> int:
        """How many datagrams came to another guest than they were sent to, or twice."""
        return sum(tally.astray + tally.again for tally in self.tallies)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self._selector.close)
            for guest, port in {(end, flow.port) for flow in self._flows for end in (flow.source, flow.target)}:
                with inside(guest.pid):
                    here = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                here.setblocking(False)
                here.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
                here.bind((guest.ip, port))
                self._sockets[guest.name, port] = here
                self._selector.register(here, selectors.EVENT_READ, guest)
            self._thread.start()
            self._stack = stack.pop_all()
        wait_until("A datagram of every flow", self._silent, 10)
        return self

    def _silent(self) -> str:
        silent = [flow for flow, tally in zip(self._flows, self.tallies, strict=True) if not tally.received]
        return f"none of {len(silent)} flows, such as {silent[0].source} to {silent[0].target}" if silent else ""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ending.set()
        self._thread.join()
        self._stack.close()

    def _run(self) -> None:
        round = 0
        while not self._ending.is_set():
            for number, (flow, tally) in enumerate(zip(self._flows, self.tallies, strict=True)):
                data = _DATAGRAM.pack(number, round, len(self._flows))
                self._sockets[flow.source.name, flow.port].sendto(data, (flow.target.ip, flow.port))
                tally.sent += 1
            round += 1
            self._receive(time.monotonic() + self._round_s)
        self._receive(time.monotonic() + 1.0)

    def _receive(self, until: float) -> None:
        """Take what arrives, until a time."""
        while (left_s := until - time.monotonic()) > 0:
            for key, _ in self._selector.select(left_s):
                assert isinstance(key.fileobj, socket.socket)
                self._take(key.fileobj.recv(2048), key.data)

    def _take(self, data: bytes, guest: Guest) -> None:
        if len(data) != _DATAGRAM.size:
            return
        number, round, flows = _DATAGRAM.unpack(data)
        if flows != len(self._flows):
            return
        tally = self.tallies[number]
        if self._flows[number].target is not guest:
            tally.astray += 1
        elif round <= tally.last:
            tally.again += 1
        else:
            tally.received += 1
            tally.last = round


def build(lab: Lab, type: str = "vxlan") -> list[Flow]:
    """Make the two tenants and their guests; the 200 flows, each tenant's within itself."""
    tenants: list[list[Guest]] = []
    for tenant in TENANTS:
        network = lab.network(tenant, cidr="10.0.0.0/24", project=f"project-{tenant}", type=type)
        places = [("hv1", "hv2")[number % 2] for number in range(GUESTS)]
        tenants.append(
            [
                lab.guest(f"{tenant}{n}", network=network, on=on, ip=f"10.0.0.{n}", mac=f"02:00:00:00:00:{n:02x}")
                for n, on in enumerate(places, 11)
            ]
        )
    lab.converged()
    ports = range(_FIRST_PORT, _FIRST_PORT + PORTS)
    return [
        Flow(source, target, port)
        for guests in tenants
        for source in guests
        for target in guests
        if source is not target
        for port in ports
    ]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the restarts cost. `mods`: messages that change flows or groups, as the hypervisors logged them."""

    restarts: int
    greetings: int
    traffic: Traffic
    counted: int
    mods: dict[str, int]
    renewed: int


def restart(lab: Lab, flows: Sequence[Flow], restarts: int = RESTARTS) -> Outcome:
    """Kill and stop the controller in turn, under traffic, and have it catch up each time."""
    before = time.time()
    counted, said = 0, []
    with ExitStack() as stack:
        traffic = stack.enter_context(Traffic(flows))
        said = [stack.enter_context(hypervisor.openflow()) for hypervisor in lab.hypervisors.values()]
        for number in range(restarts):
            if number % 2:
                lab.controller.stop()
            else:
                lab.controller.kill()
            lab.controller.start()
            lab.converged()
            counted += sum(row["flow_mods"] for row in lab.chassis().values())
        since_s = time.time() - before
        renewed = sum(age < since_s for hv in lab.hypervisors.values() for age in hv.flows().values())
    mods = {kind: count for each in said for kind, count in each.items() if "MOD" in kind or "BUNDLE" in kind}
    return Outcome(restarts, sum(each["OFPT_HELLO"] for each in said), traffic, counted, mods, renewed)


def judge(outcome: Outcome) -> Iterator[Row]:
    """What had to be seen of the restarts, and what was."""
    traffic, restarts = outcome.traffic, outcome.restarts
    flows = len(traffic.tallies)
    yield Row.equal(f"{restarts} restarts: datagrams lost, of {traffic.sent} in {flows} flows", "0", f"{traffic.lost}")
    yield Row.equal(f"{restarts} restarts: datagrams astray or doubled", "0", f"{traffic.wrong}")
    greeted = f"{outcome.greetings}"
    yield Row(
        f"{restarts} restarts: greetings by the controller",
        f">= {2 * restarts}",
        greeted,
        outcome.greetings >= 2 * restarts,
    )
    yield Row.equal(f"{restarts} restarts: flow-mods, as the controller counts", "0", f"{outcome.counted}")
    yield Row.equal(f"{restarts} restarts: modifications, as Open vSwitch logs", "{}", f"{outcome.mods}")
    yield Row.equal(f"{restarts} restarts: flows put anew", "0", f"{outcome.renewed}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the topology, restart the controller, and end with 1 when something was wrong."""
    parser = argparse.ArgumentParser(prog="controller_restart", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--type", choices=("vxlan", "geneve"), default="vxlan", help="encapsulation (vxlan)")
    parser.add_argument("--restarts", type=int, default=RESTARTS, help=f"how often ({RESTARTS})")
    options = parser.parse_args(arguments)

    def play() -> list[Row]:
        with Lab(hypervisors=2) as lab:
            flows = build(lab, options.type)
            rows = list(judge(restart(lab, flows, options.restarts)))
            lab.settles()
            print(show(rows))
            return rows

    return concluded(play)


if __name__ == "__main__":
    sys.exit(main())
