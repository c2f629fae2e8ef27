"""Delivery and drops: the two ends of every path."""

from __future__ import annotations

from controller.flows.pipeline import MISSES, TABLES, TRAPS, Why
from tests.cloud import Cloud


def test_a_frame_for_a_port_leaves_by_its_interface(cloud: Cloud) -> None:
    assert cloud.flows("hv1", "delivery") == [
        "table=50,priority=100,reg2=0x1 actions=output:10",
        "table=50,priority=100,reg2=0x2 actions=output:11",
    ]


def test_every_reason_to_drop_has_one_counter(cloud: Cloud) -> None:
    counters = [flow for flow in cloud.flows("hv1", "drops") if flow.startswith("table=62")]
    told = [flow for flow in cloud.flows("hv1", "routing") if flow.startswith("table=60")]
    assert counters == sorted(f"table=62,priority=100,reg8={why:#x} actions=drop" for why in Why if why not in TRAPS)
    assert told == sorted(f"table=60,priority=100,reg8={why:#x} actions=CONTROLLER:1294" for why in TRAPS)


def test_every_reason_has_a_sentence() -> None:
    assert all(why.sentence for why in Why)


def test_no_table_lets_a_frame_vanish(cloud: Cloud) -> None:
    answers_all = {table.number for table in MISSES} | {6, 8, 11, 18, 20, 22, 24, 25, 27, 28, 29, 31, 32, 34, 43, 51}
    subroutine_or_end = {10, 14, 16, 17, 19, 30, 60, 62}  # to ND_REPLY goes only what it matches
    assert answers_all | subroutine_or_end == {table.number for table in TABLES}
    flows = cloud.flows("hv1")
    for number in answers_all:
        assert [flow for flow in flows if flow.startswith(f"table={number},priority=0 ")], number
