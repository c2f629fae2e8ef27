"""What forwarding costs: CPU time of ovs-vswitchd for each GB of TCP payload, Weft's flows against the least that could.

A lab of two hypervisors (Open vSwitch in user space). Guests of Weft's, with security groups and without port security,
are plugged into its bridge; others, alike, into a bridge of ours beside it, in the same ovs-vswitchd, which has
nothing but two outputs, or as many look-ups in conntrack as Weft makes there: a zone a guest. All take turns in
many short rounds, forward and back, and what is compared are two turns of one round: a machine that is busy is
equally so for both. Each turn begins with an empty datapath, and counts once the connection is under way.

Socket I/O is most of this; these are no numbers of the kernel's datapath, nor of DPDK's.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from mininet_scenarios.lab import Lab, Network
from mininet_scenarios.nodes import Guest, Hypervisor
from mininet_scenarios.processes import inside
from mininet_scenarios.processes import run as command
from tests.benchmarks.report import Figure, Limit, at_most

ROUNDS, LEAST_ROUNDS = 9, 3
BUDGET_S = 170.0
"""No round begins later than this, but for the least that a median needs."""
WARM_BYTES, BYTES = 4 << 20, 64 << 20
PATIENCE_S = 30.0
PORT = 5001
BRIDGE = "br-bare"
NEAR, FAR, TUNNEL = 1, 2, 3
"""OpenFlow ports of our bridge: a guest, the other guest there, the tunnel to the other hypervisor."""
VNI = 4242
ZONES = (65001, 65002)
"""Weft hands out zones from 1 on."""


@dataclass(frozen=True, slots=True)
class Case:
    """A pair of guests, and the flows of our bridge on each hypervisor that their frames pass; none of Weft's."""

    name: str
    source: Guest
    target: Guest
    bare: Mapping[Hypervisor, Sequence[str]]

    @property
    def hypervisors(self) -> list[Hypervisor]:
        """Where the frames pass."""
        return [*dict.fromkeys((self.source.hypervisor, self.target.hypervisor))]


@dataclass(frozen=True, slots=True)
class Cost:
    """What one turn found."""

    cpu_s_per_gb: float
    gbit_s: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two cases: the first is to cost no more than the limit says, as a multiple of the second."""

    one: str
    other: str
    limit: Limit | None = None


COMPARISONS = (
    Comparison("same host, Weft, security groups", "same host, bare, two look-ups", at_most(1.05)),
    Comparison("across, Weft, security groups", "across, bare, one look-up a side", at_most(1.05)),
    Comparison("same host, Weft, no port security", "same host, bare, two flows", at_most(1.05)),
    Comparison("across, Weft, no port security", "across, bare, two flows", at_most(1.05)),
    Comparison("same host, Weft, security groups", "same host, bare, one look-up"),
    Comparison("same host, Weft, security groups", "same host, bare, two flows"),
    Comparison("across, Weft, security groups", "across, bare, two flows"),
)


def run() -> Iterator[Figure]:
    """The figures of the data plane."""
    with Lab(hypervisors=2) as lab:
        cases = prepare(lab)
        found: dict[str, list[Cost]] = {case.name: [] for case in cases}
        deadline = time.monotonic() + BUDGET_S
        for turn in range(ROUNDS):
            if turn >= LEAST_ROUNDS and time.monotonic() > deadline:
                break
            for case in cases if turn % 2 else cases[::-1]:
                found[case.name].append(measure(case))
        lab.settles()
    for name, costs in found.items():
        speed = median(cost.gbit_s for cost in costs)
        at = f"{name} ({speed:.2f} Gbit/s, {len(costs)} rounds)"
        yield Figure(at, median(cost.cpu_s_per_gb for cost in costs), "CPU s/GB")
    for each in COMPARISONS:
        turns = zip(found[each.one], found[each.other], strict=True)
        ratio = median(one.cpu_s_per_gb / other.cpu_s_per_gb for one, other in turns)
        yield Figure(f"{each.one}, against {each.other}", ratio, "times", each.limit)


# ---- the cases ------------------------------------------------------------------------------------------------


def prepare(lab: Lab) -> list[Case]:
    """Guests of Weft's and of our own, two on one hypervisor and one on the other each; and who sends to whom."""
    red = lab.network("red", cidr="10.0.0.0/24", project="red")
    default = lab.default_group("red")
    lab.rule(default, protocol="tcp", ports=PORT, remote=default)
    guarded = trio(lab, red, "guarded", 10, True)
    unguarded = trio(lab, red, "open", 20, False)
    lab.converged()
    bare = outsiders(lab, red, 30)
    one, other = (guest.hypervisor for guest in bare[1:])
    cases = []
    for name, zones in (("two flows", ()), ("one look-up", ZONES[:1]), ("two look-ups", ZONES)):
        flows = {one: pipeline((NEAR, FAR), zones)}
        cases.append(Case(f"same host, bare, {name}", bare[0], bare[1], flows))
    for name, zones in (("two flows", ()), ("one look-up a side", ZONES[:1])):
        flows = {each: pipeline((NEAR, TUNNEL), zones) for each in (one, other)}
        cases.append(Case(f"across, bare, {name}", bare[0], bare[2], flows))
    for name, guests in (("security groups", guarded), ("no port security", unguarded)):
        cases.append(Case(f"same host, Weft, {name}", guests[0], guests[1], {}))
        cases.append(Case(f"across, Weft, {name}", guests[0], guests[2], {}))
    return cases


def places(first: int) -> Iterator[tuple[int, str, str, str]]:
    """The number, hypervisor, address and MAC of each of three guests."""
    for number, on in enumerate(("hv1", "hv1", "hv2")):
        last = first + number
        yield number, on, f"10.0.0.{last}", f"02:00:00:00:00:{last}"


def trio(lab: Lab, network: Network, name: str, first: int, guarded: bool) -> list[Guest]:
    """Three guests of Weft's; their port security is on, and with it security groups, or off."""
    return [
        lab.guest(f"{name}{number}", network=network, on=on, ip=ip, mac=mac, port_security_enabled=guarded)
        for number, on, ip, mac in places(first)
    ]


def outsiders(lab: Lab, network: Network, first: int) -> list[Guest]:
    """Three guests on our own bridges, which a tunnel joins; their neighbours are written down."""
    for hypervisor, peer in zip(lab.hypervisors.values(), reversed(lab.hypervisors.values()), strict=True):
        made = ("add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "datapath_type=netdev", "fail_mode=secure")
        hypervisor.vsctl(*made)
        options = (f"options:remote_ip={peer.vtep}", f"options:key={VNI}", "type=vxlan")
        plug(hypervisor, "bare-vxlan", TUNNEL, *options)
    guests = [
        lab.machine(f"bare{number}", network=network, on=on, ip=ip, mac=mac) for number, on, ip, mac in places(first)
    ]
    for guest, port in zip(guests, (NEAR, FAR, NEAR), strict=True):
        plug(guest.hypervisor, guest.tap, port)
        for each in guests:
            if each is not guest:
                guest.knows(each.ip, each.mac)
    return guests


def plug(hypervisor: Hypervisor, interface: str, port: int, *settings: str) -> None:
    """Put an interface on our bridge, at an OpenFlow port."""
    chosen = (f"ofport_request={port}", *settings)
    hypervisor.vsctl("add-port", BRIDGE, interface, "--", "set", "interface", interface, *chosen)


def pipeline(ends: tuple[int, int], zones: Sequence[int]) -> list[str]:
    """Flows between two ports and nothing else, with a look-up in each zone, those of the way back in reverse."""
    return [*way(*ends, zones), *way(*ends[::-1], zones[::-1])]


def way(source: int, target: int, zones: Sequence[int]) -> Iterator[str]:
    """The flows of one direction; each table but the first is behind a look-up, and opens connections in its zone."""
    onward = [*(f"ct(table={table},zone={zone})" for table, zone in enumerate(zones, 1)), f"output:{target}"]
    yield f"table=0,ip,in_port={source},actions={onward[0]}"
    for table, zone in enumerate(zones, 1):
        known = f"table={table},ip,in_port={source},ct_state=+trk"
        yield f"{known}+new,actions=ct(commit,zone={zone}),{onward[table]}"
        yield f"{known}+est,actions={onward[table]}"


# ---- one turn -------------------------------------------------------------------------------------------------


def measure(case: Case) -> Cost:
    """Send once, and see what it costs."""
    for hypervisor, flows in case.bare.items():
        text = "\n".join(flows)
        command("ovs-ofctl", "--bundle", "replace-flows", BRIDGE, "-", env=hypervisor.environment, stdin=text)
    for hypervisor in case.hypervisors:
        hypervisor.appctl("revalidator/purge")
    with connection(case.source, case.target) as ends, ThreadPoolExecutor(1) as pool:
        sender, taker = ends
        for size in (WARM_BYTES, BYTES):
            began, cpu_s = time.monotonic(), cpu_s_of(case.hypervisors)
            sent = pool.submit(sender.sendall, bytes(size))
            take(taker, size)
            sent.result()
        seconds, cpu_s = time.monotonic() - began, cpu_s_of(case.hypervisors) - cpu_s
    return Cost(1e9 * cpu_s / BYTES, 8e-9 * BYTES / seconds)


@contextmanager
def connection(source: Guest, target: Guest) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a TCP connection between guests; a socket stays in the namespace in which it was opened."""
    with inside(target.pid):
        listener = socket.create_server((target.ip, PORT))
    with listener:
        listener.settimeout(PATIENCE_S)
        with inside(source.pid):
            sender = socket.create_connection((target.ip, PORT), PATIENCE_S)
        with sender, listener.accept()[0] as taker:
            taker.settimeout(PATIENCE_S)
            yield sender, taker


def take(taker: socket.socket, size: int) -> None:
    """Read so many bytes."""
    buffer = bytearray(1 << 20)
    while size:
        read = taker.recv_into(buffer, min(size, len(buffer)))
        if not read:
            raise ConnectionError(f"{size} bytes before its end, the stream ended")
        size -= read


def cpu_s_of(hypervisors: Sequence[Hypervisor]) -> float:
    """The CPU time of all threads of the hypervisors' ovs-vswitchd so far, in seconds.

    A process has a clock of it (clock_getcpuclockid(3), which Python lacks), finer than the 10 ms of /proc/PID/stat.
    """
    return sum(time.clock_gettime(~hypervisor.switch.pid << 3 | 2) for hypervisor in hypervisors)
