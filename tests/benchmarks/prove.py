"""`weft prove` over 2,000 ports on 20 hypervisors (in all): seconds by the wall and of processors, and memory of all
processes together; where every port is in the default group of its project, and where none lets anything in.

The flows are what switches should hold, as text; the networks are of 100 ports, each on ten hypervisors.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from controller.flows.flow import Flow
from controller.model.records import KINDS, Link
from controller.prove.cloud import Held
from controller.prove.proof import Question, prove
from tests.benchmarks.report import Figure, at_most
from tests.benchmarks.shape import Cloud, Shape

LARGE = Shape(networks=20, size=100, homes=10, chassis=20)
MOST_S = 60.0


def run() -> Iterator[Figure]:
    """The figures of a proof."""
    for default_groups in (True, False):
        question = asked(LARGE, default_groups=default_groups)
        before = sum(os.times()[:4])
        answer = prove(question)
        worked = sum(os.times()[:4]) - before
        if answer.violations:
            raise AssertionError(answer.violations[0].sentence)
        where = "in default groups" if default_groups else "that let nothing in"
        at = f"{LARGE.ports:,} ports {where} on {LARGE.chassis} hypervisors, {answer.flows:,} flows"
        yield Figure(f"proven: {at}", answer.seconds, "s", at_most(MOST_S))
        yield Figure(f"seconds of processors: {at}", worked, "s")
        yield Figure(f"memory at the most: {at}", answer.peak_bytes / 1e6, "MB")


def asked(shape: Shape, *, default_groups: bool = False) -> Question:
    """What switches of a cloud hold, and its model."""
    cloud = Cloud(shape, default_groups=default_groups)
    engine = cloud.engine()
    held = {}
    for number in range(shape.chassis):
        name = f"hv{number + 1}"
        items = [entry.item for entry in engine.desired(name).values()]
        flows = tuple(str(item) for item in items if isinstance(item, Flow))
        groups = tuple(str(item) for item in items if not isinstance(item, Flow))
        ports = {link.ofport: link.interface for link in cloud.model.where(Link, chassis=name)}
        held[name] = Held(flows, groups, ports)
    return Question(tuple(record for kind in KINDS for record in cloud.model.all(kind)), held)
