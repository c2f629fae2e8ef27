"""Random clouds are proven as they should be, and what the proof wants to arrive is what the judge by the model says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.model.records import Port
from controller.model.store import Rows
from controller.prove.cloud import Cloud as Proved
from controller.prove.promise import Promise
from controller.prove.sets import Unforeseen
from controller.prove.wanted import Wanted
from tests.apps.outside import add_outside
from tests.cloud import Cloud, egress, group, heard, hypervisor, ingress, network, port
from tests.controller.prove.clouds import added, altered, cloud, held, proven, routed
from tests.controller.prove.packets import alone
from tests.oracle import Message, Oracle
from tests.routing_oracle import ends
from tests.test_differential import HOMES, World
from tests.test_routing_differential import PLACES
from tests.test_routing_differential import World as Routed

FEW = settings(max_examples=max(3, settings().max_examples // 30))
"""Each takes a second, and asks about every packet there is."""


@FEW
@given(st.sampled_from(["netdev", "system"]), st.randoms(use_true_random=True))
def test_what_the_apps_make_of_any_groups_and_pairs_is_proven(datapath: str, chance: Random) -> None:
    made, world = Cloud(), World(chance)
    made.commit(network("red", 100), *world.begin())
    made.commit(*(hypervisor(number, *names, datapath=datapath) for number, names in HOMES.items()))
    made.commit(world.change())
    answer = proven(made)
    assert (answer.violations, answer.notes) == ((), ())
    proof = Proved(made.model, held(made))
    wanted = Wanted(proof, Promise(proof))
    for _ in range(40):
        agrees(made, proof, wanted, world.message(), switched)


Judge = Callable[[Rows, Message], set[str | None]]
"""Whom a packet may reach, by the model alone."""


def agrees(made: Cloud, proof: Proved, wanted: Wanted, message: Message, judge: Judge) -> int:
    """The judge by the model says of a packet what the proof wants, wherever that says anything: of how many ports.

    Of what comes from another hypervisor that is whether it should arrive if anybody there sends it, from any MAC
    address.
    """
    packet, sender, told = alone(proof, proof.by_port[message.sender], message), proof.by_port[message.sender], 0
    for receiver, _ in wanted.receivers():
        if receiver.id == message.sender:
            continue
        asked, should = wanted.judged(message.sender, receiver.id)
        if packet & asked != proof.space.nothing:
            at = proof.by_port[receiver.id]
            sent = as_anybody(made, proof, message, at.chassis) if sender.chassis != at.chassis else [message]
            arrives = any(receiver.id in judge(made.model, each) for each in sent)
            assert (packet & should != proof.space.nothing) == arrives, (message, receiver.id)
            told += 1
    return told


def switched(rows: Rows, message: Message) -> set[str | None]:
    """On one network."""
    return {Oracle().judge(rows, message).receiver}


def routed_to(rows: Rows, message: Message) -> set[str | None]:
    """Through routers: by any next hop of several."""
    return {end.receiver for end in ends(rows, message)}


def test_what_crosses_is_wanted_from_whoever_may_send_it_by_whatever_mac_address() -> None:
    """Whose address it is the judge by the model is told, too: vm2 has a pair, and vm1 sends as that."""
    made = cloud()
    made.commit(group("web", ingress("tcp", 80), egress()))
    pair = ("02:00:00:00:00:99", "10.9.0.7")
    made.commit(port("vm2", "red", "02:00:00:00:00:02", "10.0.0.2", groups=["web"], pairs=[pair]))
    made.commit(port("vm4", "red", "02:00:00:00:00:04", "10.0.0.4", groups=["web"]), hypervisor(1, "vm1", "vm2", "vm4"))
    proof = Proved(made.model, held(made))
    wanted = Wanted(proof, Promise(proof))
    forged = Message("vm1", "02:00:00:00:00:01", "02:00:00:00:00:03", pair[1], "10.0.0.3", 6, 1000, 80)
    for message, receiver, crosses in (
        (forged, "vm3", True),
        (replace(forged, source="10.9.0.8"), "vm3", False),
        (replace(forged, target_mac="02:00:00:00:00:04", target="10.0.0.4"), "vm4", False),
    ):
        _, should = wanted.judged("vm1", receiver)
        assert (alone(proof, proof.by_port[message.sender], message) & should != proof.space.nothing) == crosses
        agrees(made, proof, wanted, message, switched)


def as_anybody(made: Cloud, proof: Proved, message: Message, chassis: str) -> Iterator[Message]:
    """A message as all ports of its network but those of a hypervisor would send it, from each of their MAC
    addresses."""
    network = proof.by_port[message.sender].network_id
    for id, at in proof.by_port.items():
        port = made.model.get(Port, id)
        if port is not None and at.network_id == network and at.chassis != chassis:
            for mac in (message.source_mac, port.mac_address, *(p.mac_address for p in port.allowed_address_pairs)):
                yield replace(message, sender=id, source_mac=mac)


@settings(max_examples=max(1, settings().max_examples // 30))
@given(st.randoms(use_true_random=True))
def test_what_the_apps_make_of_any_routers_is_proven(chance: Random) -> None:
    made, world = Cloud(), Routed(chance)
    made.commit(*world.begin(), *(hypervisor(number, *names) for number, names in PLACES.items()), hypervisor(3))
    assert proven(made).violations == ()


@settings(max_examples=max(4, settings().max_examples // 30))
@given(st.randoms(use_true_random=True), st.integers(0, 3))
def test_what_is_wanted_of_any_routers_is_what_the_judge_by_the_model_says(chance: Random, changes: int) -> None:
    made, world = Cloud(), Routed(chance)
    made.commit(*world.begin(), *(hypervisor(number, *names) for number, names in PLACES.items()), hypervisor(3))
    for _ in range(changes):
        made.commit(world.change())
    proof = Proved(made.model, held(made))
    wanted = Wanted(proof, Promise(proof))
    for _ in range(40):
        message = replace(world.message(), size=100)
        if message.sender in proof.by_port:
            agrees(made, proof, wanted, message, routed_to)


def test_a_gateway_to_the_outside_is_proven() -> None:
    made = Cloud()
    add_outside(made)
    made.commit(port("vm1", "red", "02:00:00:00:00:01", "10.0.0.1", guarded=False))
    made.commit(heard("ext", "172.24.0.1", "02:00:00:00:0f:01", ""))
    assert proven(made).violations == ()


def test_two_hypervisors_that_send_to_each_other_for_ever_are_found() -> None:
    back = "table=2,priority=999,tun_id=0x64 actions=set_field:192.0.2.{}->tun_dst,in_port"
    answer = proven(cloud(), hv1=added(back.format(2)), hv2=added(back.format(1)))
    assert "loop" in {each.claim for each in answer.violations}


def test_what_nobody_can_tell_may_be_anything_and_is_told() -> None:
    answer = proven(cloud(), hv1=added("table=0,priority=9999,in_port=10 actions=sorcery(7)"))
    assert answer.notes == ("hv1: action sorcery(7) is not known here: taken to send packets out of every port",)
    assert "isolation" in {each.claim for each in answer.violations}
    unsure = proven(cloud(), hv1=added("table=0,priority=9999,in_port=10,moon=full actions=output:12"))
    assert "isolation" in {each.claim for each in unsure.violations}


def test_numbers_that_nobody_foresaw_are_followed() -> None:
    """Which keys packets come to have is guessed by the flows that test for keys; here one is copied behind its back."""
    fault = added(
        "table=36,priority=300,reg6=0x1 actions=move:NXM_NX_REG6[]->NXM_NX_REG7[],goto_table:37",
        "table=37,priority=300,eth_dst=02:00:00:00:00:02,reg7=0x1 actions=set_field:0x4->reg2,goto_table:50",
        "table=37,priority=300,eth_dst=02:00:00:00:00:03,reg7=0x1 actions=set_field:0x2->reg2,goto_table:50",
    )
    made = cloud()
    alone = Proved(made.model, held(made, hv1=fault)).focused(["red"], {})
    with pytest.raises(Unforeseen, match="key"):
        alone.survey(crowds=["red"])
    answer = proven(made, at_once=1, hv1=fault)
    assert "b1" in {each.receiver_port for each in answer.violations if each.claim == "isolation"}


def test_networks_are_followed_together_as_they_are_alone() -> None:
    fault = altered("set_field:0x64->tun_id", "set_field:0xc8->tun_id")
    apart, together = (
        {
            (each.claim, each.sender_port, each.receiver_port)
            for each in proven(cloud(), at_once=most, hv1=fault).violations
        }
        for most in (1, 100)
    )
    assert apart == together != set()


def test_only_those_reach_a_port_that_are_said_to() -> None:
    made = cloud()
    assert proven(made, reaches="vm1", only=["vm2", "vm3"]).violations == ()
    (found,) = proven(made, reaches="vm1", only=["vm2"], followed=1).violations
    assert (found.claim, found.sender_port, found.receiver_port) == ("reaches", "vm3", "vm1")
    assert [met.flow.partition(" actions=")[0] for met in found.way][-1].endswith("reg2=0x1")


def test_routers_take_what_is_for_others_to_them_and_no_more() -> None:
    made = routed()
    assert proven(made).violations == ()
    assert proven(made, reaches="vm4", only=["vm1"]).violations == ()
    (found,) = proven(made, reaches="vm4", followed=1).violations
    assert (found.sender_port, found.receiver_port) == ("vm1", "vm4")
    assert (found.way[0].chassis, found.way[-1].chassis) == ("hv1", "hv2")
