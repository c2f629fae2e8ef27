"""Port security: whose frames pass, and what every guest may ask."""

from __future__ import annotations

from tests.cloud import Cloud, port


def test_whether_an_address_is_free_may_be_asked_of_any_address(cloud: Cloud) -> None:
    asking = [flow for flow in cloud.flows("hv2", "port_security") if "arp_spa=0.0.0.0" in flow or "type=135" in flow]
    assert asking == [
        "table=5,priority=100,eth_src=02:00:00:00:00:03,arp,arp_op=1,arp_spa=0.0.0.0,arp_sha=02:00:00:00:00:03,reg1=0x3 "
        "actions=goto_table:8",
        "table=5,priority=100,ipv6,nw_proto=58,ipv6_src=::,icmpv6_type=135 actions=goto_table:6",
        "table=5,priority=20,ipv6,nw_proto=58,icmpv6_type=135 actions=set_field:0x17->reg8,goto_table:62",
        "table=6,priority=100,ipv6,nw_proto=58,icmpv6_type=135 actions=set_field:0x17->reg8,goto_table:62",
        "table=6,priority=110,ipv6,nw_proto=58,icmpv6_type=135,nd_sll=00:00:00:00:00:00 actions=goto_table:8",
        "table=6,priority=110,ipv6,nw_proto=58,icmpv6_type=135,nd_sll=02:00:00:00:00:03,reg1=0x3 actions=goto_table:8",
    ]


def test_a_probe_for_a_virtual_address_may_come_from_its_mac_or_the_ports_own(cloud: Cloud) -> None:
    virtual = ("00:00:5e:00:01:01", "10.0.0.9")
    cloud.commit(port("vm3", "red", "02:00:00:00:00:03", "10.0.0.3", pairs=[virtual]))
    probes = [flow for flow in cloud.sent("hv2") if "arp_spa=0.0.0.0" in flow]
    assert probes == [
        f"table=5,priority=100,eth_src={sender},arp,arp_op=1,arp_spa=0.0.0.0,arp_sha=00:00:5e:00:01:01,reg1=0x3 "
        "actions=goto_table:8"
        for sender in ("00:00:5e:00:01:01", "02:00:00:00:00:03")
    ]
