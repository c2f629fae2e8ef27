"""What should leave a cloud and does not, and the like: translation, several next hops, and fragments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cloud import Cloud, hypervisor
from tests.controller.prove.clouds import (
    Fault,
    Told,
    added,
    altered,
    both,
    cloud,
    intended,
    proven,
    removed,
    several,
    ways_out,
)
from tests.test_outside_differential import World as Outside
from tests.test_routing_differential import PLACES
from tests.test_routing_differential import World as Routed

OUT, IN = "table=29", "table=25"


@dataclass(frozen=True, slots=True)
class Planted:
    """A fault on a hypervisor of a cloud; by which claim it is found, what is named, and who sends what packet."""

    what: str
    made: str
    where: str
    fault: Fault
    claim: str
    named: str
    sender: str
    packet: str
    together: int = 1
    """Those of a number are planted at once: none hides another."""

    @property
    def row(self) -> str:
        """It in the table of the documentation."""
        return f"| {self.what} | {self.claim} |"


def hop(last: str) -> str:
    """A next hop in a bucket."""
    return f"set_field:0xa0{last}->reg4"


R1, R2, A2, A3 = hop("80001"), hop("80002"), hop("0000c"), hop("0000d")
FAULTS = (
    Planted("a floating IP that is not translated, coming in", "ways_out", "hv1", removed(IN, "172.24.0.101"), "missing", "floating IP f1", "physical network phys", "nw_dst=172.24.0.101"),
    Planted("a floating IP that is not translated, going out", "ways_out", "hv1", removed(OUT, "nat(src=172.24.0.101)"), "missing", "floating IP f1", "port vm1", "nw_src=10.0.0.1,"),
    Planted("a floating IP for a wrong address", "ways_out", "hv1", altered("nat(dst=10.0.0.1)", "nat(dst=10.0.0.2)", IN), "missing", "floating IP f1", "physical network phys", "nw_dst=172.24.0.101", 2),
    Planted("a guest under a wrong floating IP", "ways_out", "hv1", altered("nat(src=172.24.0.101)", "nat(src=172.24.0.103)", OUT), "missing", "floating IP f1", "port vm1", "nw_src=10.0.0.1,", 2),
    Planted("a floating IP of a gateway that is not the best", "ways_out", "hv4", altered("nat(dst=10.0.0.3)", "nat(dst=10.0.0.2)", IN), "missing", "floating IP f3", "physical network phys", "nw_dst=172.24.0.103"),
    Planted("a floating IP from a wrong MAC address", "ways_out", "hv1", altered("02:00:00:00:0e:01->eth_src", "02:00:00:00:0e:10->eth_src", "table=33"), "missing", "floating IP f1", "port vm1", "nw_src=10.0.0.1,", 3),
    Planted("a floating IP of another tenant's guest", "ways_out", "hv1", altered("load:0x1->NXM_NX_REG0[20]", "set_field:0x2->reg7,load:0x1->NXM_NX_REG0[20]", "table=26", "nw_dst=10.0.0.1"), "excess", "b1", "physical network phys", "nw_dst=172.24.0.101", 3),
    Planted("an address outside that nobody has", "ways_out", "hv2", added("table=25,priority=999,ip,nw_dst=172.24.0.77,reg7=0x1,reg9=0x3 actions=set_field:10.0.0.2->ip_dst,goto_table:27"), "excess", "vm2", "physical network phys", "nw_dst=172.24.0.77"),
    Planted("a missing port forwarding", "ways_out", "hv2", removed(IN, "tcp_dst=8080"), "missing", "port forwarding p1", "physical network phys", "tcp_dst=8080"),
    Planted("a port forwarding to a wrong port", "ways_out", "hv2", altered("10.0.0.2:80)", "10.0.0.2:81)", IN), "missing", "port forwarding p1", "physical network phys", "tcp_dst=8080", 2),
    Planted("a port forwarding of a wrong port", "ways_out", "hv2", altered("tcp_dst=8080", "tcp_dst=8082", IN), "excess", "vm2", "physical network phys", "tcp_dst=8082", 3),
    Planted("guests under a wrong address", "ways_out", "hv2", altered("nat(src=172.24.0.10)", "nat(src=172.24.0.11)", OUT), "missing", "gateway of router r", "port vm2", "nw_src=10.0.0.2,"),
    Planted("guests that are not translated", "ways_out", "hv2", altered("ct(commit,table=33,zone=NXM_NX_REG3[0..15],nat(src=172.24.0.10))", "resubmit(,30),goto_table:31", OUT), "excess", "gateway of router r", "port vm2", "nw_src=10.0.0.2,", 2),
    Planted("a subnet let out that has no gateway", "ways_out", "hv1", added("table=27,priority=100,ip,reg7=0x2 actions=set_field:0xac180001->reg4,set_field:0x1->reg7,set_field:0x3->reg6,set_field:02:00:00:00:0e:10->eth_src,load:0x0->NXM_NX_REG0[5],goto_table:29"), "excess", "network ext", "port b1", "nw_src=10.0.0.1,"),
    Planted("a missing next hop of several", "several", "hv1", altered(f"bucket=weight:1,actions={A2},set_field:0x1->reg6,set_field:02:00:00:00:0a:01->eth_src,load:0x0->NXM_NX_REG0[5],resubmit(,28)", "", "group_id"), "missing", "a2", "port a1", "nw_dst=10.9."),
    Planted("a next hop of several that no route has", "several", "hv1", altered(A2, A3, "group_id"), "excess", "a3", "port a1", "nw_dst=10.9.", 2),
    Planted("a missing router of several", "several", "hv1", altered(R2, R1, "group_id"), "missing", "route 10.1.0.0/24 of router r via 10.8.0.2", "port a1", "nw_dst=10.1.0.4"),
    Planted("a router beside those of a route", "several", "hv1", altered(R2, hop("80003"), "group_id"), "excess", "vm4", "port a1", "nw_dst=10.1.0.4", 2),
    Planted("later fragments denied, the first allowed", "cloud", "hv1", removed("table=14", "ip_frag=later"), "missing", "vm2", "port vm1", "ip_frag=later"),
    Planted("later fragments allowed, the first denied", "cloud", "hv1", altered(",ct_nw_proto=6", "", "table=14", "ip_frag=later"), "excess", "vm2", "port vm1", "ip_frag=later", 2),
    Planted("first fragments denied, whole packets allowed", "cloud", "hv1", added("table=44,priority=999,ip,ip_frag=first actions=drop"), "missing", "vm2", "port vm1", "ip_frag=first", 3),
)  # fmt: skip
CLOUDS: dict[str, Callable[[], Cloud]] = {"ways_out": ways_out, "several": several, "cloud": cloud}
MADE: dict[str, Cloud] = {}


def made(name: str) -> Cloud:
    """A cloud, made once."""
    if name not in MADE:
        MADE[name] = CLOUDS[name]()
    return MADE[name]


@pytest.mark.parametrize(("name", "together"), sorted({(each.made, each.together) for each in FAULTS}))
def test_faults_are_found_and_named(name: str, together: int) -> None:
    planted = [each for each in FAULTS if (each.made, each.together) == (name, together)]
    faults: dict[str, Fault] = {}
    for each in planted:
        faults[each.where] = both(faults[each.where], each.fault) if each.where in faults else each.fault
    found = intended(made(name), faults)
    for each in planted:
        assert any(is_about(told, each) for told in found), (each.what, found)


def is_about(told: Told, planted: Planted) -> bool:
    """Is it against that claim, does it name what it should, with such a packet?"""
    said = (told.claim, told.sender) == (planted.claim, planted.sender)
    return said and planted.named in told.sentence and planted.packet in told.packet


@pytest.mark.parametrize("name", [*CLOUDS])
def test_nothing_is_found_where_nothing_was_planted(name: str) -> None:
    assert intended(made(name)) == []


def test_several_next_hops_are_proven() -> None:
    answer = proven(made("several"))
    assert (answer.violations, answer.notes, answer.unjudged) == ((), (), {})


def test_what_is_not_judged_is_counted() -> None:
    unjudged: dict[tuple[str, str], None] = {}
    intended(made("ways_out"), unjudged=unjudged)
    assert [*unjudged] == [("external networks, as guests ask for addresses there", "ext")]


SOAK = pytest.mark.skipif(settings().max_examples < 1000, reason="takes seconds a cloud: make soak")
FEW = settings(max_examples=max(3, settings().max_examples // 30))


@SOAK
@pytest.mark.hypothesis
def test_ways_out_are_proven() -> None:
    answer = proven(made("ways_out"))
    assert (answer.violations, answer.notes) == ((), ())
    assert answer.unjudged == {"external networks, as guests ask for addresses there": 1}


@SOAK
@FEW
@given(st.randoms(use_true_random=True), st.integers(0, 3))
def test_all_that_the_apps_make_of_any_ways_out_is_wanted(chance: Random, changes: int) -> None:
    made, world = Cloud(), Outside(chance)
    made.commit(*world.begin())
    for _ in range(changes):
        made.commit(*world.change())
    assert intended(made) == []


@SOAK
@FEW
@given(st.randoms(use_true_random=True), st.integers(0, 3))
def test_all_that_the_apps_make_of_any_routes_is_wanted(chance: Random, changes: int) -> None:
    made, world = Cloud(), Routed(chance)
    made.commit(*world.begin(), *(hypervisor(number, *names) for number, names in PLACES.items()), hypervisor(3))
    for _ in range(changes):
        made.commit(world.change())
    assert intended(made) == []


def test_the_documentation_has_this_table() -> None:
    """Row by row, and no other."""
    text = (Path(__file__).parents[3] / "docs/debugging.md").read_text()
    _, _, told = text.partition("### What is found of ways out, next hops and fragments\n")
    rows = [line for line in told.partition("\n#")[0].splitlines() if line.startswith("| ")]
    assert rows[1:] == [planted.row for planted in FAULTS]
