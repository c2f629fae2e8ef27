"""Port security in flows: with what a guest may send."""

from __future__ import annotations

from tests.cloud import Cloud, hypervisor, network, port

VIRTUAL = "00:00:5e:00:01:0a"


def own(cloud: Cloud) -> list[str]:
    """The flows of port security that are of one port."""
    return [text for text in cloud.flows("hv1", "port_security") if "reg1=" in text]


def guarded(*addresses: str, pairs: list[tuple[str, str]] | None = None, on: bool = True) -> list[str]:
    cloud = Cloud()
    vm1 = port("vm1", "red", "02:00:00:00:00:01", *addresses, pairs=pairs or (), guarded=on)
    cloud.commit(network("red", 100), vm1, hypervisor(1, "vm1"))
    return own(cloud)


def test_a_guest_sends_with_its_mac_and_addresses() -> None:
    assert guarded("10.0.0.1") == [
        "table=4,priority=100,eth_src=02:00:00:00:00:01,reg1=0x1 actions=goto_table:5",
        "table=5,priority=100,eth_src=02:00:00:00:00:01,arp,arp_spa=10.0.0.1,arp_sha=02:00:00:00:00:01,reg1=0x1 actions=goto_table:8",
        "table=5,priority=100,eth_src=02:00:00:00:00:01,ip,nw_src=10.0.0.1,reg1=0x1 actions=goto_table:8",
        "table=5,priority=100,eth_src=02:00:00:00:00:01,ipv6,ipv6_src=fe80::ff:fe00:1,reg1=0x1 actions=goto_table:6",
        "table=7,priority=100,eth_src=02:00:00:00:00:01,reg1=0x1 actions=goto_table:8",
        "table=7,priority=110,eth_src=02:00:00:00:00:01,ipv6,nw_proto=58,icmpv6_type=136,nd_target=fe80::ff:fe00:1,reg1=0x1 actions=goto_table:8",
    ]


def test_without_port_security_it_sends_what_it_likes() -> None:
    assert guarded("10.0.0.1", on=False) == [
        "table=4,priority=110,reg1=0x1 actions=load:0x1->NXM_NX_REG0[6],goto_table:8"
    ]


def test_a_pair_adds_its_addresses_with_its_mac() -> None:
    more = set(guarded("10.0.0.1", pairs=[("02:00:00:00:00:01", "10.9.0.0/16")])) - set(guarded("10.0.0.1"))
    assert sorted(more) == [
        "table=5,priority=100,eth_src=02:00:00:00:00:01,arp,arp_spa=10.9.0.0/255.255.0.0,arp_sha=02:00:00:00:00:01,reg1=0x1 actions=goto_table:8",
        "table=5,priority=100,eth_src=02:00:00:00:00:01,ip,nw_src=10.9.0.0/255.255.0.0,reg1=0x1 actions=goto_table:8",
    ]


def test_a_pair_of_every_address_tests_none() -> None:
    more = set(guarded("10.0.0.1", pairs=[("02:00:00:00:00:01", "0.0.0.0/0")])) - set(guarded("10.0.0.1"))
    assert sorted(more) == [
        "table=5,priority=100,eth_src=02:00:00:00:00:01,arp,arp_sha=02:00:00:00:00:01,reg1=0x1 actions=goto_table:8",
        "table=5,priority=100,eth_src=02:00:00:00:00:01,ip,reg1=0x1 actions=goto_table:8",
    ]


def test_a_virtual_mac_may_be_told_of_from_the_ports_own() -> None:
    more = set(guarded("10.0.0.1", pairs=[(VIRTUAL, "10.0.0.100")])) - set(guarded("10.0.0.1"))
    assert sorted(text for text in more if "arp_spa=10.0.0.100" in text) == [
        f"table=5,priority=100,eth_src={VIRTUAL},arp,arp_spa=10.0.0.100,arp_sha={VIRTUAL},reg1=0x1 actions=goto_table:8",
        f"table=5,priority=100,eth_src=02:00:00:00:00:01,arp,arp_spa=10.0.0.100,arp_sha={VIRTUAL},reg1=0x1 actions=goto_table:8",
    ]
    assert f"table=5,priority=100,eth_src={VIRTUAL},ip,nw_src=10.0.0.100,reg1=0x1 actions=goto_table:8" in more
    assert not [text for text in more if f"eth_src={VIRTUAL}" in text and "nw_src=10.0.0.1," in text]


def test_a_port_that_is_down_may_send_nothing() -> None:
    cloud = Cloud()
    vm1 = port("vm1", "red", "02:00:00:00:00:01", "10.0.0.1", admin_state_up=False)
    cloud.commit(network("red", 100), vm1, hypervisor(1, "vm1"))
    assert own(cloud) == []


def reached(cloud: Cloud, chassis: str) -> list[str]:
    """The flows that lead to an address pair."""
    return [text for text in cloud.flows(chassis) if "10.0.0.100" in text or "0xa000064" in text or VIRTUAL in text]


def test_a_pair_of_one_port_alone_is_reached_there() -> None:
    cloud = Cloud()
    vm1 = port("vm1", "red", "02:00:00:00:00:01", "10.0.0.1", pairs=[(VIRTUAL, "10.0.0.100")])
    vm2 = port("vm2", "red", "02:00:00:00:00:02", "10.0.0.2")
    cloud.commit(network("red", 100), vm1, vm2, hypervisor(1, "vm1"), hypervisor(2, "vm2"))
    assert reached(cloud, "hv2") == [
        f"table=30,priority=90,reg4=0xa000064,reg6=0x1 actions=set_field:{VIRTUAL}->eth_dst,load:0x1->NXM_NX_REG0[5]",
        f"table=36,priority=90,eth_dst={VIRTUAL},reg6=0x1 actions=set_field:192.0.2.1->tun_dst,goto_table:52",
    ]
    cloud.commit(port("vm2", "red", "02:00:00:00:00:02", "10.0.0.2", pairs=[(VIRTUAL, "10.0.0.100")]))
    assert [text for text in reached(cloud, "hv1") if "table=30" in text or "table=36" in text] == []


def test_whether_an_address_is_free_may_be_asked_of_any_address(cloud: Cloud) -> None:
    asking = [flow for flow in cloud.flows("hv2", "port_security") if "arp_spa=0.0.0.0" in flow or "type=135" in flow]
    assert asking == [
        "table=5,priority=100,ipv6,nw_proto=58,ipv6_src=::,icmpv6_type=135 actions=goto_table:6",
        "table=5,priority=110,arp,arp_op=1,arp_spa=0.0.0.0 actions=move:NXM_NX_ARP_SHA[]->NXM_OF_ETH_SRC[],goto_table:7",
        "table=5,priority=20,ipv6,nw_proto=58,icmpv6_type=135 actions=set_field:0x17->reg8,goto_table:62",
        "table=6,priority=100,ipv6,nw_proto=58,icmpv6_type=135 actions=move:NXM_NX_ND_SLL[]->NXM_OF_ETH_SRC[],goto_table:7",
        "table=6,priority=110,ipv6,nw_proto=58,icmpv6_type=135,nd_sll=00:00:00:00:00:00 actions=goto_table:8",
    ]


def test_what_asks_or_advertises_tells_a_mac_of_the_ports_and_of_the_address(cloud: Cloud) -> None:
    virtual = ("00:00:5e:00:01:01", "10.0.0.9")
    cloud.commit(port("vm3", "red", "02:00:00:00:00:03", "10.0.0.3", pairs=[virtual]))
    local, virtual_local = "nd_target=fe80::ff:fe00:3", "nd_target=fe80::200:5eff:fe00:101"
    own, pair = "eth_src=02:00:00:00:00:03", "eth_src=00:00:5e:00:01:01"
    advertised = "ipv6,nw_proto=58,icmpv6_type=136"
    assert [flow for flow in cloud.flows("hv2", "port_security") if flow.startswith("table=7")] == [
        "table=7,priority=10,arp actions=set_field:0x14->reg8,goto_table:62",
        f"table=7,priority=100,{pair},reg1=0x3 actions=goto_table:8",
        f"table=7,priority=100,{own},reg1=0x3 actions=goto_table:8",
        f"table=7,priority=105,{advertised} actions=set_field:0x17->reg8,goto_table:62",
        f"table=7,priority=110,{pair},{advertised},{virtual_local},reg1=0x3 actions=goto_table:8",
        f"table=7,priority=110,{own},{advertised},{local},reg1=0x3 actions=goto_table:8",
        f"table=7,priority=110,{advertised},{virtual_local},nd_tll=00:00:00:00:00:00,reg1=0x3 actions=goto_table:8",
        f"table=7,priority=110,{advertised},{local},nd_tll=00:00:00:00:00:00,reg1=0x3 actions=goto_table:8",
    ]
