"""Time as peers may be held to it: a clock that counts no time in which this process could not have listened.

Who is busy for seconds hears nobody, and would take everybody for dead afterwards. So silence, and waiting for an
answer, are measured by a `Clock`, which counts a long step of the event loop as a short one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Final, NoReturn, Self

TICK_S: Final = 0.25
"""How often a clock looks whether the event loop gets round."""


class Clock:
    """Seconds in which the event loop got round; `run` must be running beside whoever asks."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._looked = self._loop.time()
        self._counted = 0.0

    @property
    def now(self) -> float:
        """Seconds since some moment; what passed since the last look counts for two ticks at the most."""
        return self._counted + min(self._loop.time() - self._looked, 2 * TICK_S)

    async def run(self) -> NoReturn:
        """Look at the loop again and again, until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            self._counted, self._looked = self.now, self._loop.time()


class Deadline:
    """As `asyncio.timeout`, by a `Clock`: leaving it late raises TimeoutError. None never ends."""

    def __init__(self, clock: Clock, within_s: float | None) -> None:
        self._clock = clock
        self._at = None if within_s is None else clock.now + within_s
        self._timeout = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None

    def extend(self, within_s: float | None) -> None:
        """End so many seconds from now instead."""
        self._at = None if within_s is None else self._clock.now + within_s
        self._look()

    def _look(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._at is None:
            return
        loop, left_s = asyncio.get_running_loop(), self._at - self._clock.now
        if left_s > 0:
            self._timer = loop.call_later(left_s, self._look)
        elif not self._timeout.expired():
            self._timeout.reschedule(loop.time())

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        self._look()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self._timeout.__aexit__(kind, error, traceback)


class Turns:
    """Lets a few at a time work, in the order in which they asked.

    Who takes longer than `lent_s` goes on, and the next is let in all the same: a slow one holds nobody up for long.
    """

    def __init__(self, count: int, lent_s: float) -> None:
        self._free = asyncio.Semaphore(count)
        self._lent_s = lent_s
        self._asking = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def idle(self, within_s: float) -> None:
        """Wait until nobody has or wants a turn, but no longer than that."""
        try:
            async with asyncio.timeout(within_s):
                await self._idle.wait()
        except TimeoutError:
            pass

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and have it while used as a context manager."""
        loop = asyncio.get_running_loop()
        self._asking += 1
        self._idle.clear()
        try:
            await self._free.acquire()
            lent = loop.call_later(self._lent_s, self._free.release)
            try:
                yield
            finally:
                if lent.when() > loop.time():  # else it has run out, and was or will be given to the next
                    lent.cancel()
                    self._free.release()
        finally:
            self._asking -= 1
            if not self._asking:
                self._idle.set()
