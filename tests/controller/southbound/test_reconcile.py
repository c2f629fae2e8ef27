"""What is sent to a switch makes it hold what it should, in an order that is safe at every moment."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st

from controller.flows import fields as f
from controller.flows import match as values
from controller.flows.action import Conjunction, Output, ToGroup, goto, resubmit
from controller.flows.flow import Bucket, Entry, Flow, Group
from controller.flows.pipeline import (
    ARRIVED,
    CLASSIFY,
    DELIVER,
    DST,
    EVALUATE,
    FLOOD,
    IN_PORT,
    L2_BUM,
    L2_DISPATCH,
    NET,
    OWNER,
    PORT_SECURITY,
    SRC,
    WHY,
)
from controller.southbound.messages import bundle_add
from controller.southbound.openflow import EncodedFlow, EncodedGroup, encode_flow, encode_group
from controller.southbound.reconcile import (
    AddFlow,
    Installed,
    Pending,
    Plan,
    Step,
    WireKey,
    brought,
    bundled,
    full,
    own_flow,
    partial,
    wanted_at,
)
from tests.controller.southbound import strategies

APP = 5

# ---- a switch that knows what messages mean ----------------------------------------------------------------------

FLOW_MOD = struct.Struct("!QQBBHHHIIIHH")
GROUP_MOD = struct.Struct("!HBxI")


class Refused(Exception):
    """Raised when a message would be refused."""


@dataclass
class FakeSwitch:
    """Tables and groups, changed by OpenFlow messages as Open vSwitch does it."""

    flows: dict[WireKey, EncodedFlow] = field(default_factory=dict)
    groups: dict[int, EncodedGroup] = field(default_factory=dict)

    def installed(self) -> Installed:
        return Installed(dict(self.flows), dict(self.groups))

    def commit(self, part: Iterable[Step]) -> None:
        """Apply a bundle: all of it, or nothing and Refused."""
        flows, groups = dict(self.flows), dict(self.groups)
        try:
            for xid, step in enumerate(part, 1):
                self._take(step.message(xid), xid)
        except Refused:
            self.flows, self.groups = flows, groups
            raise

    def apply(self, plan: Plan, limit: int = 1_000) -> None:
        for part in plan.parts(limit):
            self.commit(part)

    def _take(self, message: bytes, xid: int) -> None:
        version, kind, length, marked = struct.unpack_from("!BBHI", message)
        assert (version, length, marked) == (5, len(message), xid)
        if kind == 14:
            self._flow_mod(message[8:])
        else:
            assert kind == 15
            self._group_mod(message[8:])

    def _flow_mod(self, body: bytes) -> None:
        cookie, _, table, command, _, _, priority, *_ = FLOW_MOD.unpack_from(body)
        (length,) = struct.unpack_from("!H", body, FLOW_MOD.size + 2)
        end = FLOW_MOD.size + -(-length // 8) * 8
        found = EncodedFlow.of(table, priority, body[FLOW_MOD.size : end], body[end:], cookie)
        if command == 4:
            self.flows.pop(found.key, None)
            return
        assert command == 0
        if not pointed_to(found) <= self.groups.keys():
            raise Refused(found)
        self.flows[found.key] = found

    def _group_mod(self, body: bytes) -> None:
        command, kind, id = GROUP_MOD.unpack_from(body)
        if command == 2:
            self.groups.pop(id, None)
            self.flows = {key: flow for key, flow in self.flows.items() if id not in pointed_to(flow)}
            return
        assert command == 0x8000
        self.groups[id] = EncodedGroup(id, kind, body[GROUP_MOD.size :])


def pointed_to(flow: EncodedFlow) -> set[int]:
    """The groups that a flow's instructions name."""
    return set(_group_actions(flow.instructions))


def _group_actions(instructions: bytes) -> Iterator[int]:
    at = 0
    while at < len(instructions):
        kind, length = struct.unpack_from("!HH", instructions, at)
        action, end = at + 8, at + length
        while kind == 4 and action < end:
            number, size, id = struct.unpack_from("!HHI", instructions, action)
            if number == 22:
                yield id
            action += size
        at = end


# ---- worlds ------------------------------------------------------------------------------------------------------


def entries(flows: Iterable[Flow], groups: Iterable[Group] = ()) -> list[Entry]:
    return [*(Entry(APP, group) for group in groups), *(Entry(APP, flow) for flow in flows)]


def groups_of(flows: Iterable[Flow]) -> dict[int, Group]:
    """A group for every pointer in `flows`."""
    pointers = {action for flow in flows for action in flow.actions if isinstance(action, ToGroup)}
    return {to.id: Group(to.kind, to.id - to.kind.base, ()) for to in pointers}


def encoded(desired: Sequence[Entry]) -> tuple[dict[WireKey, EncodedFlow], dict[int, EncodedGroup]]:
    flows = [encode_flow(entry.item, entry.app) for entry in desired if isinstance(entry.item, Flow)]
    groups = [encode_group(entry.item) for entry in desired if isinstance(entry.item, Group)]
    return {flow.key: flow for flow in flows}, {group.id: group for group in groups}


@st.composite
def worlds(draw: st.DrawFn, pool: Sequence[Flow], spare: Sequence[Group]) -> list[Entry]:
    """Some flows of a pool, the groups they point to, and some that nobody points to."""
    flows = [flow for flow in pool if draw(st.booleans())]
    groups = groups_of(flows) | {group.id: group for group in spare if draw(st.booleans())}
    return entries(flows, groups.values())


@st.composite
def two_worlds(draw: st.DrawFn) -> tuple[list[Entry], list[Entry]]:
    """What was, and what should be; they have much in common."""
    pool = draw(strategies.flow_tables(30))
    was = draw(worlds(pool, draw(strategies.group_tables())))
    return was, draw(worlds(pool, draw(strategies.group_tables())))


@st.composite
def tampered(draw: st.DrawFn, world: Sequence[Entry]) -> FakeSwitch:
    """A switch that held `world` until somebody with root laid hands on it."""
    flows, groups = encoded(world)
    for key, flow in list(flows.items()):
        match draw(st.sampled_from(["kept", "kept", "altered", "taken over", "marked", "gone"])):
            case "altered":  # as `ovs-ofctl mod-flows` does: the cookie stays
                flows[key] = flow._replace(body=flow.match)
            case "taken over":
                flows[key] = flow._replace(cookie=draw(st.integers(0, OWNER - 1)) << 56)
            case "marked":
                flows[key] = flow._replace(cookie=flow.cookie ^ 1)
            case "gone":
                del flows[key]
    groups = {id: replace(group, type=draw(st.sampled_from([0, 1]))) for id, group in groups.items()}
    if draw(st.booleans()):
        groups[77] = EncodedGroup(77, 0, b"")
    return FakeSwitch(flows, groups)


@st.composite
def cases(draw: st.DrawFn) -> tuple[FakeSwitch, list[Entry]]:
    was, desired = draw(two_worlds())
    return draw(tampered(was)), desired


def wanted(desired: Sequence[Entry], switch: FakeSwitch) -> FakeSwitch:
    """`desired`, and all of others on `switch`, but for what takes a removed group along or stands under our keys."""
    flows, groups = encoded(desired)
    kept = {id: group for id, group in switch.groups.items() if id >> 28 not in range(1, 7)}
    standing = groups.keys() | kept.keys()
    others = {key: flow for key, flow in switch.flows.items() if not own_flow(flow) and pointed_to(flow) <= standing}
    return FakeSwitch(others | flows, kept | groups)


# ---- properties --------------------------------------------------------------------------------------------------


@given(cases())
def test_whatever_a_switch_held_it_then_holds_what_it_should_and_what_is_of_others(
    case: tuple[FakeSwitch, list[Entry]],
) -> None:
    switch, desired = case
    expected = wanted(desired, switch)
    plan = full(desired, switch.installed())
    switch.apply(plan)
    assert switch == expected
    assert not plan.refusals


@given(cases())
def test_what_is_of_others_goes_when_it_is_to_go(case: tuple[FakeSwitch, list[Entry]]) -> None:
    switch, desired = case
    switch.apply(full(desired, switch.installed(), keep_foreign=False))
    assert switch == FakeSwitch(*encoded(desired))


@given(two_worlds())
def test_a_key_is_wanted_when_one_of_the_flows_has_it(both: tuple[list[Entry], list[Entry]]) -> None:
    was, desired = both
    keys, wanted_keys = encoded(was)[0].keys(), encoded(desired)[0].keys()
    assert wanted_at(keys, desired) == bool(keys & wanted_keys)
    assert not wanted_at(keys - wanted_keys, desired)


@given(cases())
def test_a_second_time_nothing_is_sent(case: tuple[FakeSwitch, list[Entry]]) -> None:
    switch, desired = case
    switch.apply(full(desired, switch.installed()))
    again = full(desired, switch.installed())
    assert (again.steps, again.replaced) == ((), ())


@given(two_worlds().map(lambda both: both[1]))
def test_a_switch_that_is_right_is_sent_nothing(desired: list[Entry]) -> None:
    assert full(desired, FakeSwitch(*encoded(desired)).installed()).steps == ()


@given(cases(), st.integers(1, 10), st.integers(0, 10))
def test_interrupted_after_any_bundle_it_still_gets_there(
    case: tuple[FakeSwitch, list[Entry]], limit: int, bundles: int
) -> None:
    switch, desired = case
    expected = wanted(desired, switch)
    for _, part in zip(range(bundles), full(desired, switch.installed()).parts(limit), strict=False):
        switch.commit(part)
    switch.apply(full(desired, switch.installed()), limit)
    assert switch == expected


@given(two_worlds().map(lambda both: both[1]), st.integers(1, 10))
def test_a_first_programming_lets_no_frame_in_before_all_is_ready(desired: list[Entry], limit: int) -> None:
    switch = FakeSwitch()
    *early, last = [*full(desired, switch.installed()).parts(limit)] or [()]
    for part in early:
        assert len(part) <= limit
        switch.commit(part)
    assert CLASSIFY.number not in {table for table, _, _ in switch.flows}
    switch.commit(last)
    assert switch == FakeSwitch(*encoded(desired))


@given(cases())
def test_every_step_finds_the_groups_it_points_to(case: tuple[FakeSwitch, list[Entry]]) -> None:
    switch, desired = case
    for step in full(desired, switch.installed()).steps:
        switch.commit([step])


@given(cases())
def test_a_table_is_ready_before_the_tables_that_lead_to_it(case: tuple[FakeSwitch, list[Entry]]) -> None:
    switch, desired = case
    added = [step.flow.table for step in full(desired, switch.installed()).steps if isinstance(step, AddFlow)]
    assert added == sorted(added, reverse=True)


@given(two_worlds())
def test_a_change_of_what_should_be_is_brought_about(both: tuple[list[Entry], list[Entry]]) -> None:
    was, desired = ({entry.key: entry for entry in world} for world in both)
    changes = {key: desired.get(key) for key in was.keys() | desired.keys() if was.get(key) != desired.get(key)}
    switch = FakeSwitch(*encoded([*was.values()]))
    switch.apply(partial(changes))
    assert switch == FakeSwitch(*encoded([*desired.values()]))


# ---- by example --------------------------------------------------------------------------------------------------

GUEST = Flow(CLASSIFY, "guest", f.IN_PORT(3), (SRC.set(1), NET.set(7), goto(PORT_SECURITY)))
FLOODED = Flow(L2_BUM, "flood", NET(7), (ToGroup(FLOOD.id(7), FLOOD),))
DELIVERED = Flow(DELIVER, "port", DST(1), (Output(3),))
EVERYBODY = Group(FLOOD, 7, (Bucket((DST.set(1), resubmit(IN_PORT))),))


def test_what_many_switches_are_told_is_worked_out_when_the_first_is_and_then_no_more() -> None:
    new, old = Pending(DELIVERED.key, Entry(APP, DELIVERED)), Pending(("group", 7), None)
    one, other = brought([old, new]), brought([new, old])
    assert one == other == partial({DELIVERED.key: Entry(APP, DELIVERED), ("group", 7): None})
    assert all(mine is theirs for mine, theirs in zip(one.steps, other.steps, strict=True))
    assert [bundled(step) for step in one.steps] == [bundle_add(0, 0, step.message(0)) for step in one.steps]
    assert bundled(one.steps[0]) is bundled(other.steps[0])


def test_the_order() -> None:
    """Groups, then tables from the last to the first; removals the other way round."""
    old = entries(
        [
            Flow(DELIVER, "port", DST(9), (Output(9),)),
            Flow(CLASSIFY, "guest", f.IN_PORT(9), (NET.set(8), goto(PORT_SECURITY))),
            Flow(L2_BUM, "flood", NET(8), (ToGroup(FLOOD.id(8), FLOOD),)),
        ],
        [Group(FLOOD, 8, ())],
    )
    new = entries([GUEST, FLOODED, DELIVERED], [EVERYBODY])
    plan = partial({entry.key: entry for entry in new} | {entry.key: None for entry in old})
    assert [step.text for step in plan.steps] == [
        str(EVERYBODY),
        str(DELIVERED),
        str(FLOODED),
        str(GUEST),
        "removal of table=0,priority=100,in_port=9",
        "removal of table=37,priority=100,reg6=0x8",
        "removal of table=50,priority=100,reg2=0x9",
        "removal of group_id=805306376",
    ]
    again = full(new, FakeSwitch(*encoded(old)).installed())
    assert [type(step) for step in again.steps] == [type(step) for step in plan.steps]
    assert again.steps[4].text == "removal of table=0,priority=100,match=0001000c800000040000000900000000"


def test_a_flow_altered_under_its_cookie_is_added_again() -> None:
    flow = encode_flow(DELIVERED, APP)
    altered = flow._replace(body=flow.match)
    plan = full(entries([DELIVERED]), Installed({flow.key: altered}, {}))
    assert plan.steps == (AddFlow(Entry(APP, DELIVERED), flow),)
    assert plan.replaced == ()


def test_a_flow_of_others_under_our_key_is_replaced_and_named() -> None:
    flow = encode_flow(DELIVERED, APP)
    theirs = flow._replace(cookie=0)
    installed = Installed({flow.key: theirs}, {})
    plan = full(entries([DELIVERED]), installed)
    assert plan.replaced == installed.foreign == (theirs,)
    assert [step.text for step in plan.steps] == [str(DELIVERED)]


def test_what_is_of_others_is_kept_and_named() -> None:
    theirs = EncodedFlow.of(0, 1, encode_flow(DELIVERED, APP).match, b"", 0)
    group = EncodedGroup(1, 0, b"")
    installed = Installed({theirs.key: theirs}, {1: group})
    assert full([], installed).steps == ()
    assert (installed.foreign, installed.foreign_groups) == ((theirs,), (group,))


def test_a_programming_that_is_not_the_first_is_one_bundle() -> None:
    flows = [Flow(DELIVER, "port", DST(number), (Output(number),)) for number in range(20)]
    flow = encode_flow(GUEST, APP)
    assert [len(part) for part in full(entries([GUEST, *flows]), Installed({}, {})).parts(8)] == [8, 8, 4, 1]
    assert [len(part) for part in full(entries([GUEST, *flows]), Installed({flow.key: flow}, {})).parts(8)] == [20]
    assert [len(part) for part in partial({flow.key: Entry(APP, flow) for flow in flows}).parts(8)] == [20]


def test_a_group_that_fits_into_no_message_keeps_nothing_else_from_the_switch() -> None:
    huge = Group(ARRIVED, 1, (Bucket((DST.set(1), resubmit(IN_PORT))),) * 3_000)
    switch = FakeSwitch(*encoded(entries([], [Group(ARRIVED, 1, ())])))
    for plan in (
        full(entries([DELIVERED], [huge]), switch.installed()),
        partial({entry.key: entry for entry in entries([DELIVERED], [huge])}),
    ):
        assert [step.text for step in plan.steps] == [str(DELIVERED), f"removal of group_id={huge.id}"]
        (refusal,) = plan.refusals
        assert (refusal.key, refusal.what, refusal.type) == (huge.key, str(huge), None)
        assert "3000" in refusal.error


def test_of_more_shares_than_a_message_holds_the_first_are_sent_and_the_refusal_is_told() -> None:
    shares = tuple(Conjunction(tag, 2, 2) for tag in range(1, 5_001))
    match = f.IPV4_PROTO(6) & f.TCP_DST(22)
    switch, service = FakeSwitch(*encoded([])), Flow(EVALUATE, "rule", match, shares)
    for plan in (full(entries([service]), switch.installed()), partial({service.key: Entry(APP, service)})):
        ((step,), (refusal,)) = plan.steps, plan.refusals
        assert isinstance(step, AddFlow)
        fitting = [encode_flow(Flow(EVALUATE, "rule", match, shares[:count]), APP) for count in (4_000, 4_080)]
        assert all(step.flow.instructions[8:].startswith(each.instructions[8:]) for each in fitting), (
            "the oldest bundles"
        )
        assert (refusal.key, "5000" in refusal.error) == (service.key, True)
        held = FakeSwitch({step.flow.key: step.flow})
        assert full(entries([service]), held.installed()).steps == (), "what was sent is what is wanted"


def test_a_match_that_cannot_be_encoded_is_refused_and_never_removed() -> None:
    wire = replace(WHY, name="unheard_of", wire="unheard_of")
    table = replace(L2_DISPATCH, matches=frozenset({wire}))
    unheard = Flow(table, "one", values.matching(values.Test(wire, 1, 1)))
    plan = partial({unheard.key: Entry(APP, unheard), DELIVERED.key: Entry(APP, DELIVERED)})
    assert [step.text for step in plan.steps] == [str(DELIVERED)]
    assert [refusal.key for refusal in plan.refusals] == [unheard.key]
    assert partial({unheard.key: None}).steps == ()


def test_the_removal_of_a_group_needs_no_entry() -> None:
    group = Group(FLOOD, 5, ())
    switch = FakeSwitch(*encoded(entries([], [group])))
    switch.apply(partial({group.key: None}))
    assert switch == FakeSwitch()
