"""Flows by the template of their form: byte for byte what they are when spelled out, and spelled out without one."""

from __future__ import annotations

import gc

import pytest
from hypothesis import given

from controller.errors import Undeclared
from controller.flows import fields as f
from controller.flows import flow as flows
from controller.flows import pipeline as p
from controller.flows.action import Conjunction, Output, Table, ToGroup, Translate, Untrack, goto
from controller.flows.flow import Flow
from controller.flows.match import ANY, Set
from controller.model.records import Address, Mac
from controller.southbound.forms import spelled, template
from controller.southbound.openflow import encode_flow
from tests.controller.southbound import strategies


def spelled_out(flow: Flow) -> bool:
    """Is it encoded as it is spelled out?"""
    encoded = encode_flow(flow, 1)
    return (encoded.body, encoded.start) == spelled(flow)


@given(strategies.flows())
def test_a_flow_by_its_template_is_what_it_is_spelled_out(flow: Flow) -> None:
    assert spelled_out(flow)


@given(strategies.flows())
def test_a_form_and_its_numbers_are_the_flow(flow: Flow) -> None:
    again = flow.form.flow(flow.numbers)
    assert (again, str(again), again.match, again.actions) == (flow, str(flow), flow.match, flow.actions)


def test_flows_that_differ_in_numbers_have_one_form() -> None:
    mac, other = Mac("02:00:00:00:00:01"), Mac("fe:ff:ff:ff:ff:ff")
    forms = set()
    for net, eth_dst, key in ((1, mac, 2), (0xFFFFFF, other, 0xFFFFFF), (0, mac, 0)):
        here = p.NET(net) & f.ETH_DST(eth_dst) & p.SRC(key)
        flow = Flow(p.L2_LOOKUP, "own_mac", here, (p.WHY.set(p.Why.OWN_MAC), goto(p.DROP)))
        assert template(flow.form).size
        assert spelled_out(flow)
        forms.add(flow.form)
    assert len(forms) == 1


def test_parts_of_one_register_have_their_places_in_it() -> None:
    table = Table(200, "both", "", {"any": 1}, frozenset({p.ZONE, p.FROM_TUN}))
    for zone, from_tun in ((1, 1), (0xFFFF, 0), (0, 1)):
        flow = Flow(table, "any", p.ZONE(zone) & p.FROM_TUN(from_tun))
        assert template(flow.form).size
        assert spelled_out(flow)


@pytest.mark.parametrize(
    "flow",
    [
        Flow(p.NEIGH, "neighbour", p.NET(1) & p.NH6(Address("fd00::1"))),
        Flow(p.DELIVER, "port", p.DST(7), (Conjunction(5, 1, 2),)),
    ],
    ids=["a number in pieces", "any number of actions"],
)
def test_a_form_without_a_template_is_spelled_out(flow: Flow) -> None:
    assert not template(flow.form).size
    assert spelled_out(flow)


@pytest.mark.parametrize(
    "action", [Output(1 << 32), Output(-1), ToGroup(1 << 64, p.FLOOD), Set(p.DST, 1 << 32)], ids=str
)
def test_a_number_that_fits_nowhere_is_refused_though_others_of_its_form_fit(action: Output | ToGroup | Set) -> None:
    table, reason = {
        Output: (p.DELIVER, "port"), ToGroup: (p.L2_BUM, "flood"), Set: (p.L2_LOOKUP, "local")
    }[type(action)]  # fmt: skip
    flow = Flow(table, reason, ANY, (action,))
    assert template(flow.form).size
    with pytest.raises(Undeclared):
        encode_flow(flow, 1)


def test_a_form_goes_with_its_last_flow_and_comes_back_as_it_was() -> None:
    """An address that is translated is a part of a form, and there is no end to addresses."""
    before = len(flows._forms)
    held = [translated(number) for number in range(50)]
    assert len(flows._forms) >= before + 50
    texts = [str(each) for each in held]
    del held
    gc.collect()
    assert len(flows._forms) <= before
    assert [str(translated(number)) for number in range(50)] == texts
    assert spelled_out(translated(7))


def translated(number: int) -> Flow:
    out = Translate(p.ZONE, p.L3_SNATTED, source=Address(f"203.0.113.{number}"))
    return Flow(p.L3_SNAT, "floating", p.RTR(1), (Untrack(), p.ZONE.set(3), out))
