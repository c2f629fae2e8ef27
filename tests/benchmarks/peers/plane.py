"""What forwarding costs: CPU time of ovs-vswitchd for each GB and each connection, and passes of its datapath.

The bare pipelines are flows of our own before Weft's, which keeps them as it keeps those of anybody: so switches,
interfaces and guests are the same. They know where their one path leads, and look a packet up in conntrack as often as
Weft does: a zone a guest, and one for a translation. Nothing can do with less that judges and translates connections.

Socket I/O is most of this; these are no numbers of the kernel's datapath, nor of DPDK's.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from statistics import mean
from types import TracebackType
from typing import Self

from controller.flows.pipeline import patch_port
from mininet_scenarios.hosts import Guest, Host
from mininet_scenarios.machines import BRIDGE, Hypervisor
from mininet_scenarios.ofproto import controlled
from mininet_scenarios.processes import inside
from mininet_scenarios.processes import run as command
from tests.benchmarks.peers.driver import GUESTS, OUTSIDE_MAC, PHYSICAL, SSH, Peer, own
from tests.benchmarks.peers.machine import Watch, cpu_s
from tests.benchmarks.peers.steps import Line, line

WARM_BYTES, BYTES = 2 << 20, 32 << 20
PATIENCE_S = 30.0
CALLS_S = 0.4
IDLE_S = 3.0
COOKIE = 0xBA5E
FIRST_TABLE = 100
"""Weft's are all below; and its zones begin with 1."""
VNI = 4242
TUNNEL, WIRE = "weft-geneve", patch_port(PHYSICAL)
UNDERLAY = "phy0"
STEP = 20
"""So many tables a direction has to itself."""
FEW = 1000
HERE, THERE, NAT = 65001, 65002, 65003
"""The zones of the two ends, and of what is translated between them."""


class Astray(Exception):
    """Raised when frames took another way than that of their case: then what it costs means nothing."""


@dataclass(frozen=True, slots=True)
class Path:
    """Who sends to whom, at which address if not its own."""

    source: str
    target: str
    address: str = ""


FLOATING = GUESTS["here"][1].floating
PATHS = {
    "same host": Path("here", "near"),
    "across": Path("here", "far"),
    "routed, across": Path("here", "beyond"),
    "floating IP, inbound": Path("outside", "here", FLOATING),
    "floating IP, outbound": Path("here", "outside"),
    "source NAT": Path("far", "outside"),
}


def forward(peer: Peer, name: str, bare: bool, round: int) -> list[Line]:
    """Send once, and call as often as can be for a while, over a path; `bare` is Weft's lab without Weft's flows."""
    path = PATHS[name]
    source, target = _end(peer, path.source), _end(peer, path.target)
    with bared(peer, name) if bare else nullcontext(), Switches(peer) as switches, Watch() as watch:
        sent, called = sending(switches, source, target, path.address), calling(switches, source, target, path.address)
    return [line(peer, "plane", name, watch, {"round": round, **sent, **called}, "bare" if bare else "")]


def idle(peer: Peer) -> list[Line]:
    """What forwarding nothing costs."""
    with Switches(peer) as switches, Watch() as watch:
        before = switches.count()
        time.sleep(IDLE_S)
        spent = switches.count() - before
    return [line(peer, "idle", "idle", watch, {"CPU ms/s": 1e3 * spent.cpu_s / watch.seconds})]


def _end(peer: Peer, name: str) -> Host:
    return peer.guests.get(name) or peer.lab.hosts[name]


# ---- what it takes of the switches ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Count:
    """CPU time of all threads of all ovs-vswitchd; what their datapaths took in, and what they asked about."""

    cpu_s: float
    packets: int
    upcalls: int

    def __sub__(self, before: Count) -> Count:
        """What came since."""
        return Count(self.cpu_s - before.cpu_s, self.packets - before.packets, self.upcalls - before.upcalls)


class Switches:
    """The switches of a lab, empty of decisions at first; use it as a context manager.

    They are asked over connections that are there already: no process is started while something is measured.
    """

    def __init__(self, peer: Peer) -> None:
        self._pids = peer.switches().values()
        self._hypervisors = peer.lab.hypervisors
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._controls = {
            name: self._stack.enter_context(controlled(each.control, PATIENCE_S))
            for name, each in self._hypervisors.items()
        }
        for control in self._controls.values():
            control.ask("revalidator/purge")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def count(self) -> Count:
        """All so far."""
        cpu = sum(map(cpu_s, self._pids))
        said = "".join(control.ask("dpif-netdev/pmd-stats-show") for control in self._controls.values())
        return Count(cpu, _total("packets received", said), _total("miss with success upcall", said))

    def passes(self) -> dict[str, float]:
        """How often each datapath looks at a frame, since it was emptied: the mean of what came by each interface.

        How many there are each way differs from turn to turn, as TCP acknowledges more or fewer at a time.
        """
        found = {}
        for name, control in self._controls.items():
            ways = passes(control.ask("dpctl/dump-flows", "--names").splitlines())
            if ways:
                found[f"passes {name}"] = mean(ways.values())
        return found


def _total(what: str, said: str) -> int:
    return sum(map(int, re.findall(rf"{what}: (\d+)", said)))


def passes(dump: Sequence[str]) -> dict[str, float]:
    """How often a datapath looked at what came by each interface that more than a few frames came by, by its flows.

    What comes out of a tunnel came by the underlay's.
    """
    first, all_ = Counter[str](), Counter[str]()
    for flow in dump:
        if seen := re.search(r"recirc_id\((\w+)\).*in_port\(([\w-]+)\).* packets:(\d+)", flow):
            port, packets, tunnelled = seen[2], int(seen[3]), "tunnel(" in flow.partition(" actions:")[0]
            all_[UNDERLAY if tunnelled else port] += packets
            first[port] += packets if seen[1] == "0" and not tunnelled else 0
    return {port: all_[port] / packets for port, packets in first.items() if packets > FEW}


# ---- one turn ------------------------------------------------------------------------------------------------------


def sending(switches: Switches, source: Host, target: Host, address: str) -> dict[str, float]:
    """Send over a connection that is under way already."""
    with _connection(source, target, address) as (sender, taker), ThreadPoolExecutor(1) as pool:
        for size in (WARM_BYTES, BYTES):
            before, began = switches.count(), time.monotonic()
            sent = pool.submit(sender.sendall, bytes(size))
            _take(taker, size)
            sent.result()
            seconds, took = time.monotonic() - began, switches.count() - before
    return {
        "CPU s/GB": 1e9 * took.cpu_s / BYTES,
        "CPU µs a packet": 1e6 * took.cpu_s / took.packets,
        "Gbit/s": 8e-9 * BYTES / seconds,
        **switches.passes(),
    }


@contextmanager
def _connection(source: Host, target: Host, address: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    with _listening(target) as listener, inside(source.pid):
        sender = socket.create_connection((address or target.ip, SSH), PATIENCE_S)
        with sender, listener.accept()[0] as taker:
            taker.settimeout(PATIENCE_S)
            yield sender, taker


@contextmanager
def _listening(target: Host) -> Iterator[socket.socket]:
    with inside(target.pid):
        listener = socket.create_server((target.ip, SSH), backlog=1024)
    with listener:
        listener.settimeout(PATIENCE_S)
        yield listener


def _take(taker: socket.socket, size: int) -> None:
    buffer = bytearray(1 << 20)
    while size:
        read = taker.recv_into(buffer, min(size, len(buffer)))
        if not read:
            raise ConnectionError(f"{size} bytes before its end, the stream ended")
        size -= read


def calling(switches: Switches, source: Host, target: Host, address: str) -> dict[str, float]:
    """Connections one after the other, each with a byte there and a byte back, from the first that is let through."""
    with _listening(target) as listener:
        answering = threading.Thread(target=_answer, args=(listener,), daemon=True)
        answering.start()
        with inside(source.pid):
            _call((address or target.ip, SSH))
            before, calls, began = switches.count(), 0, time.monotonic()
            while (now := time.monotonic()) < began + CALLS_S:
                _call((address or target.ip, SSH))
                calls += 1
            took = switches.count() - before
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        answering.join()
    return {
        "connections/s": calls / (now - began),
        "CPU ms a connection": 1e3 * took.cpu_s / calls,
        "packets a connection": took.packets / calls,
        "upcalls of calls": took.upcalls,
    }


def _call(address: tuple[str, int]) -> None:
    with socket.create_connection(address, PATIENCE_S) as connection:
        connection.sendall(b"?")
        if connection.recv(1) != b"!":
            raise ConnectionError("a connection without an answer")


def _answer(listener: socket.socket) -> None:
    with suppress(OSError):  # nobody listens any more
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(PATIENCE_S)
                if connection.recv(1):
                    connection.sendall(b"!")
                    connection.recv(1)


# ---- bare pipelines ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Lookup:
    """A look-up in a zone of conntrack, which translates if `nat` says into what: `src=..`, `dst=..`, or "back"."""

    zone: int
    nat: str = ""


@dataclass(frozen=True, slots=True)
class Way:
    """One direction on one hypervisor: what comes from where is looked up, and sent on."""

    match: str
    lookups: tuple[Lookup, ...]
    action: str

    def flows(self, table: int) -> Iterator[str]:
        """The flows; behind each look-up is a table, and behind a translation that is new another one."""
        common = f"cookie={COOKIE:#x},priority=65535,ip"
        ask = [
            f"ct(table={table + 2 * n},zone={each.zone}{',nat' if each.nat else ''})" for n, each in self._numbered()
        ]
        first, *onward = (*ask, self.action)
        yield f"table=0,{common},{self.match},actions={first}"
        for (number, lookup), then in zip(self._numbered(), onward, strict=True):
            here, behind = table + 2 * number, table + 2 * number + 1
            known, commit = f"table={here},{common},ct_state=+trk", f"ct(commit,zone={lookup.zone}"
            yield f"{known}-new,actions=goto_table:{behind}"
            if "=" in lookup.nat:
                yield f"{known}+new,actions={commit},nat({lookup.nat}),table={behind})"
            else:
                yield f"{known}+new,actions={commit}),goto_table:{behind}"
            yield f"table={behind},{common},actions={then}"

    def _numbered(self) -> list[tuple[int, Lookup]]:
        return [*enumerate(self.lookups)]


def pipelines(peer: Peer, name: str) -> dict[str, list[Way]]:
    """The ways of a path and back, by hypervisor."""
    hv1, hv2 = peer.lab.hypervisors.values()
    path = PATHS[name]
    source, target = _end(peer, path.source), _end(peer, path.target)
    here, there = Lookup(HERE), Lookup(THERE)
    if name == "same host":
        a, b = _tap(source), _tap(target)
        return {"hv1": [_way(a, b, here, there), _way(b, a, there, here)]}
    if path.source == "here" and path.target in ("far", "beyond"):
        routed = path.target == "beyond"
        to = {each: f"dec_ttl,set_field:{each.mac}->eth_dst," if routed else "" for each in (source, target)}
        ends = {hv1: (source, here, hv2, to[target]), hv2: (target, there, hv1, to[source])}
        found = {}
        for hypervisor, (guest, zone, peer_, rewrite) in ends.items():
            out = Way(f"in_port={_tap(guest)}", (zone,), f"{rewrite}{_tunnel(peer_)}")
            back = Way(f"in_port={TUNNEL},tun_id={VNI}", (zone,), f"output:{_tap(guest)}")
            found[hypervisor.name] = [out, back]
        return found
    return _translated(peer, name)


def _translated(peer: Peer, name: str) -> dict[str, list[Way]]:
    """Ways between a guest and the outside, translated on hv1."""
    hv1, hv2 = peer.lab.hypervisors.values()
    guest = peer.guests["far" if name == "source NAT" else "here"]
    public = own(0) if name == "source NAT" else FLOATING
    inbound = name == "floating IP, inbound"
    into, out = (f"dst={guest.ip}", "back") if inbound else ("back", f"src={public}")
    leave = f"dec_ttl,set_field:{OUTSIDE_MAC}->eth_dst,output:{WIRE}"
    enter = f"dec_ttl,set_field:{guest.mac}->eth_dst,"
    from_wire, zone = f"in_port={WIRE},nw_dst={public}", Lookup(HERE)
    if name != "source NAT":
        return {
            "hv1": [
                Way(f"in_port={_tap(guest)}", (zone, Lookup(NAT, out)), leave),
                Way(from_wire, (Lookup(NAT, into), zone), f"{enter}output:{_tap(guest)}"),
            ]
        }
    tunnelled = f"in_port={TUNNEL},tun_id={VNI}"
    return {
        "hv1": [
            Way(tunnelled, (Lookup(NAT, out),), leave),
            Way(from_wire, (Lookup(NAT, into),), f"{enter}{_tunnel(hv2)}"),
        ],
        "hv2": [
            Way(f"in_port={_tap(guest)}", (zone,), _tunnel(hv1)),
            Way(tunnelled, (zone,), f"output:{_tap(guest)}"),
        ],
    }


def _tap(host: Host) -> str:
    assert isinstance(host, Guest)
    return host.tap


def _way(source: str, target: str, *lookups: Lookup) -> Way:
    return Way(f"in_port={source}", lookups, f"output:{target}")


def _tunnel(peer: Hypervisor) -> str:
    return f"set_field:{VNI}->tun_id,set_field:{peer.vtep}->tun_dst,output:{TUNNEL}"


@contextmanager
def bared(peer: Peer, name: str) -> Iterator[None]:
    """Let the frames of a path pass our own flows; all others go Weft's way. Raises Astray if they did not."""
    hypervisors = peer.lab.hypervisors
    try:
        for hypervisor, ways in pipelines(peer, name).items():
            flows = [flow for n, way in enumerate(ways) for flow in way.flows(FIRST_TABLE + STEP * n)]
            node = hypervisors[hypervisor]
            command("ovs-ofctl", "add-flows", BRIDGE, "-", env=node.environment, stdin="\n".join(flows))
        yield
        for hypervisor in pipelines(peer, name):
            hypervisors[hypervisor].forget_decisions()  # what the datapath counted, flows are told then
            said = hypervisors[hypervisor].ofctl("dump-aggregate", BRIDGE, f"cookie={COOKIE:#x}/-1,table=0")
            if int(said.partition("byte_count=")[2].split()[0]) < BYTES:
                raise Astray(f"{name}, {hypervisor}: {said}")
    finally:
        for each in hypervisors.values():
            each.ofctl("del-flows", BRIDGE, f"cookie={COOKIE:#x}/-1")
