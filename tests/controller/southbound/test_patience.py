"""Nobody is given up for our own being busy, and a slow one keeps no others waiting for long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from controller.southbound import messages as of
from controller.southbound.patience import TICK_S, Clock, Deadline, Turns
from controller.southbound.switch import Switch, Timing
from tests.controller.southbound.switches import Peer, on_false, run, until

Timed = Callable[[Clock], Awaitable[None]]


def timed(test: Timed) -> None:
    """Run a test beside a clock."""

    async def ticking() -> None:
        clock = Clock()
        async with asyncio.TaskGroup() as group:
            running = group.create_task(clock.run())
            await test(clock)
            running.cancel()

    run(ticking())


# ---- the clock -----------------------------------------------------------------------------------------------------


def test_a_clock_goes_with_the_time_while_the_loop_gets_round() -> None:
    async def test(clock: Clock) -> None:
        began, now = time.monotonic(), clock.now
        for _ in range(40):
            await asyncio.sleep(0.02)
        passed = clock.now - now
        assert passed > 0.7
        assert passed <= time.monotonic() - began + 0.01

    timed(test)


def test_a_clock_counts_a_long_step_as_a_short_one() -> None:
    async def test(clock: Clock) -> None:
        now = clock.now
        time.sleep(1.5)  # noqa: ASYNC251 we are busy
        assert clock.now - now <= 2 * TICK_S + 0.01
        await asyncio.sleep(0)
        assert clock.now - now <= 2 * TICK_S + 0.02

    timed(test)


def test_a_deadline_is_not_missed_for_our_own_being_busy() -> None:
    async def test(clock: Clock) -> None:
        answer = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.1, time.sleep, 1.5)
        asyncio.get_running_loop().call_later(1.8, answer.set_result, None)
        async with Deadline(clock, 1.0):
            await answer

    timed(test)


def test_a_deadline_ends_what_takes_too_long_and_can_be_extended() -> None:
    async def test(clock: Clock) -> None:
        async def takes_too_long() -> None:
            async with Deadline(clock, 0.1) as deadline:
                await asyncio.sleep(0.05)
                deadline.extend(0.4)
                await asyncio.sleep(10)

        began = clock.now
        with pytest.raises(TimeoutError):
            await takes_too_long()
        assert 0.4 < clock.now - began < 2
        async with Deadline(clock, 0.05) as deadline:
            deadline.extend(None)
            await asyncio.sleep(0.2)

    timed(test)


def test_a_switch_that_answers_is_not_given_up_after_a_long_step_of_ours() -> None:
    async def answers(peer: Peer) -> None:
        while True:
            head, body = await peer.hear()
            if head.type == of.OFPT_ECHO_REQUEST:
                peer.answer(of.OFPT_ECHO_REPLY, head.xid, body)

    async def session(_switch: Switch) -> str:
        await asyncio.sleep(0.3)
        time.sleep(2.0)  # noqa: ASYNC251 we are busy
        await asyncio.sleep(1.0)
        return "still there"

    assert on_false(answers, session, Timing(echo_s=0.2, dead_s=1.0)) == "still there"


# ---- turns ---------------------------------------------------------------------------------------------------------


def test_a_few_have_their_turn_at_a_time_in_order() -> None:
    async def test() -> None:
        turns, working, began = Turns(2, 60.0), set[int](), list[int]()

        async def work(number: int) -> None:
            async with turns.turn():
                began.append(number)
                working.add(number)
                assert len(working) <= 2
                await asyncio.sleep(0.02)
                working.remove(number)

        async with asyncio.TaskGroup() as group:
            for number in range(6):
                group.create_task(work(number))
        assert began == [*range(6)]

    run(test())


def test_who_takes_long_keeps_the_next_waiting_for_a_while_only_and_counts_no_more_afterwards() -> None:
    async def test() -> None:
        turns, over = Turns(1, 0.2), asyncio.Event()

        async def hangs() -> None:
            async with turns.turn():
                await over.wait()

        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(hangs())
            await asyncio.sleep(0)
            began = time.monotonic()
            async with turns.turn():
                assert 0.5 < time.monotonic() - began < 2
                over.set()
                await asyncio.sleep(0.05)
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.05), turns.turn():
                        pytest.fail("it is ours")
        async with turns.turn():
            pass

    run(test())


def test_who_stops_waiting_takes_no_turn_with_it() -> None:
    async def test() -> None:
        turns = Turns(1, 60.0)
        async with turns.turn():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02), turns.turn():
                    pytest.fail("it is another's")
        async with asyncio.timeout(1), turns.turn():
            pass
        await turns.idle(0)

    run(test())


def test_idle_is_when_nobody_has_or_wants_a_turn() -> None:
    async def test() -> None:
        turns, over = Turns(1, 60.0), asyncio.Event()

        async def works() -> None:
            async with turns.turn():
                await over.wait()

        async with asyncio.TaskGroup() as group:
            working = [group.create_task(works()) for _ in range(2)]
            idle = group.create_task(turns.idle(60.0))
            await asyncio.sleep(0.02)
            began = time.monotonic()
            await turns.idle(0.1)
            assert time.monotonic() - began > 0.09, "it waits no longer than that"
            assert not idle.done()
            over.set()
            await until(idle.done)
            assert all(task.done() for task in working)

    run(test())
