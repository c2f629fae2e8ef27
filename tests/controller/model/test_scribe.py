"""What is given to a scribe is done in turn, in one thread of its own, and whoever waits hears how it went."""

import asyncio
import threading
import time

import pytest

from controller.model.scribe import Scribe


def test_things_are_done_in_turn_in_a_thread_of_its_own() -> None:
    async def scenario() -> None:
        scribe, done = Scribe("scribe"), list[tuple[int, str]]()

        def work(number: int) -> int:
            done.append((number, threading.current_thread().name))
            return number * number

        assert await asyncio.gather(*(scribe.do(work, number) for number in range(9))) == [n * n for n in range(9)]
        assert done == [(number, "scribe") for number in range(9)]
        scribe.close()

    asyncio.run(scenario())


def test_what_fails_is_told_who_waits_and_stops_nothing() -> None:
    async def scenario() -> None:
        scribe = Scribe("scribe")
        with pytest.raises(ZeroDivisionError):
            await scribe.do(divmod, 1, 0)
        assert await scribe.do(divmod, 7, 2) == (3, 1)
        scribe.close()

    asyncio.run(scenario())


def test_what_was_asked_for_is_done_though_nobody_waits_any_more() -> None:
    async def scenario() -> None:
        scribe, gate, done = Scribe("scribe"), threading.Event(), list[int]()
        waiting = [asyncio.create_task(scribe.do(work)) for work in (gate.wait, lambda: done.append(1))]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        gate.set()
        scribe.close()
        assert done == [1]

    asyncio.run(scenario())


def test_one_that_is_left_alone_keeps_no_program_from_ending() -> None:
    scribe = Scribe("scribe")
    scribe.close()
    assert asyncio.run(scribe.do(time.monotonic)) <= time.monotonic()
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "scribe")
    scribe.close()
    assert "scribe" not in {thread.name for thread in threading.enumerate()}
