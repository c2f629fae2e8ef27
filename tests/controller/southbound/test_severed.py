"""Connections of a zone that others use are forgotten, twice, and then nobody speaks of them any more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

import pytest

from controller.errors import Rejected
from controller.model.records import Address, Severed
from controller.model.store import Journal, Store
from controller.southbound import messages as of
from controller.southbound.severed import Severing
from tests.cloud import floating_ip, forwarding
from tests.controller.southbound.stages import Forgetful, stage
from tests.controller.southbound.switches import run, until

AGAIN_S = 0.3


def test_the_message_is_that_of_ovs_ofctl() -> None:
    """`ovs-ofctl -O OpenFlow14 ct-flush S zone=57344 ct_nw_dst=172.24.0.105,ct_nw_proto=6,ct_tp_dst=8080`, 3.1.0."""
    assert of.ct_flush(2, 57344, 6, ip_address("172.24.0.105").packed, 8080) == bytes.fromhex(
        "05040048 00000002 00002320 00000020 06000000 00000000 00000028 00000000 00010014 00000000 00000000 0000ffff"
        "ac180069 00000000 00030008 1f900000 00020008 e0000000"
    )


@dataclass
class Forgotten:
    """What a switch was told to forget, in order, by zone."""

    zones: list[int] = field(default_factory=list)
    refuses: bool = False

    async def __call__(self, severed: Sequence[Severed]) -> None:
        self.zones += [each.zone for each in severed]
        if self.refuses:
            raise Rejected("to forget connections", 1, 3)


Story = Callable[[Store], Awaitable[None]]


def played(forgotten: Forgotten, story: Story, journal: Journal | None = None) -> None:
    """Run a story with a store, and what hv1 is to forget."""

    async def test() -> None:
        async with stage(journal) as on:
            keeping = Severing(on.store, "hv1", forgotten, on.changed, again_s=AGAIN_S)
            severing = on.tasks.create_task(keeping.run())
            await story(on.store)
            severing.cancel()

    run(test())


async def sever(store: Store, *zones: int, chassis: str = "hv1") -> None:
    made = [
        Severed(
            id=f"{chassis}/{zone}/1", chassis=chassis, zone=zone, protocol="tcp", address=Address("172.24.0.105"),
            port_first=80, port_last=81,
        )
        for zone in zones
    ]  # fmt: skip
    await store.commit(lambda tx: [tx.put(each) for each in made])


def left(store: Store) -> list[str]:
    return [each.id for each in store.model.all(Severed)]


def test_they_are_forgotten_at_once_and_again_and_others_are_not_ours() -> None:
    forgotten = Forgotten()

    async def story(store: Store) -> None:
        await sever(store, 5, chassis="hv2")
        await sever(store, 3, 4)
        await until(lambda: forgotten.zones == [3, 4])
        await sever(store, 6)
        await until(lambda: left(store) == ["hv2/5/1"])
        assert forgotten.zones == [3, 4, 3, 4, 6, 6]

    played(forgotten, story)


def test_what_is_forwarded_anew_meanwhile_is_left_alone() -> None:
    forgotten = Forgotten()
    anew = (
        floating_ip("f", "ext", "02:00:00:00:0e:64", "172.24.0.105", "r"),
        forwarding("p", "f", "tcp", (81, 90), "vm", "10.0.0.1", (81, 90)),
    )

    async def story(store: Store) -> None:
        await sever(store, 3)
        await until(lambda: forgotten.zones == [3])
        await store.commit(lambda tx: [work(tx) for work in anew])
        await until(lambda: left(store) == [])
        assert forgotten.zones == [3]

    played(forgotten, story)


def test_a_switch_that_cannot_is_told_of_none_any_more_and_that_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    forgotten = Forgotten(refuses=True)

    async def story(store: Store) -> None:
        for zone in (3, 4):
            await sever(store, zone)
            await until(lambda: left(store) == [])

    played(forgotten, story)
    assert forgotten.zones == [3]
    assert len([line for line in caplog.messages if "are kept until their time is over chassis=hv1" in line]) == 1


def test_a_store_that_cannot_write_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.southbound.severed.RETRY_S", 0.1)
    forgotten, journal = Forgotten(), Forgetful()

    async def story(store: Store) -> None:
        await sever(store, 3)
        journal.broken = True
        await asyncio.sleep(2 * AGAIN_S)
        assert left(store) == ["hv1/3/1"]
        journal.broken = False
        await until(lambda: left(store) == [])
        assert forgotten.zones == [3, 3]

    played(forgotten, story, journal)
