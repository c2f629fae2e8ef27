"""What is measured of one controller: each step a function of it that answers lines.

A line is one measurement: what, of whom, with how many ports, and figures by name, their unit in it. Steps that are
repeated measure once; whoever has controllers take turns repeats them, and takes medians.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mininet_scenarios.errors import Late
from mininet_scenarios.processes import wait_until
from tests.benchmarks.peers.driver import GUESTS, LATE, OUTSIDE, TENANT, Change, Peer, Spot
from tests.benchmarks.peers.machine import Watch, cpu_s, rss_mb
from tests.benchmarks.peers.pinger import Pinger

BULK_S, CHANGE_S, REPLY_S = 200.0, 30.0, 30.0
AFTER_S = 0.15
"""CPU time of a change is counted for so long after it is done: what was put off is part of it."""
SPARE = 150
"""Ports of single changes are numbered from here."""
STILL_S = 1.0
"""Flows that do not change for so long are all there."""
INTERVAL_S = 0.01
"""How far apart pings are."""
SILENT_S = 0.05
DOWN_S = 1.0
"""For so long nobody tells a switch what to do."""
CALM_S = 1.0
"""Pings run for so long before a fault and after it."""


@dataclass(frozen=True, slots=True)
class Line:
    """One measurement; `others` is the share of the machine that went to somebody else meanwhile."""

    step: str
    peer: str
    ports: int
    mode: str
    what: str
    figures: Mapping[str, float] = field(default_factory=dict)
    others: float = 0.0


def line(peer: Peer, step: str, what: str, watch: Watch, figures: Mapping[str, float], of: str = "") -> Line:
    """A measurement that a watch was on, of the controller unless it is said of what."""
    return Line(step, of or peer.name, peer.ports, peer.mode, what, figures, round(watch.others, 3))


# ---- from a model to flows -----------------------------------------------------------------------------------------


def bulk(peer: Peer, ports: int, bound: bool) -> list[Line]:
    """The whole model at once, from the first question until every hypervisor has it and every bound port is up."""
    tenants, expected = ports // TENANT, ports if bound else len(GUESTS)
    peer.ports, peer.mode = ports, "all" if bound else "few"
    peer.plug(tenants, bound)
    peer.settled(CHANGE_S)
    time.sleep(STILL_S)
    processes = peer.processes()
    before = {name: cpu_s(pid) for name, pid in processes.items()}
    with Watch() as watch:
        began = time.monotonic()
        peer.build(tenants, bound)
        asked_s = time.monotonic() - began
        peer.active(BULK_S, expected)
        peer.settled(BULK_S)
        took_s = time.monotonic() - began
    still_s = _still(peer, began)
    cpu = {f"CPU s {name}": cpu_s(pid) - before[name] for name, pid in processes.items()}
    memory = {f"MB {name}": rss_mb(pid) for name, pid in processes.items()}
    totals = {
        "s": took_s,
        "s asked": asked_s,
        "s still": still_s,
        "CPU s": sum(cpu.values()),
        "MB": sum(memory.values()),
    }
    flows = max(peer.flows().values())
    return [line(peer, "bulk", "bulk", watch, {**totals, "flows": flows, **cpu, **memory})]


def _still(peer: Peer, began: float) -> float:
    """When the number of flows changed last: some only come once gateways have found each other alive."""
    flows, changed = peer.flows(), 0.0
    until = time.monotonic() + STILL_S
    while time.monotonic() < until:
        time.sleep(STILL_S / 4)
        if (now := peer.flows()) != flows:
            flows, changed, until = now, time.monotonic() - began, time.monotonic() + STILL_S
    return changed


def first_pings(peer: Peer) -> list[Line]:
    """Every path once, so that all neighbours are known. Raises Late when one does not lead there."""
    paths = [("here", peer.guests[name].ip) for name in ("near", "far", "beyond", "aside")]
    paths += [("here", OUTSIDE), ("far", OUTSIDE)]
    for source, address in paths:
        _reach(peer, source, address)
    _reach(peer, "outside", GUESTS["here"][1].floating)
    return []


def _reach(peer: Peer, source: str, address: str) -> None:
    host = peer.guests.get(source) or peer.lab.hosts[source]
    with Pinger(host, address) as pinger:
        if pinger.first_reply(REPLY_S) is None:
            raise Late(f"{peer.name}: an answer to {source} from {address}", REPLY_S, "none came")


# ---- one change ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pair:
    """A change and the one that undoes it; each is told the controller and which round it is."""

    there: str
    back: str
    do: Callable[[Peer, int], Change]
    undo: Callable[[Peer, int], Change]


def _spare(peer: Peer, round: int, *, last: bool = False) -> Spot:
    return Spot(peer.tenants - 1 if last else 0, 0, SPARE + round)


MEMBER, PLAIN = Spot(0, 0, 5), Spot(0, 0, 1)
PAIRS = (
    Pair(
        "port added",
        "port removed",
        lambda peer, round: peer.add_port(_spare(peer, round)),
        lambda peer, round: peer.remove_port(_spare(peer, round)),
    ),
    Pair(
        "port added, another tenant",
        "port removed, another tenant",
        lambda peer, round: peer.add_port(_spare(peer, round, last=True)),
        lambda peer, round: peer.remove_port(_spare(peer, round, last=True)),
    ),
    Pair(
        "rule added",
        "rule removed",
        lambda peer, round: peer.add_rule(0, 8000 + round),
        lambda peer, round: peer.remove_rule(0, 8000 + round),
    ),
    Pair(
        "port leaves its group",
        "port joins its group",
        lambda peer, _: peer.leave(MEMBER),
        lambda peer, _: peer.join(MEMBER),
    ),
    Pair(
        "floating IP added",
        "floating IP removed",
        lambda peer, _: peer.add_floating(PLAIN),
        lambda peer, _: peer.remove_floating(PLAIN),
    ),
)


def changes(peer: Peer, round: int) -> list[Line]:
    """Every kind of change once, from asking until every hypervisor has it."""
    found = []
    for pair in PAIRS:
        for what, make in ((pair.there, pair.do), (pair.back, pair.undo)):
            found.append(_change(peer, what, make(peer, round)))
    return found


def _change(peer: Peer, what: str, change: Change) -> Line:
    processes = peer.processes().values()
    with Watch() as watch:
        before, began = sum(map(cpu_s, processes)), time.monotonic()
        change()
        peer.settled(CHANGE_S)
        took_s = time.monotonic() - began
        time.sleep(AFTER_S)
        cpu = sum(map(cpu_s, processes)) - before
    return line(peer, "change", what, watch, {"ms": 1e3 * took_s, "CPU ms": 1e3 * cpu})


def port_up(peer: Peer, round: int) -> list[Line]:
    """A guest that waits for its port: from asking for the port until a guest on the other hypervisor has an answer.

    A second time the port is there, and waits for its interface.
    """
    asked, plugged = f"asked{round}", f"plugged{round}"
    peer.ready(asked)
    time.sleep(AFTER_S)
    found = [_first_answer(peer, "port asked for", peer.appear(asked))]
    _leave(peer, asked)
    peer.add_port(LATE, plugged)()
    peer.settled(CHANGE_S)
    found.append(_first_answer(peer, "port plugged", peer.claim(plugged)))
    _leave(peer, plugged)
    return found


def _first_answer(peer: Peer, what: str, change: Change) -> Line:
    with Pinger(peer.guests["here"], LATE.ip) as pinger:
        if pinger.first_reply(SILENT_S) is not None:
            raise Late(f"{peer.name}: silence of a port that is not there", SILENT_S, "it answered")
        with Watch() as watch:
            began = time.monotonic()
            change()
            answered = pinger.first_reply(REPLY_S)
    if answered is None:
        raise Late(f"{peer.name}: the first answer after: {what}", REPLY_S, "none came")
    return line(peer, "port-up", what, watch, {"ms": 1e3 * (answered - began)})


def _leave(peer: Peer, name: str) -> None:
    peer.vanish(name)()
    peer.settled(CHANGE_S)
    time.sleep(AFTER_S)


# ---- faults --------------------------------------------------------------------------------------------------------


def controller_restart(peer: Peer) -> list[Line]:
    """kill -9 of what tells hv2 what to do, and its restart, under pings of one network and through a router."""
    converged_s = 0.0

    def fault() -> float:
        nonlocal converged_s
        peer.kill()
        killed = time.monotonic()
        time.sleep(DOWN_S)
        peer.revive()
        peer.settled(BULK_S)
        converged_s = time.monotonic() - killed - DOWN_S
        return killed

    with Watch() as watch:
        lost, outage_s, _ = _under_pings(peer, fault)
    figures = {"lost": float(lost), "s without": outage_s, "s": converged_s}
    return [line(peer, "fault", "controller killed", watch, figures)]


def switch_restart(peer: Peer) -> list[Line]:
    """kill -9 of hv2's ovs-vswitchd, and its restart: until the first answers from there."""

    def fault() -> float:
        peer.lab.hypervisors["hv2"].crash()
        killed = time.monotonic()
        peer.lab.hypervisors["hv2"].revive()
        return killed

    with Watch() as watch:
        lost, outage_s, first_s = _under_pings(peer, fault)
        peer.settled(BULK_S)
    figures = {"lost": float(lost), "s without": outage_s, "s": first_s}
    return [line(peer, "fault", "vswitchd killed", watch, figures)]


def _under_pings(peer: Peer, fault: Callable[[], float]) -> tuple[int, float, float]:
    """How many pings were lost, for how long, and how long after the fault both paths were answered again."""
    over = threading.Event()
    here, far, beyond = (peer.guests[name] for name in ("here", "far", "beyond"))
    with Pinger(here, far.ip) as flat, Pinger(here, beyond.ip) as routed:
        pingers = (flat, routed)
        threads = [threading.Thread(target=each.run, args=(INTERVAL_S, over)) for each in pingers]
        for thread in threads:
            thread.start()
        try:
            time.sleep(CALM_S)
            killed = fault()
            ended = time.monotonic()
            wait_until("Answers again", lambda: _missing(pingers, ended), REPLY_S)
            time.sleep(CALM_S)
        finally:
            over.set()
            for thread in threads:
                thread.join()
        first_s = max(each.answered_after(killed) or 0.0 for each in pingers) - killed
        return sum(len(each.lost) for each in pingers), max(each.outage_s() for each in pingers), first_s


def _missing(pingers: tuple[Pinger, ...], since: float) -> str:
    silent = [each.address for each in pingers if each.answered_after(since) is None]
    return f"none from {', '.join(silent)}" if silent else ""
