"""Physical networks: how frames come from the wire and go to it, and where nothing of that stands."""

from __future__ import annotations

import pytest

from tests.cloud import Cloud, hypervisor, network, port, wire

MACS = {name: f"02:00:00:00:00:0{n}" for n, name in enumerate(("vm1", "vm2", "vm3", "vm4"), start=1)}


@pytest.fixture
def cloud() -> Cloud:
    """VLAN 101 and the flat network of physnet1: vm1 (VLAN) and vm4 (flat) on hv1, vm2 (VLAN) on hv2; hv3 maps nothing.

    Network over is an overlay; vm3 of it is on hv3.
    """
    cloud = Cloud()
    cloud.commit(wire("vlan", 101), wire("flat", None), network("over", 100))
    for name, of in (("vm1", "vlan"), ("vm2", "vlan"), ("vm3", "over"), ("vm4", "flat")):
        cloud.commit(port(name, of, MACS[name], guarded=False))
    cloud.commit(hypervisor(1, "vm1", "vm4", physical=("physnet1",)))
    cloud.commit(hypervisor(2, "vm2", physical=("physnet1",)), hypervisor(3, "vm3"))
    return cloud


def test_frames_of_the_wire_are_told_by_their_tag_and_leave_with_it(cloud: Cloud) -> None:
    assert cloud.flows("hv1", "physical") == [
        "table=0,priority=100,in_port=5 actions=load:0x1->NXM_NX_REG3[16..31],load:0x1->NXM_NX_REG0[1],goto_table:3",
        "table=0,priority=110,in_port=5,eth_src=1e:00:01:00:00:00/ff:ff:ff:00:00:00 "
        "actions=set_field:0x33->reg8,goto_table:62",
        "table=3,priority=100,vlan_tci=0x0/0x1fff,reg3=0x10000/0xffff0000 actions=set_field:0x2->reg6,goto_table:8",
        "table=3,priority=100,vlan_tci=0x1065/0x1fff,reg3=0x10000/0xffff0000 "
        "actions=pop_vlan,set_field:0x1->reg6,goto_table:8",
        "table=36,priority=10,reg0=0x0/0x2,reg6=0x1 actions=goto_table:54",
        "table=36,priority=10,reg0=0x0/0x2,reg6=0x2 actions=goto_table:54",
        "table=54,priority=100,reg6=0x1 actions=push_vlan:0x8100,load:0x1065->NXM_OF_VLAN_TCI[0..12],"
        "load:0x1->NXM_NX_REG3[16..31],goto_table:55",
        "table=54,priority=100,reg6=0x2 actions=load:0x1->NXM_NX_REG3[16..31],goto_table:55",
        "table=54,priority=200,reg0=0x2/0x100002 actions=set_field:0x32->reg8,goto_table:62",
        "table=55,priority=100,reg3=0x10000/0xffff0000 actions=output:5",
        "table=55,priority=105,eth_src=1e:00:00:00:00:00/ff:ff:ff:00:00:00,reg3=0x10000/0xffff0000 "
        "actions=load:0x1->NXM_OF_ETH_SRC[24..39],output:5",
        "table=55,priority=110,reg0=0x100000/0x100000 actions=load:0->NXM_OF_IN_PORT[],load:0x0->NXM_NX_REG0[20],"
        "resubmit(,55)",
        "table=8,priority=125,reg0=0x2/0x2 actions=goto_table:20",
    ]


def test_who_is_elsewhere_on_a_wire_costs_nothing(cloud: Cloud) -> None:
    known = [flow for flow in cloud.flows("hv1", "l2_population") if flow.startswith("table=36")]
    assert [flow for flow in known if MACS["vm2"] in flow] == []
    cloud.commit(
        port("vm5", "vlan", "02:00:00:00:00:05", guarded=False), hypervisor(2, "vm2", "vm5", physical=("physnet1",))
    )
    assert {name for name, delta in cloud.delta.items() if delta} == {"hv2"}


def test_broadcast_goes_to_the_wire_once_and_never_back(cloud: Cloud) -> None:
    groups = [flow for flow in cloud.flows("hv1", "l2_population") if flow.startswith("group_id")]
    assert groups == [
        "group_id=1342177281,type=all,bucket=actions=set_field:0x1->reg2,resubmit(,43)",
        "group_id=1342177282,type=all,bucket=actions=set_field:0x4->reg2,resubmit(,43)",
        "group_id=805306369,type=all,bucket=actions=set_field:0x1->reg2,resubmit(,43),bucket=actions=resubmit(,54)",
        "group_id=805306370,type=all,bucket=actions=set_field:0x4->reg2,resubmit(,43),bucket=actions=resubmit(,54)",
    ]
    bum = [flow for flow in cloud.flows("hv1", "l2_population") if flow.startswith("table=37") and "reg6=0x1" in flow]
    assert bum == [
        "table=37,priority=100,reg6=0x1 actions=group:805306369",
        "table=37,priority=110,reg0=0x2/0x2,reg6=0x1 actions=group:1342177281",
    ]


def test_what_nobody_here_knows_goes_to_the_wire_and_what_is_here_is_answered_to_it(cloud: Cloud) -> None:
    cloud.commit(port("vm1", "vlan", MACS["vm1"], "10.0.0.1", "fd00::1", guarded=False))
    assert [flow for flow in cloud.flows("hv1", "wire") if "reg6=0x1" in flow] == [
        "table=8,priority=95,arp,reg6=0x1 actions=goto_table:20",
        "table=8,priority=95,ipv6,nw_proto=58,icmpv6_type=136,reg6=0x1 actions=goto_table:20",
        "table=9,priority=95,arp,arp_op=1,reg6=0x1 actions=goto_table:20",
        "table=9,priority=95,ipv6,nw_proto=58,icmpv6_type=135,reg6=0x1 actions=goto_table:20",
    ]
    ours = [
        flow for flow in cloud.flows("hv1", "arp") + cloud.flows("hv1", "nd") if "=10.0.0.1" in flow or "::" in flow
    ]
    assert [flow for flow in ours if flow.startswith("table=8")] == [
        "table=8,priority=110,arp,arp_op=1,arp_tpa=10.0.0.1,reg1=0x1 actions=goto_table:20",
        "table=8,priority=135,arp,arp_op=1,arp_tpa=10.0.0.1,reg0=0x2/0x2,reg6=0x1 "
        "actions=move:NXM_OF_ARP_TPA[]->NXM_NX_REG4[],resubmit(,30),resubmit(,9)",
        "table=8,priority=110,ipv6,nw_proto=58,icmpv6_type=135,nd_target=fd00::1,reg1=0x1 actions=goto_table:20",
        "table=8,priority=110,ipv6,nw_proto=58,icmpv6_type=135,nd_target=fe80::ff:fe00:1,reg1=0x1 "
        "actions=goto_table:20",
        "table=8,priority=135,ipv6,nw_proto=58,icmpv6_type=135,nd_target=fd00::1,reg0=0x2/0x2,reg6=0x1 "
        "actions=move:NXM_NX_ND_TARGET[]->NXM_NX_XXREG3[],resubmit(,30),resubmit(,9)",
        "table=8,priority=135,ipv6,nw_proto=58,icmpv6_type=135,nd_target=fe80::ff:fe00:1,reg0=0x2/0x2,reg6=0x1 "
        "actions=move:NXM_NX_ND_TARGET[]->NXM_NX_XXREG3[],resubmit(,30),resubmit(,9)",
    ]
    assert not any("reg0=0x2/0x2" in flow and "10.0.0.1" in flow for flow in cloud.flows("hv2")), "of its host alone"


def test_a_hypervisor_without_the_mapping_has_nothing_of_a_physical_network(cloud: Cloud) -> None:
    assert not any("reg3=0x10000" in flow or "push_vlan" in flow for flow in cloud.flows("hv3"))
    cloud.commit(hypervisor(1, "vm1", "vm4"))
    assert not any("reg3=0x10000" in flow or "push_vlan" in flow for flow in cloud.flows("hv1"))
    tracked = "table=0,priority=200,ct_state=+trk actions=ct_clear,resubmit(,0)"
    assert cloud.flows("hv1", "classify") == [tracked], "nor are its guests carried any more"
