"""What Open vSwitch tells of a trace is read rightly, and all of it is compared with what was foretold."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from controller.flows import fields as f
from controller.flows import pipeline as p
from controller.flows.packet import packet
from controller.model.records import Address, Mac
from mininet_scenarios import ofproto, traced

MEASURED = """\
Flow: udp,reg6=0x2,in_port=5,vlan_tci=0x0000,dl_src=02:00:00:00:00:10,dl_dst=02:00:00:00:00:12,nw_src=10.0.0.10

bridge("br-int")
----------------
    resubmit(,31)
31. reg0=0x20/0x20,reg6=0x2, priority 110, cookie 0xa70a5b91baaf4868
    check_pkt_larger(1414)->NXM_NX_REG0[21]
    goto_table:32
    32. reg0=0x200000/0x200000, priority 100, cookie 0xa70abf9135d44da7
            set_field:0x28->reg8
            goto_table:60
        60. reg8=0x28, priority 100, cookie 0xa70a1030e6f5d5dd
            CONTROLLER:1294
    goto_table:32
32. priority 0, cookie 0xa70aded6722473c8
    goto_table:53
53. reg0=0x2000000/0x7000000, priority 100, cookie 0xa703cb11bd531161
    output:2
     -> output to native tunnel
     -> tunneling to 192.0.2.12 via br-phy

bridge("br-phy")
----------------
 0. priority 7
    NORMAL
     -> forwarding to learned port

Final flow: udp,reg6=0x2,tun_src=0.0.0.0,tun_dst=192.0.2.12,tun_ttl=64,tun_flags=df|key,in_port=5,vlan_tci=0x0000
Megaflow: recirc_id=0,eth,udp,in_port=5
Datapath actions: check_pkt_len(size=1414,gt(userspace(pid=0,controller(max_len=1294))),le(tnl_push(tnl_port(5)),1))

===============================================================================
recirc(0x6) - resume conntrack with default ct_state=trk|new (use --ct-next to customize)
===============================================================================
 0. priority 9
"""
"""Through a narrow network into a tunnel, as Open vSwitch 3.1.0 tells it; shorter."""

SMALL = {
    "chassis": "hv1",
    "bridge": "br-int",
    "command": ["ofproto/trace-packet-out", "br-int", "...", "resubmit(,31)"],
    "visits": [[31, 110], [32, 0], [53, 100]],
    "outputs": ["output:2"],
    "effects": [],
    "packet": "eth_type=0x800,nw_proto=17,in_port=5,reg6=0x2,tun_dst=192.0.2.12,tun_id=0x1",
    "length": 1414,
    "buckets": {},
    "alike": False,
}
LARGE = {
    **SMALL,
    "length": 1415,
    "visits": [[31, 110], [32, 100], [60, 100]],
    "outputs": [],
    "effects": [["punt", "0x50e"]],
}


def test_the_way_of_a_packet_is_that_of_its_length_and_of_its_bridge() -> None:
    assert [traced.difference(stage, MEASURED) for stage in (SMALL, LARGE)] == ["", ""]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("visits", [[31, 110], [32, 0], [53, None]]),
        ("visits", [[31, 110], [32, 0]]),
        ("outputs", []),
        ("outputs", ["output:3"]),
        ("effects", [["track", "0x1"]]),
        ("packet", "eth_type=0x800,nw_proto=17,in_port=5,reg6=0x3"),
        ("packet", "eth_type=0x800,nw_proto=17,in_port=5,reg6=0x2,tun_dst=192.0.2.13"),
        ("packet", "eth_type=0x800,nw_proto=17,in_port=5,reg6=0x2,vlan_tci=0x1065"),
    ],
)
def test_whatever_differs_is_told(name: str, value: Any) -> None:
    said = traced.difference({**SMALL, name: value}, MEASURED)
    assert said.startswith("hv1: ")
    assert " foretold " in said


def test_where_several_rules_admit_alike_registers_may_name_another() -> None:
    other = {**SMALL, "packet": "eth_type=0x800,nw_proto=17,in_port=5,reg8=0x7", "alike": True}
    assert traced.difference(other, MEASURED) == ""
    assert traced.difference({**other, "outputs": []}, MEASURED) != ""


def test_another_bucket_is_another_way() -> None:
    chosen = MEASURED.replace("    goto_table:53\n", "    group:7\n     -> using bucket 1\n")
    stage = {**SMALL, "visits": [[31, 110]]}
    assert traced.difference({**stage, "buckets": {"7": 0}}, chosen) == ""
    assert traced.difference({**stage, "buckets": {"7": 1}}, chosen) != ""
    assert traced.difference({**stage, "buckets": {"8": 0}}, chosen) != ""


def test_what_is_no_trace_is_an_error() -> None:
    with pytest.raises(ValueError, match="no answer of ofproto/trace: ovs-vswitchd: no such bridge"):
        ofproto.read("ovs-vswitchd: no such bridge", 64, "br-int")


def test_packets_as_they_are_asked_about_are_read_as_open_vswitch_prints_them() -> None:
    """Both ways of writing come to the same numbers."""
    mac, other = Mac("02:00:00:00:00:01"), Mac("02:00:00:00:00:02")
    link = (f.IN_PORT(5), f.ETH_SRC(mac), f.ETH_DST(other))
    asked = [
        packet(*link, f.UDP_SRC(7), f.UDP_DST(53), f.IPV4_SRC(Address("10.0.0.1")), f.TTL(64), p.NET(3)),
        packet(*link, f.IPV6_SRC(Address("fd00::1")), f.ND_TARGET(Address("fd00::2")), f.ND_SLL(mac), f.HOP_LIMIT(255)),
        packet(*link, f.ARP_REQUEST, f.ARP_SHA(mac), f.ARP_TPA(Address("10.0.0.9"))),
        packet(*link, f.VLAN_TCI(0x1065), f.ETH_TYPE(0x88CC), p.NH6(Address("fd00::7"))),
    ]
    assert [ofproto.numbers(str(each)) for each in asked] == [dict(each.values) for each in asked]
    printed = (
        "udp,reg6=0x3,in_port=5,vlan_tci=0x0000,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,nw_src=10.0.0.1,"
    )
    printed += "nw_dst=0.0.0.0,nw_tos=0,nw_ecn=0,nw_ttl=64,nw_frag=no,tp_src=7,tp_dst=53"
    assert ofproto.numbers(printed) == dict(asked[0].values)


def test_the_same_packets_are_drawn_again() -> None:
    """By the same name, from the same ends; none to whoever sends it, or of another IP version."""
    ends = traced.Ends(
        [("a", ["10.0.0.1", "fd00::1"]), ("192.0.2.9", ["192.0.2.9"])], ["10.0.0.1", "10.0.0.2", "fd00::2"]
    )
    one, two, other = ([ends.draw(chance) for _ in range(200)] for chance in (Random("x"), Random("x"), Random("y")))
    assert one == two != other
    own = {name: addresses for name, addresses in ends.senders}
    assert [each for each in one if each["to"] in own[each["from"]]] == []
    assert {(each["from"], each["to"]) for each in one} == {
        ("a", "10.0.0.2"), ("a", "fd00::2"), ("192.0.2.9", "10.0.0.1"), ("192.0.2.9", "10.0.0.2"),
    }  # fmt: skip
