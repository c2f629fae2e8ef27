"""How a router's packets get outside: the best gateway that is alive, and nobody else; who answers there."""

from __future__ import annotations

import pytest

from tests.apps.outside import GATE_MAC, add_outside
from tests.cloud import Cloud, hypervisor, interface, network, subnet, wire

TO = "set_field:192.0.2.{0}->tun_dst,set_field:02:57:45:00:00:01->eth_dst,set_field:0xffffff->tun_id,load:0x2->NXM_NX_REG0[24..26],resubmit(,53)"
LOST = "bucket=watch_port:1,actions=set_field:0x3e->reg8,resubmit(,62)"
HERE = "bucket=watch_port:5,actions=load:0x1->NXM_NX_REG0[2],load:0x0->NXM_NX_REG0[21],resubmit(,29)"


@pytest.fixture
def cloud() -> Cloud:
    """hv2 and then hv3 are the gateway of router r (key 1), which has 172.24.0.10 on ext (key 2); hv1 has a guest."""
    cloud = Cloud()
    add_outside(cloud)
    return cloud


def groups(cloud: Cloud, chassis: str) -> list[str]:
    return [text for text in cloud.flows(chassis, "gateways") if text.startswith("group_id=")]


def test_a_hypervisor_sends_to_the_best_gateway_that_is_alive(cloud: Cloud) -> None:
    first, second = (f"bucket=watch_port:{90 + number},actions={TO.format(number)}" for number in (2, 3))
    assert groups(cloud, "hv1") == [f"group_id=268435457,type=ff,{first},{second},{LOST}"]


def test_the_best_gateway_takes_what_comes_and_sends_out_itself(cloud: Cloud) -> None:
    assert groups(cloud, "hv2") == [
        "group_id=1073741825,type=ff,bucket=watch_port:1,actions=resubmit(,22)",
        f"group_id=268435457,type=ff,{HERE},{LOST}",
    ]


def test_the_next_one_stands_by_while_the_best_is_alive(cloud: Cloud) -> None:
    assert groups(cloud, "hv3") == [
        "group_id=1073741825,type=ff,bucket=watch_port:92,actions=load:0x1->NXM_NX_REG0[3],resubmit(,22),bucket=watch_port:1,actions=resubmit(,22)",
        f"group_id=268435457,type=ff,bucket=watch_port:92,actions={TO.format(2)},{HERE},{LOST}",
    ]


def test_who_cannot_see_whether_a_better_one_is_alive_stands_by(cloud: Cloud) -> None:
    cloud.commit(hypervisor(3, physical=("phys",), priority=10))
    (gate, _) = groups(cloud, "hv3")
    assert gate == "group_id=1073741825,type=ff,bucket=watch_port:1,actions=load:0x1->NXM_NX_REG0[3],resubmit(,22)"


def test_only_gateways_answer_for_a_gateways_address_and_behind_the_gate(cloud: Cloud) -> None:
    known = f"set_field:0xac18000a->reg4,set_field:{GATE_MAC}->eth_dst,load:0x1->NXM_NX_REG0[5]"
    answer = (
        f"table=8,priority=140,arp,arp_op=1,arp_tpa=172.24.0.10,reg0=0x2/0x2,reg6=0x2 actions={known},group:1073741825"
    )
    come = (
        f"table=36,priority=100,eth_dst={GATE_MAC},reg0=0x0/0x1,reg6=0x2 actions=set_field:0x1->reg7,group:1073741825"
    )
    for chassis, there in (("hv1", False), ("hv2", True), ("hv3", True)):
        flows = cloud.flows(chassis, "gateways")
        assert (answer in flows, come in flows) == (there, there), chassis


def test_behind_the_gate_who_stands_by_drops(cloud: Cloud) -> None:
    assert [flow for flow in cloud.flows("hv3", "gateways") if flow.startswith("table=22,")] == [
        "table=22,priority=0 actions=goto_table:23",
        "table=22,priority=100,reg0=0x4/0x4 actions=goto_table:27",
        "table=22,priority=110,arp,arp_op=1,reg0=0x22/0x22 actions=resubmit(,9)",
        "table=22,priority=110,ipv6,nw_proto=58,icmpv6_type=135,reg0=0x22/0x22 actions=resubmit(,9)",
        "table=22,priority=120,reg0=0x8/0x8 actions=set_field:0x3d->reg8,goto_table:62",
        "table=22,priority=130,reg0=0x8/0xe actions=load:0x0->NXM_NX_REG0[3],goto_table:54",
        "table=22,priority=90,reg0=0x2/0x2 actions=load:0x0->NXM_NX_REG0[1],load:0x1->NXM_NX_REG0[20],goto_table:23",
    ]


def test_what_bears_the_gateways_address_already_and_what_nobody_translates_goes_nowhere(cloud: Cloud) -> None:
    for chassis in ("hv1", "hv2", "hv3"):
        assert {
            "table=29,priority=110,ip,nw_src=172.24.0.10,reg6=0x2,reg7=0x1 actions=set_field:0x41->reg8,goto_table:62",
            "table=29,priority=90,reg0=0x4/0x4,reg6=0x2,reg7=0x1 actions=set_field:0x40->reg8,goto_table:62",
        } <= {*cloud.flows(chassis, "gateways")}


def test_a_gateway_that_goes_costs_its_users_a_group_and_no_flow(cloud: Cloud) -> None:
    flows = [text for text in cloud.flows("hv1", "gateways") if not text.startswith("group_id=")]
    cloud.commit(hypervisor(3, physical=("phys",), watches=(2,)))
    assert [text for text in cloud.flows("hv1", "gateways") if not text.startswith("group_id=")] == flows
    assert groups(cloud, "hv1") == [f"group_id=268435457,type=ff,bucket=watch_port:92,actions={TO.format(2)},{LOST}"]


def test_what_a_gateway_takes_from_the_wire_is_routed_as_any_packet(cloud: Cloud) -> None:
    come = "table=22,priority=90,reg0=0x2/0x2 actions=load:0x0->NXM_NX_REG0[1],load:0x1->NXM_NX_REG0[20],goto_table:23"
    assert come in cloud.flows("hv2", "gateways")


def test_what_came_by_a_tunnel_may_leave_by_it_again(cloud: Cloud) -> None:
    (transit,) = [flow for flow in cloud.flows("hv2", "gateways") if flow.startswith("table=21,priority=100")]
    assert transit == (
        "table=21,priority=100,eth_dst=02:57:45:00:00:01 actions=set_field:0x1->reg7,load:0x1->NXM_NX_REG0[2],"
        "load:0x0->NXM_NX_REG0[0],load:0->NXM_OF_IN_PORT[],group:1073741825"
    )


def test_packets_are_measured_before_a_tunnel_where_a_network_bears_more(cloud: Cloud) -> None:
    def away() -> list[str]:
        flows = cloud.flows("hv1", "gateways")
        return [flow for flow in flows if flow.startswith("table=29,priority=90,reg0=0x0/0x4")]

    at = "table=29,priority=90,reg0=0x0/0x4,reg6=0x2,reg7=0x1 actions="
    assert away() == [f"{at}group:268435457"]
    cloud.commit(wire("vlan", 101, "phys"), subnet("vlan4", "vlan", "10.1.0.0/24"))
    cloud.commit(interface("r-vlan", "r", "vlan", "02:00:00:00:0a:02", vlan4="10.1.0.254"))
    assert away() == [f"{at}check_pkt_larger(1464)->NXM_NX_REG0[21],group:268435457"]
    assert [flow for flow in cloud.flows("hv1", "gateways") if flow.startswith("table=53")] == [
        "table=53,priority=110,reg0=0x200000/0x200000 actions=set_field:0x42->reg8,goto_table:60",
        "table=53,priority=120,ip,ip_frag=yes,reg0=0x200000/0x200000 actions=set_field:0x29->reg8,goto_table:62",
    ]


def test_what_came_from_outside_and_goes_there_again_is_measured_if_the_wire_bears_more_than_tunnels(
    cloud: Cloud,
) -> None:
    """A host of the wire may send by the MAC of a floating IP, whose hypervisor need not be the gateway."""

    def back() -> list[str]:
        return [flow for flow in cloud.flows("hv1", "gateways") if flow.startswith("table=29,priority=92")]

    at = "table=29,priority=92,reg0=0x0/0x4,reg6=0x2,reg7=0x1,reg9=0x2 actions="
    assert back() == [f"{at}check_pkt_larger(1464)->NXM_NX_REG0[21],group:268435457"]
    cloud.commit(network("ext", None, "flat", physical_network="phys", external=True, mtu=1450))
    assert back() == []


def test_a_gateway_answers_echo_requests_from_its_address_and_sends_nothing_else_from_it(cloud: Cloud) -> None:
    own = [flow for flow in cloud.flows("hv2", "gateways") if "nw_src=172.24.0.10" in flow]
    assert own == [
        "table=29,priority=110,ip,nw_src=172.24.0.10,reg6=0x2,reg7=0x1 actions=set_field:0x41->reg8,goto_table:62",
        "table=29,priority=120,ip,nw_src=172.24.0.10,nw_proto=1,icmp_type=0,reg0=0x100000/0x100000,reg6=0x2,reg7=0x1,reg9=0x2 "
        "actions=resubmit(,30),goto_table:31",
    ]
