"""The engine alone: everything from scratch, and what one change costs in a small cloud and in a large one.

Networks of both clouds are of equal size, so a change touches as many flows in one as in the other. Times are this
process's CPU time: nothing here waits, and other programs do not count.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from time import process_time

from controller.flows.engine import Engine
from controller.model.records import Port
from controller.model.store import Change, Transaction
from tests.benchmarks.instructions import instructions
from tests.benchmarks.report import Figure, at_most
from tests.benchmarks.shape import Cloud, Shape

SMALL = Shape(networks=10, size=100, homes=10, chassis=10)
LARGE = Shape(networks=200, size=100, homes=10, chassis=200)
TOUCHED = 10
"""The networks that changes are made to, one after the other, in both clouds."""
ROUNDS = 5
"""How often each of them is changed; the first time is not compared: then the CPU's caches hold nothing of it."""


@dataclass(slots=True, eq=False)
class _Run:
    """A cloud under measurement; by change: the CPU seconds each took, and how many cells it ran."""

    cloud: Cloud
    engine: Engine
    seconds: dict[str, list[float]] = field(default_factory=dict)
    cells: dict[str, set[int]] = field(default_factory=dict)

    def take(self, name: str, change: Change) -> None:
        """Measure what the engine makes of a change."""
        began = process_time()
        self.engine.update([change])
        self.seconds.setdefault(name, []).append(process_time() - began)
        self.cells.setdefault(name, set()).add(len(self.engine.ran))


def _bind(cloud: Cloud, network: int, _: int) -> Change:
    made = cloud.new_port(network)
    return cloud.write(made, cloud.joined(cloud.last_home(network)))


def _rename(cloud: Cloud, network: int, turn: int) -> Change:
    return cloud.write(lambda tx: tx.put(replace(_first(tx, network), name=f"name {turn}")))


def _switch_off(cloud: Cloud, network: int, _: int) -> Change:
    return cloud.write(lambda tx: tx.put(replace(_first(tx, network), admin_state_up=False)))


def _switch_on(cloud: Cloud, network: int, _: int) -> Change:
    return cloud.write(lambda tx: tx.put(replace(_first(tx, network), admin_state_up=True)))


def _first(tx: Transaction, network: int) -> Port:
    return tx.need(Port, f"port{network}.0")


CHANGES: Mapping[str, Callable[[Cloud, int, int], Change]] = {
    "one bound port more": _bind,
    "a port renamed": _rename,
    "a port down": _switch_off,
    "a port up": _switch_on,
}


def run() -> Iterator[Figure]:
    """The figures of the engine."""
    small = yield from _started(SMALL)
    large = yield from _started(LARGE)
    for name, change in CHANGES.items():
        yield _instructed(name, [_instructions(each, change) for each in (small, large)])
    for turn in range(ROUNDS * TOUCHED):
        for name, change in CHANGES.items():
            for each in (small, large) if turn % 2 else (large, small):
                each.take(name, change(each.cloud, turn % TOUCHED, turn))
    for name in CHANGES:
        yield from _compared(name, small, large)


def _started(shape: Shape) -> Generator[Figure, None, _Run]:
    """From the model alone."""
    cloud = Cloud(shape)
    gc.collect()
    began = process_time()
    engine = cloud.engine()
    seconds = process_time() - began
    cells, entries = len(engine.ran), sum(1 for _ in engine.entries())
    at = f"from scratch, {shape.ports:,} ports on {shape.chassis} hypervisors"
    yield Figure(at, seconds, "CPU s")
    yield Figure(f"{at}: {cells:,} cells", cells / seconds, "cells/s")
    yield Figure(f"{at}: {entries:,} distinct flows and groups", entries / seconds, "flows/s")
    began = process_time()
    flows = len(engine.desired("hv1"))
    yield Figure(f"all that one switch should hold, {shape.ports:,} ports", flows / (process_time() - began), "flows/s")
    return _Run(cloud, engine)


def _instructions(run: _Run, change: Callable[[Cloud, int, int], Change]) -> int:
    made = change(run.cloud, 0, 0)
    return instructions(lambda: run.engine.update([made]))


def _instructed(name: str, found: Sequence[int]) -> Figure:
    """Caches apart, this is what a change costs."""
    small, large = found
    what = f"{name}: bytecode instructions at {LARGE.ports:,} ports against {SMALL.ports:,} ({large:,} and {small:,})"
    return Figure(what, large / small, "times", at_most(1.05))


def _compared(name: str, small: _Run, large: _Run) -> Iterator[Figure]:
    one, other = (1000 * median(run.seconds[name][TOUCHED:]) for run in (small, large))
    sizes = f"{LARGE.ports:,} ports against {SMALL.ports:,}"
    yield Figure(f"{name}: {sizes} ({other:.2f} and {one:.2f} CPU ms)", other / one, "times", at_most(1.3))
    most = max(small.cells[name])
    yield Figure(f"{name}: cells run at {sizes}", max(large.cells[name]), "cells", at_most(most))
    first = 1000 * median(large.seconds[name][:TOUCHED])
    yield Figure(f"{name}: the first of its network, {LARGE.ports:,} ports", first, "CPU ms")
