"""Guests without a floating IP go out under their router's gateway: what gateways translate, and what goes nowhere."""

from __future__ import annotations

import pytest

from controller.model.records import Port
from tests.apps.outside import GATE_MAC, add_outside
from tests.cloud import Cloud, router


@pytest.fixture
def cloud() -> Cloud:
    """hv2 and hv3 may be the gateway of router r (key 1), which has 172.24.0.10 on ext (key 2)."""
    cloud = Cloud()
    add_outside(cloud)
    return cloud


DOUBTFUL = [
    "table=26,priority=95,ct_state=+inv+trk actions=set_field:0x1b->reg8,goto_table:62",
    "table=33,priority=95,ct_state=+inv+trk actions=set_field:0x1b->reg8,goto_table:62",
]
INSIDE = "table=25,priority=100,ip,reg7=0x1,reg9=0x2 actions=set_field:0x3f->reg8,goto_table:62"
ASKED = "ct_clear,load:0xe000->NXM_NX_REG3[0..15]"
NOT_FORWARDED = "ct_zone=57344,{}reg7=0x1,ct_label=0x0/0xffffffff000000000000000000000000"
OWN = [
    f"table=25,priority=110,ip,nw_dst=172.24.0.10,reg7=0x1,reg9=0x2 actions={ASKED},ct(table=26,zone=NXM_NX_REG3[0..15],nat)",
    "table=26,priority=90,ip,nw_dst=172.24.0.10,reg7=0x1 actions=ct_clear,set_field:0x25->reg8,goto_table:60",
]


def test_a_gateway_translates_and_nothing_passes_untranslated(cloud: Cloud) -> None:
    for chassis in ("hv2", "hv3"):
        assert sorted(cloud.flows(chassis, "snat")) == sorted([
            *DOUBTFUL, INSIDE, *OWN,
            f"table=26,priority=100,ct_state=+trk+dnat,{NOT_FORWARDED.format('')} actions=load:0x1->NXM_NX_REG0[20],goto_table:27",
            f"table=29,priority=100,ip,reg0=0x4/0x4,reg6=0x2,reg7=0x1 actions={ASKED},ct(commit,table=33,zone=NXM_NX_REG3[0..15],nat(src=172.24.0.10))",
            "table=29,priority=95,ipv6,reg0=0x4/0x4,reg6=0x2,reg7=0x1 actions=load:0x0->NXM_NX_REG0[2],resubmit(,30),goto_table:31",
            f"table=33,priority=100,ct_state=+trk+snat,{NOT_FORWARDED.format('reg6=0x2,')} actions=load:0x0->NXM_NX_REG0[2],resubmit(,30),resubmit(,31)",
        ])  # fmt: skip


def test_where_no_gateway_is_nobody_is_translated_and_nobody_outside_begins(cloud: Cloud) -> None:
    assert sorted(cloud.flows("hv1", "snat")) == sorted([*DOUBTFUL, INSIDE])


def test_a_router_that_does_not_translate_routes_and_lets_in(cloud: Cloud) -> None:
    cloud.commit(router("r", external_network_id="ext", enable_snat=False))
    flows = cloud.flows("hv2", "snat")
    assert INSIDE not in flows
    assert not [flow for flow in flows if "commit" in flow]
    routed = "reg0=0x4/0x4,reg6=0x2,reg7=0x1 actions=load:0x0->NXM_NX_REG0[2],resubmit(,30),goto_table:31"
    assert {f"table=29,priority=95,{family},{routed}" for family in ("ip", "ipv6")} <= {*flows}


def test_a_router_without_a_gateway_has_nothing_of_it(cloud: Cloud) -> None:
    cloud.commit(router("r"), lambda tx: tx.delete(Port, "r-ext"))
    assert sorted(cloud.flows("hv2", "snat")) == sorted(DOUBTFUL)
    assert GATE_MAC not in "".join(cloud.flows("hv2"))
