"""The composition root: what the garbage collector looks at, and who comes before all is computed."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence

import pytest

from apps import APPS
from controller.flows.engine import Engine
from controller.model.records import Network
from controller.model.store import Change, MemoryJournal, Store, Write
from controller.southbound import messages as of
from controller.southbound.fleet import Fleet
from controller.southbound.switch import Timing
from northbound.daemon import LARGE, Coming, undisturbed
from tests.controller.southbound.switches import connected, listening, run


@pytest.fixture
def _thawed() -> Iterator[None]:
    threshold = gc.get_threshold()
    yield
    gc.set_threshold(*threshold)
    gc.enable()
    gc.unfreeze()


def change(writes: int) -> list[Change]:
    """So many networks made at once."""
    networks = (Network(id=f"net{each}", network_type="vxlan", segmentation_id=each) for each in range(writes))
    return [Change(1, "", tuple(Write(Network, network.id, None, network) for network in networks))]


@pytest.mark.usefixtures("_thawed")
def test_a_large_change_is_computed_undisturbed_and_what_lasts_of_it_is_not_looked_at() -> None:
    looked: list[bool] = []
    lasting: list[list[int]] = []

    def follow(_: Sequence[Change]) -> None:
        looked.append(gc.isenabled())
        lasting.extend([each] for each in range(20_000))

    frozen = gc.get_freeze_count()
    undisturbed(follow)(change(LARGE - 1))
    assert (looked, gc.get_freeze_count()) == ([True], frozen)
    undisturbed(follow)(change(LARGE))
    assert (looked, gc.isenabled()) == ([True, False], True)
    assert gc.get_freeze_count() >= frozen + 20_000


@pytest.mark.usefixtures("_thawed")
def test_the_collector_looks_again_after_a_large_change_that_fails() -> None:
    def follow(_: Sequence[Change]) -> None:
        raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        undisturbed(follow)(change(LARGE))
    assert gc.isenabled()


def test_a_switch_that_comes_before_its_flows_are_computed_is_greeted_kept_alive_and_then_attended() -> None:
    async def test() -> None:
        coming, store = Coming(), await Store.open(MemoryJournal())
        async with listening(coming.attend, Timing(echo_s=0.1)) as listener, connected(listener) as peer:
            await peer.greet()
            xid, _ = await peer.expect(of.OFPT_ECHO_REQUEST)
            peer.answer(of.OFPT_ECHO_REPLY, xid)
            coming.come(Fleet(store, Engine(store.model, APPS), ovsdb=False))
            while True:
                head, body = await peer.hear()
                if head.type == of.OFPT_MULTIPART_REQUEST:
                    break
                assert head.type == of.OFPT_ECHO_REQUEST
            assert int.from_bytes(body[:2]) == of.OFPMP_PORT_DESC
        await store.close()

    run(test())


def test_a_hypervisor_that_left_before_all_was_computed_was_never_there() -> None:
    async def test() -> None:
        coming, store = Coming(), await Store.open(MemoryJournal())
        await coming.lost("hv1")
        fleet = Fleet(store, Engine(store.model, APPS))
        coming.come(fleet)
        assert fleet.statuses() == []
        await store.close()

    run(test())
