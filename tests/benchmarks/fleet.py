"""A real `weft serve` with fake hypervisors on loopback: convergence, memory, one change, and a restart after kill -9.

Two clouds run beside each other, a large and a small one, with networks of equal size in ports and in hypervisors; each
has a controller and a process of hypervisors of its own. The large one is set up first, by itself; then changes are made
in one and the other in turn. A change counts from its HTTP request to the moment when the last switch that it concerns
answers the barrier.
"""

from __future__ import annotations

import socket
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Self

from mininet_scenarios.api import Api, Json
from mininet_scenarios.errors import LabError
from mininet_scenarios.processes import Daemon, beside_python, wait_until
from tests.benchmarks.fakes import Fakes, Guest, Spec, Tally
from tests.benchmarks.report import Figure, at_most
from tests.benchmarks.shape import Shape

LARGE = Shape(networks=100, size=200, homes=20, chassis=200)
SMALL = Shape(networks=5, size=200, homes=20, chassis=20)
BULK = 500
"""How many resources one request makes."""
ROUNDS = 10
CONVERGED_S = 300.0
CHANGED_S = 30.0
IDLE_S = 5.0
QUIET_S = 0.4
"""When switches have heard nothing for so long, a change is over."""
PULSE_S = 0.2
GIB = 1 << 30


class Wrong(Exception):
    """Raised when a cloud is not as it should be: then how fast it became so means nothing."""


@dataclass(slots=True)
class _Taken:
    """What changes of one kind took."""

    seconds: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    tallies: list[Tally] = field(default_factory=list)


class Pulse(threading.Thread):
    """Asks a controller for its health all the time; `waits_s` is how long each answer took."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._api = Api(url, timeout_s=CONVERGED_S)
        self._over = threading.Event()
        self.waits_s: list[float] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        while not self._over.wait(PULSE_S):
            began = time.monotonic()
            with suppress(LabError, OSError):  # it is not there yet
                self._api.get("/healthz")
                self.waits_s.append(time.monotonic() - began)

    def figures(self, of: str) -> Iterator[Figure]:
        """How long the answers took; one that takes long counts as often as others would have been asked for."""
        felt = sorted(wait for each in self.waits_s for wait in _felt(each))
        yield Figure(f"{of}: an answer meanwhile, 99 of 100", felt[len(felt) * 99 // 100], "s", at_most(1))
        yield Figure(f"{of}: longest wait for an answer meanwhile", felt[-1], "s")


def _felt(wait_s: float) -> Iterator[float]:
    """What those would have waited who ask every `PULSE_S` and do not wait for each other."""
    while wait_s > 0:
        yield wait_s
        wait_s -= PULSE_S


class Controller:
    """One controller, and hypervisors that may join it."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.fakes = stack.enter_context(Fakes())
        self.asked_at_cpu_s = 0.0
        self._directory, self._stack = directory, stack
        api, openflow, self.ovsdb = free_ports(3)
        self.api = Api(f"http://127.0.0.1:{api}", timeout_s=CONVERGED_S)
        self._options = (
            f"--api=127.0.0.1:{api}",
            f"--openflow=127.0.0.1:{openflow}",
            f"--ovsdb=127.0.0.1:{self.ovsdb}",
            f"--store=sqlite:///{directory}/weft.db",
        )
        self.start()

    def start(self) -> None:
        """Start it and wait until it serves."""
        log = self._directory / "weft.log"
        self._daemon = Daemon("weft serve", beside_python("weft"), "serve", *self._options, log=log)
        self._stack.callback(self._daemon.kill)
        wait_until("A ready controller", self._unready, CONVERGED_S)

    def _unready(self) -> str:
        self._daemon.must_run()
        try:
            self.api.get("/readyz")
        except (LabError, OSError) as error:
            return str(error)
        return ""

    def kill(self) -> None:
        """kill -9."""
        self._daemon.kill()

    def cpu_s(self) -> float:
        """The CPU seconds of all its threads."""
        tasks = Path(f"/proc/{self._daemon.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def memory_bytes(self, what: str) -> int:
        """VmRSS, now, or VmHWM, at most so far (proc(5))."""
        lines = Path(f"/proc/{self._daemon.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(what)) * 1024

    def settled(self, names: Sequence[str]) -> None:
        """Wait until every switch of these hypervisors holds what it should, and nothing is under way."""
        wait_until("Convergence", lambda: self._unsettled(names), CONVERGED_S, 0.2)

    def _unsettled(self, names: Sequence[str]) -> str:
        self._daemon.must_run()
        tally = self.fakes.tally()
        if tally.connected < len(names):
            return f"{tally.connected} of {len(names)} switches are connected"
        if time.monotonic() - tally.last < QUIET_S:
            return "switches are still being told"
        self.asked_at_cpu_s = self.cpu_s()
        for name in names:
            try:
                seen = self.api.get(f"/v1/chassis/{name}")["chassis"]
            except LabError as error:
                return str(error)
            if not seen["connected"] or seen["revision"] != seen["applied_revision"]:
                return f"{name} is at {seen['applied_revision']} of {seen['revision']}"
        return "" if self.fakes.tally().last == tally.last else "switches were told something more"


class Cloud(Controller):
    """The controller of a cloud of a given shape; chassis and networks count from 0."""

    def __init__(self, shape: Shape, directory: Path, stack: ExitStack) -> None:
        super().__init__(directory, stack)
        self.shape = shape
        self.ports: list[list[str]] = []
        self.networks: list[str] = []
        self.taken: dict[str, _Taken] = {}
        self.idle = 0.0

    def rest(self) -> None:
        """Measure what share of a CPU it takes to do nothing: `idle`."""
        began, cpu_s = time.monotonic(), self.cpu_s()
        time.sleep(IDLE_S)
        self.idle = (self.cpu_s() - cpu_s) / (time.monotonic() - began)

    # Its model

    def make(self) -> None:
        """Make all networks, subnets and ports."""
        networks: list[Json] = [
            {"name": f"net{each}", "project_id": project(each)} for each in range(self.shape.networks)
        ]
        self.networks = self.bulk("network", networks)
        subnets: list[Json] = [{"network_id": each, "ip_version": 4, "cidr": "10.0.0.0/16"} for each in self.networks]
        self.bulk("subnet", subnets)
        members = [*self.shape.members()]
        ports: list[Json] = [
            {"network_id": self.networks[network], "name": f"vm{network}-{member}", "project_id": project(network)}
            for network, member in members
        ]
        self.ports = [[] for _ in self.networks]
        for (network, _), id in zip(members, self.bulk("port", ports), strict=True):
            self.ports[network].append(id)

    def bulk(self, kind: str, bodies: Sequence[Json]) -> list[str]:
        """The ids of what was made, in order."""
        found: list[str] = []
        for start in range(0, len(bodies), BULK):
            answer = self.api.post(f"/v2.0/{kind}s", {f"{kind}s": list(bodies[start : start + BULK])})
            found += [each["id"] for each in answer[f"{kind}s"]]
        return found

    # Its hypervisors

    def join(self) -> float:
        """Have all hypervisors join at once; the seconds until every switch held all that it should."""
        began = time.monotonic()
        self.begin_to_join()
        self.settled(self.names())
        return self.fakes.tally().last - began

    def begin_to_join(self) -> None:
        """Have all hypervisors join at once."""
        guests: list[list[Guest]] = [[] for _ in range(self.shape.chassis)]
        for network, member in self.shape.members():
            guests[self.shape.home(network, member)].append(guest(self.ports[network][member]))
        specs = [Spec(hypervisor(at), f"198.18.{at >> 8}.{at & 255}", tuple(some)) for at, some in enumerate(guests)]
        self.fakes.join(specs, self.ovsdb)

    def restart(self) -> float:
        """Start it again over a store and switches that are as they were; the seconds until all were dumped."""
        self.fakes.mark()
        began = time.monotonic()
        self.start()
        self.settled(self.names())
        return self.fakes.tally().last - began

    def names(self) -> list[str]:
        """All its hypervisors."""
        return [*map(hypervisor, range(self.shape.chassis))]

    def behind(self) -> int:
        """How many switches are not known to hold what they should."""
        chassis = self.api.get("/v1/chassis")["chassis"]
        known = [each for each in chassis if each["connected"] and each["revision"] == each["applied_revision"]]
        return self.shape.chassis - len(known)

    def must_be_right(self) -> None:
        """Raises Wrong unless every port is wired, and every switch holds what it should."""
        self.must_hold()
        statuses = [each["status"] for each in self.api.get("/v2.0/ports?fields=status")["ports"]]
        if set(statuses) != {"ACTIVE"}:
            raise Wrong(f"{statuses.count('ACTIVE')} of {len(statuses)} ports are ACTIVE")

    def must_hold(self) -> None:
        """Raises Wrong unless every switch holds what it should."""
        diff, held = self.api.get("/v1/diff"), self.fakes.tally()
        kinds = ("missing", "unwanted", "altered", "refused")
        wrong = [each["name"] for each in diff["chassis"] if any(each[kind] for kind in kinds)]
        if wrong or diff["unreachable"] or held.errors:
            raise Wrong(f"not as they should be: {wrong}; unreachable: {diff['unreachable']}; {held}")

    # Changes

    def take(self, name: str, turn: int) -> None:
        """Measure one change; the networks whose turn it is are the same ones in both clouds."""
        network = turn % SMALL.networks
        taken = self.taken.setdefault(name, _Taken())
        self.fakes.mark()
        cpu_s, began = self.cpu_s(), time.monotonic()
        CHANGES[name](self, network, turn)
        answered = time.monotonic()
        tally = self._over(0 if name == RENAMED else self.shape.homes)
        taken.cpu_s.append(self.cpu_s() - cpu_s - self.idle * (time.monotonic() - began))
        taken.seconds.append((tally.last or answered) - began)
        taken.tallies.append(tally)

    def _over(self, switches: int) -> Tally:
        """Wait until so many switches were told something, and nothing more comes; what they were told."""

        def lacking() -> str:
            tally = self.fakes.tally()
            if tally.touched < switches:
                return f"{tally.touched} of {switches} switches were told something"
            return "" if time.monotonic() - tally.last > QUIET_S else "switches are still being told"

        time.sleep(QUIET_S)
        wait_until("The end of a change", lacking, CHANGED_S, QUIET_S / 4)
        return self.fakes.tally()


def project(network: int) -> str:
    """Each network is a project's own, and so is the default security group of its ports: that is as large as it."""
    return f"project{network}"


def hypervisor(chassis: int) -> str:
    """Its name."""
    return f"hv{chassis:03}"


def guest(port_id: str) -> Guest:
    """The interface of a port."""
    return Guest(f"tap{port_id[:11]}", port_id)


def free_ports(count: int) -> list[int]:
    """TCP ports of loopback that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


# What is changed -----------------------------------------------------------------------------------------------


def _bind(cloud: Cloud, network: int, turn: int) -> None:
    """A port is made, and at once plugged in."""
    body = {"network_id": cloud.networks[network], "name": f"new{turn}", "project_id": project(network)}
    id = cloud.api.post("/v2.0/ports", {"port": body})["port"]["id"]
    member = len(cloud.ports[network])
    cloud.ports[network].append(id)
    cloud.fakes.plug(hypervisor(cloud.shape.home(network, member)), guest(id))


def _put(cloud: Cloud, network: int, body: Json) -> None:
    cloud.api.put(f"/v2.0/ports/{cloud.ports[network][0]}", {"port": body})


RENAMED = "a port renamed"
CHANGES: Mapping[str, Callable[[Cloud, int, int], None]] = {
    "one bound port more": _bind,
    RENAMED: lambda cloud, network, turn: _put(cloud, network, {"name": f"renamed{turn}"}),
    "a port down": lambda cloud, network, _: _put(cloud, network, {"admin_state_up": False}),
    "a port up": lambda cloud, network, _: _put(cloud, network, {"admin_state_up": True}),
}


# The figures ---------------------------------------------------------------------------------------------------


def run() -> Iterator[Figure]:
    """The figures of the fleet."""
    with tempfile.TemporaryDirectory(prefix="weft-fleet-") as place, ExitStack() as stack:
        large = yield from _set_up(LARGE, Path(place, "large"), stack)
        small = yield from _set_up(SMALL, Path(place, "small"), stack)
        for turn in range(ROUNDS):
            for name in CHANGES:
                for cloud in (small, large) if turn % 2 else (large, small):
                    cloud.take(name, turn)
        for name in CHANGES:
            yield from _compared(name, small.taken[name], large.taken[name])
        large.must_be_right()
        yield Figure("most memory of the controller so far", large.memory_bytes("VmHWM") / GIB, "GiB", at_most(2))
        yield from _restarted(large)


def _set_up(shape: Shape, directory: Path, stack: ExitStack) -> Generator[Figure, None, Cloud]:
    """A cloud from nothing to convergence."""
    directory.mkdir()
    cloud = Cloud(shape, directory, stack)
    of = f"{shape.ports:,} ports on {shape.chassis} hypervisors"
    cpu_s, began = cloud.cpu_s(), time.monotonic()
    cloud.make()
    yield Figure(f"{of}: ports made over HTTP", shape.ports / (time.monotonic() - began), "ports/s")
    yield Figure(f"{of}: CPU time for that", cloud.cpu_s() - cpu_s, "s")
    cpu_s = cloud.cpu_s()
    with Pulse(cloud.api.url) as pulse:
        seconds = cloud.join()
    cpu_s = cloud.asked_at_cpu_s - cpu_s
    tally, memory_bytes = cloud.fakes.tally(), cloud.memory_bytes("VmRSS")
    cloud.must_be_right()
    cloud.rest()
    yield Figure(f"{of}: all join, until {tally.flows:,} flows are acknowledged", seconds, "s")
    yield Figure(f"{of}: CPU time for that", cpu_s, "s")
    yield from pulse.figures(of)
    yield Figure(f"{of}: flow-mods sent for each flow held", tally.flow_mods / tally.flows, "")
    yield Figure(f"{of}: connections given up meanwhile, for the controller was silent", tally.given_up, "")
    yield Figure(f"{of}: memory of the controller", memory_bytes / GIB, "GiB")
    yield Figure(f"{of}: CPU time while nothing happens", 100 * cloud.idle, "%")
    return cloud


def _compared(name: str, small: _Taken, large: _Taken) -> Iterator[Figure]:
    one, other = (1000 * median(taken.seconds) for taken in (small, large))
    sizes = f"{LARGE.ports:,} ports against {SMALL.ports:,}"
    yield Figure(f"{name}: {sizes} ({other:.1f} and {one:.1f} ms)", other / one, "times", at_most(1.3))
    one, other = (1000 * median(taken.cpu_s) for taken in (small, large))
    yield Figure(f"{name}: the controller's CPU time for it ({other:.1f} and {one:.1f} ms)", other / one, "times")
    tallies = large.tallies
    if name == RENAMED:
        yield Figure(f"{name}: bytes to any switch", max(each.sent_bytes for each in tallies), "B", at_most(0))
    else:
        yield Figure(f"{name}: flow-mods to {tallies[0].touched} switches", tallies[0].flow_mods, "")


def _restarted(cloud: Cloud) -> Iterator[Figure]:
    cloud.kill()
    with Pulse(cloud.api.url) as pulse:
        seconds = cloud.restart()
    cpu_s, tally = cloud.asked_at_cpu_s, cloud.fakes.tally()
    mods = tally.flow_mods + tally.group_mods
    cloud.must_be_right()
    yield Figure("kill -9, restart: flow-mods and group-mods sent", mods, "", at_most(0))
    yield Figure("kill -9, restart: until every switch was found right", seconds, "s")
    yield Figure("kill -9, restart: CPU time for that", cpu_s, "s")
    yield from pulse.figures("kill -9, restart")
    yield Figure("kill -9, restart: connections given up meanwhile", tally.given_up, "")
    yield Figure("kill -9, restart: most memory", cloud.memory_bytes("VmHWM") / GIB, "GiB", at_most(2))
