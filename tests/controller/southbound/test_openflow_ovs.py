"""A real Open vSwitch reads back, byte by byte, what it was told, and its own tools mean the same by our text.

One bridge for the whole module (`connections`).
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.flows import fields as f
from controller.flows import pipeline as p
from controller.flows.action import (
    Action,
    Apart,
    Bounce,
    Commit,
    Conjunction,
    DecrementTtl,
    Goto,
    GroupKind,
    Measure,
    Move,
    Output,
    PopVlan,
    Punt,
    PushVlan,
    Resubmit,
    Table,
    ToGroup,
    Track,
    Translate,
    Turn,
    Untrack,
)
from controller.flows.flow import Bucket, Flow, FlowKey, Group
from controller.flows.match import ANY, Field, Match, Set, register
from controller.model.records import Address, Mac
from controller.southbound import messages, openflow, oxm
from controller.southbound.openflow import EncodedFlow, EncodedGroup, encode_flow, encode_group
from tests.controller.southbound import strategies
from tests.controller.southbound.connections import Connection, Ovs, refusal

pytestmark = pytest.mark.ovs

APP = 2
MAC = Mac("02:00:00:00:00:01")


@pytest.fixture(scope="module")
def ovs(tmp_path_factory: pytest.TempPathFactory) -> Ovs:
    return Ovs(tmp_path_factory.mktemp("ovs"))


@pytest.fixture(scope="module")
def switch(ovs: Ovs) -> Iterator[Connection]:
    with ovs.running() as connection:
        yield connection


# ---- read back ------------------------------------------------------------------------------------------------


def holds(switch: Connection, ovs: Ovs, groups: Sequence[Group], flows: Sequence[Flow]) -> None:
    """The switch reads back our bytes; and our text, read by its own tools, gives the same bytes."""
    switch.clear()
    encoded_groups, encoded = [*map(encode_group, groups)], [encode_flow(flow, APP) for flow in flows]
    switch.do(*(openflow.group_add(1, group) for group in encoded_groups))
    switch.do(*(openflow.flow_add(1, flow) for flow in encoded))
    assert switch.groups() == {*encoded_groups}
    assert switch.flows() == {*encoded}

    switch.clear()
    worded = [flow for flow in flows if has_words(flow.match)]
    ovs.ofctl("add-groups", ovs.bridge, "-", given="\n".join(map(str, groups)))
    ovs.ofctl("add-flows", ovs.bridge, "-", given="\n".join(map(str, worded)))
    assert switch.groups() == {*encoded_groups}
    assert {without_cookie(flow) for flow in switch.flows()} == {
        without_cookie(encode_flow(flow, APP)) for flow in worded
    }


def has_words(match: Match) -> bool:
    """Can ovs-ofctl be told this match? Not with an IPv6 mask that begins with a decimal digit.

    Its `ipv6_parse_masked_len` takes the digits for the length of a prefix, in 3.1 as in its newest source. Of
    fragments it knows five words and no numbers.
    """
    wide = [test for test in match.tests if test.field.width == 128 and test.mask != test.field.full]
    masks = [test.field.show(test.mask) for test in wide]
    if any(":" in mask and mask[0].isdecimal() for mask in masks):
        return False
    return all((test.value, test.mask) in f._FRAGMENTS for test in match.tests if test.field.wire == "ip_frag")


def without_cookie(flow: EncodedFlow) -> tuple[tuple[int, int, bytes], bytes]:
    return flow.key, flow.instructions


def pointed_to(flows: Iterable[Flow]) -> list[Group]:
    """An empty group for each that a flow points to: Open vSwitch refuses flows that point to nothing."""
    ids = {(action.kind, action.id) for flow in flows for action in flow.actions if isinstance(action, ToGroup)}
    return [Group(kind, id - kind.base, ()) for kind, id in ids]


@given(strategies.flow_tables())
def test_any_flows_are_read_back_byte_by_byte(switch: Connection, ovs: Ovs, flows: list[Flow]) -> None:
    holds(switch, ovs, pointed_to(flows), flows)


@given(strategies.group_tables())
def test_any_groups_are_read_back_byte_by_byte(switch: Connection, ovs: Ovs, groups: list[Group]) -> None:
    holds(switch, ovs, groups, [])


@pytest.mark.parametrize("mask", ["0:0:1:2:3::", "1fff::", "8000::"])
def test_open_vswitch_has_no_words_for_some_masks(ovs: Ovs, mask: str) -> None:
    """When this fails, `has_words` has no reason any more."""
    match = f.TUN_IPV6_SRC(Address("::"), f.ipv6_number(Address(mask)))
    assert not has_words(match)
    with pytest.raises(AssertionError, match=r"invalid IPv6 address|prefix bits not between"):
        ovs.ofctl("parse-flow", str(Flow(ANYTHING, "all", match)))


@pytest.mark.parametrize(
    "match",
    [
        strategies.tested(f.CT_PROTO4, 0, 0xFF),
        strategies.tested(f.CT_PROTO6, 0, 0xFF),
        f.TRACKED & f.CT_TP_SRC(80),
        f.TRACKED & f.CT_TP_DST(80),
    ],
    ids=str,
)
def test_open_vswitch_reads_back_no_connection_of_protocol_0_nor_ports_of_any(switch: Connection, match: Match) -> None:
    """When this fails, `fields` may let protocol 0 be tested, and `strategies` ports beside no protocol."""
    switch.clear()
    flow = encode_flow(Flow(ANYTHING, "all", match), APP)
    switch.do(openflow.flow_add(1, flow))
    (found,) = switch.flows()
    switch.do(openflow.flow_delete(1, *found.key))
    assert switch.flows() == {found}, "it cannot even be removed by what is read back"
    switch.do(openflow.flow_delete(1, *flow.key))
    assert switch.flows() == set()
    assert not any(test.startswith(("ct_nw_proto", "ct_tp")) for test in oxm.tests_text(found.match))


@pytest.mark.parametrize("match", [f.TCP_DST(80) & f.IPV4_FRAG(f.FRAGMENT), f.ND_TLL(MAC) & f.ICMPV6_CODE(1)], ids=str)
def test_open_vswitch_refuses_packets_that_cannot_be(switch: Connection, match: Match) -> None:
    """When this fails, `strategies.possible` has no reason any more."""
    assert not strategies.possible(match)
    heard = switch.ask(openflow.flow_add(40, encode_flow(Flow(ANYTHING, "all", match), APP)))
    assert [refusal(*received) for received in heard] == [(40, "OFPET_BAD_MATCH/OFPBMC_BAD_PREREQ")]


@pytest.mark.parametrize("family", [f.IPV4, f.IPV6], ids=str)
def test_open_vswitch_commits_nothing_that_conntrack_could_make_nothing_of(switch: Connection, family: Match) -> None:
    """When this fails, `strategies.flows` need not take care of +inv."""
    commit = Flow(p.OUT_DONE, "opened", family & f.ct_state("+trk+inv"), (Commit(p.ZONE, (), p.OUT_RULES),))
    heard = switch.ask(openflow.flow_add(40, encode_flow(commit, APP)))
    assert [refusal(*received) for received in heard] == [(40, "OFPET_BAD_ACTION/OFPBAC_MATCH_INCONSISTENT")]


ANYTHING = Table(
    100, "anything", "Matches every field that the encoder knows, which no table of the pipeline does.", {"all": 7},
    matches=frozenset({field for field in vars(f).values() if isinstance(field, Field)})
    | {register(f"register {number}", f"reg{number}") for number in range(12)} | {p.NH6}
    | {field for field, _ in p.CONNECTION},
)  # fmt: skip


def test_every_field_that_can_be_encoded_is_tried_beside_the_others() -> None:
    split = {part for parts in oxm.SPLIT.values() for part in parts}
    assert {field.wire for field in ANYTHING.matches} == oxm.WIRES.keys() - split


@given(st.lists(strategies.matches(ANYTHING), max_size=40, unique_by=oxm.encode_match))
def test_fields_stand_in_the_order_of_open_vswitch(switch: Connection, ovs: Ovs, matches: list[Match]) -> None:
    holds(switch, ovs, [], [Flow(ANYTHING, "all", match) for match in matches])


# ---- everything that is declared ------------------------------------------------------------------------------


def each_test(table: Table) -> Iterator[Match]:
    """Each field that a table matches, without a mask and, where there can be one, with one."""
    for field in strategies.ordered(table.matches):
        if field is f.VLAN_TCI:
            yield from (f.UNTAGGED, f.VLAN_TCI(0x1000, 0x1000))
            continue
        if field is f.VLAN_ID:
            yield f.VLAN_ID(101)
            continue
        beside = f.CT_PROTO4(f.SCTP) if field in strategies.PORTS_OF_CONNECTIONS else ANY
        yield strategies.tested(field, 0x86DD if field is f.ETH_TYPE else 1, field.full) & beside
        if field.wire not in strategies.UNMASKED and field.full > 1:
            yield strategies.tested(field, 2, field.full - 1) & beside


def each_action(declared: Table | GroupKind) -> Iterator[Action]:
    """Each write, subroutine and way out that a table or a kind of group declares, and what it asks of conntrack."""
    yield from each_write(declared.sets)
    yield from (Measure(1464, field) for field in strategies.ordered(declared.sets) if strategies.bits(field) == 1)
    nexts = [strategies.BY_NAME[name] for name in sorted(declared.nexts)]
    yield from map(Resubmit, nexts)
    if isinstance(declared, Table):
        yield from map(Goto, strategies.later(declared))
        yield from (ToGroup(kind.id(1), kind) for kind in declared.groups)
        yield from each_question(declared)
        yield from (Conjunction(1, 2, 3), DecrementTtl(), Turn(), PushVlan(), PopVlan())
        if declared.outputs:
            yield from (Output(1), Output(messages.OFPP_LOCAL), Bounce(), Punt(p.TRAP_BYTES))


def each_write(fields: Iterable[Field[Any]]) -> Iterator[Set | Move]:
    """Each field set, and each move into it."""
    for target in strategies.ordered(fields):
        yield Set(target, 0x1001 if target is f.VLAN_ID else 1)
        yield from strategies.moves(target)


def each_question(table: Table) -> Iterator[Action]:
    """All that a table asks of conntrack: each write to a connection for itself, none, and all fields at once."""
    yield Untrack()
    for name in sorted(table.tracks) if table.translates else ():
        there = strategies.BY_NAME[name]
        for ports in (None, (80, 80), (1024, 65535)):
            yield Translate(p.ZONE, there, source=Address("172.24.0.10"), ports=ports)
            yield Translate(p.ZONE, there, destination=Address("10.0.0.1"), ports=ports)
        yield Translate(p.ZONE, there)
    for zone in strategies.ZONES:
        yield from (Track(zone, strategies.BY_NAME[name]) for name in sorted(table.tracks))
        for name in sorted(table.tracks if table.commits else ()):
            onward = strategies.BY_NAME[name]
            yield from (Commit(zone, (), onward, force) for force in (False, True))
            yield from (Commit(zone, (write,), onward) for write in each_write(table.commits))
            yield Commit(zone, tuple(Set(target, 1) for target in strategies.ordered(table.commits)), onward)
            yield Apart((Track(zone, onward), Commit(zone, (), onward)))


def everything(table: Table) -> Iterator[Flow]:
    """Flows that ask of a table all that it declares, one thing each."""
    reason = next(iter(table.priorities))
    yield from (Flow(table, reason, match) for match in each_test(table))
    for action in each_action(table):
        yield from (Flow(table, reason, opening, (action,)) for opening in strategies.openings(action, table))


EVERY_FLOW = [flow for table in p.TABLES for flow in everything(table)]
EVERY_GROUP = [
    Group(kind, number, tuple(Bucket(done, 1 if kind.fails_over else None) for done in ((action,), (), (action,))))
    for kind in p.GROUP_KINDS
    for number, action in enumerate(each_action(kind))
    if strategies.required(action) == (ANY,) and not isinstance(action, Measure)  # no bucket measures
]


def rounds(flows: Iterable[Flow]) -> list[dict[FlowKey, Flow]]:
    """Flows in as many parts as it takes that a switch can hold each."""
    parts: list[dict[FlowKey, Flow]] = []
    for flow in flows:
        part = next((part for part in parts if flow.key not in part), None)
        if part is None:
            parts.append(part := {})
        part[flow.key] = flow
    return parts


def test_everything_that_is_declared_is_read_back(switch: Connection, ovs: Ovs) -> None:
    for part in rounds(EVERY_FLOW):
        holds(switch, ovs, pointed_to(part.values()), [*part.values()])
    holds(switch, ovs, EVERY_GROUP, [])


def test_nothing_that_is_declared_was_left_out() -> None:
    asked = {table: [flow for flow in EVERY_FLOW if flow.table is table] for table in p.TABLES}
    for table, flows in asked.items():
        actions = [action for flow in flows for action in flow.actions]
        assert {test.field for flow in flows for test in flow.match.tests} == table.matches
        assert {action.field for action in actions if isinstance(action, Set)} == table.sets
        assert {action.table.name for action in actions if isinstance(action, Resubmit)} == table.nexts
        assert [*{action.table: None for action in actions if isinstance(action, Goto)}] == strategies.later(table)
        assert {action.table.name for action in actions if isinstance(action, Track | Translate)} == table.tracks
        assert committed(actions) == table.commits
        assert {action.kind for action in actions if isinstance(action, ToGroup)} == table.groups
    assert {type(action) for flow in EVERY_FLOW for action in flow.actions} == {*typing.get_args(Action)}


def committed(actions: Iterable[Action]) -> set[Field[Any]]:
    """What connections are remembered with."""
    writes = [write for action in actions if isinstance(action, Commit) for write in action.writes]
    return {write.field if isinstance(write, Set) else write.target for write in writes}


# ---- limits ---------------------------------------------------------------------------------------------------


def test_the_largest_flow_and_the_largest_group_are_read_back(switch: Connection) -> None:
    shares = tuple(Conjunction(id, 1, 2) for id in range(4090))
    local = [Bucket((p.DST.set(number), Resubmit(p.IN_PORT))) for number in range(682)]
    remote = [Bucket((Set(f.TUN_DST, number), Resubmit(p.TUN_OUT))) for number in range(682)]
    group = encode_group(Group(p.FLOOD, 1, (*local, *remote)))
    flow = encode_flow(Flow(p.DELIVER, "port", p.DST(7), shares), APP)
    switch.clear()
    heard = switch.ask(*bundle(openflow.group_add(1, group), openflow.flow_add(1, flow)))
    assert answers(heard) == [(1, messages.OFPBCT_OPEN_REPLY), (1, messages.OFPBCT_COMMIT_REPLY)]
    assert (switch.groups(), switch.flows()) == ({group}, {flow})


def test_a_dump_of_many_parts_is_whole(switch: Connection) -> None:
    flows = {encode_flow(Flow(p.DELIVER, "port", p.DST(key), (Output(1),)), APP) for key in range(3000)}
    switch.clear()
    switch.do(*(openflow.flow_add(1, flow) for flow in flows))
    assert switch.flows() == flows


# ---- changes --------------------------------------------------------------------------------------------------

PORT_7 = encode_flow(Flow(p.DELIVER, "port", p.DST(7), (Output(7),)), APP)
PORT_8 = encode_flow(Flow(p.DELIVER, "port", p.DST(7), (Output(8),)), APP)
EMPTY = EncodedGroup(p.FLOOD.id(1), 0, b"")
FULL = encode_group(Group(p.FLOOD, 1, (Bucket((p.DST.set(1), Resubmit(p.IN_PORT))),)))
TO_GROUP = encode_flow(Flow(p.L2_BUM, "flood", p.NET(7), (ToGroup(p.FLOOD.id(1), p.FLOOD),)), APP)


def test_adding_replaces_the_flow_with_that_key_and_its_cookie(switch: Connection) -> None:
    switch.clear()
    switch.do(openflow.flow_add(1, PORT_7), openflow.flow_add(2, PORT_8))
    assert PORT_7.cookie != PORT_8.cookie
    assert switch.flows() == {PORT_8}


def test_putting_a_group_adds_it_or_changes_it(switch: Connection) -> None:
    switch.clear()
    switch.do(openflow.group_put(1, EMPTY))
    assert switch.groups() == {EMPTY}
    switch.do(openflow.group_put(1, FULL))
    assert switch.groups() == {FULL}
    switch.do(openflow.group_modify(1, EMPTY))
    assert switch.groups() == {EMPTY}


def test_a_removed_group_takes_flows_along(switch: Connection) -> None:
    switch.clear()
    switch.do(openflow.group_add(1, FULL), openflow.flow_add(2, TO_GROUP), openflow.flow_add(3, PORT_7))
    switch.do(openflow.group_delete(1, FULL.id))
    assert (switch.groups(), switch.flows()) == (set(), {PORT_7})


def test_a_refusal_names_its_message_and_its_reason(switch: Connection) -> None:
    switch.clear()
    heard = switch.ask(openflow.flow_add(40, PORT_7), openflow.flow_add(41, TO_GROUP), openflow.group_modify(42, FULL))
    assert [refusal(*received) for received in heard] == [
        (41, "OFPET_BAD_ACTION/OFPBAC_BAD_OUT_GROUP"),
        (42, "OFPET_GROUP_MOD_FAILED/OFPGMFC_UNKNOWN_GROUP"),
    ]
    assert switch.flows() == {PORT_7}


# ---- bundles --------------------------------------------------------------------------------------------------


def bundle(*inner: bytes, id: int = 1, end: bytes | None = None) -> list[bytes]:
    """A bundle whose additions have the xids 100, 101 and so on."""
    added = [messages.bundle_add(100 + number, id, message) for number, message in enumerate(inner)]
    return [messages.bundle_open(10, id), *added, end or messages.bundle_commit(11, id)]


def answers(heard: Iterable[tuple[messages.Header, bytes]]) -> list[object]:
    """What was said about a bundle: answers, and refusals."""
    return [
        messages.decode_bundle_control(body) if head.type == messages.OFPT_BUNDLE_CONTROL else refusal(head, body)
        for head, body in heard
    ]


def test_a_bundle_is_applied_when_it_is_committed(switch: Connection) -> None:
    switch.clear()
    heard = switch.ask(*bundle(openflow.group_add(1, FULL), openflow.flow_add(1, TO_GROUP)))
    assert answers(heard) == [(1, messages.OFPBCT_OPEN_REPLY), (1, messages.OFPBCT_COMMIT_REPLY)]
    assert (switch.groups(), switch.flows()) == ({FULL}, {TO_GROUP})


def test_a_bundle_that_fails_names_the_message_and_changes_nothing(switch: Connection) -> None:
    switch.clear()
    heard = switch.ask(*bundle(openflow.flow_add(1, PORT_7), openflow.flow_add(1, TO_GROUP)))
    assert answers(heard) == [
        (1, messages.OFPBCT_OPEN_REPLY),
        (101, "OFPET_BAD_ACTION/OFPBAC_BAD_OUT_GROUP"),
        (11, "OFPET_BUNDLE_FAILED/OFPBFC_MSG_FAILED"),
    ]
    assert switch.flows() == set()


# ---- the session ----------------------------------------------------------------------------------------------


def test_a_switch_says_who_it_is(switch: Connection, ovs: Ovs) -> None:
    ((head, body),) = switch.ask(messages.features_request(3))
    assert (head.type, head.xid) == (messages.OFPT_FEATURES_REPLY, 3)
    features = messages.decode_features(body)
    assert f"{features.datapath_id:016x}" == ovs.vsctl("get", "bridge", "br0", "datapath_id").strip().strip('"')
    assert (features.n_tables, features.auxiliary_id) == (254, 0)


def test_a_switch_echoes(switch: Connection) -> None:
    ((head, body),) = switch.ask(messages.echo_request(4, b"weft"))
    assert (head.type, head.xid, body) == (messages.OFPT_ECHO_REPLY, 4, b"weft")


def ports(switch: Connection) -> dict[str, messages.PortDesc]:
    ((_, body),) = switch.ask(messages.port_desc_request(5))
    found = messages.decode_ports(messages.decode_multipart(body).payload)
    return {port.name: port for port in found}


def test_a_switch_tells_its_ports_and_what_becomes_of_them(switch: Connection, ovs: Ovs) -> None:
    assert ports(switch).keys() == {"br0"}
    assert ports(switch)["br0"].number == messages.OFPP_LOCAL
    switch.statuses.clear()
    ovs.vsctl("add-port", "br0", "tap1", "--", "set", "interface", "tap1", "type=dummy", "ofport_request=17")
    assert ports(switch)["tap1"].number == 17
    ovs.ofctl("mod-port", ovs.bridge, "tap1", "down")
    ovs.vsctl("del-port", "tap1")
    assert ports(switch).keys() == {"br0"}
    reasons = [reason for reason, port in switch.statuses if (port.number, port.name) == (17, "tap1")]
    assert (reasons[0], reasons[-1]) == (messages.OFPPR_ADD, messages.OFPPR_DELETE)
    assert any(port.config & messages.OFPPC_PORT_DOWN for _, port in switch.statuses)


# ---- names of errors ------------------------------------------------------------------------------------------

NEWER_NAMES = {
    "OFPBRC_BAD_MULTIPART": "OFPBRC_BAD_STAT",
    "OFPBRC_BAD_EXPERIMENTER": "OFPBRC_BAD_VENDOR",
    "OFPBRC_BAD_EXP_TYPE": "OFPBRC_BAD_SUBTYPE",
    "OFPBRC_IS_SLAVE": "OFPBRC_IS_SECONDARY",
    "OFPBAC_BAD_EXPERIMENTER": "OFPBAC_BAD_VENDOR",
    "OFPBAC_BAD_EXP_TYPE": "OFPBAC_BAD_VENDOR_TYPE",
}
"""What Open vSwitch calls differently than the specification."""


def test_open_vswitch_gives_errors_the_same_names(ovs: Ovs) -> None:
    own = (0x2320).to_bytes(4)  # the body of Open vSwitch's own errors begins with its experimenter id
    errors = [(type, code, b"") for type in range(18) for code in range(24)]
    errors += [(messages.OFPET_EXPERIMENTER, code, own) for code in range(64)]
    file = ovs.home / "errors"
    file.write_bytes(
        b"".join(
            messages.message(messages.OFPT_ERROR, 1, type.to_bytes(2) + code.to_bytes(2) + data)
            for type, code, data in errors
        )
    )
    lines = [line for line in ovs.run("ovs-ofctl", "ofp-parse", str(file)).splitlines() if "OFPT_ERROR" in line]
    for (type, code, _), line in zip(errors, lines, strict=True):
        name = messages.error_name(type, code).partition("/")[2]
        assert line.rpartition(": ")[2] == NEWER_NAMES.get(name, name) or (name.isdecimal() and "decode error" in line)
