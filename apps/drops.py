"""Drops: no frame vanishes. What matches nothing goes to table DROP, where every reason has a flow and its counter."""

from __future__ import annotations

from collections.abc import Iterator

from controller.flows.action import goto
from controller.flows.app import app, everywhere
from controller.flows.flow import Flow
from controller.flows.match import ANY
from controller.flows.pipeline import DROP, MISSES, TRAPS, WHY, Why
from controller.model.view import View


def misses(view: View) -> Iterator[Flow]:
    """What matches nothing in a table goes to DROP with the reason that this is."""
    for table, why in MISSES.items():
        yield Flow(table, "miss", ANY, (WHY.set(why), goto(DROP)))


def reasons(view: View) -> Iterator[Flow]:
    """One counter a reason."""
    for why in (each for each in Why if each not in TRAPS):
        yield Flow(DROP, "reason", WHY(why))


APP = app("drops", everywhere(misses), everywhere(reasons))
