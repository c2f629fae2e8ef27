"""A thread that does one thing after another for the event loop: less of a detour than an executor's.

await scribe.do(work, argument) ──> queue ──> thread ──> the future of whoever waits
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


class Scribe:
    """Begun by the first thing there is to do, ended by `close`; a daemon thread: who is left alone holds nobody up."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: threading.Thread | None = None
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    async def do(self, work: Callable[..., T], *given: object) -> T:
        """What `work(*given)` answers or raises, in the thread; it is done even if whoever waits is cancelled."""
        return await self.begin(work, *given)

    def begin(self, work: Callable[..., T], *given: object) -> asyncio.Future[T]:
        """The same, begun already when this returns."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def task() -> None:
            try:
                answer = partial(_answer, done, work(*given))
            except BaseException as error:  # is theirs who wait, whatever it is
                answer = partial(_refuse, done, error)
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(answer)

        self._tasks.put(task)
        return done

    def close(self) -> None:
        """End the thread, once all is done."""
        if self._thread is not None:
            self._tasks.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()


def _answer(done: asyncio.Future[T], result: T) -> None:
    if not done.done():
        done.set_result(result)


def _refuse(done: asyncio.Future[T], error: BaseException) -> None:
    if not done.done():
        done.set_exception(error)
