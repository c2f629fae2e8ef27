"""Tunnels: the encapsulation and segment are the network, and only hypervisors of the cloud may speak."""

from __future__ import annotations

from tests.cloud import Cloud, hypervisor, network, port


def test_a_tunnel_port_is_known_by_its_number_on_each_hypervisor(cloud: Cloud) -> None:
    assert [flow for flow in cloud.flows("hv1", "tunnels") if flow.startswith(("table=0,", "table=53,"))] == [
        "table=0,priority=100,in_port=1 actions=load:0x1->NXM_NX_REG0[0],load:0x1->NXM_NX_REG0[24..26],goto_table:1",
        "table=0,priority=100,in_port=2 actions=load:0x1->NXM_NX_REG0[0],load:0x2->NXM_NX_REG0[24..26],goto_table:1",
        "table=53,priority=100,reg0=0x1000000/0x7000000 actions=output:1",
        "table=53,priority=100,reg0=0x2000000/0x7000000 actions=output:2",
    ]


def test_only_the_other_hypervisors_may_send_through_tunnels(cloud: Cloud) -> None:
    cloud.commit(hypervisor(3))
    assert [flow for flow in cloud.flows("hv1", "tunnels") if flow.startswith("table=1,")] == [
        "table=1,priority=100,tun_src=192.0.2.2 actions=goto_table:2",
        "table=1,priority=100,tun_src=192.0.2.3 actions=goto_table:2",
    ]


def test_one_segment_number_under_two_encapsulations_is_two_networks(cloud: Cloud) -> None:
    cloud.commit(network("blue", 100, "geneve"), port("vm9", "blue", "02:00:00:00:00:09"))
    cloud.commit(hypervisor(2, "vm3", "vm9"))
    assert [flow for flow in cloud.flows("hv2", "tunnels") if flow.startswith("table=2,")] == [
        "table=2,priority=100,tun_id=0x64,reg0=0x1000000/0x7000000 actions=set_field:0x1->reg6,goto_table:20",
        "table=2,priority=100,tun_id=0x64,reg0=0x2000000/0x7000000 actions=set_field:0x2->reg6,goto_table:20",
        "table=2,priority=110,tun_id=0x0 actions=set_field:0x2d->reg8,goto_table:62",
    ]


def test_a_port_on_a_hypervisor_without_the_networks_encapsulation_is_nowhere(cloud: Cloud) -> None:
    cloud.commit(network("blue", 200, "geneve"), port("vm9", "blue", "02:00:00:00:00:09"))
    cloud.commit(hypervisor(3, "vm9", encaps=("vxlan",)))
    assert not [flow for flow in cloud.flows("hv3") if "02:00:00:00:00:09" in flow or "reg6=0x2" in flow]


def test_nothing_that_came_through_a_tunnel_leaves_through_one(cloud: Cloud) -> None:
    split = "table=52,priority=200,reg0=0x1/0x1 actions=set_field:0xe->reg8,goto_table:62"
    assert split in cloud.flows("hv1", "tunnels")
