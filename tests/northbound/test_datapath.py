"""Flows of a datapath in logical words, as Open vSwitch 3.1 printed them."""

from __future__ import annotations

import pytest

from controller.model.records import Translation
from controller.southbound.explained import Explanation
from northbound.datapath import told
from tests.apps.outside import add_floating, add_outside
from tests.cloud import Cloud, hypervisor, network, port

WHY = {0xA7: Explanation(0xA7, "neighbours", "trap", "sought", "", ())}
HEAD = "ufid:d2c5ce5c-d289-40a0-bc61-5d00396c217a, skb_priority(0/0),{}skb_mark(0/0),ct_state(0/0x20),ct_zone({}),"
REST = (
    "ct_mark(0/0),recirc_id({}),dp_hash(0/0),in_port({}),packet_type(ns=0,id=0),eth(src=02:00:00:00:00:01),"
    "eth_type(0x0800),ipv4(src=10.0.0.1/0.0.0.0,dst=10.0.0.2,proto=17,frag=no),udp(src=80/0xfff0,dst=40328/0), "
    "packets:2, bytes:196, used:1.345s, dp:ovs, actions:{}, dp-extra-info:miniflow_bits(9,2)"
)
PUSH = (
    "set(eth(src=fa:16:3e:60:ee:2c,dst=02:00:00:00:00:03)),set(ipv4(ttl=63)),tnl_push(tnl_port(genev_sys_6081),"
    "header(size=50,type=5,eth(dst=52:15:e3:07:12:47,src=36:db:1e:d5:f9:41,dl_type=0x0800),ipv4(src=192.0.2.1,"
    "dst=192.0.2.2,proto=17,tos=0,ttl=64,frag=0x4000),udp(src=0,dst=6081,csum=0x0),geneve(vni=0x64)),out_port(br-phy)),"
    "phy0"
)
TO_HV1 = "ipv4(src=192.0.2.2/252.0.0.0,dst=192.0.2.1,proto=17),"
BOTH = "set(tunnel(tun_id=0x64,dst=192.0.2.2,flags(key))),vxlan_sys_4789,set(tunnel(tun_id=0x64,dst=192.0.2.2)),genev_sys_6081"
TUNNEL = "tunnel(tun_id=0x64,src=192.0.2.2,dst=192.0.2.1,ttl=64/0,tp_src=33512/0,tp_dst=4789/0,flags(-df-csum+key)),"


@pytest.fixture(scope="module")
def cloud() -> Cloud:
    made = Cloud()
    made.commit(hypervisor(1, "a", "b"), hypervisor(2), network("red", 100, "vxlan", name="red"))
    made.commit(network("blue", 100, "geneve", name="blue"))
    for number, name in enumerate("ab", 1):
        made.commit(port(name, "red", f"02:00:00:00:00:0{number}", f"10.0.0.{number}", name=f"vm-{name}"))
    return made


@pytest.mark.parametrize(
    ("tunnel", "zone", "recirculation", "came", "actions", "words"),
    [
        ("", "0/0", "0", "tap-a", "ct(zone=2),recirc(0x1)", "from port \"vm-a\" a; looked up in the zone of port \"vm-b\" b"),
        ("", "0x1/0", "0x2", "tap-a", "tap-b", 'from port "vm-a" a; out to port "vm-b" b'),
        ("", "0/0", "0", "tap-a", "drop", 'from port "vm-a" a; dropped'),
        ("", "0/0", "0", "tap-a", "recirc(0x7)", 'from port "vm-a" a; goes on in recirc_id(0x7)'),
        ("", "0/0", "0", "tap-a", "userspace(pid=0,slow_path(action))",
         'from port "vm-a" a; answered, or sent on, by ovs-vswitchd itself (slow path)'),
        ("", "0/0", "0x2", "tap-a", PUSH, 'from port "vm-a" a; to hypervisor hv2, segment 100 (network "blue" blue)'),
        ("", "0/0", "0x2", "tap-a", BOTH, 'from port "vm-a" a; to hypervisor hv2, segment 100 (network "red" red); '
         'to hypervisor hv2, segment 100 (network "blue" blue)'),
        ("", "0/0", "0x2", "4", BOTH.replace("vxlan_sys_4789", "5"),
         'from 4; to hypervisor hv2, segment 100 (network "red" red or network "blue" blue); '
         'to hypervisor hv2, segment 100 (network "blue" blue)'),
        (TUNNEL, "0/0", "0", "genev_sys_6081", "drop", 'from hypervisor hv2, segment 100 (network "blue" blue); dropped'),
        ("", "0/0", "0x2", "tap-a", "set(tunnel(tun_id=0x65,dst=192.0.2.2,ttl=64,flags(df|key))),vxlan_sys_4789",
         'from port "vm-a" a; to hypervisor hv2, segment 101, of no network'),
        (TUNNEL, "0/0", "0", "vxlan_sys_4789", "clone(ct(commit,zone=1,mark=0/0xf),recirc(0x9)),tap-a",
         'from hypervisor hv2, segment 100 (network "red" red); remembered in the zone of port "vm-a" a; '
         'out to port "vm-a" a'),
        (TUNNEL, "0x1/0xffff", "0x9", "vxlan_sys_4789", "check_pkt_len(size=1414,gt(drop),le(tap-b))",
         'from hypervisor hv2, segment 100 (network "red" red), known to conntrack in the zone of port "vm-a" a; '
         'out to port "vm-b" b'),
        ("", "0/0", "0", "tap-a", "userspace(pid=0,controller(reason=1,rule_cookie=0xa7,controller_id=0))",
         'from port "vm-a" a; to the controller, by neighbours: trap sought'),
        ("", "0/0", "0", "tap-a",
         "check_pkt_len(size=1464,gt(userspace(pid=0,controller(reason=1,rule_cookie=0xa7,max_len=9))),le(tap-b))",
         'from port "vm-a" a; frames of more than 1464 bytes to the controller, by neighbours: trap sought; '
         'out to port "vm-b" b'),
        ("", "0/0", "0", "phy0", "br-phy", ""),
        ("", "0/0", "0", "phy0", "tnl_pop(genev_sys_6081)", ""),
        (TO_HV1, "0/0", "0", "phy0", "tnl_pop(genev_sys_6081)",
         "from phy0; for this hypervisor's end of tunnels: taken out of genev_sys_6081"),
        (TUNNEL.replace("0x64", "0xfffffd"), "0/0", "0", "genev_sys_6081", "userspace(pid=0,slow_path(bfd))",
         "from hypervisor hv2, segment 16777213 (to watch gateways, by BFD); "
         "answered, or sent on, by ovs-vswitchd itself (slow path)"),
        (TUNNEL.replace("0x64", "0x0"), "0/0", "0", "vxlan_sys_4789", "drop",
         "from hypervisor hv2, segment 0 (to find the way before a guest needs it); dropped"),
        ("", "0x9/0xffff", "0", "7", "6", ""),
    ],
)  # fmt: skip
def test_a_decision_is_told_by_its_ends(
    cloud: Cloud, tunnel: str, zone: str, recirculation: str, came: str, actions: str, words: str
) -> None:
    line = HEAD.format(tunnel, zone) + REST.format(recirculation, came, actions)
    assert [*told(cloud.model, "hv1", ["flow-dump from the main thread:", line], WHY.get)] == [(line, words)]


def test_on_another_hypervisor_the_same_names_are_nobodys(cloud: Cloud) -> None:
    line = HEAD.format("", "0/0") + REST.format("0", "tap-a", "tap-b")
    assert [words for _, words in told(cloud.model, "hv2", [line], WHY.get)] == [""]


def test_a_translation_is_told_by_whose_it_is() -> None:
    made = Cloud()
    add_outside(made)
    add_floating(made)
    zones = {each.what.partition("/")[0]: each.zone for each in made.model.all(Translation) if each.chassis == "hv1"}
    line = HEAD.format("", "0/0") + REST.format(
        "0", "tap-vm1", f"ct(commit,zone={zones['floatingip']},nat),recirc(0xa)"
    )
    assert [words for _, words in told(made.model, "hv1", [line], WHY.get)] == [
        "from port vm1; remembered in the zone of translations for floating IP 172.24.0.100 f of port vm1"
    ]
