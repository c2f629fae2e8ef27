"""The wire is told where an address of the outside is, by the hypervisor where it is from now on, and by no other."""

from __future__ import annotations

from functools import partial

import pytest

from apps.announcements import APP, TIMES
from controller.flows.frames import announcement
from controller.flows.punted import Said
from controller.model.records import Address, Chassis, Drained, Mac, Record, Recovering, Translation
from controller.model.store import Transaction
from controller.model.view import View
from tests.apps.outside import FLOATING_MAC, GATE_MAC, add_floating, add_outside
from tests.cloud import Cloud, hypervisor

GATEWAY = announcement(Address("172.24.0.10"), Mac(GATE_MAC), router=False)
FLOATING = announcement(Address("172.24.0.100"), Mac(FLOATING_MAC), router=False)


@pytest.fixture
def cloud() -> Cloud:
    """hv2 and then hv3 are the gateway of a router, which has 172.24.0.10, and neither has come just now."""
    cloud = Cloud()
    add_outside(cloud)
    for held in (*cloud.model.all(Recovering),):
        cloud.commit(partial(forget, held.id))
    return cloud


def forget(held: str, tx: Transaction) -> None:
    """The hold of a gateway ends."""
    tx.delete(Recovering, held)


def said(cloud: Cloud, kind: type[Record], old: Record | None, new: Record | None) -> list[Said]:
    """What is to be said now that a record is another than it was."""
    return [*APP.heralds[kind](View(cloud.model, cloud.engine), old, new)]


def test_a_gateway_that_is_the_first_again_is_announced_when_its_hold_ends(cloud: Cloud) -> None:
    held = Recovering(id="hv2")
    cloud.commit(lambda tx: tx.put(held))
    assert said(cloud, Recovering, None, held) == [Said("hv3", (5,), GATEWAY, TIMES)]
    cloud.commit(partial(forget, "hv2"))
    assert said(cloud, Recovering, held, None) == [Said("hv2", (5,), GATEWAY, TIMES)]


def test_a_gateway_that_is_drained_is_announced_by_the_next(cloud: Cloud) -> None:
    drained = Drained(id="hv2")
    cloud.commit(lambda tx: tx.put(drained))
    assert said(cloud, Drained, None, drained) == [Said("hv3", (5,), GATEWAY, TIMES)]


def test_only_what_a_rank_follows_from_is_news_of_a_hypervisor(cloud: Cloud) -> None:
    old = cloud.model.get(Chassis, "hv2")
    assert said(cloud, Chassis, old, old) == []
    cloud.commit(hypervisor(2, "vm2", physical=("phys",), priority=5))
    new = cloud.model.get(Chassis, "hv2")
    assert said(cloud, Chassis, old, new) == [Said("hv3", (5,), GATEWAY, TIMES)]


def test_a_floating_ip_is_announced_where_it_is_translated_from_now_on(cloud: Cloud) -> None:
    add_floating(cloud)
    made = [each for each in cloud.model.all(Translation) if each.what.startswith("floatingip/")]
    assert [(each.chassis, said(cloud, Translation, None, each)) for each in made] == [
        ("hv1", [Said("hv1", (5,), FLOATING, TIMES)])
    ]


def test_floating_ips_of_guests_off_the_wire_are_announced_with_their_gateway(cloud: Cloud) -> None:
    add_floating(cloud)
    cloud.commit(hypervisor(1, "vm1", watches=(2, 3)))
    held = Recovering(id="hv2")
    assert said(cloud, Recovering, held, None) == [Said("hv2", (5,), frame, TIMES) for frame in (GATEWAY, FLOATING)]
