"""What plays around one part of the southbound: a store that is served, and an event that says that it changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from controller.errors import Unavailable
from controller.model.store import Change, Journal, MemoryJournal, Store


@dataclass
class Forgetful(MemoryJournal):
    """A journal that cannot write for a while."""

    broken: bool = False

    def append(self, changes: Sequence[Change]) -> None:
        if self.broken:
            raise Unavailable("the disk is full")


@dataclass(frozen=True)
class Stage:
    """A store, what is set whenever it changes, and where tasks go that end before the stage does."""

    store: Store
    changed: asyncio.Event
    tasks: asyncio.TaskGroup


@asynccontextmanager
async def stage(journal: Journal | None = None) -> AsyncIterator[Stage]:
    """Serve a store while the block runs."""
    store = await Store.open(journal or MemoryJournal())
    changed = asyncio.Event()
    store.follow(lambda _: changed.set())
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(store.run())
        yield Stage(store, changed, tasks)
        serving.cancel()
    await store.close()
