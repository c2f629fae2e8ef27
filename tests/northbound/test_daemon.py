"""The composition root: what the garbage collector looks at."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence

import pytest

from controller.model.records import Network
from controller.model.store import Change, Write
from northbound.daemon import LARGE, undisturbed


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
