"""Conntrack zones that ports gave back: emptied on their hypervisor before another port may have their numbers.

    a port leaves ─> Quarantine ─> its flows are gone ─> emptied ─> 300 s ─> emptied again ─> Quarantine is deleted

The second time is for what came in between: packets that were on their way, and cached flows of the datapath, may make
a connection anew. The time goes on while the switch is away, for no flow leads there any more, whoever restarts: else
zones of a switch that is away now and then would never be released. What a restart of the controller finds in
quarantine begins at the beginning. A switch that refuses (`NXT_CT_FLUSH_ZONE` came with Open vSwitch 2.6) keeps its
zones there; it has thousands.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NoReturn, TypeAlias

from controller.errors import Rejected, Unavailable
from controller.model.records import Quarantine
from controller.model.store import Store, Transaction
from controller.southbound.messages import error_name

log = logging.getLogger(__name__)

GATHER_S: Final = 0.2
"""For so long zones are gathered before they are emptied: ports often leave together."""
AGAIN_S: Final = 300.0
"""After so long no packet is on its way, and no cached flow of the datapath is left, from before the port left."""
BACK_S: Final = 2.0
"""For so long a switch is in step again before zones are released: what a datapath did by itself while nobody told it
of flows that were gone is over then."""
TOGETHER: Final = 64
"""So many zones are emptied at a time: for each the switch looks at all connections that it has."""
RETRY_S: Final = 5.0
"""How long to wait before zones are released again when the store could not."""

Empty: TypeAlias = Callable[[Sequence[int]], Awaitable[None]]
"""Has a switch do all that it was told, then forget the connections in these zones, and waits until it has."""


@dataclass(slots=True, eq=False)
class Zones:
    """The zones that one hypervisor has in quarantine, while its switch is connected; `changed` says to look again.

    `emptied` is when each was emptied first, on this connection or an earlier one.
    """

    store: Store
    chassis: str
    empty: Empty
    changed: asyncio.Event
    emptied: dict[int, float] = field(default_factory=dict)
    again_s: float = AGAIN_S
    back_s: float = BACK_S
    _not_before: float = field(default=0.0, init=False)

    async def run(self) -> NoReturn:
        """Empty what is in quarantine, and what comes to it, until cancelled. Raises what `empty` raises."""
        self._not_before = _now() + self.back_s
        while True:
            self.changed.clear()
            try:
                next_s = await self._turn()
            except Rejected as refused:
                error = error_name(refused.type, refused.code)
                log.warning("conntrack zones stay in quarantine chassis=%s error=%s", self.chassis, error)
                await asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(next_s):
                    await self.changed.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(GATHER_S)

    async def _turn(self) -> float | None:
        """Do what is due. Answers in how many seconds the next is."""
        held = {record.zone for record in self.store.model.where(Quarantine, chassis=self.chassis)}
        for zone in self.emptied.keys() - held:
            del self.emptied[zone]
        due = {zone for zone in self.emptied if self._due_at(zone) <= _now()}
        await self._empty(held - self.emptied.keys())
        await self._empty(due)
        times = {zone: self.emptied.pop(zone) for zone in due}  # who is cancelled while it commits never hears of it
        if due and not await self._release(due):
            self.emptied |= times
            return RETRY_S
        return min(map(self._due_at, self.emptied)) - _now() if self.emptied else None

    def _due_at(self, zone: int) -> float:
        """When a zone is to be emptied the second time."""
        return max(self.emptied[zone] + self.again_s, self._not_before)

    async def _empty(self, zones: Iterable[int]) -> None:
        ordered = sorted(zones)
        for start in range(0, len(ordered), TOGETHER):
            some = ordered[start : start + TOGETHER]
            await self.empty(some)
            now = _now()
            for zone in some:
                self.emptied.setdefault(zone, now)
            log.info("conntrack zones emptied chassis=%s zones=%s", self.chassis, ",".join(map(str, some)))

    async def _release(self, zones: Iterable[int]) -> bool:
        """Let other ports have the zones; whether that could be written."""

        def work(tx: Transaction) -> None:
            for zone in zones:
                tx.discard(Quarantine, f"{self.chassis}/{zone}")

        try:
            await self.store.commit(work)
        except Unavailable:  # the store says so itself
            return False
        return True


def _now() -> float:
    return asyncio.get_running_loop().time()
