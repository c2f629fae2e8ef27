"""What changes cost in counts that no machine and no other program alters: cells, flows, messages, bytes.

Two clouds of tenants like those of `bulk`, the larger with three times as many of them, and as many ports on each
network. Nothing here is measured: the table is the same on every machine, and `tests/benchmarks/test_counts.py` holds
the code to it. A change that costs less is a reason to rewrite it (`make golden`); one that costs more is a reason to
ask why.
"""

from __future__ import annotations

import gc
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any, Final

from apps import APPS
from controller.flows.engine import Delta, Engine
from controller.flows.flow import Key
from controller.model.records import Router
from controller.model.store import Change, Transaction
from controller.southbound.messages import bundle_add
from controller.southbound.reconcile import AddFlow, RemoveFlow, partial
from tests.benchmarks.report import Figure, at_most
from tests.cloud import (
    Cloud,
    Work,
    egress,
    floating_ip,
    gateway,
    group,
    hypervisor,
    ingress,
    interface,
    network,
    no_port,
    port,
    router,
    subnet,
    turned,
    wire,
)

SIZES: Final = (3, 9)
"""How many tenants there are, and how many times four ports each of their two networks has."""
HYPERVISORS: Final = 4
RECORDED: Final = Path(__file__).with_name("counts.md")


@dataclass(slots=True)
class Counts:
    """What a change took: cells run; keys under which winners were looked for, on each chassis; switches told, and
    flow-mods, group-mods and bytes to all of them. How many values are worked out is no part: it depends on turns."""

    cells: int = 0
    judged: int = 0
    switches: int = 0
    flow_mods: int = 0
    group_mods: int = 0
    bytes: int = 0


COLUMNS: Final = (
    "change",
    "tenants",
    "cells",
    "judged",
    "switches",
    "flow-mods",
    "group-mods",
    "bytes",
)


class _Counting(Engine):
    """An engine that counts what it does."""

    counts = Counts()

    def update(self, changes: Iterable[Change]) -> dict[str, Delta]:
        deltas = super().update(changes)
        self.counts.cells += len(self.ran)
        return deltas

    def _affected(self, outcomes: Any) -> dict[Key, Set[str]]:
        affected = super()._affected(outcomes)
        self.counts.judged += sum(map(len, affected.values()))
        return affected


class Tenants(Cloud):
    """A cloud of tenants who have the same addresses, and what may be changed in it."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.plugged = size, defaultdict[int, list[str]](list)
        works: list[Work] = [wire("out", 0), subnet("out4", "out", "172.24.0.0/16", "172.24.0.1")]
        works += [work for tenant in range(size) for work in self._tenant(tenant)]
        self.commit(*works, *map(self.hypervisor, range(HYPERVISORS)))
        self.engine = self.counting = _Counting(self.model, APPS)

    def hypervisor(self, number: int, *more: str) -> Work:
        """A hypervisor as it is now, with some ports more plugged in."""
        self.plugged[number] += more
        return hypervisor(number + 1, *self.plugged[number], physical=("physnet1",), priority=10)

    def _tenant(self, number: int) -> Iterator[Work]:
        name = f"t{number}"
        remote = ingress(remote_group_id=f"{name}-group")
        yield group(f"{name}-group", egress(), remote, ingress("tcp", 22, remote_ip_prefix="172.24.0.0/16"))
        yield router(f"{name}-router", external_network_id="out")
        yield gateway(f"{name}-gw", f"{name}-router", "out", mac(number, 9, 0), out4=f"172.24.1.{number + 1}")
        for net in range(2):
            yield network(f"{name}-n{net}", 2 * number + net + 1)
            yield subnet(f"{name}-n{net}-subnet", f"{name}-n{net}", f"10.0.{net}.0/24", f"10.0.{net}.1")
            yield joint(number, net)
            for member in range(4 * self.size):
                yield guest(number, net, member)
                self.plugged[member % HYPERVISORS].append(f"{name}-n{net}-p{member}")
        yield floating(number, 0)

    def count(self, *works: Work) -> Counts:
        """What a change costs."""
        counts = self.counting.counts = Counts()
        self.commit(*works)
        for delta in self.delta.values():
            steps = partial(delta).steps
            flows = sum(isinstance(step, AddFlow | RemoveFlow) for step in steps)
            counts.switches += 1
            counts.flow_mods += flows
            counts.group_mods += len(steps) - flows
            counts.bytes += sum(len(bundle_add(1, 1, step.message(1))) for step in steps)
        return counts


def mac(*numbers: int) -> str:
    """A MAC address made of three numbers."""
    return ":".join(["02", "00", "00", *(f"{each:02x}" for each in numbers)])


def guest(tenant: int, net: int, member: int, **more: Any) -> Work:
    """A guest's port."""
    network = f"t{tenant}-n{net}"
    attributes = {"groups": [f"t{tenant}-group"], **more}
    return port(f"{network}-p{member}", network, mac(tenant, net, member), f"10.0.{net}.{10 + member}", **attributes)


def joint(tenant: int, net: int) -> Work:
    """A router's interface."""
    network = f"t{tenant}-n{net}"
    addresses = {f"{network}-subnet": f"10.0.{net}.1"}
    return interface(f"{network}-r", f"t{tenant}-router", network, mac(tenant, 8, net), **addresses)


def floating(tenant: int, member: int) -> Work:
    """A floating IP of a guest of the first network."""
    at = (f"t{tenant}-router", f"t{tenant}-n0-p{member}", f"10.0.0.{10 + member}")
    return floating_ip(f"t{tenant}-f{member}", "out", mac(tenant, 7, member), f"172.24.2.{4 * tenant + member}", *at)


def _renamed(tx: Transaction) -> None:
    tx.put(replace(tx.need(Router, "t0-router"), name="another"))


_ALLOWED: Final = (egress(), ingress(remote_group_id="t0-group"), ingress("tcp", 22, remote_ip_prefix="172.24.0.0/16"))

CHANGES: Final[Mapping[str, Callable[[Tenants], Iterable[Work]]]] = {
    "a port made": lambda cloud: [guest(0, 0, 100)],
    "it is plugged in": lambda cloud: [cloud.hypervisor(1, "t0-n0-p100")],
    "it is renamed": lambda cloud: [guest(0, 0, 100, name="another")],
    "it is down": lambda cloud: [turned("t0-n0-p100", up=False)],
    "it is up": lambda cloud: [turned("t0-n0-p100", up=True)],
    "it leaves its group": lambda cloud: [guest(0, 0, 100, groups=[])],
    "it joins it again": lambda cloud: [guest(0, 0, 100)],
    "it may use another address": lambda cloud: [guest(0, 0, 100, pairs=[(mac(0, 0, 100), "10.0.0.222")])],
    "it gets a floating IP": lambda cloud: [floating(0, 100)],
    "a rule more": lambda cloud: [group("t0-group", *_ALLOWED, ingress("tcp", 80))],
    "a rule less": lambda cloud: [group("t0-group", *_ALLOWED)],
    "it is deleted": lambda cloud: [no_port("t0-n0-p100")],
    "a network made": lambda cloud: [network("new", 900)],
    "a subnet made": lambda cloud: [subnet("new-subnet", "new", "10.0.9.0/24", "10.0.9.1")],
    "a router joins it": lambda cloud: [interface("new-r", "t0-router", "new", mac(0, 8, 9), **{"new-subnet": "10.0.9.1"})],
    "a port on it, plugged in": lambda cloud: [
        port("new-p", "new", mac(0, 9, 9), "10.0.9.10", groups=["t0-group"]),
        cloud.hypervisor(2, "new-p"),
    ],
    "the router leaves it": lambda cloud: [no_port("new-r")],
    "a router renamed": lambda cloud: [_renamed],
    "a hypervisor more": lambda cloud: [cloud.hypervisor(HYPERVISORS)],
}  # fmt: skip


def rows() -> Iterator[tuple[str, ...]]:
    """The table: first what everything takes from nothing, then each change."""
    clouds = {size: Tenants(size) for size in SIZES}
    for name, change in CHANGES.items():
        for size, cloud in clouds.items():
            yield (name, str(size), *map(str, astuple(cloud.count(*change(cloud)))))


def text() -> str:
    """The same, in Markdown."""
    lines = [COLUMNS, *rows()]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = [
        [
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    ]
    padded.insert(1, ["-" * width for width in widths])
    return "".join(f"| {' | '.join(line)} |\n" for line in padded)


def kept(size: int = SIZES[0]) -> float:
    """How many blocks of memory the model and its flows are, for each bound port of a cloud.

    It is alike in all runs of one version of Python.
    """
    Tenants(size)  # what is made once for a process
    gc.collect()
    before = sys.getallocatedblocks()
    cloud = Tenants(size)
    gc.collect()
    return (sys.getallocatedblocks() - before) / (8 * cloud.size**2)


def run() -> Iterator[Figure]:
    """The figures of the larger cloud; what was recorded is the most that they may be."""
    recorded = {line.split("|")[1].strip(): line.split("|") for line in RECORDED.read_text().splitlines()[2:]}
    for name, tenants, *found in rows():
        if int(tenants) == SIZES[1]:
            for column, count, most in zip(COLUMNS[2:], found, recorded[name][3:], strict=False):
                if column in ("cells", "bytes"):
                    yield Figure(f"{name}, {tenants} tenants: {column}", int(count), "", at_most(int(most)))
    yield Figure("blocks of memory kept for each bound port", kept(), "")


if __name__ == "__main__":
    print(text(), end="")
