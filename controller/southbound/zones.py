"""Conntrack zones that ports gave back: emptied on their hypervisor before another port may have their numbers.

    a port leaves ─> Quarantine ─> its flows are gone ─> emptied ─> 300 s ─> emptied again ─> Quarantine is deleted

The second time is for what came in between: packets that were on their way, and cached flows of the datapath, may make
a connection anew. What a restart of the controller, or of the switch, finds in quarantine begins at the beginning. A
switch that refuses (`NXT_CT_FLUSH_ZONE` came with Open vSwitch 2.6) keeps its zones there; it has thousands.
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
TOGETHER: Final = 64
"""So many zones are emptied at a time: for each the switch looks at all connections that it has."""
RETRY_S: Final = 5.0
"""How long to wait before zones are released again when the store could not."""

Empty: TypeAlias = Callable[[Sequence[int]], Awaitable[None]]
"""Has a switch do all that it was told, then forget the connections in these zones, and waits until it has."""


@dataclass(slots=True, eq=False)
class Zones:
    """The zones that one hypervisor has in quarantine, while its switch is connected; `changed` says to look again."""

    store: Store
    chassis: str
    empty: Empty
    changed: asyncio.Event
    again_s: float = AGAIN_S
    _emptied: dict[int, float] = field(default_factory=dict)

    async def run(self) -> NoReturn:
        """Empty what is in quarantine, and what comes to it, until cancelled. Raises what `empty` raises."""
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
        self._emptied = {zone: at for zone, at in self._emptied.items() if zone in held}
        due = {zone for zone, at in self._emptied.items() if at + self.again_s <= _now()}
        await self._empty(held - self._emptied.keys())
        await self._empty(due)
        if due and not await self._release(due):
            return RETRY_S
        for zone in due:
            del self._emptied[zone]
        return min(self._emptied.values()) + self.again_s - _now() if self._emptied else None

    async def _empty(self, zones: Iterable[int]) -> None:
        ordered = sorted(zones)
        for start in range(0, len(ordered), TOGETHER):
            some = ordered[start : start + TOGETHER]
            await self.empty(some)
            now = _now()
            for zone in some:
                self._emptied.setdefault(zone, now)
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
