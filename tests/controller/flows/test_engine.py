"""The engine: the right flows after any history, for no more work than the change is worth."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps import APPS
from controller.flows.action import Table, goto
from controller.flows.app import App, Placement, Rule, Scope, everywhere, host, itself
from controller.flows.attachment import HOMES
from controller.flows.engine import Cell, Engine
from controller.flows.fields import ETH_DST
from controller.flows.flow import Clause, Entry, Flow, Key
from controller.flows.match import ANY
from controller.flows.pipeline import DROP, DST, L2_LOOKUP, NET, SRC, WHY, Why
from controller.flows.presence import RELATIONS, chassis_of_network
from controller.model.records import (
    CLOSED,
    Address,
    AddressGroup,
    AddressPair,
    Binding,
    Bundle,
    Chassis,
    Cidr,
    FixedIp,
    Link,
    Mac,
    Neighbour,
    Network,
    Policy,
    Port,
    Record,
    SecurityGroup,
    Tag,
)
from controller.model.store import Change, Model, Transaction, Write
from controller.model.view import Relation, View
from tests.cloud import Cloud, Work, group, hypervisor, ingress, interface, network, no_port, port, router

NETWORKS = ("red", "blue")
PORTS = ("p1", "p2", "p3", "p4")
HOSTS = ("hv1", "hv2", "hv3")
GROUPS = ("web", "app")
POLICIES = [
    Policy(id=",".join(sorted(groups)) or CLOSED, groups=tuple(sorted(groups)))
    for groups in ((), ("web",), ("app",), GROUPS)
]
BUNDLES = [
    Bundle(
        id=f"{group}/{remote}",
        security_group_id=group,
        direction="ingress",
        ethertype="IPv4",
        any_protocol=True,
        remote_group_id=remote if remote in GROUPS else None,
        remote_address_group_id=None if remote in GROUPS else remote,
    )
    for group, remote in (("web", "app"), ("app", "app"), ("web", "list"))
]
TAGS = [
    *(Tag(id=f"network/{name}", space="network", number=number) for number, name in enumerate(NETWORKS, 1)),
    *(Tag(id=f"port/{name}", space="port", number=number) for number, name in enumerate(PORTS, 1)),
    *(Tag(id=f"policy/{policy.id}", space="policy", number=number) for number, policy in enumerate(POLICIES, 1)),
    *(Tag(id=f"bundle/{bundle.id}", space="bundle", number=number) for number, bundle in enumerate(BUNDLES, 1)),
]
LIST = AddressGroup(id="list", addresses=(Cidr("10.0.9.9"), Cidr("10.1.0.0/16")))
STANDING: tuple[Record, ...] = (*TAGS, *POLICIES, *(SecurityGroup(id=group) for group in GROUPS), LIST)
"""What no history takes away."""

HOUSE = Table(99, "test", "", {"shared": 3, "disputed": 2, "own": 1}, frozenset({NET, SRC}), frozenset({DST}))


def house(view: View, network: str, chassis: str) -> Iterator[Flow | Clause]:
    """What each (network, chassis) wants: a flow of its own, one that it disputes, and a share of one of all networks."""
    here, at = NET(view.tag("network", network)), HOSTS.index(chassis) + 1
    yield Flow(HOUSE, "own", here & SRC(at))
    yield Flow(HOUSE, "disputed", here, (DST.set(at),))
    yield Clause(HOUSE, "shared", SRC(5), view.tag("network", network) * 8 + at, 1, 2)


HOUSES = App("houses", 99, (Rule(HOMES, house, lambda view, network: Placement(Scope(chassis_of_network, network))),))
SUBJECTS = (*APPS, HOUSES)
"""The apps that there are, and one whose cells are facts that any number of ports may say."""

SHARED = "02:00:00:00:00:fe"
PAIRS = tuple(
    tuple(AddressPair(Mac(SHARED), Cidr(block)) for block in blocks)
    for blocks in ((), (), ("10.0.9.9",), ("10.0.9.0/24", "fd00::/64"), ("10.0.9.9", "fd00::9"))
)
"""Address pairs of ports: none, an address that others may share, blocks."""

booleans = st.booleans()
records: st.SearchStrategy[Record] = st.one_of(
    st.builds(
        lambda id, type, up: Network(
            id=id, network_type=type, segmentation_id=100 + NETWORKS.index(id), admin_state_up=up
        ),
        st.sampled_from(NETWORKS),
        st.sampled_from(("vxlan", "geneve")),
        booleans,
    ),
    st.builds(
        lambda id, network, last, six, up, host, groups, pairs, guarded: Port(
            id=id,
            network_id=network,
            mac_address=Mac(f"02:00:00:00:00:0{PORTS.index(id)}"),
            fixed_ips=(
                FixedIp("s", Address(f"10.0.{PORTS.index(id)}.{last}")),
                *(FixedIp("s6", Address(f"fd00::{PORTS.index(id)}:{last}")) for _ in range(six)),
            ),
            admin_state_up=up,
            host=host,
            security_groups=groups,
            allowed_address_pairs=pairs,
            port_security_enabled=guarded,
        ),
        st.sampled_from(PORTS),
        st.sampled_from(NETWORKS),
        st.integers(1, 2),
        booleans,
        booleans,
        st.sampled_from((None, None, "", "hv1", "host2")),
        st.sampled_from(((), ("app",), ("web",), GROUPS)),
        st.sampled_from(PAIRS),
        st.sampled_from((True, True, False)),
    ),
    st.builds(
        lambda network, address, mac, port, sequence: Neighbour(
            id=f"{network}/{address}",
            network_id=network,
            address=Address(address),
            mac_address=Mac(mac),
            port_id=port,
            sequence=sequence,
        ),
        st.sampled_from(NETWORKS),
        st.sampled_from(("10.0.9.9", "10.0.9.7", "fd00::9", "10.0.1.1")),
        st.sampled_from((SHARED, "02:00:00:00:00:01", "02:00:00:00:00:99")),
        st.sampled_from(PORTS),
        st.integers(1, 9),
    ),
    st.sampled_from(BUNDLES),
    st.builds(
        lambda id, types, last: Chassis(
            id=id, hostname=f"host{id[-1]}", encap_types=types, encap_ip=Address(f"192.0.{id[-1]}.{last}")
        ),
        st.sampled_from(HOSTS),
        st.sampled_from((("vxlan",), ("geneve", "vxlan"), ())),
        st.integers(1, 2),
    ),
    st.builds(
        lambda chassis, port, sequence, superseded: Binding(
            id=f"{chassis}/tap-{port}",
            chassis=chassis,
            interface=f"tap-{port}",
            port_id=port,
            sequence=sequence,
            superseded=superseded,
        ),
        st.sampled_from(HOSTS),
        st.sampled_from(PORTS),
        st.integers(1, 9),
        booleans,
    ),
    st.builds(
        lambda chassis, interface, ofport: Link(
            id=f"{chassis}/{interface}", chassis=chassis, interface=interface, ofport=ofport
        ),
        st.sampled_from(HOSTS),
        st.sampled_from((*(f"tap-{port}" for port in PORTS), "weft-vxlan", "weft-geneve")),
        st.integers(1, 9),
    ),
)
steps = st.lists(st.tuples(booleans, records), max_size=6)
histories = st.lists(steps, max_size=12)
"""Lists of commits; a commit is a list of (is it there?, record)."""


class History:
    """An engine that lives through commits, and what its differences add up to."""

    def __init__(self) -> None:
        self.model = Model(records=STANDING)
        self.engine = Engine(self.model, SUBJECTS)
        self.held: dict[str, dict[Key, Entry]] = {}

    def commit(self, puts: list[tuple[bool, Record]]) -> None:
        old: dict[tuple[type[Record], str], Record | None] = {}
        new: dict[tuple[type[Record], str], Record | None] = {}
        for there, record in puts:
            name = (type(record), record.id)
            old[name] = self.model.get(*name)
            new[name] = record if there else None
        writes = tuple(Write(*name, old[name], new[name]) for name in new if old[name] != new[name])
        change = Change(self.model.revision + 1, "", writes)
        self.model.apply(change)
        for chassis, delta in self.engine.update([change]).items():
            for key, entry in delta.items():
                held = self.held.setdefault(chassis, {})
                if entry is None:
                    del held[key]
                else:
                    assert held.get(key) != entry, "a difference that is none"
                    held[key] = entry


def held(engine: Engine) -> dict[str, dict[Key, Entry]]:
    return {chassis: engine.desired(chassis) for chassis in engine.chassis()}


@given(histories)
def test_incremental_is_from_scratch_after_every_step(history: list[list[tuple[bool, Record]]]) -> None:
    lived = History()
    for step in history:
        lived.commit(step)
        assert not lived.engine.failures
        scratch = Engine(lived.model, SUBJECTS)
        desired = held(lived.engine)
        assert desired == held(scratch)
        assert lived.engine.conflicts == scratch.conflicts
        flows = {chassis: sum(len(key) == 3 for key in entries) for chassis, entries in desired.items()}
        for engine in (lived.engine, scratch):
            assert {chassis: engine.count(chassis) for chassis in {*flows, *lived.held}} == (
                dict.fromkeys(lived.held, 0) | flows
            )
        assert {chassis: entries for chassis, entries in lived.held.items() if entries} == desired


@given(histories)
def test_every_entry_of_any_switch_is_told_once_with_all_that_want_it(history: list[list[tuple[bool, Record]]]) -> None:
    lived = History()
    for step in history:
        lived.commit(step)
    engine = lived.engine
    wanted: dict[Entry, set[Cell]] = {}
    for chassis, entries in held(engine).items():
        for key, entry in entries.items():
            wanted.setdefault(entry, set()).update(engine.wanting(key, chassis))
    told = list(engine.entries())
    assert len(told) == len(wanted)
    assert {entry: set(cells) for entry, cells in told} == wanted


@given(histories, st.randoms(use_true_random=False))
def test_the_order_of_history_does_not_matter(history: list[list[tuple[bool, Record]]], random: object) -> None:
    lived = History()
    for step in history:
        lived.commit(step)
    kinds = (Bundle, Network, Port, Chassis, Binding, Link)
    final: list[tuple[bool, Record]] = [(True, record) for kind in kinds for record in lived.model.all(kind)]
    shuffled, squashed, detour = list(final), History(), History()
    getattr(random, "shuffle")(shuffled)  # noqa: B009
    one_by_one = History()
    for put in shuffled:
        one_by_one.commit([put])
    squashed.commit(shuffled)
    for step in history[::-1]:
        detour.commit(step)
    detour.commit([(False, record) for step in history for _, record in step])
    detour.commit(final)
    ends = [held(each.engine) for each in (lived, one_by_one, squashed, detour)]
    assert all(end == ends[0] for end in ends)


def _ports_of_all_sorts() -> Cloud:
    """Ports of each combination of what rules and relations look at before anything else; some plugged, some not."""
    cloud = Cloud()
    works: list[Work] = [network("red", 100), group("web"), router("r"), group("app", ingress(remote_group_id="web"))]
    plugged: list[str] = []
    sorts = product(
        (("10.0.{}.{}",), ("fd00::{}:{}",), ()), ((), *PAIR_BLOCKS), (True, False), ((), ("web",)), (True, False)
    )
    for number, (texts, blocks, guarded, groups, up) in enumerate(sorts):
        for at, id in enumerate((f"in{number}", f"out{number}")):
            mac = f"02:00:00:00:0{at}:{number:02x}"
            addresses = [text.format(at + 1, number) for text in texts]
            pairs = [(mac, block.format(at + 1, number)) for block in blocks]
            works.append(
                port(id, "red", mac, *addresses, pairs=pairs, guarded=guarded, groups=groups, admin_state_up=up)
            )
        plugged.append(f"in{number}")
    works.append(interface("joint", "r", "red", "02:00:00:00:09:00", s="10.0.0.1"))
    cloud.commit(*works, hypervisor(1, *plugged, "joint"))
    return cloud


def test_what_there_is_no_cell_for_would_want_nothing() -> None:
    """Nor would what there are no facts for say any: neither a record's own words nor a closed gate hides anything."""
    view, hidden = _ports_of_all_sorts().engine.view(), set[str]()
    for relation in RELATIONS:
        for record in view.all(relation.kind):
            if not _concerns(view, relation, record):
                hidden.add(relation.name)
                assert [*relation.facts(view, record)] == [], (relation.name, record)
    for rule in (rule for app in APPS for rule in app.rules if rule.about or rule.gate):
        for record in view.all(cast("type[Record]", rule.kind)):
            if not _concerns(view, rule, record) and rule.place(view, record) is not None:
                assert [*rule.compute(view, record)] == [], (rule.name, record)
                hidden.add(rule.name)
    assert {"joints", "pairs", "open", "candidates", "policies", "member_addresses", "homes", "own_address"} <= hidden


PAIR_BLOCKS = (("10.1.{}.{}",), ("fd01::{}:{}",), ("10.0.9.0/24",))


def _concerns(view: View, what: Rule | Relation[Any, Any], record: Record) -> bool:
    if what.about is not None and not what.about(record):
        return False
    return what.gate is None or bool(view.derive(what.gate, record.id))


def _remembered(engine: Engine) -> list[set[str]]:
    """The records whose facts are remembered, by relation, and those that gates are kept for."""
    return [{*nodes} for memory in (engine._facts, engine._gates) for nodes in memory.values()]


@given(histories)
def test_a_model_that_is_emptied_leaves_nothing_behind(history: list[list[tuple[bool, Record]]]) -> None:
    lived = History()
    for step in history:
        lived.commit(step)
    kinds = (Binding, Link, Port, Network, Chassis, Bundle, Neighbour)
    lived.commit([(False, record) for kind in kinds for record in lived.model.all(kind)])
    assert held(lived.engine) == {}
    assert not any(lived.held.values())
    fresh = History().engine
    for memory in ("_derived", "_gathered", "_facts", "_scopes", "_readers", "_wants", "_cells"):
        assert getattr(lived.engine, memory).keys() == getattr(fresh, memory).keys(), memory
    assert _remembered(lived.engine) == _remembered(fresh)


# Conflicts, clauses and failures, with apps made for the purpose


def _app(number: int, name: str, *rules: object) -> App:
    return App(name, number, rules)  # type: ignore[arg-type]


def _drop(why: Why) -> Flow:
    return Flow(L2_LOOKUP, "miss", ANY, (WHY.set(why), goto(DROP)))


def _says(why: Why) -> App:
    def drop(view: View) -> Iterator[Flow]:
        yield _drop(why)

    return _app(int(why), why.name.lower(), everywhere(drop))


def _engine(*apps: App) -> Cloud:
    cloud = Cloud(apps)
    cloud.commit(hypervisor(1))
    return cloud


@pytest.mark.parametrize("order", [(Why.OWN_MAC, Why.TAGGED), (Why.TAGGED, Why.OWN_MAC)])
def test_of_two_flows_under_one_key_the_lower_app_number_wins_and_all_are_told(order: tuple[Why, Why]) -> None:
    cloud = _engine(*map(_says, order))
    assert [str(entry.item) for entry in cloud.engine.desired("hv1").values()] == [str(_drop(Why.TAGGED))]
    (conflict,) = cloud.engine.conflicts.values()
    assert conflict.cells == ("tagged.drop[]", "own_mac.drop[]")


def test_two_cells_may_want_one_flow() -> None:
    def one(view: View) -> Iterator[Flow]:
        yield _drop(Why.TAGGED)

    def two(view: View) -> Iterator[Flow]:
        yield _drop(Why.TAGGED)

    cloud = _engine(_app(7, "seven", everywhere(one)), _app(3, "three", everywhere(two)))
    ((key, entry),) = cloud.engine.desired("hv1").items()
    assert entry.app == 3
    assert [cell.name for cell in cloud.engine.wanting(key, "hv1")] == ["three.two[]", "seven.one[]"]
    assert not cloud.engine.conflicts


def test_a_cell_may_contradict_itself_and_take_it_back() -> None:
    def both(view: View, port: Port) -> Iterator[Flow]:
        for key in range(1, 1 + len(port.device_id)):
            yield Flow(L2_LOOKUP, "local", NET(1), (DST.set(key),))

    cloud = Cloud([_app(1, "test", host(Port, both))])
    cloud.commit(network("red", 100), hypervisor(1, "a"), port("a", "red", "02:00:00:00:00:01", device_id="xx"))
    assert [conflict.cells for conflict in cloud.engine.conflicts.values()] == [("test.both[a]",)]
    cloud.commit(lambda tx: tx.put(replace(tx.need(Port, "a"), device_id="x")))
    assert not cloud.engine.conflicts
    cloud.commit(lambda tx: tx.put(replace(tx.need(Port, "a"), device_id="")))
    assert cloud.sent("hv1") == ["- 36"]


def test_an_entry_that_others_outdo_on_some_hypervisors_is_told_too() -> None:
    def own(view: View, chassis: Chassis) -> Iterator[Flow]:
        if chassis.id != "hv3":
            yield _drop(Why.TAGGED)

    cloud = Cloud([_says(Why.OWN_MAC), _app(1, "one", itself(Chassis, own))])
    cloud.commit(*map(hypervisor, range(1, 4)))
    told = [(str(entry.item), [cell.name for cell in cells]) for entry, cells in cloud.engine.entries()]
    own_mac = "own_mac.drop[]"
    assert sorted(told) == sorted(
        [
            (str(_drop(Why.OWN_MAC)), [own_mac]),
            (str(_drop(Why.TAGGED)), ["one.own[hv1]", "one.own[hv2]", own_mac]),
        ]
    )


def test_a_conflict_ends_with_its_cause() -> None:
    def by_port(view: View, port: Port) -> Iterator[Flow]:
        yield Flow(
            L2_LOOKUP, "local", NET(1) & ETH_DST(Mac("02:00:00:00:00:01")), (DST.set(view.tag("port", port.id)),)
        )

    cloud = Cloud([_app(1, "test", host(Port, by_port))])
    cloud.commit(network("red", 100), hypervisor(1, "a", "b"))
    cloud.commit(port("a", "red", "02:00:00:00:00:01"), port("b", "red", "02:00:00:00:00:02"))
    assert [conflict.cells for conflict in cloud.engine.conflicts.values()] == [("test.by_port[a]", "test.by_port[b]")]
    cloud.commit(lambda tx: tx.put(replace(tx.need(Port, "a"), host="")))
    assert not cloud.engine.conflicts
    assert cloud.sent("hv1") == ["table=36,priority=100,eth_dst=02:00:00:00:00:01,reg6=0x1 actions=set_field:0x2->reg2"]


def test_clauses_with_one_key_become_one_flow() -> None:
    table = Table(99, "test", "", {"clause": 10}, matches=frozenset({SRC}))

    def clause(view: View, port: Port) -> Iterator[Clause]:
        yield Clause(table, "clause", SRC(5), 100 + view.tag("port", port.id), 1, 2)

    cloud = Cloud([_app(1, "test", host(Port, clause))])
    cloud.commit(network("red", 100), hypervisor(1, "a", "b"))
    cloud.commit(port("b", "red", "02:00:00:00:00:02"))
    cloud.commit(port("a", "red", "02:00:00:00:00:01"))
    assert cloud.sent("hv1") == ["table=99,priority=10,reg1=0x5 actions=conjunction(101,1/2),conjunction(102,1/2)"]
    assert not cloud.engine.conflicts
    cloud.commit(lambda tx: tx.put(replace(tx.need(Port, "b"), host="")))
    assert cloud.sent("hv1") == ["table=99,priority=10,reg1=0x5 actions=conjunction(102,1/2)"]


def test_a_cell_that_raises_yields_nothing_and_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    def fragile(view: View, port: Port) -> Iterator[Flow]:
        if port.device_id == "bad":
            raise ValueError("a bad device")
        yield Flow(L2_LOOKUP, "local", NET(view.tag("port", port.id)), ())

    cloud = Cloud([_app(1, "test", host(Port, fragile))])
    cloud.commit(network("red", 100), hypervisor(1, "a", "b"))
    cloud.commit(port("a", "red", "02:00:00:00:00:01", device_id="bad"), port("b", "red", "02:00:00:00:00:02"))
    assert [record.getMessage() for record in caplog.records] == ["cell failed name=test.fragile[a]"]
    assert cloud.engine.failures == {"test.fragile[a]": "ValueError: a bad device"}
    assert [str(entry.item) for entry in cloud.engine.desired("hv1").values()] == [
        "table=36,priority=100,reg6=0x2 actions=drop"
    ]
    cloud.commit(lambda tx: tx.put(replace(tx.need(Port, "a"), device_id="good")))
    assert cloud.engine.failures == {}
    assert len(cloud.engine.desired("hv1")) == 2


def test_a_derived_value_that_comes_out_equal_wakes_nobody() -> None:
    def parity(view: View, port_id: str) -> int:
        return len(view.need(Port, port_id).device_id) % 2

    def by_parity(view: View, port: Port) -> Iterator[Flow]:
        yield Flow(L2_LOOKUP, "local", NET(view.derive(_neighbours_parity, "a") + 1), ())

    def _neighbours_parity(view: View, port_id: str) -> int:
        return view.derive(parity, port_id)

    cloud = Cloud([_app(1, "test", host(Port, by_parity))])
    cloud.commit(network("red", 100), hypervisor(1, "a", "b"))
    cloud.commit(port("a", "red", "02:00:00:00:00:01"), port("b", "red", "02:00:00:00:00:02"))
    cloud.commit(lambda tx: tx.put(replace(tx.need(Port, "a"), device_id="xx")))
    assert cloud.engine.log == ["test.by_parity[a]"]
    cloud.commit(lambda tx: tx.put(replace(tx.need(Port, "a"), device_id="xxx")))
    assert cloud.engine.log == ["test.by_parity[a]", "test.by_parity[b]"]


def test_a_value_of_a_record_that_is_gone_is_not_computed_once_more(caplog: pytest.LogCaptureFixture) -> None:
    def parity(view: View, port_id: str) -> int:
        return len(view.need(Port, port_id).device_id) % 2

    def by_parity(view: View, port: Port) -> Iterator[Flow]:
        yield Flow(L2_LOOKUP, "local", NET(view.derive(parity, port.id) + 1), ())

    cloud = Cloud([_app(1, "test", host(Port, by_parity))])
    cloud.commit(network("red", 100), hypervisor(1, "a"), port("a", "red", "02:00:00:00:00:01"))
    cloud.commit(no_port("a"))
    assert cloud.engine.desired("hv1") == {}
    assert cloud.engine.failures == {}
    assert caplog.records == []


def test_values_that_need_each_other_are_a_failure_and_no_endless_loop(caplog: pytest.LogCaptureFixture) -> None:
    def chicken(view: View, key: str) -> int:
        return view.derive(egg, key)

    def egg(view: View, key: str) -> int:
        return view.derive(chicken, key)

    def rule(view: View) -> Iterator[Flow]:
        yield Flow(L2_LOOKUP, "local", NET(view.derive(chicken, "x")), ())

    with caplog.at_level(logging.CRITICAL):
        cloud = _engine(_app(1, "test", everywhere(rule)))
    assert cloud.engine.failures
    assert cloud.engine.desired("hv1") == {}


@given(histories)
def test_gathered_facts_are_what_a_scan_would_find(history: list[list[tuple[bool, Record]]]) -> None:
    lived = History()
    for step in history:
        lived.commit(step)
    afresh = View(lived.model)
    for relation in RELATIONS:
        for key in _keys(relation, lived.model):
            assert lived.engine.gather(relation, key) == afresh.gather(relation, key)


def _keys(relation: Relation[object, object], model: Model) -> set[object]:
    view = View(model)
    found: set[object] = {key for record in model.all(relation.kind) for key, _ in relation.facts(view, record)}
    return found | {"red", ("red", "hv1"), ""}


def test_a_transaction_that_writes_nothing_recomputes_nothing() -> None:
    cloud = Cloud()
    cloud.commit(hypervisor(1))
    tx = Transaction(cloud.model)
    assert tx.writes() == ()
    cloud.commit(hypervisor(1))
    assert cloud.engine.log == []
