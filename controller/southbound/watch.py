"""What others do to a switch: gathered from what its flow monitor says, and from the requests that it forwards.

Of flows a monitor tells what others do and abbreviates what we do; of groups the switch forwards what others ask. From
a dump on, `foreign` is what the monitor says it is; whatever may concern our own entries is gathered into one report.

Sections are those of the OpenFlow 1.4.1 specification.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from controller.southbound import messages as of
from controller.southbound.openflow import EncodedFlow
from controller.southbound.reconcile import AddFlow, RemoveFlow, Step, WireKey, own_flow, own_group_id, passing

SUSPECTS: Final = 10_000
"""A report names no more keys; beyond, anything may have changed."""


@dataclass(frozen=True, slots=True)
class Tampering:
    """What others did to a switch, as far as it may concern us.

    `own`: an entry of ours was changed, or any may have been. `keys`: where others put or removed flows that were not
    known to be theirs: in place of ours, perhaps. `foreign_groups`: groups of others came, changed or went.
    """

    own: bool = False
    keys: frozenset[WireKey] = frozenset()
    foreign_groups: bool = False


@dataclass(slots=True, eq=False)
class Watch:
    """The flows that others have on a switch, and what they did since the last report, if anything is `noticed`."""

    foreign: dict[WireKey, EncodedFlow] = field(default_factory=dict)
    noticed: asyncio.Event = field(default_factory=asyncio.Event)
    own: bool = False
    keys: set[WireKey] = field(default_factory=set)
    foreign_groups: bool = False

    def take_update(self, update: of.FlowUpdate) -> None:
        """Section 7.3.5.15. Of what happens while the monitor pauses not all is told: so anything may have."""
        match update.event:
            case of.OFPFME_ABBREV | of.OFPFME_PAUSED:
                pass
            case of.OFPFME_RESUMED:
                self.own = True
                self.noticed.set()
            case event if not passing(update.cookie):
                flow = EncodedFlow.of(update.table, update.priority, update.match, update.instructions, update.cookie)
                self._take_flow(flow, removed=event == of.OFPFME_REMOVED)

    def _take_flow(self, flow: EncodedFlow, *, removed: bool) -> None:
        """A flow of others under a new key may have replaced one of ours: that is told as an addition, too."""
        known = self.foreign.pop(flow.key, None) is not None
        own = own_flow(flow)
        if not own and not removed:
            self.foreign[flow.key] = flow
        if own or not known:
            self.own |= own or len(self.keys) >= SUSPECTS
            self.keys.add(flow.key)
            self.noticed.set()

    def take_group(self, id: int | None) -> None:
        """Section 7.4.6: somebody else's change of a group, or of all; None is of none."""
        if id is not None:
            self.own |= id == of.OFPG_ALL or own_group_id(id)
            self.foreign_groups |= not own_group_id(id)
            self.noticed.set()

    def forget(self, steps: Iterable[Step]) -> None:
        """Where we put or removed a flow there is none of others."""
        for step in steps if self.foreign else ():
            match step:
                case AddFlow(_, flow):
                    self.foreign.pop(flow.key, None)
                case RemoveFlow((table, priority, _), match):
                    self.foreign.pop((table, priority, match), None)

    def report(self) -> Tampering:
        """What was gathered, and begin anew."""
        seen = Tampering(self.own, frozenset(() if self.own else self.keys), self.foreign_groups)
        self.own, self.keys, self.foreign_groups = False, set(), False
        self.noticed.clear()
        return seen
