"""Flows by their form: byte for byte what they are when spelled out, and spelled out when they have none."""

from __future__ import annotations

import pytest
from hypothesis import given

from controller.errors import Undeclared
from controller.flows import fields as f
from controller.flows import pipeline as p
from controller.flows.flow import ANY, Conjunction, Flow, Output, Set, Table, ToGroup, goto
from controller.model.records import Address, Mac
from controller.southbound import openflow
from tests.controller.southbound import strategies


@given(strategies.flows())
def test_a_flow_by_its_form_is_what_it_is_spelled_out(flow: Flow) -> None:
    assert openflow._formed(flow) in (openflow._spelled(flow), None)


def test_flows_that_differ_in_numbers_have_one_form() -> None:
    openflow._form.cache_clear()
    mac, other = Mac("02:00:00:00:00:01"), Mac("fe:ff:ff:ff:ff:ff")
    for net, eth_dst, key in ((1, mac, 2), (0xFFFFFF, other, 0xFFFFFF), (0, mac, 0)):
        here = p.NET(net) & f.ETH_DST(eth_dst) & p.SRC(key)
        flow = Flow(p.L2_LOOKUP, "own_mac", here, (p.WHY.set(p.Why.OWN_MAC), goto(p.DROP)))
        assert openflow._formed(flow) == openflow._spelled(flow)
    assert openflow._form.cache_info().misses == 1


def test_parts_of_one_register_have_their_places_in_it() -> None:
    table = Table(200, "both", "", {"any": 1}, frozenset({p.NEIGH_HIT, p.FROM_TUN}))
    for hit, from_tun in ((1, 1), (1, 0), (0, 1)):
        flow = Flow(table, "any", p.NEIGH_HIT(hit) & p.FROM_TUN(from_tun))
        assert openflow._formed(flow) == openflow._spelled(flow)


@pytest.mark.parametrize(
    "flow",
    [
        Flow(p.NEIGH, "neighbour", p.NET(1) & p.NH6(Address("fd00::1"))),
        Flow(p.DELIVER, "port", p.DST(7), (Conjunction(5, 1, 2),)),
        Flow(p.CLASSIFY, "miss", ANY, (Set(p.ENCAP, 8), goto(p.DROP))),
    ],
    ids=["a number in pieces", "any number of actions", "a number larger than its bits"],
)
def test_a_flow_without_a_form_is_spelled_out(flow: Flow) -> None:
    assert openflow._formed(flow) is None
    content, start = openflow._spelled(flow)
    encoded = openflow.encode_flow(flow, 1)
    assert content[3:start] == encoded.match
    assert content[start:] == encoded.instructions


@pytest.mark.parametrize("action", [Output(1 << 32), Output(-1), ToGroup(1 << 64, p.FLOOD)], ids=str)
def test_a_number_that_fits_nowhere_is_refused_though_others_of_its_form_fit(action: Output | ToGroup) -> None:
    table, reason = (p.DELIVER, "port") if isinstance(action, Output) else (p.L2_BUM, "flood")
    fits = Output(1) if isinstance(action, Output) else ToGroup(p.FLOOD.id(1), p.FLOOD)
    assert openflow._formed(Flow(table, reason, ANY, (fits,))) is not None
    with pytest.raises(Undeclared):
        openflow.encode_flow(Flow(table, reason, ANY, (action,)), 1)
