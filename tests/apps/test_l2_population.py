"""L2 population: known frames to one place, broadcast to every member once, nothing unknown anywhere."""

from __future__ import annotations

from dataclasses import replace

import pytest

from apps import l2_population
from controller.model.records import Address, Chassis
from tests.cloud import Cloud, hypervisor, network, port


def test_a_frame_for_a_port_here_is_delivered_here(cloud: Cloud) -> None:
    flows = [flow for flow in cloud.flows("hv2", "l2_population") if "table=36" in flow and ":03" in flow]
    assert flows == [
        "table=36,priority=100,eth_dst=02:00:00:00:00:03,reg6=0x1 actions=set_field:0x3->reg2,goto_table:43",
        "table=36,priority=110,eth_dst=02:00:00:00:00:03,reg0=0x0/0x100000,reg1=0x3,reg6=0x1 actions=set_field:0xb->reg8,goto_table:62",
    ]


def test_a_frame_for_a_port_elsewhere_goes_to_its_hypervisor(cloud: Cloud) -> None:
    flows = [flow for flow in cloud.flows("hv1", "l2_population") if "table=36" in flow and ":03" in flow]
    assert flows == [
        "table=36,priority=100,eth_dst=02:00:00:00:00:03,reg6=0x1 actions=set_field:192.0.2.2->tun_dst,goto_table:52",
    ]


def test_broadcast_goes_to_each_member_here_and_once_to_each_other_hypervisor(cloud: Cloud) -> None:
    groups = [flow for flow in cloud.flows("hv1", "l2_population") if "group_id" in flow]
    assert groups == [
        "group_id=1342177281,type=all,bucket=actions=set_field:0x1->reg2,resubmit(,43),"
        "bucket=actions=set_field:0x2->reg2,resubmit(,43)",
        "group_id=805306369,type=all,bucket=actions=set_field:0x1->reg2,resubmit(,43),"
        "bucket=actions=set_field:0x2->reg2,resubmit(,43),"
        "bucket=actions=set_field:192.0.2.2->tun_dst,resubmit(,52)",
    ]


def test_a_hypervisor_that_was_installed_anew_under_another_name_gets_one_copy(cloud: Cloud) -> None:
    before = [flow for flow in cloud.flows("hv1", "l2_population") if "group_id" in flow]
    cloud.commit(port("new", "red", "02:00:00:00:00:09", "10.0.0.9"), hypervisor(3, "new"))
    cloud.commit(lambda tx: tx.put(replace(tx.need(Chassis, "hv3"), encap_ip=Address("192.0.2.2"))))
    assert [flow for flow in cloud.flows("hv1", "l2_population") if "group_id" in flow] == before
    assert not [flow for flow in cloud.flows("hv3", "l2_population") if "group_id" in flow and "tun_dst" in flow
                and "192.0.2.2" in flow]  # fmt: skip


def test_what_came_through_a_tunnel_is_copied_here_only(cloud: Cloud) -> None:
    assert [flow for flow in cloud.flows("hv2", "l2_population") if "table=37" in flow] == [
        "table=37,priority=100,reg6=0x1 actions=group:805306369",
        "table=37,priority=110,reg0=0x1/0x1,reg6=0x1 actions=group:1342177281",
    ]


def test_equal_macs_on_two_networks_do_not_meet(cloud: Cloud) -> None:
    cloud.commit(network("blue", 200), port("other", "blue", "02:00:00:00:00:03", "10.0.0.3"))
    cloud.commit(hypervisor(1, "vm1", "vm2", "other"))
    flows = [flow for flow in cloud.flows("hv1", "l2_population") if "eth_dst=02:00:00:00:00:03,reg6" in flow]
    assert flows == [
        "table=36,priority=100,eth_dst=02:00:00:00:00:03,reg6=0x1 actions=set_field:192.0.2.2->tun_dst,goto_table:52",
        "table=36,priority=100,eth_dst=02:00:00:00:00:03,reg6=0x2 actions=set_field:0x4->reg2,goto_table:43",
    ]


def test_a_hypervisor_without_a_port_of_the_network_holds_nothing_of_it(cloud: Cloud) -> None:
    cloud.commit(network("blue", 200), port("other", "blue", "02:00:00:00:00:09", "10.0.0.9"))
    cloud.commit(hypervisor(2, "vm3", "other"))
    assert cloud.sent("hv1") == []
    assert not [flow for flow in cloud.flows("hv1") if "reg6=0x2" in flow or "tun_id=0xc8" in flow]


def test_more_copies_than_one_group_holds_are_made_by_several(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(l2_population, "PART_COPIES", 2)
    cloud.commit(port("vm3", "red", "02:00:00:00:00:03", "10.0.0.3", admin_state_up=False))
    assert [flow for flow in cloud.flows("hv1") if "group_id" in flow] == [
        "group_id=1342177281,type=all,bucket=actions=set_field:0x1->reg2,resubmit(,43),"
        "bucket=actions=set_field:0x2->reg2,resubmit(,43)",
        "group_id=805306369,type=all,bucket=actions=set_field:0x1->reg2,resubmit(,43),"
        "bucket=actions=set_field:0x2->reg2,resubmit(,43)",
    ]
    cloud.commit(port("vm3", "red", "02:00:00:00:00:03", "10.0.0.3"))
    assert [flow for flow in cloud.flows("hv1") if "group_id" in flow] == [
        "group_id=1342177281,type=all,bucket=actions=group:1610612752",
        "group_id=1610612752,type=all,bucket=actions=set_field:0x1->reg2,resubmit(,43),"
        "bucket=actions=set_field:0x2->reg2,resubmit(,43)",
        "group_id=1610612753,type=all,bucket=actions=set_field:192.0.2.2->tun_dst,resubmit(,52)",
        "group_id=805306369,type=all,bucket=actions=group:1610612752,bucket=actions=group:1610612753",
    ]
