"""Where a port is: by whose claim, on which host, over which encapsulation."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from controller.model import bindings
from controller.model.bindings import (
    Claim,
    Hypervisor,
    Placed,
    Unplaced,
    alone,
    forget,
    observe,
    observe_links,
    place,
    portions,
    rezone,
)
from controller.model.records import KINDS, Address, Binding, Chassis, Link, Mac, Network, Port, Quarantine
from controller.model.sqlite import SqliteJournal
from controller.model.store import Change, Model, Transaction, Write
from tests import cloud as cloudy

RED = Network(id="red", network_type="vxlan", segmentation_id=1)
P1 = Port(id="p1", network_id="red", mac_address=Mac("fa:16:3e:00:00:01"))
P2 = Port(id="p2", network_id="red", mac_address=Mac("fa:16:3e:00:00:02"))


def hypervisor(name: str, claims: dict[str, str] | None = None, **attributes: Any) -> Hypervisor:
    """What `name` reports: its interfaces, each with the port it claims."""
    return Hypervisor(
        system_id=name,
        **{
            "hostname": f"{name}.example.org",
            "encap_ip": Address("192.0.2.11"),
            "encap_types": ("geneve", "vxlan"),
            "bridge": "br-int",
            "datapath_type": "netdev",
            "bridge_mappings": (),
            "gateway_priority": None,
            "datapath_id": 1,
            "claims": tuple(Claim(interface, port) for interface, port in (claims or {}).items()),
            **attributes,
        },
    )


def cloud(*ports: Port) -> Model:
    return Model(0, [RED, *ports])


def see(model: Model, *reports: Hypervisor) -> tuple[Write, ...]:
    """Commit reports one by one; what the last one wrote."""
    writes: tuple[Write, ...] = ()
    for seen in reports:
        tx = Transaction(model)
        observe(tx, seen)
        writes = tx.writes()
        model.apply(Change(model.revision + 1, "", writes))
    return writes


def edit(model: Model, port: Port) -> None:
    model.apply(Change(model.revision + 1, "", (Write(Port, port.id, model.get(Port, port.id), port),)))


def at(chassis: str, interface: str) -> tuple[str, str]:
    """A place; which zone a port has there is no matter of whose it is."""
    return chassis, interface


def where(model: Model, id: str = "p1") -> tuple[str, str] | Unplaced:
    port = model.get(Port, id)
    assert port is not None
    found = place(model, port)
    return found if isinstance(found, Unplaced) else at(found.chassis, found.interface)


def zone(model: Model, id: str = "p1") -> int:
    port = model.get(Port, id)
    assert port is not None
    found = place(model, port)
    assert isinstance(found, Placed)
    return found.zone


def reason(model: Model, id: str = "p1") -> str:
    found = where(model, id)
    assert isinstance(found, Unplaced)
    assert not found.failed
    return found.reason


NOT_PLUGGED = "no hypervisor has an interface with this port's id as iface-id"


# --- claims


def test_a_port_is_where_an_interface_carries_its_id() -> None:
    model = cloud(P1, P2)
    assert reason(model) == NOT_PLUGGED
    see(model, hypervisor("hv1", {"tap1": "p1", "tap2": "p2"}))
    assert where(model, "p1") == at("hv1", "tap1")
    assert where(model, "p2") == at("hv1", "tap2")


def test_an_interface_may_be_plugged_before_its_port_exists() -> None:
    model = cloud()
    see(model, hypervisor("hv1", {"tap1": "p1"}))
    edit(model, P1)
    assert where(model) == at("hv1", "tap1")


def test_an_unplugged_port_is_nowhere_and_may_come_back() -> None:
    model = cloud(P1)
    see(model, hypervisor("hv1", {"tap1": "p1"}), hypervisor("hv1"))
    assert reason(model) == NOT_PLUGGED
    assert model.all(Binding) == ()
    see(model, hypervisor("hv1", {"tap1": "p1"}))
    assert where(model) == at("hv1", "tap1")


def test_an_interface_that_changes_its_id_leaves_one_port_for_another() -> None:
    model = cloud(P1, P2)
    see(model, hypervisor("hv1", {"tap1": "p1"}), hypervisor("hv1", {"tap1": "p2"}))
    assert reason(model, "p1") == NOT_PLUGGED
    assert where(model, "p2") == at("hv1", "tap1")


def test_two_interfaces_may_swap_their_ports_at_once() -> None:
    model = cloud(P1, P2)
    see(model, hypervisor("hv1", {"tap1": "p1", "tap2": "p2"}), hypervisor("hv1", {"tap1": "p2", "tap2": "p1"}))
    assert where(model, "p1") == at("hv1", "tap2")
    assert where(model, "p2") == at("hv1", "tap1")


def test_the_newer_of_two_claims_wins() -> None:
    model = cloud(P1)
    see(model, hypervisor("hv2", {"tap1": "p1"}), hypervisor("hv1", {"tap1": "p1"}))
    assert where(model) == at("hv1", "tap1")


def test_a_report_that_repeats_itself_is_no_new_claim_and_writes_nothing() -> None:
    model = cloud(P1)
    see(model, hypervisor("hv1", {"tap1": "p1"}), hypervisor("hv2", {"tap1": "p1"}))
    assert see(model, hypervisor("hv1", {"tap1": "p1"})) == ()
    assert where(model) == at("hv2", "tap1")


def test_a_loser_stays_without_its_port_when_the_winner_goes_until_its_own_row_changes() -> None:
    model = cloud(P1)
    lost = "tap1 of hypervisor hv1 lost this port to a newer claim, which is gone; plug it anew to have it back"
    see(model, hypervisor("hv1", {"tap1": "p1"}), hypervisor("hv2", {"tap1": "p1"}), hypervisor("hv2"))
    assert reason(model) == lost
    assert see(model, hypervisor("hv1", {"tap1": "p1"})) == ()
    assert reason(model) == lost
    changed = Claim("tap1", "p1", "fa:16:3e:00:00:01")
    see(model, replace(hypervisor("hv1"), claims=(changed,)))
    assert where(model) == at("hv1", "tap1")


def test_a_restart_keeps_who_won(tmp_path: Path) -> None:
    model = cloud(P1)
    see(model, hypervisor("hv2", {"tap1": "p1"}), hypervisor("hv1", {"tap1": "p1"}))
    journal = SqliteJournal(tmp_path / "weft.db")
    journal.load()
    rows = [record for kind in KINDS for record in model.all(kind)]
    journal.append([Change(model.revision, "", tuple(Write(type(row), row.id, None, row) for row in rows))])
    journal.close()
    again = Model(*journal.load())
    journal.close()
    assert where(again) == at("hv1", "tap1")
    assert see(again, hypervisor("hv1", {"tap1": "p1"}), hypervisor("hv2", {"tap1": "p1"})) == ()
    assert where(again) == at("hv1", "tap1")
    see(again, hypervisor("hv3", {"tap1": "p1"}))
    assert where(again) == at("hv3", "tap1")


# --- rows


def rows(name: str, row: str) -> Hypervisor:
    """What `name` reports: one interface that claims p1, by its row."""
    return replace(hypervisor(name), claims=(Claim("tap1", "p1", row=row),))


def test_another_row_that_says_the_same_is_a_new_claim_with_a_zone_of_its_own() -> None:
    model = cloud(P1)
    see(model, rows("hv1", "row-1"), rows("hv2", "row-2"), hypervisor("hv2"))
    assert isinstance(where(model), Unplaced)
    before = {binding.zone for binding in model.all(Binding)}
    see(model, rows("hv1", "row-3"))
    assert where(model) == at("hv1", "tap1")
    assert {zone(model)}.isdisjoint(before)
    assert before <= {record.zone for record in model.where(Quarantine, chassis="hv1")}


def test_the_same_row_again_is_no_new_claim() -> None:
    model = cloud(P1)
    see(model, rows("hv1", "row-1"), rows("hv2", "row-2"))
    assert see(model, rows("hv1", "row-1"), rows("hv2", "row-2")) == ()
    assert where(model) == at("hv2", "tap1")


def test_a_hypervisor_that_takes_another_name_and_its_own_again_has_its_ports_under_both() -> None:
    model = cloud(P1)
    see(model, rows("hv1", "row-1"), rows("other", "row-1"))
    assert where(model) == at("other", "tap1")
    see(model, rows("hv1", "row-1"))
    assert where(model) == at("hv1", "tap1")
    assert [binding.chassis for binding in model.all(Binding)] == ["hv1"], "a row is in one database"
    assert model.all(Quarantine)


def test_the_row_of_an_older_stores_claim_is_noted_and_no_new_claim() -> None:
    model = cloud(P1)
    see(model, hypervisor("hv1", {"tap1": "p1"}), hypervisor("hv2", {"tap1": "p1"}))
    held = zone(model)
    see(model, rows("hv2", "row-2"), rows("hv1", "row-1"))
    assert (where(model), zone(model)) == (at("hv2", "tap1"), held)
    assert {binding.row for binding in model.all(Binding)} == {"row-1", "row-2"}
    see(model, rows("hv1", "row-3"))
    assert where(model) == at("hv1", "tap1"), "known by now, it counts"


def test_an_older_stores_claim_gets_a_zone_when_its_hypervisor_is_seen() -> None:
    model = cloud(P1)
    see(model, hypervisor("hv1", {"tap1": "p1"}))
    model.put(replace(model.all(Binding)[0], zone=0))
    assert isinstance(where(model), Unplaced)
    see(model, hypervisor("hv1", {"tap1": "p1"}))
    assert where(model) == at("hv1", "tap1")


# --- hosts


@pytest.mark.parametrize("host", ["hv1", "hv1.example.org"])
def test_a_port_may_be_restricted_to_a_host_by_either_of_its_names(host: str) -> None:
    model = cloud(replace(P1, host=host))
    see(model, hypervisor("hv2", {"tap1": "p1"}))
    assert reason(model) == f"plugged on hv2, but binding:host_id restricts it to {host}"
    see(model, hypervisor("hv1", {"tap1": "p1"}))
    assert where(model) == at("hv1", "tap1")


def test_an_empty_host_unbinds_a_plugged_port_and_none_lets_it_be() -> None:
    model = cloud(P1)
    see(model, hypervisor("hv1", {"tap1": "p1"}))
    edit(model, replace(P1, host=""))
    assert reason(model) == "binding:host_id is empty: an API client unbound the port"
    edit(model, P1)
    assert where(model) == at("hv1", "tap1")


def test_a_hypervisor_that_changes_its_name_keeps_its_ports() -> None:
    model = cloud(replace(P1, host="new.example.org"))
    see(model, hypervisor("hv1", {"tap1": "p1"}))
    assert isinstance(where(model), Unplaced)
    see(model, hypervisor("hv1", {"tap1": "p1"}, hostname="new.example.org"))
    assert where(model) == at("hv1", "tap1")


# --- encapsulations


@pytest.mark.parametrize(
    ("attributes", "offer"),
    [
        ({"encap_types": ("geneve",)}, "geneve"),
        ({"encap_types": ("geneve", "gre")}, "geneve, gre"),
        ({"encap_types": ()}, "none"),
    ],
)
def test_binding_fails_where_the_networks_encapsulation_is_not_offered(attributes: dict[str, Any], offer: str) -> None:
    model = cloud(P1)
    see(model, hypervisor("hv1", {"tap1": "p1"}, **attributes))
    sentence = f"hypervisor hv1 offers encapsulations ({offer}), not vxlan"
    assert where(model) == Unplaced(sentence, failed=True)
    see(model, hypervisor("hv1", {"tap1": "p1"}))
    assert where(model) == at("hv1", "tap1")


def test_binding_fails_where_tunnels_have_no_address() -> None:
    model = cloud(P1)
    see(model, hypervisor("hv1", {"tap1": "p1"}, encap_ip=None, problem="weft-encap-ip is missing"))
    found = where(model)
    assert isinstance(found, Unplaced)
    assert found.failed


# --- switches without a database

BARE = Port(id="7e0cb5d1-1b0c-4f3e-8c52-6f4f5f1e0a11", network_id="red", mac_address=P1.mac_address)
SWITCH, TAP = "00000000000000a1", "tap7e0cb5d1-1b"


def test_without_a_database_an_interface_is_a_port_by_its_name() -> None:
    model = cloud(BARE)
    see(model, alone(0xA1, {"s1": 0xFFFFFFFE, "s1-eth1": 1, "tap0": 2, TAP: 3}))
    assert where(model, BARE.id) == at(SWITCH, TAP)
    assert [each.bridge for each in model.all(Chassis)] == ["s1"]
    see(model, alone(0xA1, {"s1": 0xFFFFFFFE, "s1-eth1": 1}))
    assert reason(model, BARE.id) == NOT_PLUGGED


def test_without_a_database_the_interface_may_be_there_before_its_port() -> None:
    model = cloud()
    see(model, alone(0xA1, {TAP: 1}))
    edit(model, BARE)
    assert where(model, BARE.id) == at(SWITCH, TAP)


def test_a_name_is_no_claim_where_a_database_says_whose_an_interface_is() -> None:
    model = cloud(BARE)
    see(model, hypervisor("hv1", {TAP: TAP}))
    assert reason(model, BARE.id) == NOT_PLUGGED
    see(model, hypervisor("hv1", {TAP: BARE.id}), alone(0xA1, {TAP: 1}))
    assert where(model, BARE.id) == at("hv1", TAP), "an id says more than a name"


# --- conntrack zones


def zones(model: Model, chassis: str = "hv1") -> dict[str, int]:
    """The zone of every interface of a chassis."""
    return {binding.interface: binding.zone for binding in model.where(Binding, chassis=chassis)}


def resting(model: Model, chassis: str = "hv1") -> list[int]:
    return sorted(each.zone for each in model.where(Quarantine, chassis=chassis))


def forgotten(model: Model, *numbers: int, chassis: str = "hv1") -> None:
    """The switch has no connections of these zones any more."""
    gone = [model.get(Quarantine, f"{chassis}/{number}") for number in numbers]
    model.apply(Change(model.revision + 1, "", tuple(Write(Quarantine, each.id, each, None) for each in gone if each)))


def rezoned(model: Model, port: str) -> None:
    tx = Transaction(model)
    rezone(tx, port)
    model.apply(Change(model.revision + 1, "", tx.writes()))


def test_every_claim_on_a_chassis_has_a_zone_to_itself() -> None:
    model = cloud(P1, P2)
    see(model, hypervisor("hv1", {"tap1": "p1", "tap2": "p2", "tap3": "nobody"}), hypervisor("hv2", {"tap1": "p2"}))
    assert zones(model) == {"tap1": 1, "tap2": 4, "tap3": 3}, "the older claim on p2 got another zone"
    assert zones(model, "hv2") == {"tap1": 1}
    assert place(model, P1) == Placed("hv1", "tap1", 1)


def test_many_interfaces_at_once_are_recorded_lot_by_lot_those_of_a_network_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bindings, "LOT", 2)
    model = cloud(P1, replace(P1, id="p3"), replace(P2, network_id="blue"), replace(P2, id="p4", network_id="blue"))
    recorded = hypervisor("hv1", {"old": "p0", "tap1": "p9"})
    see(model, recorded)
    seen = hypervisor("hv1", {"tap1": "p1", "tap2": "p2", "tap3": "p3", "tap4": "p4", "tap5": "unknown"})
    told = [
        {claim.interface: claim.port_id for claim in each.claims} for each in portions(model, seen, recorded.claims)
    ]
    assert told == [
        {"old": "p0", "tap1": "p9", "tap5": "unknown", "tap2": "p2"},
        {"old": "p0", "tap1": "p1", "tap5": "unknown", "tap2": "p2", "tap4": "p4"},
        {"tap1": "p1", "tap2": "p2", "tap3": "p3", "tap4": "p4", "tap5": "unknown"},
    ]
    assert [*portions(model, seen, seen.claims[2:])] == [seen], "two are no more than a lot"
    assert [*portions(model, seen, None)] == [seen], "nobody knows which of them are recorded"


def test_a_zone_that_is_given_back_rests_until_the_switch_has_forgotten_it() -> None:
    model = cloud(P1, P2)
    see(model, hypervisor("hv1", {"tap1": "p1", "tap2": "p2"}))
    see(model, hypervisor("hv1", {"tap2": "p2"}))
    assert (zones(model), resting(model)) == ({"tap2": 2}, [1])
    see(model, hypervisor("hv1", {"tap1": "p1", "tap2": "p1"}))
    assert (zones(model), resting(model)) == ({"tap1": 3, "tap2": 4}, [1, 2])
    assert see(model, hypervisor("hv1", {"tap1": "p1", "tap2": "p1"})) == ()
    rezoned(model, "p1")
    assert (zones(model), resting(model)) == ({"tap1": 5, "tap2": 6}, [1, 2, 3, 4])


def test_zones_are_handed_out_round_robin_past_those_that_are_held_or_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bindings, "ZONES", 4)
    model = cloud(P1, P2)
    see(model, hypervisor("hv1", {"tap1": "p1", "tap2": "p2"}))
    rezoned(model, "p2")
    assert (zones(model), resting(model)) == ({"tap1": 1, "tap2": 3}, [2])
    forgotten(model, 2)
    rezoned(model, "p2")
    assert (zones(model), resting(model)) == ({"tap1": 1, "tap2": 4}, [3])
    rezoned(model, "p2")
    assert (zones(model), resting(model)) == ({"tap1": 1, "tap2": 2}, [3, 4])


def test_a_port_is_nowhere_while_its_hypervisor_has_no_zone_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bindings, "ZONES", 1)
    model = cloud(P1, P2)
    both = hypervisor("hv1", {"tap1": "p1", "tap2": "p2"})
    see(model, both)
    assert zones(model) == {"tap1": 1, "tap2": 0}
    assert reason(model, "p2") == "hypervisor hv1 has no conntrack zone left: it holds 1 interfaces"
    seen = hypervisor("hv1", {"tap2": "p2"})
    see(model, seen)
    assert (zones(model), resting(model)) == ({"tap2": 0}, [1]), "the zone rests"
    recorded = observe(Transaction(model), seen)
    forgotten(model, 1)
    assert (recorded, observe(Transaction(model), seen, recorded)) == ((), seen.claims), "it is tried again"
    see(model, seen)
    assert place(model, P2) == Placed("hv1", "tap2", 1)


def test_a_port_without_a_database_is_rezoned_by_the_name_of_its_interface() -> None:
    model = cloud(BARE)
    see(model, alone(0xA1, {TAP: 1}))
    rezoned(model, BARE.id)
    assert (zones(model, SWITCH), resting(model, SWITCH)) == ({TAP: 2}, [1])


def test_a_chassis_that_is_forgotten_leaves_no_zones_behind() -> None:
    model = cloud(P1)
    see(model, hypervisor("hv1", {"tap1": "p1"}))
    rezoned(model, "p1")
    tx = Transaction(model)
    forget(tx, "hv1")
    model.apply(Change(model.revision + 1, "", tx.writes()))
    assert (zones(model), resting(model)) == ({}, [])


# --- what is recorded of a hypervisor


def test_a_report_is_the_whole_picture_of_a_chassis() -> None:
    model = cloud()
    see(model, hypervisor("hv1", problem="weft-encap-ip is missing", encap_ip=None))
    see(model, hypervisor("hv1", bridge_mappings=(("physnet1", "br-ex"),), gateway_priority=5))
    assert model.all(Chassis) == (
        Chassis(
            id="hv1",
            hostname="hv1.example.org",
            encap_ip=Address("192.0.2.11"),
            encap_types=("geneve", "vxlan"),
            bridge="br-int",
            datapath_type="netdev",
            bridge_mappings=(("physnet1", "br-ex"),),
            gateway_priority=5,
        ),
    )


def test_the_ports_of_a_switch_replace_those_it_had_before() -> None:
    model = Model()
    known: dict[str, dict[str, int]] = {}

    def links(chassis: str, ports: dict[str, int]) -> tuple[Write, ...]:
        tx = Transaction(model)
        observe_links(tx, chassis, ports)
        writes, by_difference = tx.writes(), Transaction(model)
        observe_links(by_difference, chassis, ports, known.get(chassis))
        assert {*by_difference.writes()} == {*writes}
        known[chassis] = ports
        model.apply(Change(model.revision + 1, "", writes))
        return writes

    links("hv2", {"tap1": 7})
    links("hv1", {"tap1": 1, "tap2": 2, "tap3": 3})
    writes = links("hv1", {"tap2": 2, "tap3": 9})
    assert [write.id for write in writes] == ["hv1/tap1", "hv1/tap3"]
    assert links("hv1", {"tap3": 9, "tap2": 2}) == ()
    found = [(link.chassis, link.interface, link.ofport) for link in model.all(Link)]
    assert found == [("hv1", "tap2", 2), ("hv1", "tap3", 9), ("hv2", "tap1", 7)]


# --- any history


class AnyHistory(RuleBasedStateMachine):
    """A port belongs to the row that claimed it last; when that goes, to another of its hypervisor, or to nobody.

    A row is an interface and a UUID: with another UUID it is another row. No two databases have one UUID.
    """

    def __init__(self) -> None:
        super().__init__()
        self.model = cloud(P1, P2)
        self.rows: dict[tuple[str, str], Claim] = {}
        self.lost: set[tuple[str, str]] = set()
        self.recorded: dict[str, Sequence[Claim]] = {}

    @rule(
        chassis=st.sampled_from(["hv1", "hv2", "hv3"]),
        claims=st.dictionaries(
            st.sampled_from(["tap1", "tap2"]), st.tuples(st.sampled_from(["p1", "p2"]), st.sampled_from(["a", "b"]))
        ),
    )
    def report(self, chassis: str, claims: dict[str, tuple[str, str]]) -> None:
        seen = tuple(Claim(interface, port, row=f"{chassis} {row}") for interface, (port, row) in claims.items())
        now = {(chassis, claim.interface): claim for claim in seen}
        for spot in [spot for spot in self.rows if spot[0] == chassis and now.get(spot) != self.rows[spot]]:
            del self.rows[spot]
            self.lost.discard(spot)
        for spot, claim in now.items():
            if spot not in self.rows:
                rivals = (other for other, held in self.rows.items() if held.port_id == claim.port_id)
                self.lost |= {other for other in rivals if other[0] != chassis}
                self.rows[spot] = claim
        report = replace(hypervisor(chassis), claims=seen)
        whole, difference = Transaction(self.model), Transaction(self.model)
        observe(whole, report)
        self.recorded[chassis] = observe(difference, report, self.recorded.get(chassis))
        assert difference.writes() == whole.writes()
        see(self.model, report)

    @rule(port=st.sampled_from(["p1", "p2"]))
    def rezone(self, port: str) -> None:
        rezoned(self.model, port)

    @rule(chassis=st.sampled_from(["hv1", "hv2", "hv3"]))
    def forget_connections(self, chassis: str) -> None:
        forgotten(self.model, *resting(self.model, chassis), chassis=chassis)

    @invariant()
    def every_claim_has_a_zone_that_is_nobody_elses_and_does_not_rest(self) -> None:
        for chassis in ("hv1", "hv2", "hv3"):
            held = [*zones(self.model, chassis).values(), *resting(self.model, chassis)]
            assert 0 not in held
            assert len(set(held)) == len(held)

    @rule()
    def restart(self) -> None:
        self.model = Model(self.model.revision, [row for kind in KINDS for row in self.model.all(kind)])

    @invariant()
    def every_port_is_where_its_owner_is(self) -> None:
        for port in ("p1", "p2"):
            found = where(self.model, port)
            owners = [spot for spot, held in self.rows.items() if held.port_id == port and spot not in self.lost]
            if owners:
                assert found == at(*owners[-1])
            else:
                assert isinstance(found, Unplaced)
                assert (found.reason == NOT_PLUGGED) == all(claim.port_id != port for claim in self.rows.values())


TestAnyHistory = AnyHistory.TestCase


def test_a_claim_from_where_the_port_may_not_be_takes_it_from_nobody() -> None:
    cloud = cloudy.Cloud()
    cloud.commit(cloudy.network("red", 100), cloudy.port("vm", "red", "02:00:00:00:00:01", host="hv1"))
    cloud.commit(cloudy.hypervisor(1, "vm"))
    vm = cloud.model.all(Port)[0]
    cloud.commit(cloudy.hypervisor(2, "vm"))
    assert place(cloud.model, vm) == Placed("hv1", "tap-vm", 1)
    cloud.commit(cloudy.hypervisor(2))
    assert place(cloud.model, vm) == Placed("hv1", "tap-vm", 1)


def test_a_port_plugged_ahead_of_its_move_is_there_the_moment_its_host_changes() -> None:
    cloud = cloudy.Cloud()
    cloud.commit(cloudy.network("red", 100), cloudy.port("vm", "red", "02:00:00:00:00:01", host="hv1"))
    cloud.commit(cloudy.hypervisor(1, "vm"))
    cloud.commit(cloudy.hypervisor(2, "vm"))
    cloud.commit(cloudy.port("vm", "red", "02:00:00:00:00:01", host="host2"))
    assert place(cloud.model, cloud.model.all(Port)[0]) == Placed("hv2", "tap-vm", 1)
