"""What somebody did to the flows of a hypervisor is found, and named: the table in `docs/debugging.md`."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from controller.prove.proof import Answer
from tests.cloud import Cloud
from tests.controller.prove.clouds import Fault, added, altered, cloud, proven, removed, routed

NORMAL = "cookie=0x1, table=0, priority=65535,in_port=11 actions=NORMAL"


@dataclass(frozen=True, slots=True)
class Planted:
    """A fault on hv1; by which claim it is found, and a sender or receiver (or part of the sentence) that is named."""

    what: str
    fault: Fault
    claim: str
    named: str


FAULTS = (
    Planted("a foreign NORMAL", added(NORMAL), "isolation", "b1"),
    Planted("a flow that joins tenants", added("table=36,priority=300,reg6=0x1 actions=output:12"), "isolation", "b1"),
    Planted("a wrong tunnel key", altered("set_field:0x64->tun_id", "set_field:0xc8->tun_id"), "isolation", "b2"),
    Planted("a network of the wrong key", altered("set_field:0x2->reg6", "set_field:0x1->reg6", "table=0,"), "isolation", "b1"),
    Planted("a wrong segment of what arrives", altered("set_field:0x1->reg6", "set_field:0x2->reg6", "tun_id=0x64"), "isolation", "b1"),
    Planted("a wrong output port", altered("output:11", "output:12", "table=50"), "isolation", "b1"),
    Planted("a stale member in a flood group", altered("set_field:0x2->reg2", "set_field:0x4->reg2", "group_id"), "isolation", "b1"),
    Planted("a way out to the host", added("table=20,priority=999 actions=LOCAL"), "isolation", "LOCAL"),
    Planted("a foreign interface let in", altered("in_port=10,", "in_port=99,", "table=0,priority=100"), "missing", "vm1"),
    Planted("a widened source MAC", altered("eth_src=02:00:00:00:00:01,", "", "table=4,", "reg1=0x1 "), "spoofing", "vm1"),
    Planted("a widened source address", altered("nw_src=10.0.0.1,", "", "table=5,", "reg1=0x1 "), "spoofing", "vm1"),
    Planted("port security passed by", altered("goto_table:4", "goto_table:8", "in_port=10"), "spoofing", "vm1"),
    Planted("a rogue DHCP server", removed("table=5,priority=120", "ip,nw_proto=17"), "spoofing", "hv1"),
    Planted("a missing flow to a port here", removed("table=36,priority=100", "00:02,reg6=0x1"), "missing", "vm2"),
    Planted("a missing flow to a port elsewhere", removed("table=36,priority=100", "00:03,reg6=0x1"), "missing", "vm3"),
    Planted("a wrong hypervisor", altered("192.0.2.2->tun_dst", "192.0.2.9->tun_dst", "table=36"), "astray", "hv1"),
    Planted("a missing member of a flood group", altered("bucket=actions=set_field:0x2->reg2,resubmit(,43)", "", "group_id"), "missing", "vm2"),
    Planted("a missing group", removed("group_id=805306369"), "hole", "hv1"),
    Planted("a missing policy", removed("table=17,"), "missing", "vm2"),
    Planted("a narrowed rule", altered("ct_tp_dst=80", "ct_tp_dst=81", "table=14"), "missing", "vm2"),
    Planted("a widened rule", altered(",ct_tp_dst=80", "", "table=14"), "excess", "vm2"),
    Planted("security groups passed by", altered("goto_table:43", "goto_table:50", "table=36", "00:02,"), "excess", "vm2"),
    Planted("a wrong next table", altered("goto_table:36", "goto_table:37", "table=20,priority=0"), "excess", "vm2"),
    Planted("a dropped miss flow", removed("table=4,priority=0"), "hole", "port_security"),
    Planted("a loop in a switch", altered("goto_table:36", "resubmit(,20)", "table=20,priority=0"), "loop", "hv1"),
    Planted("a mirror of somebody else", added("table=50,priority=200,reg2=0x2 actions=output:11,output:12"), "isolation", "b1"),
    Planted("a MAC address rewritten", altered("set_field:0x2->reg2", "set_field:02:00:00:00:00:99->eth_dst,set_field:0x2->reg2", "table=36"), "rewritten", "vm2"),
    Planted("a swapped conntrack zone", altered("load:0x1->NXM_NX_REG3[0..15]", "load:0x2->NXM_NX_REG3[0..15]", "table=16", "reg10=0x1 "), "zone", "vm1"),
)  # fmt: skip
ROUTED = (
    Planted("a wrong MAC address of a next hop", altered("00:04->eth_dst", "00:99->eth_dst", "table=30"), "missing", "vm4"),
    Planted("a route that leads elsewhere", altered("set_field:0x2->reg6", "set_field:0x1->reg6", "table=27"), "missing", "vm4"),
    Planted("a missing route", removed("table=27", "10.1.0.0"), "missing", "vm4"),
)  # fmt: skip


def about(answer: Answer, planted: Planted) -> bool:
    """Is there something against that claim which names it?"""
    return any(
        (each.claim == planted.claim
        and planted.named in (each.sender_port, each.receiver_port, each.chassis, *each.sentence.replace(",", " ").split()))
        or (planted.named in each.sentence and each.claim == planted.claim)
        for each in answer.violations
    )  # fmt: skip


@pytest.mark.parametrize("planted", FAULTS, ids=lambda planted: planted.what)
def test_a_fault_is_found_and_named(planted: Planted) -> None:
    answer = proven(CLOUD, hv1=planted.fault)
    assert about(answer, planted), [(each.claim, each.sentence) for each in answer.violations]


@pytest.mark.parametrize("planted", ROUTED, ids=lambda planted: planted.what)
def test_a_fault_of_a_router_is_found_and_named(planted: Planted) -> None:
    answer = proven(ROUTER, hv1=planted.fault)
    assert about(answer, planted), [(each.claim, each.sentence) for each in answer.violations]


CLOUD: Cloud = cloud()
ROUTER: Cloud = routed()
