"""Gateways that come, or come back, wait: whoever took over keeps its connections, and nobody changes back and forth.

A switch that comes back without flows was no gateway meanwhile: another one has taken over, and connections that it
translates would be cut. And whoever is to use a gateway has to know it alive first. So for `hold_s` it is ranked behind
all others (`Recovering`); if there are none it is the gateway at once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final, NoReturn

from controller.errors import Unavailable
from controller.model.bindings import recover, recovered
from controller.model.records import Chassis, Recovering
from controller.model.store import Store, Transaction

log = logging.getLogger(__name__)

TICK_S: Final = 0.5
TOGETHER_S: Final = 5.0
"""Those that came so close together are ranked as they should be at once: nobody changes twice."""


class Recovery:
    """All gateways that came back lately."""

    def __init__(self, store: Store, hold_s: float) -> None:
        self._store, self._hold_s = store, hold_s
        self._since: dict[str, float] = {}

    async def dark(self, chassis: str) -> None:
        """A switch has come back without flows; called before it gets any."""
        self._since[chassis] = time.monotonic()
        known = self._store.model.get(Chassis, chassis)
        if known is None or known.gateway_priority is None:
            return
        try:
            await self._store.commit(lambda tx: recover(tx, chassis))
        except Unavailable:  # the store says so itself; better a gateway too soon than none
            return
        log.info("gateway recovers chassis=%s seconds=%g", chassis, self._hold_s)

    async def run(self) -> NoReturn:
        """Let them be ranked as they should be, in time, until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            waited = {each.id: now - self._since.setdefault(each.id, now) for each in self._store.model.all(Recovering)}
            self._since = {chassis: since for chassis, since in self._since.items() if chassis in waited}
            over = [chassis for chassis, seconds in waited.items() if seconds >= self._hold_s]
            over = [chassis for chassis, seconds in waited.items() if over and seconds >= self._hold_s - TOGETHER_S]
            if over:
                await self._release(over)

    async def _release(self, over: list[str]) -> None:
        def work(tx: Transaction) -> None:
            for chassis in over:
                recovered(tx, chassis)

        try:
            await self._store.commit(work)
        except Unavailable:  # the store says so itself, and there will be another time
            return
        log.info("gateways have recovered chassis=%s", ",".join(over))
