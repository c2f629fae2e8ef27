"""The pipeline: what the declarations promise each other, and what they refuse."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import ConflictingMatch, Undeclared
from controller.flows import pipeline, pipeline_doc
from controller.flows.action import Commit, Conjunction, Measure, Output, ToGroup, Track, goto, resubmit
from controller.flows.fields import ARP_OP, ARP_TPA, CT_PROTO4, CT_STATE, ETH_DST, IN_PORT, IPV4, IPV4_FRAG, ct_state
from controller.flows.flow import Bucket, Flow, Group
from controller.flows.match import ANY, Match, match_text
from controller.flows.pipeline import (
    ARRIVED,
    CLASSIFY,
    CONNECTION,
    CT_BUNDLE,
    DELIVER,
    DST,
    ENCAP,
    FLOOD,
    FROM_TUN,
    IN_RULES,
    L2_LOOKUP,
    L3_ROUTE,
    NET,
    OUT_DONE,
    OUT_RULES,
    OUT_TRACK,
    REGISTERS,
    SRC,
    TABLES,
    TUN_OUT,
    VLAN,
    VNI,
    WHY,
    ZONE,
)
from controller.flows.pipeline_doc import markdown
from controller.model.records import Address, Mac

MAC = Mac("02:00:00:00:00:01")


def test_the_document_is_what_the_code_says() -> None:
    assert Path("docs/pipeline.md").read_text() == markdown(), "run `make docs`"


def read_priorities(document: str) -> dict[str, dict[str, int]]:
    """By table, the priority of each reason; a line with N stands for many."""
    found: dict[str, dict[str, int]] = {}
    for line in document.partition("## Registers")[0].splitlines():
        if line.startswith("### "):
            reasons = found[line.split()[2]] = {}
        elif rule := re.fullmatch(r"\| (\d+) \+ (\d+) x N \| (\w+)_N, N from 0 to (\d+) \|", line):
            first, step, stem, last = rule.groups()
            reasons |= {f"{stem}_{n}": int(first) + int(step) * n for n in range(int(last) + 1)}
        elif row := re.fullmatch(r"\| (\d+) \| (\w+) \|", line):
            reasons[row[2]] = int(row[1])
    return found


def test_the_document_gives_the_priority_of_every_reason() -> None:
    assert read_priorities(markdown()) == {table.name: dict(table.priorities) for table in TABLES}


@pytest.mark.parametrize(
    ("priorities", "told"),
    [
        ({"a_0": 5, "a_1": 7, "a_2": 9}, [("5 + 2 x N", "a_N, N from 0 to 2")]),
        ({"a_0": 5, "a_1": 7, "a_2": 8}, [("5", "a_0"), ("7", "a_1"), ("8", "a_2")]),
        ({"a_1": 5, "a_2": 7}, [("5", "a_1"), ("7", "a_2")]),
        ({"a_0": 5}, [("5", "a_0")]),
        ({"a": 5, "a_x": 7}, [("5", "a"), ("7", "a_x")]),
    ],
)
def test_a_rule_is_told_only_where_it_holds(priorities: dict[str, int], told: list[tuple[str, str]]) -> None:
    assert [*pipeline_doc.priority_rows(priorities)] == told


def test_tables_stand_in_packet_order_with_numbers_and_names_of_their_own() -> None:
    numbers = [table.number for table in TABLES]
    assert numbers == sorted(set(numbers))
    assert len({table.name for table in TABLES}) == len(TABLES)
    assert all(name in {table.name for table in TABLES} for table in TABLES for name in table.nexts | table.tracks)


def test_no_two_fields_of_a_register_or_a_connection_share_a_bit() -> None:
    for (one, _), (other, _) in combinations((*REGISTERS, *CONNECTION), 2):
        if one.wire == other.wire:
            assert not (one.full << one.shift) & (other.full << other.shift)


def test_every_register_in_a_table_is_documented() -> None:
    registers = {field for field, _ in REGISTERS}
    used = {field for table in TABLES for field in table.matches | table.sets if "reg" in field.wire}
    assert used == registers


def test_everything_a_connection_is_remembered_with_is_documented() -> None:
    remembered = {field for field, _ in CONNECTION}
    assert {field for table in TABLES for field in table.commits} == remembered
    assert not any(remembered & table.sets for table in TABLES), "only a commit writes to a connection"


def test_who_goes_on_after_conntrack_may_read_what_it_said() -> None:
    names = {name for table in TABLES for name in table.tracks}
    assert all(CT_STATE in table.matches for table in TABLES if table.name in names)


def test_only_classification_and_routes_say_which_network_a_frame_is_on() -> None:
    assert {table for table in TABLES if NET in table.sets} == {CLASSIFY, VNI, VLAN, L3_ROUTE}
    assert {kind for kind in pipeline.GROUP_KINDS if NET in kind.sets} == {pipeline.ECMP}


@pytest.mark.parametrize(
    ("what", "build"),
    [
        ("match", lambda: Flow(DELIVER, "port", ETH_DST(MAC), (Output(1),))),
        ("set", lambda: Flow(L2_LOOKUP, "local", NET(1), (NET.set(2),))),
        ("next", lambda: Flow(L2_LOOKUP, "local", NET(1), (goto(CLASSIFY),))),
        ("next", lambda: Flow(L2_LOOKUP, "local", NET(1), (resubmit(VNI),))),
        ("priority", lambda: Flow(L2_LOOKUP, "guest", NET(1))),
        ("output", lambda: Flow(L2_LOOKUP, "local", NET(1), (Output(1),))),
        ("group", lambda: Flow(L2_LOOKUP, "local", NET(1), (ToGroup(1, FLOOD),))),
        ("action after", lambda: Flow(L2_LOOKUP, "local", NET(1), (goto(TUN_OUT), DST.set(1)))),
        ("next", lambda: Group(ARRIVED, 1, (Bucket((resubmit(TUN_OUT),)),))),
        ("action after", lambda: Group(ARRIVED, 1, (Bucket((resubmit(pipeline.IN_PORT), DST.set(1))),))),
        ("set", lambda: Group(ARRIVED, 1, (Bucket((WHY.set(1),)),))),
        ("action", lambda: Group(pipeline.GATEWAYS, 1, (Bucket((Measure(9, pipeline.TOO_BIG),), 1),))),
        ("action beside", lambda: Flow(L2_LOOKUP, "local", NET(1), (Conjunction(1, 1, 2), DST.set(1)))),
        ("way back", lambda: Flow(CLASSIFY, "guest", IN_PORT(1), (goto(CLASSIFY),))),
        ("tracking into", lambda: Flow(OUT_TRACK, "guard", IPV4, (Track(ZONE, IN_RULES),))),
        ("tracking into", lambda: Flow(OUT_DONE, "known", IPV4, (Track(ZONE, IN_RULES),))),
        ("tracking into", lambda: Flow(OUT_DONE, "known", IPV4, (Commit(ZONE, (), IN_RULES),))),
        ("commit", lambda: Flow(OUT_DONE, "known", IPV4, (Commit(ZONE, (WHY.set(1),), OUT_RULES),))),
        ("commit", lambda: Flow(OUT_TRACK, "guard", IPV4, (Commit(ZONE, (CT_BUNDLE.set(1),), OUT_RULES),))),
        ("set", lambda: Flow(OUT_DONE, "known", IPV4, (CT_BUNDLE.set(1),))),
        ("protocol", lambda: CT_PROTO4(0)),
        ("value", lambda: IPV4_FRAG(4)),
        ("value", lambda: CT_STATE(256)),
        ("dimension", lambda: Conjunction(1, 3, 2)),
        ("dimension", lambda: Conjunction(1, 1, 1)),
        ("mask", lambda: ENCAP(1, 0x1F)),
        ("value", lambda: FROM_TUN(2)),
        ("value", lambda: ENCAP.set(8)),
        ("value", lambda: NET(1 << 32)),
    ],
)
def test_what_a_table_does_not_declare_cannot_be_built(what: str, build: object) -> None:
    with pytest.raises(Undeclared, match=what):
        build()  # type: ignore[operator]


def test_a_field_brings_its_prerequisites() -> None:
    assert match_text(ARP_TPA(Address("10.0.0.1"))) == "arp,arp_tpa=10.0.0.1"


def test_bits_of_one_register_are_one_test_on_the_wire() -> None:
    assert match_text(ENCAP(2) & FROM_TUN(1)) == "reg0=0x2000001/0x7000001"


@pytest.mark.parametrize(
    ("match", "words"),
    [
        (ct_state("+trk-inv"), "ct_state=-inv+trk"),
        (ct_state("-trk"), "ct_state=-trk"),
        (IPV4_FRAG(0), "ip,ip_frag=no"),
        (IPV4_FRAG(1), "ip,ip_frag=first"),
        (IPV4_FRAG(3), "ip,ip_frag=later"),
        (IPV4_FRAG(0, 2), "ip,ip_frag=not_later"),
    ],
    ids=str,
)
def test_flags_and_fragments_are_tested_in_words(match: Match, words: str) -> None:
    assert match_text(match) == words


def test_two_values_for_one_field_are_refused() -> None:
    with pytest.raises(ConflictingMatch, match="net cannot be both 0x1 and 0x2"):
        NET(1) & NET(2)


parts = st.lists(
    st.sampled_from([NET(1), SRC(5), ARP_OP(1), IN_PORT(3), ENCAP(1), FROM_TUN(1), ETH_DST(MAC), ANY]), max_size=8
)


@given(parts, st.randoms(use_true_random=False))
def test_the_order_in_which_a_match_is_built_does_not_show(matches: list[object], random: object) -> None:
    one = other = ANY
    for match in matches:
        one &= match  # type: ignore[operator]
    getattr(random, "shuffle")(matches)  # noqa: B009
    for match in matches:
        other &= match  # type: ignore[operator]
    assert one == other
    assert hash(one) == hash(other)
    assert match_text(one) == match_text(other)
