"""Neighbour discovery: every solicitation is answered, or dropped with a reason, where the guest is."""

from __future__ import annotations

from controller.flows.fields import link_local
from controller.model.records import Mac
from tests.cloud import Cloud


def test_one_flow_turns_any_solicitation_into_its_advertisement(cloud: Cloud) -> None:
    flows = [
        flow for flow in cloud.flows("hv1", "nd") if flow.startswith(("table=8,priority=100", "table=9,", "table=10"))
    ]
    assert flows == [
        "table=10,priority=100,ipv6,nw_proto=58,icmpv6_type=136 actions=move:NXM_OF_ETH_DST[]->NXM_NX_ND_TLL[],"
        "move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],move:NXM_NX_ND_TLL[]->NXM_OF_ETH_SRC[],in_port",
        "table=10,priority=105,ipv6,nw_proto=58,icmpv6_type=136,reg0=0x2/0x2 "
        "actions=move:NXM_OF_ETH_DST[]->NXM_NX_ND_TLL[],move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],"
        "move:NXM_NX_ND_TLL[]->NXM_OF_ETH_SRC[],load:0x1->NXM_NX_REG0[20],goto_table:54",
        "table=10,priority=110,ipv6,nw_proto=58,ipv6_dst=ff02::1,icmpv6_type=136 "
        "actions=move:NXM_OF_ETH_DST[]->NXM_NX_ND_TLL[],set_field:33:33:00:00:00:01->eth_dst,"
        "move:NXM_NX_ND_TLL[]->NXM_OF_ETH_SRC[],in_port",
        "table=10,priority=115,ipv6,nw_proto=58,ipv6_dst=ff02::1,icmpv6_type=136,reg0=0x2/0x2 "
        "actions=move:NXM_OF_ETH_DST[]->NXM_NX_ND_TLL[],set_field:33:33:00:00:00:01->eth_dst,"
        "move:NXM_NX_ND_TLL[]->NXM_OF_ETH_SRC[],load:0x1->NXM_NX_REG0[20],goto_table:54",
        "table=8,priority=100,ipv6,nw_proto=58,icmpv6_type=135 "
        "actions=move:NXM_NX_ND_TARGET[]->NXM_NX_XXREG3[],resubmit(,30),resubmit(,9)",
        "table=9,priority=100,ipv6,nw_proto=58,icmpv6_type=135,reg0=0x20/0x20 "
        "actions=move:NXM_NX_IPV6_SRC[]->NXM_NX_IPV6_DST[],move:NXM_NX_XXREG3[]->NXM_NX_IPV6_SRC[],"
        "set_field:255->nw_ttl,set_field:136->icmpv6_type,set_field:0x60000000->nd_reserved,"
        "set_field:2->nd_options_type,goto_table:10",
        "table=9,priority=110,ipv6,nw_proto=58,ipv6_src=::,icmpv6_type=135,reg0=0x20/0x20 "
        "actions=set_field:ff02::1->ipv6_dst,move:NXM_NX_XXREG3[]->NXM_NX_IPV6_SRC[],set_field:255->nw_ttl,"
        "set_field:136->icmpv6_type,set_field:0x20000000->nd_reserved,set_field:2->nd_options_type,goto_table:10",
        "table=9,priority=90,ipv6,nw_proto=58,icmpv6_type=135 actions=set_field:0x11->reg8,goto_table:62",
    ]


def test_a_port_is_known_by_its_addresses_and_its_link_local_one_wherever_its_network_is(cloud: Cloud) -> None:
    neighbours = [
        "table=30,priority=100,reg6=0x1,xxreg3=0xfd000000000000000000000000000003 "
        "actions=set_field:02:00:00:00:00:03->eth_dst,load:0x1->NXM_NX_REG0[5]",
        "table=30,priority=100,reg6=0x1,xxreg3=0xfe80000000000000000000fffe000003 "
        "actions=set_field:02:00:00:00:00:03->eth_dst,load:0x1->NXM_NX_REG0[5]",
    ]
    for chassis in ("hv1", "hv2"):
        assert [flow for flow in cloud.flows(chassis, "nd") if flow.startswith("table=30")] == neighbours


def test_a_port_gets_no_answer_for_its_own_address(cloud: Cloud) -> None:
    assert [flow for flow in cloud.flows("hv2", "nd") if flow.startswith("table=8,priority=110")] == [
        "table=8,priority=110,ipv6,nw_proto=58,icmpv6_type=135,nd_target=fd00::3,reg1=0x3 "
        "actions=set_field:0x7->reg8,goto_table:62",
        "table=8,priority=110,ipv6,nw_proto=58,icmpv6_type=135,nd_target=fe80::ff:fe00:3,reg1=0x3 "
        "actions=set_field:0x7->reg8,goto_table:62",
    ]


def test_what_a_port_announces_of_itself_is_heard(cloud: Cloud) -> None:
    assert [flow for flow in cloud.flows("hv2", "nd") if flow.startswith("table=8,priority=115")] == [
        f"table=8,priority=115,ipv6,nw_proto=58,ipv6_dst=ff02::1,icmpv6_type=136,nd_target={own},reg1=0x3 "
        "actions=set_field:0x2f->reg8,goto_table:60"
        for own in ("fd00::3", "fe80::ff:fe00:3")
    ]


def test_advertisements_are_dropped_and_other_icmpv6_is_not(cloud: Cloud) -> None:
    assert [flow for flow in cloud.flows("hv1", "nd") if flow.startswith("table=8,priority=90")] == [
        "table=8,priority=90,ipv6,nw_proto=58,icmpv6_type=136 actions=set_field:0x12->reg8,goto_table:62",
    ]


def test_the_link_local_address_is_the_modified_eui64_of_the_mac() -> None:
    assert link_local(Mac("fa:16:3e:11:22:33")) == "fe80::f816:3eff:fe11:2233"
