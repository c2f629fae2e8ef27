"""Explaining a dump: every flow of ours has its reason, everything else is foreign, and the count says so."""

from __future__ import annotations

import argparse

import pytest

from controller.errors import Invalid
from northbound import attach, explain

DUMP = """NXST_FLOW reply (xid=0x4):
 cookie=0xa704000000000001, duration=1.5s, table=30, n_packets=2, priority=100,reg6=0x1 actions=mod_dl_dst:02:00
 cookie=0x0, duration=9.1s, table=0, n_packets=0, priority=5,ip actions=drop
 cookie=0xa7ffffffffffffff, duration=9.1s, table=0, n_packets=0, priority=6,ip actions=drop

""".splitlines()
ENTRY = {
    "app": "arp",
    "table": "neigh",
    "reason": "neighbour",
    "objects": [{"kind": "port", "id": "p-1", "name": "web"}, {"kind": "port", "id": "p-2", "name": ""}],
}


def test_a_dump_is_annotated_flow_by_flow() -> None:
    lines = explain.read(DUMP)
    assert explain.cookies(lines) == ["0x0000000000000000", "0xa704000000000001", "0xa7ffffffffffffff"]
    text = list(explain.text(explain.explain(lines, {"0xa704000000000001": ENTRY})))
    assert text[2] == '    # arp: neigh neighbour -> port "web" p-1, port p-2'
    assert text[4] == text[6] == "    # foreign: no flow of this model"
    assert text[-1] == "3 flows, 1 explained, 2 foreign"


def test_what_is_no_flow_is_passed_through() -> None:
    assert list(explain.text(explain.read(["hello", ""]))) == ["hello", "", "0 flows, 0 explained, 0 foreign"]


def test_colours_change_nothing() -> None:
    """As `ovs-ofctl --color=always` prints a flow."""
    line = " \x1b[36m\x1b[Kcookie=\x1b[m\x1b[K0xa704000000000001, \x1b[33m\x1b[Ktable=\x1b[m\x1b[K30 \x1b[1;31m\x1b[Kactions=\x1b[m\x1b[Kdrop"
    text = [*explain.text(explain.explain(explain.read([line]), {"0xa704000000000001": ENTRY}))]
    assert text[0] == " cookie=0xa704000000000001, table=30 actions=drop"
    assert text[-1] == "1 flows, 1 explained, 0 foreign"


TRACE = """ 0. in_port=3,vlan_tci=0x0000/0x1fff, priority 100, cookie 0xa704000000000001
    clone(ct(table=13,zone=NXM_NX_REG3[0..15]))
 8. priority 7
    group:805306369
     -> NXM_NX_ARP_THA[] is now 02:00:00:00:00:01
    17. reg11=0x1, priority 100, cookie 0xa7ffffffffffffff
    14. No match.
Datapath actions: drop"""
GROUPS = """OFPST_GROUP_DESC reply (OF1.5) (xid=0x2):
 group_id=805306369,type=all,bucket=bucket_id:0,actions=set_field:0x3->reg2,resubmit(,43)
 group_id=7,duration=1.7s,ref_count=1,packet_count=0,byte_count=0,bucket0:packet_count=0,byte_count=0"""
OTHERS = """flow-dump from the main thread:
recirc_id(0),in_port(phy0),packet_type(ns=0,id=0),eth(src=8:3),eth_type(0x0800), packets:6, bytes:7, actions:tnl_pop(3)
icmp,orig=(src=10.0.0.11,dst=10.0.1.13,id=13053,type=8,code=0),reply=(src=10.0.1.13,dst=10.0.0.11),zone=1,labels=0x3
duration=1s, n_packets=0, n_bytes=0, priority=200,ct_state=+trk,actions=ct_clear,resubmit(,0)
 cookie=0xa704000000000001, priority=200,ct_state=+trk actions=ct_clear,resubmit(,0)
 priority=0 actions=NORMAL"""


def test_a_traced_packet_is_annotated_where_it_met_a_flow_or_a_group() -> None:
    lines = explain.read(TRACE.splitlines())
    assert explain.cookies(lines) == ["0xa704000000000001", "0xa7ffffffffffffff"]
    assert explain.groups(lines) == [805306369]
    known = {"0xa704000000000001": ENTRY, "group_id=805306369": {**ENTRY, "table": "group"}}
    text = [*explain.text(explain.explain(lines, known))]
    assert [line for line in text if line.startswith("    #")] == [
        '    # arp: neigh neighbour -> port "web" p-1, port p-2',
        "    # foreign: no flow of this model",
        '    # arp: group neighbour -> port "web" p-1, port p-2',
        "    # foreign: no flow of this model",
    ]
    assert text[-1] == "3 flows, 1 explained, 2 foreign"


def test_a_flow_of_another_bridge_that_a_traced_packet_met_is_said_to_be_there() -> None:
    """In user space a trace goes on through the bridge that has the tunnel's address, which is not Weft's."""
    lines = [
        'bridge("br-int")',
        "----------------",
        " 9. priority 0",
        'bridge("br-phy")',
        " 0. priority 0",
        "    NORMAL",
    ]
    text = [*explain.text(explain.read(lines))]
    assert [line for line in text if line.startswith("    #")] == [
        "    # foreign: no flow of this model, on bridge br-int",
        "    # foreign: no flow of this model, on bridge br-phy",
    ]


def test_groups_are_annotated_by_their_ids() -> None:
    lines = explain.read(GROUPS.splitlines())
    assert explain.groups(lines) == [7, 805306369]
    text = [*explain.text(explain.explain(lines, {"group_id=805306369": ENTRY}))]
    assert (text[2], text[4]) == (
        '    # arp: neigh neighbour -> port "web" p-1, port p-2',
        "    # foreign: no group of this model",
    )
    assert text[-1] == "2 flows, 1 explained, 1 foreign"


def test_every_sort_of_line_is_told_from_the_others() -> None:
    lines = explain.read(OTHERS.splitlines())
    sorts = [explain.Sort.OTHER, explain.Sort.DATAPATH, explain.Sort.CONNECTION, *[explain.Sort.FLOW] * 3]
    assert [line.sort for line in lines] == sorts
    known = {line: "words" for line in explain.of(lines, explain.Sort.CONNECTION)}
    text = [*explain.text(explain.explain(lines, known))]
    assert text[4] == "    # words"
    assert text[6].endswith("bridge/dump-flows prints no cookies, ovs-ofctl dump-flows does")
    assert text[-1] == "5 flows, 1 explained, 4 foreign"
    assert [each["sort"] for each in explain.as_json(lines)["flows"]][:2] == ["datapath", "connection"]


def attached(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    attach.add_options(parser)
    return parser.parse_args(arguments)


def test_attach_prints_the_one_command() -> None:
    words = attach.command(attached("10.0.0.1", "--encap-ip", "192.0.2.11", "--system-id", "hv1"))
    assert " ".join(words) == (
        "ovs-vsctl set Open_vSwitch . external_ids:system-id=hv1 external_ids:weft-encap-ip=192.0.2.11 "
        "external_ids:weft-encap-type=geneve,vxlan -- set-manager tcp:10.0.0.1:6640 "
        "-- set manager tcp:10.0.0.1:6640 max_backoff=1000 connection_mode=out-of-band"
    )


def test_attach_keeps_other_managers_when_asked() -> None:
    options = attached("c:6641", "--encap-ip", "192.0.2.11", "--system-id", "hv1", "--gateway-priority", "3")
    words = attach.command(options, ["ptcp:6640"])
    assert " ".join(words[words.index("set-manager") :]) == (
        "set-manager ptcp:6640 tcp:c:6641 -- set manager tcp:c:6641 max_backoff=1000 connection_mode=out-of-band"
    )
    assert "external_ids:weft-gateway-priority=3" in words


def test_attach_refuses_a_controller_that_is_no_address() -> None:
    with pytest.raises(Invalid, match="HOST:PORT"):
        attach.command(attached("c:port", "--encap-ip", "192.0.2.11"))
