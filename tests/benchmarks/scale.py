"""`python -m tests.benchmarks.scale rate|size`: how many changes a second a controller makes, and how many hypervisors it takes.

`rate`: changes are offered to a cloud at a rate, at their time, whether those before are made or not: a mix, and each kind
alone. All clients, and all hypervisors, are a process each beside the controller's. What counts as a change is one
request that is answered, or one interface that is plugged in or taken out. `size`: a cloud that is too large for this machine,
or is not: what each step of making it takes, until the time is over.

The lifecycle of a guest is four changes: its port is made, plugged in, unplugged, deleted.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.benchmarks.fakes import Guest
from tests.benchmarks.fleet import BULK, GIB, LARGE, Cloud, Pulse, guest, hypervisor, project
from tests.benchmarks.load import OLDEST, Answered, Clients, request
from tests.benchmarks.report import Figure, at_least, at_most, table
from tests.benchmarks.shape import Shape

APART: Final = 250
"""So many ports are down before the first of them comes up again, and so many are made before the first is deleted."""
SPARE: Final = 1_000
"""So many ports are plugged in and taken out in turn: half of them are in."""
IN_STEP_S: Final = 60.0
"""For so long after the last change it is waited for all switches to be in step."""
LOOK_S: Final = 0.2
SEEN_S: Final = 2.0
"""How often it is looked how many have joined."""
REST_S: Final = 1.0

MADE, PLUGGED, UNPLUGGED, DELETED = "made", "plugged in", "unplugged", "deleted"
DOWN, UP, RENAMED = "down", "up", "renamed"
MIX: Final = (
    MADE, RENAMED, PLUGGED, DOWN, UNPLUGGED, DELETED, UP, RENAMED, MADE, PLUGGED,
    UNPLUGGED, RENAMED, DELETED, DOWN, MADE, PLUGGED, UP, UNPLUGGED, RENAMED, DELETED,
)  # fmt: skip
"""Of 20 changes: 12 are of the lifecycle of three guests, 4 of names, and 2 ports go down and 2 up."""
KINDS: Final[Mapping[str, Sequence[str]]] = {
    "a mix": MIX,
    "ports renamed": (RENAMED,),
    "ports down and up": (DOWN, UP),
    "ports made and deleted": (MADE, DELETED),
    "ports plugged in and out": (PLUGGED, UNPLUGGED),
}


@dataclass(frozen=True, slots=True)
class Plug:
    """An interface that a hypervisor gets, or has no more."""

    chassis: str
    guest: Guest
    gone: bool


@dataclass(slots=True)
class Work:
    """What is done: requests, and interfaces that come and go, each in its order."""

    requests: list[bytes] = field(default_factory=list)
    plugs: list[Plug] = field(default_factory=list)


class Changes:
    """Changes of a cloud without end: the next ones of each kind."""

    def __init__(self, cloud: Cloud, spare: Sequence[Plug]) -> None:
        ports = [[*each] for each in zip(*cloud.ports, strict=True)]
        self._ports = list(itertools.chain.from_iterable(ports))
        self._renamed, self._lowered = itertools.cycle(self._ports), itertools.cycle(self._ports)
        self._low: deque[str] = deque()
        self._in = itertools.cycle(spare)
        self._out = itertools.chain(spare[len(spare) // 2 :], itertools.cycle(spare))
        self._networks = itertools.cycle(enumerate(cloud.networks))
        self._count = itertools.count(1)
        self._there = 0
        self._next: Mapping[str, Callable[[], bytes]] = {
            MADE: self._made,
            DELETED: self._deleted,
            RENAMED: lambda: _put(next(self._renamed), {"name": f"renamed{next(self._count)}"}),
            DOWN: self._down,
            UP: self._up,
        }

    def work(self, kinds: Sequence[str], count: int) -> Work:
        """So many changes, of these kinds in turn."""
        work = Work()
        for kind in itertools.islice(itertools.cycle(kinds), count):
            if kind == PLUGGED:
                work.plugs.append(next(self._in))
            elif kind == UNPLUGGED:
                plug = next(self._out)
                work.plugs.append(Plug(plug.chassis, plug.guest, gone=True))
            else:
                work.requests.append(self._next[kind]())
        return work

    def _made(self) -> bytes:
        self._there += 1
        at, network = next(self._networks)
        body = {"network_id": network, "name": f"new{next(self._count)}", "project_id": project(at)}
        return request("POST", "/v2.0/ports", json.dumps({"port": body}).encode())

    def _deleted(self) -> bytes:
        """The oldest that was made, of as many that its id is known; at first there are too few, and one more is made."""
        if self._there < APART:
            return self._made()
        self._there -= 1
        return OLDEST

    def _down(self) -> bytes:
        port = next(self._lowered)
        self._low.append(port)
        return _put(port, {"admin_state_up": False})

    def _up(self) -> bytes:
        """Of the port that is down for longest; at first there are too few, and one more goes down."""
        if len(self._low) < APART:
            return self._down()
        return _put(self._low.popleft(), {"admin_state_up": True})


def _put(port: str, body: Mapping[str, object]) -> bytes:
    return request("PUT", f"/v2.0/ports/{port}", json.dumps({"port": body}).encode())


def spare_ports(cloud: Cloud) -> list[Plug]:
    """Ports more, spread over all networks and hypervisors; the second half is plugged in."""
    bodies = [
        {"network_id": cloud.networks[at % cloud.shape.networks], "project_id": project(at % cloud.shape.networks)}
        for at in range(SPARE)
    ]
    plugs = []
    for at, port in enumerate(cloud.bulk("port", bodies)):
        network, member = at % cloud.shape.networks, at // cloud.shape.networks
        plugs.append(Plug(hypervisor(cloud.shape.home(network, member)), guest(port), gone=False))
    for plug in plugs[SPARE // 2 :]:
        cloud.fakes.plug(plug.chassis, plug.guest)
    return plugs


# Changes at a rate -------------------------------------------------------------------------------------------------


def rate(shape: Shape, per_second: float, seconds: float, names: Sequence[str]) -> Iterator[Figure]:
    """What becomes of changes of these kinds (of `KINDS`), each offered for so long."""
    with tempfile.TemporaryDirectory(prefix="weft-scale-") as place, ExitStack() as stack:
        cloud = Cloud(shape, Path(place), stack)
        cloud.make()
        cloud.join()
        changes = Changes(cloud, spare_ports(cloud))
        cloud.settled(cloud.names())
        clients = stack.enter_context(Clients(int(cloud.api.url.rpartition(":")[2])))
        for name in names:
            work = changes.work(KINDS[name], round(per_second * seconds))
            yield from _offered(cloud, clients, name, work, seconds)
            time.sleep(REST_S)
        cloud.must_hold()
        yield Figure("every switch holds what it should afterwards, and no change was refused", 1, "")


def _offered(cloud: Cloud, clients: Clients, name: str, work: Work, seconds: float) -> Iterator[Figure]:
    count = len(work.requests) + len(work.plugs)
    cloud.fakes.mark()
    began, cpu_at, fakes_at = time.monotonic(), cloud.cpu_s(), cloud.fakes.cpu_s()
    clients.begin(work.requests, max(len(work.requests), 1) / seconds)
    plugged = _plug(cloud, work.plugs, began, seconds)
    time.sleep(max(0.0, began + seconds - time.monotonic()))
    cpu_s, fakes_s = cloud.cpu_s() - cpu_at, cloud.fakes.cpu_s() - fakes_at
    answered = clients.end()
    lag_s = _lag(cloud, work.plugs, began + seconds)
    whole_s = cloud.cpu_s() - cpu_at
    tally = cloud.fakes.tally()
    _must_be_taken(answered)
    of = f"{name}, {count / seconds:,.0f}/s for {seconds:g} s"
    done = answered.in_time + plugged
    yield Figure(f"{of}: done by then", done / seconds, "/s", at_least(0.99 * count / seconds))
    if answered.waits_s:
        waits_s = answered.waits_s
        yield Figure(f"{of}: an answer from when it was due, p50", 1000 * waits_s[len(waits_s) // 2], "ms")
        yield Figure(f"{of}: 99 of 100", 1000 * waits_s[len(waits_s) * 99 // 100], "ms")
    yield Figure(f"{of}: every switch in step after it", lag_s, "s", at_most(IN_STEP_S))
    yield Figure(f"{of}: CPU of the controller meanwhile", 100 * cpu_s / seconds, "% of a core")
    all_done = len(answered.waits_s) + len(work.plugs)
    yield Figure(f"{of}: CPU of it for each, until all were in step", 1000 * whole_s / max(all_done, 1), "ms")
    yield Figure(f"{of}: CPU of clients and of hypervisors", 100 * (answered.cpu_s + fakes_s) / seconds, "% of a core")
    yield Figure(f"{of}: flow-mods", tally.flow_mods / seconds, "/s")
    yield Figure(f"{of}: changes of a switch, in one bundle each", tally.bundles / seconds, "/s")


def _plug(cloud: Cloud, plugs: Sequence[Plug], began: float, seconds: float) -> int:
    """Plug and unplug each at its time; how many were by the end of it. The others are later."""
    done = 0
    for at, plug in enumerate(plugs):
        if (wait_s := began + at * seconds / len(plugs) - time.monotonic()) > 0:
            time.sleep(wait_s)
        (cloud.fakes.unplug if plug.gone else cloud.fakes.plug)(plug.chassis, plug.guest)
        done += time.monotonic() <= began + seconds
    return done


def _lag(cloud: Cloud, plugs: Sequence[Plug], end: float) -> float:
    """Wait until all switches are in step, if they are in time; how long after `end` the last one came to be."""
    last = {plug.chassis: plug for plug in plugs}  # what a hypervisor reports is taken in its order
    until = time.monotonic() + IN_STEP_S
    while _untaken(cloud, last) or cloud.behind():
        if time.monotonic() > until:
            return time.monotonic() - end
        time.sleep(LOOK_S)
    return max(0.0, cloud.fakes.tally().last - end)


def _untaken(cloud: Cloud, last: dict[str, Plug]) -> int:
    """Of how many hypervisors the last report is not yet known to be followed."""
    for name, plug in [*last.items()]:
        status = cloud.api.get(f"/v2.0/ports/{plug.guest.port_id}?fields=status")["port"]["status"]
        if (status == "ACTIVE") == plug.gone:
            break
        del last[name]
    return len(last)


def _must_be_taken(answered: Answered) -> None:
    if refused := {status: count for status, count in answered.statuses.items() if status >= 300}:
        raise RuntimeError(f"the controller refused changes: {refused}")


# A cloud too large ------------------------------------------------------------------------------------------------


def size(shape: Shape, within_s: float) -> Iterator[Figure]:
    """What each step of making a cloud takes, until it is there or the time is over; then, who had no time left."""
    of = f"{shape.ports:,} ports on {shape.chassis:,} hypervisors"
    until = time.monotonic() + within_s
    with tempfile.TemporaryDirectory(prefix="weft-scale-") as place, ExitStack() as stack:
        cloud = Cloud(shape, Path(place), stack)
        began, cpu_s = time.monotonic(), cloud.cpu_s()
        cloud.make()
        yield Figure(f"{of}: made over HTTP, {BULK} a request", time.monotonic() - began, "s")
        yield Figure(f"{of}: CPU of the controller for that", cloud.cpu_s() - cpu_s, "s")
        yield Figure(f"{of}: memory of the controller then", cloud.memory_bytes("VmRSS") / GIB, "GiB")
        began, cpu_s, fakes_s = time.monotonic(), cloud.cpu_s(), cloud.fakes.cpu_s()
        cloud.begin_to_join()
        with Pulse(cloud.api.url) as pulse:
            left = yield from _joined(cloud, of, until)
        spent_s = time.monotonic() - began
        shares = {
            "the controller's core": (cloud.cpu_s() - cpu_s) / spent_s,
            "the hypervisors' core": (cloud.fakes.cpu_s() - fakes_s) / spent_s,
        }
        tally = cloud.fakes.tally()
        yield Figure(f"{of}: not in step when the time was over", left, "hypervisors", at_most(0))
        yield Figure(f"{of}: flows that switches hold then", tally.flows, "")
        yield Figure(f"{of}: most memory of the controller", cloud.memory_bytes("VmHWM") / GIB, "GiB", at_most(2))
        yield Figure(f"{of}: connections given up, for the controller was silent", tally.given_up, "")
        for name, share in shares.items():
            yield Figure(f"{of}: {name} was used", 100 * share, "%")
        yield from pulse.figures(of)
        yield Figure(
            f"{of}: most used was {max(shares, key=lambda name: shares[name])}", 100 * max(shares.values()), "%"
        )


def _joined(cloud: Cloud, of: str, until: float) -> Generator[Figure, None, int]:
    """Wait until all are in step, or the time is over: how many are not; what each quarter of them took."""
    began, cpu_s, quarter = time.monotonic(), cloud.cpu_s(), 1
    while True:
        time.sleep(SEEN_S)
        left = cloud.behind()
        while quarter <= 4 and left <= cloud.shape.chassis * (4 - quarter) // 4:
            spent_s, spent_cpu_s = time.monotonic() - began, cloud.cpu_s() - cpu_s
            yield Figure(f"{of}: {quarter} of 4 in step after ({spent_cpu_s:.0f} s of CPU)", spent_s, "s")
            quarter += 1
        if not left or time.monotonic() > until:
            return left


# The command -------------------------------------------------------------------------------------------------------


def main() -> int:
    """Run what is asked for; 1 when a limit is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.scale", description="Measure Weft at scale.")
    what = parser.add_subparsers(dest="what", required=True)
    offered = what.add_parser("rate", help="offer a cloud changes at a rate")
    offered.add_argument("--per-second", type=float, default=1000.0)
    offered.add_argument("--seconds", type=float, default=60.0)
    offered.add_argument("--kinds", default="a mix", help=f"with commas between them, of: {', '.join(KINDS)}; or all")
    offered.add_argument("--shape", type=_shape, default="200x20000", help=_SHAPE)
    tried = what.add_parser("size", help="make a cloud, and tell what each step takes")
    tried.add_argument("--shape", type=_shape, default="1000x50000", help=_SHAPE)
    tried.add_argument("--within", type=float, default=420.0, help="seconds after which it is given up")
    options = parser.parse_args()
    if options.what == "size":
        figures = size(options.shape, options.within)
    else:
        names = [*KINDS] if options.kinds == "all" else options.kinds.split(",")
        if unknown := [name for name in names if name not in KINDS]:
            parser.error(f"no kind of change is called {unknown[0]!r}")
        figures = rate(options.shape, options.per_second, options.seconds, names)
    rows, missed = [], False
    for figure in figures:
        rows.append(figure.row("scale"))
        missed = missed or figure.missed
        print(" ".join(rows[-1]).rstrip(), file=sys.stderr, flush=True)
    print(table(rows))
    return int(missed)


_SHAPE: Final = f"hypervisors x ports: networks of {LARGE.size} ports on {LARGE.homes} hypervisors each"


def _shape(text: str) -> Shape:
    chassis, ports = map(int, text.split("x"))
    return Shape(networks=ports // LARGE.size, size=LARGE.size, homes=LARGE.homes, chassis=chassis)


if __name__ == "__main__":
    sys.exit(main())
