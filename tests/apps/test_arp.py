"""ARP: every request is answered, or dropped with a reason, where the guest is."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cloud import Cloud, no_port, port

VIRTUAL = "00:00:5e:00:01:0a"


def test_one_flow_turns_any_request_into_its_reply(cloud: Cloud) -> None:
    everywhere = [flow for flow in cloud.flows("hv1", "arp") if flow.startswith(("table=8,priority=100", "table=9"))]
    assert everywhere == [
        "table=8,priority=100,arp,arp_op=1 actions=move:NXM_OF_ARP_TPA[]->NXM_NX_REG4[],resubmit(,30),resubmit(,9)",
        "table=9,priority=100,arp,arp_op=1,reg0=0x20/0x20 actions=set_field:2->arp_op,"
        "move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],move:NXM_OF_ETH_DST[]->NXM_NX_ARP_SHA[],"
        "move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],move:NXM_NX_REG4[]->NXM_OF_ARP_SPA[],"
        "move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],move:NXM_NX_ARP_SHA[]->NXM_OF_ETH_SRC[],in_port",
        "table=9,priority=105,arp,arp_op=1,reg0=0x22/0x22 actions=set_field:2->arp_op,"
        "move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],move:NXM_OF_ETH_DST[]->NXM_NX_ARP_SHA[],"
        "move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],move:NXM_NX_REG4[]->NXM_OF_ARP_SPA[],"
        "move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],move:NXM_NX_ARP_SHA[]->NXM_OF_ETH_SRC[],"
        "load:0x1->NXM_NX_REG0[20],goto_table:54",
    ]


def test_an_address_of_a_port_is_known_wherever_its_network_is(cloud: Cloud) -> None:
    neighbour = (
        "table=30,priority=100,reg4=0xa000003,reg6=0x1 "
        "actions=set_field:02:00:00:00:00:03->eth_dst,load:0x1->NXM_NX_REG0[5]"
    )
    assert neighbour in cloud.flows("hv1", "arp")
    assert neighbour in cloud.flows("hv2", "arp")


def own(cloud: Cloud) -> list[str]:
    """What becomes of what a port says of its own IPv4 addresses."""
    return [flow for flow in cloud.flows("hv2", "arp") if "reg1=0x3" in flow]


def test_a_port_gets_no_answer_for_its_only_address_and_is_heard_when_it_announces_it(cloud: Cloud) -> None:
    assert own(cloud) == ["table=8,priority=110,arp,arp_tpa=10.0.0.3,reg1=0x3 actions=goto_table:34"]
    assert [flow for flow in cloud.flows("hv2", "arp") if flow.startswith("table=34")] == [
        "table=34,priority=0 actions=set_field:0x2f->reg8,goto_table:60",
        "table=34,priority=100,arp,arp_op=1,arp_spa=0.0.0.0 actions=set_field:0x7->reg8,goto_table:62",
    ]


@pytest.mark.parametrize(
    "more",
    [{"pairs": [("02:00:00:00:00:03", "10.9.0.0/16")]}, {"pairs": [(VIRTUAL, "0.0.0.0/0")]}, {"guarded": False}],
)
def test_a_port_that_may_speak_as_others_announces_its_address_by_naming_it_twice(
    cloud: Cloud, more: dict[str, Any]
) -> None:
    cloud.commit(port("vm3", "red", "02:00:00:00:00:03", "10.0.0.3", **more))
    assert [flow for flow in own(cloud) if "10.0.0.3" in flow] == [
        "table=8,priority=110,arp,arp_op=1,arp_tpa=10.0.0.3,reg1=0x3 actions=set_field:0x7->reg8,goto_table:62",
        "table=8,priority=115,arp,arp_spa=10.0.0.3,arp_tpa=10.0.0.3,reg1=0x3 "
        "actions=set_field:0x2f->reg8,goto_table:60",
    ]


def test_a_message_that_is_no_request_is_dropped(cloud: Cloud) -> None:
    assert "table=8,priority=90,arp actions=set_field:0x8->reg8,goto_table:62" in cloud.flows("hv1", "arp")


def test_an_address_without_a_plugged_port_is_unknown(cloud: Cloud) -> None:
    cloud.commit(port("vm4", "red", "02:00:00:00:00:04", "10.0.0.4"))
    assert cloud.sent("hv1") == []
    assert cloud.sent("hv2") == []


def test_a_deleted_port_is_forgotten_everywhere(cloud: Cloud) -> None:
    cloud.commit(no_port("vm3"))
    assert not [flow for flow in cloud.flows("hv1") if "reg4=0xa000003" in flow or "02:00:00:00:00:03" in flow]
    assert not [flow for flow in cloud.flows("hv2") if "reg6=0x1" in flow]
