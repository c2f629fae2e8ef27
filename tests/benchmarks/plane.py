"""What forwarding costs: CPU time of ovs-vswitchd for each GB of TCP payload, Weft's flows against the least that could.

A lab of two hypervisors (Open vSwitch in user space), two guests on one and one on the other. Their frames take Weft's
way, with security groups and without port security, or that of a few flows of our own before it, which Weft keeps as
it keeps those of anybody: nothing but outputs, or with as many look-ups in conntrack as Weft makes, a zone a guest. So
switches, interfaces and guests are the same (like pairs of guests differ by 5 %). All take turns in many short rounds,
forward and back, so that a machine that is busy is so for all: each round is compared for itself, and the median of
these quotients is told. Each turn begins with an empty datapath, and counts once the connection is under way.

Socket I/O is most of this; these are no numbers of the kernel's datapath, nor of DPDK's.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

from mininet_scenarios.hosts import Guest
from mininet_scenarios.lab import Lab
from mininet_scenarios.machines import BRIDGE, Hypervisor
from mininet_scenarios.processes import inside
from mininet_scenarios.processes import run as command
from tests.benchmarks.report import Figure, Limit, at_most

ROUNDS, LEAST_ROUNDS = 15, 3
BUDGET_S = 160.0
"""No round begins later than this, but for the least that a median needs."""
WARM_BYTES, BYTES = 4 << 20, 64 << 20
PATIENCE_S = 30.0
PORT = 5001
COOKIE = 0xBA5E
FIRST_TABLE = 100
"""Weft's are all below; and its zones begin with 1."""
ZONES = (65001, 65002)
VNI = 4242


class Astray(Exception):
    """Raised when frames took another way than that of their case: then comparing their costs means nothing."""


@dataclass(frozen=True, slots=True)
class Case:
    """Who sends to whom, and our own flows on each hypervisor that their frames pass; without any, they are Weft's."""

    name: str
    source: Guest
    target: Guest
    bare: Mapping[Hypervisor, Sequence[str]] = field(default_factory=dict)
    guarded: bool = True

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
    Comparison("same host, Weft, no port security", "same host, bare, two flows"),
    Comparison("across, Weft, no port security", "across, bare, two flows"),
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
                arrange(lab, case)
                found[case.name].append(measure(case))
        arrange(lab, cases[-1])
        lab.settles()
    for name, costs in found.items():
        speed = median(cost.gbit_s for cost in costs)
        cost = median(cost.cpu_s_per_gb for cost in costs)
        yield Figure(f"{name} ({speed:.2f} Gbit/s, {len(costs)} rounds)", cost, "CPU s/GB")
    for each in COMPARISONS:
        ratio = median(
            one.cpu_s_per_gb / other.cpu_s_per_gb for one, other in zip(found[each.one], found[each.other], strict=True)
        )
        yield Figure(f"{each.one}, against {each.other}", ratio, "times", each.limit)


# ---- the cases ------------------------------------------------------------------------------------------------


def prepare(lab: Lab) -> list[Case]:
    """The guests, and all that is compared; those without port security last."""
    red = lab.network("red", cidr="10.0.0.0/24", project="red")
    default = lab.default_group("red")
    lab.rule(default, protocol="tcp", ports=PORT, remote=default)
    caller, near, far = (
        lab.guest(f"vm{last}", network=red, on=on, ip=f"10.0.0.{last}", mac=f"02:00:00:00:00:{last}")
        for last, on in ((11, "hv1"), (12, "hv1"), (13, "hv2"))
    )
    lab.converged()
    cases = []
    for name, zones in (("two flows", ()), ("one look-up", ZONES[:1]), ("two look-ups", ZONES)):
        here = {caller.hypervisor: pipeline((End.at(caller), End.at(near)), zones)}
        cases.append(Case(f"same host, bare, {name}", caller, near, here))
    for name, zones in (("two flows", ()), ("one look-up a side", ZONES[:1])):
        here, there = caller.hypervisor, far.hypervisor
        flows = {
            here: pipeline((End.at(caller), End.to(there)), zones),
            there: pipeline((End.at(far), End.to(here)), zones),
        }
        cases.append(Case(f"across, bare, {name}", caller, far, flows))
    for name, guarded in (("security groups", True), ("no port security", False)):
        cases.append(Case(f"same host, Weft, {name}", caller, near, guarded=guarded))
        cases.append(Case(f"across, Weft, {name}", caller, far, guarded=guarded))
    return cases


@dataclass(frozen=True, slots=True)
class End:
    """One of the two ends between which our own flows forward: what comes from there, and what sends there."""

    match: str
    action: str

    @classmethod
    def at(cls, guest: Guest) -> End:
        """A guest's interface."""
        return cls(f"in_port={guest.tap}", f"output:{guest.tap}")

    @classmethod
    def to(cls, peer: Hypervisor) -> End:
        """The tunnel to a hypervisor, on a segment of its own."""
        onto = f"set_field:{VNI}->tun_id,set_field:{peer.vtep}->tun_dst"
        return cls(f"in_port=weft-vxlan,tun_id={VNI}", f"{onto},output:weft-vxlan")


def pipeline(ends: tuple[End, End], zones: Sequence[int]) -> list[str]:
    """Flows between two ends and nothing else, with a look-up in each zone; the way back asks them in reverse."""
    return [*way(*ends, zones), *way(*ends[::-1], zones[::-1])]


def way(source: End, target: End, zones: Sequence[int]) -> Iterator[str]:
    """The flows of one direction. Behind each look-up is a table, which opens connections in that zone."""
    onward = [f"ct(table={table},zone={zone})" for table, zone in enumerate(zones, FIRST_TABLE)] + [target.action]
    first, *behind = onward
    common = f"cookie={COOKIE:#x},priority=65535,ip,{source.match}"
    yield f"table=0,{common},actions={first}"
    for table, (zone, action) in enumerate(zip(zones, behind, strict=True), FIRST_TABLE):
        yield f"table={table},{common},ct_state=+trk+new,actions=ct(commit,zone={zone}),{action}"
        yield f"table={table},{common},ct_state=+trk+est,actions={action}"


def arrange(lab: Lab, case: Case) -> None:
    """Let the guests' frames take the way of a case."""
    groups = [lab.default_group("red")["id"]] if case.guarded else []
    for guest in lab.guests.values():
        lab.change(guest, port_security_enabled=case.guarded, security_groups=groups)
    lab.converged()
    for hypervisor in lab.hypervisors.values():
        hypervisor.ofctl("del-flows", BRIDGE, f"cookie={COOKIE:#x}/-1")
        flows = "\n".join(case.bare.get(hypervisor, ()))
        command("ovs-ofctl", "add-flows", BRIDGE, "-", env=hypervisor.environment, stdin=flows)
        hypervisor.appctl("revalidator/purge")


# ---- one turn -------------------------------------------------------------------------------------------------


def measure(case: Case) -> Cost:
    """Send once, and see what it costs."""
    with connection(case.source, case.target) as ends, ThreadPoolExecutor(1) as pool:
        sender, taker = ends
        for size in (WARM_BYTES, BYTES):
            began, cpu_s = time.monotonic(), cpu_s_of(case.hypervisors)
            sent = pool.submit(sender.sendall, bytes(size))
            take(taker, size)
            sent.result()
        seconds, cpu_s = time.monotonic() - began, cpu_s_of(case.hypervisors) - cpu_s
    check(case)
    return Cost(1e9 * cpu_s / BYTES, 8e-9 * BYTES / seconds)


def check(case: Case) -> None:
    """Our own flows have carried all of it. What the datapath counted, they are told when it is emptied."""
    for hypervisor in case.bare:
        hypervisor.appctl("revalidator/purge")
        said = hypervisor.ofctl("dump-aggregate", BRIDGE, f"cookie={COOKIE:#x}/-1,table=0")
        if int(said.partition("byte_count=")[2].split()[0]) < BYTES:
            raise Astray(f"{case.name}, {hypervisor}: {said}")


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
