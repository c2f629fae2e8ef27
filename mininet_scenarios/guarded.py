"""Four guarded guests on two hypervisors, and three trials of patience that their security groups must stand.

`a` and `b` are on the first hypervisor, `c` and `d` on the second, each with IPv4 and IPv6.

* Groups are changed again and again under traffic: no allowed packet is lost, no denied one passes.
* The controller is killed again and again under connections: none of them notices, and no flow is sent.
* Connections come and go, thousands of them, with the same addresses and ports: every one is made.

    python -m mininet_scenarios.guarded [--updates 1000] [--restarts 5] [--connections 10000]
"""

from __future__ import annotations

import argparse
import re
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from mininet_scenarios.api import Json
from mininet_scenarios.captures import sent_by
from mininet_scenarios.hosts import Guest, Host
from mininet_scenarios.lab import Lab, Network
from mininet_scenarios.machines import Hypervisor
from mininet_scenarios.processes import inside
from mininet_scenarios.rows import Row, concluded, show
from mininet_scenarios.talk import Talk

UPDATES, RESTARTS, STREAMS, CONNECTIONS = 1000, 5, 50, 10_000
_SERVICE = 7000
_REUSED = range(40000, 40064)
"""The ports that short connections begin at: each again as soon as it is free."""

PLACES = {"a": "hv1", "b": "hv1", "c": "hv2", "d": "hv2"}


@dataclass(frozen=True, slots=True)
class Cast:
    """The guests; and a group whose ports may send anything, by the rules it is born with, and hear answers only."""

    lab: Lab
    network: Network
    a: Guest
    b: Guest
    c: Guest
    d: Guest
    out: Json

    def __iter__(self) -> Iterator[Guest]:
        yield from (self.a, self.b, self.c, self.d)

    def under(self, **groups: Json | Iterable[Json]) -> None:
        """Put guests into these groups, by name, those that are not named into `out`; and wait until it is so."""
        for guest in self:
            wanted = groups.get(guest.name, self.out)
            self.lab.regroup(guest, *([wanted] if isinstance(wanted, dict) else wanted))
        self.lab.converged()


def gather(lab: Lab) -> Cast:
    """Start the four."""
    network = lab.network("red", cidr=["10.0.0.0/24", "fd00::/64"], project="red")
    out = lab.group("out", project="red")
    a, b, c, d = (
        lab.guest(
            name,
            network=network,
            on=on,
            ip=[f"10.0.0.{n}", f"fd00::{n}"],
            mac=f"02:00:00:00:00:0{n}",
            security_groups=[out["id"]],
        )
        for n, (name, on) in enumerate(PLACES.items(), 1)
    )
    lab.converged()
    return Cast(lab, network, a, b, c, d, out)


def allow_both(lab: Lab, group: Json, direction: str = "ingress", **rule: Any) -> list[Json]:
    """The same rule for both IP versions."""
    return [lab.rule(group, direction, ethertype=ethertype, **rule) for ethertype in ("IPv4", "IPv6")]


def zones(hypervisor: Hypervisor, *guests: Guest) -> Counter[int]:
    """How many connections between addresses of these guests each conntrack zone holds."""
    addresses = {address for guest in guests for address in guest.ips}
    found: Counter[int] = Counter()
    for line in hypervisor.connections():
        ends = set(re.findall(r"orig=\(src=([^,]+),dst=([^,]+)", line)[0])
        if ends <= addresses:
            zone = re.search(r"zone=(\d+)", line)
            found[int(zone[1]) if zone else 0] += 1
    return found


# ---- groups change under traffic ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Updated:
    """What became of traffic while groups changed: numbers heard and missing, and denied packets that arrived."""

    updates: int
    heard: int
    lost: int
    denied: int
    passed: int


def update(cast: Cast, count: int = UPDATES) -> Updated:
    """Change groups `count` times while `a` may talk to `b` and `c`, and `d` may not but tries."""
    lab = cast.lab
    clients, web = lab.group("clients", project="red"), lab.group("web", project="red")
    lab.rule(web, protocol="udp", ports=_SERVICE, remote=clients)
    cast.under(a=clients, b=web, c=web)
    with ExitStack() as stack:
        for guest in cast:
            stack.callback(guest.hangs_up)
        listeners = [guest.listens(_SERVICE, "udp", interval_s=0.005) for guest in (cast.b, cast.c)]
        callers = [cast.a.talks(guest, _SERVICE, "udp", interval_s=0.005) for guest in (cast.b, cast.c)]
        for end in (*listeners, *callers):
            end.flows()
        heard = stack.enter_context(lab.sniff(cast.b, cast.c, what=f"ether src {cast.d.mac}"))
        before = sum(cast.d.hypervisor.drops().values())
        tries = [cast.d.talks(guest, _SERVICE, "udp", interval_s=0.001) for guest in (cast.b, cast.c)]
        steps = cycle(changes(lab, cast.network, clients, web))
        for _ in range(count):
            next(steps)()
        lab.converged()
        for end in (*listeners, *callers):
            end.flows()
        time.sleep(1.1)  # counters of drops are a second late
        denied = sum(cast.d.hypervisor.drops().values()) - before
        numbers = sum(map(len, (each for end in (*listeners, *callers) for each in end.heard().values())))
        lost = sum(sum(end.lost().values()) for end in (*listeners, *callers))
        for attempt in tries:
            attempt.stop()
    passed = sum(map(sent_by(cast.d), heard.frames))
    return Updated(count, numbers, lost, denied, passed)


def changes(lab: Lab, network: Network, clients: Json, web: Json) -> list[Callable[[], object]]:
    """One round of changes that keep what `a` may do: rules replaced by others that allow it too, members that come
    and go, and rules about others that come and go."""
    spare = lab.api.post("/v2.0/ports", {"port": {"network_id": network.id, "project_id": "red"}})["port"]
    made: dict[str, Json] = {}

    def make(name: str, **rule: Any) -> Callable[[], object]:
        return lambda: made.__setitem__(name, lab.rule(web, protocol="udp", **rule))

    def remove(name: str) -> Callable[[], object]:
        return lambda: lab.remove(made.pop(name))

    def regroup(*groups: Json) -> Callable[[], object]:
        ids = [group["id"] for group in groups]
        return lambda: lab.api.put(f"/v2.0/ports/{spare['id']}", {"port": {"security_groups": ids}})

    (first,) = [
        rule
        for rule in lab.api.get(f"/v2.0/security-groups/{web['id']}")["security_group"]["security_group_rules"]
        if rule["direction"] == "ingress"
    ]
    made["members"] = first
    return [
        make("prefix", ports=_SERVICE, prefix="10.0.0.1/32"),
        remove("members"),
        make("range", ports=(_SERVICE - 5, _SERVICE + 5), prefix="10.0.0.0/31"),
        regroup(clients),
        remove("prefix"),
        make("members", ports=_SERVICE, remote=clients),
        make("other", ports=9000),
        remove("range"),
        regroup(),
        remove("other"),
    ]


# ---- the controller dies under connections --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Restarted:
    """What became of connections while the controller came and went; `mods` are messages that change a switch."""

    restarts: int
    connections: int
    broken: int
    silence_s: float
    mods: dict[str, int]


def restart(cast: Cast, restarts: int = RESTARTS, streams: int = STREAMS) -> Restarted:
    """Kill the controller and start it again, under `streams` connections from `a` and `d` each to `b` and `c` each."""
    lab = cast.lab
    web = lab.group("web", project="red")
    for version, port in ((4, 80), (6, 81)):
        lab.rule(web, ethertype=f"IPv{version}", protocol="tcp", ports=port)
    cast.under(b=web, c=web)
    with ExitStack() as stack:
        for guest in cast:
            stack.callback(guest.hangs_up)
        talks: list[Talk] = []
        for answerer in (cast.b, cast.c):
            for caller, version, port in ((cast.a, 4, 80), (cast.d, 6, 81)):
                listener = answerer.listens(port, version=version, interval_s=0.1)
                talker = caller.talks(answerer, port, version=version, count=streams, interval_s=0.1)
                talks += (listener, talker)
        for talk in talks:
            talk.flows(count=streams, timeout_s=20)
        said = [stack.enter_context(hypervisor.openflow()) for hypervisor in lab.hypervisors.values()]
        for _ in range(restarts):
            lab.controller.kill()
            time.sleep(0.5)
            lab.controller.start()
            lab.converged()
        for talk in talks:
            talk.flows(count=streams, timeout_s=20)
        broken = sum(len(talk.lost()) + len(talk.ended()) for talk in talks)
    mods = {kind: number for each in said for kind, number in each.items() if "MOD" in kind or "BUNDLE" in kind}
    return Restarted(restarts, 4 * streams, broken, max(talk.longest_silence() for talk in talks), mods)


# ---- connections come and go ----------------------------------------------------------------------------------


def connect(cast: Cast, count: int = CONNECTIONS) -> int:
    """Make `count` connections from `a` to `b` and `c`, one after another, from few ports; how many were made.

    In turn the called end hangs up first, as servers do, and the calling one, by a reset.
    """
    lab = cast.lab
    web = lab.group("web", project="red")
    allow_both(lab, web, protocol="tcp", ports=80)
    cast.under(b=web, c=web)
    made = 0
    with ExitStack() as stack:
        doors = cycle([stack.enter_context(door(guest, version)) for guest in (cast.b, cast.c) for version in (4, 6)])
        ports = cycle(_REUSED)
        stack.enter_context(inside(cast.a.pid))
        for number in range(count):
            made += exchange(next(doors), next(ports), reset=bool(number // 4 % 2))
    return made


def door(guest: Host, version: int) -> socket.socket:
    """A socket of a host that listens at port 80."""
    with inside(guest.pid):
        own = socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_STREAM)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        own.bind((guest.address(version), 80))
    own.listen()
    own.settimeout(5)
    return own


def exchange(door: socket.socket, port: int, *, reset: bool, by: str = "") -> bool:
    """Call a listener from a port, `by` another address than its own if given; was a byte heard before they hung up?"""
    with socket.socket(door.family, socket.SOCK_STREAM) as caller:
        caller.settimeout(5)
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reset:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        caller.bind(("", port))
        try:
            own, number = door.getsockname()[:2]
            caller.connect((by or own, number))
        except TimeoutError:
            return False
        called, _ = door.accept()
        with called:
            called.sendall(b"!")
            if reset:
                return caller.recv(1) == b"!"
        return caller.recv(1) == b"!" and caller.recv(1) == b""


# ---- as a program ---------------------------------------------------------------------------------------------


def rows(cast: Cast, updates: int, restarts: int, connections: int) -> Iterator[Row]:
    """What had to be seen, and what was."""
    updated = update(cast, updates)
    yield Row.equal(f"{updates} updates: datagrams lost, of {updated.heard} that were allowed", "0", f"{updated.lost}")
    yield Row(
        f"{updates} updates: of {updated.denied} that were denied, arrived",
        "0",
        f"{updated.passed}",
        updated.passed == 0 < updated.denied,
    )
    restarted = restart(cast, restarts)
    yield Row.equal(
        f"{restarts} kills of the controller: of {restarted.connections} connections, broken",
        "0",
        f"{restarted.broken}",
    )
    silence = f"{restarted.silence_s:.2f} s"
    yield Row(f"{restarts} kills of the controller: longest silence", "< 1 s", silence, restarted.silence_s < 1)
    yield Row.equal(f"{restarts} kills of the controller: modifications sent", "{}", f"{restarted.mods}")
    before = [hypervisor.switch.pid for hypervisor in cast.lab.hypervisors.values()]
    start = time.monotonic()
    made = connect(cast, connections)
    took_s = time.monotonic() - start
    yield Row.equal(f"short connections made ({made / took_s:.0f} a second)", f"{connections}", f"{made}")
    for hypervisor in cast.lab.hypervisors.values():
        hypervisor.must_run()
    after = [hypervisor.switch.pid for hypervisor in cast.lab.hypervisors.values()]
    yield Row("the same ovs-vswitchd as before", f"{before}", f"{after}", before == after)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the trials, and end with 1 when something was wrong."""
    parser = argparse.ArgumentParser(prog="guarded", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--updates", type=int, default=UPDATES, help=f"changes of groups ({UPDATES})")
    parser.add_argument("--restarts", type=int, default=RESTARTS, help=f"kills of the controller ({RESTARTS})")
    parser.add_argument("--connections", type=int, default=CONNECTIONS, help=f"short ones ({CONNECTIONS})")
    options = parser.parse_args(arguments)

    def play() -> list[Row]:
        with Lab(hypervisors=2) as lab:
            seen = [*rows(gather(lab), options.updates, options.restarts, options.connections)]
            lab.settles()
            print(show(seen))
            return seen

    return concluded(play)


if __name__ == "__main__":
    sys.exit(main())
