"""Zones to translate in are handed out as soon as something is to be translated somewhere, and given back after that.

What should have a zone follows from the model (`controller.flows.presence`), so this only writes the difference down:
flows that translate stand once a zone is recorded, and a zone that is given back is emptied (`zones`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, NoReturn

from controller.errors import Unavailable
from controller.flows.ways_out import FLOATING_ZONES, IDLE, ROUTER_ZONES
from controller.model.store import Store, Transaction
from controller.model.translations import LAST, allot, release
from controller.model.view import View

log = logging.getLogger(__name__)

RETRY_S: Final = 1.0
"""How long to wait before it is written again when the store could not, or had no zone left."""


def due(view: View) -> Callable[[Transaction], list[tuple[str, str]]] | None:
    """What is to be written for zones to be as they should, if they are not; it answers what found no zone."""
    wanted = view.gather(ROUTER_ZONES, "") | view.gather(FLOATING_ZONES, "")
    idle = view.gather(IDLE, "")
    if not wanted and not idle:
        return None

    def work(tx: Transaction) -> list[tuple[str, str]]:
        for each in sorted(idle):
            release(tx, each)
        return [(chassis, what) for chassis, what in sorted(wanted) if allot(tx, chassis, what) is None]

    return work


class Translations:
    """Keeps the zones of all hypervisors as they should be."""

    def __init__(self, store: Store, view: Callable[[], View]) -> None:
        self._store, self._view = store, view
        self._changed = asyncio.Event()
        self._changed.set()
        self._short: set[tuple[str, str]] = set()

    def follow(self) -> None:
        """The model changed."""
        if due(self._view()) is not None:
            self._changed.set()

    async def run(self) -> NoReturn:
        """Write what is due, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            while (work := due(self._view())) is not None:
                try:
                    self._lack(set(await self._store.commit(work)))
                except Unavailable:  # the store says so itself
                    await asyncio.sleep(RETRY_S)
                    continue
                if self._short:
                    await asyncio.sleep(RETRY_S)

    def _lack(self, short: set[tuple[str, str]]) -> None:
        """Say once what is not translated for want of a zone."""
        for chassis, what in sorted(short - self._short):
            log.error("no conntrack zone left to translate in, up to %d: chassis=%s what=%s", LAST, chassis, what)
        self._short = short
