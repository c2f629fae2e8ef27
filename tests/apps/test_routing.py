"""Routers in flows: where packets for elsewhere go, on whose hypervisor, and what a change of routers costs."""

from __future__ import annotations

import re

import pytest

from controller.flows.pipeline import ECMP_ROUTES
from controller.model import bindings
from tests.cloud import Cloud, Work, hypervisor, interface, network, port, router, subnet, turned

RED_MAC, BLUE_MAC = "02:00:00:00:0a:01", "02:00:00:00:0a:02"


def add_networks(cloud: Cloud) -> None:
    """Networks red (key 1, 10.0.0.0/24) and blue (key 2, 10.1.0.0/24 and fd01::/64), vm1 and vm2 on hv1 and hv2."""
    cloud.commit(network("red", 100), network("blue", 200))
    cloud.commit(subnet("red4", "red", "10.0.0.0/24", "10.0.0.254"))
    cloud.commit(subnet("blue4", "blue", "10.1.0.0/24", "10.1.0.254"), subnet("blue6", "blue", "fd01::/64", "fd01::1"))
    cloud.commit(
        port("vm1", "red", "02:00:00:00:00:01", "10.0.0.1"), port("vm2", "blue", "02:00:00:00:00:02", "10.1.0.2")
    )
    cloud.commit(hypervisor(1, "vm1"), hypervisor(2, "vm2"), hypervisor(3))


@pytest.fixture
def joined() -> Cloud:
    """Router r between red and blue."""
    cloud = Cloud()
    add_networks(cloud)
    cloud.commit(router("r"))
    cloud.commit(
        interface("r-red", "r", "red", RED_MAC, red4="10.0.0.254"),
        interface("r-blue", "r", "blue", BLUE_MAC, blue4="10.1.0.254", blue6="fd01::1"),
    )
    return cloud


def own(cloud: Cloud, chassis: str = "hv1") -> list[str]:
    """The flows of routers that are of this cloud alone."""
    same = Cloud()
    same.commit(hypervisor(1))
    return sorted(set(cloud.flows(chassis, "routing")) - set(same.flows("hv1", "routing")))


def at(cloud: Cloud, table: int, chassis: str = "hv1") -> list[str]:
    return [text for text in own(cloud, chassis) if text.startswith(f"table={table},")]


def test_a_subnet_is_reached_by_the_interface_on_its_network(joined: Cloud) -> None:
    leave = "load:0x0->NXM_NX_REG0[5],goto_table:29"
    assert at(joined, 27) == [
        f"table=27,priority=197,ip,nw_dst=10.0.0.0/255.255.255.0,reg7=0x1 actions=move:NXM_OF_IP_DST[]->NXM_NX_REG4[],set_field:0x1->reg6,set_field:{RED_MAC}->eth_src,{leave}",
        f"table=27,priority=197,ip,nw_dst=10.1.0.0/255.255.255.0,reg7=0x1 actions=move:NXM_OF_IP_DST[]->NXM_NX_REG4[],set_field:0x2->reg6,set_field:{BLUE_MAC}->eth_src,{leave}",
        f"table=27,priority=357,ipv6,ipv6_dst=fd01::/ffff:ffff:ffff:ffff::,reg7=0x1 actions=move:NXM_NX_IPV6_DST[]->NXM_NX_XXREG3[],set_field:0x2->reg6,set_field:{BLUE_MAC}->eth_src,{leave}",
    ]


def test_a_frame_for_a_routers_mac_is_at_the_router_unless_it_came_through_a_tunnel(joined: Cloud) -> None:
    assert at(joined, 36) == [
        f"table=36,priority=100,eth_dst={RED_MAC},reg0=0x0/0x1,reg6=0x1 actions=set_field:0x1->reg7,resubmit(,23)",
        f"table=36,priority=100,eth_dst={BLUE_MAC},reg0=0x0/0x1,reg6=0x2 actions=set_field:0x1->reg7,resubmit(,23)",
    ]


def test_the_switch_knows_a_routers_addresses(joined: Cloud) -> None:
    known = [text.partition(" ")[0] for text in at(joined, 30)]
    assert known == [
        "table=30,priority=100,reg4=0xa0000fe,reg6=0x1",
        "table=30,priority=100,reg4=0xa0100fe,reg6=0x2",
        "table=30,priority=100,reg6=0x2,xxreg3=0xfd010000000000000000000000000001",
        "table=30,priority=100,reg6=0x2,xxreg3=0xfe80000000000000000000fffe000a02",
    ]


def test_a_link_local_address_is_the_routers_on_its_own_network_alone(joined: Cloud) -> None:
    known = [text.partition(" actions")[0] for text in at(joined, 24) if "ipv6_dst=fe80::ff:fe00:a02" in text]
    assert known == [
        "table=24,priority=110,ipv6,ipv6_dst=fe80::ff:fe00:a02,reg6=0x2,reg7=0x1",
        "table=24,priority=120,ipv6,nw_proto=58,ipv6_dst=fe80::ff:fe00:a02,icmpv6_type=128,reg6=0x2,reg7=0x1",
    ]


def test_an_echo_request_comes_back_as_the_reply(joined: Cloud) -> None:
    (reply,) = [text for text in at(joined, 24) if "icmp_type=8" in text and "10.0.0.254" in text]
    assert reply == (
        "table=24,priority=120,ip,nw_dst=10.0.0.254,nw_proto=1,icmp_type=8,reg7=0x1 actions=ct_clear,"
        "move:NXM_OF_IP_SRC[]->NXM_OF_IP_DST[],set_field:10.0.0.254->nw_src,set_field:0->icmp_type,"
        "set_field:255->nw_ttl,load:0x1->NXM_NX_REG0[20],move:NXM_NX_REG6[]->NXM_NX_REG9[],goto_table:27"
    )


def test_where_a_guest_is_the_networks_it_reaches_are_known(joined: Cloud) -> None:
    assert at(joined, 27, "hv2") == at(joined, 27)
    reached = [text for text in joined.flows("hv1") if "02:00:00:00:00:02" in text]
    assert reached == [
        "table=30,priority=100,reg4=0xa010002,reg6=0x2 actions=set_field:02:00:00:00:00:02->eth_dst,load:0x1->NXM_NX_REG0[5]",
        "table=36,priority=100,eth_dst=02:00:00:00:00:02,reg6=0x2 actions=set_field:192.0.2.2->tun_dst,goto_table:52",
    ]
    assert own(joined, "hv3") == [], "nobody there reaches anything"


def test_broadcast_goes_to_members_alone(joined: Cloud) -> None:
    groups = [text for text in joined.flows("hv1") if text.startswith("group_id")]
    assert len(groups) == 2, "those of red: hv1 has no member of blue"
    assert not [text for text in groups if "tun_dst" in text], "and no other hypervisor has one of red"


def test_of_several_next_hops_each_connection_takes_one(joined: Cloud) -> None:
    joined.commit(router("r", ("10.9.0.0/16", "10.1.0.77"), ("10.9.0.0/16", "10.0.0.66"), ("10.9.0.0/16", "192.0.2.1")))
    (flow,) = [text for text in at(joined, 27) if "10.9.0.0" in text]
    assert flow == ("table=27,priority=164,ip,nw_dst=10.9.0.0/255.255.0.0,reg7=0x1 actions=group:536870928")
    (group,) = [text for text in own(joined) if text.startswith("group_id=53687")]
    onward = "load:0x0->NXM_NX_REG0[5],resubmit(,28)"
    assert group == (
        "group_id=536870928,type=select,"
        f"bucket=weight:1,actions=set_field:0xa000042->reg4,set_field:0x1->reg6,set_field:{RED_MAC}->eth_src,{onward},"
        f"bucket=weight:1,actions=set_field:0xa01004d->reg4,set_field:0x2->reg6,set_field:{BLUE_MAC}->eth_src,{onward}"
    )


FORKED = ("10.9.0.0/16", "10.0.0.1"), ("10.9.0.0/16", "10.1.0.2"), ("10.9.0.0/16", "10.1.0.77")
"""By vm1, by vm2, and by an address that nobody holds as far as the model knows: an appliance may."""


def hops(cloud: Cloud, chassis: str = "hv1") -> list[str]:
    """The next hops to 10.9.0.0/16, of a group or of the flow itself."""
    said = "".join(text for text in own(cloud, chassis) if text.startswith("group_id=53687") or "10.9.0.0" in text)
    return [f"10.{int(word, 16) >> 16 & 255}.0.{int(word, 16) & 255}" for word in re.findall(r"(0xa\w+)->reg4", said)]


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (hypervisor(1), ["10.1.0.2", "10.1.0.77"]),
        (port("vm1", "red", "02:00:00:00:00:01", "10.0.0.1", admin_state_up=False), ["10.1.0.2", "10.1.0.77"]),
        (port("vm1", "red", "02:00:00:00:00:01", "10.0.0.1", host=""), ["10.1.0.2", "10.1.0.77"]),
        (port("vm1", "red", "02:00:00:00:00:01", "10.0.0.9"), ["10.0.0.1", "10.1.0.2", "10.1.0.77"]),
        (lambda tx: bindings.forget(tx, "hv2"), ["10.0.0.1", "10.1.0.77"]),
        (network("blue", 200, admin_state_up=False), ["10.0.0.1"]),
    ],
    ids=["unplugged", "down", "unbound", "nobody's any more", "without its hypervisor", "on a network that is down"],
)
def test_a_next_hop_that_is_down_is_left_out(joined: Cloud, change: Work, left: list[str]) -> None:
    joined.commit(hypervisor(3, "vm3"), port("vm3", "red", "02:00:00:00:00:03", "10.0.0.3"), router("r", *FORKED))
    assert hops(joined, "hv3") == ["10.0.0.1", "10.1.0.2", "10.1.0.77"]
    joined.commit(change)
    assert hops(joined, "hv3") == left


def test_a_next_hop_whose_address_another_port_may_use_is_not_down(joined: Cloud) -> None:
    joined.commit(router("r", *FORKED))
    pairs = [("02:00:00:00:00:02", "10.1.0.4")]
    joined.commit(
        port("vm4", "blue", "02:00:00:00:00:04", "10.1.0.4"), router("r", *FORKED, ("10.9.0.0/16", "10.1.0.4"))
    )
    assert "10.1.0.4" not in hops(joined)
    joined.commit(port("vm2", "blue", "02:00:00:00:00:02", "10.1.0.2", pairs=pairs))
    assert "10.1.0.4" in hops(joined)


def test_a_next_hop_that_comes_back_is_taken_again(joined: Cloud) -> None:
    joined.commit(router("r", *FORKED[:2]))
    flows = own(joined)
    joined.commit(hypervisor(2))
    assert hops(joined) == ["10.0.0.1"]
    joined.commit(hypervisor(2, "vm2"))
    assert own(joined) == flows


def test_a_next_hop_may_be_of_another_ip_version(joined: Cloud) -> None:
    """As Neutron lets it be. What an earlier router looked for is forgotten at the next one."""
    joined.commit(router("r", ("10.9.0.0/16", "fd01::77")))
    (flow,) = [text for text in at(joined, 27) if "10.9.0.0" in text]
    assert "set_field:0xfd010000000000000000000000000077->xxreg3" in flow
    (first, *_) = [text for text in joined.flows("hv1") if text.startswith("table=23,priority=100")]
    assert first.endswith("set_field:0x0->reg4,set_field:0x0->xxreg3,goto_table:24")


def test_when_all_next_hops_are_down_the_way_stays_and_ends_at_nobody(joined: Cloud) -> None:
    """So that the sender is told that its host is unreachable, and a wider route does not take the packet."""
    joined.commit(hypervisor(3, "vm3"), port("vm3", "red", "02:00:00:00:00:03", "10.0.0.3"))
    joined.commit(hypervisor(1), hypervisor(2), router("r", *FORKED[:2], ("0.0.0.0/0", "10.0.0.77")))
    assert hops(joined, "hv3") == ["10.0.0.1"]
    assert not [text for text in at(joined, 30, "hv3") if "reg4=0xa000001" in text]
    assert not [text for text in own(joined, "hv3") if text.startswith("group_id=53687")]


@pytest.mark.parametrize("what", ["router", "interface"])
def test_a_next_hop_that_is_a_router_is_down_as_its_router_and_interface_are(joined: Cloud, what: str) -> None:
    mac, via = "02:00:00:00:0b:02", (("10.9.0.0/16", "10.1.0.2"), ("10.9.0.0/16", "10.1.0.253"))
    joined.commit(router("s"), interface("s-blue", "s", "blue", mac, blue4="10.1.0.253"), router("r", *via))
    flows = joined.flows("hv1")
    assert hops(joined) == ["10.1.0.2", "10.1.0.253"]
    if what == "router":
        joined.commit(router("s", admin_state_up=False))
    else:
        joined.commit(turned("s-blue", up=False))
    assert hops(joined) == ["10.1.0.2"]
    joined.commit(router("s"), turned("s-blue", up=True))
    assert joined.flows("hv1") == flows


def test_a_next_hop_that_goes_costs_its_router_alone(joined: Cloud) -> None:
    joined.commit(router("r", *FORKED), router("s", ("10.9.0.0/16", "10.0.0.9")))
    joined.commit(hypervisor(2))
    assert [name for name in joined.engine.log if name.startswith("routing.")] == ["routing.routes[r]"]


@pytest.mark.parametrize("what", ["interface", "network"])
def test_what_is_down_leads_nowhere(joined: Cloud, what: str) -> None:
    joined.commit(router("r", ("10.9.0.0/16", "10.1.0.77")))
    before = {name: joined.flows(name) for name in ("hv1", "hv2")}
    if what == "network":
        joined.commit(network("blue", 200, admin_state_up=False))
    else:
        joined.commit(turned("r-blue", up=False))
    assert not [text for text in own(joined) if "10.1.0" in text or "0xa0100" in text or "fd01" in text]
    assert [text for text in at(joined, 27) if "10.0.0.0" in text]
    assert own(joined, "hv2") == [], "nobody there reaches anything"
    joined.commit(network("blue", 200), turned("r-blue", up=True))
    assert {name: joined.flows(name) for name in ("hv1", "hv2")} == before


def test_one_interface_of_two_on_a_network_may_be_down(joined: Cloud) -> None:
    joined.commit(subnet("red4'", "red", "10.5.0.0/24", "10.5.0.254"))
    flows = own(joined)
    second = interface("r-red'", "r", "red", "02:00:00:00:0a:05", **{"red4'": "10.5.0.254"})
    joined.commit(second, turned("r-red'", up=False))
    assert own(joined) == flows
    joined.commit(turned("r-red'", up=True))
    assert own(joined) != flows


def test_the_order_in_which_routes_were_given_does_not_show(joined: Cloud) -> None:
    hops = [(f"10.{n}.0.0/16", f"10.1.0.{last}") for n in (8, 9) for last in (7, 70, 8)]
    joined.commit(router("r", *hops))
    flows = own(joined)
    joined.commit(router("r", *reversed(hops)))
    assert own(joined) == flows
    assert joined.delta == {}


def test_a_route_that_loses_all_next_hops_but_one_needs_no_group(joined: Cloud) -> None:
    joined.commit(router("r", ("10.9.0.0/16", "10.1.0.77")))
    flows = own(joined)
    joined.commit(router("r", ("10.9.0.0/16", "10.1.0.77"), ("10.9.0.0/16", "10.1.0.78")))
    assert own(joined) != flows
    joined.commit(router("r", ("10.9.0.0/16", "10.1.0.77")))
    assert own(joined) == flows


def test_only_so_many_routes_of_a_router_have_several_next_hops(joined: Cloud) -> None:
    hops = [(f"10.{100 + n}.0.0/16", f"10.1.0.{last}") for n in range(ECMP_ROUTES + 2) for last in (7, 8)]
    joined.commit(router("r", *hops))
    groups = [text for text in own(joined) if "type=select" in text]
    assert len(groups) == ECMP_ROUTES
    alone = [
        text for text in at(joined, 27) if "nw_dst=10.1" in text and "group" not in text and "/255.255.0.0" in text
    ]
    assert len(alone) == 2
    assert all("set_field:0xa010007->reg4" in text for text in alone)
    assert joined.engine.conflicts == {}
    assert joined.engine.failures == {}


def test_packets_are_measured_only_where_they_come_from_a_network_that_bears_more(joined: Cloud) -> None:
    assert at(joined, 31) == []
    joined.commit(network("blue", 200, mtu=1300))
    assert at(joined, 31) == [
        "table=31,priority=110,reg0=0x20/0x20,reg6=0x2 actions=check_pkt_larger(1314)->NXM_NX_REG0[21],goto_table:32"
    ]
    assert len(joined.delta["hv1"]) == 1
    joined.commit(network("red", 100, mtu=1300))
    assert at(joined, 31) == []


def test_the_size_of_a_network_is_known_to_all_routers_by_one_flow(joined: Cloud) -> None:
    joined.commit(network("blue", 200, mtu=1300), network("green", 300), router("s"))
    joined.commit(interface("s-blue", "s", "blue", "02:00:00:00:0b:02", blue4="10.1.0.253"))
    assert len(at(joined, 31)) == 1
    joined.commit(subnet("green4", "green", "10.2.0.0/24"))
    joined.commit(interface("s-green", "s", "green", "02:00:00:00:0b:03", green4="10.2.0.254"))
    assert len(at(joined, 31)) == 1
    assert joined.engine.conflicts == {}


@pytest.mark.parametrize("what", ["interface", "router"])
def test_what_no_router_joins_any_more_is_forgotten(what: str) -> None:
    cloud = Cloud()
    add_networks(cloud)
    before = {chassis: cloud.flows(chassis) for chassis in ("hv1", "hv2")}
    cloud.commit(router("r"), interface("r-red", "r", "red", RED_MAC, red4="10.0.0.254"))
    cloud.commit(interface("r-blue", "r", "blue", BLUE_MAC, blue4="10.1.0.254"))
    assert before["hv1"] != cloud.flows("hv1")
    if what == "router":
        cloud.commit(router("r", admin_state_up=False))
        assert {chassis: cloud.flows(chassis) for chassis in before} == before
    else:
        cloud.commit(interface("r-blue", "", "blue", BLUE_MAC, blue4="10.1.0.254"))
        assert not [text for text in cloud.flows("hv1") if "10.1.0" in text or "0xa0100" in text]


def test_two_routers_may_have_the_same_subnets(joined: Cloud) -> None:
    joined.commit(network("red'", 300), subnet("red4'", "red'", "10.0.0.0/24", "10.0.0.254"))
    joined.commit(router("s"), interface("s-red", "s", "red'", "02:00:00:00:0b:01", **{"red4'": "10.0.0.254"}))
    joined.commit(port("vm9", "red'", "02:00:00:00:00:01", "10.0.0.1"), hypervisor(1, "vm1", "vm9"))
    same = [text.partition(" actions")[0] for text in at(joined, 27) if "10.0.0.0/" in text]
    assert same == [f"table=27,priority=197,ip,nw_dst=10.0.0.0/255.255.255.0,reg7={key:#x}" for key in (1, 2)]
    assert joined.engine.conflicts == {}


def test_a_route_goes_to_its_next_hop_on_a_subnet_of_the_router(joined: Cloud) -> None:
    joined.commit(router("r", ("0.0.0.0/0", "10.1.0.77"), ("10.9.0.0/16", "192.0.2.1")))
    (default,) = [text for text in at(joined, 27) if "nw_dst" not in text and "ipv6" not in text]
    assert default == (
        "table=27,priority=100,ip,reg7=0x1 actions=set_field:0xa01004d->reg4,set_field:0x2->reg6,"
        f"set_field:{BLUE_MAC}->eth_src,load:0x0->NXM_NX_REG0[5],goto_table:29"
    )
    assert not [text for text in at(joined, 27) if "10.9.0.0" in text], "a next hop on no subnet leads nowhere"


def test_an_interface_that_claims_a_routers_port_is_nobodys(joined: Cloud) -> None:
    before = joined.flows("hv1")
    joined.commit(hypervisor(1, "vm1", "r-blue"))
    assert joined.flows("hv1") == before


def test_one_guest_more_costs_the_same_whatever_is_joined(joined: Cloud) -> None:
    joined.commit(hypervisor(2, "vm2", "vm3"))
    joined.commit(port("vm3", "blue", "02:00:00:00:00:03", "10.1.0.3"))
    assert len(joined.delta["hv1"]) == 2, "its address and its MAC"
    cells = [name for name in joined.engine.log if "[vm3]" not in name]
    assert cells == ["l2_population.copies[blue]@hv2"]
